"""Put into words what a person is to sign, and take down what has been signed.

The staff site's answer is a quick one, so that a person hears at once what is wrong. The vault looks
for itself, and believes nothing but the bytes and its own charter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from devices.models import Device
from passcodes import escrow, signing, vault_says
from passcodes.models import ClearRequest, EscrowedToken, Possession, Signature
from passcodes.models.signatures import Kind
from passcodes.rules import clearing as rules
from passcodes.rules import statements
from passcodes.rules.clearing import Refused
from passcodes.rules.possession import How
from staff.models import SigningKey, User

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
        "os": _said(shown["os"]),
        "seen": shown["seen"],
        "token_at": shown["token_at"],
        "udid": shown["udid"],
        "user": _said(shown["used_by"]),
    }


def to_ask(draft: ClearRequest, *, by: User) -> bytes:
    """What the person who asks signs."""
    until = int((timezone.now() + rules.REQUEST_LASTS).timestamp())
    return _bytes(_ask(draft), "ask", draft.pk, by=by, until=until)


def to_approve(asked: ClearRequest, *, by: User) -> bytes:
    """What the person who approves signs: the ask that was signed, and the facts of now."""
    until = rules.approved_until(timezone.now(), expires_at=asked.expires_at)
    said = {"ask": _digest(asked), "facts": [facts(asked.device, escrow.current(asked.device))]}
    return _bytes(said, "yes", asked.pk, by=by, until=int(until.timestamp()))


def to_deny(asked: ClearRequest, *, words: str, by: User) -> bytes:
    said = {"ask": _digest(asked), "words": _said(words, statements.LONGEST_WORDS)}
    return _bytes(said, "no", asked.pk, by=by)


def to_witness(asked: ClearRequest, *, by: User) -> bytes:
    """What a second person signs who sees the device."""
    said = {"ask": _digest(asked), "devices": [str(asked.snapshot["serial"])]}
    return _bytes(said, "witness", asked.pk, by=by)


def ask(draft: ClearRequest, signed: Signed, *, by: User) -> datetime:
    """Take down a signed ask, if it is the one of this draft; until when it counts."""
    said = _check(signed, "ask", draft, by)
    if any(said.get(name) != value for name, value in _ask(draft).items()):
        raise Refused(OTHER)
    return _until(said, latest=timezone.now() + rules.REQUEST_LASTS)


def approve(asked: ClearRequest, signed: Signed, *, by: User) -> datetime:
    """Take down a signed *yes*, if it answers this ask with the facts of now; until when it counts."""
    said = _check(signed, "yes", asked, by)
    now = facts(asked.device, escrow.current(asked.device))
    if said["ask"] != _digest(asked) or len(said["facts"]) != 1:
        raise Refused(OTHER)
    [then] = said["facts"]
    if {**then, "seen": 0} != {**now, "seen": 0}:
        raise Refused(CHANGED)
    return _until(said, latest=timezone.now() + rules.APPROVAL_LASTS)


def deny(asked: ClearRequest, signed: Signed, *, by: User) -> str:
    """Take down a signed *no*; its words."""
    said = _check(signed, "no", asked, by)
    if said["ask"] != _digest(asked):
        raise Refused(OTHER)
    return str(said["words"])


def witness(asked: ClearRequest, signed: Signed, *, by: User) -> None:
    """Take down that a second person sees the device."""
    said = _check(signed, "witness", asked, by)
    if said["ask"] != _digest(asked) or said["devices"] != [asked.snapshot["serial"]]:
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
    )


def credentials(user: User) -> list[bytes]:
    """The ids of the passkeys that this person can sign with now; or Refused."""
    if not SigningKey.objects.filter(person=user, revoked_at=None).exists():
        raise Refused(NO_PASSKEY)
    keys = vault_says.pinned(user)
    if not keys:
        raise Refused(NOT_PINNED)
    return [signing.credential_id(bytes(key.credential)) for key in keys]


def the_ask(asked: ClearRequest) -> bytes:
    """The statement that was signed by who asked; the one that the vault has heard, if it has."""
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


def _ask(draft: ClearRequest) -> dict[str, Any]:
    shown = draft.snapshot
    proof = Possession.objects.get(request=draft)
    possession = {"how": str(proof.how)}
    if proof.how == How.CODE and proof.code_id:
        possession["code"] = proof.code_id.hex
    device = {
        "model": str(shown["model"]),
        "name": _said(shown["name"]),
        "possession": possession,
        "serial": str(shown["serial"]),
        "token": str(shown["token"]),
        "udid": str(shown["udid"]),
        "user": _said(shown.get("used_by", "")),
    }
    return {
        "act": CLEAR,
        "devices": [device],
        "reason": str(draft.reason),
        "words": _said(draft.words, statements.LONGEST_WORDS),
    }


def _bytes(said: Mapping[str, Any], kind: str, request: UUID, *, by: User, **more: Any) -> bytes:
    try:
        house = vault_says.house()
    except vault_says.Silent as silent:
        raise Refused(str(silent)) from None
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


def _check(signed: Signed, kind: str, about: ClearRequest, by: User) -> dict[str, Any]:
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


def _until(said: Mapping[str, Any], *, latest: datetime) -> datetime:
    until = datetime.fromtimestamp(min(said["until"], 2**40), UTC)
    if not timezone.now() < until <= latest:
        raise Refused(OTHER)
    return until


def _digest(asked: ClearRequest) -> str:
    return statements.digest(the_ask(asked))


def _said(text: object, longest: int = statements.LONGEST) -> str:
    """A text on one line, as a statement can hold it."""
    return escrow.cleaned(" ".join(str(text).split()), longest)


def _used_by(device: Device) -> str:
    """Whose device it is, as far as the house knows. The vault may read names alone."""
    if device.assigned_to_id is None:
        return device.user_name
    return User.objects.values_list("username", flat=True).get(pk=device.assigned_to_id)
