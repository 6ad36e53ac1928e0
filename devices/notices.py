"""Notices: laid down with what they tell of, sent by the worker, and tried again until they arrive.

A row for each person and each place. It waits in the same transaction as its cause, so nothing is told
that did not happen, and nothing that happened is forgotten.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import connection, transaction
from django.utils import timezone

from devices import audit, carriers
from devices.models import Device, NoMail, Notice, NoticePlace
from devices.models.notice import UNDONE
from devices.rules import notices as rules
from devices.rules.notices import Channel, Delivered, Kind, Later, Message, Outcome, Refused, State

CHANGE = "devices.change_notice"
MAIL = "mail"  # the one place that is no webhook
AT_A_STRETCH = 10.0  # seconds; then the slot is somebody else's
# The advisory lock: a server that is slow takes one slot of the worker, not all.
ONE_SENDS = 4_711_003
CUT_SHORT = "The worker was stopped while it was on its way."
AGAIN = (State.FAILED, State.WAITING, State.DROPPED)


class NotNow(Exception):
    """It cannot be done with this notice; the message says why, for a person to read."""


def put(
    message: Message,
    *,
    once: str,
    people: Iterable[int] = (),
    about: UUID | None = None,
    device: Device | None = None,
    until: datetime | None = None,
) -> None:
    """Lay it down for these people, and for the house's webhooks where it is the house's affair.

    `once` names what is told; nobody is told it twice. The caller's transaction decides.
    """
    title = rules.one_line(message.title, rules.LONGEST_TITLE)
    lines = [rules.one_line(line, rules.LONGEST_LINE) for line in message.lines]
    waiting: list[Notice] = []
    for place in NoticePlace.objects.all():
        to: list[tuple[str, dict[str, Any]]] = []
        if place.channel == Channel.MAIL:
            to = [(f"person {pk}", {"person_id": pk}) for pk in sorted(set(people))]
        elif message.kind in rules.FOR_THE_HOUSE:
            to = [(f"place {place.name}", {"place": place.name})]
        waiting += [
            Notice(
                kind=message.kind.value,
                about=about,
                device=device,
                channel=place.channel,
                once=f"{once} {whom}",
                title=title,
                lines=lines,
                link=message.link,
                until=until,
                **where,
            )
            for whom, where in to
        ]
    Notice.objects.bulk_create(waiting, ignore_conflicts=True)


def send_due() -> int:
    """Send what is due, one after the other, for some seconds; how many have arrived."""
    arrived = 0
    with _alone() as is_alone:
        if not is_alone:
            return 0
        tell()
        until = time.monotonic() + AT_A_STRETCH
        while time.monotonic() < until and (one := _claim()):
            arrived += _settle(one, carriers.carry(one))
    return arrived


def tell() -> None:
    """Say for the staff site where this worker can send to: names and hosts, and no address."""
    ours = {name: (channel, host) for name, channel, host in _places()}
    told = {row.name: (row.channel, row.host) for row in NoticePlace.objects.all()}
    if ours == told:
        return
    NoticePlace.objects.exclude(name__in=ours).delete()
    for name, (channel, host) in ours.items():
        NoticePlace.objects.update_or_create(
            name=name, defaults={"channel": channel, "host": host, "told_at": timezone.now()}
        )


def forget_due() -> int:
    """What is older than anybody looks back."""
    old = Notice.objects.filter(made_at__lt=timezone.now() - rules.KEPT)
    return old.delete()[0]


def drop(notices: Iterable[UUID], *, because: str) -> int:
    """Nobody needs them any more."""
    waiting = Notice.objects.filter(pk__in=list(notices), state__in=UNDONE)
    return waiting.update(state=State.DROPPED.value, next_try_at=None, trouble=because)


@transaction.atomic
def again(notice_id: UUID, *, by: AbstractUser) -> Notice:
    """Have it tried at once."""
    _allow(by)
    one = Notice.objects.select_for_update(of=("self",)).get(pk=notice_id)
    if State(one.state) not in AGAIN:
        raise NotNow("It has been sent. A second one would only be noise.")
    one.state, one.attempts, one.next_try_at = State.WAITING.value, 0, timezone.now()
    one.trouble = ""
    one.save(update_fields=["state", "attempts", "next_try_at", "trouble"])
    audit.record("notice.again", device=one.device, actor=by, title=one.title)
    return one


@transaction.atomic
def let_be(notice_id: UUID, *, by: AbstractUser) -> Notice:
    """It is tried no more, and burns no more."""
    _allow(by)
    one = Notice.objects.select_for_update(of=("self",)).get(pk=notice_id)
    if one.state not in UNDONE:
        raise NotNow("It is not waiting, and nothing about it burns.")
    one.state, one.next_try_at, one.trouble = State.DROPPED.value, None, f"Put aside by {by}."
    one.save(update_fields=["state", "next_try_at", "trouble"])
    audit.record("notice.dropped", device=one.device, actor=by, title=one.title)
    return one


@transaction.atomic
def try_out(name: str, *, by: AbstractUser) -> Notice:
    """Send a notice that says nothing: by mail to who asks for it, or to a webhook."""
    _allow(by)
    place = NoticePlace.objects.filter(name=name).first()
    if place is None:
        raise NotNow("The worker knows no such place. Next: set it in the worker's environment.")
    is_mail = place.channel == Channel.MAIL
    if is_mail and not by.email:
        raise NotNow("You have no address yourself. Next: have one written into your account.")
    made = Notice.objects.create(
        kind=Kind.TRIAL.value,
        channel=place.channel,
        person_id=by.pk if is_mail else None,
        place="" if is_mail else place.name,
        once=f"trial {by.pk} {timezone.now().timestamp()}",
        title="A trial",
        lines=[f"{by.get_username()} tries whether notices arrive here. This one has."],
        link="/devices/notice/",
    )
    audit.record("notice.trial", actor=by, place=place.name)
    return made


@transaction.atomic
def wish_mail(*, wanted: bool, by: AbstractUser) -> None:
    """Everybody says for themselves whether they are written to."""
    if wanted:
        NoMail.objects.filter(person=by.pk).delete()
    else:
        NoMail.objects.get_or_create(person_id=by.pk)
    audit.record("notice.wish", actor=by, mail="yes" if wanted else "no")


def _places() -> Iterator[tuple[str, str, str]]:
    if settings.EMAIL_URL:
        yield MAIL, Channel.MAIL.value, carriers.mail_server()
    for name, (channel, to) in carriers.webhooks().items():
        yield name, channel.value, to.hostname or ""


@contextmanager
def _alone() -> Iterator[bool]:
    """Whether no other worker is sending just now. A worker that dies lets go of it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [ONE_SENDS])
        (is_ours,) = cursor.fetchone()
    try:
        yield bool(is_ours)
    finally:
        if is_ours:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [ONE_SENDS])


@transaction.atomic
def _claim() -> Notice | None:
    """Take the next for ourselves; if this worker dies, it is due again when the claim runs out."""
    one = Notice.objects.due().select_for_update(skip_locked=True, of=("self",)).first()
    if one is None:
        return None
    if one.attempts and not one.trouble:
        one.trouble = CUT_SHORT  # nobody has written down what came of the last try
    one.attempts += 1
    one.next_try_at = timezone.now() + rules.CLAIM
    one.save(update_fields=["attempts", "next_try_at", "trouble"])
    return one


def _settle(one: Notice, outcome: Outcome) -> int:
    """Write down what came of it, unless somebody has changed the row meanwhile."""
    now = timezone.now()
    plan = rules.after(
        outcome, attempts=one.attempts, made_at=one.made_at, until=one.until, now=now
    )
    Notice.objects.filter(
        pk=one.pk, attempts=one.attempts, state=State.WAITING.value, next_try_at=one.next_try_at
    ).update(
        state=plan.state.value,
        next_try_at=plan.next_try_at,
        trouble=plan.trouble,
        sent_at=now if plan.state is State.SENT else None,
    )
    place = NoticePlace.objects.filter(name=one.place or MAIL)
    if isinstance(outcome, Delivered):
        place.exclude(trouble="").update(trouble="", trouble_since=None)
    elif isinstance(outcome, Later | Refused) and outcome.everything:
        place.filter(trouble="").update(trouble_since=now)
        place.update(trouble=plan.trouble)
        _hold_back(one, until=plan.next_try_at or now + rules.LAST_RETRY, because=plan.trouble)
    return int(plan.state is State.SENT)


def _hold_back(one: Notice, *, until: datetime, because: str) -> None:
    """What goes the same way waits as long: a server that is down is asked once, not by each."""
    same_way = Notice.objects.filter(channel=one.channel, place=one.place)
    same_way.due().filter(next_try_at__lt=until).update(next_try_at=until, trouble=because)


def _allow(by: AbstractUser) -> None:
    if not by.has_perm(CHANGE):
        raise NotNow(f"{by} may not do this: the right «{CHANGE}» is missing.")
