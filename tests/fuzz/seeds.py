"""Real bytes to begin from: what simulated devices, people and authenticators send.

Whatever in them is a secret contains SECRET, so that a target can see it where it must not be.
"""

import json
import plistlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12
from django.conf import settings

from passcodes.rules import charter, statements
from passcodes.rules.charter import Charter, List, Person, Rule
from tests import house
from tests.authenticator import Passkey
from tests.simulator import samples, signing
from tests.simulator import scep as scep_client
from tests.simulator.phone import Phone
from tests.simulator.transport import Response
from tests.simulator.users import Mac, SharedIPad

SECRET = "n33dle"  # a word to look for
BODY = b"<?xml version='1.0'?><plist><dict/></plist>\n"
TELL_ALL = (
    "SecurityInfo",
    "ProfileList",
    "Restrictions",
    "UserList",
    "DeviceLocation",
    "DeviceLock",
    "EnableLostMode",
    "NoSuchCommand",
)
QUERIES = ("UDID", "SerialNumber", "DeviceName", "OSVersion", "IsSupervised", "IsMultiUser")
OPTIONS = pkcs7.PKCS7Options


class Listener:
    """A server that writes down what it hears, and asks everything once."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[bytes]] = {samples.CHECK_IN: [], samples.CONNECT: []}
        self.left = [self._command(name) for name in TELL_ALL]
        self.left.append(self._command("DeviceInformation", Queries=list(QUERIES)))

    def __call__(
        self, _method: str, url: str, _headers: Mapping[str, str], body: bytes
    ) -> Response:
        self.bodies[url].append(body)
        answer = self.left.pop() if url == samples.CONNECT and self.left else b""
        return Response(200, {}, answer)

    def _command(self, request_type: str, **keys: Any) -> bytes:
        return plistlib.dumps(
            {"CommandUUID": request_type, "Command": {"RequestType": request_type, **keys}}
        )


@cache
def heard() -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """What devices of each kind say at check-in, and what they report."""
    listener = Listener()
    for device in (
        Phone(transport=listener, seed=1, passcode="1234", cellular=True),
        Phone("ipad", transport=listener, seed=2, user_enrollment=True),
        SharedIPad(transport=listener, seed=3),
        Mac(transport=listener, seed=4),
    ):
        device.unlock_token += SECRET.encode()
        device.push_magic = SECRET
        device.install_enrollment_profile(samples.enrollment())
        device.enroll()
        device.lost_mode = "lost" if device.kind == "iphone" else None
        listener.left = Listener().left
        device.connect()
        device.check_in("SetBootstrapToken", BootstrapToken=SECRET.encode())
        device.check_in("GetBootstrapToken")
        device.check_in("GetToken", TokenServiceType="com.apple.maid")
        device.check_in("DeclarativeManagement", Endpoint="status", Data=STATUS)
        device.check_in("UserAuthenticate", UserID="1", UserShortName="a", DigestResponse=DIGEST)
        device.check_in("NotInvented", AuthToken=SECRET)
        device.check_out()
    return (*map(tuple, listener.bodies.values()),)  # type: ignore[return-value]  # two of them


def in_both_forms(bodies: tuple[bytes, ...]) -> Iterator[bytes]:
    for body in bodies:
        yield body
        yield plistlib.dumps(plistlib.loads(body), fmt=plistlib.FMT_BINARY)


STATUS = json.dumps(
    {
        "StatusItems": {
            "passcode": {"is-present": True, "is-compliant": False},
            "management": {
                "client-capabilities": {
                    "supported-versions": ["1.0.0"],
                    "supported-payloads": {
                        "declarations": {"configurations": ["com.apple.configuration.passcode"]},
                        "status-items": ["passcode.is-present", "passcode.is-compliant"],
                    },
                },
                "declarations": {
                    "activations": [],
                    "configurations": [
                        {
                            "identifier": "org.example.policy",
                            "server-token": "1",
                            "active": True,
                            "valid": "invalid",
                            "reasons": [{"code": "Error.X", "description": "It may not."}],
                        },
                        {"identifier": "org.example.gone", "_removed": True},
                    ],
                },
            },
        },
        "Errors": [{"StatusItem": "a.b", "Reasons": [{"Code": "E", "Description": "no"}]}],
        "FullReport": True,
    }
).encode()

DIGEST = (
    'Digest username="user",realm="house",nonce="0123",uri="/",qop=auth,nc=00000001,'
    f'cnonce="{SECRET}",algorithm=MD5,response="0123456789abcdef0123456789abcdef"'
)


def signatures() -> Iterator[bytes]:
    """Detached, over BODY, in each of the forms that devices have been seen to send."""
    for key in (samples.KEY, house.KEY):
        certificate = samples.certificate(key)
        for attributes in (True, False):
            for indefinite in (True, False):
                for digest in ("sha1", "sha256"):
                    form = signing.Form(digest, attributes, indefinite)
                    yield signing.detached(BODY, key=key, certificate=certificate, form=form)
    yield attached(BODY)


def attached(content: bytes) -> bytes:
    """Signed, with its content inside."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
    builder = builder.add_signer(samples.CERTIFICATE, samples.KEY, hashes.SHA256())
    return builder.sign(serialization.Encoding.DER, [OPTIONS.Binary])


def profiles() -> Iterator[bytes]:
    wifi = samples.profile(
        "example.wifi",
        {"PayloadType": "com.apple.wifi.managed", "SSID_STR": "house", "Password": SECRET},
        PayloadDisplayName="Wi-Fi",
    )
    yield from in_both_forms((wifi, samples.policy(), samples.enrollment()))
    yield attached(wifi)
    yield plistlib.dumps({"PayloadType": "Configuration", "EncryptedPayloadContent": b""})


# SCEP: a client of ours before the tests' authority.


@cache
def authority() -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    certificate = x509.load_pem_x509_certificate(settings.CA_CERTIFICATE)
    key = serialization.load_pem_private_key(settings.CA_PRIVATE_KEY, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return certificate, key


def nobody(*_: object) -> Response:
    raise OSError


def scep_clients() -> Iterator[scep_client.Client]:
    for cipher, digest in (
        ("aes256_cbc", "sha256"),
        ("tripledes_3key", "sha512"),
        ("des", "sha1"),
    ):
        yield scep_client.Client(nobody, "", cipher, digest)


def signing_requests() -> Iterator[bytes]:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Käfer")])
    for key in (samples.KEY, house.KEY):
        yield scep_client.request(key, name, challenge=SECRET)
        yield scep_client.request(key, name, challenge=None)


def scep_envelopes() -> Iterator[bytes]:
    for client in scep_clients():
        for asked in signing_requests():
            yield client.sealed(asked, authority()[0])


def scep_messages() -> Iterator[bytes]:
    for client in scep_clients():
        for sealed in scep_envelopes():
            yield scep_outside(sealed, client)


def scep_outside(sealed: bytes, client: scep_client.Client) -> bytes:
    return client.message_of(
        sealed, key=samples.KEY, certificate=samples.CERTIFICATE, transaction="t"
    )


# Certificates and keys.


def certificates() -> Iterator[bytes]:
    certificate, _ = authority()
    for one in (certificate, samples.CERTIFICATE, samples.certificate(house.KEY)):
        yield one.public_bytes(serialization.Encoding.DER)


def push_files() -> Iterator[bytes]:
    certificate, key = house.push_pair()
    yield certificate
    yield key
    yield certificate + key
    loaded = x509.load_pem_x509_certificate(certificate)
    yield loaded.public_bytes(serialization.Encoding.DER)
    for lock in (
        serialization.NoEncryption(),
        serialization.BestAvailableEncryption(SECRET.encode()),
    ):
        yield pkcs12.serialize_key_and_certificates(b"push", house.KEY, loaded, None, lock)


# What people sign.

ID, DIGEST_OF_ASK, PULSE = "0" * 32, "0" * 64, "0" * 48
EVERY = {"by": "helpdesk", "charter": 1, "pulse": PULSE, "request": ID, "v": 1}
DEVICE = {
    "model": "iPhone15,4",
    "name": "Käfer",
    "possession": {"how": "code", "code": "123456"},
    "serial": "C39",
    "token": ID,
    "udid": "00008110",
    "user": "user",
}
PASSKEY = Passkey()
KEY = charter.written_key(PASSKEY.pinned())


def people_say() -> Iterator[bytes]:
    ask = {**EVERY, "kind": "ask", "until": 2**31, "words": "Forgot it."}
    yield statements.write({**ask, "act": "clear", "reason": "forgotten", "devices": [DEVICE]})
    for change in changes():
        yield statements.write({**ask, "act": "charter", "change": change})
    fact = {"lost": 0, "os": "26.1", "seen": 1, "token_at": 1, "udid": "u", "user": ""}
    answer = {**EVERY, "ask": DIGEST_OF_ASK}
    yield statements.write({**answer, "kind": "yes", "facts": [fact], "until": 2**31})
    yield statements.write({**answer, "kind": "no", "words": "No."})
    yield statements.write({**answer, "kind": "witness", "devices": ["C39"]})


def changes() -> Iterator[dict[str, Any]]:
    yield {"what": "pin", "person": "approver", "roles": ["yes"], "key": KEY}
    yield {"what": "revoke", "person": "helpdesk", "fingerprint": KEY["fingerprint"]}
    yield {"what": "recover", "person": "helpdesk", "key": KEY}
    yield {
        "what": "person",
        "person": "helpdesk",
        "roles": ["ask", "yes"],
        "lists": ["all"],
        "aliases": ["desk"],
        "mail": "",
    }
    rule = charter.written_rule(Rule(approvers=2, hours=(8, 18)))
    yield {"what": "rule", "of": "default", "rule": rule}
    yield {"what": "rule", "of": "leaver", "rule": rule}
    yield {"what": "list", "name": "board", "serials": ["C39"], "rule": rule}
    yield {"what": "unlist", "name": "board"}


@cache
def a_charter() -> Charter:
    return Charter(
        1,
        (Person("helpdesk", frozenset({"ask"}), (PASSKEY.pinned(),), mail="helpdesk@example"),),
        reasons=(("leaver", Rule(approvers=2)),),
        lists=(("board", List(frozenset({"C39"}), Rule(hold=60))),),
    )


def charters() -> Iterator[bytes]:
    yield a_charter().written()
    yield from (statements.encode(change) for change in changes())


def passkeys_say() -> Iterator[bytes]:
    """Each part by itself, as it stands in JSON on its way."""
    signed = PASSKEY.sign(BODY).assertion
    made = PASSKEY.register(statements.encode({"by": "helpdesk", "pulse": PULSE}))
    yield json.dumps(dict(signed)).encode()
    yield json.dumps(made).encode()
    yield PASSKEY.credential


def arguments() -> Iterator[bytes]:
    yield json.dumps({"Settings": [{"Item": "DeviceName", "DeviceName": "a"}]}).encode()
    yield plistlib.dumps({"Pin": SECRET, "When": [1, 2.5, True, b"x"]})
