"""Which keys the door was given, by their ids: the setup page compares them with what other processes hold.

Public halves alone, and what every device is given anyway. Nothing here helps whoever asks.
"""

from contextlib import suppress
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from django.conf import settings
from django.http import HttpResponse, JsonResponse

from devices import door_key, sealing
from mdm.enrollment import authority


def page() -> HttpResponse:
    """GET …?keys"""
    response = JsonResponse(told())
    response["Cache-Control"] = "no-store"
    return response


def told() -> dict[str, Any]:
    said: dict[str, Any] = {"serve": settings.SERVE, "authority": _authority()}
    for name, written in (
        ("boxes", settings.VAULT_PUBLIC_KEY),
        ("orders", settings.VAULT_VERIFY_KEY),
    ):
        with suppress(sealing.NotAKey):
            said[name] = sealing.raw_id(sealing.raw(written)) if written else ""
    with suppress(sealing.NotAKey, door_key.NoKey):
        said["door"] = door_key.present_id()
    return said


def _authority() -> dict[str, Any]:
    try:
        certificate = authority.our_issuer().certificate
    except ValueError:
        return {}
    fingerprint = certificate.fingerprint(SHA256()).hex()
    said = {"fingerprint": fingerprint, "until": certificate.not_valid_after_utc.isoformat()}
    if not settings.CA_PRIVATE_KEY:
        return said
    try:
        authority.ours()
    except (TypeError, ValueError):
        return {**said, "signs": False}
    return {**said, "signs": True}
