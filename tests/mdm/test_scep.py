"""SCEP: a device makes its own key and has it signed once, by its challenge or by its old key."""

import base64
import os
import plistlib
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from django.conf import settings as here
from django.utils.encoding import force_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from devices import identities
from devices.models import AuditEntry, Command, Device, EnrollmentLink, IdentityRenewal
from devices.models.enrollment import Identity
from devices.rules.channels import Platform
from mdm.desk import alarms
from mdm.enrollment import authority, links
from mdm.enrollment.authority import make_authority
from mdm.wire import scep as wire
from passcodes.models import EscrowedToken
from tests.house import House, load_push_certificate
from tests.own_database import own_database
from tests.simulator import profile as profiles
from tests.simulator import scep
from tests.simulator.phone import CONNECT, Phone
from tests.simulator.scep import RENEWAL_REQ, Client, Refused
from tests.simulator.signing import PrivateKey
from tests.simulator.transport import HttpTransport

__all__ = ["own_database"]

URL = "http://localhost:8001/scep"
KEY = rsa.generate_private_key(65537, 2048)
OTHER_KEY = rsa.generate_private_key(65537, 2048)
NAME = scep.subject([[["CN", "till 7"]]])
OWN = scep.own_certificate(KEY, NAME)
BAD_ALGORITHM, BAD_MESSAGE, BAD_REQUEST = "0", "1", "2"


def offered(house: House, **how: Any) -> dict[str, Any]:
    """The SCEP payload's content behind a new link."""
    address = house.link(house.phone(), identity_kind=Identity.SCEP, **how)
    status, _, body = house.door("GET", address, {}, b"")
    assert status == 200, body
    identity, _mdm = plistlib.loads(body)["PayloadContent"]
    content: dict[str, Any] = identity["PayloadContent"]
    return content


def client(house: House, **how: Any) -> Client:
    return Client(house.door, URL, **how)


def ask(speaker: Client, challenge: str | None, key: PrivateKey = KEY) -> x509.Certificate:
    asked = scep.request(key, NAME, challenge=challenge)
    return speaker.exchange(asked, key=KEY, certificate=OWN)


def refused(fail_info: str, words: str, act: Callable[[], object]) -> None:
    """It is refused, it is in the audit, and nothing was issued."""
    issued = AuditEntry.objects.filter(verb="identity.issued").count()
    with pytest.raises(Refused, match=words) as caught:
        act()
    assert caught.value.fail_info == fail_info
    entry = AuditEntry.objects.order_by("pk").last()
    assert entry
    assert entry.verb == "identity.refused"
    assert AuditEntry.objects.filter(verb="identity.issued").count() == issued


def digest(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def by_scep(house: House, **how: Any) -> Phone:
    phone = house.phone(**how)
    house.give_profile(phone, identity_kind=Identity.SCEP)
    phone.enroll()
    phone.connect()
    return phone


# What the server says of itself.


def test_it_says_what_it_can(house: House, settings: Settings) -> None:
    new = {"AES", "DES3", "POSTPKIOperation", "Renewal", "SCEPStandard", "SHA-256", "SHA-512"}

    assert client(house).capabilities() == new

    settings.SCEP_ALLOWS_OLD_CRYPTO = True
    assert client(house).capabilities() == new | {"SHA-1"}


def test_it_shows_the_authority(house: House) -> None:
    response = client(house).ask("GetCACert")

    assert response.headers["content-type"] == "application/x-x509-ca-cert"
    assert client(house).authority() == authority.ours().certificate


def test_the_profile_tells_a_device_all_it_needs(house: House) -> None:
    content = offered(house)

    assert content["URL"] == URL
    assert content["Keysize"] == 2048
    assert content["Key Type"] == "RSA"
    assert content["Key Usage"] == 5
    fingerprint = authority.ours().certificate.fingerprint(hashes.SHA1())  # noqa: S303 - Apple's
    assert content["CAFingerprint"] == fingerprint
    assert content["Subject"][0][0][0] == "CN"
    assert len(content["Challenge"]) == 48


def test_the_challenge_is_kept_nowhere(house: House) -> None:
    challenge = offered(house)["Challenge"]
    ask(client(house), challenge)

    assert challenge not in str(list(EnrollmentLink.objects.values()))
    assert challenge not in str(list(AuditEntry.objects.values()))


# Getting in.


def test_a_phone_enrolls_with_a_key_of_its_own_and_its_token_is_sealed(house: House) -> None:
    phone = by_scep(house)

    device = house.device(phone)
    assert device.is_enrolled
    assert device.identity == digest(phone.certificate)
    link = EnrollmentLink.objects.get()
    assert link.identity == device.identity
    assert link.challenge_used_at
    token = EscrowedToken.objects.get(device=device)
    assert token.identity == device.identity
    assert token.current
    audited = house.audit()
    assert audited.index("enrollment.link_used") < audited.index("identity.issued")
    assert audited.index("identity.issued") < audited.index("device.authenticated")


def test_a_certificate_is_the_authoritys_and_lasts_a_year(house: House) -> None:
    certificate = ask(client(house), offered(house)["Challenge"])

    assert authority.our_issuer().verifies(certificate, house.clock.now())
    assert certificate.public_key() == KEY.public_key()
    assert certificate.subject == NAME
    lasts = certificate.not_valid_after_utc - house.clock.now()
    assert timedelta(days=364) < lasts <= timedelta(days=365)


def test_nobody_gets_the_authoritys_name(house: House) -> None:
    ours = authority.ours().certificate.subject
    asked = scep.request(KEY, ours, challenge=offered(house)["Challenge"])

    certificate = client(house).exchange(asked, key=KEY, certificate=OWN)

    assert certificate.subject != ours


@pytest.mark.filterwarnings("ignore:Attribute's length")  # the library's, of the request's name
@pytest.mark.parametrize(("asked", "given"), [("ä" * 64, "ä" * 32), ("漢" * 40, "漢" * 21)])
def test_a_name_of_many_bytes_is_cut_and_not_refused(house: House, asked: str, given: str) -> None:
    """X.520 counts characters, the library that writes the certificate bytes."""
    kind = x509.NameOID.COMMON_NAME
    name = x509.Name([x509.NameAttribute(kind, asked, _validate=False)])
    wanted = scep.request(KEY, name, challenge=offered(house)["Challenge"])

    certificate = client(house).exchange(wanted, key=KEY, certificate=OWN)

    assert [one.value for one in certificate.subject] == [given]


@pytest.mark.parametrize(
    "how", [{}, {"by_get": True}, {"repeats_in_query": True}], ids=["POST", "GET", "both"]
)
def test_a_message_may_come_by_post_by_get_and_by_both(house: House, how: dict[str, Any]) -> None:
    assert ask(client(house, **how), offered(house)["Challenge"])


def test_a_plus_that_was_left_unescaped_is_read(house: House) -> None:
    speaker = client(house, by_get=True)
    plain = replace(
        speaker,
        transport=lambda method, url, headers, body: house.door(
            method, url.replace("%2B", "+"), headers, body
        ),
    )

    assert ask(plain, offered(house)["Challenge"])


@pytest.mark.parametrize("cipher", ["aes128_cbc", "aes256_cbc", "tripledes_3key"])
@pytest.mark.parametrize("digest_name", ["sha256", "sha512"])
def test_what_is_in_use_today_is_understood(house: House, cipher: str, digest_name: str) -> None:
    speaker = client(house, cipher=cipher, digest=digest_name)

    assert ask(speaker, offered(house)["Challenge"])


@pytest.mark.parametrize("how", [{"cipher": "des"}, {"digest": "sha1"}], ids=["DES", "SHA-1"])
def test_old_crypto_needs_a_setting(house: House, settings: Settings, how: dict[str, str]) -> None:
    challenge = offered(house)["Challenge"]
    speaker = client(house, **how)

    refused(BAD_ALGORITHM, "is not accepted", lambda: ask(speaker, challenge))

    settings.SCEP_ALLOWS_OLD_CRYPTO = True
    assert ask(speaker, challenge)  # and a refusal has used nothing up


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_key_on_a_curve_is_signed_where_an_rsa_key_asks_for_it(
    house: House, curve: ec.EllipticCurve
) -> None:
    key = ec.generate_private_key(curve)

    certificate = ask(client(house), offered(house)["Challenge"], key)

    assert certificate.public_key() == key.public_key()
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_encipherment


def test_who_can_only_sign_is_told_why_there_is_no_answer_to_seal(house: House) -> None:
    challenge = offered(house)["Challenge"]
    key = ec.generate_private_key(ec.SECP256R1())
    asked = scep.request(key, NAME, challenge=challenge)
    own = scep.own_certificate(key, NAME)

    refused(
        BAD_ALGORITHM,
        "Sign with an RSA key",
        lambda: client(house).exchange(asked, key=key, certificate=own),
    )

    assert ask(client(house), challenge)


def test_a_key_that_is_too_short_is_refused(house: House) -> None:
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    challenge = offered(house)["Challenge"]

    refused(BAD_ALGORITHM, "2048", lambda: ask(client(house), challenge, short))

    assert ask(client(house), challenge)


# The challenge.


def test_a_replayed_message_is_refused(house: House) -> None:
    speaker = client(house)
    ca = speaker.authority()
    asked = scep.request(KEY, NAME, challenge=offered(house)["Challenge"])
    message = speaker.message(asked, key=KEY, certificate=OWN, authority=ca)
    first = speaker.read(speaker.post(message).body, to=message, key=KEY, authority=ca)
    assert digest(first) == EnrollmentLink.objects.get().identity

    refused(
        BAD_REQUEST,
        "has been used",
        lambda: speaker.read(speaker.post(message).body, to=message, key=KEY, authority=ca),
    )

    assert digest(first) == EnrollmentLink.objects.get().identity


def test_a_challenge_serves_one_key_only(house: House) -> None:
    challenge = offered(house)["Challenge"]
    ask(client(house), challenge)

    refused(BAD_REQUEST, "has been used", lambda: ask(client(house), challenge, OTHER_KEY))


@pytest.mark.parametrize("challenge", [None, "", "invented", "ü" * 40, "0" * 48])
def test_without_its_challenge_nobody_gets_anything(house: House, challenge: str | None) -> None:
    offered(house)

    refused(BAD_REQUEST, "challenge", lambda: ask(client(house), challenge))

    assert EnrollmentLink.objects.get().challenge_used_at is None


def test_a_challenge_runs_out(house: House) -> None:
    challenge = offered(house)["Challenge"]
    house.clock.forward(hours=1)

    refused(BAD_REQUEST, "has expired", lambda: ask(client(house), challenge))


def test_a_certificate_without_a_link_enrolls_nobody(house: House) -> None:
    phone = by_scep(house)
    stranger = house.phone()
    stranger.enrollment = replace(phone._enrollment)

    assert stranger.authenticate().status == 403


# What cannot be opened, and what is none of SCEP's.


def broken_signature(asked: bytes) -> bytes:
    return asked[:-1] + bytes([asked[-1] ^ 1])


def test_whatever_cannot_be_opened_fails_alike(house: House) -> None:
    speaker = client(house)
    ca = speaker.authority()
    asked = scep.request(KEY, NAME, challenge=offered(house)["Challenge"])
    stranger = x509.load_pem_x509_certificate(make_authority("Somebody else")[0])

    def message(content: bytes, to: x509.Certificate = ca) -> bytes:
        return speaker.message(content, key=KEY, certificate=OWN, authority=to)

    def changed(change: Callable[[Any], None]) -> bytes:
        """A request that is signed as it stands, with something wrong under the signature."""
        sealed = cms.ContentInfo.load(speaker.sealed(asked, ca))
        change(sealed["content"])
        return speaker.message_of(sealed.dump(force=True), key=KEY, certificate=OWN)

    def of_key(content: Any) -> None:
        content["recipient_infos"][0].chosen["encrypted_key"] = secrets.token_bytes(256)

    def short_key(content: Any) -> None:
        content["recipient_infos"][0].chosen["encrypted_key"] = b"\x01"

    def of_padding(content: Any) -> None:
        info = content["encrypted_content_info"]
        info["encrypted_content"] = info["encrypted_content"].native[:-16]

    def of_block(content: Any) -> None:
        info = content["encrypted_content_info"]
        info["encrypted_content"] = info["encrypted_content"].native[:-1]

    def of_iv(content: Any) -> None:
        algorithm = content["encrypted_content_info"]["content_encryption_algorithm"]
        algorithm["parameters"] = cms.OctetString(b"short")

    wrong = {
        "not signed by its key": speaker.message(
            asked, key=OTHER_KEY, certificate=OWN, authority=ca
        ),
        "sealed to somebody else": message(asked, stranger),
        "nothing in it": message(b""),
        "nonsense in it": message(b"nonsense"),
        "request cut off": message(asked[:-10]),
        "request not signed": message(broken_signature(asked)),
        "another key": changed(of_key),
        "a key too short": changed(short_key),
        "padding cut off": changed(of_padding),
        "half a block": changed(of_block),
        "another iv": changed(of_iv),
        "not sealed": speaker.message_of(asked, key=KEY, certificate=OWN),
    }
    answers = set()
    for name, one in wrong.items():
        with pytest.raises(Refused) as caught:
            speaker.read(speaker.post(one).body, to=one, key=KEY, authority=ca)
        answers.add((caught.value.fail_info, str(caught.value)))
        assert caught.value.fail_info == BAD_MESSAGE, name

    assert len(answers) == 1
    assert EnrollmentLink.objects.get().challenge_used_at is None


@pytest.mark.parametrize("kind", ["3", "20", "21", "22", "1", "x"])
def test_other_messages_are_refused_in_words(house: House, kind: str) -> None:
    asked = scep.request(KEY, NAME, challenge=offered(house)["Challenge"])

    refused(
        BAD_REQUEST,
        "Only requests",
        lambda: client(house).exchange(asked, key=KEY, certificate=OWN, kind=kind),
    )


@pytest.mark.parametrize(
    ("method", "query", "body", "status"),
    [
        ("GET", "", b"", 400),
        ("GET", "operation=GetNextCACert", b"", 400),
        ("POST", "operation=GetCACaps", b"", 405),
        ("PUT", "operation=PKIOperation", b"", 405),
        ("POST", "operation=PKIOperation", b"", 400),
        ("POST", "operation=PKIOperation", b"nonsense", 400),
        ("POST", "operation=PKIOperation", b"\x30\x80" * 1000, 400),
        ("POST", "operation=PKIOperation", b"0" * 70_000, 413),
        ("GET", "operation=PKIOperation", b"", 400),
        ("GET", "operation=PKIOperation&message=%C3%BC", b"", 400),
        ("GET", "operation=PKIOperation&message=AAAA", b"", 400),
    ],
)
def test_what_is_no_message_is_told_so(
    house: House, method: str, query: str, body: bytes, status: int
) -> None:
    assert house.door(method, f"{URL}?{query}", {}, body)[0] == status


AUTHORITY = authority.Authority.load(*make_authority("Fuzzed"))
FUZZED = Client(lambda *_: (500, {}, b""), URL)
WHOLE = scep.request(KEY, NAME, challenge="a challenge")
MESSAGE = FUZZED.message(WHOLE, key=KEY, certificate=OWN, authority=AUTHORITY.certificate)
SIGNATURE_CHECKED = settings(max_examples=150, deadline=None)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Some bytes changed, some taken out, some put in."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        until = at + draw(st.integers(0, 8))
        data[at:until] = draw(st.binary(max_size=8))
    return bytes(data)


def opens(message: bytes) -> wire.Request | None:
    """The request inside; None where it is refused in one of the two ways there are."""
    key = AUTHORITY.key
    assert isinstance(key, rsa.RSAPrivateKey)
    try:
        seen = wire.outside(message)
        return wire.opened(
            message, seen, key=key, certificate=AUTHORITY.certificate, old_crypto_allowed=True
        )
    except (wire.Malformed, wire.NotGranted):
        return None


def test_the_message_that_is_damaged_here_opens_when_it_is_whole() -> None:
    found = opens(MESSAGE)

    assert found
    assert found.challenge == "a challenge"


@SIGNATURE_CHECKED
@given(damaged(MESSAGE))
def test_a_damaged_message_never_opens_as_another(message: bytes) -> None:
    found = opens(message)

    signer = found and found.signer.public_key()
    assert found is None or (found.challenge, signer) == ("a challenge", KEY.public_key())


@SIGNATURE_CHECKED
@given(damaged(WHOLE))
def test_a_damaged_request_never_passes_for_the_whole_one(asked: bytes) -> None:
    message = FUZZED.message(asked, key=KEY, certificate=OWN, authority=AUTHORITY.certificate)

    found = opens(message)

    assert found is None or found.public_key == KEY.public_key()


@SIGNATURE_CHECKED
@given(st.binary(max_size=300))
def test_any_bytes_are_malformed(message: bytes) -> None:
    assert opens(message) is None


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.one_of(damaged(MESSAGE), st.binary(max_size=200)))
def test_the_door_answers_whatever_comes_and_issues_nothing(house: House, message: bytes) -> None:
    response = client(house).post(message)

    assert response.status in {200, 400}
    assert not AuditEntry.objects.filter(verb="identity.issued").exists()


# Renewal.


def renew_by_old_key(house: House, phone: Phone, key: PrivateKey = KEY) -> x509.Certificate:
    old = phone._enrollment
    asked = scep.request(key, NAME, challenge=None)
    return client(house).exchange(
        asked, key=old.key, certificate=old.certificate, kind=RENEWAL_REQ
    )


def test_an_identity_renews_itself_and_the_pin_moves_when_it_is_used(house: House) -> None:
    phone = house.enrolled_phone()
    old = phone._enrollment
    house.clock.forward(days=300)

    renewed = renew_by_old_key(house, phone)

    assert phone.token_update().ok  # the old one counts until the new one is used
    assert house.device(phone).identity == digest(old.certificate)
    phone.enrollment = replace(old, key=KEY, certificate=renewed)
    assert phone.idle().ok
    device = house.device(phone)
    assert device.identity == digest(renewed)
    assert device.identity_until == renewed.not_valid_after_utc
    assert device.is_enrolled
    phone.enrollment = old
    assert phone.token_update().status == 403
    assert phone.idle().status == 403
    assert "identity.renewed" in house.audit(phone)


def test_a_renewed_identity_is_of_the_same_device_only(house: House) -> None:
    phone, other = house.enrolled_phone(), house.enrolled_phone()
    renewed = renew_by_old_key(house, phone)
    phone.enrollment = replace(phone._enrollment, key=KEY, certificate=renewed)
    before = list(Device.objects.order_by("pk").values())

    assert phone.idle(UDID=other.udid).status == 403
    assert phone.authenticate(UDID=other.udid).status == 403
    assert phone.authenticate(UDID="00008130-NEW").status == 403
    assert phone.token_update(UDID=other.udid).status == 403

    assert list(Device.objects.order_by("pk").values()) == before
    assert phone.idle().ok


def test_of_two_renewals_the_one_that_is_used_counts(house: House) -> None:
    phone = house.enrolled_phone()
    old = phone._enrollment
    first, second = renew_by_old_key(house, phone), renew_by_old_key(house, phone, OTHER_KEY)
    phone.enrollment = replace(old, key=OTHER_KEY, certificate=second)
    assert phone.idle().ok

    phone.enrollment = replace(old, key=KEY, certificate=first)
    assert phone.idle().status == 403


def test_only_the_identity_that_its_device_uses_renews_itself(house: House) -> None:
    phone = house.phone()
    house.give_profile(phone)

    refused(BAD_REQUEST, "not the one its device uses", lambda: renew_by_old_key(house, phone))

    phone = house.enrolled_phone()
    former = phone._enrollment
    house.give_profile(phone)
    phone.enroll()
    phone.enrollment = former

    refused(BAD_REQUEST, "not the one its device uses", lambda: renew_by_old_key(house, phone))


def test_a_stranger_renews_nothing(house: House) -> None:
    asked = scep.request(KEY, NAME, challenge=None)

    refused(
        BAD_REQUEST,
        "Only a valid identity",
        lambda: client(house).exchange(asked, key=KEY, certificate=OWN, kind=RENEWAL_REQ),
    )


def test_an_identity_that_has_ended_does_not_renew_itself(house: House) -> None:
    phone = house.enrolled_phone()
    house.clock.forward(days=366)

    refused(BAD_REQUEST, "Only a valid identity", lambda: renew_by_old_key(house, phone))


def test_the_identity_of_a_device_that_has_left_does_not_renew_itself(house: House) -> None:
    phone = house.enrolled_phone()
    phone.check_out()

    refused(BAD_REQUEST, "has left", lambda: renew_by_old_key(house, phone))


def renewals_asked(phone: Phone) -> int:
    return Command.objects.filter(
        device__udid=phone.udid, request_type="InstallProfile", arguments=identities.RENEWAL
    ).count()


@pytest.mark.parametrize("kind", [Identity.SCEP, Identity.PKCS12])
def test_a_device_whose_identity_ends_soon_gets_its_profile_again(
    house: House, kind: Identity
) -> None:
    phone = house.phone()
    house.give_profile(phone, identity_kind=kind)
    phone.enroll()
    phone.connect()
    old = phone._enrollment
    house.clock.forward(days=334)
    identities.renew_due()
    assert renewals_asked(phone) == 0
    house.clock.forward(days=2)

    identities.renew_due()
    identities.renew_due()
    assert renewals_asked(phone) == 1  # it is asked once
    assert house.woken() == [phone]

    device = house.device(phone)
    assert device.identity == digest(phone.certificate)
    assert phone.certificate != old.certificate
    assert device.identity_until
    assert device.identity_until > house.clock.now() + timedelta(days=360)
    assert device.is_enrolled
    assert EscrowedToken.objects.get(device=device, current=True).identity == device.identity
    assert phone._enrollment.profile.identifier == old.profile.identifier
    assert identities.renew_due() == 0
    assert {"identity.renewal_asked", "identity.renewal_offered", "identity.renewed"} <= set(
        house.audit(phone)
    )
    phone.enrollment = old
    assert phone.idle().status == 403


def test_a_device_whose_identity_has_ended_renews_it_all_the_same(house: House) -> None:
    phone = house.enrolled_phone()
    house.clock.forward(days=370)

    identities.renew_due()
    phone.connect()  # the push certificate has ended as well, so it comes by itself

    device = house.device(phone)
    assert device.is_enrolled
    assert device.identity == digest(phone.certificate)
    assert device.identity_until
    assert device.identity_until > house.clock.now()


def test_the_queue_holds_no_challenge(house: House) -> None:
    phone = house.enrolled_phone()
    identities.renew([house.device(phone).pk])
    command = plistlib.loads(phone.idle().body)["Command"]
    identity = plistlib.loads(command["Payload"])["PayloadContent"][0]["PayloadContent"]

    assert set(command) == {"RequestType", "Payload"}
    assert identity["Challenge"] not in str(list(Command.objects.values()))
    assert identity["Challenge"] not in str(list(IdentityRenewal.objects.values()))


def test_a_challenge_of_a_renewal_is_worthless_once_another_is_used(house: House) -> None:
    phone = house.enrolled_phone()
    identities.renew([house.device(phone).pk])
    payload = plistlib.loads(phone.idle().body)["Command"]["Payload"]
    challenge = plistlib.loads(payload)["PayloadContent"][0]["PayloadContent"]["Challenge"]
    phone.connect()  # the profile comes again, with another challenge, and is installed

    assert digest(phone.certificate) == house.device(phone).identity
    refused(BAD_REQUEST, "earlier identity", lambda: ask(client(house), challenge))


def test_a_renewal_that_fails_leaves_the_old_identity(house: House) -> None:
    phone = house.enrolled_phone()
    old = phone._enrollment
    identities.renew([house.device(phone).pk])

    def without_scep(
        method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        return (503, {}, b"") if "/scep" in url else house.door(method, url, headers, body)

    phone.transport = without_scep
    done = phone.connect()

    assert [one.status for one in done if one.request_type == "InstallProfile"] == ["Error"]
    assert phone._enrollment == old
    assert phone.idle().ok


def test_identities_that_end_are_an_alarm_before_they_do(house: House) -> None:
    house.enrolled_phone()
    house.enrolled_phone()
    assert alarms.burning() == []

    house.clock.forward(days=336)

    words = [alarm.text for alarm in alarms.burning()]
    assert "The identities of 2 devices end within 30 days." in words


def test_an_authority_without_rsa_says_that_it_has_no_scep(
    house: House, settings: Settings
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = scep.own_certificate(key, NAME)
    settings.CA_CERTIFICATE = certificate.public_bytes(Encoding.PEM)
    settings.CA_PRIVATE_KEY = key.private_bytes(
        Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

    assert client(house).post(MESSAGE).status == 501
    status, _, words = house.door(
        "GET", house.link(house.phone(), identity_kind=Identity.SCEP), {}, b""
    )
    assert status == 410
    assert b"RSA" in words


# A client that is not ours, over real HTTP.


@pytest.fixture
def served(own_database: str, tmp_path: Path) -> Iterator[str]:
    """The device door as a process of its own; its address."""
    load_push_certificate()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://localhost:{port}"
    (tmp_path / "ca.pem").write_bytes(force_bytes(here.CA_CERTIFICATE))
    (tmp_path / "ca.key").write_bytes(force_bytes(here.CA_PRIVATE_KEY))
    keys = ("VAULT_PUBLIC_KEY", "VAULT_VERIFY_KEY", "DOOR_PRIVATE_KEY")
    environment = {
        "PATH": os.environ["PATH"],
        "SERVE": "devices",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "DATABASE_URL": own_database,
        "DOOR_URL": address,
        "SCEP_ALLOWS_OLD_CRYPTO": "1",
        "TRUSTED_PROXIES": "127.0.0.1,::1",
        "CA_CERTIFICATE_FILE": str(tmp_path / "ca.pem"),
        "CA_PRIVATE_KEY_FILE": str(tmp_path / "ca.key"),
        **{name: getattr(here, name) for name in keys},
    }
    command = ("-m", "granian", "--interface", "wsgi", "--port", str(port), "mdm.wsgi:application")
    with (tmp_path / "log").open("wb") as log:
        door = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            cwd=Path(__file__).resolve().parents[2],
            stdout=log,
            stderr=log,
        )
        try:
            _await(f"{address}/scep?operation=GetCACaps", door, tmp_path / "log")
            yield address
        finally:
            door.terminate()
            door.wait(timeout=20)


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"The door did not start: {log.read_text()}")


def written(certificate: x509.Certificate) -> str:
    """As a proxy writes it (RFC 9440)."""
    return f":{base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()}:"


def scepclient(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Debian's `scep`; it takes key and certificate from the folder, or makes them."""
    return subprocess.run(
        [
            "scepclient",
            *("-private-key", folder / "key.pem", "-certificate", folder / "certificate.pem"),
            *options,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
    )


def test_scepclient_gets_a_certificate_enrolls_and_renews(served: str, tmp_path: Path) -> None:
    folder = tmp_path / "client"
    folder.mkdir()
    http = HttpTransport()

    def read() -> tuple[PrivateKey, x509.Certificate]:
        key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        pem = (folder / "certificate.pem").read_bytes()
        return key, x509.load_pem_x509_certificate(pem)

    def by_scepclient(content: Mapping[str, Any]) -> profiles.Identity:
        url, challenge = content["URL"], content["Challenge"]
        wrong = scepclient(tmp_path, "-server-url", url, "-challenge", "invented", "-cn", "till")
        assert "badRequest" in wrong.stdout
        done = scepclient(folder, "-server-url", url, "-challenge", challenge, "-cn", "till")
        assert done.returncode == 0, done.stdout + done.stderr
        return read()

    _link, address = links.make(Platform.IOS, by=None)
    response = http("GET", f"{served}/enroll/{address.rpartition('/')[2]}", {}, b"")
    assert response.ok, response.body
    phone = Phone("iphone", transport=http, seed=1)
    phone.enrollment = profiles.enrollment(response.body, scep=by_scepclient)
    phone.enroll()
    phone.connect()

    device = Device.objects.get(udid=phone.udid)
    assert device.is_enrolled
    assert device.identity == digest(phone.certificate)
    assert EscrowedToken.objects.get(device=device).current

    done = scepclient(folder, "-server-url", f"{served}/scep", "-cn", "till")
    assert done.returncode == 0, done.stdout + done.stderr
    key, renewed = read()
    assert digest(renewed) == IdentityRenewal.objects.get(device=device).identity
    phone.enrollment = replace(phone._enrollment, key=key, certificate=renewed)
    assert phone.idle().ok
    device.refresh_from_db()
    assert device.identity == digest(renewed)

    phone.extra_headers["Client-Cert"] = written(renewed)
    idle = plistlib.dumps({"UDID": phone.udid, "Status": "Idle"})
    assert phone.put(f"{served}/mdm/connect", CONNECT, idle, signed=False).ok
    http.close()


def test_a_request_line_of_eight_kilobytes_passes(served: str) -> None:
    """Some clients repeat the whole message in the query of the POST's address."""
    http = HttpTransport()
    asked = scep.request(KEY, NAME, challenge="invented")
    speaker = Client(http, f"{served}/scep", repeats_in_query=True)

    with pytest.raises(Refused, match="challenge is unknown"):
        speaker.exchange(asked, key=KEY, certificate=OWN)

    query = f"operation=GetCACaps&padding={quote('x' * 8100)}"
    assert http("GET", f"{served}/scep?{query}", {}, b"").status == 200
    http.close()
