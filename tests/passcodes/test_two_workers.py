"""Two workers at the same tick, and a push while a device speaks: each thing happens once."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from devices.models import AuditEntry, Command, Device, DeviceGroup, GroupRule
from devices.rules.grouping import read
from passcodes import enforcement, grouping, policies, rollout, waves
from passcodes.models import Enforcement, PolicyVersion, Wave, WavePlan
from passcodes.rules.enforcement import State
from passcodes.rules.waves import Kind, Portion, Refused
from staff.models import User
from tests.own_database import own_database
from tests.scenes import LOOSE, STRICT, acknowledge, rows

__all__ = ["own_database"]


@pytest.fixture
def author(own_database: str, django_db_blocker: DjangoDbBlocker) -> Iterator[User]:
    with django_db_blocker.unblock():
        yield User.objects.create_superuser("author", password="x")


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Each in a thread and on a connection of its own, started together."""
    barrier = threading.Barrier(len(acts))
    results: list[object] = [None] * len(acts)

    def run(number: int, act: Callable[[], object]) -> None:
        barrier.wait()
        try:
            results[number] = act()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def versions(author: User) -> list[PolicyVersion]:
    policy = policies.create("Phones", by=author)
    return [
        policies.publish(policies.draft(policy, one, by=author).pk, by=author)
        for one in (LOOSE, STRICT)
    ]


def in_their_hour(author: User, number: int) -> list[Device]:
    devices = rows(number)
    version = versions(author)[0]
    rollout.push(version.pk, device_ids=[device.pk for device in devices], by=author)
    for device in devices:
        acknowledge(device)
    return devices


def test_two_workers_close_each_hour_once(author: User) -> None:
    in_their_hour(author, 30)
    Command.objects.filter(request_type="SecurityInfo").delete()
    Enforcement.objects.update(deadline=timezone.now() - timedelta(seconds=1))
    at_once(enforcement.close_due, enforcement.close_due, enforcement.ask_due)
    enforcement.close_due()  # what one of them had to leave to the other
    assert Enforcement.objects.filter(state=State.OVERDUE).count() == 30
    assert AuditEntry.objects.filter(verb="enforcement.overdue").count() == 30
    assert Command.objects.filter(request_type="SecurityInfo").count() == 30


def test_a_device_that_speaks_is_left_for_the_next_tick(author: User) -> None:
    devices = in_their_hour(author, 3)
    Enforcement.objects.update(deadline=timezone.now() - timedelta(seconds=1))
    with transaction.atomic():
        Device.objects.locked(devices[0].pk)
        assert at_once(enforcement.close_due) == [2]
    assert enforcement.close_due() == 1


def test_two_pushes_at_once_leave_one_version_live(author: User) -> None:
    keys = [device.pk for device in rows(30)]
    one, other = versions(author)
    at_once(
        lambda: rollout.push(one.pk, device_ids=keys, by=author),
        lambda: rollout.push(other.pk, device_ids=keys[::-1], by=author),
    )
    live = Enforcement.objects.live()
    assert live.count() == 30
    assert live.values("version").distinct().count() == 1
    assert Command.objects.open().count() == 30


def test_two_workers_and_a_click_let_one_wave_go(author: User) -> None:
    keys = [device.pk for device in rows(30)]
    version = versions(author)[0]
    five_each = (Portion(Kind.DEVICES, 5), Portion(Kind.DEVICES, 5), Portion(Kind.DEVICES, 5))
    started = rollout.push(
        version.pk,
        device_ids=keys,
        in_waves=waves.Intent(five_each, after_hours=1, threshold=0),
        by=author,
    )
    for device in Device.objects.filter(enforcements__rollout=started):
        acknowledge(device)
    WavePlan.objects.update(due_at=timezone.now())

    def click() -> None:
        with contextlib.suppress(Refused):
            waves.go_on(started.pk, number=2, by=author)

    at_once(waves.go_on_due, waves.go_on_due, click)
    assert Wave.objects.count() == 2
    assert Enforcement.objects.filter(rollout=started).count() == 10


def test_two_workers_and_a_device_move_each_device_once(
    author: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "AT_ONCE", 0)
    monkeypatch.setattr(grouping, "BATCH", 7)
    devices = rows(30, asset_tag="RETAIL-1")
    group = DeviceGroup.objects.create(name="Retail")
    rollout.push(versions(author)[0].pk, group_ids=[group.pk], by=author)
    grouping.write(group.pk, [read("tag", "begins", "RETAIL-")], by=author)

    def reports() -> None:
        for device in devices[::-1]:
            with transaction.atomic():
                grouping.settle(Device.objects.locked(device.pk))

    at_once(grouping.settle_due, grouping.settle_due, reports)
    assert set(group.devices.all()) == set(devices)
    assert AuditEntry.objects.filter(verb="device.joined_by_rule").count() == len(devices)
    assert Enforcement.objects.count() == len(devices)


def test_a_device_that_changes_while_a_rule_is_written_ends_where_it_belongs(author: User) -> None:
    first, second = read("tag", "begins", "RETAIL-"), read("tag", "begins", "OFFICE-")
    devices = rows(20, asset_tag="RETAIL-1")
    group = DeviceGroup.objects.create(name="Group")
    grouping.write(group.pk, [first], by=author)

    def tagged(device: Device) -> None:
        with transaction.atomic():
            found = Device.objects.locked(device.pk)
            found.asset_tag = "OFFICE-1"
            found.save(update_fields=["asset_tag"])
            grouping.settle(found)

    def change() -> None:
        for device in devices[::2]:
            tagged(device)

    at_once(change, lambda: grouping.write(group.pk, [second], by=author), grouping.settle_due)
    GroupRule.objects.update(due_at=timezone.now())  # the repair, without waiting for it
    grouping.settle_due()
    assert set(group.devices.all()) == set(devices[::2])
