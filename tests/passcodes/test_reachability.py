"""Why nothing arrives, in words, and the next step."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices import queue
from devices.models import Device, PushCertificate
from devices.models.device import Enrollment
from devices.rules.commands import Status
from passcodes import reachability
from tests import clears
from tests.house import House

pytestmark = pytest.mark.django_db


def sentences(device: Device) -> list[str]:
    return [hint.sentence for hint in reachability.why(device)]


def test_a_device_that_answers_has_no_hints(house: House) -> None:
    assert reachability.why(clears.device()) == []


def ago(**how_long: float) -> Any:
    return timezone.now() - timedelta(**how_long)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"lost_at": ago(days=1)}, "marked lost since"),
        ({"enrollment_state": Enrollment.AUTHENTICATED}, "not finished"),
        ({"enrollment_state": Enrollment.LEFT, "left_at": ago(days=1)}, "left the management"),
        ({"enrollment_state": Enrollment.RETIRED}, "out of service"),
        ({"push_token": None}, "no push token"),
        ({"token_dead_since": ago(hours=1)}, "no longer valid, since"),
        ({"last_seen_at": ago(days=2)}, "silent since"),
        (
            {"last_seen_at": ago(hours=2), "pushed_at": ago(minutes=1), "wake_attempts": 4},
            "restarted and not unlocked",
        ),
    ],
)
def test_one_thing_in_the_way_is_one_hint_with_a_next_step(
    house: House, facts: dict[str, Any], sentence: str
) -> None:
    [hint] = reachability.why(clears.device(**facts))
    assert sentence in hint.sentence
    assert hint.next_step.endswith(".")


def test_a_single_push_that_brought_nobody_yet_says_nothing(house: House) -> None:
    device = clears.device(last_seen_at=ago(hours=2), pushed_at=ago(seconds=5), wake_attempts=1)
    assert reachability.why(device) == []


def test_what_was_put_off_is_named(house: House) -> None:
    device = clears.device()
    [command] = queue.enqueue([device], "InstallProfile")
    queue.sent(command)
    queue.record(device, user=None, uuid=str(command.uuid), status=Status.NOT_NOW)
    [sentence] = sentences(device)
    assert "has put off InstallProfile since" in sentence


def test_an_alarm_of_the_certificate_is_said_for_every_device(house: House) -> None:
    PushCertificate.objects.update(alarm="Apple refuses our certificate.", alarm_since=ago(days=1))
    [sentence] = sentences(clears.device())
    assert "Apple refuses our certificate." in sentence


def test_a_certificate_that_has_ended_is_said(house: House) -> None:
    PushCertificate.objects.update(not_after=ago(days=1))
    assert "has ended" in sentences(clears.device())[0]


def test_without_a_certificate_nobody_is_woken() -> None:
    assert "no push certificate" in sentences(clears.device())[0]


def test_several_things_are_said_at_once(house: House) -> None:
    device = clears.device(lost_at=ago(days=1), token_dead_since=ago(hours=1))
    assert len(reachability.why(device)) == 2
