"""Bytes of a check-in become a typed message, or Malformed, which quotes nothing."""

import plistlib
import time
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.wire.messages import (
    Authenticate,
    CheckOut,
    DeclarativeManagement,
    GetBootstrapToken,
    GetToken,
    Malformed,
    SetBootstrapToken,
    TokenUpdate,
    Unsupported,
    UserAuthenticate,
    UserKeys,
    parse,
)
from tests import hostile

UDID = "00008110-001A2B3C4D5E6F70"
TOPIC = "com.apple.mgmt.External.0f0f0f0f-0000-4000-8000-000000000000"
PUSH_TOKEN = bytes(range(32))
MAGIC = "7B1D9B54-5F5A-4B6C-9F3B-PUSHMAGIC"
UNLOCK_TOKEN = b"DATA\x00\x01VERS-the-unlock-token\xff" * 40
ALL_F = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"
DEVICE: dict[str, Any] = {"UDID": UDID, "Topic": TOPIC}
USER: dict[str, Any] = {"UserID": "9A1B", "UserShortName": "user", "UserLongName": "A User"}
TOKEN_UPDATE: dict[str, Any] = {
    **DEVICE,
    "MessageType": "TokenUpdate",
    "Token": PUSH_TOKEN,
    "PushMagic": MAGIC,
    "UnlockToken": UNLOCK_TOKEN,
}
FORMS = [plistlib.FMT_XML, plistlib.FMT_BINARY]


def body(form: plistlib.PlistFormat = plistlib.FMT_XML, **keys: Any) -> bytes:
    return plistlib.dumps(
        {key: value for key, value in keys.items() if value is not None}, fmt=form
    )


def token_update(**keys: Any) -> TokenUpdate:
    message = parse(body(**{**TOKEN_UPDATE, **keys}))
    assert isinstance(message, TokenUpdate)
    return message


@pytest.mark.parametrize("form", FORMS)
def test_an_authenticate_says_who_wants_to_enroll(form: plistlib.PlistFormat) -> None:
    message = parse(
        body(
            form,
            **DEVICE,
            MessageType="Authenticate",
            SerialNumber="C39XK0AAAAAA",
            DeviceName="iPhone 12",
            Model="MTP03ZD",
            ModelName="iPhone",
            ProductName="iPhone15,4",
            OSVersion="26.1",
            BuildVersion="23B80",
            Challenge=b"undocumented",
        )
    )
    assert message == Authenticate(
        udid=UDID,
        is_user_enrollment=False,
        user=None,
        topic=TOPIC,
        serial="C39XK0AAAAAA",
        device_name="iPhone 12",
        model="MTP03ZD",
        model_name="iPhone",
        product_name="iPhone15,4",
        os_version="26.1",
        build="23B80",
    )


def test_an_authenticate_may_say_next_to_nothing() -> None:
    message = parse(body(**DEVICE, MessageType="Authenticate", DeviceName=""))
    assert isinstance(message, Authenticate)
    assert (message.serial, message.device_name, message.product_name) == (None, None, None)


def test_words_for_people_are_cut_and_not_refused() -> None:
    message = parse(body(**DEVICE, MessageType="Authenticate", DeviceName="n" * 1000))
    assert isinstance(message, Authenticate)
    assert message.device_name == "n" * 200


@pytest.mark.parametrize("form", FORMS)
def test_a_token_update_brings_its_tokens_byte_for_byte(form: plistlib.PlistFormat) -> None:
    message = parse(body(form, **TOKEN_UPDATE))
    assert isinstance(message, TokenUpdate)
    assert message.udid == UDID
    assert message.topic == TOPIC
    assert message.push_token == PUSH_TOKEN
    assert message.push_magic == MAGIC
    assert message.unlock_token is not None
    assert message.unlock_token.reveal() == UNLOCK_TOKEN
    assert not message.awaiting_configuration
    assert message.not_on_console is None


@pytest.mark.parametrize("token", [None, b""])
def test_an_empty_unlock_token_is_an_absent_one(token: bytes | None) -> None:
    assert token_update(UnlockToken=token).unlock_token is None


def test_a_user_brings_no_key_to_the_device() -> None:
    message = token_update(**USER)
    assert message.user == UserKeys("9A1B", "user", "A User")
    assert message.unlock_token is None


def test_users_of_a_shared_ipad_are_told_apart_by_their_short_names() -> None:
    names = {token_update(UserID=ALL_F, UserShortName=name).user for name in ("one", "two")}
    assert names == {UserKeys(ALL_F, "one"), UserKeys(ALL_F, "two")}


def test_the_flags_of_a_token_update_are_read() -> None:
    assert token_update(AwaitingConfiguration=True).awaiting_configuration
    assert token_update(NotOnConsole=True, **USER).not_on_console


def test_a_personal_device_is_known_by_its_enrollment() -> None:
    message = token_update(UDID=None, EnrollmentID="E-1", EnrollmentUserID="EU-1")
    assert message.udid == "E-1"
    assert message.is_user_enrollment
    assert message.user == UserKeys("EU-1")


def test_a_token_of_a_network_user_is_a_secret() -> None:
    user = token_update(**USER, AuthToken="the-auth-token").user
    assert user is not None
    assert user.auth_token is not None
    assert user.auth_token.reveal() == b"the-auth-token"
    assert "the-auth-token" not in repr(user)


def test_no_token_prints() -> None:
    shown = repr(token_update())
    assert MAGIC not in shown
    assert str(PUSH_TOKEN)[2:-1] not in shown
    assert "VERS" not in shown
    assert "Secret(…)" in shown


def test_a_check_out_says_who_leaves() -> None:
    message = parse(body(**DEVICE, MessageType="CheckOut"))
    assert message == CheckOut(udid=UDID, is_user_enrollment=False, user=None, topic=TOPIC)


def test_a_network_user_asks_first_and_answers_then() -> None:
    first = parse(body(UDID=UDID, UserID="9A1B", MessageType="UserAuthenticate"))
    digest = 'Digest username="user",response="0123"'
    second = parse(
        body(UDID=UDID, UserID="9A1B", MessageType="UserAuthenticate", DigestResponse=digest)
    )
    assert isinstance(first, UserAuthenticate)
    assert isinstance(second, UserAuthenticate)
    assert first.user == UserKeys("9A1B")
    assert first.digest_response is None
    assert second.digest_response == digest
    assert digest not in repr(second)


@pytest.mark.parametrize(("sent", "kept"), [(b"boot", b"boot"), (b"", None), (None, None)])
def test_a_bootstrap_token_is_kept_or_deleted(sent: bytes | None, kept: bytes | None) -> None:
    message = parse(body(**DEVICE, MessageType="SetBootstrapToken", BootstrapToken=sent))
    assert isinstance(message, SetBootstrapToken)
    assert (message.bootstrap_token and message.bootstrap_token.reveal()) == kept


def test_the_remaining_questions_are_read() -> None:
    boot = parse(body(UDID=UDID, MessageType="GetBootstrapToken", AwaitingConfiguration=True))
    token = parse(body(UDID=UDID, MessageType="GetToken", TokenServiceType="com.apple.maid"))
    declarative = parse(
        body(UDID=UDID, MessageType="DeclarativeManagement", Endpoint="status", Data=b"{}")
    )
    assert isinstance(boot, GetBootstrapToken)
    assert boot.awaiting_configuration
    assert isinstance(token, GetToken)
    assert token.token_service_type == "com.apple.maid"
    assert isinstance(declarative, DeclarativeManagement)
    assert (declarative.endpoint, declarative.data) == ("status", b"{}")


def test_an_unknown_message_is_named_nowhere() -> None:
    message = parse(body(UDID=UDID, MessageType="ReturnToService"))
    assert message == Unsupported(udid=UDID, is_user_enrollment=False, user=None)
    assert "ReturnToService" not in repr(message)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"MessageType": None}, "no MessageType"),
        ({"MessageType": 7}, "MessageType is of the wrong type"),
        ({"MessageType": ""}, "no MessageType"),
        ({"UDID": None}, "no EnrollmentID"),
        ({"UDID": ""}, "no EnrollmentID"),
        ({"UDID": b"bytes"}, "UDID is of the wrong type"),
        ({"UDID": "x" * 65}, "UDID is too long"),
        ({"Topic": None}, "no Topic"),
        ({"Token": None}, "no Token"),
        ({"Token": b""}, "no Token"),
        ({"Token": PUSH_TOKEN.hex()}, "Token is of the wrong type"),
        ({"Token": b"t" * 257}, "Token is too long"),
        ({"PushMagic": None}, "no PushMagic"),
        ({"PushMagic": MAGIC.encode()}, "PushMagic is of the wrong type"),
        ({"PushMagic": "m" * 129}, "PushMagic is too long"),
        ({"UnlockToken": UNLOCK_TOKEN.hex()}, "UnlockToken is of the wrong type"),
        ({"UnlockToken": UNLOCK_TOKEN.hex(), **USER}, "UnlockToken is of the wrong type"),
        ({"UserID": ""}, "no UserID"),
        ({"UserID": 5}, "UserID is of the wrong type"),
        ({"AwaitingConfiguration": 1}, "AwaitingConfiguration is of the wrong type"),
        ({"DeviceName": "\N{SNOWMAN}", "Extra": 2**63, "Topic": True}, "Topic is of the wrong"),
        ({"MessageType": "UserAuthenticate"}, "no UserID"),
        ({"MessageType": "GetToken"}, "no TokenServiceType"),
        ({"MessageType": "DeclarativeManagement"}, "no Endpoint"),
    ],
)
def test_what_cannot_be_read_is_malformed_and_quotes_nothing(
    keys: dict[str, Any], words: str
) -> None:
    with pytest.raises(Malformed, match=words) as caught:
        parse(body(**{**TOKEN_UPDATE, **keys}))
    told = str(caught.value)
    assert UDID not in told
    assert MAGIC not in told
    assert UNLOCK_TOKEN.hex() not in told


def test_a_damaged_body_is_not_quoted_by_a_chained_exception() -> None:
    damaged = body(**TOKEN_UPDATE).replace(b"</dict>", b"<oops></dict>")
    with pytest.raises(Malformed) as caught:
        parse(damaged)
    error = caught.value
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert "oops" not in "".join(traceback.format_exception_only(error))


@pytest.mark.parametrize(
    "strange",
    [
        b"",
        b"{}",
        b"bplist00",
        b"\xff\xfe<plist/>",
        plistlib.dumps([]),
        plistlib.dumps("TokenUpdate"),
        b"<?xml version='1.0'?><plist><dict><key>a</key></dict></plist>",
        b"<plist><dict><key>MessageType</key><date>0000-00-00T00:00:00Z</date></dict></plist>",
    ],
)
def test_what_is_no_dictionary_is_malformed(strange: bytes) -> None:
    with pytest.raises(Malformed):
        parse(strange)


def test_entities_are_refused() -> None:
    whole = body(**{**TOKEN_UPDATE, "PushMagic": "magic"})
    for entity in (b'<!ENTITY a "b">', b'<!ENTITY a SYSTEM "file:///etc/passwd">'):
        bomb = whole.replace(b"<plist", b"<!DOCTYPE plist [" + entity + b"]><plist", 1)
        bomb = bomb.replace(b"<string>magic</string>", b"<string>&a;</string>")
        assert b"&a;" in bomb
        with pytest.raises(Malformed, match="not a property list"):
            parse(bomb)


def nested(depth: int) -> bytes:
    start, end = b"<array>" * depth, b"</array>" * depth
    return b"<plist><dict><key>Deep</key>" + start + end + b"</dict></plist>"


@pytest.mark.parametrize("depth", [65, 5_000, 200_000])
def test_a_body_that_is_too_deep_is_refused(depth: int) -> None:
    with pytest.raises(Malformed):
        parse(nested(depth))


def many_references(to_itself: bool) -> bytes:
    """A binary property list whose few bytes stand for 2**60 values, or for no end of them."""
    objects = [b"\xd1\x01\x02", b"\x51a"]
    for number in range(2, 62):
        onward = 2 if to_itself else number + 1
        objects.append(bytes([0xA2, onward, onward]))
    objects.append(b"\x08")
    offsets, whole = b"", b"bplist00"
    for encoded in objects:
        offsets += len(whole).to_bytes(2, "big")
        whole += encoded
    trailer = bytes(6) + b"\x02\x01" + len(objects).to_bytes(8, "big") + bytes(8)
    return whole + offsets + trailer + len(whole).to_bytes(8, "big")


@pytest.mark.parametrize("to_itself", [True, False])
def test_a_few_bytes_cannot_stand_for_millions_of_values(*, to_itself: bool) -> None:
    bomb = many_references(to_itself)
    assert isinstance(plistlib.loads(bomb), dict)  # the library itself takes it
    with pytest.raises(Malformed, match="too much"):
        parse(bomb)


@pytest.mark.parametrize(
    "body_",
    [
        hostile.same_bytes_many_times(),  # under the 256 KB of a check-in, and 2 GB when read
        hostile.keys_that_collide(),
        hostile.long_markup(10 * 1024 * 1024),
        hostile.billion_laughs(),
    ],
)
def test_a_body_that_is_meant_to_cost_is_malformed_at_once(body_: bytes) -> None:
    began = time.process_time()
    with pytest.raises(Malformed):
        parse(body_)
    assert time.process_time() - began < 3


@pytest.mark.parametrize(
    "value",
    [
        "with a \0 in it",
        plistlib.UID(1),
        float("nan"),
        float("inf"),
    ],
)
def test_what_no_message_holds_is_refused(value: object) -> None:
    with pytest.raises(Malformed, match="no message holds"):
        parse(body(plistlib.FMT_BINARY, **{**TOKEN_UPDATE, "Extra": [value]}))


@given(st.binary(max_size=300))
def test_strange_bytes_are_malformed_and_nothing_else(strange: bytes) -> None:
    for beginning in (b"", b"bplist00", b"<?xml version='1.0'?><plist>"):
        with pytest.raises(Malformed):
            parse(beginning + strange)


@given(st.data())
def test_a_damaged_message_is_read_or_malformed(data: st.DataObject) -> None:
    whole = bytearray(body(data.draw(st.sampled_from(FORMS)), **TOKEN_UPDATE))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = parse(bytes(whole))
    except Malformed:
        return
    assert message.udid
