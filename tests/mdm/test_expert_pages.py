"""Pages of the push certificate, the rules of the house, an expert's command and a device's own word."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from devices import inactivity
from devices.models import AuditEntry, CustomCommand, PushCertificate, PushCertificateRequest
from passcodes import inactivity as silence
from passcodes import rollout, witness
from tests.devices.test_push_certificate_requests import from_apple
from tests.house import KEY, House
from tests.scenes import STRICT, STRONG, published, rows
from tests.simulator.phone import Phone

PIN = "830264"
LOAD = "admin:devices_pushcertificate_add"


@pytest.fixture
def admin(house: House) -> Client:
    client = Client()
    client.force_login(house.admin)
    return client


def text(response: Any) -> str:
    plain = re.sub(r"<[^>]*>", " ", response.content.decode())
    return re.sub(r"\s+", " ", plain).replace("&#x27;", "'").replace("&quot;", '"')


def file(data: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("file", data)


def page_of(house: House, phone: Phone) -> str:
    return reverse("admin:devices_device_change", args=[house.device(phone).pk])


# The push certificate.


def test_from_the_request_to_the_certificate(house: House, admin: Client) -> None:
    admin.post(reverse("admin:pushcertificate_request"))
    made = PushCertificateRequest.objects.get()
    page = admin.get(reverse("admin:pushcertificate_asked", args=[made.pk]))
    assert "cannot sign" in text(page)
    got = admin.get(reverse("admin:pushcertificate_csr", args=[made.pk]))
    assert got.content.decode() == made.request
    admin.post(reverse(LOAD), {"certificate": file(from_apple(made))})
    assert PushCertificate.objects.get(is_current=True).request == made


def test_no_page_shows_a_key(house: House, admin: Client) -> None:
    admin.post(reverse("admin:pushcertificate_request"))
    made = PushCertificateRequest.objects.get()
    for address in (
        reverse("admin:pushcertificate_request"),
        reverse("admin:pushcertificate_asked", args=[made.pk]),
        reverse("admin:pushcertificate_csr", args=[made.pk]),
        reverse(LOAD),
    ):
        assert b"PRIVATE KEY" not in admin.get(address).content


def test_a_pkcs12_file_is_loaded_with_its_password(house: House, admin: Client) -> None:
    before = PushCertificate.objects.get(is_current=True)
    certificate = x509.load_pem_x509_certificate(before.certificate.encode())
    data = pkcs12.serialize_key_and_certificates(
        b"push", KEY, certificate, None, BestAvailableEncryption(b"word")
    )
    wrong = admin.post(reverse(LOAD), {"certificate": file(data), "password": "wrong"})
    assert "does not open as PKCS#12" in text(wrong)
    assert b"wrong" not in wrong.content
    admin.post(reverse(LOAD), {"certificate": file(data), "password": "word"})
    assert PushCertificate.objects.get(is_current=True) != before


def test_another_topic_is_refused_in_words(house: House, admin: Client) -> None:
    rows(1)
    admin.post(reverse("admin:pushcertificate_request"))
    made = PushCertificateRequest.objects.get()
    other = from_apple(made, "com.apple.mgmt.External.other")
    assert "another topic" in text(admin.post(reverse(LOAD), {"certificate": file(other)}))


@pytest.mark.parametrize(
    ("days", "words"),
    [(59, "ends in 59 days"), (1.5, "ends in 1 day."), (0.5, "ends within a day")],
)
def test_its_end_is_said_on_every_page(
    house: House, admin: Client, days: float, words: str
) -> None:
    ends = house.clock.now() + timedelta(days=days, minutes=1)
    PushCertificate.objects.update(not_after=ends)
    for address in ("/", reverse("admin:devices_device_changelist"), reverse(LOAD)):
        assert words in text(admin.get(address)), address


def test_that_everything_is_stuck_is_said_on_every_page(house: House) -> None:
    PushCertificate.objects.update(not_after=house.clock.now())
    for person in (house.helpdesk, house.author):
        client = Client()
        client.force_login(person)
        for address in ("/", reverse("admin:devices_device_changelist")):
            assert "Everything is stuck because the push certificate" in text(client.get(address))


# The rules of the house.


def test_staff_set_after_how_many_days_a_device_is_inactive(house: House, admin: Client) -> None:
    address = reverse("admin:devices_houserules_changelist")
    assert "more than 7 days" in text(admin.get(address))
    assert "Ensure this value" in text(admin.post(address, {"inactive_after_days": "0"}))
    admin.post(address, {"inactive_after_days": "3"})
    assert inactivity.days() == 3
    assert "more than 3 days" in text(admin.get(address))
    assert AuditEntry.objects.get(verb="house.changed").actor == house.admin


def test_who_may_only_read_the_rules_cannot_set_them(house: House) -> None:
    client = Client()
    client.force_login(house.auditor)
    address = reverse("admin:devices_houserules_changelist")
    assert "Keep this rule" not in text(client.get(address))
    assert client.post(address, {"inactive_after_days": "3"}).status_code == 403
    assert inactivity.days() == 7


def test_an_inactive_device_is_found_and_says_so(house: House, admin: Client) -> None:
    phone = house.enrolled_phone(name="till-1")
    house.clock.forward(days=8)
    silence.close_due()
    admin.force_login(house.admin)  # the session has ended meanwhile
    found = admin.get(reverse("admin:devices_device_changelist"), {"view": "inactive"})
    assert "till-1" in text(found)
    assert "The device is inactive" in text(admin.get(page_of(house, phone)))


# What a device says itself.


def test_the_page_says_what_the_device_enforces_and_which_profiles_it_has(
    house: House, admin: Client
) -> None:
    group = house.group("All")
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    phone = house.enrolled_phone(passcode=STRONG, group=group)
    assert "It has not said so yet" in text(admin.get(page_of(house, phone)))
    admin.post(reverse("admin:device_ask", args=[house.device(phone).pk]))
    phone.connect()
    said = text(admin.get(page_of(house, phone)))
    assert "8 characters at least." in said
    assert version.policy.identifier in said
    device = house.device(phone)
    weak = {"minLength": 4, "allowPasscodeModification": False}
    witness.restrictions(device, weak, asked_at=house.clock.now())
    said = text(admin.get(page_of(house, phone)))
    assert "less than its policies demand" in said
    assert "It forbids passcode changes" in said


# The expert's command.


def test_a_command_is_written_sent_and_answered(house: House, admin: Client) -> None:
    phone = house.enrolled_phone()
    address = reverse("admin:device_command", args=[house.device(phone).pk])
    page = admin.get(address)
    assert "ClearPasscode" not in text(page).replace("Nothing that removes", "")
    asks = {"request_type": "DeviceInformation", "arguments": '{"Queries": ["OSVersion"]}'}
    admin.post(address, asks)
    phone.connect()
    assert phone.os_version in text(admin.get(address))


def test_a_pin_is_on_no_page(house: House, admin: Client) -> None:
    mac = house.enrolled_phone("mac")
    address = reverse("admin:device_command", args=[house.device(mac).pk])
    lock = {"request_type": "DeviceLock", "arguments": json.dumps({"PIN": PIN})}
    admin.post(address, lock)
    assert CustomCommand.objects.exists()
    assert PIN not in text(admin.get(address))
    assert PIN not in text(admin.get(page_of(house, mac)))
    mac.connect()
    assert PIN not in text(admin.get(address))


def test_a_refusal_is_shown_and_what_was_written_stays(house: House, admin: Client) -> None:
    phone = house.enrolled_phone()
    address = reverse("admin:device_command", args=[house.device(phone).pk])
    answer = admin.post(
        address, {"request_type": "Settings", "arguments": '{"x": ["UnlockToken"]}'}
    )
    assert "carries an unlock token" in text(answer)
    assert "UnlockToken" in text(answer)
    erase = admin.post(address, {"request_type": "EraseDevice", "serial": "wrong"})
    assert "type the serial" in text(erase)
    assert not CustomCommand.objects.exists()
