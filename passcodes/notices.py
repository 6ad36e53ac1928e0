"""Who is told what: of clears and sign-offs that wait, of how they end, and of what burns.

Whoever may sign is told as soon as something waits, and once more half way; who asked hears how it went on.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from devices import notices
from devices.models import Device, Notice, PushCertificate
from devices.rules.notices import Kind, Message
from devices.rules.notices import State as Sending
from devices.rules.push_certificates import WARN_BEFORE
from passcodes import signatures, vault_says
from passcodes.models import Act, Approval, ClearList, ClearRequest, VaultSays
from passcodes.rules import acts as act_rules
from passcodes.rules.clearing import IN_WORDS, REASONS_IN_WORDS, Reason, State, Step
from staff import permissions
from staff.models import User

SIGN = "passcodes.approve_clearrequest"
ADMIN = "admin"
NAMED = 5  # devices of a list
REMIND_AFTER = timedelta(minutes=30)  # at the latest; at half of the time that it has
TELLS = {  # what who asked is told of
    Step.ARM: Kind.OPENED,
    Step.DENY: Kind.ENDED,
    Step.FAIL: Kind.ENDED,
    Step.EXPIRE: Kind.ENDED,
    Step.VOID: Kind.ENDED,
    Step.EXPOSE: Kind.EXPOSED,
}
WAITING = (Kind.SIGN.value, Kind.REMINDER.value)
SIGNED = "It has been signed, or has ended, meanwhile."


def waits(about: ClearRequest | ClearList) -> None:
    """A clear has been asked for: whoever can sign it is told, in the same transaction."""
    asked = signatures.members(about)
    first = asked[0]
    people = can_sign(about, [one.device_id for one in asked])
    rule = signatures.rule(about)
    needed = "1 signature" if rule.approvers == 1 else f"{rule.approvers} signatures"
    many = f"{len(asked)} devices" if len(asked) > 1 else str(first.device)
    message = Message(
        kind=Kind.SIGN,
        title=f"A clear waits to be signed: {many}",
        lines=(
            f"{first.requested_by} asks for the clear of {_named([one.device for one in asked])}.",
            f"Reason: {REASONS_IN_WORDS[Reason(first.reason)]}.",
            f"It needs {needed}, and runs out at {_clock(first.expires_at)}.",
        ),
        link=_link(about),
    )
    notices.put(
        message,
        once=f"sign {about.pk.hex}",
        people=people,
        about=about.pk,
        device=first.device if len(asked) == 1 else None,
        until=first.expires_at,
    )


def can_sign(about: ClearRequest | ClearList, device_ids: Sequence[int]) -> list[int]:
    """Who may sign it: by the charter, by their rights, and for these devices."""
    names = signatures.who_may_sign(about)
    people = User.objects.with_perm(SIGN).filter(username__in=names, is_active=True)
    return [one.pk for one in people if permissions.in_scope(one, device_ids)]


def act_waits(act: Act, *, title: str, people: Iterable[User]) -> None:
    """Something else than a clear has been asked for: whoever can agree is told."""
    device = act.device or (act.of.device if act.of else None)
    message = Message(
        kind=Kind.ACT,
        title=f"A sign-off waits: {title}",
        lines=(
            f"{act.asked_by} asks for it.",
            f"It runs out at {_clock(act.expires_at)}.",
        ),
        link=f"/passcodes/act/{act.pk}/change/",
    )
    notices.put(
        message,
        once=f"act {act.pk.hex}",
        people=[one.pk for one in people],
        about=act.pk,
        device=device,
        until=act.expires_at,
    )


def went_on(step: Step, taken: ClearRequest, *, was: State, by: User | None) -> None:
    """Tell who asked, of what they have not done themselves. Of a list the first of each kind."""
    kind = TELLS.get(step)
    if kind is None or was is State.DRAFT or (by and by.pk == taken.requested_by_id):
        return
    is_exposed = kind is Kind.EXPOSED
    about = taken.pk if is_exposed else taken.signed_as
    message = Message(
        kind=kind,
        title=f"{_outcome(kind, taken)}: {taken.device}",
        lines=_told(kind, taken),
        link=_link(taken) if is_exposed or not taken.list_id else _list_link(taken.list_id),
    )
    notices.put(
        message,
        once=f"{kind} {about.hex}",
        people=[taken.requested_by_id],
        about=about,
        device=taken.device,
    )


def tend_due() -> int:
    """Drop what nobody needs any more, remind of what still waits, tell of what burns."""
    return drop_moot() + remind_due() + alarm_due() + notices.forget_due()


def drop_moot() -> int:
    """Nobody is called to what does not wait any more."""
    undone = Notice.objects.filter(
        state__in=[Sending.WAITING.value, Sending.FAILED.value],
        kind__in=[*WAITING, Kind.ACT.value],
    )
    asked = ClearRequest.objects.filter(state=State.REQUESTED.value)
    acts = Act.objects.filter(state__in=[one.value for one in act_rules.TO_BE_ENDED])
    still = (
        Q(Exists(asked.filter(pk=OuterRef("about"))))
        | Q(Exists(asked.filter(list=OuterRef("about"))))
        | Q(Exists(acts.filter(pk=OuterRef("about"))))
    )
    moot = undone.exclude(still).values_list("pk", flat=True)
    return notices.drop(moot, because=SIGNED)


def remind_due() -> int:
    """Once more, half way, to those who were told and have not signed."""
    now = timezone.now()
    waiting = (
        Notice.objects.filter(kind=Kind.SIGN.value, until__gt=now)
        .filter(_unreminded())
        .order_by("about", "made_at")
        .distinct("about")
    )
    reminded = 0
    for first in waiting:
        assert first.until is not None
        assert first.about is not None
        half = min((first.until - first.made_at) / 2, REMIND_AFTER)
        if now >= first.made_at + half and _still_waits(first.about):
            _remind(first, first.about)
            reminded += 1
    return reminded


def alarm_due() -> int:
    """Tell admins, and the house, of what stops everything or soon will; each time once."""
    alarms = Notice.objects.filter(kind=Kind.ALARM.value)
    fresh = [
        (once, message)
        for once, message in (*_push_certificate(), *_vault())
        if not alarms.filter(once__startswith=f"{once} ").exists()
    ]
    if not fresh:
        return 0
    admins = User.objects.filter(is_active=True, groups__name=ADMIN).values_list("pk", flat=True)
    for once, message in fresh:
        notices.put(message, once=once, people=list(admins))
    return len(fresh)


def of_request(about: UUID) -> QuerySet[Notice]:
    """What was sent, or was to be, of one request; the newest last."""
    return Notice.objects.filter(about=about).select_related("person").order_by("made_at")


def _remind(first: Notice, about: UUID) -> None:
    people = Notice.objects.filter(about=about, kind=Kind.SIGN.value).exclude(person=None)
    signed = Approval.objects.filter(Q(request=about) | Q(request__list=about))
    left = people.exclude(person__in=signed.values("by")).values_list("person_id", flat=True)
    message = Message(
        kind=Kind.REMINDER,
        title=first.title.replace("A clear waits", "A clear still waits", 1),
        lines=tuple(first.lines),
        link=first.link,
    )
    notices.put(
        message,
        once=f"reminder {about.hex}",
        people=[pk for pk in left if pk is not None],
        about=about,
        device=first.device,
        until=first.until,
    )


def _unreminded() -> Q:
    reminders = Notice.objects.filter(kind=Kind.REMINDER.value, about=OuterRef("about"))
    return ~Q(Exists(reminders))


def _still_waits(about: UUID) -> bool:
    waiting = ClearRequest.objects.filter(state=State.REQUESTED.value)
    return waiting.filter(Q(pk=about) | Q(list=about)).exists()


def _push_certificate() -> Iterable[tuple[str, Message]]:
    now = timezone.now()
    current = PushCertificate.objects.filter(is_current=True).only(
        "pk", "not_after", "warned_days", "alarm", "alarm_since"
    )
    for one in current:
        link = "/devices/pushcertificate/"
        if one.alarm:
            since = one.alarm_since or now
            yield (
                f"push {one.pk} {since:%Y%m%d%H%M}",
                _alarm("No device can be woken", f"Pushing stands still: {one.alarm}", link),
            )
        if one.not_after <= now:
            ended = f"The push certificate ended on {one.not_after:%d %b %Y}. Nothing is lost."
            yield f"push {one.pk} over", _alarm("No device can be woken", ended, link)
        elif one.not_after <= now + WARN_BEFORE and one.warned_days:
            words = f"It ends on {one.not_after:%d %b %Y}. Renew the same one in Apple's portal."
            title = "The push certificate ends soon"
            yield f"push {one.pk} {one.warned_days} days", _alarm(title, words, link)


def _vault() -> Iterable[tuple[str, Message]]:
    """Of a vault that has once spoken.

    Its last word names each silence. That it stands still it says again and again; it is told once a day.
    """
    row = VaultSays.objects.filter(about=VaultSays.HOUSE).first()
    if row is None:
        return
    try:
        vault_says.house()
    except vault_says.Silent:
        ended = "Nothing can be signed or opened until it runs again."
        if stands := row.said.get("stands_still"):
            once, title = f"vault {timezone.localdate():%Y%m%d}", "The vault stands still"
            words = f"It says: {stands} {ended}"
        else:
            once, title = f"vault {row.at:%Y%m%d%H%M%S}", "The vault is silent"
            words = f"It last spoke at {_clock(row.at)}. {ended}"
        yield once, _alarm(title, words, "/")


def _alarm(title: str, words: str, link: str) -> Message:
    return Message(kind=Kind.ALARM, title=title, lines=(words,), link=link)


def _outcome(kind: Kind, taken: ClearRequest) -> str:
    match kind:
        case Kind.OPENED:
            return "Signed off"
        case Kind.EXPOSED:
            return "Exposed: it has no passcode"
        case _:
            return f"Your request for a clear: {IN_WORDS[State(taken.state)].lower()}"


def _told(kind: Kind, taken: ClearRequest) -> tuple[str, ...]:
    which = _named([taken.device])
    match kind:
        case Kind.OPENED:
            return (f"{which}. Its token was opened; it fetches the clear when it next connects.",)
        case Kind.EXPOSED:
            return (
                f"{which} was cleared, and has set no passcode since.",
                "Whoever holds it can open it. Call them, and have a passcode set.",
            )
        case _:
            touched = "" if taken.sent_at else " The device has not been touched."
            return (f"{which}. Why stands on its page.{touched}",)


def _named(devices: Sequence[Device]) -> str:
    shown = ", ".join(
        f"{one} ({one.model_name or one.get_platform_display()}, serial {one.serial or 'unknown'})"
        for one in devices[:NAMED]
    )
    more = len(devices) - NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def _clock(value: datetime) -> str:
    local = timezone.localtime(value)
    shape = "%H:%M %Z" if local.date() == timezone.localdate() else "%d %b, %H:%M %Z"
    return f"{local:{shape}}"


def _link(about: ClearRequest | ClearList) -> str:
    if isinstance(about, ClearList):
        return _list_link(about.pk)
    return f"/passcodes/clearrequest/{about.pk}/change/"


def _list_link(list_id: UUID) -> str:
    return f"/passcodes/clearlist/{list_id}/change/"
