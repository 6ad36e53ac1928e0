"""What sealing and signatures cost, without a database."""

import plistlib
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.conf import settings

from bench.figures import Figure, each
from bench.house import identity
from devices import sealing
from devices.rules.secret import Secret
from mdm.enrollment.authority import Authority
from mdm.wire import signature
from tests.simulator import signing

TIMES = 300
MICRO = 1e6


def figures() -> Iterator[Figure]:
    key = X25519PrivateKey.generate()
    token = Secret(bytes(1500))
    box = sealing.seal(token, to=key.public_key(), context=b"bench")
    sealed = each(lambda: sealing.seal(token, to=key.public_key(), context=b"bench"), times=TIMES)
    opened = each(lambda: sealing.unseal(box, key=key, context=b"bench"), times=TIMES)
    yield Figure("Seal an UnlockToken", sealed * MICRO, "µs", "1,500 bytes")
    yield Figure("Open its box", opened * MICRO, "µs")

    private = rsa.generate_private_key(65537, 2048)
    authority = Authority.load(settings.CA_CERTIFICATE, settings.CA_PRIVATE_KEY)
    certificate = identity(authority, private, 0)
    body = plistlib.dumps({"UDID": "00008130-0000000000000000", "Status": "Idle"})
    header = signing.header(body, key=private, certificate=certificate)
    verified = each(lambda: signature.signer(header, body), times=TIMES)
    yield Figure("Verify an Mdm-Signature", verified * MICRO, "µs", "RSA, 2,048 bits")
    issued = each(lambda: authority.issued(certificate), times=TIMES)
    yield Figure("Know a certificate as ours, the first time", issued * MICRO, "µs")
