"""Which devices pin the door's TLS: told at enrollment, listed where they do not, brought by one page."""

import re
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from django.test import Client
from django.utils.encoding import force_bytes
from pytest_django.fixtures import Settings

from devices import identities, pins
from devices.models import AuditEntry, Device
from devices.models.enrollment import Identity
from mdm.enrollment.authority import make_authority
from passcodes import custody
from passcodes import pins as giving
from passcodes.models import ClearRequest
from staff.permissions import Forbidden
from tests import clears
from tests.flows.test_renewed_certificate import renew, takes_profiles_and_checks_in_nowhere
from tests.house import House
from tests.mdm.test_grants import granted, role
from tests.simulator.phone import Phone

__all__ = ["granted"]
AUTHORITY, ANOTHER = (make_authority(name)[0].decode() for name in ("The door's", "Another"))


def fingerprint(pem: str) -> str:
    return x509.load_pem_x509_certificate(force_bytes(pem)).fingerprint(hashes.SHA256()).hex()


@pytest.fixture
def pinned(settings: Settings) -> None:
    settings.DOOR_TLS_AUTHORITY = AUTHORITY


@pytest.fixture
def early(house: House, settings: Settings) -> Phone:
    """It enrolled before any authority was named; now one is."""
    phone = house.enrolled_phone(passcode="1234", name="till-1")
    settings.DOOR_TLS_AUTHORITY = AUTHORITY
    return phone


def lacking() -> list[str]:
    return list(pins.lacking(Device.objects.all()).values_list("udid", flat=True))


def text(response: Any) -> str:
    page = response.getvalue().decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def client(house: House, name: str) -> Client:
    client = Client()
    client.force_login(getattr(house, name))
    return client


@pytest.mark.usefixtures("pinned")
@pytest.mark.parametrize("kind", [Identity.SCEP, Identity.PKCS12])
def test_what_the_profile_named_is_remembered_by_its_fingerprint(
    house: House, kind: Identity
) -> None:
    phone = house.phone()
    house.give_profile(phone, identity_kind=kind)
    phone.enroll()
    assert house.device(phone).pins == fingerprint(AUTHORITY)
    assert lacking() == []


def test_two_authorities_are_one_set_in_whatever_order(settings: Settings) -> None:
    settings.DOOR_TLS_AUTHORITY = AUTHORITY + ANOTHER
    one = pins.digest()
    settings.DOOR_TLS_AUTHORITY = ANOTHER + AUTHORITY
    assert pins.digest() == one
    assert one not in {fingerprint(AUTHORITY), fingerprint(ANOTHER)}


def test_where_none_is_named_nobody_lacks_it(house: House) -> None:
    phone = house.enrolled_phone()
    assert (house.device(phone).pins, lacking()) == ("", [])


def test_who_enrolled_before_is_counted_listed_and_named(house: House, early: Phone) -> None:
    later = house.enrolled_phone(name="till-2")
    assert lacking() == [early.udid]
    helpdesk = client(house, "helpdesk")
    for phone, said in ((early, True), (later, False)):
        page = text(helpdesk.get(f"/devices/device/{house.device(phone).pk}/change/"))
        assert ("It does not pin the door’s TLS" in page) is said
    page = text(helpdesk.get("/coverage/"))
    assert "1 of 2 do not pin the door’s TLS" in page
    assert "An admin gives them their enrollment profile again." in page
    listed = text(helpdesk.get("/devices/device/?pins=lacking"))
    assert early.serial in listed
    assert later.serial not in listed


def test_the_policy_page_says_which_form_of_the_promise_holds(
    house: House, early: Phone, settings: Settings
) -> None:
    auditor = client(house, "auditor")
    page = text(auditor.get("/it-policy/"))
    assert "1 of 1 enrolled devices do not pin the door’s TLS authority" in page
    assert "For those the promise without the door does not hold" in page
    giving.give(by=house.admin)
    early.connect()
    page = text(auditor.get("/it-policy/"))
    assert "All 1 enrolled devices pin the door’s TLS authority" in page
    assert fingerprint(AUTHORITY)[:16] in page
    settings.DOOR_TLS_AUTHORITY = ""
    assert "The promise without the door does not hold" in text(auditor.get("/it-policy/"))


def test_an_admin_gives_them_their_profile_again_and_they_pin_it(
    house: House, early: Phone
) -> None:
    admin = client(house, "admin")
    assert "Give 1 of them their enrollment profile again" in text(admin.get("/coverage/"))
    asked = text(admin.get("/coverage/pins/"))
    assert "Give 1 device its enrollment profile again" in asked
    assert "Each makes a new identity, checks in anew" in asked
    done = text(admin.post("/coverage/pins/", follow=True))
    assert "1 device is given its enrollment profile again." in done
    assert "1 has its profile waiting for it." in done
    assert early in house.woken()
    assert house.device(early).pins == fingerprint(AUTHORITY)
    assert lacking() == []
    assert "do not pin" not in text(admin.get("/coverage/"))
    entry = AuditEntry.objects.get(verb="enrollment.pins_given")
    assert (entry.actor_name, entry.facts) == ("admin", {"devices": 1})


def test_a_client_that_takes_the_profile_without_checking_in_is_known_by_its_certificate(
    house: House, early: Phone
) -> None:
    takes_profiles_and_checks_in_nowhere(early)
    giving.give(by=house.admin)
    early.connect()
    assert lacking() == [early.udid]  # it has not spoken under it
    assert early.idle().ok
    assert lacking() == []


@pytest.mark.usefixtures("pinned")
def test_a_certificate_that_renews_itself_keeps_the_pins_of_its_profile(
    house: House, settings: Settings
) -> None:
    phone = house.enrolled_phone()
    settings.DOOR_TLS_AUTHORITY = ANOTHER  # no profile has told it of this one
    renew(house, phone)
    assert house.device(phone).pins == fingerprint(AUTHORITY)
    assert lacking() == [phone.udid]


def test_a_profile_that_is_given_and_not_taken_pins_nothing(house: House, early: Phone) -> None:
    giving.give(by=house.admin)
    assert early.idle().ok  # handed out, and not answered
    assert lacking() == [early.udid]


def test_who_is_lost_asked_already_or_about_to_be_cleared_is_left_alone(
    house: House, early: Phone
) -> None:
    lost, waiting = house.enrolled_phone(), house.enrolled_phone(passcode="1234")
    Device.objects.update(pins="")
    custody.mark_lost(house.device(lost).pk, note="Left in a taxi.", by=house.helpdesk)
    clears.ask_for(waiting, by=house.helpdesk)
    assert len(lacking()) == 3
    assert giving.give(by=house.admin) == 1
    assert house.waiting(early) == ["InstallProfile"]
    with pytest.raises(giving.Refused, match="no device that lacks them"):
        giving.give(by=house.admin)
    assert ClearRequest.objects.get().state == "requested"


def test_only_whoever_lets_devices_in_gives_it_and_to_their_own_alone(
    house: House, early: Phone
) -> None:
    for person in (house.helpdesk, house.auditor, house.author):
        with pytest.raises(Forbidden):
            giving.give(by=person)
    scoped = house.person("admin", name="scoped", everything=False)
    with pytest.raises(giving.Refused):
        giving.give(by=scoped)
    assert identities.RENEWAL not in [one.arguments for one in house.commands(early)]


@pytest.mark.usefixtures("granted")
def test_each_process_may_do_its_part(house: House, early: Phone) -> None:
    with role("staff"):
        assert client(house, "admin").get("/coverage/pins/").status_code == 200
        giving.give(by=house.admin)
    takes_profiles_and_checks_in_nowhere(early)
    ask = early.transport

    def apart(method: str, url: str, headers: Any, body: bytes) -> Any:
        with role("connect" if "/mdm/connect" in url else "checkin"):
            return ask(method, url, headers, body)

    early.transport = apart
    early.connect()
    assert early.idle().ok
    assert lacking() == []
