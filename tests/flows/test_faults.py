"""Processes die, stop, and say things twice: nothing is lost, and nothing happens twice."""

import json
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from devices.models import AuditEntry, Command, Device
from devices.rules.commands import State
from devices.waking import CLAIM_LASTS
from passcodes import clearing, enforcement, policies, rollout
from passcodes.models import (
    ClearRequest,
    Enforcement,
    EscrowedToken,
    Evidence,
    Handover,
    Policy,
    PolicyVersion,
    Release,
)
from passcodes.rules import clearing as clears
from passcodes.rules import enforcement as hours
from passcodes.rules.requirements import Requirements
from staff.models import User
from tests import clears as signs
from tests.desk import Person
from tests.running import Running
from tests.simulator.phone import Phone
from tests.simulator.transport import Response

FLEET = 5
PASSCODE = "tulip-4471-river"  # good enough for every version here
FLOOD = 500  # messages
SHORTEST = count(6)  # what each new version demands: one more than the last


@pytest.fixture(scope="module")
def house(ground: tuple[Path, str]) -> Iterator[Running]:
    with Running(*ground) as running:
        yield running


@pytest.fixture(scope="module")
def phones(house: Running) -> list[Phone]:
    return [house.enrolled_phone(passcode=PASSCODE) for _ in range(FLEET)]


@pytest.fixture
def version(house: Running) -> PolicyVersion:
    """A new version of the policy, published and not pushed."""
    author = person("author")
    policy = Policy.objects.get()
    stricter = Requirements(force_pin=True, min_length=next(SHORTEST))
    waiting = policy.versions.filter(published_at=None).first()
    draft = (
        policies.change_draft(waiting.pk, stricter, by=author)
        if waiting
        else policies.draft(policy, stricter, by=author)
    )
    return policies.publish(draft.pk, by=author)


def person(name: str) -> User:
    return User.objects.get(username=name)


def device(phone: Phone) -> Device:
    return Device.objects.get(udid=phone.udid)


def rows(phones: Sequence[Phone]) -> list[Device]:
    return list(Device.objects.filter(udid__in=[phone.udid for phone in phones]))


def push(version: PolicyVersion, phones: Sequence[Phone]) -> None:
    rollout.push(version.pk, device_ids=[one.pk for one in rows(phones)], by=person("author"))


def have_it(version: PolicyVersion, phones: Sequence[Phone]) -> bool:
    """Whether each has proven that it complies with the version."""
    done = Enforcement.objects.filter(
        version=version, device__in=rows(phones), state=hours.State.COMPLIANT
    )
    return done.count() == len(phones)


def assert_each_got_it_once(version: PolicyVersion, phones: Sequence[Phone]) -> None:
    for phone in phones:
        ours = Command.objects.filter(device=device(phone), profile=version.profile)
        assert [(one.state, one.times_sent) for one in ours] == [(State.ACKNOWLEDGED, 1)]
        assert Enforcement.objects.filter(device=device(phone), version=version).count() == 1
        assert version.profile is not None
        assert phone.profiles[version.policy.identifier].uuid == version.profile.payload_uuid


def open_questions(phones: Sequence[Phone]) -> list[int]:
    """How many SecurityInfo wait for each."""
    return [
        Command.objects.open().filter(device=one, request_type="SecurityInfo").count()
        for one in rows(phones)
    ]


def test_the_setup_page_hears_every_process_and_finds_their_keys_alike(house: Running) -> None:
    admin = Person(house.wanted.staff, "admin", house.passwords["admin"])
    admin.fill("/setup/check/", {}, on="/setup/")

    def done() -> set[str]:
        page = admin.get("/setup/").text
        return set(re.findall(r'<li id="(\w+)" class="desk-step is-done">', page))

    house.wait(lambda: {"keys", "address", "authority", "push"} <= done(), "these steps are done")


def sessions() -> set[int]:
    """The worker's, at the database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'passcodes worker'"
        )
        return {pid for (pid,) in cursor.fetchall()}


def test_a_worker_keeps_its_session_over_many_tasks_and_goes_on_when_it_is_cut_off(
    house: Running, phones: list[Phone], version: PolicyVersion
) -> None:
    def kept() -> set[int]:
        before = sessions()
        time.sleep(2)  # several ticks
        return before & sessions()

    house.wait(kept, "a session is kept")  # one may have come of age
    before = sessions()
    with connection.cursor() as cursor:  # as when PostgreSQL is started anew
        cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", [list(before)])
    push(version, phones)
    house.until(lambda: have_it(version, phones), "each phone has the version")
    assert_each_got_it_once(version, phones)
    house.wait(sessions, "the worker has another")
    assert not sessions() & before


def test_a_worker_killed_while_it_pushes_loses_no_device(
    house: Running, phones: list[Phone], version: PolicyVersion
) -> None:
    house.signal("push service", signal.SIGSTOP)  # it answers nobody; the worker waits for it
    push(version, phones)
    claimed = Device.objects.filter(
        pk__in=[one.pk for one in rows(phones)], wake_due_at__gt=timezone.now()
    )
    house.wait(lambda: claimed.count() == FLEET, "the worker has claimed them all")
    house.kill("worker")
    house.kill("push service")
    house.start("push service", "worker")

    assert house.listen() == []
    assert claimed.filter(wake_due_at__lt=timezone.now() + CLAIM_LASTS).count() == FLEET
    assert not have_it(version, phones)

    claimed.update(wake_due_at=F("wake_due_at") - CLAIM_LASTS)  # two minutes go by
    house.until(lambda: have_it(version, phones), "each phone has the version")
    assert_each_got_it_once(version, phones)


def test_while_redis_is_away_the_door_serves_and_nothing_is_lost(
    house: Running, phones: list[Phone], version: PolicyVersion
) -> None:
    first, *others = phones
    house.stop_redis()
    push(version, phones)
    first.connect()  # it comes by itself, and wants nothing of Redis
    assert have_it(version, [first])
    house.wait(lambda: "onnect" in house.log("worker"), "the worker misses Redis")
    assert house.listen() == []

    house.start_redis()
    house.until(lambda: have_it(version, others), "all others are woken and have it")
    assert_each_got_it_once(version, phones)


def test_a_sign_off_waits_for_a_vault_that_was_killed(house: Running, phones: list[Phone]) -> None:
    phone = phones[0]
    phone.user_forgets_passcode()
    asked = ask_for_clear(phone)
    house.kill("vault")
    signs.approve(asked.pk, by=person("approver"))
    house.hear()
    assert state_of(asked) == clears.State.APPROVED

    house.start("vault")
    house.until(lambda: state_of(asked) == clears.State.CLEARED, "the phone is cleared")
    assert phone.passcode is None
    assert not phone.forgotten
    orders = Command.objects.filter(device=device(phone), request_type="ClearPasscode")
    assert [(one.state, one.times_sent) for one in orders] == [(State.ACKNOWLEDGED, 1)]

    phone.user_sets_passcode(PASSCODE)
    ask(phone)
    house.until(lambda: state_of(asked) == clears.State.REPROTECTED, "it is protected again")


def test_a_door_killed_in_a_session_hears_the_result_again(
    house: Running, phones: list[Phone]
) -> None:
    phone = phones[1]
    ask(phone)
    heard = Evidence.objects.filter(device=device(phone))
    before = heard.count()
    result = phone.answer(phone.idle().body)
    house.kill("device door")
    assert phone.connect() == []
    assert phone.unsent == result

    house.start("device door")
    phone.connect()
    question = Command.objects.get(pk=result["CommandUUID"])
    assert (question.state, question.times_sent) == (State.ACKNOWLEDGED, 1)
    assert heard.count() == before + 1

    assert phone.report(result).ok  # its answer was lost on the way, so it says it once more
    assert heard.count() == before + 1
    answered_at = question.answered_at
    question.refresh_from_db()
    assert question.answered_at == answered_at


def test_a_phone_that_says_everything_twice_does_everything_once(house: Running) -> None:
    said: Counter[int] = Counter()

    def twice(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        if method == "PUT":
            said[house.send(method, url, headers, body).status] += 1
        return house.send(method, url, headers, body)

    phone = house.phone(passcode="1234", supervised=False)
    phone.transport = twice
    phone.enroll()
    phone.connect()
    row = device(phone)
    commands = Command.objects.filter(device=row)
    assert not commands.open().exists()
    assert Counter(commands.values_list("request_type", flat=True)) == {
        "DeviceInformation": 1,
        "SecurityInfo": 2,  # at the enrollment, and when the policy was there
        "InstallProfile": 3,  # the policy, and the two configurations that were withheld
    }
    assert set(commands.values_list("times_sent", flat=True)) == {2}  # one for each time it asked
    assert len(phone.installed) == 3
    assert Evidence.objects.filter(device=row).count() == 2
    assert Enforcement.objects.filter(device=row).count() == 1
    assert Release.objects.filter(device=row).count() == 2
    assert EscrowedToken.objects.filter(device=row, current=True).count() == 1

    phone.user_forgets_passcode()
    asked = ask_for_clear(phone)
    signs.approve(asked.pk, by=person("approver"))
    house.until(lambda: state_of(asked) == clears.State.CLEARED, "the phone is cleared")
    assert phone.passcode is None
    assert commands.filter(request_type="ClearPasscode").count() == 1
    assert not Handover.objects.filter(command__device=row).exists()

    phone.user_removes_profile()
    verbs = Counter(AuditEntry.objects.filter(device=row).values_list("verb", flat=True))
    once = ("device.enrolled", "enforcement.compliant", "clear.confirm", "device.left")
    assert {verb: verbs[verb] for verb in once} == dict.fromkeys(once, 1)
    assert set(said) == {200}


def test_two_workers_and_two_clocks_do_nothing_twice(
    house: Running, phones: list[Phone], version: PolicyVersion
) -> None:
    others = [house.second("worker"), house.second("clock")]
    house.hear()
    house.pushes.clear()
    try:
        push(version, phones)
        house.wait(lambda: house.listen() or house.pushes, "a push")
        ticks_go_by(house, seconds=2.5)
        assert sorted(pushed(house).values()) == [1] * FLEET
        for phone in phones:
            phone.connect()
        assert_each_got_it_once(version, phones)

        house.pushes.clear()
        Enforcement.objects.live().filter(device__in=rows(phones)).update(
            look_again_at=timezone.now() - timedelta(seconds=1)
        )
        house.wait(lambda: house.listen() or house.pushes, "a push")
        ticks_go_by(house, seconds=5.5)
        assert open_questions(phones) == [1] * FLEET
        assert sorted(pushed(house).values()) == [1] * FLEET
    finally:
        for other in others:
            house.kill(other)


def test_t22_whoever_holds_redis_reaches_neither_the_vault_nor_a_secret(
    house: Running, phones: list[Phone]
) -> None:
    phone = phones[2]
    asked = ask_for_clear(phone)
    ticks_go_by(house, seconds=6)  # the vault has heard who asks
    at_rest = in_redis(house)  # after all that has happened here
    for secret in (phone.udid, phone.serial, phone.push_magic, person("helpdesk").username):
        assert secret.encode() not in at_rest
    assert not any(forged in at_rest for forged in (b"approve", b"vault"))

    lines, entries = journal(house), AuditEntry.objects.filter(device=device(phone)).count()
    forge(house, asked)
    ticks_go_by(house, seconds=6)  # the vault has looked twice
    assert state_of(asked) == clears.State.REQUESTED
    assert not Handover.objects.exists()
    assert journal(house) == lines
    assert AuditEntry.objects.filter(device=device(phone)).count() == entries
    assert not (house.data / "by-pickle").exists()
    assert house.running["vault"].process.poll() is None
    assert "REDIS" not in (house.data / "vault.env").read_text()

    # The clock and the worker may stand still by then; a clear that is signed wants neither.
    phone.user_forgets_passcode()
    signs.approve(asked.pk, by=person("approver"))
    house.wait(lambda: state_of(asked) == clears.State.ARMED, "the vault has opened the token")
    phone.connect()
    assert state_of(asked) == clears.State.CLEARED
    phone.user_sets_passcode(PASSCODE)

    with broker(house) as client:
        client.flushall()
    house.kill("worker")
    house.start("worker")
    ask(phone)
    house.until(lambda: state_of(asked) == clears.State.REPROTECTED, "the clock goes on")


class ByPickle:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def forge(house: Running, asked: ClearRequest) -> None:
    """Tasks with arguments, tasks that there are not, control messages, and a flood."""
    forger = Celery(broker=house.redis_url)
    forger.conf.task_serializer = "json"
    for name, said in (
        ("passcodes.tasks.expire", {"request_id": asked.pk.hex}),
        ("passcodes.clearing.approve", {"request_id": asked.pk.hex, "by": 1}),
        ("vault.loop.tick", {}),
        ("vault.opening.open_one", {"request_id": asked.pk.hex}),
    ):
        forger.send_task(name, kwargs=said)
        forger.send_task(name, args=[asked.pk.hex])
    forger.send_task(
        "passcodes.tasks.expire", args=[ByPickle(house.data / "by-pickle")], serializer="pickle"
    )
    forger.control.broadcast("shutdown")
    forger.control.broadcast("pool_restart", arguments={"modules": ["os"]})
    forger.control.rate_limit("devices.tasks.push_due_devices", "1/h")
    with broker(house) as client:
        tick = json.dumps({"body": "W10=", "headers": {}, "properties": {}})
        client.lpush("celery", *[tick] * FLOOD, *["no message at all"] * FLOOD)
    forger.close()


def broker(house: Running) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(house.place.folder / "redis/redis.sock"))


def in_redis(house: Running) -> bytes:
    """All that lies there, as it would be written into a file."""
    with broker(house) as client:
        return b"".join(key + (client.dump(key) or b"") for key in client.scan_iter())


def journal(house: Running) -> bytes:
    return (house.data / "vault" / "journal").read_bytes()


def ask(phone: Phone) -> None:
    with transaction.atomic():
        enforcement.ask(Device.objects.locked(device(phone).pk))


def ask_for_clear(phone: Phone) -> ClearRequest:
    drafted = clearing.draft(
        device(phone).pk,
        reason=clears.Reason.FORGOTTEN,
        words="The passcode is forgotten.",
        possession={
            "how": "word",
            "words": "It lies on the counter before me.",
            "serial_end": phone.serial[-4:],
        },
        by=person("helpdesk"),
    )
    return signs.sign(drafted, by=person("helpdesk"))


def state_of(asked: ClearRequest) -> str:
    asked.refresh_from_db()
    return asked.state


def pushed(house: Running) -> Counter[str]:
    return Counter(push.token for push in house.pushes)


def ticks_go_by(house: Running, *, seconds: float) -> None:
    """Time in which everything that could happen twice would; nobody hears a push."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        house.listen()
        time.sleep(0.05)
