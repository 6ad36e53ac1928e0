"""The Client-Cert header: the certificate that a proxy has seen on the TLS connection (RFC 9440)."""

import base64
import binascii

from cryptography import x509

LONGEST_HEADER = 16 * 1024  # characters


class NotACertificate(Exception):
    """The header names nobody."""


def read(header: str) -> x509.Certificate:
    """The certificate in it. Whose it is, the authority must say."""
    if len(header) > LONGEST_HEADER or not (header[:1] == header[-1:] == ":"):
        raise NotACertificate("a Client-Cert header that is none of RFC 9440's")
    try:
        return x509.load_der_x509_certificate(base64.b64decode(header[1:-1], validate=True))
    except (binascii.Error, ValueError, x509.InvalidVersion):
        raise NotACertificate("a Client-Cert header that holds no certificate") from None
