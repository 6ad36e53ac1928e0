"""One-time links: made by staff, redeemed once by a device for its enrollment profile."""

import hashlib
import secrets
from datetime import timedelta

from cryptography.hazmat.primitives import hashes
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from devices import audit, grouping, pins
from devices.models import DeviceGroup, EnrollmentLink, PushCertificate
from devices.models.enrollment import Identity
from devices.rules.channels import Platform
from mdm.enrollment import offer
from staff.models import User
from staff.permissions import require

LINK_LASTS = timedelta(hours=24)
TOKEN_BYTES = 32


class Refused(Exception):
    """The link cannot be made or redeemed; the message says why, for a person to read."""


class Unknown(Refused):
    """No such link was ever made."""


@transaction.atomic
def make(
    platform: Platform,
    *,
    identity_kind: Identity = Identity.SCEP,
    note: str = "",
    group: DeviceGroup | None = None,
    assigned_to: User | None = None,
    lasts: timedelta = LINK_LASTS,
    by: User | None,
) -> tuple[EnrollmentLink, str]:
    """A new link and its address, which is shown this once: only a digest of it is kept.

    `by` None is the operator at the console.
    """
    if by is not None:
        require(by, "devices.add_enrollmentlink")
    if not PushCertificate.objects.filter(is_current=True).exists():
        raise Refused(
            "There is no push certificate yet, so no device could be woken. Add it first."
        )
    if group and not grouping.by_hand([group.pk]):
        raise Refused(
            f"Who is in {group} follows from its rule, so no link puts a device into it. "
            "Next: choose another group, or none."
        )
    token = secrets.token_urlsafe(TOKEN_BYTES)
    link = EnrollmentLink.objects.create(
        digest=_digest(token),
        platform=platform.value,
        identity_kind=identity_kind,
        note=note,
        group=group,
        assigned_to=assigned_to,
        made_by=by,
        expires_at=timezone.now() + lasts,
    )
    audit.record(
        "enrollment.link_made",
        actor=by,
        link=link.pk,
        platform=platform.value,
        group=group.name if group else None,
        assigned_to=assigned_to.username if assigned_to else None,
        until=link.expires_at,
    )
    return link, f"{settings.DOOR_URL}/enroll/{token}"


@transaction.atomic
def redeem(token: str) -> bytes:
    """The enrollment profile with a new identity, once; or Refused."""
    link = (
        EnrollmentLink.objects.select_for_update(of=("self",))
        .filter(digest=_digest(token))
        .first()
    )
    if link is None:
        raise Unknown("There is no such enrollment link. Ask for a new one.")
    now = timezone.now()
    if link.used_at:
        raise Refused("This enrollment link has been used. Ask for a new one.")
    if link.expires_at <= now:
        raise Refused("This enrollment link has expired. Ask for a new one.")
    link.pins = pins.digest()
    fields = ["used_at", "pins"]
    platform = Platform(link.platform)
    try:
        if link.identity_kind == Identity.SCEP:
            data, link.challenge_digest = offer.by_scep(platform)
            link.challenge_until = now + offer.CHALLENGE_LASTS
            fields += ["challenge_digest", "challenge_until"]
        else:
            data, certificate = offer.by_pkcs12(platform, now=now)
            link.identity = certificate.fingerprint(hashes.SHA256()).hex()
            fields.append("identity")
    except offer.NotPossible as reason:
        raise Refused(str(reason)) from None
    link.used_at = now
    link.save(update_fields=fields)
    audit.record("enrollment.link_used", link=link.pk, identity=link.identity or None)
    return data


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
