"""Whether the audit is whole: what the vault has signed under it, and what has been done to it since."""

import base64
import hashlib
import heapq
import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.db.models import Exists, OuterRef
from django.utils import timezone

from devices import chain, sealing
from devices.models import AuditEntry, AuditHead, AuditLink
from devices.rules import chain as rules
from passcodes.rules import statements

LINE = "vault.line"  # a copied line of the vault's journal
BROKEN = "vault.broken"  # one by which the vault says that the chain does not hold
BATCH = 2_000
LATE_AFTER = timedelta(minutes=5)  # then an entry should have been signed for
ALARM_LASTS = timedelta(days=30)
FIRST = "0" * 64
OF_THE_JOURNAL = " of the vault's journal"
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Head:
    """What the vault signs: the chain as far as `seq`, its own journal as far as `journal`."""

    seq: int
    hash: str  # hex
    journal: int
    at: int  # unix seconds

    def document(self) -> bytes:
        return statements.HEAD + statements.encode(
            {"at": self.at, "hash": self.hash, "journal": self.journal, "seq": self.seq}
        )

    @property
    def when(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a page says of the audit."""

    entry: int | None  # the last entry that the vault has signed for
    at: datetime | None
    is_signed: bool | None  # None: this process has no key to check it with
    waits_since: datetime | None  # an entry that should have been signed for
    broken: str  # what the vault has found, in words

    @property
    def is_whole(self) -> bool:
        return not self.broken and self.waits_since is None and self.is_signed is not False


# Heads.


def head_of(row: AuditHead) -> Head:
    return Head(
        seq=row.seq,
        hash=bytes(row.hash).hex(),
        journal=row.journal,
        at=int(row.at.timestamp()),
    )


def sign(head: Head, key: Ed25519PrivateKey) -> bytes:
    """Called in the vault."""
    return key.sign(head.document())


def is_signed(data: bytes, signature: bytes, keys: Sequence[Ed25519PublicKey]) -> bool:
    """Whether one of these keys has signed it."""
    for key in keys:
        try:
            key.verify(signature, data)
        except InvalidSignature:
            continue
        return True
    return False


def exported(head: Head, signature: bytes) -> str:
    """One line of the file in which heads are kept outside of the database."""
    fields = {"at": head.at, "hash": head.hash, "journal": head.journal, "seq": head.seq}
    return json.dumps({**fields, "signature": base64.b64encode(signature).decode()})


def imported(line: str) -> tuple[Head, bytes]:
    """A line of that file; ValueError if it is none."""
    try:
        told = json.loads(line)
        head = Head(seq=told["seq"], hash=told["hash"], journal=told["journal"], at=told["at"])
        head.document()
        return head, base64.b64decode(told["signature"], validate=True)
    except (KeyError, TypeError, statements.NotCanonical):
        raise ValueError("not an exported head") from None


# The page.


def own_keys() -> list[Ed25519PublicKey]:
    """What this process may check a head with; none where it was not told of a key."""
    if not settings.VAULT_VERIFY_KEY:
        return []
    return [Ed25519PublicKey.from_public_bytes(sealing.raw(settings.VAULT_VERIFY_KEY))]


def standing(keys: Sequence[Ed25519PublicKey]) -> Standing:
    """What can be said without reading the whole audit: the vault does that, time and again."""
    row = AuditHead.objects.first()
    link = AuditLink.objects.filter(seq=row.seq).first() if row else None
    now = timezone.now()
    late = AuditEntry.objects.filter(at__lt=now - LATE_AFTER)
    if link is not None:
        late = late.filter(pk__gt=link.entry)
    signed = None
    if row is not None and keys:
        signed = is_signed(head_of(row).document(), bytes(row.signature), keys)
    return Standing(
        entry=link.entry if link else None,
        at=row.at if row else None,
        is_signed=signed,
        waits_since=late.order_by("at").values_list("at", flat=True).first() if row else None,
        broken=_found_broken(now - ALARM_LASTS),
    )


def _found_broken(since: datetime) -> str:
    """The newest that the vault has said, whoever wrote it: a false alarm is a thing to look at, too."""
    found = AuditEntry.objects.filter(verb=BROKEN, at__gte=since).first()
    return str(found.facts.get("words", "")) or "it does not say what" if found else ""


# Everything, from the first link on.


def examine(
    keys: Sequence[Ed25519PublicKey], *, heads: Iterable[tuple[Head, bytes]] = ()
) -> Iterator[str]:
    """Each thing that was done to the audit, in words. `heads` were kept outside of the database.

    All of it is read in one order and nothing is kept but what is wrong, so that a long audit takes
    time and no memory.
    """
    signed = _Signed()
    yield from _links(keys, heads, signed)
    yield from _unlinked(signed.at)
    yield from _journal(keys, signed.journal, signed.at)


@dataclass(slots=True)
class _Signed:
    """How far the vault has signed, as far as its heads have been read."""

    at: datetime = NEVER
    journal: int = 0


def _in_order(heads: Iterable[tuple[Head, bytes]]) -> Iterator[tuple[Head, bytes, str]]:
    """The database's heads and those of a file, the lowest link first."""
    rows = AuditHead.objects.order_by("seq", "pk").iterator(chunk_size=BATCH)
    own = ((head_of(row), bytes(row.signature), "database") for row in rows)
    kept = sorted((head, signature, "file") for head, signature in heads)
    return heapq.merge(own, kept, key=lambda one: one[0].seq)


def _true(
    keys: Sequence[Ed25519PublicKey], heads: Iterable[tuple[Head, bytes]], signed: _Signed
) -> Iterator[Head | str]:
    """Each head that the vault has signed, once; and a sentence for each that it has not."""
    seen: set[Head] = set()  # of this link
    for head, signature, where in _in_order(heads):
        if not is_signed(head.document(), signature, keys):
            yield f"The head of link {head.seq} in the {where} is not signed by the vault."
            continue
        seen = {one for one in seen if one.seq == head.seq}
        if head in seen:
            continue
        seen.add(head)
        signed.at, signed.journal = max(signed.at, head.when), max(signed.journal, head.journal)
        yield head


def _links(
    keys: Sequence[Ed25519PublicKey], kept: Iterable[tuple[Head, bytes]], signed: _Signed
) -> Iterator[str]:
    """Walk the chain, and at each head compare it with what was signed."""
    heads = _true(keys, kept, signed)
    waiting = yield from _next_head(heads)
    place = rules.Place()
    signed_at: datetime | None = None
    others: list[Head] = []
    links = AuditLink.objects.order_by("seq").values_list("seq", "entry", "digest", "hash")
    walk = links.iterator(chunk_size=BATCH)
    while batch := list(islice(walk, BATCH)):
        found = chain.rows(entry for _, entry, _, _ in batch)
        for seq, entry, digest, link in batch:
            follows = rules.follow(place.hash, seq=seq, entry=entry, digest=bytes(digest))
            if seq != place.seq + 1:
                yield f"{_span('Link', place.seq + 1, seq - 1, ' of the chain')} gone."
            elif bytes(link) != follows:
                yield f"Link {seq} (entry {entry}) does not follow the one before it."
            yield from _entry(entry, found.get(entry), seq, bytes(digest), signed_at)
            place = rules.Place(seq, bytes(link))
            while waiting and waiting.seq <= seq:
                signed_at = waiting.when
                if waiting.seq == seq and waiting.hash != place.hash.hex():
                    others.append(waiting)
                waiting = yield from _next_head(heads)
    if others:
        first, last = others[0], others[-1]
        yield (
            f"The chain was written anew: {len(others)} heads, signed by the vault from "
            f"{_time(first.when)} (link {first.seq}) to {_time(last.when)} (link {last.seq}), "
            "do not fit it."
        )
    beyond = None
    while waiting:
        beyond, waiting = waiting, (yield from _next_head(heads))
    if beyond:
        yield (
            f"The tail was cut: {_span('link', place.seq + 1, beyond.seq)} gone; the vault signed "
            f"link {beyond.seq} at {_time(beyond.when)}."
        )


def _next_head(heads: Iterator[Head | str]) -> Generator[str, None, Head | None]:
    """The next that the vault has signed and that says anything of links; what is false is told."""
    for one in heads:
        if isinstance(one, str):
            yield one
        elif one.seq:
            return one
    return None


def _entry(
    entry: int, row: rules.Row | None, seq: int, digest: bytes, signed_at: datetime | None
) -> Iterator[str]:
    if row is None:
        yield f"Entry {entry} was removed (link {seq})."
    elif rules.digest(row) != digest:
        yield f"Entry {entry} was changed (link {seq})."
    elif signed_at and row[1] < signed_at - rules.SEALED_WITHIN:
        yield (
            f"Entry {entry} was inserted: it says {_time(row[1])}, and came into the chain after "
            f"{_time(signed_at)} (link {seq})."
        )


def _unlinked(signed_at: datetime) -> Iterator[str]:
    linked = AuditLink.objects.filter(entry=OuterRef("pk"))
    rows = AuditEntry.objects.filter(~Exists(linked), at__lt=signed_at - rules.SEALED_WITHIN)
    for entry, at in rows.order_by("pk").values_list("pk", "at").iterator(chunk_size=BATCH):
        yield f"Entry {entry} was inserted: it says {_time(at)}, and is not in the chain."


# The vault's own lines.


@dataclass(slots=True)
class _Lines:
    """What the copied lines of the journal add up to."""

    seqs: dict[int, tuple[str, str]]  # number → the digest before it, its own
    used: set[str]  # requests
    ended: dict[str, int]  # request of a line that ends a use → its number


def _journal(
    keys: Sequence[Ed25519PublicKey], at_least: int, signed_at: datetime
) -> Iterator[str]:
    lines = _Lines({}, set(), {})
    copies = AuditEntry.objects.filter(verb__in=(LINE, BROKEN)).order_by("pk")
    for entry, facts in copies.values_list("pk", "facts").iterator(chunk_size=BATCH):
        said = signed_line(facts, keys)
        if said is None:
            yield (
                f"Entry {entry} says that it is a line of the vault's journal, and is not signed "
                "by the vault: it was invented or changed."
            )
        elif not _take_in(lines, said, facts["line"]):
            yield f"Entry {entry} is another line {said['seq']} of the vault's journal."
    yield from _gaps(lines, at_least)
    for request, seq in lines.ended.items():
        if request not in lines.used:
            yield f"The use for request {request} was removed; line {seq} of the journal ends it."
    yield from _armed(lines.used, signed_at)


def _armed(used: set[str], signed_at: datetime) -> Iterator[str]:
    armed = AuditEntry.objects.filter(verb="clear.arm", at__lt=signed_at).order_by("pk")
    for entry, facts in armed.values_list("pk", "facts").iterator(chunk_size=BATCH):
        if facts.get("request") not in used:
            yield (
                f"Entry {entry} says that the vault opened a token, and its journal knows of no "
                "such use: it was invented, or the use was removed."
            )


def _gaps(lines: _Lines, at_least: int) -> Iterator[str]:
    last, digest = 0, FIRST
    for seq in sorted(lines.seqs):
        prev, own = lines.seqs[seq]
        if seq != last + 1:
            yield f"{_span('Line', last + 1, seq - 1, OF_THE_JOURNAL)} gone."
        elif prev != digest:
            yield f"Line {seq} of the vault's journal does not follow the one before it."
        last, digest = seq, own
    if last < at_least:
        yield f"{_span('Line', last + 1, at_least, OF_THE_JOURNAL)} gone."


def signed_line(facts: Any, keys: Sequence[Ed25519PublicKey]) -> dict[str, Any] | None:
    try:
        line = facts["line"].encode("ascii")
        signature = base64.b64decode(facts["signature"], validate=True)
        said = statements.decode(line)
    except (AttributeError, KeyError, TypeError, ValueError, statements.NotCanonical):
        return None
    if facts.get("journal") != said.get("seq") or facts.get("what") != said.get("what"):
        return None
    return said if is_signed(statements.JOURNAL + line, signature, keys) else None


def _take_in(lines: _Lines, said: dict[str, Any], line: str) -> bool:
    """False where another line has this number."""
    digest = hashlib.sha256(statements.JOURNAL + line.encode()).hexdigest()
    known = lines.seqs.setdefault(said["seq"], (said["prev"], digest))
    match said["what"]:
        case "used":
            lines.used.add(said["request"])
        case "handed" | "burnt":
            lines.ended[said["request"]] = said["seq"]
    return known[1] == digest


def _span(what: str, first: int, last: int, whose: str = "") -> str:
    if first == last:
        return f"{what} {first}{whose} is"
    return f"{what}s {first} to {last}{whose} are"


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
