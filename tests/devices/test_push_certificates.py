"""Only a certificate that can wake the devices we have is taken in; its key is for the worker."""

from collections.abc import Callable
from datetime import timedelta
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from devices import push_certificates, sealing
from devices.models import AuditEntry, Device, PushCertificate
from devices.models.device import Enrollment
from devices.push_certificates import Refused
from staff.models import User
from tests.house import push_pair
from tests.pushing import load, push_certificates_folder
from tests.simulator.push_certificates import Certificates, Pair

__all__ = ["push_certificates_folder"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def certificates(push_certificates_folder: Path) -> Certificates:
    return Certificates(push_certificates_folder)


def inside(state: Enrollment = Enrollment.ENROLLED) -> Device:
    return Device.objects.create(udid=f"udid-{state}", enrollment_state=state)


def test_a_certificate_is_taken_in(certificates: Certificates) -> None:
    row = load(certificates.mdm)
    assert row.topic == certificates.topic
    assert row.not_after == certificates.mdm.certificate.not_valid_after_utc
    assert row.is_current
    entry = AuditEntry.objects.get()
    assert entry.verb == "push_certificate.loaded"
    assert entry.facts["topic"] == certificates.topic


def test_its_key_opens_for_the_worker(certificates: Certificates) -> None:
    opened = push_certificates.opened(load(certificates.mdm))
    key = load_pem_private_key(opened.key.reveal(), None)
    assert key.public_key() == certificates.mdm.key.public_key()
    assert x509.load_pem_x509_certificate(opened.certificate.encode()) == (
        certificates.mdm.certificate
    )
    assert "PRIVATE" not in repr(opened)


def test_its_key_opens_for_nobody_else(certificates: Certificates, settings: Settings) -> None:
    row = load(certificates.mdm)
    assert b"PRIVATE KEY" not in bytes(row.sealed_key)
    settings.WORKER_PRIVATE_KEY = settings.DOOR_PRIVATE_KEY
    with pytest.raises(sealing.DoesNotOpen):
        push_certificates.opened(row)


def test_its_key_does_not_open_beside_another_certificate(certificates: Certificates) -> None:
    row = load(certificates.mdm)
    other = certificates.make_client("other")
    row.certificate = other.certificate_path.read_text()
    with pytest.raises(sealing.DoesNotOpen):
        push_certificates.opened(row)


def test_a_renewed_certificate_replaces_the_last(certificates: Certificates) -> None:
    first = load(certificates.mdm)
    inside()
    second = load(certificates.make_client("renewed", topic=certificates.topic))
    assert list(PushCertificate.objects.filter(is_current=True)) == [second]
    first.refresh_from_db()
    assert not first.is_current


@pytest.mark.parametrize("state", [Enrollment.ENROLLED, Enrollment.AUTHENTICATED])
def test_another_topic_is_refused_while_devices_listen_to_this_one(
    certificates: Certificates, state: Enrollment
) -> None:
    first = load(certificates.mdm)
    inside(state)
    with pytest.raises(Refused, match="1 enrolled devices listen to"):
        load(certificates.make_client("another"))
    assert list(PushCertificate.objects.all()) == [first]


def test_another_topic_is_taken_when_nobody_listens_any_more(certificates: Certificates) -> None:
    load(certificates.mdm)
    inside(Enrollment.LEFT)
    inside(Enrollment.RETIRED)
    row = load(certificates.make_client("another"))
    assert row.is_current


def test_an_expired_certificate_is_refused(certificates: Certificates) -> None:
    with pytest.raises(Refused, match="The certificate ended on"):
        load(certificates.make_client("expired", expired=True))


def test_a_key_of_another_certificate_is_refused(certificates: Certificates) -> None:
    other = certificates.make_client("other")
    with pytest.raises(Refused, match="does not belong"):
        load(Pair(certificates.mdm.certificate_path, other.key_path))


@pytest.mark.parametrize("pair", ["server", "another kind of UID"])
def test_a_certificate_without_a_topic_is_refused(certificates: Certificates, pair: str) -> None:
    wrong = (
        certificates.server
        if pair == "server"
        else certificates.make_client("app", topic="org.example.app")
    )
    with pytest.raises(Refused, match="not an MDM push certificate"):
        load(wrong)


def locked(pair: Pair) -> bytes:
    return pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


@pytest.mark.parametrize(
    ("said", "certificate", "key"),
    [
        ("not a certificate", lambda _: b"nonsense", lambda pair: pair.key_path.read_bytes()),
        ("not a private key", lambda pair: pair.certificate_path.read_bytes(), lambda _: b"no"),
        ("protected by a password", lambda pair: pair.certificate_path.read_bytes(), locked),
    ],
)
def test_what_cannot_be_read_is_refused(
    certificates: Certificates,
    said: str,
    certificate: Callable[[Pair], bytes],
    key: Callable[[Pair], bytes],
) -> None:
    pair = certificates.mdm
    with pytest.raises(Refused, match=said):
        push_certificates.load(certificate(pair), key(pair), by=None)
    assert not PushCertificate.objects.exists()


def der(pair: Pair) -> bytes:
    return pair.certificate.public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        (
            bytes.fromhex("a003020102"),
            bytes.fromhex("a003020104"),
            "not a certificate",
        ),  # version 5
        (b"APSP", b"\xff\xfeSP", "cannot be read"),  # in the subject, no UTF-8
        (b"Z0", b"Q0", "cannot be read|not a certificate"),  # a date
    ],
)
def test_a_certificate_with_a_broken_part_is_refused(
    certificates: Certificates, here: bytes, there: bytes, said: str
) -> None:
    """The library looks at most parts only when they are asked for, and raises then."""
    whole = der(certificates.mdm)
    broken = whole.replace(here, there)
    assert broken != whole
    with pytest.raises(Refused, match=said):
        push_certificates.load(broken, certificates.mdm.key_path.read_bytes(), by=None)


def test_a_key_of_an_unknown_kind_is_refused(certificates: Certificates) -> None:
    rsa, unknown = (bytes.fromhex(f"2a864886f70d0101{kind}") for kind in ("01", "63"))
    broken = der(certificates.mdm).replace(rsa, unknown)
    with pytest.raises(Refused, match="cannot be read"):
        push_certificates.load(broken, certificates.mdm.key_path.read_bytes(), by=None)


@pytest.mark.parametrize("topic", ["com.apple.mgmt.\0", "com.apple.mgmt." + "x" * 200])
def test_a_topic_that_no_row_can_keep_is_refused(topic: str) -> None:
    with pytest.raises(Refused, match="not an MDM push certificate"):
        push_certificates.load(*push_pair(topic), by=None)


def pkcs12_file(pair: Pair) -> bytes:
    """Its password is hashed 50,000 times, for the seal and for what is inside."""
    lock = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(50_000)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
        .build(b"secret")
    )
    return pkcs12.serialize_key_and_certificates(b"push", pair.key, pair.certificate, None, lock)


def test_a_file_that_says_it_takes_hours_to_open_is_not_opened(certificates: Certificates) -> None:
    honest = pkcs12_file(certificates.mdm)
    endless = honest.replace(rounds(50_000), rounds(2**23 - 1))
    assert endless.count(rounds(2**23 - 1)) >= 2
    with pytest.raises(Refused, match="too long to open"):
        push_certificates.load_pkcs12(endless, "secret", by=None)

    assert push_certificates.load_pkcs12(honest, "secret", by=None).is_current


def rounds(count: int) -> bytes:
    """As DER writes both of them."""
    return b"\x02\x03" + count.to_bytes(3, "big")


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x30\x80", b"\x30\x03\x02\x01\x03"])
def test_what_is_no_pkcs12_file_is_refused(data: bytes) -> None:
    with pytest.raises(Refused, match="does not open"):
        push_certificates.load_pkcs12(data, "secret", by=None)


def test_without_the_workers_public_key_nothing_can_be_sealed(
    certificates: Certificates, settings: Settings
) -> None:
    settings.WORKER_PUBLIC_KEY = ""
    with pytest.raises(Refused, match="WORKER_PUBLIC_KEY is not set"):
        load(certificates.mdm)


def test_a_person_needs_the_right(certificates: Certificates) -> None:
    person = User.objects.create_user("someone")
    pair = certificates.mdm
    pems = pair.certificate_path.read_bytes(), pair.key_path.read_bytes()
    with pytest.raises(Refused, match=r"«devices\.add_pushcertificate» is missing"):
        push_certificates.load(*pems, by=person)
    person.user_permissions.add(Permission.objects.get(codename="add_pushcertificate"))
    push_certificates.load(*pems, by=User.objects.get(pk=person.pk))
    assert AuditEntry.objects.get().actor == person


def test_a_new_certificate_pushes_at_once_to_whom_an_alarm_kept_waiting(
    certificates: Certificates,
) -> None:
    row = load(certificates.mdm)
    device = inside()
    later = timezone.now() + timedelta(hours=6)
    Device.objects.update(wake_due_at=later)
    load(certificates.make_client("renewed", topic=certificates.topic))
    device.refresh_from_db()
    assert device.wake_due_at == later  # it waits for a reason of its own

    PushCertificate.objects.filter(is_current=True).update(alarm="Refused.")
    load(certificates.make_client("again", topic=row.topic))
    device.refresh_from_db()
    assert device.wake_due_at is not None
    assert device.wake_due_at <= timezone.now()


def test_the_operator_loads_it_by_a_command(certificates: Certificates) -> None:
    said = StringIO()
    pair = certificates.mdm
    paths = {"certificate": str(pair.certificate_path), "key": str(pair.key_path)}
    call_command("push_certificate", **paths, stdout=said)
    assert certificates.topic in said.getvalue()
    assert PushCertificate.objects.get().is_current

    other = str(certificates.make_client("other").key_path)
    with pytest.raises(CommandError, match="does not belong"):
        call_command("push_certificate", **{**paths, "key": other})
    with pytest.raises(CommandError, match="No such file"):
        call_command("push_certificate", **{**paths, "key": "/nowhere.pem"})


def test_the_operator_hands_both_over_on_standard_input(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = certificates.mdm
    for parts in (
        (pair.certificate_path, pair.key_path),
        (pair.key_path, pair.certificate_path),
    ):
        typed = TextIOWrapper(BytesIO(b"".join(part.read_bytes() for part in parts)))
        monkeypatch.setattr("sys.stdin", typed)
        call_command("push_certificate", certificate="-", key="-", stdout=StringIO())
    assert PushCertificate.objects.filter(is_current=True).count() == 1
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(b"neither")))
    with pytest.raises(CommandError, match="PEM"):
        call_command("push_certificate", certificate="-", key="-")
