"""A stricter policy goes to phones as a declaration; they say by themselves when they comply."""

from datetime import timedelta
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from devices.models import Command
from passcodes import rollout, ways
from passcodes.models import Enforcement, Evidence, PolicyVersion
from passcodes.models.evidence import Source
from passcodes.models.gate import ReleaseState
from passcodes.rules.enforcement import State
from tests import clears
from tests.house import House
from tests.scenes import (
    LOOSE,
    STRICT,
    STRICTER,
    STRONG,
    STRONGER,
    WEAK,
    enforced,
    published,
    release,
    wifi,
)
from tests.simulator.phone import Phone
from tests.simulator.profile import Profile

WIFI = "com.example.wifi"


@pytest.fixture(autouse=True)
def declarative(settings: Settings) -> None:
    settings.DECLARATIVE = True


def push(house: House, version: PolicyVersion) -> None:
    """To everybody in the group."""
    rollout.push(version.pk, group_ids=[house.group("All").pk], by=house.author)


def phones(house: House, *passcodes: str | None, declarative: bool = True) -> list[Phone]:
    group = house.group("All")
    return [
        house.enrolled_phone(passcode=passcode, group=group, declarative=declarative)
        for passcode in passcodes
    ]


def asked(house: House, phone: Phone) -> int:
    return len(house.commands(phone, "SecurityInfo"))


def settled(house: House) -> None:
    """Everybody is woken until nobody has anything to do."""
    while house.woken():
        pass


def test_a_phone_says_by_itself_when_it_complies_and_the_wifi_follows(house: House) -> None:
    ready, weak = phones(house, STRONG, WEAK)
    wifi(house, group=house.group("All"))
    version = published(house, STRICT)
    policy = version.policy.identifier
    before = asked(house, weak)

    push(house, version)
    settled(house)
    # Who complies has everything; who does not has an hour. Neither has a profile of the policy.
    assert (enforced(house, ready).state, ready.installed) == (State.COMPLIANT, [WIFI])
    assert (enforced(house, weak).state, weak.installed) == (State.GRACE, [])
    assert ready.declarations.policies == weak.declarations.policies == [policy]
    assert "Prompt: change the passcode" in weak.screen()
    assert release(house.device(weak)).state == ReleaseState.WITHHELD

    house.clock.forward(minutes=20)
    house.tick()
    assert asked(house, weak) == before  # nobody asks a phone that reports
    weak.user_sets_passcode(STRONG)
    assert enforced(house, weak).state == State.COMPLIANT  # before anybody connected
    assert house.woken() == [weak]
    assert weak.installed == [WIFI]
    newest = Evidence.objects.filter(device=house.device(weak)).first()
    assert newest is not None
    assert newest.source == Source.STATUS
    assert asked(house, weak) == before
    assert house.audit(weak).count("enforcement.compliant") == 1


def test_the_hour_begins_with_the_report_that_it_is_in_force(house: House) -> None:
    (phone,) = phones(house, WEAK)
    push(house, published(house, STRICT))
    result = phone.answer(phone.idle().body)
    phone.declarations.is_due = False
    sync, phone._afterwards = phone._afterwards, None
    phone.report(result)
    assert enforced(house, phone).state == State.PUSHED  # it was told, and has yet to report
    house.clock.forward(minutes=30)

    assert sync is not None
    sync()
    row = enforced(house, phone)
    assert row.state == State.GRACE
    assert row.deadline is not None
    assert row.deadline > house.clock.now() + timedelta(minutes=59)


def test_an_hour_runs_out_and_ends_by_a_report(house: House) -> None:
    (phone,) = phones(house, WEAK)
    push(house, published(house, STRICT))
    settled(house)
    house.clock.forward(minutes=61)
    house.tick()
    assert enforced(house, phone).state == State.OVERDUE
    phone.user_sets_passcode(STRONG)
    assert enforced(house, phone).state == State.COMPLIANT


def test_a_newer_version_takes_the_place_of_the_older_declaration(house: House) -> None:
    (phone,) = phones(house, STRONG)
    first = published(house, STRICT)
    push(house, first)
    settled(house)
    told = phone.declarations.token
    push(house, published(house, STRICTER, policy=first.policy))
    assert enforced(house, phone).state == State.PUSHED
    settled(house)
    assert phone.declarations.token != told
    assert phone.declarations.policies == [first.policy.identifier]
    assert enforced(house, phone).state == State.GRACE
    phone.user_sets_passcode(STRONGER)
    assert enforced(house, phone).state == State.COMPLIANT


def test_a_stopped_rollout_gives_back_what_was_declared_before(house: House) -> None:
    (phone,) = phones(house, STRONG)
    first = published(house, STRICT)
    push(house, first)
    settled(house)
    second = published(house, STRICTER, policy=first.policy)
    pushed = rollout.push(second.pk, group_ids=[house.group("All").pk], by=house.author)
    assert rollout.stop(pushed.pk, by=house.author) == 1
    settled(house)
    assert (enforced(house, phone).state, enforced(house, phone).version) == (
        State.COMPLIANT,
        first,
    )
    assert phone.compliant


def test_a_policy_that_is_removed_is_declared_no_more(house: House) -> None:
    (phone,) = phones(house, STRONG)
    version = published(house, STRICT)
    push(house, version)
    settled(house)
    rollout.remove(version.policy_id, group_ids=[house.group("All").pk], by=house.author)
    settled(house)
    assert phone.declarations.held == {}
    assert not phone.demands.required
    assert "RemoveProfile" not in [one.request_type for one in house.commands(phone)]


def test_a_phone_that_cannot_gets_the_profile(house: House) -> None:
    old, new = (*phones(house, STRONG, declarative=False), *phones(house, STRONG))
    version = published(house, STRICT)
    push(house, version)
    settled(house)
    assert (old.installed, new.installed) == ([version.policy.identifier], [])
    assert enforced(house, old).state == enforced(house, new).state == State.COMPLIANT
    assert "declaration.refused" in house.audit(old)

    push(house, published(house, LOOSE, policy=version.policy))  # and is not told again
    settled(house)
    assert len(house.commands(old, "DeclarativeManagement")) == 1
    assert len(house.commands(new, "DeclarativeManagement")) == 2


def test_a_policy_moves_from_profile_to_declaration_without_a_gap(
    house: House, settings: Settings
) -> None:
    settings.DECLARATIVE = False
    (phone,) = phones(house, STRONG)
    wifi(house, group=house.group("All"))
    version = published(house, STRICT)
    policy = version.policy.identifier
    push(house, version)
    settled(house)
    assert phone.installed == [policy, WIFI]

    settings.DECLARATIVE = True
    assert ways.settle_due() == 1
    assert ways.settle_due() == 0
    there: list[list[str]] = []  # what was declared when the profile went

    class Watched(dict[str, Profile]):
        def __delitem__(self, key: str) -> None:
            there.append(phone.declarations.policies)
            super().__delitem__(key)

    phone.profiles = Watched(phone.profiles)
    settled(house)
    assert there == [[policy]]
    assert (phone.installed, phone.declarations.policies) == ([WIFI], [policy])
    row = enforced(house, phone)
    assert (row.state, row.reports_itself) == (State.COMPLIANT, True)
    assert Enforcement.objects.filter(device=house.device(phone)).count() == 1  # no new hour
    assert release(house.device(phone)).state == ReleaseState.DELIVERED


def test_and_back_without_a_gap(house: House, settings: Settings) -> None:
    (phone,) = phones(house, STRONG)
    version = published(house, STRICT)
    policy = version.policy.identifier
    push(house, version)
    settled(house)
    settings.DECLARATIVE = False
    assert ways.settle_due() == 1
    assert ways.settle_due() == 0
    (install,) = house.commands(phone, "InstallProfile")
    result = phone.answer(phone.idle().body)
    assert (phone.installed, phone.declarations.policies) == ([policy], [policy])
    phone.report(result)
    phone.connect()
    assert (phone.installed, phone.declarations.held) == ([policy], {})
    row = enforced(house, phone)
    assert (row.state, row.reports_itself) == (State.COMPLIANT, False)
    assert Command.objects.get(pk=install.pk).state == "acknowledged"
    assert "SecurityInfo" in [one.request_type for one in house.commands(phone)]


def test_a_phone_that_loses_the_declaration_gets_the_profile_and_the_gate_shuts(
    house: House,
) -> None:
    (phone,) = phones(house, STRONG)
    version = published(house, STRICT)
    push(house, version)
    settled(house)
    configuration = wifi(house, group=house.group("All"))
    settled(house)
    assert phone.installed == [WIFI]

    phone.declarations.lost = [version.policy.identifier]
    phone.report_status()
    assert enforced(house, phone).state == State.PUSHED
    settled(house)
    assert phone.installed == [WIFI, version.policy.identifier]
    assert enforced(house, phone).state == State.COMPLIANT
    assert phone.declarations.held == {}
    assert configuration.releases.get().state == ReleaseState.DELIVERED


def test_a_cleared_phone_says_by_itself_that_it_is_protected_again(
    house: House, tmp_path: Path
) -> None:
    (phone,) = phones(house, STRONG)
    push(house, published(house, STRICT))
    settled(house)
    asked_for = clears.ask_for(phone, by=house.helpdesk)
    clears.approve(asked_for.pk, by=house.approver)
    house.vault()
    settled(house)
    assert (clears.reread(asked_for).state, phone.passcode) == ("cleared", None)
    assert enforced(house, phone).state == State.OVERDUE

    phone.user_sets_passcode(STRONGER)
    assert clears.reread(asked_for).state == "reprotected"
    assert enforced(house, phone).state == State.COMPLIANT


def test_a_phone_that_enrolls_again_starts_with_an_empty_memory(house: House) -> None:
    (phone,) = phones(house, STRONG)
    version = published(house, STRICT)
    push(house, version)
    settled(house)
    phone.enroll()
    phone.declarations = type(phone.declarations)()
    phone.connect()
    settled(house)
    assert phone.declarations.policies == [version.policy.identifier]
    assert enforced(house, phone).state == State.COMPLIANT
