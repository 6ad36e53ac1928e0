"""Who is calling: a certificate that we issued and pinned, by a signature over the exact body or by TLS.

TLS ends at a proxy: what it says of the client's certificate (RFC 9440) is heard from the proxies
that settings name and from nobody else. Where both are there, both must say the same.

Whoever cannot show that is refused with 403, never with 401: a 401 would make a device remove its
management profile (Apple: "Handling Server Responses").
"""

import logging
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.encoding import force_bytes

from devices import identities
from devices.models import Device
from mdm.enrollment import authority
from mdm.wire import client_certificate, signature
from passcodes import leaving

log = logging.getLogger(__name__)

REMEMBERED = 20_000  # certificates whose signature by us is not computed again


class NotKnown(Exception):
    """The caller is nobody we may listen to; the message is the kind of fault, for log and audit."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who holds the private key of a certificate that we issued."""

    certificate: x509.Certificate
    digest: str  # SHA-256 of the certificate, hex


def caller(request: HttpRequest, body: bytes) -> Caller:
    """Who sent the body, or NotKnown."""
    certificate = _client(request)
    header = request.headers.get("Mdm-Signature", "")
    if header or certificate is None:
        try:
            signer = signature.signer(
                header, body, sha1_allowed=settings.MDM_SIGNATURE_ALLOWS_SHA1
            )
        except signature.NotSigned as fault:
            raise NotKnown(str(fault)) from None
        if certificate not in {None, signer}:
            raise NotKnown("a signature by another than the client of the TLS connection")
        certificate = signer
    if not _is_ours(certificate, force_bytes(settings.CA_CERTIFICATE)):
        raise NotKnown("a certificate that we did not issue")
    return Caller(certificate, certificate.fingerprint(hashes.SHA256()).hex())


def device(caller: Caller, udid: str) -> Device:
    """The device this identity is pinned to, ours until the transaction ends; or NotKnown."""
    found = Device.objects.select_for_update(of=("self",)).filter(identity=caller.digest).first()
    if found is None:
        found = identities.take_up(caller.digest, udid=udid)
        if found is None:
            raise NotKnown("an identity that is pinned to no device")
        leaving.renewed(found)
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


def _client(request: HttpRequest) -> x509.Certificate | None:
    """The client's certificate as a trusted proxy has seen it; None where nobody trusted says so."""
    header = request.headers.get("Client-Cert")
    if not header or not _is_trusted(request.META.get("REMOTE_ADDR", "")):
        return None  # from anybody else the header is worth nothing
    try:
        return client_certificate.read(header)
    except client_certificate.NotACertificate as fault:
        raise NotKnown(str(fault)) from None


def _is_trusted(address: str) -> bool:
    try:
        caller = ip_address(address)
    except ValueError:
        return False
    return any(caller in network for network in settings.TRUSTED_PROXIES)


@lru_cache(maxsize=REMEMBERED)
def _is_ours(certificate: x509.Certificate, _authority: bytes) -> bool:
    return authority.our_issuer().issued(certificate)
