"""Whether all processes mean the same keys, as far as each may say: their public halves are compared."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import formats, timezone
from django.utils.dateparse import parse_datetime

from devices import door_key, sealing, trials
from mdm.desk.first_checks import CHECKIN, CONNECT, RESTART, Check, Known
from passcodes import chain, vault_says

AUTHORITY_WARNS = timedelta(days=180)


def keys(known: Known) -> Iterator[Check]:
    yield _vault(known)
    keys = known.vault.get("keys", {})
    yield _signature(keys)
    yield _same(
        "The door seals tokens to the vault’s key",
        ("the vault", keys.get("boxes")),
        ("check-in", known.facts(CHECKIN).get("boxes")),
        "VAULT_PUBLIC_KEY",
    )
    yield _same(
        "The door takes orders from this vault alone",
        ("the vault", keys.get("orders")),
        ("the door", known.facts(CONNECT).get("orders")),
        "VAULT_VERIFY_KEY",
    )
    yield _same(
        "The vault hands tokens to this door alone",
        ("the door", known.facts(CONNECT).get("door")),
        ("the vault", keys.get("door")),
        "DOOR_PUBLIC_KEY",
    )
    yield _same(
        "This site seals to the door’s key",
        ("the door", known.facts(CONNECT).get("door")),
        ("this site", _own_door_key()),
        "DOOR_PUBLIC_KEY",
    )
    yield _same(
        "The worker opens what this site seals to it",
        ("the worker", known.facts(trials.PUSH).get("worker")),
        ("this site", _id(settings.WORKER_PUBLIC_KEY)),
        "WORKER_PUBLIC_KEY",
    )


def _vault(known: Known) -> Check:
    text = "The vault speaks"
    try:
        vault_says.house()
    except vault_says.Silent as words:
        return Check(
            text,
            "no",
            str(words),
            known.vault_at,
            "Start it, and see what its log says.",
            "systemctl start passcodes-vault; journalctl -u passcodes-vault -n 20",
        )
    return Check(text, "yes", "By its pulse, which nobody else can make", known.vault_at)


def _signature(keys: dict[str, str]) -> Check:
    """Two proofs: the id of the key that it names, and a signature of it under the charter's copy."""
    text = "It signs with the key that this site was given"
    if not settings.VAULT_VERIFY_KEY:
        return Check(
            text, "open", "This site was not given VAULT_VERIFY_KEY.", None, "Give it.", RESTART
        )
    own, copy = _id(settings.VAULT_VERIFY_KEY), vault_says.charter_copy(chain.own_keys())
    if copy.is_signed is False or (keys.get("orders") and keys["orders"] != own):
        return Check(
            text,
            "no",
            f"This site expects {own}; the vault signs with {keys.get('orders', 'another')}.",
            copy.at,
            "Give this site the vault’s present VAULT_VERIFY_KEY. If nobody has changed it, "
            "somebody else speaks for the vault: stop, and look who writes to the database.",
            RESTART,
        )
    if copy.is_signed is None and not keys.get("orders"):
        return Check(text, "open", "The vault has not said yet.")
    return Check(text, "yes", f"Fingerprint {own}", copy.at)


def _same(text: str, one: tuple[str, Any], other: tuple[str, Any], setting: str) -> Check:
    """Whether two processes mean the same key; what one of them has not said is not known."""
    for whose, key in (one, other):
        if not key:
            return Check(text, "open", f"Not known: {whose} has not said which key it holds.")
    if one[1] == other[1]:
        return Check(text, "yes", f"Fingerprint {one[1]}")
    return Check(
        text,
        "no",
        f"{one[0].capitalize()} has {one[1]}, {other[0]} has {other[1]}.",
        None,
        f"Give {other[0]} the right {setting}, and start it again.",
        RESTART,
    )


def _id(written: str) -> str:
    try:
        return sealing.raw_id(sealing.raw(written)) if written else ""
    except sealing.NotAKey:
        return ""


def _own_door_key() -> str:
    try:
        return door_key.present_id()
    except (door_key.NoKey, sealing.NotAKey):
        return ""


def authority(known: Known) -> Iterator[Check]:
    here = known.facts(CHECKIN).get("authority") or {}
    there = known.facts(CONNECT).get("authority") or {}
    at = known.tried[CHECKIN].at if CHECKIN in known.tried else None
    until = parse_datetime(str(here.get("until", "")))
    if until is None:
        yield Check("Its certificate is valid", "open", "Check-in has not said.", at)
        return
    ends = formats.date_format(timezone.localtime(until), "j F Y")
    if until <= known.now:
        yield Check(
            "Its certificate is valid",
            "no",
            f"It ended on {ends}.",
            at,
            "docs/operations.md, «Identities».",
        )
    else:
        state = "yes" if until > known.now + AUTHORITY_WARNS else "care"
        yield Check("Its certificate is valid", state, f"Until {ends}", at)
    signs = bool(here.get("signs"))
    yield Check(
        "Check-in holds the key that belongs to it",
        "yes" if signs else "no",
        "" if signs else "Its key is not there, or belongs to another certificate.",
        at,
        "Bring the right ca.key back; devices hang on it.",
        "manage.py setup --check",
    )
    same = here.get("fingerprint") == there.get("fingerprint")
    yield Check(
        "Commands know the same authority",
        "yes" if same else "no",
        "" if same else "The two doors were given different certificates.",
        at,
        "Give both the same CA_CERTIFICATE.",
        RESTART,
    )
