"""Notices wait with their cause, leave by real SMTP and HTTP, and are tried again until they arrive."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from devices import carriers, notices
from devices.models import AuditEntry, NoMail, Notice, NoticePlace
from devices.rules.notices import CLAIM, FIRST_RETRY, Delivered, Kind, Later, Message, State
from staff.models import User
from tests.house import House, push_pair
from tests.mailbox import Mailbox, open_mailbox
from tests.notices import knows, newest, use, with_address
from tests.webhooks import Hook, open_hook

pytestmark = pytest.mark.django_db
MESSAGE = Message(Kind.SIGN, "A clear waits: till-4", ("helpdesk asks.",), "/passcodes/x/")


@pytest.fixture
def post(settings: Settings, house: House) -> Iterator[Mailbox]:
    with open_mailbox() as box:
        use(settings, box)
        yield box


@pytest.fixture
def hook() -> Iterator[Hook]:
    with open_hook() as found:
        yield found


def lay_down(*people: User, once: str = "sign 1", kind: Kind = Kind.SIGN) -> None:
    message = Message(kind, MESSAGE.title, MESSAGE.lines, MESSAGE.link)
    notices.put(message, once=once, people=[one.pk for one in people])


def states() -> list[str]:
    return list(Notice.objects.order_by("made_at").values_list("state", flat=True))


def said(house: House) -> list[str]:
    return [verb for verb in house.audit() if verb.startswith("notice.")]


def later(house: House, how_long: timedelta) -> int:
    house.clock.forward(seconds=how_long.total_seconds() + 1)
    return notices.send_due()


def test_each_person_gets_a_mail_of_their_own(house: House, post: Mailbox) -> None:
    with_address(house.approver, house.approver2)
    lay_down(house.approver, house.approver2)
    assert notices.send_due() == 2
    assert [one.to for one in post.letters] == [
        ["approver@example.org"],
        ["approver2@example.org"],
    ]
    letter = post.letters[0].message
    assert letter["From"] == "passcodes@example.org"
    assert letter["Subject"] == "Passcodes: A clear waits: till-4"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert "http://localhost:8000/passcodes/x/" in post.letters[0].text
    assert states() == [State.SENT, State.SENT]
    assert notices.send_due() == 0


def test_nothing_waits_for_what_was_rolled_back(house: House, post: Mailbox) -> None:
    with transaction.atomic():
        lay_down(house.approver)
        transaction.set_rollback(True)
    assert not Notice.objects.exists()


def test_the_same_is_told_to_nobody_twice(house: House, post: Mailbox) -> None:
    with_address(house.approver)
    lay_down(house.approver)
    lay_down(house.approver)
    assert notices.send_due() == 1
    lay_down(house.approver)
    assert notices.send_due() == 0
    assert len(post.letters) == 1


def test_where_nobody_can_be_written_to_nothing_is_laid_down(house: House) -> None:
    lay_down(house.approver)
    assert not Notice.objects.exists()


def test_who_has_no_address_or_wants_no_mail_is_not_written_to(
    house: House, post: Mailbox
) -> None:
    with_address(house.approver2, house.helpdesk)
    notices.wish_mail(wanted=False, by=house.approver2)
    User.objects.filter(pk=house.helpdesk.pk).update(is_active=False)
    lay_down(house.approver, house.approver2, house.helpdesk)
    assert notices.send_due() == 0
    assert states() == [State.DROPPED] * 3
    assert set(Notice.objects.values_list("trouble", flat=True)) == {
        "No address of approver is known.",
        "approver2 wants no mail.",
        "helpdesk may no longer sign in.",
    }
    assert post.letters == []


def test_mail_can_be_wished_for_again(house: House) -> None:
    notices.wish_mail(wanted=False, by=house.approver)
    notices.wish_mail(wanted=False, by=house.approver)
    notices.wish_mail(wanted=True, by=house.approver)
    assert not NoMail.objects.exists()
    assert said(house) == ["notice.wish"] * 3


def test_a_server_that_is_down_is_asked_once_and_then_again(
    house: House, post: Mailbox, settings: Settings
) -> None:
    with_address(house.approver, house.approver2)
    lay_down(house.approver, house.approver2)
    good, settings.EMAIL_PORT = settings.EMAIL_PORT, 9
    assert notices.send_due() == 0
    assert sorted(Notice.objects.values_list("attempts", flat=True)) == [0, 1]
    assert Notice.objects.in_trouble().count() == 2
    place = NoticePlace.objects.get()
    assert place.trouble == "The mail server: Connection refused."
    settings.EMAIL_PORT = good
    assert notices.send_due() == 0  # not before its time
    assert later(house, FIRST_RETRY) == 2
    assert len(post.letters) == 2
    assert NoticePlace.objects.get().trouble == ""
    assert not Notice.objects.in_trouble().exists()


def test_nobody_is_called_to_what_has_run_out_while_the_worker_was_away(
    house: House, post: Mailbox
) -> None:
    with_address(house.approver)
    until = timezone.now() + timedelta(minutes=30)
    notices.put(MESSAGE, once="sign 1", people=[house.approver.pk], until=until)
    assert later(house, timedelta(minutes=30)) == 0
    assert post.letters == []


def test_a_full_disk_is_a_passing_trouble_and_an_unknown_address_is_not(
    house: House, post: Mailbox
) -> None:
    with_address(house.approver)
    post.refuses = True
    lay_down(house.approver)
    notices.send_due()
    assert newest().trouble == "The mail server answers 452."
    post.refuses, post.knows_nobody = False, True
    later(house, FIRST_RETRY)
    assert newest().trouble == "The mail server does not take mail for approver (550)."
    assert newest().state == State.WAITING
    post.knows_nobody = False
    assert later(house, timedelta(minutes=15)) == 1


def test_one_bad_address_stops_nobody_else(house: House, post: Mailbox) -> None:
    with_address(house.approver, house.approver2)
    User.objects.filter(pk=house.approver.pk).update(email="not an address")
    lay_down(house.approver, house.approver2)
    assert notices.send_due() == 1
    assert Notice.objects.get(person=house.approver).trouble == (
        "The address of approver is none."
    )


def test_a_mail_that_may_have_left_goes_again_under_the_same_id(
    house: House, post: Mailbox
) -> None:
    """As when a worker is killed between the server's answer and the row."""
    with_address(house.approver)
    lay_down(house.approver)
    claimed = notices._claim()
    assert claimed
    carriers.carry(claimed)  # and then it dies
    assert notices.send_due() == 0  # the claim is still another's
    assert later(house, CLAIM) == 1
    first, second = post.letters
    assert first.message["Message-ID"] == second.message["Message-ID"]
    assert first.message["Message-ID"] == f"<notice-{newest().pk.hex}@localhost>"


def test_who_comes_back_too_late_changes_nothing(house: House, post: Mailbox) -> None:
    with_address(house.approver)
    lay_down(house.approver)
    slow = notices._claim()
    assert slow
    later(house, CLAIM)
    sent = newest()
    notices._settle(slow, Later("No answer in time."))
    assert newest().state == State.SENT
    assert newest().attempts == sent.attempts == 2


def test_slack_teams_and_others_get_their_own_form(
    house: House, hook: Hook, settings: Settings
) -> None:
    knows(settings, slack=hook.address, teams=hook.address, webhook=hook.address)
    lay_down(house.approver)
    assert notices.send_due() == 3
    slack, teams, plain = hook.posts
    assert slack["blocks"][0]["text"]["text"] == MESSAGE.title
    assert teams["attachments"][0]["content"]["type"] == "AdaptiveCard"
    assert plain["link"] == "http://localhost:8000/passcodes/x/"
    assert hook.keys[2] == plain["id"]
    assert set(hook.paths) == {"/services/T0/B0/hidden"}


def test_what_is_one_persons_affair_goes_to_no_channel(
    house: House, hook: Hook, settings: Settings
) -> None:
    knows(settings, slack=hook.address)
    for kind in (Kind.OPENED, Kind.ENDED):
        lay_down(house.helpdesk, once=kind.value, kind=kind)
    assert not Notice.objects.exists()


def test_what_stands_in_rows_is_the_host_and_no_address(
    house: House, hook: Hook, settings: Settings
) -> None:
    knows(settings, slack=hook.address)
    lay_down(house.approver)
    notices.send_due()
    for model in (Notice, NoticePlace, AuditEntry):
        assert "hidden" not in str(list(model.objects.values()))
    assert NoticePlace.objects.get().host == "127.0.0.1"


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        ((500, ""), FIRST_RETRY),
        ((429, "120"), timedelta(seconds=120)),
        ((429, "soon"), FIRST_RETRY),
        ((429, "9" * 5000), timedelta(minutes=15)),
        ((404, ""), timedelta(minutes=15)),
        ((410, ""), timedelta(minutes=15)),
    ],
)
def test_a_wrong_answer_is_tried_again(
    house: House, hook: Hook, settings: Settings, answer: tuple[int, str], pause: timedelta
) -> None:
    knows(settings, slack=hook.address)
    hook.status, wish = answer
    hook.headers, hook.body = {"Retry-After": wish}, b"invalid_token hidden"
    lay_down(house.approver)
    assert notices.send_due() == 0
    row = newest()
    assert row.trouble == f"It answers {hook.status}."
    assert row.next_try_at
    assert abs(row.next_try_at - timezone.now() - pause) < timedelta(seconds=5)
    hook.status = 200
    assert later(house, pause) == 1
    assert hook.keys[0] == hook.keys[-1]


def test_nobody_is_followed_elsewhere(house: House, hook: Hook, settings: Settings) -> None:
    with open_hook() as elsewhere:
        knows(settings, teams=hook.address)
        hook.status, hook.headers = 307, {"Location": elsewhere.address}
        lay_down(house.approver)
        assert notices.send_due() == 0
        assert elsewhere.posts == []
    assert newest().trouble.startswith("It answers 307 and leads elsewhere")


def test_a_server_that_says_nothing_is_left_alone_in_time(
    house: House, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carriers, "PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        knows(settings, webhook=f"http://127.0.0.1:{deaf.getsockname()[1]}/")
        lay_down(house.approver)
        assert notices.send_due() == 0
    assert newest().trouble == "No answer in time."


def test_an_endless_answer_is_not_read(
    house: House, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carriers, "PATIENCE", 2.0)

    def pour(server: socket.socket) -> None:
        caller, _ = server.accept()
        with caller:
            caller.recv(65_536)
            try:
                while True:
                    caller.sendall(b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * 65_536)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=pour, args=(server,), daemon=True)
        thread.start()
        knows(settings, webhook=f"http://127.0.0.1:{server.getsockname()[1]}/")
        lay_down(house.approver)
        assert notices.send_due() == 0
        thread.join()
    assert newest().trouble == "LineTooLong."


def test_what_cannot_be_written_is_said_and_quotes_nothing(
    house: House, post: Mailbox, settings: Settings
) -> None:
    knows(settings, slack="http://hooks..example.org/hidden")
    with_address(house.approver)
    settings.ORGANISATION = "Two\nlines"
    lay_down(house.approver)
    assert notices.send_due() == 0
    assert sorted(Notice.objects.values_list("trouble", flat=True)) == [
        "Its address cannot be used: UnicodeError.",
        "The mail cannot be written: BadHeaderError.",
    ]
    assert states() == [State.WAITING] * 2


@pytest.mark.parametrize("by_mail", [True, False])
def test_a_server_that_says_a_letter_now_and_then_is_hung_up_on(
    house: House, settings: Settings, monkeypatch: pytest.MonkeyPatch, *, by_mail: bool
) -> None:
    monkeypatch.setattr(carriers, "IN_ALL", 0.3)
    is_over = threading.Event()

    def drip(server: socket.socket) -> None:
        caller, _ = server.accept()
        with caller, contextlib.suppress(OSError):
            while not is_over.wait(0.02):
                caller.sendall(b"2")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,), daemon=True)
        thread.start()
        port = server.getsockname()[1]
        if by_mail:
            with_address(house.approver)
            use(settings, Mailbox(port))
        else:
            knows(settings, webhook=f"http://127.0.0.1:{port}/")
        lay_down(house.approver)
        assert notices.send_due() == 0
        is_over.set()
        thread.join()
    assert newest().trouble.endswith("No answer in time.")


def test_a_try_of_which_nobody_wrote_down_what_came_is_said(house: House, post: Mailbox) -> None:
    with_address(house.approver)
    lay_down(house.approver)
    notices._claim()
    house.clock.forward(seconds=CLAIM.total_seconds() + 1)
    again = notices._claim()
    assert again
    assert again.trouble == "The worker was stopped while it was on its way."
    notices._settle(again, Delivered())
    assert newest().trouble == ""


def test_a_certificate_that_nobody_vouches_for_gets_no_notice(
    house: House, settings: Settings, tmp_path: Path
) -> None:
    certificate, key = push_pair()
    (tmp_path / "cert.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(key)
    with open_hook(tmp_path / "cert.pem", tmp_path / "key.pem") as hook:
        knows(settings, slack=hook.address)
        lay_down(house.approver)
        assert notices.send_due() == 0
        assert hook.posts == []
        assert newest().trouble == "Its certificate is not believed."
        with_address(house.approver)
        use(settings, Mailbox(int(hook.address.split(":")[2].split("/")[0])))
        settings.EMAIL_USE_SSL = True
        lay_down(house.approver, once="sign 2")
        assert notices.send_due() == 0
    mail = Notice.objects.get(person=house.approver)
    assert mail.trouble == "The mail server: Its certificate is not believed."


def test_a_place_that_the_worker_no_longer_knows_is_said(
    house: House, hook: Hook, settings: Settings
) -> None:
    knows(settings, slack=hook.address)
    lay_down(house.approver)
    knows(settings)
    assert not NoticePlace.objects.exists()
    notices.send_due()
    assert "no longer knows this place" in newest().trouble


def test_an_admin_has_it_tried_again_or_puts_it_aside(house: House, post: Mailbox) -> None:
    with_address(house.approver)
    post.refuses = True
    lay_down(house.approver)
    notices.send_due()
    post.refuses = False
    with pytest.raises(notices.NotNow, match="right"):
        notices.again(newest().pk, by=house.approver)
    notices.again(newest().pk, by=house.admin)
    assert notices.send_due() == 1
    with pytest.raises(notices.NotNow, match="has been sent"):
        notices.again(newest().pk, by=house.admin)
    lay_down(house.approver, once="another")
    notices.let_be(newest().pk, by=house.admin)
    assert notices.send_due() == 0
    assert newest().trouble == "Put aside by admin."
    with pytest.raises(notices.NotNow):
        notices.let_be(newest().pk, by=house.admin)
    assert said(house) == ["notice.again", "notice.dropped"]


def test_an_admin_tries_each_place(
    house: House, post: Mailbox, hook: Hook, settings: Settings
) -> None:
    knows(settings, teams=hook.address)
    with pytest.raises(notices.NotNow, match="no address yourself"):
        notices.try_out("mail", by=house.admin)
    with_address(house.admin)
    notices.try_out("mail", by=house.admin)
    notices.try_out("teams", by=house.admin)
    with pytest.raises(notices.NotNow, match="no such place"):
        notices.try_out("slack", by=house.admin)
    assert notices.send_due() == 2
    assert post.letters[0].to == ["admin@example.org"]
    assert len(hook.posts) == 1


def test_what_is_old_is_forgotten(house: House, post: Mailbox) -> None:
    lay_down(house.approver)
    assert notices.forget_due() == 0
    house.clock.forward(days=91)
    assert notices.forget_due() == 1
