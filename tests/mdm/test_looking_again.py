"""A page that is open asks again for what lives in it: with that alone, and taking nothing away."""

import re

import pytest
from django.test import Client

from devices.models import PushCertificate
from mdm.desk.site import LOOKS_AGAIN
from passcodes.models import ClearRequest
from staff.models import User
from tests import clears
from tests.house import House

pytestmark = pytest.mark.django_db
DIFFERS = re.compile(
    r'name="csrfmiddlewaretoken" value="[^"]*"|datetime="[^"]*" title="[^"]*"|data-countdown="[^"]*"'
)
FRAME = ("<html", "<head", "desk-nav", "desk-search", "breadcrumbs")


def seen(user: User, address: str, *, again: bool) -> str:
    client = Client()
    client.force_login(user)
    answer = client.get(address, headers={LOOKS_AGAIN: "1"} if again else {})
    assert answer.status_code == 200
    return answer.getvalue().decode()


def words(html: str) -> str:
    """Without what differs each time, and without the room between."""
    return " ".join(DIFFERS.sub("", html).split())


@pytest.fixture
def asked(house: House) -> ClearRequest:
    return clears.ask(house.device(house.enrolled_phone()), by=house.helpdesk)


def test_it_gets_what_lives_in_it_and_no_frame(house: House, asked: ClearRequest) -> None:
    for user, address in (
        (house.approver, "/"),
        (house.approver, "/passcodes/clearrequest/"),
        (house.helpdesk, f"/passcodes/clearrequest/{asked.pk}/change/"),
        (house.helpdesk, f"/devices/device/{asked.device_id}/change/"),
    ):
        whole = seen(user, address, again=False)
        some = seen(user, address, again=True)
        inside = some[some.index("data-live") : some.rindex("</div>")]
        assert words(inside) in words(whole)
        assert [word for word in FRAME if word in some] == []
        assert len(some) < len(whole) - 12_000  # the frame with its icons


def test_the_figures_of_the_menu_come_along(house: House, asked: ClearRequest) -> None:
    assert '<span data-count="requests">1</span>' in seen(house.approver, "/", again=True)
    clears.deny(asked.pk, words="Call first.", by=house.approver)
    assert '<span data-count="requests">0</span>' in seen(house.approver, "/", again=True)


def test_what_burns_comes_along(house: House, asked: ClearRequest) -> None:
    address = f"/passcodes/clearrequest/{asked.pk}/change/"
    assert "desk-strip--stop" not in seen(house.helpdesk, address, again=True)
    PushCertificate.objects.update(not_after=house.clock.now())
    house.clock.forward(minutes=1)
    assert "desk-strip--stop" in seen(house.helpdesk, address, again=True)


def test_a_message_waits_for_the_page_that_shows_it(house: House) -> None:
    """It is told once: not to the answer that leaves it out."""
    client = Client()
    client.force_login(house.approver)
    client.post("/devices/notice/mine/", {"mail": "on"})
    assert b"Kept." not in client.get("/", headers={LOOKS_AGAIN: "1"}).content
    assert b"Kept." in client.get("/").content
    assert b"Kept." not in client.get("/").content
