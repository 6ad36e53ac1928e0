"""A key that is made here is sealed at once; what Apple makes of the request pushes without a gap."""

import base64
import plistlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from devices import push_certificates, sealing, waking
from devices.models import AuditEntry, Device, PushCertificate, PushCertificateRequest
from devices.push_certificates import Refused
from devices.rules.push_certificates import WARN_AT
from tests.house import KEY, TOPIC, House, load_push_certificate
from tests.scenes import rows

APPLE = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def from_apple(made: PushCertificateRequest, topic: str = TOPIC) -> bytes:
    """The certificate that Apple makes for a signing request."""
    asked = x509.load_pem_x509_csr(made.request.encode())
    now = datetime.now(UTC)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.USER_ID, topic),
            x509.NameAttribute(NameOID.COMMON_NAME, "APSP:tests"),
        ]
    )
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Apple, of tests")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .sign(APPLE, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM)


def current() -> PushCertificate:
    return PushCertificate.objects.get(is_current=True)


def test_a_request_is_one_that_apple_can_read_and_its_key_is_for_the_worker(house: House) -> None:
    made = push_certificates.request(by=house.admin)
    asked = x509.load_pem_x509_csr(made.request.encode())
    assert asked.is_signature_valid
    key = asked.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 2048
    assert b"PRIVATE KEY" not in bytes(made.sealed_key)
    assert AuditEntry.objects.filter(verb="push_certificate.requested", actor=house.admin)
    with pytest.raises(Refused, match="right"):
        push_certificates.request(by=house.helpdesk)


def test_a_renewal_takes_over_in_one_step_and_the_worker_can_open_its_key(house: House) -> None:
    (device,) = rows(1)
    old = current()
    made = push_certificates.request(by=house.admin)
    renewed = push_certificates.load_for_request(from_apple(made), by=house.admin)
    assert current() == renewed
    assert PushCertificate.objects.filter(pk=old.pk, is_current=False).exists()  # for the record
    opened = push_certificates.opened(renewed)
    key = load_pem_private_key(opened.key.reveal(), None)
    certificate = x509.load_pem_x509_certificate(renewed.certificate.encode())
    assert key.public_key() == certificate.public_key()
    waking.wake([device.pk])
    assert waking.push_due() == 1  # with the renewed one


def test_its_key_does_not_open_beside_another_certificate(house: House) -> None:
    made = push_certificates.request(by=house.admin)
    renewed = push_certificates.load_for_request(from_apple(made), by=house.admin)
    other = push_certificates.request(by=house.admin)
    renewed.certificate = from_apple(other).decode()
    with pytest.raises(sealing.DoesNotOpen):
        push_certificates.opened(renewed)


def test_a_certificate_of_nobodys_request_needs_its_key(house: House) -> None:
    made = push_certificates.request(by=house.admin)
    certificate = from_apple(made)
    push_certificates.load_for_request(certificate, by=house.admin)
    with pytest.raises(Refused, match="here already"):
        push_certificates.load_for_request(certificate, by=house.admin)
    stranger = load_push_certificate().certificate.encode()
    with pytest.raises(Refused, match="no signing request"):
        push_certificates.load_for_request(stranger, by=house.admin)


def test_another_topic_is_refused_and_the_request_can_still_be_used(house: House) -> None:
    rows(1)
    made = push_certificates.request(by=house.admin)
    with pytest.raises(Refused, match="another topic"):
        push_certificates.load_for_request(
            from_apple(made, "com.apple.mgmt.External.other"), by=house.admin
        )
    assert current().topic == TOPIC
    push_certificates.load_for_request(from_apple(made), by=house.admin)


def packed(password: bytes) -> bytes:
    certificate = x509.load_pem_x509_certificate(current().certificate.encode())
    return pkcs12.serialize_key_and_certificates(
        b"push", KEY, certificate, None, BestAvailableEncryption(password)
    )


def test_a_pkcs12_file_is_taken_with_its_password(house: House) -> None:
    before = current()
    loaded = push_certificates.load_pkcs12(packed(b"word"), "word", by=house.admin)
    assert current() == loaded != before
    assert push_certificates.opened(loaded).topic == TOPIC


@pytest.mark.parametrize(("data", "password"), [(None, "wrong"), (b"nonsense", ""), (b"", "")])
def test_a_pkcs12_file_that_does_not_open_is_refused(
    house: House, data: bytes | None, password: str
) -> None:
    before = current()
    with pytest.raises(Refused, match="does not open"):
        push_certificates.load_pkcs12(
            packed(b"word") if data is None else data, password, by=house.admin
        )
    assert current() == before


def vendor() -> tuple[rsa.RSAPrivateKey, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "MDM vendor, of tests")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return key, certificate.public_bytes(Encoding.PEM)


def test_with_a_vendors_signature_it_becomes_what_apples_portal_takes(house: House) -> None:
    made = push_certificates.request(by=house.admin)
    key, chain = vendor()
    der = x509.load_pem_x509_csr(made.request.encode()).public_bytes(Encoding.DER)
    signature = base64.b64encode(key.sign(der, padding.PKCS1v15(), hashes.SHA256())).decode()
    keys = plistlib.loads(
        base64.b64decode(push_certificates.for_apple(made, signature=signature, chain=chain))
    )
    assert base64.b64decode(keys["PushCertRequestCSR"]) == der
    assert keys["PushCertCertificateChain"].encode() == chain
    assert keys["PushCertSignature"] == signature


def test_a_signature_that_is_not_the_vendors_is_said_before_apple_says_it(house: House) -> None:
    made = push_certificates.request(by=house.admin)
    key, _ = vendor()
    _, chain_of_another = vendor()
    der = x509.load_pem_x509_csr(made.request.encode()).public_bytes(Encoding.DER)
    signature = base64.b64encode(key.sign(der, padding.PKCS1v15(), hashes.SHA256())).decode()
    with pytest.raises(Refused, match="not the vendor's signature"):
        push_certificates.for_apple(made, signature=signature, chain=chain_of_another)
    with pytest.raises(Refused, match="must be base64"):
        push_certificates.for_apple(made, signature="no!", chain=chain_of_another)
    with pytest.raises(Refused, match="must be base64"):
        push_certificates.for_apple(made, signature=signature, chain=b"no chain")


def test_its_end_is_said_in_the_audit_five_times(house: House) -> None:
    ends = current().not_after
    house.clock.forward(seconds=(ends - house.clock.now()).total_seconds() - 61 * 86_400)
    for _ in range(2 * 70):
        push_certificates.warn_due()
        house.clock.forward(hours=12)
    said = AuditEntry.objects.filter(verb="push_certificate.ends_soon").order_by("pk")
    assert [entry.facts["days"] for entry in said] == list(WARN_AT)


def test_who_waited_for_a_certificate_that_had_ended_is_pushed_at_once(house: House) -> None:
    (device,) = rows(1)
    made = push_certificates.request(by=house.admin)
    certificate = from_apple(made)
    later = house.clock.now() + timedelta(hours=6)
    Device.objects.filter(pk=device.pk).update(wake_due_at=later)
    PushCertificate.objects.filter(is_current=True).update(not_after=house.clock.now())
    push_certificates.load_for_request(certificate, by=house.admin)
    device.refresh_from_db()
    assert device.wake_due_at
    assert device.wake_due_at <= house.clock.now()
