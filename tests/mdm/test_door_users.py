"""User channels at the door: a push address, a queue and profiles of their own; never the device's."""

import plistlib
from typing import Any

import pytest

from devices import queue, users, waking
from devices.models import Command, DeviceUser
from devices.rules.waking import Gone
from tests.house import House
from tests.macs import ask, enrolled_mac, enrolled_shared_ipad, give, row, state
from tests.simulator.users import SHARED_IPAD_USER, User


def push(house: House) -> set[str]:
    """Push to whoever is due; the magics that went out."""
    before = len(house.pushes)
    waking.push_due()
    return {one.magic for one in house.pushes[before:]}


def test_a5_a_users_address_is_kept_apart_from_the_devices(house: House) -> None:
    mac = enrolled_mac(house)
    before = house.device(mac)
    anna = mac.add_user("anna", "Anna Berg")

    assert anna.log_in()

    device, user = house.device(mac), row(house, anna)
    assert bytes(device.push_token or b"") == bytes(before.push_token or b"") == mac.push_token
    assert device.push_magic == before.push_magic == mac.push_magic
    assert device.enrollment_state == before.enrollment_state
    assert device.token_since == before.token_since
    assert (bytes(user.push_token or b""), user.push_magic) == (anna.push_token, anna.push_magic)
    assert (user.short_name, user.long_name) == ("anna", "Anna Berg")


def test_a5_device_and_user_are_pushed_each_with_their_own(house: House) -> None:
    mac = enrolled_mac(house)
    anna = mac.add_user("anna")
    anna.log_in()
    push(house)
    queue.enqueue([house.device(mac)], "ProfileList")
    assert push(house) == {mac.push_magic}
    mac.connect()

    ask(house, anna, "ProfileList")

    assert push(house) == {anna.push_magic}
    assert house.pushes[-1].token == anna.push_token


def test_a5_a_user_of_a_device_that_is_not_enrolled_makes_no_half_device(house: House) -> None:
    mac = house.phone("mac")
    house.give_profile(mac)
    mac.authenticate()

    response = mac.token_update(UserID="9A1B", UserShortName="anna")

    assert response.status == 403
    assert not DeviceUser.objects.exists()
    assert house.device(mac).enrollment_state == "authenticated"


def test_a5_an_unlock_token_from_a_user_is_not_taken(house: House) -> None:
    mac = enrolled_mac(house)
    anna = mac.add_user("anna")

    assert anna.token_update(UnlockToken=b"a key bag").status == 200
    assert not house.device(mac).tokens.exists()


def test_a6_two_users_of_a_shared_ipad_are_kept_apart_by_their_short_names(house: House) -> None:
    ipad = enrolled_shared_ipad(house)
    anna, bo = ipad.add_user("anna@example.com"), ipad.add_user("bo@example.com")
    anna.log_in()
    anna.log_out()
    bo.log_in()
    assert anna.user_id == bo.user_id == SHARED_IPAD_USER

    assert DeviceUser.objects.count() == 2
    assert row(house, anna).push_magic == anna.push_magic
    assert row(house, bo).push_magic == bo.push_magic
    for_anna = give(house, anna, "com.example.anna")
    for_bo = give(house, bo, "com.example.bo")

    bo.connect()

    assert (list(bo.profiles), list(anna.profiles)) == (["com.example.bo"], [])
    assert (state(for_bo), state(for_anna)) == ("acknowledged", "queued")


def test_a6_one_user_comes_back_as_the_same(house: House) -> None:
    ipad = enrolled_shared_ipad(house)
    anna = ipad.add_user("anna@example.com")
    anna.log_in()
    anna.log_out()

    anna.token_update(UserID=SHARED_IPAD_USER.lower())

    assert DeviceUser.objects.count() == 1


def test_a6_a_shared_user_without_a_name_is_refused(house: House) -> None:
    ipad = enrolled_shared_ipad(house)
    nobody = ipad.add_user("x")

    assert nobody.token_update(UserShortName=None).status == 400
    assert nobody.idle(UserShortName=None).body == b""
    assert not DeviceUser.objects.exists()


def test_a_mac_cannot_speak_for_the_user_of_a_shared_ipad(house: House) -> None:
    mac = enrolled_mac(house)
    odd = mac.add_user("odd", user_id=SHARED_IPAD_USER)

    assert odd.token_update().status == 403
    assert odd.authenticate() is False
    assert not DeviceUser.objects.exists()


def test_such_a_user_shows_that_the_ipad_is_shared(house: House) -> None:
    ipad = enrolled_shared_ipad(house)
    device = house.device(ipad)
    device.is_shared_ipad = False  # as it is before it has answered anything
    device.save(update_fields=["is_shared_ipad"])

    ipad.add_user("anna@example.com").log_in()

    assert house.device(ipad).is_shared_ipad


def test_a11_every_channel_gets_its_own_and_closes_only_its_own(house: House) -> None:
    mac = enrolled_mac(house)
    anna, bo = mac.add_user("anna"), mac.add_user("bo")
    anna.log_in()
    bo.log_in()
    of_the_mac = queue.enqueue([house.device(mac)], "ProfileList")[0]
    of_anna, of_bo = ask(house, anna, "ProfileList"), ask(house, bo, "ProfileList")

    def handed_to(who: Any) -> str:
        return str(plistlib.loads(who.idle().body)["CommandUUID"])

    assert [handed_to(who) for who in (mac, anna, bo)] == [
        str(one.uuid) for one in (of_the_mac, of_anna, of_bo)
    ]
    for user, others in ((anna, (of_the_mac, of_bo)), (bo, (of_the_mac, of_anna))):
        for command in others:
            report = {"Status": "Acknowledged", "CommandUUID": str(command.uuid)}
            assert user.report(report).status == 200
    assert {state(one) for one in (of_the_mac, of_anna, of_bo)} == {"sent"}

    mac.connect()
    anna.connect()
    bo.connect()
    assert {state(one) for one in (of_the_mac, of_anna, of_bo)} == {"acknowledged"}


def test_a11_what_belongs_to_the_device_is_not_queued_for_a_user(house: House) -> None:
    mac = enrolled_mac(house)
    anna = mac.add_user("anna")
    anna.log_in()

    for request_type in ("DeviceLock", "UserList", "UnlockUserAccount", "DeleteUser"):
        with pytest.raises(queue.Refused, match="not to one of its users"):
            ask(house, anna, request_type)


def test_a_user_has_profiles_that_are_not_the_devices(house: House) -> None:
    mac = enrolled_mac(house)
    anna = mac.add_user("anna")
    anna.log_in()
    give(house, anna, "com.example.one")
    give(house, anna, "com.example.two")
    anna.connect()
    ask(house, anna, "RemoveProfile", arguments={"Identifier": "com.example.one"})

    anna.connect()

    assert list(anna.profiles) == ["com.example.two"]
    assert mac.installed == []
    assert [one.identifier for one in users.profiles(row(house, anna))] == ["com.example.two"]


def test_a_locked_keychain_puts_a_profile_off_and_nothing_else(house: House) -> None:
    mac = enrolled_mac(house)
    anna = mac.add_user("anna")
    anna.log_in()
    anna.keychain_locked = True
    later, now = give(house, anna, "com.example.one"), ask(house, anna, "SecurityInfo")

    anna.connect()

    assert (state(later), state(now)) == ("not_now", "acknowledged")
    user = row(house, anna)
    assert user.wake_due_at is not None
    assert house.device(mac).wake_due_at is None


def test_a_users_dead_address_is_not_the_devices(house: House) -> None:
    mac = enrolled_mac(house)
    anna = mac.add_user("anna")
    anna.log_in()
    ask(house, anna, "ProfileList")
    house.push_answers[anna.push_token] = Gone(house.clock.forward(seconds=5))

    push(house)

    assert row(house, anna).token_dead_since is not None
    assert house.device(mac).token_dead_since is None
    assert "user.unreachable" in house.audit(mac)
    assert "device.unreachable" not in house.audit(mac)


def test_a_silent_user_is_no_silent_device(house: House) -> None:
    mac = enrolled_mac(house)
    anna = mac.add_user("anna")
    anna.log_in()
    anna.log_out()
    came = row(house, anna).last_seen_at
    house.clock.forward(days=9)

    mac.idle()

    assert row(house, anna).last_seen_at == came
    last = house.device(mac).last_seen_at
    assert last is not None
    assert (house.clock.now() - last).total_seconds() < 60


def test_a14_users_go_with_the_device_that_enrolls_anew(house: House) -> None:
    mac = enrolled_mac(house)
    anna, bo = mac.add_user("anna"), mac.add_user("bo")
    anna.log_in()
    bo.log_in()
    waiting = [ask(house, one, "ProfileList") for one in (anna, bo)]

    house.give_profile(mac)
    mac.enroll()

    assert {state(one) for one in waiting} == {"cancelled"}
    assert not DeviceUser.objects.filter(is_active=True).exists()
    assert anna.idle().body == b""
    anna.log_in()
    assert row(house, anna).is_active
    assert DeviceUser.objects.count() == 2


def test_a14_users_go_with_the_device_that_leaves(house: House) -> None:
    mac = enrolled_mac(house)
    anna = mac.add_user("anna")
    anna.log_in()
    waiting = ask(house, anna, "ProfileList")

    assert mac.check_out().status == 200

    assert state(waiting) == "cancelled"
    user = row(house, anna)
    assert (user.is_active, user.push_token, user.push_magic) == (False, None, "")
    assert push(house) == set()


def test_a_user_cannot_check_the_device_out(house: House) -> None:
    mac = enrolled_mac(house)
    anna = mac.add_user("anna")
    anna.log_in()

    assert anna.check_in("CheckOut", Topic=mac.enrollment and mac.enrollment.topic).status == 400
    assert house.device(mac).is_enrolled


# Logins and Setup Assistant.


def test_while_a_login_waits_only_what_is_urgent_goes_out(house: House) -> None:
    mac = enrolled_mac(house)
    anna = mac.add_user("anna")
    anna.log_in()
    anna.log_out()
    slow = ask(house, anna, "ProfileList")
    urgent = give(house, anna, "com.example.one")

    anna.log_in()

    assert (state(urgent), state(slow)) == ("acknowledged", "queued")
    assert row(house, anna).wake_due_at is not None
    anna.connect()
    assert state(slow) == "acknowledged"


def test_before_the_first_account_exists_the_answer_is_empty(house: House) -> None:
    mac = enrolled_mac(house)
    anna = mac.add_user("anna")
    anna.log_in()
    command = give(house, anna, "com.example.one")
    anna.in_setup_assistant = True

    assert anna.connect() == []
    assert state(command) == "queued"

    anna.in_setup_assistant = False  # the account is there: a new session
    anna.connect()
    assert state(command) == "acknowledged"


def test_a_user_who_is_logged_in_from_afar_is_shown_as_such(house: House) -> None:
    mac = enrolled_mac(house)
    anna = mac.add_user("anna")
    anna.log_in()
    assert row(house, anna).is_on_console is None

    anna.token_update(NotOnConsole=True)
    assert row(house, anna).is_on_console is False

    anna.idle(NotOnConsole=False)
    assert row(house, anna).is_on_console is True


def test_a_device_in_setup_assistant_is_let_go_when_all_has_been_sent(house: House) -> None:
    mac = house.phone("mac")
    house.give_profile(mac)
    mac.authenticate()
    mac.token_update(AwaitingConfiguration=True)
    mac.token_update(AwaitingConfiguration=True)

    done = [one.request_type for one in mac.connect()]

    assert done[-1] == "DeviceConfigured"
    assert done.count("DeviceConfigured") == 1
    assert len(done) > 1


def test_a_device_that_does_not_wait_is_not_let_go(house: House) -> None:
    mac = enrolled_mac(house)

    assert house.commands(mac, "DeviceConfigured") == []


def test_the_user_of_a_shared_ipad_is_let_go_on_their_own_channel(house: House) -> None:
    ipad = enrolled_shared_ipad(house)
    anna = ipad.add_user("anna@example.com")
    anna.awaiting_configuration = True

    anna.log_in()

    assert anna.awaiting_configuration is False
    command = Command.objects.get(request_type="UserConfigured")
    assert command.user == row(house, anna)
    assert command.state == "acknowledged"


# Bad input.


@pytest.mark.parametrize(
    "keys",
    [
        {"UserID": ""},
        {"UserID": 7},
        {"UserID": "x" * 65},
        {"UserShortName": b"anna"},
        {"AuthToken": 7},
        {"NotOnConsole": "yes"},
        {"PushMagic": None},
        {"Token": b""},
    ],
)
def test_a_token_update_that_makes_no_sense_makes_no_user(
    house: House, keys: dict[str, Any]
) -> None:
    anna = enrolled_mac(house).add_user("anna")

    assert anna.token_update(**keys).status == 400
    assert not DeviceUser.objects.exists()


@pytest.mark.parametrize(
    "keys",
    [
        {"NeedSyncResponse": "yes"},
        {"UserConfiguration": 1},
        {"NotOnConsole": b""},
        {"Users": "all"},
    ],
)
def test_odd_flags_of_a_report_are_passed_over(house: House, keys: dict[str, Any]) -> None:
    anna = enrolled_mac(house).add_user("anna")
    anna.log_in()
    command = ask(house, anna, "ProfileList")

    response = anna.idle(**keys)

    assert response.status == 200
    assert str(command.uuid) in response.body.decode()


def test_a_user_whose_identity_is_of_another_device_is_refused(house: House) -> None:
    mac, other = enrolled_mac(house), enrolled_mac(house)
    anna = mac.add_user("anna")
    anna.log_in()
    impostor = User(other, "anna", "", user_id=anna.user_id)

    assert impostor.token_update(UDID=mac.udid).status == 403
    assert impostor.report({"Status": "Idle", "UDID": mac.udid}).status == 403
    assert row(house, anna).push_magic == anna.push_magic
