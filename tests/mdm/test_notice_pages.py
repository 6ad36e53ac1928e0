"""The pages of notices: where they go, what has not arrived, one's own; and what a request's page says."""

from collections.abc import Iterator

import pytest
from django.test import Client
from pytest_django import Settings

from devices import notices as sending
from devices.models import NoMail, Notice
from devices.rules.notices import FIRST_RETRY
from passcodes import inbox
from staff.models import Scope, User
from tests import clears
from tests.house import House
from tests.mailbox import Mailbox, open_mailbox
from tests.notices import knows, use, with_address

pytestmark = pytest.mark.django_db
LIST = "/devices/notice/"
MINE = "/devices/notice/mine/"


@pytest.fixture
def post(house: House, settings: Settings) -> Iterator[Mailbox]:
    with_address(house.approver, house.approver2, house.helpdesk)
    with open_mailbox() as box:
        use(settings, box)
        yield box


def page(user: User, address: str, **fields: str) -> str:
    client = Client()
    client.force_login(user)
    if fields:
        return client.post(address, fields, follow=True).getvalue().decode()
    return client.get(address).getvalue().decode()


def words(html: str) -> str:
    return " ".join(html.split())


def test_a_house_without_mail_is_told_how_to_have_it(house: House) -> None:
    shown = page(house.admin, LIST)
    assert "Nobody is written to." in shown
    assert "EMAIL_URL" in shown


def test_the_page_says_where_they_go_and_sends_a_trial(
    house: House, post: Mailbox, settings: Settings
) -> None:
    knows(settings, slack="https://hooks.example.org/T0/tulips")
    with_address(house.admin)
    shown = page(house.admin, LIST)
    assert "hooks.example.org" in shown
    assert "tulips" not in shown
    assert "Not tried yet" in shown
    said = page(house.admin, f"{LIST}try/mail/", x="1")
    assert "A trial is on its way." in said
    assert sending.send_due() == 1
    assert post.letters[0].to == ["admin@example.org"]
    assert "Arrives" in page(house.admin, LIST)


def test_who_may_sign_and_cannot_be_written_to_is_named(house: House, post: Mailbox) -> None:
    house.person("approver", name="newcomer")
    assert "No address is known of newcomer, who may sign." in words(page(house.admin, LIST))


def test_what_does_not_arrive_burns_for_admins_and_stands_on_the_request(
    house: House, post: Mailbox
) -> None:
    asked = clears.ask(clears.with_token(), by=house.helpdesk)
    on = f"/passcodes/clearrequest/{asked.pk}/change/"
    assert "A clear waits, Mail to approver, approver2: on its way" in words(
        page(house.helpdesk, on)
    )
    post.refuses = True
    sending.send_due()
    shown = words(page(house.helpdesk, on))
    assert "A clear waits, Mail to approver, approver2: failed, tried again at" in shown
    assert "The mail server answers 452." in shown
    burns = "Notices have not gone out by mail since"
    assert burns in page(house.admin, "/")
    assert burns not in page(house.helpdesk, "/")
    post.refuses = False
    house.clock.forward(seconds=FIRST_RETRY.total_seconds() + 1)
    assert sending.send_due() == 2
    assert burns not in page(house.admin, "/")
    assert "Mail to approver, approver2: sent" in words(page(house.helpdesk, on))


def test_an_admin_tries_again_and_puts_aside(house: House, post: Mailbox) -> None:
    clears.ask(clears.with_token(), by=house.helpdesk)
    post.knows_nobody = True
    sending.send_due()
    post.knows_nobody = False
    first, second = Notice.objects.order_by("person__username")
    assert "does not take mail for approver (550)" in page(house.admin, LIST)
    assert "It is tried again now." in page(house.admin, f"{LIST}{first.pk}/again/", x="1")
    assert "Put aside." in page(house.admin, f"{LIST}{second.pk}/let-be/", x="1")
    assert sending.send_due() == 1
    assert "Put aside by admin." in page(house.auditor, f"{LIST}?state=dropped")
    assert "Try again" not in page(house.auditor, LIST)


def test_nobody_reads_or_moves_notices_of_devices_outside_their_scope(
    house: House, post: Mailbox
) -> None:
    clears.ask(clears.with_token(), by=house.helpdesk)
    region = house.person("admin", name="region", everything=False)
    Scope.objects.create(user=region).groups.add(house.group("Region"))
    assert "Till 4" in page(house.admin, LIST)
    assert "Till 4" not in page(region, LIST)
    one = Notice.objects.order_by("pk")[0]
    for deed in ("again", "let-be"):
        assert "no such page" in page(region, f"{LIST}{one.pk}/{deed}/", x="1").lower()
    one.refresh_from_db()
    assert (one.state, one.attempts) == ("waiting", 0)


def test_everybody_says_for_themselves_whether_they_want_mail(house: House, post: Mailbox) -> None:
    assert 'name="mail" checked' in page(house.approver, MINE)
    assert "When something waits for your signature" in page(house.approver, MINE)
    page(house.approver, MINE, other="1")
    assert NoMail.objects.get().person == house.approver
    assert 'name="mail" checked' not in page(house.approver, MINE)
    page(house.approver, MINE, mail="on")
    assert not NoMail.objects.exists()
    assert "Nothing at present" in page(house.outsider, MINE)
    assert "No address of yours is known." in page(house.outsider, MINE)


def test_ones_own_last_notices_stand_on_ones_own_page(house: House, post: Mailbox) -> None:
    clears.ask(clears.with_token(), by=house.helpdesk)
    assert "A clear waits to be signed: Till 4" in page(house.approver, MINE)
    assert "A clear waits to be signed" not in page(house.helpdesk, MINE)


def test_why_is_said_in_the_same_words_on_every_page(house: House) -> None:
    tills = clears.several(2)
    one, other = (clears.ask(till, by=house.helpdesk) for till in tills)
    assert one.reason_in_words == "The user has forgotten the passcode"
    assert page(house.approver, "/").count(f"{one.reason_in_words}. Asked by") == 2
    reading = page(house.approver, f"/passcodes/clearrequest/{other.pk}/change/")
    assert reading.count(f"{one.reason_in_words}. ") == 2  # its own, and of the earlier one


def test_the_inbox_shows_what_is_half_signed_and_why_one_cannot(
    house: House, post: Mailbox
) -> None:
    tills = clears.several(2)
    asked = clears.ask(tills[0], by=house.helpdesk)
    clears.ask(tills[1], by=house.helpdesk)
    shown = words(page(house.approver, "/passcodes/clearrequest/"))
    assert shown.index("Clear the passcode of Till 1") < shown.index(
        "Clear the passcode of Till 2"
    )
    second = inbox.mine(house.approver)[1].about.pk
    reading = words(page(house.approver, f"/passcodes/clearrequest/{second}/change/"))
    assert "2 of 2 waiting" in reading
    assert f'rel="prev" href="/passcodes/clearrequest/{asked.pk}/change/"' in reading
    clears.approve(second, by=house.approver)
    after = words(page(house.approver, f"/passcodes/clearrequest/{second}/change/"))
    assert "1 more waits for you" in after
    assert f'rel="next" href="/passcodes/clearrequest/{asked.pk}/change/"' in after


def test_a_request_says_how_it_stood_when_it_was_asked_for(house: House) -> None:
    phone = house.enrolled_phone(passcode="4711")
    asked = clears.ask(house.device(phone), by=house.helpdesk)
    shown = words(page(house.approver, f"/passcodes/clearrequest/{asked.pk}/change/"))
    assert "Set; no policy" in shown
    assert "Would stop" in shown
    assert "1 request by helpdesk in the last seven days" in shown
