"""What an expert may write into a command of their own, and what of it may be shown.

No way leads round the two people: nothing that clears, and nothing that carries an unlock token, at
whatever depth, is taken. What has a page of its own goes by that page, with its checks; an erase
wants the serial typed; a lock carries no words, so that none can pass for the code of a possession.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from devices.rules import plists

LARGEST = 64 * 1024  # bytes of arguments
DEEPEST = 12
MOST_VALUES = 1000  # of an answer that is kept
LONGEST_TEXT = 500
MASK = "•••"
TOKEN = "unlocktoken"  # noqa: S105 - its name, as it is looked for
TOKEN_BEGINS = b"DATA\0"  # an escrow key bag's first tag

GO_ANOTHER_WAY = {
    "ClearPasscode": (
        "ClearPasscode is not sent from here. Next: ask for a clear, which a second person signs."
    ),
    "RequestUnlockToken": "No device since iOS 6 knows RequestUnlockToken. Next: enroll it again.",
    "InstallProfile": (
        "Profiles go by policies, or by withheld configuration, which waits for a compliant "
        "passcode. Next: add it there."
    ),
    "DeclarativeManagement": "It is sent by itself whenever something is declared anew.",
    "EnableLostMode": "Lost Mode goes with the mark. Next: mark the device as lost, and it is switched on.",
    "DisableLostMode": "Lost Mode goes with the mark. Next: mark the device as found, and it is switched off.",
    "DeviceLocation": "Where a device is, is asked on the page of a lost device alone, and leaves a trace there.",
    "PlayLostModeSound": "A sound is for lost devices. Next: ask for it on the page of the lost device.",
    "DeleteUser": "Users have their own page. Next: delete the user there, where it is confirmed.",
}
NO_ARGUMENT = frozenset({"requesttype", "commanduuid", "payload", "command"})
NO_WORDS = ("message", "phonenumber", "footnote")  # on the lock screen
EXACTLY = ("pin", "passcode")  # others begin so, and hold no secret: PasscodePresent
SECRET = ("password", "secret", "privatekey", "authtoken")
SECRET_IN_ANSWERS = (
    *SECRET,
    TOKEN,
    "token",
    "pushmagic",
    "recoverykey",
    "bypasscode",
    "challenge",
)


class Refused(Exception):
    """It is not sent; the message says why, for a person to read."""


def read(text: str) -> dict[str, Any]:
    """The arguments that were written as JSON or as a property list; none is none."""
    text = text.strip()
    if not text:
        return {}
    if len(text.encode()) > LARGEST:
        raise Refused(f"The arguments are too long: {LARGEST // 1024} KB at most.")
    try:
        keys = (
            plists.read(text.encode())
            if text.startswith("<")
            else json.loads(text, parse_constant=_no_number)
        )
    except Exception:  # noqa: BLE001 - too deep, too long a number: json keeps no list
        raise Refused("The arguments are neither JSON nor an XML property list.") from None
    if not isinstance(keys, dict):
        raise Refused("The arguments are a dictionary: a name and a value for each.")
    return keys


def _no_number(word: str) -> float:
    raise ValueError(word)  # NaN and Infinity are Python's, not JSON's


def refusal(
    request_type: str,
    arguments: Mapping[str, Any],
    *,
    serial: str,
    typed_serial: str,
    ours: Collection[str],
) -> str | None:
    """Why this is not sent, as a sentence; None where nothing here forbids it.

    `ours` are the identifiers of profiles that policies, configurations and the enrollment bring.
    """
    return next(_refusals(request_type, arguments, serial, typed_serial, ours), None)


def _refusals(
    request_type: str,
    arguments: Mapping[str, Any],
    serial: str,
    typed_serial: str,
    ours: Collection[str],
) -> Iterator[str]:
    if TOKEN in request_type.casefold() or _carries_a_token(arguments):
        yield (
            "This carries an unlock token, or its name. No command from here may. "
            "Next: ask for a clear, which a second person signs."
        )
    if request_type in GO_ANOTHER_WAY:
        yield GO_ANOTHER_WAY[request_type]
    names = {str(name).casefold() for name in arguments}
    if named := NO_ARGUMENT & names:
        yield (
            f"Give the arguments alone: {', '.join(sorted(named))} is no argument, or is written "
            "by the product."
        )
    if request_type == "DeviceLock" and names & set(NO_WORDS):
        yield (
            "A lock from here carries no words: they could be taken for the code that proves "
            "possession. Next: send it without a message."
        )
    if request_type == "RemoveProfile" and arguments.get("Identifier") in ours:
        yield (
            "That profile belongs to a policy, a withheld configuration or the enrollment. "
            "Next: take it away where it was given, so that everybody knows."
        )
    if request_type == "EraseDevice" and not (serial and typed_serial.strip() == serial):
        yield (
            "EraseDevice erases everything on the device, for good. "
            "Next: type the serial of the device to confirm it."
        )


def _carries_a_token(value: Any, depth: int = 0) -> bool:
    if depth > DEEPEST:
        return True  # nobody needs that; what cannot be looked into is not sent
    match value:
        case Mapping():
            return any(
                _carries_a_token(part, depth + 1) for pair in value.items() for part in pair
            )
        case list() | tuple():
            return any(_carries_a_token(part, depth + 1) for part in value)
        case str():
            return TOKEN in value.casefold()
        case bytes():
            return bool(TOKEN.encode() in value.lower() or value.startswith(TOKEN_BEGINS))
        case _:
            return False


def is_secret(arguments: Mapping[str, Any]) -> bool:
    """Whether something in the arguments may not lie about in plain; or JSON cannot hold it."""
    return bool(masked(arguments) != dict(arguments))


def masked(value: Any) -> Any:
    """The arguments as the audit and the pages may show them."""
    return _shown(value, SECRET, [MOST_VALUES])


def bounded(value: Any) -> Any:
    """An answer of a device as it may be kept and shown: short, plain, and without a secret."""
    return _shown(value, SECRET_IN_ANSWERS, [MOST_VALUES])


def _shown(  # noqa: PLR0911 - one for each kind of value
    value: Any, hidden: tuple[str, ...], left: list[int], depth: int = 0
) -> Any:
    left[0] -= 1
    if left[0] < 0 or depth > DEEPEST:
        return "… (cut)"
    match value:
        case Mapping():
            return {
                str(key)[:LONGEST_TEXT]: (
                    MASK
                    if _hides(str(key), hidden) and not isinstance(part, bool)
                    else _shown(part, hidden, left, depth + 1)
                )
                for key, part in list(value.items())[: max(left[0], 0)]
            }
        case list() | tuple():
            parts = value[: max(left[0], 0)]
            return [_shown(part, hidden, left, depth + 1) for part in parts]
        case bytes():
            return f"({len(value)} bytes)"
        case datetime():
            return value.isoformat()
        case str():
            return value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]}…"
        case bool() | int() | float() | None:
            return value
        case _:
            return str(value)[:LONGEST_TEXT]


def _hides(key: str, hidden: tuple[str, ...]) -> bool:
    plain = key.casefold().replace("_", "")
    return plain in EXACTLY or any(word in plain for word in hidden)
