"""When a notice is tried again, and how it reads wherever it goes."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from devices.rules import notices as rules
from devices.rules.notices import (
    Delivered,
    Kind,
    Later,
    Message,
    Needless,
    Outcome,
    Plan,
    Refused,
    State,
)

NOW = datetime(2026, 11, 25, 14, 5, tzinfo=UTC)
MESSAGE = Message(
    Kind.SIGN,
    "A clear waits to be signed: till-4",
    ("helpdesk asks for the clear of <!channel> & *till-4*.",),
    "/passcodes/clearrequest/1/change/",
)
ADDRESS = "https://passcodes.example.org/passcodes/clearrequest/1/change/"


def after(outcome: Outcome, *, attempts: int = 1, until: timedelta | None = None) -> Plan:
    end = None if until is None else NOW + until
    return rules.after(outcome, attempts=attempts, made_at=NOW, until=end, now=NOW)


def test_what_has_arrived_is_done() -> None:
    assert after(Delivered()) == Plan(State.SENT)


def test_what_nobody_is_to_be_told_is_dropped_with_its_reason() -> None:
    assert after(Needless("No address.")) == Plan(State.DROPPED, trouble="No address.")


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(1, 30), (2, 60), (3, 120), (5, 480), (6, 900), (500, 900)]
)
def test_a_server_in_trouble_is_asked_ever_more_rarely(attempts: int, seconds: int) -> None:
    plan = after(Later("It answers 503."), attempts=attempts)
    assert plan == Plan(State.WAITING, NOW + timedelta(seconds=seconds), "It answers 503.")


@pytest.mark.parametrize(("wish", "seconds"), [(1, 30), (120, 120), (86_400, 900)])
def test_a_wish_for_patience_is_heard_within_reason(wish: int, seconds: int) -> None:
    plan = after(Later("It answers 429.", after=timedelta(seconds=wish)))
    assert plan.next_try_at == NOW + timedelta(seconds=seconds)


def test_what_is_refused_is_tried_all_the_same() -> None:
    assert after(Refused("It answers 404.")).next_try_at == NOW + rules.LAST_RETRY


def test_it_is_given_up_when_it_is_worth_nothing_any_more() -> None:
    plan = after(Later("No answer in time."), until=timedelta(seconds=20))
    assert plan == Plan(State.FAILED, trouble="No answer in time.")


def test_it_is_given_up_after_a_day() -> None:
    late = NOW + rules.GIVEN_UP_AFTER
    plan = rules.after(Later("No answer."), attempts=90, made_at=NOW, until=None, now=late)
    assert plan.state is State.FAILED


def test_a_line_cannot_be_broken_out_of() -> None:
    assert rules.one_line("till\r\nBcc: x@example.org\u202e\0", 100) == "till Bcc: x@example.org"
    assert rules.one_line("a" * 50, 10) == "aaaaaaaaa…"


def test_a_mail_says_it_and_leads_there() -> None:
    subject, text = rules.mail(MESSAGE, address=ADDRESS, house="Example")
    assert subject == "Example: A clear waits to be signed: till-4"
    assert ADDRESS in text.splitlines()
    assert "Nothing is signed by this message." in text


def test_slack_reads_no_name_as_a_command() -> None:
    said = rules.slack(MESSAGE, address=ADDRESS, house="Example & <!here>")
    assert said["text"] == ("Example &amp; &lt;!here&gt;: A clear waits to be signed: till-4")
    kinds = {block["text"]["type"] for block in said["blocks"] if "text" in block}
    assert kinds == {"plain_text"}
    assert said["blocks"][2]["elements"][0]["url"] == ADDRESS


def test_slack_takes_no_more_than_it_can_hold() -> None:
    long = Message(Kind.ALARM, "x" * 200, ("y" * 500,) * 10, "/")
    header, section, _ = rules.slack(long, address=ADDRESS, house="Example")["blocks"]
    assert len(header["text"]["text"]) <= 150
    assert len(section["text"]["text"]) <= 3000


def test_teams_gets_an_adaptive_card_in_a_message() -> None:
    said = rules.teams(MESSAGE, address=ADDRESS, house="Example")
    assert said["type"] == "message"
    [attachment] = said["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert card["type"] == "AdaptiveCard"
    assert {one["type"] for one in card["body"]} == {"RichTextBlock"}  # no Markdown in names
    assert card["actions"] == [
        {"type": "Action.OpenUrl", "title": "Open the page", "url": ADDRESS}
    ]


def test_anything_else_gets_plain_json() -> None:
    said = rules.plain(MESSAGE, address=ADDRESS, house="Example", key="7f")
    assert json.loads(json.dumps(said)) == {
        "id": "7f",
        "kind": "sign",
        "house": "Example",
        "title": MESSAGE.title,
        "lines": list(MESSAGE.lines),
        "link": ADDRESS,
    }
