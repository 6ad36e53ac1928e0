"""Who may speak at the door. Whoever may not gets 403, never 401, and changes nothing."""

import plistlib
from typing import Any

import pytest
from django.conf import settings
from django.utils.encoding import force_bytes

from devices.models import AuditEntry, Command, Device
from mdm.enrollment.authority import Authority, make_authority
from tests.house import House
from tests.simulator.phone import CHECK_IN, CONNECT, Phone
from tests.simulator.signing import header
from tests.simulator.transport import Response


def everything() -> list[Any]:
    """All that a refused message must not change."""
    return [list(Device.objects.order_by("pk").values()), list(Command.objects.values())]


def refused(response: Response, kind: str = "") -> None:
    assert response.status == 403
    assert response.body == b""  # no code of Apple's: the device must not unenroll
    entry = AuditEntry.objects.order_by("pk").last()
    assert entry
    assert entry.verb == "door.refused"
    assert entry.facts["kind"]
    assert kind in entry.facts["kind"]


def token_update(phone: Phone, **keys: Any) -> bytes:
    assert phone.enrollment
    message = {
        "MessageType": "TokenUpdate",
        "UDID": phone.udid,
        "Topic": phone.enrollment.topic,
        "Token": b"t" * 32,
        "PushMagic": "magic",
        **keys,
    }
    return plistlib.dumps(message)


def test_a12_a_body_that_was_changed_by_a_byte_is_refused(house: House) -> None:
    phone = house.enrolled_phone()
    assert phone.enrollment
    before = everything()
    body = token_update(phone)
    changed = body.replace(b"<string>magic</string>", b"<string>magik</string>")

    refused(
        phone.put(phone.enrollment.check_in_url, CHECK_IN, changed, signature=phone.sign(body))
    )

    assert everything() == before


def test_a12_a_message_without_a_signature_is_refused(house: House) -> None:
    phone = house.enrolled_phone()
    assert phone.enrollment
    before = everything()

    refused(phone.put(phone.enrollment.check_in_url, CHECK_IN, token_update(phone), signed=False))

    assert everything() == before


@pytest.mark.parametrize("signature", ["", "nonsense", "AAAA", "MIIB" * 100, "=" * 40_000, "Ü"])
@pytest.mark.parametrize("door", ["check-in", "connect"])
def test_a12_a_malformed_signature_is_refused(house: House, signature: str, door: str) -> None:
    phone = house.enrolled_phone()
    assert phone.enrollment
    before = everything()
    url, kind = {
        "check-in": (phone.enrollment.check_in_url, CHECK_IN),
        "connect": (phone.enrollment.server_url, CONNECT),
    }[door]

    refused(phone.put(url, kind, token_update(phone), signature=signature))

    assert everything() == before


def test_a12_an_identity_of_another_authority_is_refused(house: House) -> None:
    phone = house.phone()
    house.give_profile(phone)
    foreign = Authority.load(*make_authority("Somebody else"))
    assert phone.enrollment
    certificate = foreign.issue(phone.enrollment.key.public_key(), phone.certificate.subject)
    body = plistlib.dumps(
        {"MessageType": "Authenticate", "UDID": phone.udid, "Topic": phone.enrollment.topic}
    )
    signature = header(body, key=phone.enrollment.key, certificate=certificate)

    refused(
        phone.put(phone.enrollment.check_in_url, CHECK_IN, body, signature=signature),
        "did not issue",
    )

    assert not Device.objects.exists()


def test_a13_the_udid_of_one_device_with_the_identity_of_another_is_refused(house: House) -> None:
    victim, other = house.enrolled_phone(), house.enrolled_phone()
    before = everything()

    for response in (
        other.token_update(UDID=victim.udid),
        other.authenticate(UDID=victim.udid),
        other.check_out(UDID=victim.udid),
        other.idle(UDID=victim.udid),
    ):
        refused(response)

    assert everything() == before


def test_a13_a_known_identity_that_claims_a_new_udid_is_refused(house: House) -> None:
    phone = house.enrolled_phone()
    before = everything()

    for response in (
        phone.authenticate(UDID="00008130-NEW"),
        phone.token_update(UDID="00008130-NEW"),
        phone.idle(UDID="00008130-NEW"),
    ):
        refused(response)

    assert everything() == before


def test_an_identity_of_ours_that_enrolled_no_device_is_refused(house: House) -> None:
    phone = house.phone()
    house.give_profile(phone)

    refused(phone.token_update())
    refused(phone.idle())

    assert not Device.objects.exists()


def test_an_identity_that_came_with_no_link_is_refused(house: House) -> None:
    phone = house.phone()
    house.give_profile(phone)
    assert phone.enrollment
    ours = Authority.load(
        force_bytes(settings.CA_CERTIFICATE), force_bytes(settings.CA_PRIVATE_KEY)
    )
    certificate = ours.issue(phone.enrollment.key.public_key(), phone.certificate.subject)
    body = plistlib.dumps(
        {"MessageType": "Authenticate", "UDID": phone.udid, "Topic": phone.enrollment.topic}
    )
    signature = header(body, key=phone.enrollment.key, certificate=certificate)

    refused(
        phone.put(phone.enrollment.check_in_url, CHECK_IN, body, signature=signature),
        "no link of ours",
    )

    assert not Device.objects.exists()


def test_the_former_identity_of_a_device_is_refused(house: House) -> None:
    phone = house.enrolled_phone()
    former = phone.enrollment
    house.give_profile(phone)
    phone.enroll()
    phone.enrollment = former

    refused(phone.token_update())
    refused(phone.authenticate())


def test_a_retired_device_needs_a_new_link(house: House) -> None:
    phone = house.enrolled_phone()
    Device.objects.update(enrollment_state="retired")

    refused(phone.authenticate())
    refused(phone.token_update())
    house.give_profile(phone)
    phone.enroll()

    assert house.device(phone).is_enrolled


def test_an_identity_that_has_ended_still_speaks_for_its_device(house: House) -> None:
    phone = house.enrolled_phone()
    house.clock.forward(days=400)

    assert phone.token_update().ok  # or the device would be lost for good
    refused(phone.authenticate())
