"""What a device reports becomes typed facts; a missing or strange one is unknown."""

import plistlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.rules.commands import Status
from mdm.wire.messages import UserKeys
from mdm.wire.reports import (
    InstalledProfile,
    Malformed,
    Report,
    device_information,
    parse,
    profile_list,
    security_info,
)
from passcodes.rules.compliance import PasscodeFacts

UDID = "00008110-001A2B3C4D5E6F70"
UUID = "0b0b0b0b-0000-4000-8000-000000000001"
RECOVERY_KEY = "ABCD-EFGH-IJKL"
FORMS = [plistlib.FMT_XML, plistlib.FMT_BINARY]


def report(form: plistlib.PlistFormat = plistlib.FMT_XML, **keys: Any) -> Report:
    whole = {"UDID": UDID, "Status": "Acknowledged", "CommandUUID": UUID, **keys}
    present = {key: value for key, value in whole.items() if value is not None}
    return parse(plistlib.dumps(present, fmt=form))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("status", sorted(Status))
def test_every_status_is_read(status: Status, form: plistlib.PlistFormat) -> None:
    read = report(form, Status=status.value)
    assert read.status is status
    assert (read.udid, read.user, read.command_uuid) == (UDID, None, UUID)


def test_idle_answers_no_command() -> None:
    read = report(Status="Idle", CommandUUID=None)
    assert read.status is Status.IDLE
    assert read.command_uuid is None
    assert read.keys == {}


@pytest.mark.parametrize("word", ["Later", "acknowledged", "NOTNOW"])
def test_an_unknown_status_is_kept_as_none(word: str) -> None:
    read = report(Status=word)
    assert read.status is None
    assert read.command_uuid == UUID


def test_a_user_speaks_for_himself() -> None:
    read = report(UserID="9A1B", UserShortName="user", NeedSyncResponse=True)
    assert read.user == UserKeys("9A1B", "user")
    assert (read.login_waits, read.is_user_configuration) == (True, False)
    assert read.keys == {}


def test_a_personal_device_is_known_by_its_enrollment() -> None:
    read = report(UDID=None, EnrollmentID="E-1")
    assert (read.udid, read.is_user_enrollment) == ("E-1", True)


def test_the_whole_error_chain_is_kept() -> None:
    chain = [
        {
            "ErrorCode": 12018,
            "ErrorDomain": "MCMDMErrorDomain",
            "LocalizedDescription": "Das geht nicht.",
            "USEnglishDescription": "That does not work.",
        },
        {"ErrorCode": 5013, "ErrorDomain": "MCPasscodeErrorDomain"},
    ]
    assert list(report(Status="Error", ErrorChain=chain).errors) == chain


@pytest.mark.parametrize(
    ("chain", "kept"),
    [
        (None, ()),
        ("no list", ()),
        ([], ()),
        (["no dictionary", {"ErrorCode": 1}], ({"ErrorCode": 1},)),
        ([{"ErrorCode": "one", "ErrorDomain": 2}], ({},)),
        ([{"ErrorCode": True, "Other": "x"}], ({},)),
    ],
)
def test_a_strange_error_chain_does_not_block_the_report(chain: Any, kept: Any) -> None:
    assert report(Status="Error", ErrorChain=chain).errors == kept


def test_a_report_does_not_print_what_it_carries() -> None:
    read = report(SecurityInfo={"FDE_PersonalRecoveryKeyDeviceKey": RECOVERY_KEY})
    assert RECOVERY_KEY not in repr(read)


@pytest.mark.parametrize("present", [True, False, None])
@pytest.mark.parametrize("compliant", [True, False, None])
@pytest.mark.parametrize("with_profiles", [True, False, None])
def test_a_missing_flag_is_unknown_and_never_false(
    *, present: bool | None, compliant: bool | None, with_profiles: bool | None
) -> None:
    flags = {
        "PasscodePresent": present,
        "PasscodeCompliant": compliant,
        "PasscodeCompliantWithProfiles": with_profiles,
    }
    info = {key: value for key, value in flags.items() if value is not None}
    read = report(SecurityInfo=info)
    assert security_info(read) == PasscodeFacts(present, compliant, with_profiles)


@pytest.mark.parametrize("strange", [1, 0, "true", b"\x01", []])
def test_a_flag_of_a_strange_type_is_unknown(strange: object) -> None:
    read = report(SecurityInfo={"PasscodePresent": strange, "PasscodeCompliant": True})
    assert security_info(read) == PasscodeFacts(present=None, compliant=True)


@pytest.mark.parametrize("info", [None, "no dictionary", [], {}])
def test_without_security_info_all_is_unknown(info: object) -> None:
    assert security_info(report(SecurityInfo=info)) == PasscodeFacts()


def test_a_mac_says_nothing_of_its_passcode() -> None:
    assert security_info(report(SecurityInfo={"FDE_Enabled": True})) == PasscodeFacts()


def test_device_information_keeps_what_we_know_by_its_type() -> None:
    read = report(
        QueryResponses={
            "SerialNumber": "C39XK0AAAAAA",
            "IsSupervised": True,
            "IsMultiUser": 0,
            "DeviceName": "n" * 500,
            "OSVersion": 26,
            "LastCloudBackupDate": datetime(2026, 11, 1, 3, 0),  # noqa: DTZ001 - as plistlib has it
            "PushToken": b"a push token",
            "Unheard": "of",
        }
    )
    assert device_information(read) == {
        "SerialNumber": "C39XK0AAAAAA",
        "IsSupervised": True,
        "DeviceName": "n" * 200,
        "LastCloudBackupDate": datetime(2026, 11, 1, 3, 0, tzinfo=UTC),
    }


@pytest.mark.parametrize("answers", [None, "no dictionary", []])
def test_without_answers_there_is_no_information(answers: object) -> None:
    assert device_information(report(QueryResponses=answers)) == {}


def test_the_list_of_profiles_names_each_with_its_version() -> None:
    entry = {
        "PayloadIdentifier": "com.example.passcode",
        "PayloadUUID": "6A1E2E3E",
        "PayloadDisplayName": "Strong passcode",
        "IsManaged": True,
        "SignerCertificates": [b"der"],
    }
    listed = [entry, {"PayloadUUID": "nameless"}, "strange", {"PayloadIdentifier": "com.other"}]
    assert profile_list(report(ProfileList=listed)) == (
        InstalledProfile("com.example.passcode", "6A1E2E3E", "Strong passcode", is_managed=True),
        InstalledProfile("com.other", None, None, is_managed=None),
    )


@pytest.mark.parametrize("listed", [None, "no list", {}])
def test_without_a_list_there_are_no_profiles(listed: object) -> None:
    assert profile_list(report(ProfileList=listed)) == ()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"Status": None}, "no Status"),
        ({"Status": ""}, "no Status"),
        ({"Status": 1}, "Status is of the wrong type"),
        ({"UDID": None}, "no EnrollmentID"),
        ({"CommandUUID": 5}, "CommandUUID is of the wrong type"),
        ({"CommandUUID": "u" * 65}, "CommandUUID is too long"),
    ],
)
def test_what_cannot_be_read_is_malformed(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(Malformed, match=words) as caught:
        report(**keys)
    assert UDID not in str(caught.value)


@given(st.binary(max_size=300))
def test_strange_bytes_are_malformed_and_nothing_else(strange: bytes) -> None:
    with pytest.raises(Malformed):
        parse(strange)


PLAIN = st.recursive(
    st.booleans() | st.integers(0, 9) | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["PasscodePresent", "PayloadIdentifier"]), inner)
    ),
    max_leaves=6,
)


@given(PLAIN, PLAIN, PLAIN, PLAIN)
def test_no_shape_of_an_answer_stops_us(
    info: object, answers: object, listed: object, chain: object
) -> None:
    read = report(SecurityInfo=info, QueryResponses=answers, ProfileList=listed, ErrorChain=chain)
    assert isinstance(security_info(read), PasscodeFacts)
    assert isinstance(device_information(read), dict)
    assert isinstance(profile_list(read), tuple)
    assert isinstance(read.errors, tuple)
