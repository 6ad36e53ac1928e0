"""What may be asked of which device, and on which channel."""

from itertools import product

import pytest

from devices.rules.channels import (
    ALL_RIGHTS,
    MINIMUM_RIGHTS,
    NAMES,
    REQUESTS,
    RIGHT_LOCK,
    RIGHT_SECURITY,
    RIGHTS_IN_WORDS,
    Channel,
    Platform,
    platform_of,
    refusal,
)

EVERYWHERE = frozenset(Platform)
PHONES = frozenset({Platform.IOS, Platform.IPADOS})

# Apple's table once more, from the pages of the requests and not from the code: where a
# request may go when it is asked of the device channel of an enrolled, supervised device.
DEVICE_CHANNEL: dict[str, frozenset[Platform]] = {
    "ClearPasscode": PHONES | {Platform.VISIONOS, Platform.WATCHOS},
    "SecurityInfo": EVERYWHERE,
    "InstallProfile": EVERYWHERE,
    "RemoveProfile": EVERYWHERE,
    "ProfileList": EVERYWHERE,
    "DeviceInformation": EVERYWHERE,
    "Restrictions": EVERYWHERE - {Platform.MACOS, Platform.UNKNOWN},
    "DeviceLock": EVERYWHERE - {Platform.TVOS, Platform.UNKNOWN},
    "EnableLostMode": PHONES,
    "DisableLostMode": PHONES,
    "DeviceLocation": PHONES,
    "PlayLostModeSound": PHONES,
    "EraseDevice": EVERYWHERE - {Platform.UNKNOWN},
    "RestartDevice": PHONES | {Platform.MACOS, Platform.TVOS},
    "ClearRestrictionsPassword": PHONES,
    "UserList": frozenset({Platform.MACOS}),  # and Shared iPads
    "DeleteUser": frozenset({Platform.MACOS}),  # likewise
    "LogOutUser": frozenset(),  # a Shared iPad only
    "UnlockUserAccount": frozenset({Platform.MACOS}),
    "SetAutoAdminPassword": frozenset({Platform.MACOS}),
    "DeviceConfigured": EVERYWHERE,
    "UserConfigured": frozenset(),  # the user of a Shared iPad only
    "Settings": EVERYWHERE,
    "DeclarativeManagement": EVERYWHERE,
}
MAC_USER = {
    "SecurityInfo",
    "InstallProfile",
    "RemoveProfile",
    "ProfileList",
    "DeviceInformation",
    "Settings",
    "DeviceConfigured",
    "DeclarativeManagement",
}
SHARED_IPAD_USER = {
    "InstallProfile",
    "RemoveProfile",
    "ProfileList",
    "DeviceInformation",
    "Restrictions",
    "Settings",
    "UserConfigured",
    "DeclarativeManagement",
}
PERSONAL_IPHONE = {
    "SecurityInfo",
    "InstallProfile",
    "RemoveProfile",
    "ProfileList",
    "DeviceInformation",
    "DeviceLock",
    "Settings",
    "DeclarativeManagement",
}


def why_not(
    request_type: str,
    platform: Platform = Platform.IOS,
    channel: Channel = Channel.DEVICE,
    *,
    shared_ipad: bool = False,
    user_enrollment: bool = False,
    access_rights: int = ALL_RIGHTS,
    supervised: bool | None = True,
) -> str | None:
    return refusal(
        request_type,
        platform=platform,
        channel=channel,
        shared_ipad=shared_ipad,
        user_enrollment=user_enrollment,
        access_rights=access_rights,
        supervised=supervised,
    )


def test_the_tables_speak_of_the_same_requests() -> None:
    assert set(REQUESTS) == set(DEVICE_CHANNEL)


@pytest.mark.parametrize(("request_type", "platform"), sorted(product(DEVICE_CHANNEL, Platform)))
def test_the_device_channel_takes_what_apple_says_and_nothing_else(
    request_type: str, platform: Platform
) -> None:
    allowed = platform in DEVICE_CHANNEL[request_type]
    assert (why_not(request_type, platform) is None) is allowed


@pytest.mark.parametrize(("request_type", "platform"), sorted(product(DEVICE_CHANNEL, Platform)))
def test_only_macs_and_shared_ipads_have_users(request_type: str, platform: Platform) -> None:
    allowed = platform is Platform.MACOS and request_type in MAC_USER
    assert (why_not(request_type, platform, Channel.USER) is None) is allowed


@pytest.mark.parametrize("request_type", sorted(REQUESTS))
def test_the_user_of_a_shared_ipad_takes_what_apple_says(request_type: str) -> None:
    answer = why_not(request_type, Platform.IPADOS, Channel.USER, shared_ipad=True)
    assert (answer is None) is (request_type in SHARED_IPAD_USER)


@pytest.mark.parametrize("request_type", sorted(REQUESTS))
def test_a_shared_ipad_itself_takes_all_but_the_clearing(request_type: str) -> None:
    answer = why_not(request_type, Platform.IPADOS, shared_ipad=True)
    refused = request_type in {"ClearPasscode", "UserConfigured"} or (
        request_type not in {"LogOutUser", "UserList", "DeleteUser"}
        and Platform.IPADOS not in DEVICE_CHANNEL[request_type]
    )
    assert (answer is not None) is refused


@pytest.mark.parametrize("request_type", sorted(REQUESTS))
def test_a_personal_iphone_takes_only_what_user_enrollment_allows(request_type: str) -> None:
    answer = why_not(request_type, user_enrollment=True, access_rights=0)
    assert (answer is None) is (request_type in PERSONAL_IPHONE)


def test_a_personal_mac_is_not_locked() -> None:
    assert "personal" in (why_not("DeviceLock", Platform.MACOS, user_enrollment=True) or "")


@pytest.mark.parametrize(
    "request_type", sorted(name for name, request in REQUESTS.items() if request.right)
)
def test_without_its_right_a_request_is_refused(request_type: str) -> None:
    request = REQUESTS[request_type]
    [platform, *_] = sorted(request.platforms - {Platform.UNKNOWN})
    assert why_not(request_type, platform) is None
    answer = why_not(request_type, platform, access_rights=ALL_RIGHTS & ~request.right)
    assert RIGHTS_IN_WORDS[request.right] in (answer or "")
    assert "enrolled again" in (answer or "")


@pytest.mark.parametrize(
    "request_type", sorted(name for name, request in REQUESTS.items() if request.supervised)
)
def test_what_needs_supervision_is_refused_without_it(request_type: str) -> None:
    for platform in REQUESTS[request_type].supervised:
        assert "supervised" in (why_not(request_type, platform, supervised=False) or "")
        assert why_not(request_type, platform, supervised=None) is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (why_not("ClearPasscode", Platform.MACOS), "A Mac has no ClearPasscode"),
        (why_not("ClearPasscode", Platform.TVOS), "not available on Apple TV"),
        (why_not("ClearPasscode", Platform.UNKNOWN), "has not told it yet"),
        (why_not("ClearPasscode", Platform.IPADOS, shared_ipad=True), "Shared iPad"),
        (why_not("ClearPasscode", user_enrollment=True), "personal device"),
        (why_not("ClearPasscode", access_rights=RIGHT_SECURITY), "right to lock"),
        (why_not("ClearPasscode", Platform.MACOS, Channel.USER), "A Mac has no ClearPasscode"),
        (why_not("RequestUnlockToken"), "not a request this product sends"),
        (why_not("UserConfigured", Platform.IPADOS, shared_ipad=True), "goes to a user"),
    ],
)
def test_a_refusal_says_why(answer: str | None, words: str) -> None:
    assert answer is not None
    assert words in answer
    assert answer.endswith(".")


def test_the_smallest_rights_bring_the_token_and_the_evidence() -> None:
    assert MINIMUM_RIGHTS == 1559
    assert MINIMUM_RIGHTS & RIGHT_LOCK
    assert MINIMUM_RIGHTS & RIGHT_SECURITY
    assert ALL_RIGHTS == 2**13 - 1


@pytest.mark.parametrize(
    ("product_name", "model", "platform"),
    [
        ("iPhone15,4", "MTP03ZD", Platform.IOS),
        ("iPod9,1", None, Platform.IOS),
        ("iPad13,4", "MHQR3FD", Platform.IPADOS),
        ("MacBookPro18,3", "MacBookPro18,3", Platform.MACOS),
        ("Mac14,2", None, Platform.MACOS),
        ("Macmini9,1", None, Platform.MACOS),
        ("iMac21,1", None, Platform.MACOS),
        ("VirtualMac2,1", None, Platform.MACOS),
        (None, "MacBookAir10,1", Platform.MACOS),
        ("AppleTV11,1", None, Platform.TVOS),
        ("Watch6,1", None, Platform.WATCHOS),
        ("RealityDevice14,1", None, Platform.VISIONOS),
        (None, "MTP03ZD", Platform.UNKNOWN),
        ("", "", Platform.UNKNOWN),
        (None, None, Platform.UNKNOWN),
        ("Toaster1,1", "iPhone", Platform.IOS),
    ],
)
def test_the_platform_is_read_from_what_the_device_says(
    product_name: str | None, model: str | None, platform: Platform
) -> None:
    assert platform_of(product_name, model) is platform


def test_every_platform_has_a_name_for_people() -> None:
    assert set(NAMES) == set(Platform)
