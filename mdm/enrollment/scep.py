"""SCEP: a device makes its own key and has it signed, by a one-time challenge or by its old key.

The challenge came in the enrollment profile, and only its digest is kept. Nothing that is refused
uses it up.
"""

import uuid
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from devices import audit, identities
from devices.models import Device, EnrollmentLink, IdentityRenewal
from mdm.enrollment import authority, offer
from mdm.wire import scep
from mdm.wire.scep import Fault, Kind, NotGranted, Request

LONGEST_NAME = 64  # bytes of a common name: as the library counts what X.520 means in characters


class NotServed(Exception):
    """There is no SCEP here: our authority's key cannot open what is sealed to it."""


def capabilities() -> str:
    """What a client may use, a word a line."""
    old = scep.OLD_CAPABILITIES if settings.SCEP_ALLOWS_OLD_CRYPTO else ()
    return "".join(f"{word}\n" for word in (*scep.CAPABILITIES, *old))


def authority_certificate() -> bytes:
    """Whom to seal to, DER."""
    return authority.our_issuer().certificate.public_bytes(Encoding.DER)


def answer(message: bytes) -> bytes:
    """The certificate, or why not; scep.Malformed where there is nothing to answer to."""
    ours = authority.ours()
    key, certificate = ours.key, ours.certificate
    if not isinstance(key, rsa.RSAPrivateKey):
        raise NotServed
    seen = scep.outside(message)
    try:
        with transaction.atomic():
            request = scep.opened(
                message,
                seen,
                key=key,
                certificate=certificate,
                old_crypto_allowed=settings.SCEP_ALLOWS_OLD_CRYPTO,
            )
            issued = _certified(request, ours)
            return scep.success(request, issued, key=key, certificate=certificate)
    except NotGranted as why:
        audit.record("identity.refused", kind=str(why), fault=why.fault.name.lower())
        return scep.failure(seen, why, key=key, certificate=certificate)


def _certified(request: Request, ours: authority.Authority) -> x509.Certificate:
    now = timezone.now()
    match request.outside.kind:
        case Kind.CERTIFICATE:
            row = _challenged(request.challenge, now)
        case Kind.RENEWAL:
            row = _renewed(request.signer, ours, now)
        case None:
            raise NotGranted(Fault.BAD_REQUEST, "Only requests for a certificate are answered.")
    issued = ours.issue(request.public_key, _subject(request, ours), now=now)
    row.identity = issued.fingerprint(hashes.SHA256()).hex()
    fields = ["identity"]
    if row.challenge_digest:
        row.challenge_used_at = now
        fields.append("challenge_used_at")
    if isinstance(row, IdentityRenewal):
        row.identity_until = issued.not_valid_after_utc
        fields.append("identity_until")
    row.save(update_fields=fields)
    audit.record(
        "identity.issued",
        device=row.device,
        identity=row.identity,
        until=issued.not_valid_after_utc,
        link=row.pk if isinstance(row, EnrollmentLink) else None,
    )
    return issued


def _challenged(challenge: str | None, now: datetime) -> EnrollmentLink | IdentityRenewal:
    """The link or the renewal that this challenge was made for, ours until the transaction ends."""
    if not challenge:
        raise NotGranted(Fault.BAD_REQUEST, "The request brings no challenge.")
    digest = offer.challenge_digest(challenge)
    found: EnrollmentLink | IdentityRenewal | None = (
        EnrollmentLink.objects.select_for_update(of=("self",))
        .filter(challenge_digest=digest)
        .first()
    )
    if found is None:
        renewal = IdentityRenewal.objects.filter(challenge_digest=digest).first()
        if renewal is None:
            raise NotGranted(Fault.BAD_REQUEST, "The challenge is unknown.")
        device = Device.objects.locked(renewal.device_id)
        found = IdentityRenewal.objects.select_for_update(of=("self",)).get(pk=renewal.pk)
        if device.identity != found.former:
            raise NotGranted(Fault.BAD_REQUEST, "The challenge was for an earlier identity.")
    if found.challenge_used_at:
        raise NotGranted(Fault.BAD_REQUEST, "The challenge has been used.")
    if found.challenge_until is None or found.challenge_until <= now:
        raise NotGranted(Fault.BAD_REQUEST, "The challenge has expired.")
    return found


def _renewed(
    signer: x509.Certificate, ours: authority.Authority, now: datetime
) -> IdentityRenewal:
    if not ours.verifies(signer, now):
        raise NotGranted(Fault.BAD_REQUEST, "Only a valid identity of ours renews itself.")
    try:
        return identities.by_old_key(signer.fingerprint(hashes.SHA256()).hex())
    except identities.Refused as refused:
        raise NotGranted(Fault.BAD_REQUEST, str(refused)) from None


def _subject(request: Request, ours: authority.Authority) -> x509.Name:
    """The name asked for, as far as it is one; it proves nothing, and nobody may bear ours."""
    wanted = (request.common_name or "").encode()[:LONGEST_NAME].decode(errors="ignore").strip()
    name = authority.named(wanted or f"Device {uuid.uuid4()}")
    if name == ours.certificate.subject:
        name = authority.named(f"Device {uuid.uuid4()}")
    return name
