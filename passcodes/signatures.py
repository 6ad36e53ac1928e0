"""Put into words what a person is to sign, and take down what has been signed.

The staff site's answer is a quick one, so that a person hears at once what is wrong. The vault looks
for itself, and believes nothing but the bytes and its own charter.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from devices.models import Device
from passcodes import escrow, signing, vault_says
from passcodes.models import (
    Act,
    Approval,
    ClearList,
    ClearRequest,
    EscrowedToken,
    Possession,
    Signature,
)
from passcodes.models.signatures import Kind
from passcodes.rules import clearing as rules
from passcodes.rules import statements
from passcodes.rules.charter import Rule
from passcodes.rules.clearing import Refused
from passcodes.rules.possession import How
from staff.models import SigningKey, User

About = ClearRequest | ClearList  # what one statement is about
CLEAR = "clear"
SIGN_AGAIN = "Next: sign again."
NO_PASSKEY = "You have no signing passkey. Next: register one, under «My signing passkeys»."
NOT_PINNED = (
    "The vault does not know your signing passkey. "
    "Next: wait a moment; if it stays so, have it pinned by two keepers."
)
NO_ASK = "Nobody has signed this request. Next: ask again."
OTHER = f"What was signed is not what this page had asked for. {SIGN_AGAIN}"
CHANGED = f"What you were shown has changed since. {SIGN_AGAIN}"
IN_A_LIST = "It is asked for together with other devices. Next: sign the whole list."
TOO_LARGE = "All of this is too much for one statement. Next: leave some devices out, and ask for them apart."


@dataclass(frozen=True, slots=True)
class Signed:
    """What came back from the signing page."""

    statement: bytes
    assertion: Mapping[str, str]


def seen(device: Device, token: EscrowedToken | None) -> dict[str, Any]:
    """The facts that a person has before them when they ask or sign."""
    return {
        "lost": int(device.is_lost),
        "model": token.model if token else "",
        "name": str(device),
        "os": device.os_version,
        "owner": device.assigned_to_id or 0,
        "seen": int(device.last_seen_at.timestamp()) if device.last_seen_at else 0,
        "serial": escrow.cleaned(device.serial),
        "token": token.token.hex if token else "",
        "token_at": int(token.received_at.timestamp()) if token else 0,
        "udid": device.udid,
        "user": device.user_name,
        "used_by": _used_by(device),
    }


def facts(device: Device, token: EscrowedToken | None) -> dict[str, Any]:
    """What stands in a *yes*, and what the vault compares with the rows when it opens."""
    shown = seen(device, token)
    return {
        "lost": shown["lost"],
        "os": one_line(shown["os"]),
        "seen": shown["seen"],
        "token_at": shown["token_at"],
        "udid": shown["udid"],
        "user": one_line(shown["used_by"]),
    }


def members(about: About) -> list[ClearRequest]:
    """The requests that one statement is about, in the order in which it names their devices."""
    if isinstance(about, ClearRequest):
        if about.list_id:
            raise Refused(IN_A_LIST)
        return [about]
    rows = about.requests.select_related("device", "token", "requested_by", "possession")
    return list(rows.order_by("place"))


def rule(about: About) -> Rule:
    """What the charter demands, as far as its copy tells. The vault reads its own."""
    asked = members(about)
    return rule_for(str(asked[0].reason), [str(one.snapshot["serial"]) for one in asked])


def rule_for(reason: str, serials: Iterable[str]) -> Rule:
    return vault_says.charter().rule(reason=reason, serials=serials)


def who_may_sign(about: About) -> list[str]:
    """Who can still approve it, by name, as far as the charter's copy and the rows tell."""
    asked, charter = members(about), vault_says.charter()
    serials = [str(one.snapshot["serial"]) for one in asked]
    users = {str(one.snapshot.get("used_by", "")) for one in asked}
    rows = Possession.objects.filter(request__in=asked).values_list("witness__username", flat=True)
    signed = Approval.objects.filter(request__in=asked).values_list("by__username", flat=True)
    others = {asked[0].requested_by.get_username(), *rows, *signed}
    return sorted(
        person.name
        for person in charter.people
        if "yes" in person.roles
        and person.keys
        and person.name not in others
        and charter.may_sign_for(person, serials)
        and not any(person.is_called(user) for user in users)
    )


def to_ask(draft: About, *, by: User) -> bytes:
    """What the person who asks signs."""
    lasts = min(rules.REQUEST_LASTS, timedelta(seconds=rule(draft).ask_lasts))
    until = int((timezone.now() + lasts).timestamp())
    return written(_ask(draft), "ask", draft.pk, by=by, until=until)


def to_approve(asked: About, *, by: User) -> bytes:
    """What the person who approves signs: the ask that was signed, and the facts of now."""
    demanded = rule(asked)
    until = rules.approved_until(
        timezone.now(),
        expires_at=min(one.expires_at for one in members(asked)),
        hold=timedelta(seconds=demanded.hold),
        at_most=timedelta(seconds=demanded.yes_lasts),
    )
    said = {"ask": digest(asked), "facts": _facts(asked)}
    return written(said, "yes", asked.pk, by=by, until=int(until.timestamp()))


def to_deny(asked: About, *, words: str, by: User) -> bytes:
    said = {"ask": digest(asked), "words": one_line(words, statements.LONGEST_WORDS)}
    return written(said, "no", asked.pk, by=by)


def to_witness(asked: About, *, by: User) -> bytes:
    """What a second person signs who sees the devices."""
    said = {"ask": digest(asked), "devices": _serials(asked)}
    return written(said, "witness", asked.pk, by=by)


def ask(draft: About, signed: Signed, *, by: User) -> datetime:
    """Take down a signed ask, if it is the one of this draft; until when it counts."""
    said = checked(signed, "ask", draft, by)
    if any(said.get(name) != value for name, value in _ask(draft).items()):
        raise Refused(OTHER)
    return counts_until(said, latest=timezone.now() + rules.REQUEST_LASTS)


def approve(asked: About, signed: Signed, *, by: User) -> datetime:
    """Take down a signed *yes*, if it answers this ask with the facts of now; until when it counts."""
    said = checked(signed, "yes", asked, by)
    now = _facts(asked)
    if said["ask"] != digest(asked) or len(said["facts"]) != len(now):
        raise Refused(OTHER)
    for then, fact in zip(said["facts"], now, strict=True):
        if {**then, "seen": 0} != {**fact, "seen": 0}:
            raise Refused(CHANGED)
    demanded = rule(asked)
    return counts_until(said, latest=timezone.now() + timedelta(seconds=demanded.yes_lasts))


def deny(asked: About, signed: Signed, *, by: User) -> str:
    """Take down a signed *no*; its words."""
    said = checked(signed, "no", asked, by)
    if said["ask"] != digest(asked):
        raise Refused(OTHER)
    return str(said["words"])


def witness(asked: About, signed: Signed, *, by: User) -> None:
    """Take down that a second person sees the devices."""
    said = checked(signed, "witness", asked, by)
    if said["ask"] != digest(asked) or said["devices"] != _serials(asked):
        raise Refused(OTHER)


def keep(request: UUID, signed: Signed, *, by: User) -> Signature:
    """From here the vault finds it."""
    kind = Kind(statements.read(signed.statement)["kind"])
    return Signature.objects.create(
        request=request,
        kind=kind,
        person=by,
        statement=signed.statement,
        assertion=dict(signed.assertion),
        at=timezone.now(),
    )


def credentials(user: User) -> list[bytes]:
    """The ids of the passkeys that this person can sign with now; or Refused."""
    if not SigningKey.objects.filter(person=user, revoked_at=None).exists():
        raise Refused(NO_PASSKEY)
    keys = vault_says.pinned(user)
    if not keys:
        raise Refused(NOT_PINNED)
    return [signing.credential_id(bytes(key.credential)) for key in keys]


def the_ask(asked: About | Act) -> bytes:
    """The statement that was signed by who asked; the one that the vault has heard, if it has."""
    if isinstance(asked, ClearRequest):
        members(asked)
    rows = Signature.objects.filter(request=asked.pk, kind=Kind.ASK).order_by("at")
    heard = vault_says.of_request(asked.pk).get("ask")
    found = [bytes(raw) for raw in rows.values_list("statement", flat=True)[:20]]
    for raw in found:
        if statements.digest(raw) == heard:
            return raw
    if not found:
        raise Refused(NO_ASK)
    return found[0]


def read(statement: bytes) -> dict[str, Any]:
    """What came back from the signing page, or Refused."""
    try:
        return statements.read(statement)
    except statements.NotCanonical:
        raise Refused(
            f"What came back from the signing page cannot be read. {SIGN_AGAIN}"
        ) from None


def _ask(draft: About) -> dict[str, Any]:
    asked = members(draft)
    return {
        "act": CLEAR,
        "devices": [_device(one) for one in asked],
        "reason": str(asked[0].reason),
        "words": one_line(asked[0].words, statements.LONGEST_WORDS),
    }


def _device(asked: ClearRequest) -> dict[str, Any]:
    shown = asked.snapshot
    proof = Possession.objects.get(request=asked)
    possession = {"how": str(proof.how)}
    if proof.how == How.CODE and proof.code_id:
        possession["code"] = proof.code_id.hex
    return {
        "model": str(shown["model"]),
        "name": one_line(shown["name"]),
        "possession": possession,
        "serial": str(shown["serial"]),
        "token": str(shown["token"]),
        "udid": str(shown["udid"]),
        "user": one_line(shown.get("used_by", "")),
    }


def _facts(asked: About) -> list[dict[str, Any]]:
    return [facts(one.device, escrow.current(one.device)) for one in members(asked)]


def _serials(asked: About) -> list[str]:
    return [str(one.snapshot["serial"]) for one in members(asked)]


def written(said: Mapping[str, Any], kind: str, request: UUID, *, by: User, **more: Any) -> bytes:
    """A statement of this person, as the vault can hear it now; or Refused."""
    try:
        house = vault_says.house()
    except vault_says.Silent as silent:
        raise Refused(str(silent)) from None
    try:
        return statements.write(
            {
                "by": by.get_username(),
                "charter": house.charter,
                "kind": kind,
                "pulse": house.pulse,
                "request": request.hex,
                "v": statements.VERSION,
                **said,
                **more,
            }
        )
    except statements.TooLarge:
        raise Refused(TOO_LARGE) from None


def checked(signed: Signed, kind: str, about: About | Act, by: User) -> dict[str, Any]:
    """The quick answer: this person, this request, one of their passkeys."""
    said = read(signed.statement)
    if (said["by"], said["kind"], said["request"]) != (by.get_username(), kind, about.pk.hex):
        raise Refused(OTHER)
    wanted = signing.decoded_id(signed.assertion)
    for key in SigningKey.objects.filter(person=by, revoked_at=None):
        if signing.credential_id(bytes(key.credential)) != wanted:
            continue
        try:
            signing.verify(
                signed.statement,
                signed.assertion,
                credential=bytes(key.credential),
                backup_eligible=key.is_backup_eligible,
                counter=0,  # the vault knows the last one
            )
        except signing.NotSigned as reason:
            raise Refused(f"{reason} {SIGN_AGAIN}") from None
        return said
    raise Refused("This is none of your signing passkeys. Next: register it.")


def counts_until(said: Mapping[str, Any], *, latest: datetime) -> datetime:
    """The end that was signed, if it is ahead and not too far; or Refused."""
    until = datetime.fromtimestamp(min(said["until"], 2**40), UTC)
    if not timezone.now() < until <= latest:
        raise Refused(OTHER)
    return until


def digest(asked: About | Act) -> str:
    """What an answer names as the ask that it answers."""
    return statements.digest(the_ask(asked))


def one_line(text: object, longest: int = statements.LONGEST) -> str:
    """A text on one line, as a statement can hold it."""
    return escrow.cleaned(" ".join(str(text).split()), longest)


def _used_by(device: Device) -> str:
    """Whose device it is, as far as the house knows. The vault may read names alone."""
    if device.assigned_to_id is None:
        return device.user_name
    return User.objects.values_list("username", flat=True).get(pk=device.assigned_to_id)
