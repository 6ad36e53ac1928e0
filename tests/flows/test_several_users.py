"""A Mac and a Shared iPad with several people on them: who is listed, unlocked, logged out and deleted."""

from typing import Any

import pytest
from django.test import Client, override_settings

from devices.models import Account
from devices.rules.secret import Secret
from passcodes import accounts
from staff.permissions import Forbidden
from tests.house import House
from tests.macs import ask, enrolled_mac, enrolled_shared_ipad, give, row, state
from tests.simulator.phone import Phone


def page(house: House, device: Phone, *, by: str = "admin") -> str:
    client = Client()
    client.force_login(getattr(house, by))
    response: Any = client.get(f"/devices/device/{house.device(device).pk}/change/")
    assert response.status_code == 200
    return str(response.content.decode())


def test_a_mac_lists_its_users_and_unlocks_one(house: House) -> None:
    mac = enrolled_mac(house)
    anna, bo = mac.add_user("anna", "Anna Berg"), mac.add_user("bo", network=True)
    anna.log_in()
    key = house.device(mac).pk
    for _ in range(10):
        bo.mistypes()
    assert bo.locked_out

    accounts.list_users(key, by=house.helpdesk)
    accounts.list_users(key, by=house.helpdesk)
    mac.connect()
    assert len(house.commands(mac, "UserList")) == 1
    told = Account.objects.get(name="anna")
    assert (told.full_name, told.uid, told.guid) == ("Anna Berg", anna.uid, anna.user_id)
    assert (told.is_logged_in, told.has_secure_token, told.data_used) == (True, True, None)
    assert Account.objects.get(name="bo").is_mobile

    accounts.unlock(key, name="bo", by=house.helpdesk)
    accounts.unlock(key, name="bo", by=house.helpdesk)  # a second click
    mac.connect()

    assert not bo.locked_out
    assert len(house.commands(mac, "UnlockUserAccount")) == 1
    shown = page(house, mac, by="helpdesk")
    assert "Unlock: bo" in shown
    assert "Unlock anna…" in shown
    assert "Delete anna" not in shown
    assert "Delete bo…" in page(house, mac)


def test_a_new_list_takes_the_place_of_the_old(house: House) -> None:
    mac = enrolled_mac(house)
    mac.add_user("anna")
    accounts.list_users(house.device(mac).pk, by=house.admin)
    mac.connect()
    mac.users.clear()
    mac.add_user("bo")
    accounts.list_users(house.device(mac).pk, by=house.admin)

    mac.connect()

    assert [one.name for one in Account.objects.all()] == ["bo"]


def test_who_is_deleted_loses_the_channel_and_the_others_keep_theirs(house: House) -> None:
    ipad = enrolled_shared_ipad(house)
    anna, bo = ipad.add_user("anna@example.com"), ipad.add_user("bo@example.com")
    for user in (anna, bo):
        user.log_in()
        give(house, user, f"com.example.{user.uid}")
        user.connect()
        user.log_out()
    bo.unsynced = True
    key = house.device(ipad).pk
    accounts.list_users(key, by=house.admin)
    ipad.connect()
    waiting, other = ask(house, bo, "ProfileList"), ask(house, anna, "ProfileList")
    with pytest.raises(accounts.Refused, match="no server has yet"):
        accounts.delete(key, name="bo@example.com", by=house.admin)

    accounts.delete(key, name="bo@example.com", even_unsynced=True, by=house.admin)
    ipad.connect()

    assert list(ipad.users) == ["anna@example.com"]
    assert (state(waiting), state(other)) == ("cancelled", "queued")
    assert (row(house, bo).is_active, row(house, anna).is_active) == (False, True)
    assert [one.name for one in Account.objects.all()] == ["anna@example.com"]
    assert "account.deleted" in house.audit(ipad)
    assert "Delete: bo@example.com" in page(house, ipad)


def test_a_shared_ipad_logs_its_user_out_and_lists_anew(house: House) -> None:
    ipad = enrolled_shared_ipad(house)
    anna = ipad.add_user("anna@example.com")
    anna.log_in()
    key = house.device(ipad).pk
    accounts.list_users(key, by=house.admin)
    ipad.connect()
    with pytest.raises(accounts.Refused, match="is logged in"):
        accounts.delete(key, name="anna@example.com", by=house.admin)

    accounts.log_out(key, by=house.admin)
    ipad.connect()

    assert ipad.session is None
    assert Account.objects.get().is_logged_in is False
    accounts.delete(key, name="anna@example.com", by=house.admin)


def test_what_the_device_refuses_is_shown_with_its_reason(house: House) -> None:
    mac = enrolled_mac(house)
    anna = mac.add_user("anna")
    accounts.list_users(house.device(mac).pk, by=house.admin)
    mac.connect()
    anna.log_in()  # after the list

    accounts.delete(house.device(mac).pk, name="anna", by=house.admin)
    mac.connect()

    assert "anna" in mac.users
    assert Account.objects.filter(name="anna").exists()
    assert "The user is logged in. (12072)" in page(house, mac)


def test_what_a_kind_of_device_cannot_do_is_refused_in_words(house: House) -> None:
    mac, ipad, phone = enrolled_mac(house), enrolled_shared_ipad(house), house.enrolled_phone()
    plain = house.enrolled_phone("ipad")
    for device in (mac, ipad, phone, plain):
        Account.objects.create(
            device=house.device(device), name="anna", listed_at=house.clock.now()
        )

    def key(device: Phone) -> int:
        return house.device(device).pk

    with pytest.raises(accounts.Refused, match="LogOutUser is not available on Mac"):
        accounts.log_out(key(mac), by=house.admin)
    with pytest.raises(accounts.Refused, match="not available on iPad"):
        accounts.unlock(key(ipad), name="anna", by=house.admin)
    with pytest.raises(accounts.Refused, match="not available on iPhone"):
        accounts.list_users(key(phone), by=house.admin)
    with pytest.raises(accounts.Refused, match="Shared iPad or a Mac only"):
        accounts.delete(key(plain), name="anna", by=house.admin)
    with pytest.raises(accounts.Refused, match="not among the accounts"):
        accounts.unlock(key(mac), name="nobody", by=house.admin)
    assert "Users on it" not in page(house, house.enrolled_phone())


def test_each_deed_asks_for_its_own_right(house: House) -> None:
    mac = enrolled_mac(house)
    mac.add_user("anna")
    key = house.device(mac).pk
    accounts.list_users(key, by=house.helpdesk)
    mac.connect()

    with pytest.raises(Forbidden):
        accounts.delete(key, name="anna", by=house.helpdesk)
    with pytest.raises(Forbidden):
        accounts.log_out(key, by=house.helpdesk)
    with pytest.raises(Forbidden):
        accounts.unlock(key, name="anna", by=house.approver)
    with pytest.raises(Forbidden):
        accounts.know("nora", Secret(b"sesame"), by=house.helpdesk)
    elsewhere = house.person("admin", name="elsewhere", everything=False)
    with pytest.raises(Forbidden):
        accounts.delete(key, name="anna", by=elsewhere)
    assert house.commands(mac, "DeleteUser") == []


@override_settings(NETWORK_USERS="digest", NETWORK_USERS_REALM="Example Org")
def test_staff_give_a_network_users_password_and_take_it_out_again(house: House) -> None:
    mac = enrolled_mac(house)
    nora = mac.add_user("nora", network=True, password=" two words ")
    client = Client()
    client.force_login(house.admin)
    with override_settings(DOOR_PRIVATE_KEY=""):  # the staff site seals, and cannot open
        client.post("/devices/networkuser/add/", {"short_name": "nora", "password": " two words "})
    assert nora.log_in()

    known = accounts.know("nora", Secret(b"a new one"), by=house.admin)
    assert nora.idle().status == 200  # until the next login
    nora.log_out()
    assert not nora.log_in()

    accounts.no_longer_know(known.pk, by=house.admin)
    assert not nora.log_in("a new one")


def test_without_the_doors_key_the_staff_site_says_what_is_missing(house: House) -> None:
    with (
        override_settings(DOOR_PRIVATE_KEY="", DOOR_PUBLIC_KEY=""),
        pytest.raises(accounts.Refused, match="DOOR_PUBLIC_KEY"),
    ):
        accounts.know("nora", Secret(b"sesame"), by=house.admin)


@pytest.mark.parametrize("name", ["", "  ", "a:b", 'a"b', "a\\b", "a\nb", "a\0b"])
def test_a_short_name_that_would_make_another_digest_is_refused(house: House, name: str) -> None:
    with pytest.raises(accounts.Refused, match="short name"):
        accounts.know(name, Secret(b"sesame"), by=house.admin)


@pytest.mark.parametrize(
    "users",
    [
        None,
        "all",
        [],
        [{}],
        ["anna"],
        [{"UserName": 7}],
        [{"UserName": "x" * 201}],
        [{"UserName": "anna", "UID": 2**63, "IsLoggedIn": "yes", "DataUsed": -(2**63)}],
        [{"UserName": "anna"}, {"UserName": "anna", "FullName": "Anna " * 100}],
    ],
)
def test_a_list_that_makes_no_sense_stops_nothing(house: House, users: object) -> None:
    mac = enrolled_mac(house)
    accounts.list_users(house.device(mac).pk, by=house.admin)
    command = house.commands(mac, "UserList")[0]
    mac.idle()

    response = mac.report(
        {
            "UDID": mac.udid,
            "Status": "Acknowledged",
            "CommandUUID": str(command.uuid),
            "Users": users,
        }
        if users is not None
        else {"UDID": mac.udid, "Status": "Acknowledged", "CommandUUID": str(command.uuid)}
    )

    assert response.status == 200
    assert state(command) == "acknowledged"
    command.refresh_from_db()
    assert command.ended_because == ""
    assert Account.objects.count() <= 1
