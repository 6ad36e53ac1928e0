"""APNs says 410: the phone's push address is dead, the phone is not."""

from datetime import timedelta

import pytest

from devices import queue, waking
from devices.models import AuditEntry
from tests.house import House
from tests.pushing import load, push_certificates_folder, push_service
from tests.simulator.phone import Phone
from tests.simulator.push_service import PushService

__all__ = ["push_certificates_folder", "push_service"]


@pytest.fixture
def push(house: House, push_service: PushService) -> PushService:
    """The house pushes for real, with the certificate that its phones will enroll with."""
    load(push_service.certificates.mdm)
    return push_service


def pushed(push: PushService, phone: Phone) -> list[str]:
    """The magics that were pushed to its present address."""
    return [one.magic for one in push.pushes_to(phone.push_token.hex())]


def test_a_dead_address_is_left_alone_until_the_phone_gives_another(
    house: House, push: PushService
) -> None:
    phone = house.enrolled_phone()
    push.answer(phone.push_token.hex(), 410)
    queue.enqueue([house.device(phone)], "SecurityInfo")

    waking.push_due()

    device = house.device(phone)
    assert device.token_dead_since is not None
    assert not device.can_be_woken
    assert device.is_enrolled
    assert house.waiting(phone) == ["SecurityInfo"]
    assert AuditEntry.objects.get(verb="device.unreachable").device == device

    # Nobody pushes there again, whatever is queued and however long it takes.
    before = len(push.received)
    queue.enqueue([device], "DeviceInformation", arguments={"Queries": ["OSVersion"]})
    house.clock.forward(hours=12)
    house.tick()
    assert len(push.received) == before

    # It turns up by itself with a new address, and is woken at that one.
    phone.new_push_token()
    phone.token_update()
    assert house.device(phone).can_be_woken
    house.tick()
    (magic,) = pushed(push, phone)
    assert phone.hears_push(magic)
    phone.connect()
    assert house.waiting(phone) == []


def test_a_410_that_speaks_of_the_last_address_does_not_bury_this_one(
    house: House, push: PushService
) -> None:
    phone = house.enrolled_phone()
    before_it_enrolled = (house.clock.now() - timedelta(hours=1)).timestamp()
    push.answer(phone.push_token.hex(), 410, timestamp=before_it_enrolled, times=1)
    queue.enqueue([house.device(phone)], "SecurityInfo")

    waking.push_due()

    assert house.device(phone).can_be_woken
    assert len(pushed(push, phone)) == 2  # once more at once, and that was accepted
    phone.connect()
    assert house.waiting(phone) == []


def test_a_push_that_brought_nobody_is_repeated_until_the_phone_comes(
    house: House, push: PushService
) -> None:
    phone = house.enrolled_phone()
    queue.enqueue([house.device(phone)], "SecurityInfo")
    phone.lose_network()
    house.tick()
    assert len(pushed(push, phone)) == 1

    for minutes in (1, 2, 4):
        house.tick()  # not yet
        house.clock.forward(minutes=minutes, seconds=1)
        house.tick()
    assert len(pushed(push, phone)) == 4

    phone.regain_network()
    phone.connect()
    house.clock.forward(hours=12)
    waking.push_due()
    assert len(pushed(push, phone)) == 4  # nothing is left, so nobody pushes
