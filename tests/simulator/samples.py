"""Profiles and an identity, as the smallest server for the simulator's own tests hands them out."""

import plistlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from tests.simulator import signing

KEY = rsa.generate_private_key(65537, 2048)
CHECK_IN, CONNECT = "https://mdm.example/checkin", "https://mdm.example/connect"


def certificate(key: signing.PrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a phone")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(name, name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )


CERTIFICATE = certificate(KEY)


def profile(identifier: str, *payloads: dict[str, Any], **keys: Any) -> bytes:
    content = [
        {
            "PayloadIdentifier": f"{identifier}.{number}",
            "PayloadUUID": str(uuid.uuid4()),
            "PayloadVersion": 1,
            **payload,
        }
        for number, payload in enumerate(payloads)
    ]
    return plistlib.dumps(
        {
            "PayloadType": "Configuration",
            "PayloadVersion": 1,
            "PayloadIdentifier": identifier,
            "PayloadUUID": str(uuid.uuid4()),
            "PayloadContent": content,
            **keys,
        }
    )


def enrollment(rights: int = 8191, opens_with: str = "secret", **keys: Any) -> bytes:
    return profile(
        "example.enrollment",
        {
            "PayloadType": "com.apple.security.pkcs12",
            "PayloadUUID": "IDENTITY",
            "Password": opens_with,
            "PayloadContent": pkcs12.serialize_key_and_certificates(
                b"phone", KEY, CERTIFICATE, None, serialization.BestAvailableEncryption(b"secret")
            ),
        },
        {
            "PayloadType": "com.apple.mdm",
            "IdentityCertificateUUID": "IDENTITY",
            "Topic": "com.apple.mgmt.External.1",
            "ServerURL": CONNECT,
            "CheckInURL": CHECK_IN,
            "SignMessage": True,
            "CheckOutWhenRemoved": True,
            "AccessRights": rights,
            **keys,
        },
    )


def policy(identifier: str = "example.passcode", **keys: Any) -> bytes:
    return profile(
        identifier,
        {"PayloadType": "com.apple.mobiledevice.passwordpolicy", "forcePIN": True} | keys,
    )
