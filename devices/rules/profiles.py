"""Which configuration profiles staff may upload, and what one says of itself.

A profile is refused when a device could not install it, when nobody can see what is in it, and
when it would do what this product does in another way: enroll a device, or set passcode
requirements. The refusal says what is wrong, where, and how to mend it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from devices.rules import cms, plists

LARGEST = 2 * 1024 * 1024  # bytes
LONGEST = {"PayloadIdentifier": 200, "PayloadUUID": 64}  # characters
LONGEST_NAME = 200
MOST_PAYLOADS = 200
DER_SEQUENCE = b"\x30"  # how a signed or an encrypted profile begins

MDM = "com.apple.mdm"
PASSCODE = "com.apple.mobiledevice.passwordpolicy"
NOT_HERE = {
    MDM: (
        "it would enroll the device. A device is enrolled by an enrollment link; take the payload "
        "out of the profile."
    ),
    PASSCODE: (
        "it sets passcode requirements. Requirements are kept in policies, where their effect is "
        "measured; make a policy, and take the payload out of the profile."
    ),
}


class Refused(Exception):
    """The profile cannot be taken; the message says why, for a person to read."""


@dataclass(frozen=True, slots=True)
class ProfileFacts:
    """What a profile says of itself. Its content may hold passwords, so it does not print."""

    identifier: str
    uuid: str
    name: str
    payload_types: tuple[str, ...]
    signed: bool
    content: dict[str, Any] = field(repr=False)


def read(data: bytes) -> ProfileFacts:
    """The facts of a profile that may be kept, or Refused with everything that is wrong."""
    if len(data) > LARGEST:
        raise Refused(
            f"The file has {len(data) / 1024 / 1024:.1f} MB; a profile may have "
            f"{LARGEST // 1024 // 1024} MB at most. Split it, or make its pictures smaller."
        )
    if not data.strip():
        raise Refused("The file is empty. Export the profile again.")
    signed = data.startswith(DER_SEQUENCE)
    content = _dictionary(_unsigned(data) if signed else data)
    if problems := list(_problems(content)):
        raise Refused(" ".join(problems))
    return ProfileFacts(
        identifier=content["PayloadIdentifier"],
        uuid=content["PayloadUUID"],
        name=_name(content),
        payload_types=tuple(payload["PayloadType"] for payload in content["PayloadContent"]),
        signed=signed,
        content=content,
    )


def _unsigned(data: bytes) -> bytes:
    try:
        return cms.unwrap(data)
    except cms.NotVerified as fault:
        raise Refused(
            f"The profile seems to be signed, but its signature cannot be verified: {fault}. "
            "The file may be damaged, changed after it was signed, signed with SHA-1, or "
            "encrypted for one device. Sign it again, or upload it unsigned."
        ) from None


def _dictionary(data: bytes) -> dict[str, Any]:
    try:
        content = plists.read(data)
    except plists.NotRead:
        raise Refused(
            "The file is not a configuration profile: it is no property list. "
            "Upload a file that ends in .mobileconfig, as Apple Configurator exports it."
        ) from None
    if not isinstance(content, dict):
        raise Refused(
            "The file is not a configuration profile: its outermost element is not a dictionary. "
            "Upload a file that ends in .mobileconfig, as Apple Configurator exports it."
        )
    return content


def _problems(content: dict[str, Any]) -> Iterator[str]:
    """Everything that is wrong, so that staff can mend all of it at once."""
    if "EncryptedPayloadContent" in content:
        yield (
            "The profile is encrypted, so nobody can see what it brings. "
            "Export it without encryption; it travels to the device over TLS."
        )
        return
    if content.get("PayloadType") != "Configuration":
        yield (
            "The property list is no configuration profile: its PayloadType is not Configuration. "
            "Upload the profile itself, not one of its payloads."
        )
        return
    yield from _head("The profile", content)
    payloads = content.get("PayloadContent")
    if not isinstance(payloads, list) or not payloads:
        yield (
            "The profile is empty: its PayloadContent lists no payload. "
            "Add what the device is to be given."
        )
        return
    if len(payloads) > MOST_PAYLOADS:
        yield f"The profile has more than {MOST_PAYLOADS} payloads. Split it."
        return
    for number, payload in enumerate(payloads, start=1):
        yield from _payload(number, payload)
    yield from _twins(content, payloads)


def _payload(number: int, payload: object) -> Iterator[str]:
    if not isinstance(payload, dict):
        yield (
            f"Payload {number} is not a dictionary. "
            "Open the profile in Apple Configurator and export it again."
        )
        return
    kind = payload.get("PayloadType")
    if not isinstance(kind, str) or not kind:
        yield f"Payload {number} has no PayloadType. Add it; it says what the payload is."
        return
    if len(kind) > LONGEST_NAME or not kind.isprintable():
        yield (
            f"The PayloadType of payload {number} is longer than {LONGEST_NAME} characters or "
            "holds one that cannot be printed, so it is none of Apple's. Correct it."
        )
        return
    if reason := NOT_HERE.get(kind):
        yield f"Payload {number} ({kind}) is not allowed: {reason}"
    yield from _head(f"Payload {number} ({kind})", payload)


def _head(where: str, payload: dict[str, Any]) -> Iterator[str]:
    """The keys that Apple demands of the profile and of each payload in it."""
    for key, example in (
        ("PayloadIdentifier", "a name such as com.example.wifi that stays the same"),
        ("PayloadUUID", "a new one for every version; the command uuidgen makes one"),
    ):
        value = payload.get(key)
        if not isinstance(value, str) or not value.strip():
            yield f"{where} has no {key}. Add it: {example}."
        elif len(value) > LONGEST[key] or not value.isprintable():
            yield (
                f"The {key} of {where[0].lower()}{where[1:]} is longer than {LONGEST[key]} "
                "characters or holds one that cannot be printed. Choose a plain, shorter one."
            )
    version = payload.get("PayloadVersion")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        yield f"{where} has no PayloadVersion. Add it as an integer: 1."


def _twins(content: dict[str, Any], payloads: list[Any]) -> Iterator[str]:
    seen: set[str] = set()
    for part in (content, *payloads):
        uuid = part.get("PayloadUUID") if isinstance(part, dict) else None
        if not isinstance(uuid, str):
            continue
        if uuid.casefold() in seen:
            yield (
                f"The PayloadUUID {uuid[:64]} stands in the profile twice. "
                "Give every payload one of its own."
            )
        seen.add(uuid.casefold())


def _name(content: dict[str, Any]) -> str:
    name = content.get("PayloadDisplayName")
    if isinstance(name, str) and name.strip() and name.isprintable():
        return name.strip()[:LONGEST_NAME]
    return str(content["PayloadIdentifier"])
