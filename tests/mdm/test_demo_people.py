"""The demo's Macs and its Shared iPad have people on them, as the seed and the fleet agree."""

import json
from typing import Any

import pytest
from django.core.management import call_command
from django.test import override_settings

from devices.models import DeviceGroup, DeviceUser
from mdm.management.commands import seed_demo
from passcodes.models import Release
from tests.house import House
from tests.simulator import fleet_people
from tests.simulator.phone import Kind, Phone
from tests.simulator.users import Mac, SharedIPad, WithUsers

REALM = "Example Organisation"


@pytest.fixture
def seeded(house: House) -> House:
    passwords = {name: f"a long word for {name}" for name in seed_demo.PEOPLE}
    with override_settings(
        DEMO=True, SEED_PASSWORDS=json.dumps(passwords), NETWORK_USERS_REALM=REALM
    ):
        call_command("seed_demo", verbosity=0)
        call_command("seed_demo", verbosity=0)  # safe to repeat
    return house


def enrolled(house: House, kind: Kind, before: int, **how: Any) -> Phone:
    """The next device of the fleet's kind, in the demo's group."""
    phone = fleet_people.device(
        kind, before, transport=house.door, clock=house.clock.seconds, seed=before, **how
    )
    house.phones.append(phone)
    group = DeviceGroup.objects.get(name="Macs" if kind is Kind.MAC else "Tablets")
    house.give_profile(phone, group=group)
    phone.enroll()
    return phone


def test_the_seed_knows_the_fleets_network_user() -> None:
    short_name, _, password = fleet_people.NETWORK
    assert (short_name, password) == seed_demo.NETWORK_USER


def test_who_is_on_which_device_of_a_fleet() -> None:
    def names(kind: Kind, before: int) -> list[str]:
        phone = fleet_people.device(kind, before, transport=lambda *_: (200, {}, b""))
        return [user.short_name for user in fleet_people.people(phone)]

    assert [names(Kind.MAC, before) for before in range(4)] == [
        ["studio"],
        ["studio", "editor"],
        [],
        ["studio"],
    ]
    shared = [names(Kind.IPAD, before) for before in range(3)]
    assert shared == [[], ["early@example.org", "late@example.org"], []]
    assert names(Kind.IPHONE, 1) == []


@override_settings(NETWORK_USERS="digest", NETWORK_USERS_REALM=REALM)
def test_people_log_in_and_get_what_is_for_users(seeded: House) -> None:
    mac, ipad = enrolled(seeded, Kind.MAC, 1), enrolled(seeded, Kind.IPAD, 1)
    assert isinstance(mac, Mac)
    assert isinstance(ipad, SharedIPad)
    for device in (mac, ipad):
        device.connect()
        fleet_people.arrive(device)
        fleet_people.arrive(device)  # who is there already does not log in twice

    assert DeviceUser.objects.filter(is_active=True).count() == 4
    assert mac.users["editor"].auth_token  # by a proof, not by being let in
    assert [user.logged_in for user in ipad.users.values()] == [False, True]
    delivered = Release.objects.filter(state="delivered", user__isnull=False)
    assert delivered.count() == 4
    assert fleet_people.seen(mac.users["editor"])["profiles"] == [seed_demo.FOR_USERS]


def test_people_are_kept_with_their_device(seeded: House) -> None:
    mac = enrolled(seeded, Kind.MAC, 0)
    mac.connect()
    fleet_people.arrive(mac)

    again = fleet_people.revived(
        json.loads(json.dumps(mac.to_state())), transport=seeded.door, clock=seeded.clock.seconds
    )

    assert isinstance(again, WithUsers)
    assert isinstance(mac, WithUsers)
    before, after = mac.users["studio"], again.users["studio"]
    assert after.to_state() == before.to_state()
    assert after.managed
    assert again.to_state() == mac.to_state()
    seeded.device(again)
    assert after.idle().status == 200
    again.user_removes_profile()
    assert (after.managed, after.profiles) == (False, {})
