"""The queue of a device: what is let in, and how it ends."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices import queue
from devices.models import Command, Device
from devices.models.device import Enrollment
from devices.rules.channels import Platform
from devices.rules.commands import Status
from tests.house import House


@pytest.fixture
def device(db: None) -> Device:
    return made()


def made(**facts: object) -> Device:
    return Device.objects.create(
        **{
            "udid": f"udid {Device.objects.count()}",
            "platform": Platform.IOS.value,
            "access_rights": 8191,
            "enrollment_state": Enrollment.ENROLLED,
            "push_token": b"t",
            **facts,
        }
    )


def test_many_devices_are_asked_at_once(device: Device) -> None:
    devices = [device, made(), made()]

    commands = queue.enqueue(devices, "SecurityInfo")

    assert [command.device for command in commands] == devices
    assert Command.objects.filter(state="queued").count() == 3
    assert not Device.objects.filter(wake_due_at=None).exists()


def test_one_query_more_for_ten_devices_more(device: Device, house: House) -> None:
    several = [device, *(made() for _ in range(10))]

    def queries(devices: list[Device]) -> int:
        with CaptureQueriesContext(connection) as captured:
            queue.enqueue(devices, "SecurityInfo")
        return len(captured)

    assert queries(several) == queries([device])


@pytest.mark.parametrize(
    ("facts", "request_type", "why"),
    [
        ({"enrollment_state": Enrollment.AUTHENTICATED}, "SecurityInfo", "not enrolled"),
        ({"enrollment_state": Enrollment.LEFT}, "SecurityInfo", "not enrolled"),
        ({"platform": Platform.MACOS.value}, "ClearPasscode", "A Mac has no ClearPasscode"),
        ({"is_shared_ipad": True}, "ClearPasscode", "Shared iPad"),
        ({"access_rights": 1}, "SecurityInfo", "no right"),
        ({}, "ClearPascode", "not a request"),
    ],
)
def test_what_the_device_could_only_refuse_is_refused_here(
    device: Device, facts: dict[str, object], request_type: str, why: str
) -> None:
    with pytest.raises(queue.Refused, match=why):
        queue.enqueue([device, made(**facts)], request_type)

    assert not Command.objects.exists()


def test_what_has_ended_is_not_cancelled(device: Device) -> None:
    done, waits = queue.enqueue([device], "SecurityInfo") + queue.enqueue([device], "ProfileList")
    queue.sent(done)
    queue.record(device, user=None, uuid=str(done.uuid), status=Status.ACKNOWLEDGED)

    assert queue.cancel([done, waits], because="No longer wanted.") == 1

    done.refresh_from_db()
    waits.refresh_from_db()
    assert (done.state, done.ended_because) == ("acknowledged", "")
    assert (waits.state, waits.ended_because) == ("cancelled", "No longer wanted.")


def test_cancelling_all_leaves_other_devices_alone(device: Device) -> None:
    other = made()
    queue.enqueue([device, other], "SecurityInfo")

    assert queue.cancel_all(device, because="It left.") == 1

    assert Command.objects.open().get().device == other


def test_a_refused_command_is_offered_no_more(device: Device) -> None:
    first, second = queue.enqueue([device], "SecurityInfo") + queue.enqueue(
        [device], "ProfileList"
    )

    queue.refuse(first, "The gate is shut.")

    assert queue.waiting(device, user=None, after=Status.IDLE) == [second]
    assert first.state == "cancelled"


def test_the_number_stays_the_same_when_it_is_sent_again(device: Device) -> None:
    (command,) = queue.enqueue([device], "SecurityInfo")

    for times in (1, 2, 3):
        (waiting,) = queue.waiting(device, user=None, after=Status.IDLE)
        queue.sent(waiting)
        assert (waiting.uuid, waiting.times_sent) == (command.uuid, times)
