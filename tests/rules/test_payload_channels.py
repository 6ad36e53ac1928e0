"""Which payloads a user can be given on a channel of their own."""

import pytest

from devices.rules.payload_channels import impossible, refusal


def test_a_payload_of_the_device_is_impossible_for_every_user() -> None:
    reason = impossible(["com.apple.wifi.managed", "com.apple.security.firewall"])
    assert reason is not None
    assert reason.startswith("com.apple.security.firewall is for devices")
    assert "com.apple.wifi.managed" not in reason


def test_a_profile_of_which_each_kind_of_device_takes_a_part_is_impossible() -> None:
    reason = impossible(["com.apple.dock", "com.apple.homescreenlayout"])
    assert reason is not None
    assert "Split it" in reason


@pytest.mark.parametrize(
    ("kind", "mac", "shared_ipad"),
    [
        ("com.apple.mail.managed", True, True),
        ("com.apple.dock", True, False),
        ("com.apple.homescreenlayout", False, True),
        ("com.example.not-yet-invented", True, True),
    ],
)
def test_each_payload_goes_to_the_users_that_apple_names(
    kind: str, mac: bool, shared_ipad: bool
) -> None:
    assert impossible([kind]) is None
    assert (refusal([kind], shared_ipad=False) is None) is mac
    assert (refusal([kind], shared_ipad=True) is None) is shared_ipad


def test_a_refusal_names_the_payload_and_the_kind_of_device() -> None:
    assert (
        refusal(["com.apple.font", "com.apple.dock", "com.apple.dock"], shared_ipad=True)
        == "A user of a Shared iPad cannot be given com.apple.dock."
    )
