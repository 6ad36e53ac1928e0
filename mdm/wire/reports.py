"""What a device reports on the command channel: how it stands, and the answer to a command.

The report of an unknown status is kept as one without a status: the command stays as it is, and
the device gets an empty answer. A key that is missing, or of a type we did not expect, is
unknown; it is never false.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict, TypeVar

from devices.rules.commands import Status
from mdm.wire.messages import UserKeys, sender
from mdm.wire.plists import LONGEST, LONGEST_TEXT, Malformed, load, maybe, name_of, take
from passcodes.rules.compliance import PasscodeFacts

__all__ = [
    "ErrorItem",
    "InstalledProfile",
    "ListedUser",
    "Malformed",
    "Report",
    "device_information",
    "parse",
    "profile_list",
    "restrictions",
    "security_info",
    "user_list",
]

ENVELOPE = frozenset(
    {
        "UDID",
        "EnrollmentID",
        "UserID",
        "EnrollmentUserID",
        "UserShortName",
        "UserLongName",
        "AuthToken",
        "Status",
        "CommandUUID",
        "ErrorChain",
        "RequestType",
        "NeedSyncResponse",
        "UserConfiguration",
        "NotOnConsole",
    }
)
Typed = TypeVar("Typed")

MOST_ERRORS = 20
MOST = 2**63
MOST_RESTRICTIONS = 500
LONGEST_DESCRIPTION = 2000

# The answers of DeviceInformation that we ask for, and their types. PushToken is not among them.
INFORMATION: dict[str, type[str | bool | int | float | datetime]] = {
    "UDID": str,
    "SerialNumber": str,
    "DeviceName": str,
    "OSVersion": str,
    "BuildVersion": str,
    "ProductName": str,
    "Model": str,
    "ModelName": str,
    "IsSupervised": bool,
    "IsMDMLostModeEnabled": bool,
    "AwaitingConfiguration": bool,
    "IsMultiUser": bool,
    "IsCloudBackupEnabled": bool,
    "LastCloudBackupDate": datetime,
    "IsDeviceLocatorServiceEnabled": bool,
    "IsActivationLockEnabled": bool,
    "IsNetworkTethered": bool,
    "PINRequiredForDeviceLock": bool,
    "PINRequiredForEraseDevice": bool,
    "IsAppleSilicon": bool,
}


class ErrorItem(TypedDict, total=False):
    """One link of the ErrorChain; the first is what went wrong, the next ones are its causes."""

    ErrorCode: int
    ErrorDomain: str
    LocalizedDescription: str
    USEnglishDescription: str


class ListedUser(TypedDict):
    """One account of a UserList, by our own names; None is what the device left out."""

    name: str
    full_name: str
    uid: int | None
    guid: str
    is_logged_in: bool | None
    is_mobile: bool | None
    has_secure_token: bool | None
    has_data_to_sync: bool | None
    data_quota: int | None
    data_used: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One visit on the command channel."""

    udid: str
    is_user_enrollment: bool
    user: UserKeys | None
    status: Status | None  # None: a status that Apple had not invented yet
    command_uuid: str | None
    errors: tuple[ErrorItem, ...]
    login_waits: bool = False  # NeedSyncResponse: the desktop appears after an empty answer
    is_user_configuration: bool = False  # Setup Assistant, before the first account exists
    not_on_console: bool | None = None
    keys: Mapping[str, Any] = field(repr=False)  # the answer proper; may hold recovery keys


@dataclass(frozen=True, slots=True)
class InstalledProfile:
    identifier: str
    uuid: str | None
    name: str | None
    is_managed: bool | None


def parse(body: bytes) -> Report:
    """The report in the body, or Malformed."""
    keys = load(body)
    return Report(
        **sender(keys),
        status=_status(take(keys, "Status", str)),
        command_uuid=name_of(keys, "CommandUUID") if keys.get("CommandUUID") else None,
        errors=_errors(keys.get("ErrorChain")),
        login_waits=_part(keys, "NeedSyncResponse", bool) or False,
        is_user_configuration=_part(keys, "UserConfiguration", bool) or False,
        not_on_console=_part(keys, "NotOnConsole", bool),
        keys={key: value for key, value in keys.items() if key not in ENVELOPE},
    )


def security_info(report: Report) -> PasscodeFacts:
    """What the device says of its passcode. Macs say nothing, personal devices little."""
    info = _part(report.keys, "SecurityInfo", dict) or {}
    return PasscodeFacts(
        present=_part(info, "PasscodePresent", bool),
        compliant=_part(info, "PasscodeCompliant", bool),
        compliant_with_profiles=_part(info, "PasscodeCompliantWithProfiles", bool),
    )


def device_information(report: Report) -> dict[str, str | bool | int | float | datetime]:
    """The answers by Apple's names; what the device left out is left out here."""
    answers = _part(report.keys, "QueryResponses", dict) or {}
    found: dict[str, str | bool | int | float | datetime] = {}
    for key, kind in INFORMATION.items():
        value = _part(answers, key, kind)
        if isinstance(value, str):
            value = value[:LONGEST_TEXT]
        if isinstance(value, datetime):
            value = value.replace(tzinfo=UTC)  # a property list knows no other zone
        if value is not None:
            found[key] = value
    return found


def profile_list(report: Report) -> tuple[InstalledProfile, ...]:
    """The profiles on the device; an entry without an identifier names none."""
    found = []
    for entry in _part(report.keys, "ProfileList", list) or []:
        identifier = _part(entry, "PayloadIdentifier", str) if isinstance(entry, dict) else None
        if identifier:
            found.append(
                InstalledProfile(
                    identifier=identifier,
                    uuid=_part(entry, "PayloadUUID", str),
                    name=_part(entry, "PayloadDisplayName", str),
                    is_managed=_part(entry, "IsManaged", bool),
                )
            )
    return tuple(found)


def restrictions(report: Report) -> dict[str, bool | int]:
    """What the device says it enforces, by Apple's names: yes and no, and numbers.

    Apple, "Restrictions": GlobalRestrictions has restrictedBool and restrictedValue, each value
    in a dictionary of its own.
    """
    found: dict[str, bool | int] = {}
    everything = _part(report.keys, "GlobalRestrictions", dict) or {}
    for part, kind in (("restrictedBool", bool), ("restrictedValue", int)):
        values = _part(everything, part, dict) or {}
        for key, entry in list(values.items())[:MOST_RESTRICTIONS]:
            value = _part(entry, "value", kind) if isinstance(entry, dict) else None
            if value is not None and len(key) <= LONGEST and abs(value) < MOST:
                found[key] = value
    return found


def user_list(report: Report) -> tuple[ListedUser, ...]:
    """The accounts on the device; one without a name is none."""
    found = []
    for entry in _part(report.keys, "Users", list) or []:
        name = _part(entry, "UserName", str) if isinstance(entry, dict) else None
        if not name or len(name) > LONGEST_TEXT:
            continue
        found.append(
            ListedUser(
                name=name,
                full_name=(_part(entry, "FullName", str) or "")[:LONGEST_TEXT],
                uid=_number(entry, "UID"),
                guid=(_part(entry, "UserGUID", str) or "")[:LONGEST],
                is_logged_in=_part(entry, "IsLoggedIn", bool),
                is_mobile=_part(entry, "MobileAccount", bool),
                has_secure_token=_part(entry, "HasSecureToken", bool),
                has_data_to_sync=_part(entry, "HasDataToSync", bool),
                data_quota=_number(entry, "DataQuota"),
                data_used=_number(entry, "DataUsed"),
            )
        )
    return tuple(found)


def _number(keys: Mapping[str, Any], key: str) -> int | None:
    """A number that a database can keep."""
    value = _part(keys, key, int)
    return value if value is not None and abs(value) < MOST else None


def _status(word: str) -> Status | None:
    return Status(word) if word in set(Status) else None


def _errors(chain: object) -> tuple[ErrorItem, ...]:
    """Codes and texts for people to read; nothing is decided by them (Apple: "ErrorChain")."""
    if not isinstance(chain, list):
        return ()
    items = []
    for link in chain[:MOST_ERRORS]:
        if not isinstance(link, dict):
            continue
        item = ErrorItem()
        if (code := _part(link, "ErrorCode", int)) is not None:
            item["ErrorCode"] = code
        if domain := _part(link, "ErrorDomain", str):
            item["ErrorDomain"] = domain[:LONGEST_DESCRIPTION]
        if local := _part(link, "LocalizedDescription", str):
            item["LocalizedDescription"] = local[:LONGEST_DESCRIPTION]
        if english := _part(link, "USEnglishDescription", str):
            item["USEnglishDescription"] = english[:LONGEST_DESCRIPTION]
        items.append(item)
    return tuple(items)


def _part(keys: Mapping[str, Any], key: str, kind: type[Typed]) -> Typed | None:
    """The value, or None where a strange one must not keep us from reading the rest."""
    try:
        return maybe(keys, key, kind)
    except Malformed:
        return None
