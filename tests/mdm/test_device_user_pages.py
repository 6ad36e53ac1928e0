"""Pages about users of Macs and Shared iPads: whom a configuration is given to, and how each stands."""

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from devices import audit
from devices.models import Device, DeviceUser
from passcodes import configurations, rollout, witness
from passcodes.models import Release, WithheldConfiguration
from staff.models import Scope
from tests.house import House
from tests.scenes import STRICT, acknowledge, answer, profile, published, rows, user_row

NEW = "/passcodes/withheldconfiguration/add/"


def sign_in(house: House, role: str = "author") -> Client:
    client = Client()
    client.force_login(getattr(house, role))
    return client


def text(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


@pytest.fixture
def mac(house: House) -> Device:
    (mac,) = rows(1, platform="macos", serial="C02AB")
    user_row(mac, "anna", long_name="Anna of the desk")
    user_row(mac, "bo")
    return mac


@pytest.fixture
def mail(house: House) -> WithheldConfiguration:
    return configurations.upload(
        "Mail",
        profile("com.example.mail"),
        for_users=True,
        installed_policy_is_enough=True,
        by=house.author,
    )


def user(name: str) -> DeviceUser:
    return DeviceUser.objects.get(short_name=name)


def assign(client: Client, one: WithheldConfiguration, **fields: Any) -> Any:
    """Choose, read the numbers, and confirm them."""
    address = f"/passcodes/withheldconfiguration/{one.pk}/assign/"
    counted: Any = client.post(address, {"serials": "", "people": "", **fields})
    found = re.search(r'name="counted" value="([^"]+)"', counted.content.decode())
    if found is None:
        return counted
    again = {"serials": "", "people": "", **fields, "counted": found[1]}
    return client.post(address, again, follow=True)


def test_an_upload_for_users_says_so_and_one_that_cannot_be_is_refused(house: House) -> None:
    client = sign_in(house)

    def upload(**said: Any) -> Any:
        file = SimpleUploadedFile("mail.mobileconfig", profile("com.example.mail"))
        return client.post(NEW, {"profile": file, "name": "Mail", **said}, follow=True)

    assert "it would wait for ever" in text(upload(for_users="on"))
    shown = text(upload(for_users="on", installed_policy_is_enough="on"))
    assert "A user gets it on a channel of their own" in shown
    assert WithheldConfiguration.objects.get().for_users


def test_a_single_user_is_named_by_serial_and_short_name(
    house: House, mac: Device, mail: WithheldConfiguration
) -> None:
    client = sign_in(house)
    shown = text(assign(client, mail, people="C02AB anna"))
    assert "Mail is meant for 1 user." in shown
    assert "No passcode policy is wanted" in shown
    assert [one.user for one in Release.objects.all()] == [user("anna")]
    form = client.get(f"/passcodes/withheldconfiguration/{mail.pk}/assign/").content.decode()
    assert "C02AB anna" in form


def test_all_users_of_a_group_are_counted_and_who_is_left_out_loses_it(
    house: House, mac: Device, mail: WithheldConfiguration
) -> None:
    group = house.group("Macs")
    group.devices.add(mac)
    rows(2, group=group)
    client = sign_in(house)
    counted = client.post(
        f"/passcodes/withheldconfiguration/{mail.pk}/assign/",
        {"groups": [group.pk], "serials": "", "people": ""},
    )
    assert "Give Mail to 2 users?" in text(counted)
    assert "meant for 2 users" in text(assign(client, mail, groups=[group.pk]))
    assert "Give it to 1 user, take it from 1 Choose" in text(
        client.post(
            f"/passcodes/withheldconfiguration/{mail.pk}/assign/",
            {"serials": "", "people": "C02AB bo"},
        )
    )
    assign(client, mail, people="C02AB bo")
    assert Release.objects.get(user=user("anna")).state == "ended"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"people": "C02AB nobody"}, "Not among the users that you may act on: C02AB nobody."),
        ({"people": "C02AB"}, "Not among the users that you may act on: C02AB."),
        ({"serials": "PHONE"}, "Only a Mac and a Shared iPad have user channels."),
    ],
)
def test_who_cannot_be_given_it_is_told_before_anything_is_counted(
    house: House, mac: Device, mail: WithheldConfiguration, fields: dict[str, str], words: str
) -> None:
    rows(1, serial="PHONE")
    assert words in text(assign(sign_in(house), mail, **fields))
    assert not Release.objects.exists()


def test_users_outside_ones_scope_are_not_found_and_keep_what_they_have(
    house: House, mac: Device, mail: WithheldConfiguration
) -> None:
    (other,) = rows(1, platform="macos", serial="C02CD")
    user_row(other, "cleo")
    configurations.assign(mail.pk, user_ids=[user("cleo").pk], by=house.author)
    group = house.group("Mine")
    group.devices.add(mac)
    scope = Scope.objects.get(user=house.author)
    scope.everything = False
    scope.save()
    scope.groups.add(group)
    client = sign_in(house)
    assert "Not among the users" in text(assign(client, mail, people="C02CD cleo"))
    assign(client, mail, people="C02AB anna")
    assert set(mail.users.all()) == {user("anna"), user("cleo")}
    assert client.get(f"/devices/deviceuser/{user('cleo').pk}/change/").status_code == 404
    assert "cleo" not in text(client.get("/devices/deviceuser/"))


def test_a_users_page_says_what_is_theirs_and_why_the_rest_is_held(
    house: House, mac: Device, mail: WithheldConfiguration
) -> None:
    rollout.push(published(house, STRICT).pk, device_ids=[mac.pk], by=house.author)
    configurations.assign(mail.pk, device_ids=[mac.pk], by=house.author)
    client = sign_in(house, "helpdesk")
    address = f"/devices/deviceuser/{user('anna').pk}/change/"
    assert "The wanted version of the policy is not proven installed." in text(client.get(address))

    acknowledge(mac)
    command = Release.objects.get(user=user("anna")).command
    assert command is not None
    shown = text(client.get(address))
    assert "On its way" in shown
    assert "InstallProfile: Internal Wi-Fi" in shown
    answer(command)
    Release.objects.filter(user=user("anna")).update(
        state="delivered", delivered_at=house.clock.now()
    )
    audit.record("login.refused", device=mac, user=user("anna").user_id)
    listed = [{"identifier": "com.example.mail", "uuid": None, "name": "Mail of anna"}]
    anna = user("anna")
    anna.device = Device.objects.locked(mac.pk)
    witness.profiles_of_user(anna, listed, asked_at=house.clock.now())

    shown = text(client.get(address))
    assert "and their channel lists it" in shown
    assert "A network user did not show the right password." in shown
    assert "Mail of anna" in shown
    assert "a local user" in shown
    assert "A user of the device" not in text(client.get("/devices/deviceuser/"))


def test_the_macs_page_names_each_user_and_what_they_lack(
    house: House, mac: Device, mail: WithheldConfiguration
) -> None:
    configurations.assign(mail.pk, user_ids=[user("anna").pk], by=house.author)
    response: Any = sign_in(house, "helpdesk").get(f"/devices/device/{mac.pk}/change/")
    shown = text(response)
    assert "Mail for anna" in shown
    assert "withheld: Mail" in shown
    assert f"/devices/deviceuser/{user('anna').pk}/change/" in response.content.decode()


def test_what_waits_for_a_user_is_not_said_to_wait_for_the_mac(house: House, mac: Device) -> None:
    witness.ask_users([user("anna")])
    shown = text(sign_in(house, "helpdesk").get(f"/devices/device/{mac.pk}/change/"))
    assert "ProfileList" not in shown
    assert "1 waiting" in shown


def test_a_user_who_has_left_is_said_to_and_is_not_asked(house: House, mac: Device) -> None:
    gone = user_row(mac, "gone", is_active=False, push_token=None)
    client = sign_in(house, "helpdesk")
    shown = text(client.get(f"/devices/deviceuser/{gone.pk}/change/"))
    assert "gone has no channel on Row" in shown
    assert "Ask what is there now" not in shown
    answered = client.post(f"/devices/deviceuser/{gone.pk}/ask/", follow=True)
    assert "has no channel" in text(answered)
