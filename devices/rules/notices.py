"""When a notice is sent, again or no more, and how it reads in a mail, in Slack, in Teams and as JSON.

A notice brings a person to a page, and holds nothing that the page's own sign-in would keep from others:
no secret, and no word that somebody typed, since a passcode may have been typed there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, assert_never

FIRST_RETRY = timedelta(seconds=30)
LAST_RETRY = timedelta(minutes=15)
KEPT = timedelta(days=90)
GIVEN_UP_AFTER = timedelta(hours=24)  # from when it was made
CLAIM = timedelta(seconds=150)  # longer than a task may run: nobody sends what another is sending
LONGEST_TITLE = 200
LONGEST_LINE = 500


class Kind(StrEnum):
    SIGN = "sign"  # a clear waits for a signature
    REMINDER = "reminder"
    ACT = "act"  # something else waits for a signature
    OPENED = "opened"
    ENDED = "ended"
    EXPOSED = "exposed"
    ALARM = "alarm"
    TRIAL = "trial"


class Channel(StrEnum):
    MAIL = "mail"
    SLACK = "slack"
    TEAMS = "teams"
    WEBHOOK = "webhook"


class State(StrEnum):
    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"  # given up; a person can have it tried again
    DROPPED = "dropped"  # nobody needs it any more, or nobody is to be told


KINDS_IN_WORDS = {
    Kind.SIGN: "A clear waits",
    Kind.REMINDER: "A clear still waits",
    Kind.ACT: "A sign-off waits",
    Kind.OPENED: "Signed off",
    Kind.ENDED: "Ended",
    Kind.EXPOSED: "Exposed",
    Kind.ALARM: "Alarm",
    Kind.TRIAL: "Trial",
}
CHANNELS_IN_WORDS = {
    Channel.MAIL: "Mail",
    Channel.SLACK: "Slack",
    Channel.TEAMS: "Teams",
    Channel.WEBHOOK: "Webhook",
}
FOR_THE_HOUSE = frozenset(  # the others are one person's own affair
    {Kind.SIGN, Kind.REMINDER, Kind.ACT, Kind.EXPOSED, Kind.ALARM}
)
ENDINGS = {
    Kind.SIGN: "Nothing is signed by this message. Read the request on its page, then decide.",
    Kind.REMINDER: "Nothing is signed by this message. Read the request on its page, then decide.",
    Kind.ACT: "Nothing is signed by this message. Read it on its page, then decide.",
}


@dataclass(frozen=True, slots=True)
class Message:
    """What a notice says."""

    kind: Kind
    title: str
    lines: tuple[str, ...]
    link: str  # a path of the staff site


@dataclass(frozen=True, slots=True)
class Delivered:
    pass


@dataclass(frozen=True, slots=True)
class Later:
    """Out of order, or asked for patience: the same may succeed by itself."""

    reason: str
    after: timedelta | None = None  # as the other side wished
    everything: bool = False  # so it is with all that goes there, not with this one alone


@dataclass(frozen=True, slots=True)
class Refused:
    """It will not be taken as it is: somebody has to change something. It is tried all the same."""

    reason: str
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Needless:
    """Nobody is there to be told, or nobody wants to be."""

    reason: str


Outcome = Delivered | Later | Refused | Needless


@dataclass(frozen=True, slots=True)
class Plan:
    state: State
    next_try_at: datetime | None = None
    trouble: str = ""


def after(
    outcome: Outcome, *, attempts: int, made_at: datetime, until: datetime | None, now: datetime
) -> Plan:
    """What becomes of a notice after its try number `attempts`."""
    match outcome:
        case Delivered():
            return Plan(State.SENT)
        case Needless(reason):
            return Plan(State.DROPPED, trouble=reason)
        case Later(reason, wished):
            pause = min(max(FIRST_RETRY * 2 ** min(attempts - 1, 10), FIRST_RETRY), LAST_RETRY)
            if wished is not None:
                pause = min(max(wished, FIRST_RETRY), LAST_RETRY)
        case Refused(reason):
            pause = LAST_RETRY
        case _:
            assert_never(outcome)
    again, end = now + pause, made_at + GIVEN_UP_AFTER
    if until is not None:
        end = min(end, until)
    if again >= end:
        return Plan(State.FAILED, trouble=reason)
    return Plan(State.WAITING, next_try_at=again, trouble=reason)


def one_line(text: str, longest: int) -> str:
    """Without line breaks and what no eye sees; a header or a label cannot be broken out of."""
    seen = "".join(one if one.isprintable() else " " for one in text)
    line = " ".join(seen.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def mail(message: Message, *, address: str, house: str) -> tuple[str, str]:
    """Subject and text."""
    ending = ENDINGS.get(message.kind)
    text = [*message.lines, "", address, *(["", ending] if ending else [])]
    text += ["", f"{house}. What you are written to about stands on your page «My notices»."]
    return f"{house}: {message.title}", "\n".join(text) + "\n"


def slack(message: Message, *, address: str, house: str) -> dict[str, Any]:
    """An incoming webhook's message. Names come from devices, so all of them are plain text."""
    lines = [*message.lines, *_ending(message)]
    return {
        "text": _slack_text(f"{house}: {message.title}"),  # what a notification shows
        "unfurl_links": False,
        "blocks": [
            {
                "type": "header",
                "text": {"type": "plain_text", "text": message.title[:150], "emoji": False},
            },
            {
                "type": "section",
                "text": {"type": "plain_text", "text": "\n".join(lines)[:3000], "emoji": False},
            },
            {
                "type": "actions",
                "elements": [
                    {
                        "type": "button",
                        "text": {"type": "plain_text", "text": "Open the page", "emoji": False},
                        "url": address,
                        "action_id": "open",
                    }
                ],
            },
        ],
    }


def teams(message: Message, *, address: str, house: str) -> dict[str, Any]:
    """What «When a Teams webhook request is received» takes: a message with an Adaptive Card.

    A TextBlock would read Markdown in a device's name; a TextRun does not.
    """

    def text(words: str, **how: str) -> dict[str, Any]:
        return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": words, **how}]}

    return {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "fallbackText": f"{house}: {message.title}",
                    "body": [
                        text(message.title, weight="Bolder", size="Medium"),
                        *(text(line) for line in message.lines),
                        *(text(line, color="Default") for line in _ending(message)),
                    ],
                    "actions": [
                        {"type": "Action.OpenUrl", "title": "Open the page", "url": address}
                    ],
                },
            }
        ],
    }


def plain(message: Message, *, address: str, house: str, key: str) -> dict[str, Any]:
    """For whatever else listens. `id` is the same when a notice comes twice."""
    return {
        "id": key,
        "kind": message.kind.value,
        "house": house,
        "title": message.title,
        "lines": list(message.lines),
        "link": address,
    }


def _ending(message: Message) -> list[str]:
    ending = ENDINGS.get(message.kind)
    return [ending] if ending else []


def _slack_text(text: str) -> str:
    """As Slack wants its three control characters; then nothing mentions a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
