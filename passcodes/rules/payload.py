"""Requirements as Apple wants them: a configuration profile, or the payload of a declaration.

The identifier stays the same over all versions of a policy, so that a new one replaces the old;
the UUID is the version's own, so that a list of profiles proves which version is installed.
"""

import plistlib
import uuid as uuids

from devices.rules.channels import Platform
from passcodes.rules.requirements import CATALOGUE, Requirements

PROFILE_TYPE = "com.apple.mobiledevice.passwordpolicy"
DECLARATION_TYPE = "com.apple.configuration.passcode.settings"


def profile(
    requirements: Requirements, *, identifier: str, uuid: str, name: str, organisation: str
) -> bytes:
    """The profile with its one passcode payload; the same facts give the same bytes."""
    keys = {
        requirement.apple_key: value
        for requirement in CATALOGUE
        if (value := requirements.value(requirement.field)) is not None
    }
    payload = {
        **keys,
        "PayloadType": PROFILE_TYPE,
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{identifier}.passcode",
        "PayloadUUID": str(uuids.uuid5(uuids.UUID(uuid), PROFILE_TYPE)).upper(),
        "PayloadDisplayName": name,
    }
    return plistlib.dumps(
        {
            "PayloadType": "Configuration",
            "PayloadVersion": 1,
            "PayloadIdentifier": identifier,
            "PayloadUUID": uuid.upper(),
            "PayloadDisplayName": name,
            "PayloadOrganization": organisation,
            "PayloadScope": "System",
            "PayloadContent": [payload],
        },
        sort_keys=True,
    )


def settings(
    requirements: Requirements, *, platform: Platform | None = None
) -> dict[str, bool | int]:
    """The keys of the passcode settings, for a platform those that it knows.

    An iPhone or iPad must not be less protected by them than by the profile: there the presence
    of a profile demands a passcode, and without maxGracePeriod it is needed at once.
    """
    payload: dict[str, bool | int] = {}
    for requirement in CATALOGUE:
        value = requirements.value(requirement.field)
        if value is not None and (platform is None or platform in requirement.platforms):
            # RequireComplexPasscode says the opposite of allowSimple.
            payload[requirement.ddm_key] = (
                not value if requirement.field == "allow_simple" else value
            )
    if platform in {Platform.IOS, Platform.IPADOS}:
        payload["RequirePasscode"] = True
        payload.setdefault("MaximumGracePeriodInMinutes", 0)
    return payload
