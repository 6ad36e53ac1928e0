"""What will bite is known from the devices themselves before a push."""

import plistlib
from typing import Any

from devices import told
from devices.models import Device
from devices.models.told import Subject
from passcodes import configurations, rollout, targets
from passcodes.rules.requirements import Requirements
from passcodes.rules.strictness import lint
from tests.house import House
from tests.scenes import LOOSE, STRICT, acknowledge, profile, published, rows, user_row


def restrictions(**keys: Any) -> bytes:
    content = plistlib.loads(profile("com.example.restrictions"))
    content["PayloadContent"][0] |= {"PayloadType": "com.apple.applicationaccess", **keys}
    return plistlib.dumps(content)


def meant(house: House, devices: list[Device], **keys: Any) -> None:
    configuration = configurations.upload("Restrictions", restrictions(**keys), by=house.author)
    configurations.assign(
        configuration.pk, device_ids=[device.pk for device in devices], by=house.author
    )


def test_devices_whose_configuration_forbids_changes_are_counted(house: House) -> None:
    devices = rows(3)
    meant(house, devices[:2], allowPasscodeModification=False)
    found = targets.of(Device.objects.all())
    assert found.modification_forbidden == 2
    assert any(
        "2 of the devices forbid passcode changes" in each for each in lint(STRICT, facts=found)
    )


def test_a_configuration_that_allows_changes_is_no_trouble(house: House) -> None:
    devices = rows(1)
    meant(house, devices, allowPasscodeModification=True)
    assert targets.of(Device.objects.all()).modification_forbidden == 0


def test_what_forbids_it_to_users_counts_for_their_mac_and_not_for_a_shared_ipad(
    house: House,
) -> None:
    macs = rows(2, platform="macos")
    (ipad,) = rows(1, platform="ipados", is_shared_ipad=True)
    for device in (macs[0], ipad):
        user_row(device, "anna")
    configuration = configurations.upload(
        "Restrictions",
        restrictions(allowPasscodeModification=False),
        for_users=True,
        installed_policy_is_enough=True,
        by=house.author,
    )
    configurations.assign(
        configuration.pk, device_ids=[one.pk for one in (*macs, ipad)], by=house.author
    )
    assert targets.of(Device.objects.all()).modification_forbidden == 1


def test_a_device_that_says_so_itself_is_counted_once(house: House) -> None:
    devices = rows(2)
    meant(house, devices[:1], allowPasscodeModification=False)
    for device in devices:
        told.keep(
            device,
            Subject.RESTRICTIONS,
            {"allowPasscodeModification": device == devices[0]},
            asked_at=house.clock.now(),
        )
    assert targets.of(Device.objects.all()).modification_forbidden == 2


def test_kinds_are_counted(house: House) -> None:
    rows(2, platform="macos")
    rows(1, platform="tvos")
    rows(1, platform="ipados", is_shared_ipad=True)
    rows(3, is_user_enrollment=True)
    found = targets.of(Device.objects.all())
    assert (found.macs, found.apple_tvs, found.shared_ipads, found.user_enrollments) == (
        2,
        1,
        1,
        3,
    )


def test_another_policy_on_the_same_devices_is_looked_at(house: House) -> None:
    (device,) = rows(1)
    other = published(house, STRICT, name="Other")
    rollout.push(other.pk, device_ids=[device.pk], by=house.author)
    new = published(house, LOOSE)
    assert targets.of(Device.objects.all(), policy_id=new.policy_id).others == ()
    acknowledge(device)
    found = targets.of(Device.objects.all(), policy_id=new.policy_id)
    assert found.others == (STRICT,)
    assert any(
        "Another policy on these devices is stricter" in one for one in lint(LOOSE, facts=found)
    )


def test_a_version_is_in_force_where_all_have_it(house: House) -> None:
    one, two = rows(2, platform="macos")
    limited = Requirements(force_pin=True, max_failed_attempts=6)
    version = published(house, limited)
    rollout.push(version.pk, device_ids=[one.pk, two.pk], by=house.author)
    acknowledge(one)
    policy_id = version.policy_id
    assert targets.of(Device.objects.all(), policy_id=policy_id).in_force is None
    acknowledge(two)
    found = targets.of(Device.objects.all(), policy_id=policy_id)
    assert found.in_force == limited
    assert not any("lock their users out" in one for one in lint(limited, facts=found))
