"""A configuration for users: on its way to each of them, held by the device's gate, taken back, gone with them."""

from typing import Any

import pytest
from pytest_django.fixtures import Settings

from devices.models import Command, DeviceUser
from devices.rules.waking import Gone
from passcodes import accounts, configurations, custody, gate, rollout, witness
from passcodes.models import Evidence, PolicyVersion, Release, WithheldConfiguration
from passcodes.models.gate import ReleaseState
from tests.house import House
from tests.macs import ask, enrolled_mac, enrolled_shared_ipad, row
from tests.scenes import STRICT, acknowledge, profile, published, rows, user_row
from tests.simulator.users import Mac, SharedIPad, User, WithUsers

MAIL = "com.example.mail"
PAYLOAD = {
    "PayloadType": "com.apple.mail.managed",
    "PayloadVersion": 1,
    "PayloadIdentifier": f"{MAIL}.1",
    "PayloadUUID": "9C0B8F0E-2B52-4E0A-8E2A-50A1D3C5B0A1",
}


def uploaded(
    house: House, payload: dict[str, Any] = PAYLOAD, *, name: str = "Mail", **how: bool
) -> WithheldConfiguration:
    identifier = payload["PayloadIdentifier"].removesuffix(".1")
    return configurations.upload(
        name,
        profile(identifier, PayloadContent=[payload]),
        **{"for_users": True, "installed_policy_is_enough": True, **how},
        by=house.author,
    )


def meant(house: House, **whom: Any) -> WithheldConfiguration:
    """Mail that is taken back when it has to be, for these."""
    configuration = uploaded(house, withdraw_on_regression=True)
    return configurations.assign(configuration.pk, **whom, by=house.author)


def with_policy(house: House, *devices: WithUsers) -> PolicyVersion:
    version = published(house, STRICT)
    rollout.push(
        version.pk, device_ids=[house.device(device).pk for device in devices], by=house.author
    )
    return version


@pytest.fixture
def mac(house: House) -> Mac:
    """A Mac with its policy; anna and bo are logged in."""
    mac = enrolled_mac(house, declarative=False)
    with_policy(house, mac)
    mac.connect()
    for name in ("anna", "bo"):
        assert mac.add_user(name).log_in()
    return mac


def release(house: House, user: User) -> Release:
    """The newest way of the configuration to the user."""
    return Release.objects.filter(user=row(house, user)).latest("pk")


def states(house: House, *users: User) -> list[str]:
    return [release(house, user).state for user in users]


def test_each_user_gets_it_on_a_channel_of_their_own(house: House, mac: Mac) -> None:
    anna, bo = mac.users.values()
    meant(house, device_ids=[house.device(mac).pk])
    assert states(house, anna, bo) == ["queued", "queued"]
    assert row(house, anna).wake_due_at is not None
    assert mac.connect() == []

    anna.connect()

    assert (list(anna.profiles), list(bo.profiles)) == ([MAIL], [])
    assert MAIL not in mac.installed
    assert states(house, anna, bo) == ["delivered", "queued"]
    assert "gate.delivered" in house.audit(mac)


def test_one_user_is_chosen_and_the_other_gets_nothing(house: House, mac: Mac) -> None:
    anna, bo = mac.users.values()
    meant(house, user_ids=[row(house, bo).pk])
    for user in (anna, bo):
        user.connect()
    assert (list(anna.profiles), list(bo.profiles)) == ([], [MAIL])
    assert Release.objects.count() == 1


def test_who_logs_in_later_gets_it_at_that_login(house: House, mac: Mac) -> None:
    group = house.group("Macs")
    group.devices.add(house.device(mac))
    meant(house, group_ids=[group.pk])
    cleo = mac.add_user("cleo")

    assert cleo.log_in()

    assert list(cleo.profiles) == [MAIL]


def test_a6_users_of_a_shared_ipad_each_get_theirs(house: House) -> None:
    ipad: SharedIPad = enrolled_shared_ipad(house)
    with_policy(house, ipad)
    ipad.connect()
    meant(house, device_ids=[house.device(ipad).pk])
    anna, bo = ipad.add_user("anna@example.com"), ipad.add_user("bo@example.com")

    anna.log_in()
    anna.log_out()
    assert list(anna.profiles) == [MAIL]
    assert Release.objects.count() == 1
    bo.log_in()

    assert list(bo.profiles) == [MAIL]
    assert states(house, anna, bo) == ["delivered", "delivered"]


def test_a11_an_answer_of_one_user_delivers_nothing_to_another(house: House, mac: Mac) -> None:
    anna, bo = mac.users.values()
    meant(house, device_ids=[house.device(mac).pk])
    anna.idle()
    command = release(house, anna).command
    assert command is not None
    bo.report({"Status": "Acknowledged", "CommandUUID": str(command.uuid)})
    mac.report({"Status": "Acknowledged", "CommandUUID": str(command.uuid)})
    assert states(house, anna, bo) == ["queued", "queued"]


def test_it_is_withheld_while_the_mac_does_not_have_its_policy(house: House) -> None:
    mac = enrolled_mac(house)
    anna = mac.add_user("anna")
    anna.log_in()
    meant(house, device_ids=[house.device(mac).pk])
    held = release(house, anna)
    assert (held.state, held.command) == ("withheld", None)
    assert "No passcode policy is wanted" in held.reasons[0]

    with_policy(house, mac)
    assert "not proven installed" in release(house, anna).reasons[0]
    assert anna.connect() == []
    mac.connect()
    anna.connect()

    assert list(anna.profiles) == [MAIL]


def test_the_gate_is_asked_again_when_the_user_comes_for_it(house: House, mac: Mac) -> None:
    anna, bo = mac.users.values()
    meant(house, device_ids=[house.device(mac).pk])
    device = house.device(mac)
    device.lost_at = house.clock.now()
    device.save(update_fields=["lost_at"])  # nobody reviews the gate

    anna.connect()

    assert list(anna.profiles) == []
    held = release(house, anna)
    assert held.state == ReleaseState.WITHHELD
    assert "marked lost" in held.reasons[0]
    assert states(house, bo) == ["queued"]


def test_a_lost_mac_gives_its_users_nothing_more(house: House, mac: Mac) -> None:
    anna, _bo = mac.users.values()
    meant(house, device_ids=[house.device(mac).pk])
    custody.mark_lost(house.device(mac).pk, note="Gone.", by=house.helpdesk)
    assert states(house, anna) == ["withheld"]
    assert "marked lost" in release(house, anna).reasons[0]


def without_its_policy(house: House, mac: Mac) -> None:
    """The policy's profile has gone from the Mac, and its list says so."""
    house.clock.forward(minutes=11)
    identifier = PolicyVersion.objects.get().policy.identifier
    del mac.profiles[identifier]
    witness.ask_due()
    while b"ProfileList" not in (asked := mac.idle()).body:
        mac.report(mac.answer(asked.body))
    mac.report(mac.answer(asked.body))


def test_a_mac_whose_policy_has_gone_gives_it_back(house: House, mac: Mac) -> None:
    anna, bo = mac.users.values()
    meant(house, device_ids=[house.device(mac).pk])
    anna.connect()
    assert list(anna.profiles) == [MAIL]

    without_its_policy(house, mac)

    assert states(house, anna, bo) == ["withdrawing", "withheld"]
    anna.connect()
    assert list(anna.profiles) == []
    assert "not proven installed" in " ".join(release(house, bo).reasons)
    mac.connect()  # the policy comes back
    anna.connect()
    assert list(anna.profiles) == [MAIL]


def test_a_mac_that_loses_the_declaration_of_its_policy_gives_it_back(
    house: House, settings: Settings
) -> None:
    settings.DECLARATIVE = True
    mac = enrolled_mac(house, declarative=True)
    version = with_policy(house, mac)
    while house.woken():
        pass
    anna = mac.add_user("anna")
    anna.log_in()
    meant(house, device_ids=[house.device(mac).pk])
    anna.connect()
    assert (list(anna.profiles), mac.installed) == ([MAIL], [])

    mac.declarations.lost = [version.policy.identifier]
    mac.report_status()

    assert states(house, anna) == ["withdrawing"]
    anna.connect()
    mac.connect()  # the policy comes as a profile
    anna.connect()
    assert list(anna.profiles) == [MAIL]


def test_what_does_not_say_so_stays(house: House, mac: Mac) -> None:
    anna, _bo = mac.users.values()
    configuration = uploaded(house)
    configurations.assign(configuration.pk, user_ids=[row(house, anna).pk], by=house.author)
    anna.connect()
    without_its_policy(house, mac)
    assert states(house, anna) == ["delivered"]


def test_a_stricter_version_takes_nothing_back(house: House, mac: Mac) -> None:
    anna, _bo = mac.users.values()
    meant(house, device_ids=[house.device(mac).pk])
    anna.connect()
    house.clock.forward(minutes=11)
    witness.ask_due()
    mac.connect()
    other = published(house, STRICT, name="Another")
    rollout.push(other.pk, device_ids=[house.device(mac).pk], by=house.author)
    assert not gate.answer(house.device(mac)).open
    assert states(house, anna) == ["delivered"]


def test_who_is_no_longer_meant_loses_it_and_the_other_keeps_it(house: House, mac: Mac) -> None:
    anna, bo = mac.users.values()
    configuration = meant(house, device_ids=[house.device(mac).pk])
    anna.connect()
    bo.connect()

    configurations.assign(configuration.pk, user_ids=[row(house, bo).pk], by=house.author)

    assert states(house, anna, bo) == ["withdrawing", "delivered"]
    anna.connect()
    assert (list(anna.profiles), list(bo.profiles)) == ([], [MAIL])
    assert states(house, anna) == ["ended"]
    configurations.retire(configuration.pk, by=house.author)
    bo.connect()
    assert (list(bo.profiles), states(house, bo)) == ([], ["ended"])


def test_it_ends_with_the_account_and_nobody_is_told_to_remove_it(house: House) -> None:
    ipad = enrolled_shared_ipad(house)
    with_policy(house, ipad)
    ipad.connect()
    anna, bo = ipad.add_user("anna@example.com"), ipad.add_user("bo@example.com")
    for user in (anna, bo):
        user.log_in()
        user.log_out()
    configuration = meant(house, device_ids=[house.device(ipad).pk])
    accounts.list_users(house.device(ipad).pk, by=house.admin)
    ipad.connect()
    waiting = release(house, anna).command
    accounts.delete(house.device(ipad).pk, name="anna@example.com", by=house.admin)

    ipad.connect()

    assert states(house, anna, bo) == ["ended", "queued"]
    assert waiting is not None
    waiting.refresh_from_db()
    assert waiting.state == "cancelled"
    assert not Command.objects.filter(user=row(house, anna), request_type="RemoveProfile")
    assert configuration.releases.filter(user=row(house, bo)).count() == 1


@pytest.mark.parametrize("how", ["checks out", "enrolls anew"])
def test_a14_it_ends_with_the_device_and_begins_anew(house: House, mac: Mac, how: str) -> None:
    anna, bo = mac.users.values()
    meant(house, device_ids=[house.device(mac).pk])
    anna.connect()
    waiting = release(house, bo).command
    assert waiting is not None

    if how == "checks out":
        mac.check_out()
    house.give_profile(mac)
    mac.enroll()

    waiting.refresh_from_db()
    assert waiting.state == "cancelled"
    assert states(house, anna, bo) == ["ended", "ended"]
    mac.connect()
    anna.profiles.clear()
    anna.log_in()
    anna.connect()
    assert states(house, anna, bo)[0] in {"delivered", "withheld", "queued"}
    assert Release.objects.filter(user=row(house, anna)).count() == 2


def test_a_network_user_who_is_not_managed_at_a_login_keeps_what_they_have(
    house: House, mac: Mac
) -> None:
    nora = mac.add_user("nora", network=True)
    person = DeviceUser.objects.create(
        device=house.device(mac),
        user_id=nora.user_id,
        short_name="nora",
        push_token=nora.push_token,
        push_magic=nora.push_magic,
    )
    configuration = meant(house, user_ids=[person.pk])
    Release.objects.filter(user=person).update(
        state=ReleaseState.DELIVERED, delivered_at=house.clock.now(), command=None
    )
    assert nora.log_in() is False  # declined: network users are not managed here
    gate.review(house.device(mac))
    assert states(house, nora) == ["delivered"]

    configurations.retire(configuration.pk, by=house.author)

    assert states(house, nora) == ["withdrawing"]  # and waits for a login that is managed


def test_a_user_who_is_not_managed_now_is_waited_for_in_words(house: House, mac: Mac) -> None:
    person = user_row(house.device(mac), "nora", is_active=False)
    meant(house, user_ids=[person.pk])
    held = Release.objects.get(user=person)
    assert held.state == ReleaseState.WITHHELD
    assert held.reasons == ["nora is not managed at this login. It waits for the next one."]


# What cannot be is refused in words.


def test_what_no_user_can_be_given_is_refused_at_the_upload(house: House) -> None:
    firewall = {**PAYLOAD, "PayloadType": "com.apple.security.firewall"}
    with pytest.raises(configurations.Refused, match="firewall is for devices"):
        uploaded(house, firewall)
    with pytest.raises(configurations.Refused, match="wait for ever"):
        uploaded(house, installed_policy_is_enough=False)
    whole = profile(MAIL, PayloadContent=[PAYLOAD], PayloadScope="System")
    with pytest.raises(configurations.Refused, match="PayloadScope"):
        configurations.upload(
            "Mail", whole, for_users=True, installed_policy_is_enough=True, by=house.author
        )
    assert not WithheldConfiguration.objects.exists()


def test_users_on_an_iphone_and_users_without_a_channel_are_refused(
    house: House, mac: Mac
) -> None:
    (iphone,) = rows(1)
    gone = user_row(house.device(mac), "gone", is_active=False, push_token=None)
    configuration = uploaded(house)

    def refused(words: str, **whom: list[int]) -> None:
        with pytest.raises(configurations.Refused, match=words):
            configurations.assign(configuration.pk, **whom, by=house.author)

    refused("Only a Mac and a Shared iPad have user channels", device_ids=[iphone.pk])
    refused("no push token", user_ids=[gone.pk])
    assert not Release.objects.exists()
    dock = uploaded(
        house,
        {**PAYLOAD, "PayloadType": "com.apple.dock", "PayloadIdentifier": "com.example.dock.1"},
        name="Dock",
    )
    (ipad,) = rows(1, platform="ipados", is_shared_ipad=True)
    with pytest.raises(configurations.Refused, match="A user of a Shared iPad cannot be given"):
        configurations.assign(dock.pk, device_ids=[ipad.pk], by=house.author)


def test_one_for_devices_is_given_to_no_user(house: House, mac: Mac) -> None:
    anna, _bo = mac.users.values()
    configuration = configurations.upload("Wi-Fi", profile(), by=house.author)
    with pytest.raises(configurations.Refused, match="is for devices"):
        configurations.assign(configuration.pk, user_ids=[row(house, anna).pk], by=house.author)
    configurations.assign(configuration.pk, device_ids=[house.device(mac).pk], by=house.author)
    assert Release.objects.get().user is None


def test_in_a_group_who_cannot_be_given_it_is_held_with_the_reason(house: House) -> None:
    group = house.group("All")
    (ipad,) = rows(1, platform="ipados", is_shared_ipad=True, group=group)
    rows(1, group=group)
    dock = uploaded(house, {**PAYLOAD, "PayloadType": "com.apple.dock"})
    rollout.push(published(house, STRICT).pk, group_ids=[group.pk], by=house.author)
    person = user_row(ipad, "anna@example.com")
    configurations.assign(dock.pk, group_ids=[group.pk], by=house.author)
    acknowledge(ipad)
    only = Release.objects.get()
    assert (only.user, only.state) == (person, "withheld")
    assert only.reasons == ["A user of a Shared iPad cannot be given com.apple.dock."]


# What a user's own channel bears witness of.


def test_a_profile_that_the_users_list_does_not_show_is_put_out_again(
    house: House, mac: Mac
) -> None:
    anna, bo = mac.users.values()
    meant(house, device_ids=[house.device(mac).pk])
    anna.connect()
    bo.connect()
    del anna.profiles[MAIL]

    ask(house, anna, "ProfileList")
    anna.connect()

    assert list(anna.profiles) == [MAIL]
    assert "gate.missing" in house.audit(mac)
    assert states(house, anna, bo) == ["delivered", "delivered"]


def test_a_list_of_one_user_says_nothing_of_another_or_of_the_device(
    house: House, mac: Mac
) -> None:
    anna, bo = mac.users.values()
    meant(house, device_ids=[house.device(mac).pk])
    bo.connect()
    before = gate.answer(house.device(mac))

    ask(house, anna, "ProfileList")
    anna.connect()
    ask(house, mac.users["anna"], "ProfileList")
    mac.connect()

    assert states(house, bo) == ["delivered"]
    assert gate.answer(house.device(mac)) == before
    assert "policy.not_there" not in house.audit(mac)


def test_a_list_of_the_mac_says_nothing_of_its_users(house: House, mac: Mac) -> None:
    anna, _bo = mac.users.values()
    meant(house, device_ids=[house.device(mac).pk])
    anna.connect()
    house.clock.forward(minutes=11)

    witness.ask_due()
    mac.connect()

    assert states(house, anna) == ["delivered"]


def test_what_a_users_channel_says_of_a_passcode_is_no_evidence(house: House) -> None:
    ipad = enrolled_shared_ipad(house)
    with_policy(house, ipad)
    ipad.connect()
    anna = ipad.add_user("anna@example.com")
    anna.log_in()
    before = list(Evidence.objects.values_list("pk", flat=True))

    ask(house, anna, "Restrictions")
    anna.connect()

    assert list(Evidence.objects.values_list("pk", flat=True)) == before
    assert witness.of(house.device(ipad)).heard_at is None
    said = witness.of_user(row(house, anna))
    assert said.heard_at is not None


def test_users_are_asked_once_a_day_while_they_are_there(house: House, mac: Mac) -> None:
    anna, bo = mac.users.values()
    assert witness.ask_users_due() == 2
    assert witness.ask_users_due() == 0
    anna.connect()
    bo.connect()
    assert witness.ask_users_due() == 0
    house.clock.forward(hours=25)
    assert witness.ask_users_due() == 0  # nobody has been there for a day
    anna.idle()
    assert witness.ask_users_due() == 1


def test_a_user_whose_address_is_dead_is_not_asked(house: House, mac: Mac) -> None:
    anna, _bo = mac.users.values()
    house.push_answers[anna.push_token] = Gone(house.clock.forward(seconds=5))
    ask(house, anna, "DeviceInformation")
    house.tick()
    assert row(house, anna).token_dead_since is not None
    witness.ask_users_due()
    assert not Command.objects.filter(user=row(house, anna), request_type="ProfileList")


def test_helpdesk_asks_one_user(house: House, mac: Mac) -> None:
    anna, _bo = mac.users.values()
    accounts.ask(row(house, anna).pk, by=house.helpdesk)
    accounts.ask(row(house, anna).pk, by=house.helpdesk)
    asked = Command.objects.filter(user=row(house, anna), request_type="ProfileList")
    assert asked.count() == 1
    mac.check_out()
    with pytest.raises(accounts.Refused, match="not enrolled"):
        accounts.ask(row(house, anna).pk, by=house.helpdesk)
