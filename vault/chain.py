"""Recompute the audit's chain from where the vault last signed it, sign it, and say what does not hold.

The vault remembers in its own state what it signed last, so no row can tell it otherwise. Each line of
its journal is an entry of the audit as well, with its signature. Older entries are read again, some at
each look, all of them in turn.
"""

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from django.db import transaction

from devices import audit, chain
from devices.models import AuditEntry, AuditHead, AuditLink
from devices.rules import chain as rules
from passcodes import chain as heads
from passcodes.chain import Head
from passcodes.rules import statements
from vault import disk
from vault.journal import Journal, JournalBroken
from vault.keyring import Keyring
from vault.outside import Outside

NAME = "head"
AT_ONCE = 5_000  # links a look
AGAIN = 250  # older links that are read again at each look
GIVE_EVERY = 300.0  # seconds
LOOKED_AT = 100  # copies of lines that may be false before the newest true one


class StateIsOld(JournalBroken):
    """The database has seen more of this vault than the vault remembers."""


class Chain:
    """The vault's view of the audit, from one start of the vault to its end."""

    def __init__(
        self,
        state: Path,
        *,
        keyring: Keyring,
        journal: Journal,
        outside: Outside | None = None,
    ) -> None:
        self._state, self._outside = state / NAME, outside
        self._key, self._journal = keyring.order_key, journal
        self._verify = (keyring.order_key.public_key(),)
        self._head = self._remembered()
        self._read_again = 0  # up to this link
        self._copied = -1  # lines of the journal; not known yet
        self._given_at = 0.0

    def check_state(self) -> None:
        """StateIsOld, where the database holds signatures of ours that we know nothing of."""
        seen = self._newest_copy()  # of a line; the worker may have linked none of late
        for row in AuditHead.objects.all()[:LOOKED_AT]:
            head = heads.head_of(row)
            if heads.is_signed(head.document(), bytes(row.signature), self._verify):
                seen = max(seen, head.journal)
        if seen > self._journal.seq:
            raise StateIsOld(
                f"The vault's state is old: it ends with line {self._journal.seq} of the "
                f"journal, and the database knows line {seen}."
            )

    def look(self) -> Head | None:
        """Copy what is new in the journal, and sign what is new in the chain."""
        self._copy_lines()
        made = self._sign_new()
        self._look_again()
        self._copy_lines()
        self._give_away()
        return made

    # The journal's lines in the audit.

    def _copy_lines(self) -> None:
        if self._copied < 0:
            self._copied = min(self._newest_copy(), self._journal.seq)
        if self._copied == self._journal.seq:
            return
        newest = self._journal.seq
        with transaction.atomic():
            for line in self._journal.since(self._copied):
                self._copy(line)
        self._copied = newest

    def _copy(self, line: bytes) -> None:
        said = statements.decode(line)
        signature = base64.b64encode(self._key.sign(statements.JOURNAL + line)).decode()
        facts = {
            "what": said["what"],
            "journal": said["seq"],
            "line": line.decode(),
            "signature": signature,
        }
        if said["what"] == "broken":
            audit.record("vault.broken", words=said["words"], **facts)
        else:
            audit.record("vault.line", **facts)

    def _newest_copy(self) -> int:
        """The newest line that is in the audit; only our own signature is believed."""
        newest = 0
        for verb in (heads.LINE, heads.BROKEN):
            copies = AuditEntry.objects.filter(verb=verb).order_by("-at")
            for facts in copies.values_list("facts", flat=True)[:LOOKED_AT]:
                said = heads.signed_line(facts, self._verify)
                newest = max(newest, int(said["seq"]) if said else 0)
        return newest

    # The chain.

    def _sign_new(self) -> Head | None:
        place, because = self._walk()
        if because:
            # What follows must be guarded as well, so we go on from what stands there now.
            self._journal.broken(place.seq, because)
            self._copy_lines()
            last = AuditLink.objects.order_by("-seq").first()
            place = rules.Place(last.seq, bytes(last.hash)) if last else rules.Place()
        before = (self._head.seq, self._head.hash) if self._head else (0, rules.START.hex())
        if (place.seq, place.hash.hex()) == before:
            return None
        head = Head(place.seq, place.hash.hex(), self._journal.seq, int(time.time()))
        signature = heads.sign(head, self._key)
        self._remember(head, signature)
        AuditHead.objects.create(
            seq=head.seq,
            hash=place.hash,
            journal=head.journal,
            at=datetime.fromtimestamp(head.at, UTC),
            signature=signature,
        )
        return head

    def _walk(self) -> tuple[rules.Place, str]:
        """As far as the chain holds, and why it does not go on where it breaks."""
        place = rules.Place()
        if self._head is not None:
            place = rules.Place(self._head.seq, bytes.fromhex(self._head.hash))
            kept = AuditLink.objects.filter(seq=place.seq).first()
            if not place.seq:
                kept = AuditLink(seq=0, hash=rules.START)  # all had been cut before
            if kept is None:
                return place, f"Link {place.seq} of the audit, which was signed, is gone."
            if bytes(kept.hash) != place.hash:
                return place, f"The audit up to link {place.seq} was written anew."
        links = list(AuditLink.objects.filter(seq__gt=place.seq).order_by("seq")[:AT_ONCE])
        for link, because in _compared(links, place):
            if because:
                return rules.Place(link.seq, bytes(link.hash)), because
            place = rules.Place(link.seq, bytes(link.hash))
        return place, ""

    def _look_again(self) -> None:
        """Read some of what was signed before; it should be as it was."""
        if self._head is None:
            return
        before = AuditLink.objects.filter(seq=self._read_again).first()
        place = rules.Place(before.seq, bytes(before.hash)) if before else rules.Place()
        links = list(
            AuditLink.objects.filter(seq__gt=place.seq, seq__lte=self._head.seq).order_by("seq")[
                :AGAIN
            ]
        )
        for link, because in _compared(links, place):
            if because and not self._journal.is_known_as_broken(link.seq):
                self._journal.broken(link.seq, because)
                break  # one a look; the others come in turn
        self._read_again = links[-1].seq if links else 0

    # What it remembers, and what it gives away.

    def _remembered(self) -> Head | None:
        try:
            head, signature = heads.imported(self._state.read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            raise JournalBroken("The last head in the vault's state cannot be read.") from None
        if not heads.is_signed(head.document(), signature, self._verify):
            return None  # of a former key; the chain is walked from its start
        return head

    def _remember(self, head: Head, signature: bytes) -> None:
        disk.keep(self._state, f"{heads.exported(head, signature)}\n".encode())
        self._head = head

    def _give_away(self) -> None:
        """Where copies outside of the database are wanted, each gets one every five minutes."""
        now = time.monotonic()
        if self._outside is None:
            return
        if self._head and (not self._given_at or now - self._given_at >= GIVE_EVERY):
            self._outside.give(heads.exported(self._head, heads.sign(self._head, self._key)))
            self._given_at = now
        self._outside.look()

    def close(self) -> None:
        if self._outside is not None:
            self._outside.close()


def _compared(links: list[AuditLink], place: rules.Place) -> Iterator[tuple[AuditLink, str]]:
    """Each link with what is wrong with it, if anything."""
    found = chain.rows(link.entry for link in links)
    for link in links:
        digest, row = bytes(link.digest), found.get(link.entry)
        because = ""
        if link.seq != place.seq + 1:
            because = f"Link {place.seq + 1} of the audit is gone."
        elif row is None:
            because = f"Entry {link.entry} of the audit is gone (link {link.seq})."
        elif rules.digest(row) != digest:
            because = f"Entry {link.entry} of the audit was changed (link {link.seq})."
        elif bytes(link.hash) != rules.follow(
            place.hash, seq=link.seq, entry=link.entry, digest=digest
        ):
            because = f"Link {link.seq} of the audit does not follow the one before it."
        yield link, because
        place = rules.Place(link.seq, bytes(link.hash))
