"""Every form in which a device shows its identity: its signature, or TLS seen by a proxy that is trusted."""

import base64
import itertools
from collections.abc import Mapping
from functools import partial
from ipaddress import ip_network
from typing import Any, Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from django.http import HttpResponse
from pytest_django import Settings

from devices.models import AuditEntry, Device
from devices.models.enrollment import Identity
from mdm.enrollment import authority
from mdm.enrollment.authority import make_authority
from passcodes.models import EscrowedToken
from tests.house import House
from tests.simulator import profile as profiles
from tests.simulator import scep
from tests.simulator.phone import CHECK_IN, Phone
from tests.simulator.signing import Form

DIGESTS: tuple[Literal["sha1", "sha256", "sha512"], ...] = ("sha1", "sha256", "sha512")
FORMS = [
    Form(digest=digest, attributes=attributes, indefinite_lengths=indefinite)
    for digest, attributes, indefinite in itertools.product(DIGESTS, (True, False), (True, False))
]
PROXY = "10.20.30.40"


def named(form: Form) -> str:
    with_attributes = "attributes" if form.attributes else "bare"
    return f"{form.digest}-{with_attributes}-{'BER' if form.indefinite_lengths else 'DER'}"


def on_a_curve(house: House, content: Mapping[str, Any]) -> profiles.Identity:
    """What a device does that wants its own key on a curve."""
    key = ec.generate_private_key(ec.SECP256R1())
    signs = rsa.generate_private_key(65537, 2048)
    name = scep.subject(content["Subject"])
    asked = scep.request(key, name, challenge=content["Challenge"])
    own = scep.own_certificate(signs, name)
    client = scep.Client(house.door, content["URL"])
    return key, client.exchange(asked, key=signs, certificate=own)


def phone_with(house: House, key: str, form: Form) -> Phone:
    phone = house.phone(form=form)
    if key == "RSA":
        house.give_profile(phone)
        return phone
    status, _, body = house.door("GET", house.link(phone, identity_kind=Identity.SCEP), {}, b"")
    assert status == 200
    phone.enrollment = profiles.enrollment(body, scep=partial(on_a_curve, house))
    return phone


@pytest.mark.parametrize("form", FORMS, ids=named)
@pytest.mark.parametrize("key", ["RSA", "ECDSA"])
def test_a_device_enrolls_with_every_form_of_signature(
    house: House, settings: Settings, form: Form, key: str
) -> None:
    settings.MDM_SIGNATURE_ALLOWS_SHA1 = True
    phone = phone_with(house, key, form)

    phone.enroll()
    phone.connect()

    device = house.device(phone)
    assert device.is_enrolled
    assert EscrowedToken.objects.get(device=device).current


@pytest.mark.parametrize("form", FORMS, ids=named)
def test_no_form_covers_another_body(house: House, settings: Settings, form: Form) -> None:
    settings.MDM_SIGNATURE_ALLOWS_SHA1 = True
    phone = house.enrolled_phone(form=form, connects=False)
    assert phone.enrollment

    answer = phone.put(
        phone.enrollment.check_in_url, CHECK_IN, b"this", signature=phone.sign(b"that")
    )

    assert answer.status == 403


@pytest.mark.parametrize("form", [form for form in FORMS if form.digest == "sha1"], ids=named)
def test_sha1_needs_a_setting(house: House, form: Form) -> None:
    phone = house.phone(form=form)
    house.give_profile(phone)

    assert phone.authenticate().status == 403
    assert not Device.objects.exists()


# RFC 9440.


def written(certificate: x509.Certificate) -> str:
    return f":{base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()}:"


class Proxy:
    """TLS ends here: what the phone shows is written into a header, its signature is left away."""

    def __init__(self, house: House, phone: Phone) -> None:
        self.house, self.phone = house, phone
        self.address = PROXY
        self.header: str | None = None
        self.passes_signature = False

    def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        header = self.header or written(self.phone.certificate)
        kept = {
            name: value
            for name, value in headers.items()
            if name != "Mdm-Signature" or self.passes_signature
        }
        path = url.removeprefix("http://localhost:8001")
        response: HttpResponse = self.house.door.ask(
            method, path, {**kept, "Client-Cert": header}, body, address=self.address
        )
        lowered = {name.lower(): value for name, value in response.items()}
        return response.status_code, lowered, response.content


@pytest.fixture
def proxied(house: House, settings: Settings) -> tuple[Phone, Proxy]:
    settings.TRUSTED_PROXIES = [ip_network("10.20.30.0/24")]
    phone = house.phone()
    house.give_profile(phone)
    proxy = Proxy(house, phone)
    phone.transport = proxy
    return phone, proxy


def refused(status: int, kind: str) -> None:
    assert status == 403
    entry = AuditEntry.objects.order_by("pk").last()
    assert entry
    assert entry.verb == "door.refused"
    assert kind in entry.facts["kind"]


def test_a_device_enrolls_by_what_a_trusted_proxy_saw(
    house: House, proxied: tuple[Phone, Proxy]
) -> None:
    phone, _ = proxied

    phone.enroll()
    phone.connect()

    device = house.device(phone)
    assert device.is_enrolled
    assert device.identity == phone.certificate.fingerprint(hashes.SHA256()).hex()
    assert EscrowedToken.objects.get(device=device).identity == device.identity


def test_the_pin_is_the_same_either_way(house: House, proxied: tuple[Phone, Proxy]) -> None:
    phone, proxy = proxied
    phone.enroll()
    other = house.enrolled_phone()

    proxy.header = written(other.certificate)
    refused(phone.idle().status, "another device")
    proxy.header = None
    phone.transport = house.door
    assert phone.idle().ok  # signed, and not by the proxy


@pytest.mark.parametrize("address", ["10.20.31.40", "127.0.0.1", "::1", "", "unix:"])
def test_from_anybody_else_the_header_is_worth_nothing(
    proxied: tuple[Phone, Proxy], address: str
) -> None:
    phone, proxy = proxied
    proxy.address = address

    refused(phone.authenticate().status, "no Mdm-Signature")


def test_nobody_is_trusted_unless_settings_say_so(
    proxied: tuple[Phone, Proxy], settings: Settings
) -> None:
    phone, _ = proxied
    settings.TRUSTED_PROXIES = []

    refused(phone.authenticate().status, "no Mdm-Signature")


def test_a_signature_still_counts_where_a_stranger_adds_the_header(
    house: House, proxied: tuple[Phone, Proxy]
) -> None:
    phone, proxy = proxied
    proxy.address, proxy.passes_signature = "192.0.2.1", True
    proxy.header = written(house.enrolled_phone().certificate)

    assert phone.authenticate().ok
    assert house.device(phone).identity == phone.certificate.fingerprint(hashes.SHA256()).hex()


def test_where_both_are_there_both_must_say_the_same(
    house: House, proxied: tuple[Phone, Proxy]
) -> None:
    phone, proxy = proxied
    proxy.passes_signature = True
    assert phone.authenticate().ok

    proxy.header = written(house.enrolled_phone().certificate)
    refused(phone.token_update().status, "another than the client")


@pytest.mark.parametrize(
    "header",
    [
        "nonsense",
        ":",
        "::",
        ":AAAA:",
        ":ü:",
        ":" + "A" * 40_000 + ":",
        "-----BEGIN CERTIFICATE-----",
    ],
)
def test_a_header_that_holds_no_certificate_is_refused(
    proxied: tuple[Phone, Proxy], header: str
) -> None:
    phone, proxy = proxied
    proxy.header = header

    refused(phone.authenticate().status, "Client-Cert")


def test_a_certificate_of_another_authority_is_refused(proxied: tuple[Phone, Proxy]) -> None:
    phone, proxy = proxied
    foreign = authority.Authority.load(*make_authority("Somebody else"))
    proxy.header = written(
        foreign.issue(phone.certificate.public_key(), phone.certificate.subject)
    )

    refused(phone.authenticate().status, "did not issue")


# The door's own TLS.


def test_devices_accept_no_other_tls_where_its_authority_is_known(
    house: House, settings: Settings
) -> None:
    pem, _key = make_authority("The door's TLS")
    settings.DOOR_TLS_AUTHORITY = pem.decode()
    phone = house.phone()
    house.give_profile(phone)
    assert phone.enrollment
    (root,) = phone.enrollment.profile.of_type("com.apple.security.root")
    (mdm,) = phone.enrollment.profile.of_type("com.apple.mdm")

    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    assert root["PayloadContent"] == der
    assert mdm["ServerURLPinningCertificateUUIDs"] == [root["PayloadUUID"]]
    assert mdm["CheckInURLPinningCertificateUUIDs"] == [root["PayloadUUID"]]
