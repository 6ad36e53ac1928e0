"""A command as the device reads it; the only place that writes an UnlockToken or a secret message.

The token goes in as the bytes that came with the TokenUpdate: the property list encodes them,
and nothing else may.
"""

import plistlib
from collections.abc import Mapping
from typing import Any

from devices.rules.secret import Secret

PAYLOADS = {"InstallProfile": "Payload", "DeclarativeManagement": "Data"}  # who takes bytes, where
NEED_A_PAYLOAD = frozenset({"InstallProfile"})
OURS = frozenset({"RequestType", "UnlockToken", *PAYLOADS.values()})  # no argument may set these


def render(
    uuid: str,
    request_type: str,
    *,
    arguments: Mapping[str, Any],
    payload: bytes | None = None,
    unlock_token: Secret | None = None,
    message: Secret | None = None,
) -> bytes:
    """The XML property list of one command; ValueError where the house asks for nonsense."""
    if taken := OURS & set(arguments):
        raise ValueError(f"{', '.join(sorted(taken))} is no argument of a command")
    command: dict[str, Any] = {"RequestType": request_type, **arguments}
    if payload:
        if request_type not in PAYLOADS:
            raise ValueError(f"{request_type} takes no payload")
        command[PAYLOADS[request_type]] = payload
    elif request_type in NEED_A_PAYLOAD:
        raise ValueError(f"{request_type} needs a payload")
    if (request_type == "ClearPasscode") is not bool(unlock_token):
        raise ValueError("ClearPasscode, and nothing else, carries an unlock token")
    if unlock_token:
        token = unlock_token.reveal()
        if not token:
            raise ValueError("an empty unlock token opens nothing")
        command["UnlockToken"] = token
    if message:
        if request_type != "DeviceLock" or "Message" in command:
            raise ValueError("DeviceLock, and nothing else, carries a secret message")
        command["Message"] = message.reveal().decode()
    return plistlib.dumps({"CommandUUID": uuid, "Command": command}, sort_keys=False)
