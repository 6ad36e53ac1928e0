"""Take in the MDM push certificate: check it, seal its key to the worker, open it there.

Its topic is what devices were enrolled with. Another topic would strand every one of them.
"""

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.utils import timezone

from devices import audit, sealing
from devices.apns.transport import Credentials
from devices.models import Device, DeviceUser, PushCertificate
from devices.models.device import Enrollment
from devices.rules.secret import Secret

TOPIC_BEGINS = "com.apple.mgmt."
CONTEXT = b"passcodes/push-certificate/v1\0"
PERMISSION = "devices.add_pushcertificate"


class Refused(Exception):
    """The certificate cannot be used; the message says why, for a person to read."""


@transaction.atomic
def load(certificate_pem: bytes, key_pem: bytes, *, by: AbstractUser | None) -> PushCertificate:
    """Push with this certificate from now on. `by` is None for the operator's command."""
    if by is not None and not by.has_perm(PERMISSION):
        raise Refused(f"{by} may not do this: the right «{PERMISSION}» is missing.")
    certificate, key = _certificate(certificate_pem), _key(key_pem)
    topic = _topic(certificate)
    _check_key(certificate, key)
    _check_dates(certificate, timezone.now())
    _check_topic(topic)
    sealed = sealing.seal(
        Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())),
        to=_workers_key(),
        context=_context(certificate),
    )
    last = PushCertificate.objects.select_for_update().filter(is_current=True).first()
    if last:
        last.is_current = False
        last.save(update_fields=["is_current"])
    row = PushCertificate.objects.create(
        topic=topic,
        certificate=certificate.public_bytes(Encoding.PEM).decode(),
        sealed_key=sealed,
        not_after=certificate.not_valid_after_utc,
    )
    if last and last.alarm:
        _wake_who_waited()
    audit.record(
        "push_certificate.loaded",
        actor=by,
        topic=topic,
        ends=row.not_after,
        fingerprint=certificate.fingerprint(SHA256()).hex(),
    )
    return row


def opened(row: PushCertificate) -> Credentials:
    """The certificate and its key, for the worker alone; sealing.DoesNotOpen for anybody else."""
    certificate = x509.load_pem_x509_certificate(row.certificate.encode())
    key = sealing.unseal(
        bytes(row.sealed_key),
        key=sealing.private_key(settings.WORKER_PRIVATE_KEY),
        context=_context(certificate),
    )
    return Credentials(topic=row.topic, certificate=row.certificate, key=key)


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise Refused("The certificate is not a certificate in PEM form.") from None


def _key(pem: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise Refused("The key is protected by a password; give it without one.") from None
    except (ValueError, UnsupportedAlgorithm):
        raise Refused("The key is not a private key in PEM form.") from None


def _topic(certificate: x509.Certificate) -> str:
    """The subject's UID. Apple's page: MDM, «Topic» of the payload com.apple.mdm."""
    uids = certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
    topic = str(uids[0].value) if len(uids) == 1 else ""
    if not topic.startswith(TOPIC_BEGINS):
        raise Refused(
            "This is not an MDM push certificate: its subject has no UID that begins with "
            f"«{TOPIC_BEGINS}»."
        )
    return topic


def _check_key(certificate: x509.Certificate, key: PrivateKeyTypes) -> None:
    theirs, ours = (
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for public in (certificate.public_key(), key.public_key())
    )
    if theirs != ours:
        raise Refused("The key does not belong to the certificate.")


def _check_dates(certificate: x509.Certificate, now: datetime) -> None:
    if certificate.not_valid_after_utc <= now:
        raise Refused(f"The certificate ended on {certificate.not_valid_after_utc:%d %B %Y}.")
    if certificate.not_valid_before_utc > now:
        raise Refused(f"The certificate begins on {certificate.not_valid_before_utc:%d %B %Y}.")


def _check_topic(topic: str) -> None:
    last = PushCertificate.objects.filter(is_current=True).first()
    if last is None or last.topic == topic:
        return
    inside = Device.objects.filter(
        enrollment_state__in=[Enrollment.AUTHENTICATED, Enrollment.ENROLLED]
    ).count()
    if inside:
        raise Refused(
            f"The certificate is for another topic ({topic}) than the one that {inside} enrolled "
            f"devices listen to ({last.topic}): none of them could be woken again. Renew the old "
            "certificate, with the same Apple Account, instead of making a new one."
        )


def _workers_key() -> X25519PublicKey:
    try:
        return sealing.public_key(settings.WORKER_PUBLIC_KEY)
    except sealing.NotAKey:
        raise Refused(
            "WORKER_PUBLIC_KEY is not set, or is no key: the certificate's key is sealed to it."
        ) from None


def _context(certificate: x509.Certificate) -> bytes:
    return CONTEXT + certificate.fingerprint(SHA256())


def _wake_who_waited() -> None:
    """Whatever was to be repeated later is due now: pushing works again."""
    now = timezone.now()
    waiting = Device.objects.filter(wake_due_at__gt=now).order_by("pk")
    ids = list(waiting.select_for_update().values_list("pk", flat=True))
    Device.objects.filter(pk__in=ids).update(wake_due_at=now)
    DeviceUser.objects.filter(wake_due_at__gt=now).update(wake_due_at=now)
