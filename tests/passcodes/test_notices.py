"""Who is told what: whoever may sign, once more half way, who asked, and admins of what burns."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from devices import notices as sending
from devices.models import Device, Notice, PushCertificate
from devices.rules.notices import Kind, State
from passcodes import acts, clear_state, clearing, custody, notices, passkeys
from passcodes.models import VaultSays
from passcodes.rules.charter import Charter
from passcodes.rules.clearing import Refused
from staff.models import Scope, SigningKey, User
from tests import clears
from tests.house import House
from tests.mailbox import Mailbox, open_mailbox
from tests.notices import knows, use, with_address
from vault import telling

pytestmark = pytest.mark.django_db


@pytest.fixture
def post(house: House, settings: Settings) -> Iterator[Mailbox]:
    with_address(house.helpdesk, house.approver, house.approver2, house.admin)
    with open_mailbox() as box:
        use(settings, box)
        yield box


def told(kind: Kind | None = None) -> list[tuple[str, str]]:
    """Whom of what, in the order of names."""
    rows = Notice.objects.exclude(person=None)
    if kind:
        rows = rows.filter(kind=kind.value)
    return sorted((str(one.person), str(one.kind)) for one in rows.select_related("person"))


def test_whoever_may_sign_is_told_in_the_same_transaction(house: House, post: Mailbox) -> None:
    phone = clears.with_token()
    asked = clears.ask(phone, by=house.helpdesk)
    assert told() == [("approver", "sign"), ("approver2", "sign")]
    assert sending.send_due() == 2
    [letter, _] = post.letters
    assert letter.message["Subject"] == "Passcodes: A clear waits to be signed: Till 4"
    assert "helpdesk asks for the clear of Till 4 (iOS, serial F2LXQ1ABCD)" in letter.text
    assert f"/passcodes/clearrequest/{asked.pk}/change/" in letter.text
    assert "The user has forgotten the passcode." in letter.text


def test_what_people_typed_is_in_no_notice(house: House, post: Mailbox) -> None:
    """A passcode may have been typed there."""
    phone = clears.with_token()
    asked = clears.ask(phone, by=house.helpdesk, words="It was tulips4711 until today.")
    clears.deny(asked.pk, words="Try tulips4712.", by=house.approver)
    assert told(Kind.ENDED) == [("helpdesk", "ended")]
    sending.send_due()
    assert not any("tulips" in str(one.message) for one in post.letters)
    assert "tulips" not in str(list(Notice.objects.values()))


def test_a_request_that_is_refused_tells_nobody(house: House, post: Mailbox) -> None:
    drafted = clears.draft(clears.with_token(), by=house.helpdesk)
    with pytest.raises(Refused):
        clears.sign(drafted, by=house.person("helpdesk", name="someone"))
    assert told() == []


def test_only_who_may_sign_for_this_device_is_told(house: House, post: Mailbox) -> None:
    """The right, the scope, the passkey, and no part in it: all four."""
    phone = clears.with_token(assigned_to=house.approver2)
    Scope.objects.filter(user=house.approver).update(everything=False)
    unpinned = house.person("approver", name="newcomer")
    switched_off = house.person("approver", name="both")
    User.objects.filter(pk=switched_off.pk).update(is_active=False)
    clears.ask(phone, by=house.helpdesk)
    assert told() == []
    group = house.group("Tills")
    group.devices.add(phone)
    Scope.objects.get(user=house.approver).groups.add(group)
    clearing.cancel(phone.clear_requests.get().pk, by=house.helpdesk)
    clears.ask(phone, by=house.helpdesk)
    assert told() == [("approver", "sign")]
    assert unpinned.username not in dict(told())


def test_a_team_reads_of_it_in_its_channel_once(
    house: House, post: Mailbox, settings: Settings
) -> None:
    knows(settings, slack="https://hooks.example.org/x")
    clears.ask(clears.with_token(), by=house.helpdesk)
    assert list(Notice.objects.exclude(place="").values_list("place", flat=True)) == ["slack"]


def test_several_devices_make_one_notice_for_each_person(house: House, post: Mailbox) -> None:
    clears.allow_lists(house)
    found = clears.ask_list(clears.several(3), by=house.helpdesk)
    assert told() == [("approver", "sign"), ("approver2", "sign")]
    row = Notice.objects.filter(person=house.approver).get()
    assert row.title == "A clear waits to be signed: 3 devices"
    assert row.link == f"/passcodes/clearlist/{found.pk}/change/"
    clears.deny_list(found, words="Not today.", by=house.approver)
    assert told(Kind.ENDED) == [("helpdesk", "ended")]


def test_who_asked_hears_that_it_was_opened_and_that_it_is_exposed(
    house: House, post: Mailbox
) -> None:
    phone = house.enrolled_phone(passcode="4711")
    clears.signed(house, phone)
    house.vault()
    assert told(Kind.OPENED) == [("helpdesk", "opened")]
    phone.connect()
    house.clock.forward(hours=2)
    house.tick()
    assert told(Kind.EXPOSED) == [("helpdesk", "exposed")]


def test_what_one_does_oneself_one_is_not_told_of(house: House, post: Mailbox) -> None:
    asked = clears.ask(clears.with_token(), by=house.helpdesk)
    clearing.cancel(asked.pk, by=house.helpdesk)
    assert told(Kind.ENDED) == []


def test_a_draft_that_runs_out_tells_nobody(house: House, post: Mailbox) -> None:
    clears.draft(clears.with_token(), by=house.helpdesk)
    house.clock.forward(hours=1)
    assert clear_state.expire_due() == 1
    assert told() == []


def test_who_is_called_to_what_was_signed_meanwhile_is_called_no_more(
    house: House, post: Mailbox
) -> None:
    asked = clears.ask(clears.with_token(), by=house.helpdesk)
    post.refuses = True
    sending.send_due()
    clears.approve(asked.pk, by=house.approver)
    assert notices.drop_moot() == 2
    assert set(Notice.objects.values_list("state", flat=True)) == {State.DROPPED.value}


def test_what_waits_for_another_signature_calls_on(house: House, post: Mailbox) -> None:
    two(house)
    asked = clears.ask(clears.with_token(), by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    assert notices.drop_moot() == 0


def test_half_way_those_who_have_not_signed_are_reminded_once(house: House, post: Mailbox) -> None:
    two(house)
    asked = clears.ask(clears.with_token(), by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    assert notices.remind_due() == 0
    house.clock.forward(minutes=31)
    assert notices.remind_due() == 1
    assert told(Kind.REMINDER) == [("approver2", "reminder")]
    assert notices.remind_due() == 0
    [row] = Notice.objects.filter(kind=Kind.REMINDER.value)
    assert row.title == "A clear still waits to be signed: Till 4"


def test_nobody_is_reminded_of_what_is_signed(house: House, post: Mailbox) -> None:
    asked = clears.ask(clears.with_token(), by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    house.clock.forward(minutes=31)
    assert notices.remind_due() == 0


def test_a_lost_device_that_is_found_calls_who_can_agree(house: House, post: Mailbox) -> None:
    phone = clears.with_token()
    custody.mark_lost(phone.pk, note="Left in a taxi.", by=house.helpdesk)
    house.vault()
    act = clears.ask_to_find(Device.objects.get(pk=phone.pk), by=house.helpdesk)
    assert ("approver", "act") in told(Kind.ACT)
    assert "helpdesk" not in dict(told(Kind.ACT))
    links = Notice.objects.filter(about=act.pk).values_list("link", flat=True)
    assert set(links) == {f"/passcodes/act/{act.pk}/change/"}
    clears.deny_act(act, words="I do not see it.", by=house.approver)
    assert notices.drop_moot() == len(told(Kind.ACT))


def test_a_change_of_the_charter_calls_the_other_keepers(house: House, post: Mailbox) -> None:
    assert house.keeper2
    change = {"what": "list", "name": "vans", "serials": ["F2LXQ1ABCD"]}
    clears.ask_act(acts.change(change, words="They travel.", by=house.keeper), by=house.keeper)
    assert told(Kind.ACT) == [("keeper2", "act")]


def test_nobody_is_called_to_sign_what_needs_one_signature(
    house: House, post: Mailbox, settings: Settings
) -> None:
    knows(settings, slack="https://hooks.example.org/T0/tulips")
    key = SigningKey.objects.filter(person=house.approver)[0]
    act = passkeys.take_out(key.pk, words="I lost it.", by=house.approver)
    clears.ask_act(act, by=house.approver)
    assert not Notice.objects.filter(kind=Kind.ACT.value).exists()


def test_admins_are_told_of_a_push_certificate_that_ends(house: House, post: Mailbox) -> None:
    assert notices.alarm_due() == 0
    PushCertificate.objects.update(not_after=timezone.now() + timedelta(days=7), warned_days=7)
    assert notices.alarm_due() == 1
    assert notices.alarm_due() == 0
    assert told(Kind.ALARM) == [("admin", "alarm")]
    PushCertificate.objects.update(warned_days=1)
    assert notices.alarm_due() == 1
    house.clock.forward(days=8)
    VaultSays.objects.filter(about=VaultSays.HOUSE).update(at=timezone.now())
    assert notices.alarm_due() == 1
    assert Notice.objects.latest("made_at").title == "No device can be woken"


def test_admins_are_told_of_a_vault_that_is_silent_once_for_each_silence(
    house: House, post: Mailbox
) -> None:
    house.clock.forward(minutes=10)
    assert notices.alarm_due() == 1
    house.clock.forward(minutes=10)
    assert notices.alarm_due() == 0
    house.vault()
    assert notices.alarm_due() == 0
    house.clock.forward(minutes=10)
    assert notices.alarm_due() == 1
    assert Notice.objects.latest("made_at").title == "The vault is silent"


def test_admins_are_told_once_a_day_of_a_vault_that_says_that_it_stands_still(
    house: House, post: Mailbox
) -> None:
    for seconds in (4, 2):  # as it says at each look, of a clock that is behind
        telling.stands_still(f"its clock is {seconds} seconds behind.")
        notices.alarm_due()
        house.clock.forward(seconds=2)
    assert told(Kind.ALARM) == [("admin", "alarm")]
    assert "behind" in Notice.objects.get(kind=Kind.ALARM.value).lines[0]
    house.clock.forward(days=1)
    telling.stands_still("its clock is still behind.")
    assert notices.alarm_due() == 1


def two(house: House) -> None:
    """The rule demands two signatures."""

    def demanding(charter: Charter) -> Charter:
        default = replace(charter.default, approvers=2)
        return replace(charter, version=charter.version + 1, default=default)

    house.charter(demanding)
