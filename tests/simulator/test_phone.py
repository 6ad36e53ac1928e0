"""The simulated phone against the smallest server: it speaks and answers as Apple's devices do."""

import base64
import plistlib
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

from tests.simulator import signing
from tests.simulator.phone import Done, EnrollmentFailed, NotAccepted, Phone
from tests.simulator.profile import ProfileRefused
from tests.simulator.requirements import Demands
from tests.simulator.samples import (
    CERTIFICATE,
    CHECK_IN,
    CONNECT,
    KEY,
    certificate,
    enrollment,
    policy,
)

NOW = 1_800_000_000.0


class Server:
    """Remembers what it was sent, and hands out the commands of a list."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, Mapping[str, str], bytes]] = []
        self.commands: list[bytes] = []
        self.statuses: list[int] = []  # the next answers' statuses, then 200

    def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        self.requests.append((method, url, headers, body))
        self.messages.append(plistlib.loads(body))
        if self.statuses and (status := self.statuses.pop(0)) != 200:
            return status, {}, b""
        if url == CONNECT and self.commands:
            return 200, {}, self.commands.pop(0)
        return 200, {}, b""

    def will_say(self, request_type: str, **keys: Any) -> None:
        self.commands.append(
            plistlib.dumps(
                {
                    "CommandUUID": str(uuid.uuid4()),
                    "Command": {"RequestType": request_type, **keys},
                }
            )
        )


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def enrolled(server: Server, kind: str = "iphone", rights: int = 8191, **options: Any) -> Phone:
    phone = Phone(kind, transport=server, seed=1, **options)
    phone.install_enrollment_profile(enrollment(rights))
    phone.enroll()
    server.requests.clear()
    server.messages.clear()
    return phone


def told(phone: Phone, server: Server, request_type: str, **keys: Any) -> Done:
    server.will_say(request_type, **keys)
    (done,) = phone.connect()
    return done


def security(phone: Phone, server: Server) -> tuple[bool | None, bool | None, bool | None]:
    info = told(phone, server, "SecurityInfo").result["SecurityInfo"]
    return (
        info.get("PasscodePresent"),
        info.get("PasscodeCompliant"),
        info.get("PasscodeCompliantWithProfiles"),
    )


# The signature


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("attributes", [True, False])
@pytest.mark.parametrize("indefinite_lengths", [True, False])
@pytest.mark.parametrize("key", [KEY, ec.generate_private_key(ec.SECP256R1())])
def test_openssl_accepts_every_form_of_signature(
    tmp_path: Path,
    key: signing.PrivateKey,
    digest: Literal["sha1", "sha256", "sha512"],
    attributes: bool,
    indefinite_lengths: bool,
) -> None:
    body = plistlib.dumps({"Status": "Idle"})
    form = signing.Form(digest, attributes, indefinite_lengths)
    signature = signing.detached(body, key=key, certificate=certificate(key), form=form)
    (tmp_path / "body").write_bytes(body)
    (tmp_path / "signature").write_bytes(signature)
    verify = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-noverify"]
    verify += ["-in", "signature", "-content", "body", "-out", "content"]
    subprocess.run(verify, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "body").write_bytes(body + b" ")
    changed = subprocess.run(verify, cwd=tmp_path, check=False, capture_output=True)
    assert changed.returncode != 0


def test_each_request_is_signed_over_its_exact_body(server: Server) -> None:
    phone = enrolled(server)
    phone.connect()
    ((_, _, headers, body),) = server.requests
    signed = cms.ContentInfo.load(base64.b64decode(headers["Mdm-Signature"]), strict=True)
    (signer,) = signed["content"]["signer_infos"]
    attributes = {one["type"].native: one["values"][0].native for one in signer["signed_attrs"]}
    digest = hashes.Hash(hashes.SHA256())
    digest.update(body)
    assert attributes["message_digest"] == digest.finalize()
    KEY.public_key().verify(
        signer["signature"].native,
        signer["signed_attrs"].untag().dump(force=True),
        padding.PKCS1v15(),
        hashes.SHA256(),
    )
    (sent,) = signed["content"]["certificates"]
    assert sent.dump() == CERTIFICATE.public_bytes(serialization.Encoding.DER)


# Enrollment


def test_it_enrolls_with_authenticate_and_a_token_update(server: Server) -> None:
    phone = Phone("iphone", transport=server)
    phone.install_enrollment_profile(enrollment())
    phone.enroll()
    assert [one["MessageType"] for one in server.messages] == ["Authenticate", "TokenUpdate"]
    assert {one["UDID"] for one in server.messages} == {phone.udid}
    assert [(method, url) for method, url, _, _ in server.requests] == [("PUT", CHECK_IN)] * 2
    assert {headers["Content-Type"] for _, _, headers, _ in server.requests} == {
        "application/x-apple-aspen-mdm-checkin"
    }
    update = server.messages[1]
    assert update["Token"] == phone.push_token
    assert update["UnlockToken"] == phone.unlock_token
    assert update["UnlockToken"].startswith(b"DATA")
    assert 1100 < len(update["UnlockToken"]) < 1400


@pytest.mark.parametrize(
    ("kind", "rights", "options"),
    [
        ("mac", 8191, {}),
        ("iphone", 8191 - 4, {}),
        ("ipad", 8191, {"shared_ipad": True}),
        ("iphone", 8191, {"user_enrollment": True}),
    ],
)
def test_some_devices_give_no_unlock_token(
    server: Server, kind: str, rights: int, options: dict[str, Any]
) -> None:
    phone = Phone(kind, transport=server, **options)
    phone.install_enrollment_profile(enrollment(rights))
    phone.enroll()
    assert "UnlockToken" not in server.messages[1]


def test_a_user_enrollment_is_known_by_its_enrollment_id_only(server: Server) -> None:
    phone = enrolled(server, user_enrollment=True)
    phone.connect()
    assert server.messages == [{"EnrollmentID": phone.enrollment_id, "Status": "Idle"}]


@pytest.mark.parametrize(
    "bad",
    [
        b"nonsense",
        plistlib.dumps([1]),
        policy(),
        enrollment(rights=0),
        enrollment(rights=2),
        enrollment(opens_with="wrong"),
        enrollment(Topic="org.example"),
        enrollment(IdentityCertificateUUID="ELSEWHERE"),
    ],
)
def test_a_bad_enrollment_profile_is_refused(server: Server, bad: bytes) -> None:
    with pytest.raises(ProfileRefused):
        Phone(transport=server).install_enrollment_profile(bad)


@pytest.mark.parametrize("statuses", [[403], [200, 500]])
def test_enrollment_ends_where_the_server_refuses(server: Server, statuses: list[int]) -> None:
    phone = Phone(transport=server)
    phone.install_enrollment_profile(enrollment())
    server.statuses = statuses
    with pytest.raises(EnrollmentFailed):
        phone.enroll()
    assert not phone.enrolled
    assert phone.enrollment is None


def test_a_401_unenrolls_and_a_403_does_not(server: Server) -> None:
    phone = enrolled(server)
    server.statuses = [403]
    phone.connect()
    assert phone.enrolled
    server.statuses = [401]
    phone.connect()
    assert not phone.enrolled
    assert not phone.profiles


def test_keys_of_a_check_in_can_be_changed_and_left_out(server: Server) -> None:
    phone = enrolled(server)
    phone.token_update(UnlockToken=None, PushMagic="another")
    phone.token_update(UserID="U1", Token=b"user")
    assert "UnlockToken" not in server.messages[0]
    assert server.messages[0]["PushMagic"] == "another"
    assert "UnlockToken" not in server.messages[1]
    assert server.messages[1]["Token"] == b"user"


# Commands


def test_it_takes_commands_until_the_answer_is_empty(server: Server) -> None:
    phone = enrolled(server)
    server.will_say("ProfileList")
    server.will_say("DeviceInformation", Queries=["UDID", "IsSupervised", "PhoneNumber"])
    done = phone.connect()
    assert [(one.request_type, one.status) for one in done] == [
        ("ProfileList", "Acknowledged"),
        ("DeviceInformation", "Acknowledged"),
    ]
    assert [one["Status"] for one in server.messages] == ["Idle", "Acknowledged", "Acknowledged"]
    assert server.messages[2]["QueryResponses"] == {"UDID": phone.udid, "IsSupervised": True}
    assert phone.unsent is None


def test_a_result_is_kept_until_the_server_took_it(server: Server) -> None:
    phone = enrolled(server)
    server.will_say("ProfileList")
    server.statuses = [200, 500]
    phone.connect()
    assert phone.unsent is not None
    assert phone.wants_to_connect
    phone.connect()
    assert [one["Status"] for one in server.messages] == ["Idle", "Acknowledged", "Acknowledged"]
    assert server.messages[1] == server.messages[2]
    assert phone.unsent is None


def test_an_unknown_command_is_an_error_and_nonsense_a_format_error(server: Server) -> None:
    phone = enrolled(server)
    assert told(phone, server, "MakeCoffee").error_codes == [12021]
    server.commands.append(b"nonsense")
    assert phone.connect()[0].status == "CommandFormatError"
    assert told(phone, server, "InstallProfile", Payload="text").status == "CommandFormatError"
    assert told(phone, server, "RemoveProfile", Identifier="nowhere").error_codes == [12075]


def test_a_busy_phone_says_not_now_and_comes_back_by_itself(server: Server) -> None:
    phone = enrolled(server)
    phone.become_busy()
    assert told(phone, server, "SecurityInfo").status == "NotNow"
    assert told(phone, server, "InstallProfile", Payload=policy()).status == "NotNow"
    assert not phone.wants_to_connect
    phone.become_free()
    assert phone.wants_to_connect
    phone.become_busy()
    assert told(phone, server, "DeviceInformation", Queries=["UDID"]).status == "Acknowledged"
    phone.become_free()
    assert not phone.wants_to_connect  # another status followed


def test_without_a_right_a_command_is_not_authorized(server: Server) -> None:
    phone = enrolled(server, rights=8191 - 1024)
    assert told(phone, server, "SecurityInfo").error_codes == [12007]


# Passcodes


def test_flags_without_a_policy_are_true_even_without_a_passcode(server: Server) -> None:
    assert security(enrolled(server), server) == (False, True, True)


def test_a_stricter_policy_starts_the_hour_and_then_blocks(server: Server, clock: Clock) -> None:
    phone = enrolled(server, passcode="1234", clock=clock)
    assert phone.screen() == "Home screen."
    assert told(phone, server, "InstallProfile", Payload=policy(minLength=6)).status == (
        "Acknowledged"
    )
    assert phone.installed == ["example.passcode"]
    assert security(phone, server) == (True, False, False)
    assert "within 60 minutes" in phone.screen()
    clock.now += 3540
    assert "within 60 seconds" in phone.screen()
    clock.now += 60
    assert phone.blocked
    assert phone.screen().startswith("Blocked")
    with pytest.raises(NotAccepted, match="at least 6"):
        phone.user_sets_passcode("12345")
    phone.user_sets_passcode("837465")
    assert security(phone, server) == (True, True, True)
    assert phone.screen() == "Home screen."


def test_a_second_tightening_does_not_extend_the_hour(server: Server, clock: Clock) -> None:
    phone = enrolled(server, passcode="1234", clock=clock)
    told(phone, server, "InstallProfile", Payload=policy(minLength=6))
    clock.now += 1800
    told(phone, server, "InstallProfile", Payload=policy(minLength=8))
    assert phone.seconds_left == 1800


def test_a_mail_account_can_be_stricter_than_the_profiles(server: Server) -> None:
    phone = enrolled(server, passcode="837465")
    told(phone, server, "InstallProfile", Payload=policy(minLength=6))
    phone.exchange_policy = {"minLength": 10}
    assert security(phone, server) == (True, False, True)


def test_a_mac_reports_no_passcode_flags_and_cannot_be_cleared(server: Server) -> None:
    mac = enrolled(server, "mac", passcode="short")
    told(mac, server, "InstallProfile", Payload=policy(minLength=10))
    assert security(mac, server) == (None, None, None)
    assert mac.seconds_left is None
    assert told(mac, server, "ClearPasscode", UnlockToken=b"x").error_codes == [12021]


def test_the_strictest_of_several_policies_counts(server: Server) -> None:
    phone = enrolled(server, passcode="837465")
    told(phone, server, "InstallProfile", Payload=policy("one", minLength=4, maxInactivity=0))
    told(phone, server, "InstallProfile", Payload=policy("two", minLength=8, maxInactivity=5))
    assert not phone.compliant
    values = told(phone, server, "Restrictions").result["GlobalRestrictions"]["restrictedValue"]
    assert values == {"minLength": {"value": 8}, "maxInactivity": {"value": 5}}
    told(phone, server, "RemoveProfile", Identifier="two")
    assert phone.compliant


@pytest.mark.parametrize(
    ("demands", "passcode", "good"),
    [
        ({}, None, False),
        ({"forcePIN": False}, None, False),
        ({}, "1", True),
        ({"minLength": 6}, "83746", False),
        ({"minLength": 6}, "837465", True),
        ({"allowSimple": False}, "1234", False),
        ({"allowSimple": False}, "9876", False),
        ({"allowSimple": False}, "8111", False),
        ({"allowSimple": False}, "8274", True),
        ({"requireAlphanumeric": True}, "8274", False),
        ({"requireAlphanumeric": True}, "letters", False),
        ({"requireAlphanumeric": True}, "letters8", True),
        ({"minComplexChars": 2}, "letters-8", False),
        ({"minComplexChars": 2}, "let-ters-8", True),
        ({"allowSimple": False, "requireAlphanumeric": True}, "correct horse 7", True),
    ],
)
def test_what_a_policy_demands(demands: dict[str, Any], passcode: str | None, good: bool) -> None:
    assert (not Demands.of([demands]).faults(passcode)) is good


def test_a_used_passcode_does_not_come_back(server: Server) -> None:
    phone = enrolled(server, passcode="837465")
    told(phone, server, "InstallProfile", Payload=policy(pinHistory=2))
    phone.user_sets_passcode("927364")
    with pytest.raises(NotAccepted, match="used before"):
        phone.user_sets_passcode("837465")


# Clearing


def test_only_its_own_token_clears_it(server: Server, clock: Clock) -> None:
    phone = enrolled(server, passcode="837465", clock=clock)
    other = Phone(transport=server, seed=2)
    told(phone, server, "InstallProfile", Payload=policy(minLength=6))
    for wrong in (other.unlock_token, base64.b64encode(phone.unlock_token), b""):
        assert told(phone, server, "ClearPasscode", UnlockToken=wrong).error_codes == [12018, 5013]
    text = base64.b64encode(phone.unlock_token).decode()
    assert told(phone, server, "ClearPasscode", UnlockToken=text).status == "CommandFormatError"
    assert phone.passcode == "837465"
    assert told(phone, server, "ClearPasscode", UnlockToken=phone.unlock_token).status == (
        "Acknowledged"
    )
    assert phone.passcode is None
    assert security(phone, server) == (False, False, False)
    assert "set a passcode within 60 minutes" in phone.screen()


def test_a_forgotten_passcode_is_only_cleared(server: Server) -> None:
    phone = enrolled(server, passcode="837465")
    phone.user_forgets_passcode()
    with pytest.raises(NotAccepted):
        phone.unlock("837465")
    assert "forgotten" in phone.screen()
    assert told(phone, server, "SecurityInfo").status == "NotNow"
    told(phone, server, "ClearPasscode", UnlockToken=phone.unlock_token)
    phone.user_sets_passcode("927364")
    assert phone.screen() == "Home screen."


def test_in_lost_mode_nothing_is_cleared(server: Server) -> None:
    phone = enrolled(server, passcode="837465")
    assert told(phone, server, "DeviceLocation").error_codes == [12067]
    told(phone, server, "EnableLostMode", Message="Please call")
    assert phone.screen() == "Lost iPhone. Please call"
    assert told(phone, server, "ClearPasscode", UnlockToken=phone.unlock_token).error_codes == [
        12078
    ]
    assert "Latitude" in told(phone, server, "DeviceLocation").result
    told(phone, server, "DisableLostMode")
    assert phone.lost_mode is None
    assert phone.passcode == "837465"


def test_lost_mode_needs_supervision(server: Server) -> None:
    phone = enrolled(server, supervised=False)
    assert told(phone, server, "EnableLostMode", Message="Please call").status == "Error"
    assert phone.lost_mode is None


def test_a_lock_shows_its_message(server: Server) -> None:
    phone = enrolled(server)
    assert told(phone, server, "DeviceLock").result["MessageResult"] == "NoPasscodeSet"
    phone.user_sets_passcode("837465")
    assert told(phone, server, "DeviceLock", Message="Code 123456").result["MessageResult"] == (
        "Success"
    )
    assert "Code 123456" in phone.screen()
    phone.unlock("837465")
    assert phone.lock_message is None


# Coming and going


def test_a_restarted_phone_has_no_network_until_it_is_unlocked(server: Server) -> None:
    phone = enrolled(server, passcode="837465")
    assert told(phone, server, "RestartDevice").status == "Acknowledged"
    assert not phone.reachable
    server.messages.clear()
    assert phone.connect() == []
    assert server.messages == []
    with pytest.raises(NotAccepted):
        phone.unlock("1111")
    phone.unlock("837465")
    assert phone.reachable


def test_a_push_with_another_magic_is_not_heard(server: Server) -> None:
    phone = enrolled(server)
    assert phone.hears_push(phone.push_magic)
    assert not phone.hears_push("another")
    phone.lose_network()
    assert not phone.hears_push(phone.push_magic)


def test_removing_the_profile_checks_out_and_takes_all_along(server: Server) -> None:
    phone = enrolled(server)
    told(phone, server, "InstallProfile", Payload=policy())
    server.messages.clear()
    phone.user_removes_profile()
    assert [one["MessageType"] for one in server.messages] == ["CheckOut"]
    assert (phone.enrolled, phone.profiles) == (False, {})


def test_the_enrollment_profile_again_makes_it_check_in_anew(server: Server) -> None:
    phone = enrolled(server)
    before = phone.unlock_token
    told(phone, server, "InstallProfile", Payload=enrollment())
    assert [one.get("MessageType") for one in server.messages] == [
        None,
        None,
        "Authenticate",
        "TokenUpdate",
    ]
    assert server.messages[3]["UnlockToken"] == phone.unlock_token != before
    assert told(phone, server, "ClearPasscode", UnlockToken=before).status == "Error"


def test_the_enrollment_may_not_move_or_take_more_rights(server: Server) -> None:
    phone = enrolled(server, rights=1559)
    elsewhere = enrollment(1559, ServerURL="https://elsewhere.example/")
    assert told(phone, server, "InstallProfile", Payload=elsewhere).error_codes == [12009]
    assert told(phone, server, "InstallProfile", Payload=enrollment()).error_codes == [12012]


def test_an_erased_device_says_so_once_and_is_gone(server: Server) -> None:
    phone = enrolled(server, passcode="837465")
    server.will_say("EraseDevice")
    server.statuses = [200, 500]
    phone.connect()
    assert phone.erased
    assert not phone.enrolled
    assert phone.passcode is None
    assert phone.screen().startswith("Hello")


def test_what_a_phone_is_survives_a_second_start(server: Server) -> None:
    phone = enrolled(server, passcode="837465", name="Phone 1")
    told(phone, server, "InstallProfile", Payload=policy())
    again = Phone.from_state(phone.to_state(), transport=server)
    assert again.to_state() == phone.to_state()
    assert told(again, server, "ClearPasscode", UnlockToken=phone.unlock_token).status == (
        "Acknowledged"
    )
