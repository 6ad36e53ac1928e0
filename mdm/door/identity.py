"""Who is calling: a signature over the exact body, by a certificate that we issued and pinned.

Whoever cannot show that is refused with 403, never with 401: a 401 would make a device remove its
management profile (Apple: "Handling Server Responses").
"""

import logging
from dataclasses import dataclass
from functools import cache, lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from django.conf import settings
from django.utils import timezone
from django.utils.encoding import force_bytes

from devices.models import Device
from mdm.enrollment.authority import Issuer
from mdm.wire import signature

log = logging.getLogger(__name__)

REMEMBERED = 20_000  # certificates whose signature by us is not computed again


class NotKnown(Exception):
    """The caller is nobody we may listen to; the message is the kind of fault, for log and audit."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who holds the private key of a certificate that we issued."""

    certificate: x509.Certificate
    digest: str  # SHA-256 of the certificate, hex


def caller(header: str, body: bytes) -> Caller:
    """Who signed the body, or NotKnown."""
    try:
        certificate = signature.signer(header, body)
    except signature.NotSigned as fault:
        raise NotKnown(str(fault)) from None
    if not _is_ours(certificate):
        raise NotKnown("a certificate that we did not issue")
    return Caller(certificate, certificate.fingerprint(hashes.SHA256()).hex())


def device(caller: Caller, udid: str) -> Device:
    """The device this identity is pinned to, ours until the transaction ends; or NotKnown."""
    found = Device.objects.select_for_update(of=("self",)).filter(identity=caller.digest).first()
    if found is None:
        raise NotKnown("an identity that is pinned to no device")
    if found.udid != udid:
        raise NotKnown("an identity that is pinned to another device")
    if caller.certificate.not_valid_after_utc < timezone.now():
        # Locking it out would lose the device for good; its key is still its own.
        log.warning("The identity of %r has ended; renew its enrollment profile.", found)
    return found


def is_valid_now(caller: Caller) -> bool:
    """Whether a new enrollment may begin with this identity."""
    now = timezone.now()
    certificate = caller.certificate
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


@lru_cache(maxsize=REMEMBERED)
def _is_ours(certificate: x509.Certificate) -> bool:
    return _issuer(force_bytes(settings.CA_CERTIFICATE)).issued(certificate)


@cache
def _issuer(pem: bytes) -> Issuer:
    return Issuer(x509.load_pem_x509_certificate(pem))
