"""What may be asked of which device, and on which of its channels.

A device has one channel of its own; a Mac and a Shared iPad have one more for each user that is
logged in. A request that the device could only refuse is refused here, with the reason, before
it is queued.
"""

from dataclasses import dataclass
from enum import StrEnum


class Platform(StrEnum):
    IOS = "ios"
    IPADOS = "ipados"
    MACOS = "macos"
    TVOS = "tvos"
    WATCHOS = "watchos"
    VISIONOS = "visionos"
    UNKNOWN = "unknown"


# Apple's own names of the systems.
PLATFORM_NAMES = {
    Platform.IOS: "iOS",
    Platform.IPADOS: "iPadOS",
    Platform.MACOS: "macOS",
    Platform.TVOS: "tvOS",
    Platform.WATCHOS: "watchOS",
    Platform.VISIONOS: "visionOS",
    Platform.UNKNOWN: "not known",
}


class Channel(StrEnum):
    DEVICE = "device"
    USER = "user"


# The access rights of the enrollment profile (Apple: "MDM", AccessRights).
RIGHT_INSPECT_PROFILES = 1
RIGHT_INSTALL_PROFILES = 2
RIGHT_LOCK = 4  # lock, and passcode removal: it brings the UnlockToken
RIGHT_ERASE = 8
RIGHT_DEVICE_INFORMATION = 16
RIGHT_NETWORK_INFORMATION = 32
RIGHT_INSPECT_PROVISIONING = 64
RIGHT_INSTALL_PROVISIONING = 128
RIGHT_INSPECT_APPS = 256
RIGHT_RESTRICTIONS = 512
RIGHT_SECURITY = 1024
RIGHT_SETTINGS = 2048
RIGHT_MANAGE_APPS = 4096
ALL_RIGHTS = 8191
MINIMUM_RIGHTS = (
    RIGHT_INSPECT_PROFILES
    | RIGHT_INSTALL_PROFILES
    | RIGHT_LOCK
    | RIGHT_DEVICE_INFORMATION
    | RIGHT_RESTRICTIONS
    | RIGHT_SECURITY
)

RIGHTS_IN_WORDS = {
    RIGHT_INSPECT_PROFILES: "to inspect profiles",
    RIGHT_INSTALL_PROFILES: "to install and remove profiles",
    RIGHT_LOCK: "to lock the device and remove its passcode",
    RIGHT_ERASE: "to erase the device",
    RIGHT_DEVICE_INFORMATION: "to query the device's information",
    RIGHT_RESTRICTIONS: "to query restrictions",
    RIGHT_SECURITY: "to query security",
    RIGHT_SETTINGS: "to change settings",
}

NAMES = {
    Platform.IOS: "iPhone",
    Platform.IPADOS: "iPad",
    Platform.MACOS: "Mac",
    Platform.TVOS: "Apple TV",
    Platform.WATCHOS: "Apple Watch",
    Platform.VISIONOS: "Apple Vision",
    Platform.UNKNOWN: "device of unknown kind",
}

# How the names of Apple's models begin, longest first where one begins like another.
MODELS = (
    ("iPhone", Platform.IOS),
    ("iPod", Platform.IOS),
    ("iPad", Platform.IPADOS),
    ("AppleTV", Platform.TVOS),
    ("Apple TV", Platform.TVOS),
    ("Watch", Platform.WATCHOS),
    ("Apple Watch", Platform.WATCHOS),
    ("RealityDevice", Platform.VISIONOS),
    ("Apple Vision", Platform.VISIONOS),
    ("Mac", Platform.MACOS),
    ("iMac", Platform.MACOS),
    ("Xserve", Platform.MACOS),
    ("VirtualMac", Platform.MACOS),
)


def platform_of(product_name: str | None, model: str | None) -> Platform:
    """The platform, from what the device says of itself; unknown when it says nothing we know.

    A Mac names itself in Model as well; an iPhone's Model is an order number.
    """
    for name in (product_name, model):
        for beginning, platform in MODELS:
            if name and name.casefold().startswith(beginning.casefold()):
                return platform
    return Platform.UNKNOWN


_EVERY = frozenset(Platform)  # an unknown device included: these are how we get to know it
_PHONES = frozenset({Platform.IOS, Platform.IPADOS})
_MACS = frozenset({Platform.MACOS})


class Users(StrEnum):
    """Whose user channel takes the request."""

    NOBODY = "nobody"
    MACS = "macs"
    SHARED_IPADS = "shared_ipads"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Request:
    """What Apple demands before a device carries out a request."""

    platforms: frozenset[Platform]
    right: int = 0
    users: Users = Users.NOBODY
    device_channel: bool = True
    user_enrollment: frozenset[Platform] = frozenset()  # allowed on personal devices of these
    supervised: frozenset[Platform] = frozenset()  # only when supervised, on these
    shared_ipad: bool | None = None  # of iPads, True: only there; False: never there


REQUESTS: dict[str, Request] = {
    "ClearPasscode": Request(
        _PHONES | {Platform.WATCHOS, Platform.VISIONOS}, RIGHT_LOCK, shared_ipad=False
    ),
    "SecurityInfo": Request(_EVERY, RIGHT_SECURITY, Users.MACS, user_enrollment=_EVERY),
    "InstallProfile": Request(_EVERY, RIGHT_INSTALL_PROFILES, Users.BOTH, user_enrollment=_EVERY),
    "RemoveProfile": Request(_EVERY, RIGHT_INSTALL_PROFILES, Users.BOTH, user_enrollment=_EVERY),
    "ProfileList": Request(_EVERY, RIGHT_INSPECT_PROFILES, Users.BOTH, user_enrollment=_EVERY),
    "DeviceInformation": Request(
        _EVERY, RIGHT_DEVICE_INFORMATION, Users.BOTH, user_enrollment=_EVERY
    ),
    "Restrictions": Request(
        _PHONES | {Platform.TVOS, Platform.WATCHOS, Platform.VISIONOS},
        RIGHT_RESTRICTIONS,
        Users.SHARED_IPADS,
    ),
    "DeviceLock": Request(
        _PHONES | _MACS | {Platform.WATCHOS, Platform.VISIONOS},
        RIGHT_LOCK,
        user_enrollment=_PHONES,
    ),
    "EnableLostMode": Request(_PHONES, supervised=_PHONES),
    "DisableLostMode": Request(_PHONES, supervised=_PHONES),
    "DeviceLocation": Request(_PHONES, supervised=_PHONES),
    "PlayLostModeSound": Request(_PHONES, supervised=_PHONES),
    "EraseDevice": Request(_EVERY - {Platform.UNKNOWN}, RIGHT_ERASE),
    "RestartDevice": Request(
        _PHONES | _MACS | {Platform.TVOS}, RIGHT_LOCK, supervised=_PHONES | {Platform.TVOS}
    ),
    "ClearRestrictionsPassword": Request(_PHONES, supervised=_PHONES),
    "UserList": Request(_MACS | {Platform.IPADOS}, supervised=_MACS, shared_ipad=True),
    "DeleteUser": Request(_MACS | {Platform.IPADOS}, supervised=_MACS, shared_ipad=True),
    "LogOutUser": Request(frozenset({Platform.IPADOS}), shared_ipad=True),
    "UnlockUserAccount": Request(_MACS, RIGHT_LOCK),
    "SetAutoAdminPassword": Request(_MACS),
    "DeviceConfigured": Request(_EVERY, users=Users.MACS),
    "UserConfigured": Request(
        frozenset({Platform.IPADOS}),
        users=Users.SHARED_IPADS,
        device_channel=False,
        shared_ipad=True,
    ),
    "Settings": Request(_EVERY, RIGHT_SETTINGS, Users.BOTH, user_enrollment=_EVERY),
    "DeclarativeManagement": Request(_EVERY, users=Users.BOTH, user_enrollment=_EVERY),
}

# What a user needs before their desktop appears; all else would keep them waiting at the login
# window (Apple: "NeedSyncResponse").
WHILE_A_LOGIN_WAITS = frozenset(
    {
        "InstallProfile",
        "RemoveProfile",
        "DeclarativeManagement",
        "UserConfigured",
        "DeviceConfigured",
    }
)


def refusal(
    request_type: str,
    *,
    platform: Platform,
    channel: Channel,
    shared_ipad: bool,
    user_enrollment: bool,
    access_rights: int,
    supervised: bool | None = None,
) -> str | None:
    """Why this may not be asked of this channel, as a sentence; None when it may.

    `supervised` None is a device that has not told; it may be asked, and will answer for itself.
    """
    request = REQUESTS.get(request_type)
    if request is None:
        return f"{request_type} is not a request this product sends."
    return (
        _wrong_platform(request_type, request, platform, shared_ipad=shared_ipad)
        or _wrong_channel(request_type, request, platform, channel, shared_ipad=shared_ipad)
        or _wrong_enrollment(
            request_type,
            request,
            platform,
            user_enrollment=user_enrollment,
            access_rights=access_rights,
            supervised=supervised,
        )
    )


def _wrong_platform(
    request_type: str, request: Request, platform: Platform, *, shared_ipad: bool
) -> str | None:
    if platform not in request.platforms:
        if platform is Platform.UNKNOWN:
            return (
                f"{request_type} depends on the kind of device, and this one has not told it yet; "
                "ask for DeviceInformation first."
            )
        if request_type == "ClearPasscode" and platform is Platform.MACOS:
            return (
                "A Mac has no ClearPasscode: unlock the account, set the administrator's password "
                "or use the FileVault recovery key."
            )
        return f"{request_type} is not available on {NAMES[platform]}."
    if shared_ipad and request.shared_ipad is False:
        return f"{request_type} is not available on a Shared iPad."
    if platform is Platform.IPADOS and request.shared_ipad is True and not shared_ipad:
        others = " or a Mac" if Platform.MACOS in request.platforms else ""
        return f"{request_type} is available on a Shared iPad{others} only."
    return None


def _wrong_channel(
    request_type: str,
    request: Request,
    platform: Platform,
    channel: Channel,
    *,
    shared_ipad: bool,
) -> str | None:
    if channel is Channel.DEVICE:
        if request.device_channel:
            return None
        return f"{request_type} goes to a user, not to the device."
    if platform is Platform.MACOS:
        allowed = {Users.MACS, Users.BOTH}
    elif shared_ipad:
        allowed = {Users.SHARED_IPADS, Users.BOTH}
    else:
        return "Only a Mac and a Shared iPad have user channels."
    if request.users in allowed:
        return None
    return f"{request_type} goes to the device, not to one of its users."


def _wrong_enrollment(
    request_type: str,
    request: Request,
    platform: Platform,
    *,
    user_enrollment: bool,
    access_rights: int,
    supervised: bool | None,
) -> str | None:
    if user_enrollment:  # access rights play no part there
        if platform in request.user_enrollment:
            return None
        return (
            f"{request_type} is not allowed on a personal device (User Enrollment); "
            "Apple keeps it for devices of the organisation."
        )
    if request.right and not access_rights & request.right:
        return (
            f"The enrollment profile gave no right {RIGHTS_IN_WORDS[request.right]} "
            f"(access right {request.right}). Rights cannot be added later: "
            "the device has to be enrolled again."
        )
    if platform in request.supervised and supervised is False:
        return f"{request_type} needs a supervised {NAMES[platform]}."
    return None
