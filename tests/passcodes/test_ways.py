"""What people are told of the way that a policy takes to a device, and while it moves to the other."""

from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Command, Device
from devices.rules.commands import State as CommandState
from passcodes import declarations, ways
from passcodes.models import Enforcement, PolicyDeclaration
from passcodes.rules.ways import SWITCHED_OFF, Way
from tests.house import House
from tests.passcodes.test_declarations import (
    NEW,
    NO_BY_ITSELF,
    YES_BY_ITSELF,
    in_force,
    push,
    report,
    standing,
)
from tests.scenes import STRICT, STRICTER, acknowledge, answer, published, rows


@pytest.fixture(autouse=True)
def declarative(settings: LazySettings) -> None:
    settings.DECLARATIVE = True


def way(device: Device) -> tuple[Way, str]:
    """The way of its one policy, and why."""
    device.refresh_from_db()
    [one] = ways.of_device(device).values()
    return one.way, one.reason


def test_each_device_says_its_way_and_why(house: House) -> None:
    [new] = rows(1, **NEW)
    [old] = rows(1, os_version="16.7")
    push(house, published(house, STRICT), new, old)
    assert way(new) == (Way.DECLARATION, "iOS 17.4 takes a policy so.")
    assert way(old) == (Way.PROFILE, "Its system is older than 17.0.")


def test_a_house_that_sends_profiles_only_says_so(house: House, settings: LazySettings) -> None:
    settings.DECLARATIVE = False
    [new] = rows(1, **NEW)
    push(house, published(house, STRICT), new)
    assert way(new) == (Way.PROFILE, SWITCHED_OFF)


def test_a_device_that_gave_up_says_what_it_said(house: House) -> None:
    device = in_force(house, published(house, STRICT), **YES_BY_ITSELF)
    declarations.cannot(device, because="It takes none.")
    ways.settle(Device.objects.locked(device.pk))
    moving, why = way(device)
    assert moving is Way.TO_PROFILE
    assert why.startswith("It takes none. The declaration stays until")
    [command] = Command.objects.open().filter(device=device, request_type="InstallProfile")
    answer(command)
    ways.came_as_profile(command)
    assert way(device) == (Way.PROFILE, "It takes none.")


def test_a_profile_that_becomes_a_declaration_is_said_to_move_until_that_is_proven(
    house: House, settings: LazySettings
) -> None:
    settings.DECLARATIVE = False
    [device] = rows(1, **NEW)
    first = published(house, STRICT)
    push(house, first, device)
    acknowledge(device)
    settings.DECLARATIVE = True
    assert way(device)[1].startswith("It could take a declaration")
    ways.settle(Device.objects.locked(device.pk))
    moving, why = way(device)
    assert moving is Way.TO_DECLARATION
    assert why.endswith("there is no gap.")
    answer(Command.objects.open().get(device=device, request_type=declarations.TELL))
    declarations.tell(device)
    report(device, management=standing(device), passcode=NO_BY_ITSELF)
    assert way(device)[0] is Way.DECLARATION


def test_a_newer_version_by_the_other_way_is_a_move_as_well(
    house: House, settings: LazySettings
) -> None:
    first = published(house, STRICT)
    device = in_force(house, first, **YES_BY_ITSELF)
    settings.DECLARATIVE = False
    push(house, published(house, STRICTER, policy=first.policy), device)
    assert way(device)[0] is Way.TO_PROFILE


@pytest.mark.parametrize(
    ("installed", "removed"),
    [
        ({}, None),
        ({"state": CommandState.FAILED}, None),
        ({"state": CommandState.CANCELLED}, None),
        ({"state": CommandState.CANCELLED, "times_sent": 0}, None),
        ({}, {}),
        ({}, {"state": CommandState.FAILED}),
        ({}, {"state": CommandState.FAILED, "errors": [{"ErrorCode": 12075}]}),
    ],
)
def test_the_list_and_the_process_agree_where_a_profile_may_be(
    house: House,
    settings: LazySettings,
    installed: dict[str, Any],
    removed: dict[str, Any] | None,
) -> None:
    settings.DECLARATIVE = False
    [device] = rows(1, **NEW)
    version = published(house, STRICT)
    push(house, version, device)
    answer(Command.objects.get(device=device), **installed)
    if removed is not None:
        removal = Command.objects.create(
            device=device,
            request_type="RemoveProfile",
            arguments={"Identifier": version.policy.identifier},
        )
        answer(removal, **removed)
    settings.DECLARATIVE = True
    PolicyDeclaration.objects.create(
        device=device, policy=version.policy, enforcement=Enforcement.objects.get(device=device)
    )
    beside = declarations.beside_a_profile(version.policy, [device.pk])
    assert (way(device)[0] is Way.TO_DECLARATION) == (device.pk in beside)


def test_devices_are_counted_by_way_and_reason_in_one_question(house: House) -> None:
    new, old = rows(3, **NEW), rows(2, os_version="16.7")
    version = published(house, STRICT)
    push(house, version, *new, *old)
    followed = Enforcement.objects.live().filter(policy=version.policy)
    with CaptureQueriesContext(connection) as queries:
        numbers = [(one.said.way, one.devices) for one in ways.counted(followed)]
    assert numbers == [(Way.DECLARATION, 3), (Way.PROFILE, 2)]
    assert len(queries) == 1
    moved = ways.told(followed).filter(way=Way.PROFILE)
    assert {row.device_id for row in moved} == {device.pk for device in old}


def test_nothing_is_said_of_what_is_over(house: House) -> None:
    device = in_force(house, published(house, STRICT), **YES_BY_ITSELF)
    told_of = ways.of_device(device)
    Enforcement.objects.filter(device=device).update(state="ended")
    assert told_of
    assert ways.of_device(device) == {}
