"""One-time links: who makes them, what they serve, and that they serve it once."""

import plistlib
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from devices.models import AuditEntry, EnrollmentLink, PushCertificate
from devices.models.enrollment import Identity
from devices.rules.channels import Platform
from mdm.enrollment import links
from staff.permissions import Forbidden
from tests.house import TOPIC, House


def fetch(house: House, address: str) -> tuple[int, bytes]:
    status, _, body = house.door("GET", address, {}, b"")
    return status, body


def test_a_link_serves_a_profile_that_lets_a_device_in(house: House) -> None:
    address = house.link(house.phone())

    response = house.door.ask("GET", address.removeprefix("http://localhost:8001"), {})

    assert response.status_code == 200
    assert response["Content-Type"] == "application/x-apple-aspen-config"
    assert response["Cache-Control"] == "no-store"
    profile = plistlib.loads(response.content)
    identity, mdm = profile["PayloadContent"]
    assert identity["PayloadType"] == "com.apple.security.pkcs12"
    assert mdm["Topic"] == TOPIC
    assert mdm["CheckInURL"] == "http://localhost:8001/mdm/checkin"
    assert mdm["ServerURL"] == "http://localhost:8001/mdm/connect"
    assert mdm["SignMessage"] is True
    assert mdm["CheckOutWhenRemoved"] is True
    assert mdm["AccessRights"] & 4


def test_a_used_link_says_so(house: House) -> None:
    address = house.link(house.phone())
    fetch(house, address)

    status, words = fetch(house, address)

    assert status == 410
    assert b"has been used" in words


def test_an_expired_link_says_so(house: House) -> None:
    address = house.link(house.phone())
    house.clock.forward(hours=24)

    status, words = fetch(house, address)

    assert status == 410
    assert b"has expired" in words
    assert EnrollmentLink.objects.get().used_at is None


def test_an_invented_link_is_unknown(house: House) -> None:
    status, words = fetch(house, "http://localhost:8001/enroll/invented")

    assert status == 404
    assert b"no such enrollment link" in words


def test_looking_at_a_link_does_not_use_it_up(house: House) -> None:
    address = house.link(house.phone())

    assert house.door("HEAD", address, {}, b"")[0] == 405

    assert fetch(house, address)[0] == 200


def test_the_token_of_a_link_is_kept_nowhere(house: House) -> None:
    token = house.link(house.phone()).rpartition("/")[2]

    assert token not in str(list(EnrollmentLink.objects.values()))
    assert token not in str(list(AuditEntry.objects.values()))


def test_the_device_joins_the_group_and_gets_its_owner_when_it_is_in(house: House) -> None:
    group = house.group("Berlin")
    phone = house.phone()
    house.give_profile(phone, group=group, assigned_to=house.helpdesk)
    phone.authenticate()
    assert not group.devices.exists()

    phone.token_update()

    assert group.devices.get() == house.device(phone)
    assert house.device(phone).assigned_to == house.helpdesk
    assert EnrollmentLink.objects.get().device == house.device(phone)


def test_only_who_may_makes_links(house: House) -> None:
    links.make(Platform.IOS, by=house.admin)
    for person in (house.helpdesk, house.approver, house.author, house.auditor, house.outsider):
        with pytest.raises(Forbidden):
            links.make(Platform.IOS, by=person)

    assert EnrollmentLink.objects.get().made_by == house.admin


def test_a_link_offers_scep_unless_told_otherwise(house: House) -> None:
    links.make(Platform.IOS, by=None)

    assert EnrollmentLink.objects.get().identity_kind == Identity.SCEP


def test_no_link_without_a_push_certificate(house: House) -> None:
    PushCertificate.objects.update(is_current=False)

    with pytest.raises(links.Refused, match="push certificate"):
        links.make(Platform.IOS, by=None)


def test_the_command_prints_a_link_a_line(house: House) -> None:
    house.group("Berlin")
    out = StringIO()

    call_command(
        "enrollment_link",
        "--platform=macos",
        "--count=3",
        "--hours=2",
        "--group=Berlin",
        "--note=three Macs",
        stdout=out,
    )

    addresses = out.getvalue().split()
    assert len(addresses) == 3
    assert {fetch(house, address)[0] for address in addresses} == {200}
    assert set(EnrollmentLink.objects.values_list("note", flat=True)) == {"three Macs"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--group=Nowhere"], "no group"),
        (["--count=0"], "more than nothing"),
    ],
)
def test_the_command_says_why_not(house: House, options: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("enrollment_link", "--platform=ios", *options, stdout=StringIO())

    assert not EnrollmentLink.objects.exists()
