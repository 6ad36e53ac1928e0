"""Who is pushed when, over the real transport to a push service that speaks real HTTP/2."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import Settings

from devices import waking
from devices.apns.apple import Apple
from devices.apns.transport import Address, Credentials
from devices.models import AuditEntry, Device, DeviceUser, PushCertificate
from devices.models.device import Enrollment
from devices.rules.waking import APPLE_RETRY, FIRST_RETRY, LAST_RETRY, Outcome
from tests.own_database import own_database
from tests.pushing import load, push_certificates_folder, push_service
from tests.simulator.push_service import EVERY_TOKEN, Fault, PushService

__all__ = ["own_database", "push_certificates_folder", "push_service"]

NUMBERS = itertools.count(1)


@pytest.fixture
def push(push_service: PushService, request: pytest.FixtureRequest) -> PushService:
    """Its certificate is loaded, in the test's own database if it wants one."""
    request.getfixturevalue("own_database" if "own_database" in request.fixturenames else "db")
    load(push_service.certificates.mdm)
    return push_service


def sleeping(*, due: bool = True, since: datetime | None = None) -> Device:
    """An enrolled device with a push address, due since a moment ago or not at all."""
    number = next(NUMBERS)
    now = timezone.now()
    return Device.objects.create(
        udid=f"udid-{number}",
        enrollment_state=Enrollment.ENROLLED,
        push_token=number.to_bytes(32, "big"),
        push_magic=f"magic-{number}",
        token_since=since or now - timedelta(days=1),
        wake_due_at=now - timedelta(seconds=1) if due else None,
    )


def token(sleeper: Device | DeviceUser) -> str:
    return bytes(sleeper.push_token or b"").hex()


def again_in(sleeper: Device | DeviceUser) -> timedelta:
    """How long until the next push, to the second."""
    sleeper.refresh_from_db()
    assert sleeper.wake_due_at is not None
    return timedelta(seconds=round((sleeper.wake_due_at - timezone.now()).total_seconds()))


def due_now(*sleepers: Device | DeviceUser) -> None:
    """The wait is over."""
    for sleeper in sleepers:
        sleeper.wake_due_at = timezone.now()
        sleeper.save(update_fields=["wake_due_at"])


def verbs() -> list[str]:
    return list(
        AuditEntry.objects.exclude(verb="push_certificate.loaded")
        .order_by("pk")
        .values_list("verb", flat=True)
    )


def test_only_who_is_due_and_can_be_woken_is_pushed(push: PushService) -> None:
    due, not_due, dead, left = sleeping(), sleeping(due=False), sleeping(), sleeping()
    Device.objects.filter(pk=dead.pk).update(token_dead_since=timezone.now())
    Device.objects.filter(pk=left.pk).update(enrollment_state=Enrollment.LEFT)
    assert waking.push_due() == 1
    assert [one.token for one in push.received] == [token(due)]
    assert push.received[0].magic == due.push_magic
    not_due.refresh_from_db()
    assert not_due.wake_due_at is None


def test_wake_makes_devices_due_at_the_next_tick(push: PushService) -> None:
    devices = [sleeping(due=False) for _ in range(3)]
    waking.wake(device.pk for device in devices[:2])
    assert waking.push_due() == 2
    assert {one.token for one in push.received} == {token(device) for device in devices[:2]}


def test_a_push_that_brought_nobody_is_repeated_after_twice_the_wait(push: PushService) -> None:
    device = sleeping()
    for wait in (FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY):
        assert waking.push_due() == 1
        assert again_in(device) == wait
        assert waking.push_due() == 0
        due_now(device)
    assert len(push.received) == 3


def test_waking_again_begins_with_the_shortest_wait(push: PushService) -> None:
    device = sleeping()
    for _ in range(3):
        waking.push_due()
        due_now(device)
    waking.wake([device.pk])
    waking.push_due()
    assert again_in(device) == FIRST_RETRY


def test_who_puts_something_off_is_pushed_again_later(push: PushService) -> None:
    device = sleeping()
    waking.push_due()
    waking.wake_later(device, timedelta(minutes=10))
    assert again_in(device) == timedelta(minutes=10)
    assert waking.push_due() == 0


def test_a_batch_is_not_the_end(push: PushService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "BATCH", 2)
    devices = [sleeping() for _ in range(5)]
    assert waking.push_due() == 5
    assert {one.token for one in push.received} == {token(device) for device in devices}


def test_the_longest_due_goes_first(push: PushService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "BATCH", 1)
    second, first = sleeping(), sleeping()
    Device.objects.filter(pk=first.pk).update(wake_due_at=timezone.now() - timedelta(hours=1))
    waking.push_due()
    assert [one.token for one in push.received] == [token(first), token(second)]


def test_a_user_of_a_device_is_woken_at_an_address_of_their_own(push: PushService) -> None:
    device = sleeping(due=False)
    user = DeviceUser.objects.create(
        device=device,
        user_id="someone",
        push_token=b"u" * 32,
        push_magic="users-magic",
        token_since=timezone.now(),
        wake_due_at=timezone.now(),
    )
    assert waking.push_due() == 1
    assert [(one.token, one.magic) for one in push.received] == [(token(user), "users-magic")]
    assert again_in(user) == FIRST_RETRY

    push.answer(token(user), 410)
    due_now(user)
    waking.push_due()
    user.refresh_from_db()
    device.refresh_from_db()
    assert user.token_dead_since is not None
    assert device.token_dead_since is None


def test_a_device_that_left_has_no_users_to_wake(push: PushService) -> None:
    device = sleeping(due=False)
    Device.objects.filter(pk=device.pk).update(enrollment_state=Enrollment.LEFT)
    DeviceUser.objects.create(
        device=device,
        user_id="someone",
        push_token=b"u" * 32,
        push_magic="users-magic",
        token_since=timezone.now(),
        wake_due_at=timezone.now(),
    )
    assert waking.push_due() == 0


def test_without_a_certificate_everybody_stays_due(db: None) -> None:
    device = sleeping()
    assert waking.push_due() == 0
    device.refresh_from_db()
    assert device.wake_due_at is not None
    assert device.wake_due_at <= timezone.now()


def test_a24_410_newer_than_the_token_marks_it_dead(push: PushService) -> None:
    device = sleeping()
    push.answer(token(device), 410)
    waking.push_due()
    device.refresh_from_db()
    assert device.token_dead_since is not None
    assert device.wake_due_at is None
    assert device.enrollment_state == Enrollment.ENROLLED
    assert verbs() == ["device.unreachable"]

    waking.wake([device.pk])
    assert waking.push_due() == 0  # no further push
    assert len(push.received) == 1


def test_a24_410_older_than_the_token_is_pushed_again_at_once(push: PushService) -> None:
    device = sleeping(since=timezone.now())
    an_hour_ago = (timezone.now() - timedelta(hours=1)).timestamp()
    push.answer(token(device), 410, timestamp=an_hour_ago, times=1)
    assert waking.push_due() == 2
    device.refresh_from_db()
    assert device.token_dead_since is None
    assert [one.status for one in push.received] == [410, 200]


def test_a24_bad_device_token_marks_it_dead(push: PushService) -> None:
    device, other = sleeping(), sleeping()
    push.answer(token(device), 400, reason="BadDeviceToken")
    waking.push_due()
    device.refresh_from_db()
    other.refresh_from_db()
    assert device.token_dead_since is not None
    assert other.token_dead_since is None
    entry = AuditEntry.objects.get(verb="device.unreachable")
    assert (entry.device, entry.facts) == (device, {"reason": "BadDeviceToken"})


@pytest.mark.parametrize(
    ("status", "first"), [(429, FIRST_RETRY), (500, APPLE_RETRY), (503, APPLE_RETRY)]
)
def test_a24_throttled_or_unavailable_backs_off_and_keeps_the_token(
    push: PushService, status: int, first: timedelta
) -> None:
    device = sleeping()
    push.answer(token(device), status)
    for wait in (first, 2 * first):
        assert waking.push_due() == 1
        assert again_in(device) == wait
        due_now(device)
    assert device.token_dead_since is None
    assert verbs() == []


def test_a24_403_raises_one_alarm_and_touches_no_token(push: PushService) -> None:
    devices = [sleeping() for _ in range(300)]
    push.answer(EVERY_TOKEN, 403)
    assert waking.push_due() < len(devices)  # the drain stopped
    assert waking.push_due() == 0  # and stands still
    certificate = PushCertificate.objects.get()
    assert "BadCertificate" in certificate.alarm
    assert certificate.alarm_since is not None
    assert verbs() == ["push.alarm"]
    assert not Device.objects.exclude(token_dead_since=None).exists()
    assert not Device.objects.exclude(wake_attempts=0).exists()


def test_a24_after_trouble_one_push_is_tried_and_then_all(push: PushService) -> None:
    devices = [sleeping() for _ in range(20)]
    push.answer(EVERY_TOKEN, 403)
    waking.push_due()
    before = len(push.received)

    PushCertificate.objects.update(stopped_until=timezone.now())
    assert waking.push_due() == 1
    assert len(push.received) == before + 1
    assert verbs() == ["push.alarm"]

    push.accept(EVERY_TOKEN)
    PushCertificate.objects.update(stopped_until=timezone.now())
    assert waking.push_due() == len(devices)
    certificate = PushCertificate.objects.get()
    assert (certificate.alarm, certificate.alarm_since, certificate.stopped_until) == (
        "",
        None,
        None,
    )
    assert verbs() == ["push.alarm", "push.works_again"]


def test_a24_a_tls_failure_raises_an_alarm_and_touches_no_token(push: PushService) -> None:
    device = sleeping()
    load(push.certificates.make_client("foreign", topic=push.topic, foreign=True))
    waking.push_due()
    device.refresh_from_db()
    assert device.token_dead_since is None
    assert "TLS" in PushCertificate.objects.get(is_current=True).alarm
    assert verbs() == ["push.alarm"]

    load(push.certificates.mdm)  # the right one goes on at once
    assert waking.push_due() == 1
    assert [one.token for one in push.received] == [token(device)]


def test_a24_an_expired_certificate_raises_an_alarm_and_pushes_nothing(push: PushService) -> None:
    device = sleeping()
    PushCertificate.objects.update(not_after=timezone.now() - timedelta(minutes=1))
    assert waking.push_due() == 0
    assert waking.push_due() == 0
    assert "ended on" in PushCertificate.objects.get().alarm
    assert verbs() == ["push.alarm"]
    device.refresh_from_db()
    assert device.token_dead_since is None
    assert push.received == []


def test_a_key_that_this_worker_cannot_open_raises_an_alarm(
    push: PushService, settings: Settings
) -> None:
    sleeping()
    settings.WORKER_PRIVATE_KEY = settings.DOOR_PRIVATE_KEY
    waking.push_due()
    assert "does not open" in PushCertificate.objects.get().alarm
    assert push.received == []


def test_a_request_that_is_our_fault_raises_an_alarm_and_touches_no_token(
    push: PushService,
) -> None:
    device = sleeping()
    push.answer(EVERY_TOKEN, 400, reason="BadTopic")
    waking.push_due()
    assert again_in(device) == APPLE_RETRY
    assert device.token_dead_since is None
    assert "BadTopic" in PushCertificate.objects.get().alarm


def test_a_token_of_another_topic_waits_for_another_certificate(push: PushService) -> None:
    device = sleeping()
    push.answer(token(device), 400, reason="DeviceTokenNotForTopic")
    waking.push_due()
    assert again_in(device) == LAST_RETRY
    assert device.token_dead_since is None
    assert "device.push_refused" in verbs()


def test_an_outage_does_not_lengthen_the_wait(push: PushService) -> None:
    device = sleeping()
    push.answer(EVERY_TOKEN, Fault.CUT)
    for _ in range(3):
        waking.push_due()
        assert again_in(device) == FIRST_RETRY
        due_now(device)


class Meanwhile:
    """The real transport; once, when Apple has answered, something happens before we hear of it."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self._happens = happens
        self.happened = 0

    def send(
        self, addresses: Sequence[Address], *, credentials: Credentials
    ) -> Mapping[int, Outcome]:
        outcomes = Apple().send(addresses, credentials=credentials)
        if not self.happened:
            self.happened += 1
            self._happens()
        return outcomes


def change(device: Device, **columns: Any) -> None:
    Device.objects.filter(pk=device.pk).update(**columns)


def test_a_new_token_that_comes_meanwhile_is_not_buried(
    push: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = sleeping()
    push.answer(token(device), 410)
    meanwhile = Meanwhile(lambda: change(device, push_token=b"new" * 8))
    monkeypatch.setattr(waking, "transport", lambda: meanwhile)
    waking.push_due()
    device.refresh_from_db()
    assert device.token_dead_since is None
    assert bytes(device.push_token or b"") == b"new" * 8
    assert verbs() == []


def test_a_wake_that_comes_meanwhile_is_not_put_off(
    push: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = sleeping()
    meanwhile = Meanwhile(lambda: waking.wake([device.pk]))
    monkeypatch.setattr(waking, "transport", lambda: meanwhile)
    assert waking.push_due() == 2  # the first push, and the one that was asked for during it
    assert [one.token for one in push.received] == [token(device)] * 2


def test_a_visit_that_comes_meanwhile_is_not_undone(
    push: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = sleeping()
    meanwhile = Meanwhile(lambda: change(device, wake_due_at=None))
    monkeypatch.setattr(waking, "transport", lambda: meanwhile)
    waking.push_due()
    device.refresh_from_db()
    assert device.wake_due_at is None


def test_two_workers_push_each_device_once(
    own_database: str, push: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "BATCH", 10)
    devices = [sleeping() for _ in range(200)]
    with ThreadPoolExecutor(2) as workers:
        pushed = list(workers.map(in_a_worker, range(2)))
    assert sum(pushed) == len(devices)
    assert sorted(one.token for one in push.received) == sorted(map(token, devices))


def test_a_device_that_is_at_the_door_holds_up_nobody(
    own_database: str, push: PushService
) -> None:
    at_the_door, other = sleeping(), sleeping()
    with ThreadPoolExecutor(1) as worker, transaction.atomic():
        Device.objects.locked(at_the_door.pk)
        assert worker.submit(in_a_worker, 0).result(timeout=10) == 1
    assert [one.token for one in push.received] == [token(other)]
    assert waking.push_due() == 1


def test_the_claim_of_a_worker_that_died_runs_out(push: PushService) -> None:
    device = sleeping()
    waking._claim(Device, 1)
    assert waking.push_due() == 0
    assert again_in(device) == waking.CLAIM_LASTS
    due_now(device)  # that time later
    assert waking.push_due() == 1


def in_a_worker(_: int) -> int:
    try:
        return waking.push_due()
    finally:
        connection.close()
