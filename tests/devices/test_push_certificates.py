"""Only a certificate that can wake the devices we have is taken in; its key is for the worker."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
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
