"""The Mdm-Signature header: a signature over the exact body, by the device's identity."""

import base64
import binascii

from cryptography import x509

from devices.rules import cms

LONGEST_HEADER = 32 * 1024  # characters; a real one has about two thousand


class NotSigned(Exception):
    """The header does not prove who sent the body."""


def signer(header: str, body: bytes, *, sha1_allowed: bool = False) -> x509.Certificate:
    """The certificate that signed exactly this body. Whose it is, the authority must say."""
    if not header:
        raise NotSigned("no Mdm-Signature")
    if len(header) > LONGEST_HEADER:
        raise NotSigned("an Mdm-Signature that is too long")
    try:
        signature = base64.b64decode("".join(header.split()), validate=True)
    except (binascii.Error, ValueError):
        raise NotSigned("an Mdm-Signature that is not base64") from None
    try:
        return cms.detached_signer(signature, body, sha1_allowed=sha1_allowed)
    except cms.NotVerified as fault:
        raise NotSigned(str(fault)) from None
