"""Policies as declarations: who gets them so, what stays in a set and how long, what a report moves."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from devices.models import Command, Device
from devices.rules.commands import State as CommandState
from passcodes import declarations, delivery, evidence, membership, planning, rollout, status, ways
from passcodes.models import DeclarativeChannel, Evidence, PolicyDeclaration, PolicyVersion
from passcodes.models.evidence import Source
from passcodes.rules.declarations import StatusReport
from passcodes.rules.enforcement import State
from tests.house import House
from tests.scenes import (
    LOOSE,
    STRICT,
    STRICTER,
    STRONG,
    WEAK,
    YES,
    answer,
    enforced,
    live,
    open_commands,
    published,
    rows,
)

TELL = "DeclarativeManagement"
PROFILE = "InstallProfile"
NEW: dict[str, Any] = {"os_version": "17.4"}
YES_BY_ITSELF = {"is-present": True, "is-compliant": True}
NO_BY_ITSELF = {"is-present": True, "is-compliant": False}


@pytest.fixture(autouse=True)
def declarative(settings: Settings) -> None:
    settings.DECLARATIVE = True


def push(house: House, version: PolicyVersion, *devices: Device) -> None:
    rollout.push(version.pk, device_ids=[device.pk for device in devices], by=house.author)


def declared(device: Device) -> PolicyDeclaration:
    """The one policy in its set."""
    return (
        PolicyDeclaration.objects.current()
        .select_related("policy", "enforcement__version")
        .get(device=device)
    )


def report(device: Device, *, full: bool = False, **items: Any) -> None:
    status.heard(Device.objects.locked(device.pk), StatusReport(items=items, is_full=full))


def standing(device: Device, **said: Any) -> dict[str, Any]:
    """How its one declaration stands there, as it would say that."""
    one = declarations.configuration(declared(device), device)
    about = {
        "identifier": one.identifier,
        "server-token": one.server_token,
        "active": True,
        "valid": "valid",
        **said,
    }
    return {"declarations": {"configurations": [about]}}


def told(device: Device) -> None:
    """It has taken the command, and fetched its set."""
    row = live(device)
    assert row.command is not None
    assert row.command.request_type == TELL
    answer(row.command)
    declarations.tell(device)


def in_force(house: House, version: PolicyVersion, **passcode: bool) -> Device:
    """A phone that reports the version in force."""
    [device] = rows(1, **NEW)
    push(house, version, device)
    told(device)
    said: dict[str, Any] = {"passcode": passcode} if passcode else {}
    report(device, management=standing(device), **said)
    return device


# Who gets a policy so


def test_each_device_gets_the_version_the_way_it_takes_it(house: House) -> None:
    [new] = rows(1, **NEW)
    [old] = rows(1, os_version="16.7")
    [personal] = rows(1, is_user_enrollment=True, **NEW)
    [shared] = rows(1, platform="ipados", is_supervised=True, is_shared_ipad=True, **NEW)
    [mac] = rows(1, platform="macos", is_supervised=True, os_version="14.1")
    push(house, published(house, STRICT), new, old, personal, shared, mac)
    ways_ = [open_commands(device) for device in (new, old, personal, shared, mac)]
    assert ways_ == [[TELL], [PROFILE], [TELL], [PROFILE], [TELL]]
    assert PolicyDeclaration.objects.current().count() == 3


def test_nobody_is_told_declarations_where_they_are_switched_off(
    house: House, settings: Settings
) -> None:
    settings.DECLARATIVE = False
    [device] = rows(1, **NEW)
    push(house, published(house, STRICT), device)
    assert open_commands(device) == [PROFILE]
    assert declarations.of(device).members == ()


def test_a_push_to_many_costs_no_more_statements_than_to_a_few(house: House) -> None:
    def statements(number: int) -> int:
        devices = rows(number, **NEW)
        version = published(house, STRICT, name=f"For {number}")
        with CaptureQueriesContext(
            connection,
        ) as queries:
            push(house, version, *devices)
        assert PolicyDeclaration.objects.filter(policy=version.policy).count() == number
        return len(queries)

    assert statements(60) <= statements(3) + 3


def test_an_ipad_gets_no_profile_that_it_would_lose_a_minute_later(house: House) -> None:
    """It might be a Shared iPad until it has described itself, and does so in its first session."""
    group = house.group("All")
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    ipad = house.enrolled_phone(
        "ipad", passcode=STRONG, group=group, declarative=True, connects=False
    )
    assert PROFILE in house.waiting(ipad)
    ipad.connect()
    assert (ipad.installed, ipad.declarations.policies) == ([], [version.policy.identifier])
    assert enforced(house, ipad).state == State.COMPLIANT
    shared = house.enrolled_phone(
        "ipad", passcode=STRONG, group=group, declarative=True, shared_ipad=True
    )
    assert shared.installed == [version.policy.identifier]


def test_a_personal_phone_says_so_too(house: House) -> None:
    group = house.group("All")
    rollout.push(published(house, STRICT).pk, group_ids=[group.pk], by=house.author)
    phone = house.enrolled_phone(
        passcode="1212", group=group, declarative=True, user_enrollment=True
    )
    assert enforced(house, phone).state == State.GRACE
    phone.user_sets_passcode("904713")
    assert enforced(house, phone).state == State.COMPLIANT


# What proves it


def test_what_it_says_before_the_declaration_is_in_force_proves_nothing(house: House) -> None:
    [device] = rows(1, **NEW)
    push(house, published(house, STRICT), device)
    told(device)
    report(device, passcode=YES_BY_ITSELF)
    assert not Evidence.objects.filter(device=device).exists()
    report(device, management=standing(device, active=False, valid="unknown"))
    report(device, passcode=YES_BY_ITSELF)
    assert not Evidence.objects.filter(device=device).exists()
    assert live(device).state == State.PUSHED


def test_the_report_that_proves_it_counts_at_its_receipt(house: House) -> None:
    device = in_force(house, published(house, STRICT), **YES_BY_ITSELF)
    row = live(device)
    said = Evidence.objects.get(device=device)
    assert row.state == State.COMPLIANT
    assert (said.source, said.asked_at) == (Source.STATUS, row.acknowledged_at)
    assert (said.passcode_present, said.compliant, said.compliant_with_profiles) == (
        True,
        True,
        True,
    )


def test_every_policy_must_be_in_force_before_a_report_counts(house: House) -> None:
    device = in_force(house, published(house, LOOSE), **NO_BY_ITSELF)
    before = Evidence.objects.filter(device=device).count()
    push(house, published(house, STRICT, name="Another"), device)
    report(device, passcode=YES_BY_ITSELF)
    assert Evidence.objects.filter(device=device).count() == before


def test_a_report_on_the_earlier_version_is_none_on_this_one(house: House) -> None:
    first = published(house, STRICT)
    device = in_force(house, first, **YES_BY_ITSELF)
    earlier = standing(device)
    push(house, published(house, STRICTER, policy=first.policy), device)
    report(device, management=earlier, passcode=YES_BY_ITSELF)
    assert live(device).state == State.PUSHED


def test_the_same_version_pushed_again_has_to_be_reported_again(house: House) -> None:
    first = published(house, STRICT)
    device = in_force(house, first, **YES_BY_ITSELF)
    before = declarations.of(device).token
    again = rollout.push(
        published(house, STRICTER, policy=first.policy).pk, device_ids=[device.pk], by=house.author
    )
    rollout.stop(again.pk, by=house.author)
    assert live(device).version == first
    assert live(device).state == State.PUSHED
    assert declarations.of(device).token != before  # else the device would not say a word
    report(device, management=standing(device), passcode=YES_BY_ITSELF)
    assert live(device).state == State.COMPLIANT


def test_half_a_word_is_completed_by_a_question(house: House) -> None:
    device = in_force(house, published(house, STRICT), **NO_BY_ITSELF)
    assert open_commands(device) == []
    report(device, passcode={"is-present": True})
    assert open_commands(device) == ["SecurityInfo"]
    report(device, passcode={"is-present": False})
    said = Evidence.objects.filter(device=device).first()
    assert said is not None
    assert (said.passcode_present, said.compliant) == (False, None)


def test_a_device_that_reports_is_asked_once_a_day(house: House) -> None:
    device = in_force(house, published(house, STRICT), **NO_BY_ITSELF)
    row = live(device)
    assert (row.state, row.reports_itself) == (State.GRACE, True)
    assert row.look_again_at is not None
    assert row.look_again_at > house.clock.now() + timedelta(hours=19)
    report(device, passcode=YES_BY_ITSELF)
    house.clock.forward(hours=21)
    house.tick()
    assert open_commands(device) == ["SecurityInfo"]  # so that a silent channel is noticed in time


def test_a_device_that_says_nothing_of_its_passcode_is_asked_as_ever(house: House) -> None:
    device = in_force(house, published(house, STRICT))
    row = live(device)
    assert (row.state, row.reports_itself) == (State.GRACE, False)
    assert open_commands(device) == ["SecurityInfo"]
    assert row.look_again_at is not None
    assert row.look_again_at < house.clock.now() + timedelta(minutes=16)
    report(device, passcode=NO_BY_ITSELF)
    assert live(device).reports_itself


def test_a_passcode_that_is_said_by_security_info_counts_as_well(house: House) -> None:
    device = in_force(house, published(house, STRICT), **NO_BY_ITSELF)
    evidence.heard(Device.objects.locked(device.pk), YES, asked_at=house.clock.now())
    assert live(device).state == State.COMPLIANT


# On its way


def test_what_it_was_told_and_has_not_reported_is_on_its_way(house: House) -> None:
    group = house.group("All")
    [device] = rows(1, group=group, **NEW)
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    told(device)
    delivery.apply_wanted(device)
    assert open_commands(device) == []
    preview = rollout.preview(version.pk, group_ids=[group.pk])
    assert preview.refused == [(planning.HAS_IT, 1)]


def test_a_stop_takes_back_what_no_device_was_told(house: House) -> None:
    [reached, unreached] = rows(2, **NEW)
    version = published(house, STRICT)
    pushed = rollout.push(version.pk, device_ids=[reached.pk, unreached.pk], by=house.author)
    told(reached)
    assert rollout.stop(pushed.pk, by=house.author) == 1
    assert declarations.of(unreached).members == ()
    assert len(declarations.of(reached).members) == 4
    report(reached, management=standing(reached), passcode=YES_BY_ITSELF)
    assert live(reached).state == State.COMPLIANT


def test_who_reports_nothing_within_the_hour_gets_the_profile(house: House) -> None:
    [device] = rows(1, **NEW)
    push(house, published(house, STRICT), device)
    told(device)
    house.clock.forward(minutes=59)
    ways.settle_due()
    assert open_commands(device) == []
    house.clock.forward(minutes=2)
    ways.settle_due()
    ways.settle_due()
    assert open_commands(device) == [PROFILE]
    known = DeclarativeChannel.objects.get(device=device)
    assert known.refused_because == ways.SILENT
    assert len(declarations.of(device).members) == 4  # stays until the profile is there


@pytest.mark.parametrize("said", [{"valid": "invalid"}, {"active": False}])
def test_who_does_not_take_it_gets_the_profile(house: House, said: dict[str, Any]) -> None:
    [device] = rows(1, **NEW)
    push(house, published(house, STRICT), device)
    told(device)
    why = [{"code": "Error.X", "description": "It does not fit."}]
    for _ in range(2):
        report(device, management=standing(device, reasons=why, **said))
    row = live(device)
    assert (row.state, open_commands(device)) == (State.PUSHED, [PROFILE])
    assert declared(device).reasons == ["It does not fit."]
    known = DeclarativeChannel.objects.get(device=device)
    assert known.refused_because == "The declaration is not in force. It does not fit."


def test_who_says_that_it_cannot_is_believed(house: House) -> None:
    [device] = rows(1, **NEW)
    push(house, published(house, STRICT), device)
    told(device)
    can = {"supported-payloads": {"declarations": {"configurations": ["com.example.else"]}}}
    report(device, management={"client-capabilities": can})
    assert open_commands(device)[0] == PROFILE


def test_who_cannot_subscribe_gets_no_subscription(house: House) -> None:
    [device] = rows(1, **NEW)
    push(house, published(house, STRICT), device)
    told(device)
    types = ["com.apple.configuration.passcode.settings"]
    can = {"supported-payloads": {"declarations": {"configurations": types}}}
    report(device, management={"client-capabilities": can})
    assert len(declarations.of(device).members) == 2
    assert open_commands(device) == [TELL]  # for its set has changed


# From one way to the other


def test_the_declaration_stays_until_a_newer_profile_is_there(
    house: House, settings: Settings
) -> None:
    first = published(house, STRICT)
    device = in_force(house, first, **YES_BY_ITSELF)
    settings.DECLARATIVE = False
    push(house, published(house, STRICTER, policy=first.policy), device)
    [command] = Command.objects.open().filter(device=device)
    assert command.request_type == PROFILE
    assert declared(device).enforcement.version == first
    answer(command)
    ways.came_as_profile(command)
    assert declarations.of(device).members == ()
    assert open_commands(device) == [TELL]


def test_the_profile_stays_until_the_declaration_is_in_force(
    house: House, settings: Settings
) -> None:
    settings.DECLARATIVE = False
    [device] = rows(1, **NEW)
    version = published(house, STRICT)
    push(house, version, device)
    [command] = Command.objects.open().filter(device=device)
    answer(command)
    settings.DECLARATIVE = True
    push(house, published(house, STRICTER, policy=version.policy), device)
    told(device)
    assert open_commands(device) == []
    report(device, management=standing(device), passcode=NO_BY_ITSELF)
    assert open_commands(device) == ["RemoveProfile"]
    [removal] = Command.objects.open().filter(device=device)
    assert removal.arguments == {"Identifier": version.policy.identifier}
    answer(removal)
    assert declarations.beside_a_profile(version.policy, [device.pk]) == set()


@pytest.mark.parametrize(
    ("facts", "there"),
    [
        ({}, True),
        ({"state": CommandState.FAILED}, False),
        ({"state": CommandState.CANCELLED}, True),  # sent, and nobody heard the answer
        ({"state": CommandState.CANCELLED, "times_sent": 0}, False),
    ],
)
def test_where_a_profile_may_be(
    house: House, settings: Settings, facts: dict[str, Any], *, there: bool
) -> None:
    settings.DECLARATIVE = False
    [device] = rows(1, **NEW)
    version = published(house, STRICT)
    push(house, version, device)
    [command] = Command.objects.open().filter(device=device)
    answer(command, **facts)
    found = declarations.beside_a_profile(version.policy, [device.pk])
    assert found == ({device.pk} if there else set())


def test_a_way_back_that_the_device_refuses_is_not_tried_for_ever(
    house: House, settings: Settings
) -> None:
    device = in_force(house, published(house, STRICT), **YES_BY_ITSELF)
    settings.DECLARATIVE = False
    assert ways.settle_due() == 1
    [command] = Command.objects.open().filter(device=device)
    answer(command, CommandState.FAILED)
    assert ways.settle_due() == 0
    assert open_commands(device) == []
    assert declared(device).is_in_force  # and what it has stays


def test_a_newer_version_stops_a_way_back(house: House, settings: Settings) -> None:
    first = published(house, STRICT)
    device = in_force(house, first, **YES_BY_ITSELF)
    settings.DECLARATIVE = False
    ways.settle_due()
    settings.DECLARATIVE = True
    push(house, published(house, STRICTER, policy=first.policy), device)
    assert open_commands(device) == [TELL]


def test_a_removal_takes_it_out_of_the_set_and_tells_the_device(house: House) -> None:
    version = published(house, STRICT)
    device = in_force(house, version, **YES_BY_ITSELF)
    assert rollout.remove(version.policy_id, device_ids=[device.pk], by=house.author) == 1
    assert declarations.of(device).members == ()
    assert open_commands(device) == [TELL]


def test_who_leaves_a_group_loses_what_only_the_group_gave(house: House) -> None:
    group = house.group("All")
    [device] = rows(1, group=group, **NEW)
    rollout.push(published(house, STRICT).pk, group_ids=[group.pk], by=house.author)
    told(device)
    membership.left(group, [device.pk], by=house.admin)
    assert declarations.of(device).members == ()
    assert open_commands(device) == [TELL]


def test_what_an_earlier_enrollment_reported_counts_no_more(house: House) -> None:
    group = house.group("All")
    rollout.push(published(house, STRICT).pk, group_ids=[group.pk], by=house.author)
    phone = house.enrolled_phone(passcode=WEAK, group=group, declarative=True)
    device = house.device(phone)
    assert declarations.channel(device).status
    phone.authenticate()
    device.refresh_from_db()
    known = declarations.channel(device)
    assert (known.status, known.token, known.reported_at) == ({}, "", None)
    assert declarations.of(device).members == ()
