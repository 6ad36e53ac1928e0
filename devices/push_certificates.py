"""Take in the MDM push certificate: check it, seal its key to the worker, open it there.

Its topic is what devices were enrolled with. Another topic would strand every one of them. Where the
key is made here, with a signing request, it is sealed in the same breath and nobody ever sees it.
"""

import base64
import binascii
import plistlib
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.utils import timezone

from devices import audit, sealing
from devices.apns.transport import Credentials
from devices.models import Device, DeviceUser, PushCertificate, PushCertificateRequest
from devices.models.device import Enrollment
from devices.rules import push_certificates as rules
from devices.rules.secret import Secret

TOPIC_BEGINS = "com.apple.mgmt."
LONGEST_TOPIC = 200  # characters
CONTEXT = b"passcodes/push-certificate/v1\0"
CONTEXT_OF_A_REQUEST = b"passcodes/push-certificate-request/v1\0"
KEY_BITS = 2048  # what Apple's portal takes
PERMISSION = "devices.add_pushcertificate"


class Refused(Exception):
    """The certificate cannot be used; the message says why, for a person to read."""


def load(certificate_pem: bytes, key_pem: bytes, *, by: AbstractUser | None) -> PushCertificate:
    """Push with this certificate from now on. `by` is None for the operator's command."""
    _allow(by)
    certificate, key = _certificate(certificate_pem), _key(key_pem)
    return _take_in_with_key(certificate, key, by)


def load_pkcs12(data: bytes, password: str, *, by: AbstractUser | None) -> PushCertificate:
    """The same, with certificate and key from one file."""
    _allow(by)
    certificate, key = _pkcs12(data, password)
    return _take_in_with_key(certificate, key, by)


@transaction.atomic
def load_for_request(certificate_pem: bytes, *, by: AbstractUser | None) -> PushCertificate:
    """Push with a certificate that Apple made from a signing request of ours, whose key is sealed."""
    _allow(by)
    certificate = _certificate(certificate_pem)
    request = (
        PushCertificateRequest.objects.select_for_update()
        .filter(public_key=_digest(certificate.public_key()))
        .first()
    )
    if request is None:
        raise Refused(
            "The certificate comes from no signing request that was made here. Give its key as "
            "well, or make a request here and have that one signed."
        )
    if request.used_at is not None:
        raise Refused("A certificate from this signing request is here already.")
    _check(certificate)
    request.used_at = timezone.now()
    request.save(update_fields=["used_at"])
    return _take_in(certificate, bytes(request.sealed_key), by, request=request)


@transaction.atomic
def request(*, by: AbstractUser) -> PushCertificateRequest:
    """A signing request with a new key, which is sealed to the worker before anything is kept."""
    _allow(by)
    workers_key = _workers_key()
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    name = [x509.NameAttribute(NameOID.COMMON_NAME, f"{settings.ORGANISATION[:50]} MDM push")]
    signing_request = (
        x509.CertificateSigningRequestBuilder().subject_name(x509.Name(name)).sign(key, SHA256())
    )
    digest = _digest(key.public_key())
    made = PushCertificateRequest.objects.create(
        request=signing_request.public_bytes(Encoding.PEM).decode(),
        public_key=digest,
        sealed_key=sealing.seal(_as_secret(key), to=workers_key, context=_of_a_request(digest)),
        made_by_id=by.pk,
    )
    audit.record("push_certificate.requested", actor=by, public_key=digest)
    return made


def for_apple(made: PushCertificateRequest, *, signature: str, chain: bytes) -> bytes:
    """What Apple's portal takes: the request with an MDM vendor's signature and certificates.

    Apple, "Setting up push notifications for your MDM customers": base64 of a property list;
    the vendor signs the DER of the request, SHA-256 with RSA.
    """
    der = x509.load_pem_x509_csr(made.request.encode()).public_bytes(Encoding.DER)
    try:
        signed = base64.b64decode("".join(signature.split()), validate=True)
        vendors = [_whole(one) for one in x509.load_pem_x509_certificates(chain)]
    except (binascii.Error, ValueError, x509.InvalidVersion):
        raise Refused(
            "The signature must be base64, and the chain certificates in PEM form, the vendor's first."
        ) from None
    key = vendors[0].public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise Refused("The vendor's certificate has no RSA key; Apple takes no other.")
    try:
        key.verify(signed, der, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        raise Refused(
            "The signature is not the vendor's signature of this request (SHA-256 with RSA over "
            "its DER form)."
        ) from None
    pem = b"".join(vendor.public_bytes(Encoding.PEM) for vendor in vendors)
    keys = {
        "PushCertRequestCSR": base64.b64encode(der).decode(),
        "PushCertCertificateChain": pem.decode(),
        "PushCertSignature": base64.b64encode(signed).decode(),
    }
    return base64.b64encode(plistlib.dumps(keys))


@transaction.atomic
def warn_due() -> int:
    """Leave a trace, once each, as the end of the certificate comes near; 1 where that was done."""
    current = PushCertificate.objects.select_for_update().filter(is_current=True).first()
    if current is None:
        return 0
    days = rules.warning(current.not_after, warned=current.warned_days, now=timezone.now())
    if days is None:
        return 0
    current.warned_days = days
    current.save(update_fields=["warned_days"])
    audit.record(
        "push_certificate.ends_soon", topic=current.topic, ends=current.not_after, days=days
    )
    return 1


def _allow(by: AbstractUser | None) -> None:
    if by is not None and not by.has_perm(PERMISSION):
        raise Refused(f"{by} may not do this: the right «{PERMISSION}» is missing.")


@transaction.atomic
def _take_in_with_key(
    certificate: x509.Certificate, key: PrivateKeyTypes, by: AbstractUser | None
) -> PushCertificate:
    _check_key(certificate, key)
    _check(certificate)
    sealed = sealing.seal(_as_secret(key), to=_workers_key(), context=_context(certificate))
    return _take_in(certificate, sealed, by, request=None)


def _check(certificate: x509.Certificate) -> None:
    topic = topic_of(certificate)
    _check_dates(certificate, timezone.now())
    _check_topic(topic)


@transaction.atomic
def _take_in(
    certificate: x509.Certificate,
    sealed: bytes,
    by: AbstractUser | None,
    *,
    request: PushCertificateRequest | None,
) -> PushCertificate:
    """The one door: the new row counts, and the last one does not, in the same moment."""
    topic = topic_of(certificate)
    last = PushCertificate.objects.select_for_update().filter(is_current=True).first()
    if last:
        last.is_current = False
        last.save(update_fields=["is_current"])
    row = PushCertificate.objects.create(
        topic=topic,
        certificate=certificate.public_bytes(Encoding.PEM).decode(),
        sealed_key=sealed,
        not_after=certificate.not_valid_after_utc,
        request=request,
    )
    if last and (last.alarm or last.not_after <= timezone.now()):
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
        context=(
            _of_a_request(_digest(certificate.public_key()))
            if row.request_id
            else _context(certificate)
        ),
    )
    return Credentials(topic=row.topic, certificate=row.certificate, key=key)


def topic_of(certificate: x509.Certificate) -> str:
    """The subject's UID. Apple's page: MDM, «Topic» of the payload com.apple.mdm."""
    uids = certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
    topic = str(uids[0].value) if len(uids) == 1 else ""
    if not topic.startswith(TOPIC_BEGINS) or len(topic) > LONGEST_TOPIC or not topic.isprintable():
        raise Refused(
            "This is not an MDM push certificate: its subject has no UID that begins with "
            f"«{TOPIC_BEGINS}»."
        )
    return topic


def _certificate(pem: bytes) -> x509.Certificate:
    for load_one in (x509.load_pem_x509_certificate, x509.load_der_x509_certificate):
        try:
            certificate = load_one(pem)
        except (ValueError, x509.InvalidVersion):
            continue
        return _whole(certificate)
    raise Refused("The certificate is not a certificate in PEM form.")


def _whole(certificate: x509.Certificate) -> x509.Certificate:
    """The same, once its parts have been read: they are looked at only when they are asked for."""
    try:
        certificate.public_key()
        str(certificate.subject)
        str((certificate.not_valid_before_utc, certificate.not_valid_after_utc))
    except (ValueError, UnsupportedAlgorithm):
        raise Refused("The certificate has a part that cannot be read.") from None
    return certificate


def _pkcs12(data: bytes, password: str) -> tuple[x509.Certificate, PrivateKeyTypes]:
    try:
        if not rules.opens_soon(data):
            raise Refused(
                "The file would take too long to open: its password is hashed more than "
                f"{rules.MOST_ROUNDS} times. Export it again."
            )
        key, certificate, _ = pkcs12.load_key_and_certificates(data, password.encode() or None)
    except (
        rules.NotPkcs12,
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
    ):
        raise Refused("The file does not open as PKCS#12 with this password.") from None
    if certificate is None or key is None:
        raise Refused("The file holds no certificate together with its key.")
    return _whole(certificate), key


def _key(pem: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise Refused("The key is protected by a password; give it without one.") from None
    except (ValueError, UnsupportedAlgorithm):
        raise Refused("The key is not a private key in PEM form.") from None


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


def _of_a_request(digest: str) -> bytes:
    return CONTEXT_OF_A_REQUEST + digest.encode()


def _as_secret(key: PrivateKeyTypes) -> Secret:
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _digest(key: PublicKeyTypes) -> str:
    """SHA-256 of a public key, hex."""
    digest = Hash(SHA256())
    digest.update(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


def _wake_who_waited() -> None:
    """Whatever was to be repeated later is due now: pushing works again."""
    now = timezone.now()
    waiting = Device.objects.filter(wake_due_at__gt=now).order_by("pk")
    ids = list(waiting.select_for_update().values_list("pk", flat=True))
    Device.objects.filter(pk__in=ids).update(wake_due_at=now)
    DeviceUser.objects.filter(wake_due_at__gt=now).update(wake_due_at=now)
