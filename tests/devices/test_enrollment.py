"""How staff take a device out, and what a device that left keeps."""

import pytest

from devices import enrollment
from devices.models import Device, EnrollmentLink
from devices.models.device import Enrollment
from passcodes import leaving
from staff.permissions import Forbidden
from tests.house import House


def test_unenrolling_lets_the_device_remove_our_profile(house: House) -> None:
    phone = house.enrolled_phone()

    leaving.unenroll(house.device(phone).pk, by=house.admin)
    assert house.device(phone).is_enrolled  # until it has done so
    assert house.waiting(phone) == ["RemoveProfile"]
    assert house.woken() == [phone]

    assert not phone.enrolled
    assert house.device(phone).enrollment_state == Enrollment.LEFT
    assert house.waiting(phone) == []


def test_a_device_that_does_not_answer_can_be_retired(house: House) -> None:
    phone = house.enrolled_phone()
    phone.lose_network()

    leaving.retire(house.device(phone).pk, by=house.admin)

    device = house.device(phone)
    assert device.enrollment_state == Enrollment.RETIRED
    assert device.push_token is None
    assert not device.tokens.filter(current=True).exists()
    assert "device.retire" in house.audit(phone)


def test_what_is_out_cannot_be_taken_out_again(house: House) -> None:
    phone = house.enrolled_phone()
    device_id = house.device(phone).pk
    leaving.retire(device_id, by=house.admin)

    with pytest.raises(enrollment.Refused, match="retired already"):
        leaving.retire(device_id, by=house.admin)
    with pytest.raises(enrollment.Refused, match="not enrolled"):
        leaving.unenroll(device_id, by=house.admin)


def test_only_who_may_takes_devices_out(house: House) -> None:
    phone = house.enrolled_phone()
    device_id = house.device(phone).pk
    elsewhere = house.person("admin", name="admin elsewhere", everything=False)

    for person in (house.helpdesk, house.approver, house.author, house.auditor, elsewhere):
        for verb in (leaving.unenroll, leaving.retire):
            with pytest.raises(Forbidden):
                verb(device_id, by=person)

    assert house.device(phone).is_enrolled


def test_the_lost_mark_and_the_history_stay(house: House) -> None:
    phone = house.enrolled_phone()
    Device.objects.update(lost_at=house.clock.now())
    asked = len(house.commands(phone))

    phone.check_out()

    assert house.device(phone).is_lost
    assert len(house.commands(phone)) == asked
    assert EnrollmentLink.objects.get().device == house.device(phone)
