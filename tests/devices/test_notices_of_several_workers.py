"""Two workers at one tick, and one that is killed in the middle: each notice arrives, and once where it can."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.conf import settings as of_django
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoDbBlocker, Settings

from devices import notices
from devices.models import Notice
from devices.rules.notices import Kind, Message, State
from staff.models import User
from tests.mailbox import Mailbox, open_mailbox
from tests.notices import use
from tests.own_database import own_database
from tests.own_process import ROOT, environment
from tests.passcodes.test_two_workers import at_once

__all__ = ["own_database"]
PEOPLE = 6


@pytest.fixture
def post(
    own_database: str, django_db_blocker: DjangoDbBlocker, settings: Settings
) -> Iterator[Mailbox]:
    """One notice waits for each of some people."""
    with django_db_blocker.unblock(), open_mailbox() as box:
        use(settings, box)
        people = [
            User.objects.create_user(f"person{at}", email=f"person{at}@example.org")
            for at in range(PEOPLE)
        ]
        message = Message(Kind.SIGN, "A clear waits", (), "/")
        notices.put(message, once="sign 1", people=[one.pk for one in people])
        yield box


def test_two_workers_send_each_once(post: Mailbox) -> None:
    counts = at_once(notices.send_due, notices.send_due, notices.send_due)
    assert sum(count for count in counts if isinstance(count, int)) == PEOPLE
    assert len({str(one.to) for one in post.letters}) == len(post.letters) == PEOPLE


def test_what_one_is_sending_no_other_takes(post: Mailbox) -> None:
    claims = at_once(*[notices._claim] * PEOPLE)
    taken = {claim.pk for claim in claims if isinstance(claim, Notice)}
    assert len(taken) == PEOPLE


def test_a_worker_that_is_killed_loses_nothing(post: Mailbox) -> None:
    post.is_silent = True  # the server has the letter, and has not said so
    child = worker(post)
    try:
        until(lambda: bool(post.letters))
    finally:
        child.kill()
        child.wait()
    assert set(Notice.objects.values_list("state", flat=True)) == {State.WAITING.value}
    post.is_silent = False
    until(lambda: notices.send_due() == PEOPLE - 1)  # its lock goes when its connection does
    Notice.objects.filter(state=State.WAITING.value).update(
        next_try_at=timezone.now() - timedelta(seconds=1)  # the claim of the dead has run out
    )
    assert notices.send_due() == 1
    assert set(Notice.objects.values_list("state", flat=True)) == {State.SENT.value}
    ids = [str(one.message["Message-ID"]) for one in post.letters]
    assert len(ids) == PEOPLE + 1
    assert len(set(ids)) == PEOPLE
    assert ids.count(ids[0]) == 2


def worker(post: Mailbox) -> "subprocess.Popen[bytes]":
    env = environment(
        "worker",
        WORKER_PRIVATE_KEY=of_django.WORKER_PRIVATE_KEY,
        REDIS_URL="redis://localhost",
        EMAIL_URL=f"smtp://127.0.0.1:{post.port}",
        STAFF_URL="http://localhost:8000",
    )
    sends = "import django; django.setup(); from devices import notices; notices.send_due()"
    return subprocess.Popen([sys.executable, "-c", sends], env=env, cwd=ROOT)


def until(answers: Callable[[], bool]) -> None:
    patience = threading.Event()
    for _ in range(400):
        if answers():
            return
        patience.wait(0.05)
    raise TimeoutError(connection.settings_dict["NAME"])
