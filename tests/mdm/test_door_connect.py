"""The command channel at the door: what is handed out, and what an answer does."""

import plistlib
from typing import Any
from uuid import UUID

import pytest

from devices import queue
from devices.models import Command, Device, DeviceUser, Profile
from passcodes import rollout
from passcodes.models import Evidence, Release
from tests.house import House
from tests.scenes import STRICT, STRONG, published, wifi
from tests.simulator.phone import Phone

EVERY_SHARED_IPAD_USER = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"


def ask(house: House, phone: Phone, request_type: str, **how: Any) -> Command:
    return queue.enqueue([house.device(phone)], request_type, **how)[0]


def uuid_in(body: bytes) -> str | None:
    return plistlib.loads(body)["CommandUUID"] if body else None


def answer(phone: Phone, command: Command, status: str = "Acknowledged", **keys: Any) -> bytes:
    response = phone.report(
        {"UDID": phone.udid, "Status": status, "CommandUUID": str(command.uuid), **keys}
    )
    assert response.status == 200
    return response.body


def state(command: Command) -> str:
    command.refresh_from_db()
    return command.state


def test_a7_with_nothing_to_do_the_answer_has_no_bytes(house: House) -> None:
    phone = house.enrolled_phone()

    response = phone.idle()

    assert (response.status, response.body) == (200, b"")


def test_a7_with_a_command_the_answer_is_one_property_list(house: House) -> None:
    phone = house.enrolled_phone()
    command = ask(house, phone, "ProfileList")

    response = phone.idle()

    assert response.status == 200
    assert response.headers["content-type"] == "application/xml; charset=UTF-8"
    assert plistlib.loads(response.body) == {
        "CommandUUID": str(command.uuid),
        "Command": {"RequestType": "ProfileList"},
    }


def test_commands_go_out_by_priority_then_age(house: House) -> None:
    phone = house.enrolled_phone()
    first = ask(house, phone, "ProfileList")
    second = ask(house, phone, "SecurityInfo")
    urgent = ask(house, phone, "DeviceInformation", arguments={"Queries": []}, priority=-5)

    done = phone.connect()

    assert [one.command_uuid for one in done] == [str(one.uuid) for one in (urgent, first, second)]


def test_a_profile_travels_as_its_bytes(house: House) -> None:
    phone = house.enrolled_phone()
    content = {"PayloadType": "Configuration", "PayloadContent": []}
    profile = Profile.objects.create(
        identifier="org.example.a", payload_uuid="1", name="A", payload=plistlib.dumps(content)
    )
    ask(house, phone, "InstallProfile", profile=profile)

    command = plistlib.loads(phone.idle().body)["Command"]

    assert plistlib.loads(command["Payload"]) == content


def test_a8_a_command_goes_out_again_until_it_is_answered(house: House) -> None:
    phone = house.enrolled_phone()
    command = ask(house, phone, "SecurityInfo")

    assert uuid_in(phone.idle().body) == str(command.uuid)
    assert uuid_in(phone.idle().body) == str(command.uuid)  # the connection was lost
    assert state(command) == "sent"
    assert command.times_sent == 2
    assert answer(phone, command) == b""
    assert state(command) == "acknowledged"


def test_a8_the_same_answer_twice_changes_nothing_the_second_time(house: House) -> None:
    phone = house.enrolled_phone()
    command = ask(house, phone, "SecurityInfo")
    phone.idle()
    info = {"PasscodePresent": True, "PasscodeCompliant": True}
    answer(phone, command, SecurityInfo=info)
    before = (list(Command.objects.values()), Evidence.objects.count())

    assert answer(phone, command, SecurityInfo=info) == b""
    assert answer(phone, command, "Error") == b""

    assert (list(Command.objects.values()), Evidence.objects.count()) == before


@pytest.mark.parametrize("number", [str(UUID(int=7)), "not a number", "", None])
def test_a8_an_answer_to_nothing_changes_nothing(house: House, number: str | None) -> None:
    phone = house.enrolled_phone()
    command = ask(house, phone, "SecurityInfo")
    report = {"UDID": phone.udid, "Status": "Acknowledged", "CommandUUID": number}

    response = phone.report({key: value for key, value in report.items() if value is not None})

    assert response.status == 200
    assert uuid_in(response.body) == str(command.uuid)
    assert state(command) == "sent"


def test_a8_a_command_that_was_never_sent_is_not_closed_by_an_answer(house: House) -> None:
    phone = house.enrolled_phone()
    ask(house, phone, "ProfileList")
    second = ask(house, phone, "SecurityInfo")

    answer(phone, second)

    assert state(second) == "queued"


def test_a9_what_was_put_off_waits_for_a_later_session(house: House) -> None:
    phone = house.enrolled_phone()
    put_off, other = ask(house, phone, "SecurityInfo"), ask(house, phone, "ProfileList")
    phone.idle()

    assert uuid_in(answer(phone, put_off, "NotNow")) == str(other.uuid)
    assert answer(phone, other) == b""  # not again in this session
    assert state(put_off) == "not_now"
    due = house.device(phone).wake_due_at
    assert due is not None  # its last word was not NotNow, so it will not come by itself
    assert due > house.clock.now()

    house.clock.forward(minutes=15)
    house.pushes.clear()
    house.tick()
    assert [push.magic for push in house.pushes] == [phone.push_magic]
    assert uuid_in(phone.idle().body) == str(put_off.uuid)
    assert answer(phone, put_off) == b""
    assert state(put_off) == "acknowledged"


def test_a9_after_a_not_now_nothing_that_it_has_seen_goes_out(house: House) -> None:
    phone = house.enrolled_phone()
    first, second = ask(house, phone, "SecurityInfo"), ask(house, phone, "ProfileList")
    phone.idle()

    answer(phone, first, "NotNow")
    assert answer(phone, second, "NotNow") == b""

    assert {state(first), state(second)} == {"not_now"}


def test_a10_what_was_not_understood_is_never_sent_again(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    phone = house.enrolled_phone()
    command = ask(house, phone, "ProfileList")
    phone.idle()

    assert answer(phone, command, "CommandFormatError") == b""

    assert state(command) == "failed"
    assert command.ended_because
    assert "did not understand ProfileList" in caplog.text
    assert phone.idle().body == b""


def test_a10_the_whole_chain_of_errors_is_kept(house: House) -> None:
    phone = house.enrolled_phone()
    command = ask(house, phone, "ProfileList")
    phone.idle()
    chain = [
        {"ErrorCode": 12021, "ErrorDomain": "MCMDMErrorDomain", "LocalizedDescription": "No."},
        {"ErrorCode": 4001, "ErrorDomain": "MCProfileErrorDomain", "USEnglishDescription": "Why"},
    ]

    answer(phone, command, "Error", ErrorChain=chain)

    assert state(command) == "failed"
    assert command.errors == chain


def test_a11_a_result_closes_no_command_of_another_device(house: House) -> None:
    phone, other = house.enrolled_phone(), house.enrolled_phone()
    command = ask(house, phone, "SecurityInfo")
    phone.idle()

    assert answer(other, command, SecurityInfo={"PasscodePresent": True}) == b""

    assert state(command) == "sent"
    assert not Evidence.objects.filter(device=house.device(other), passcode_present=True).exists()


def test_a11_a_user_gets_no_command_of_the_device_and_closes_none(house: House) -> None:
    ipad = house.enrolled_phone("ipad", shared_ipad=True)
    who = {"UserID": EVERY_SHARED_IPAD_USER, "UserShortName": "ada"}
    ipad.token_update(**who, Token=b"u" * 32, PushMagic="magic of a user")
    for_device = ask(house, ipad, "ProfileList")
    user = DeviceUser.objects.get()
    for_user = ask(house, ipad, "ProfileList", user=user)

    assert uuid_in(ipad.idle(**who).body) == str(for_user.uuid)
    assert uuid_in(ipad.idle().body) == str(for_device.uuid)
    answer(ipad, for_device, **who)
    assert state(for_device) == "sent"
    answer(ipad, for_user)
    assert state(for_user) == "sent"
    answer(ipad, for_user, **who)
    assert state(for_user) == "acknowledged"


def test_a11_a_user_we_do_not_know_gets_nothing(house: House) -> None:
    mac = house.enrolled_phone("mac")
    ask(house, mac, "ProfileList")

    response = mac.idle(UserID="E1A2", UserShortName="nobody")

    assert (response.status, response.body) == (200, b"")
    assert not DeviceUser.objects.exists()


def test_a_device_that_finds_nothing_more_is_not_pushed_again(house: House) -> None:
    phone = house.enrolled_phone()
    ask(house, phone, "ProfileList")
    assert house.woken() == [phone]

    house.clock.forward(hours=12)
    house.pushes.clear()
    assert house.device(phone).wake_due_at is None


def test_a_command_that_nobody_answers_is_pushed_for_again(house: House) -> None:
    phone = house.enrolled_phone()
    ask(house, phone, "ProfileList")
    Device.objects.update(wake_due_at=None)  # it comes by itself
    phone.idle()  # and then the connection is lost
    house.clock.forward(minutes=5)

    assert house.woken() == [phone]

    assert house.waiting(phone) == []


def test_a_result_that_cannot_be_digested_blocks_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    phone = house.enrolled_phone()
    command, later = ask(house, phone, "DeviceInformation"), ask(house, phone, "ProfileList")
    phone.idle()
    deep: dict[str, Any] = {"QueryResponses": {"DeviceName": "n" * 5_000_000}}
    monkeypatch.setattr("devices.inventory.KEPT", {"DeviceName": "no_such_column"})

    assert uuid_in(answer(phone, command, **deep)) == str(later.uuid)

    assert state(command) == "acknowledged"
    assert "could not be taken in" in command.ended_because
    assert "nnnn" not in caplog.text


@pytest.mark.parametrize("gone", ["authenticated", "left", "retired"])
def test_a_device_that_is_not_enrolled_gets_no_command(house: House, gone: str) -> None:
    phone = house.enrolled_phone()
    command = ask(house, phone, "ProfileList")
    Device.objects.update(enrollment_state=gone)

    assert phone.idle().body == b""

    assert state(command) == "queued"


@pytest.mark.parametrize(
    ("request_type", "how"),
    [
        ("InstallProfile", {"profile": None}),
        ("ProfileList", {"arguments": {"Nothing": None}}),
        ("ProfileList", {"arguments": {"UnlockToken": "forged"}}),
    ],
)
def test_a_command_that_cannot_be_written_blocks_nothing(
    house: House, request_type: str, how: dict[str, Any]
) -> None:
    phone = house.enrolled_phone()
    broken = ask(house, phone, request_type, priority=-1, **how)
    later = ask(house, phone, "ProfileList")

    assert uuid_in(phone.idle().body) == str(later.uuid)

    assert state(broken) == "cancelled"
    assert broken.ended_because


def test_a_status_not_yet_invented_changes_nothing(house: House) -> None:
    phone = house.enrolled_phone()
    command = ask(house, phone, "ProfileList")
    phone.idle()

    assert answer(phone, command, "Postponed") == b""

    assert state(command) == "sent"


def test_what_nobody_waits_for_is_answered_all_the_same(house: House) -> None:
    phone = house.enrolled_phone()
    command = ask(house, phone, "ProfileList")
    phone.idle()

    assert answer(phone, command, ProfileList=[{"PayloadIdentifier": "a"}]) == b""

    assert state(command) == "acknowledged"


def test_contact_is_noted_at_most_once_a_minute(house: House) -> None:
    phone = house.enrolled_phone()
    phone.idle()
    first = Device.objects.get().last_seen_at
    phone.idle()
    assert Device.objects.get().last_seen_at == first

    house.clock.forward(minutes=2)
    phone.idle()

    assert Device.objects.get().last_seen_at != first


def test_the_gate_is_asked_again_at_delivery(house: House) -> None:
    berlin = house.group("Berlin")
    phone = house.enrolled_phone(passcode=STRONG, group=berlin)
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[berlin.pk], by=house.author)
    phone.connect()
    wifi(house, group=berlin)
    assert house.waiting(phone) == ["InstallProfile"]

    house.clock.forward(hours=25)  # and nobody has looked meanwhile
    phone.connect()

    assert phone.installed == [version.policy.identifier]
    release = Release.objects.get()
    assert release.state == "withheld"
    assert "24 hours" in " ".join(release.reasons)


def test_a_clear_without_an_order_is_never_delivered(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    forged = Command.objects.create(device=house.device(phone), request_type="ClearPasscode")

    assert phone.idle().body == b""

    assert state(forged) == "cancelled"
    assert phone.idle().body == b""


def test_what_follows_from_a_result_goes_out_in_the_same_answer(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    version = published(house, STRICT)
    rollout.push(version.pk, device_ids=[house.device(phone).pk], by=house.author)
    house.tick()
    pushes = len(house.pushes)

    done = phone.connect()

    assert [one.request_type for one in done] == ["InstallProfile", "SecurityInfo"]
    house.tick()
    assert len(house.pushes) == pushes
