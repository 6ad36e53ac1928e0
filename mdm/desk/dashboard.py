"""What the first page shows: what waits for me, whose hour ends next, and how the fleet is."""

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Q, QuerySet
from django.utils import timezone

from devices.models import Command, Device, PushCertificate
from mdm.desk import alarms
from passcodes import acts, coverage, standing
from passcodes.models import ClearRequest, Enforcement
from passcodes.rules.clearing import State as Clear
from passcodes.rules.enforcement import State
from passcodes.rules.standing import LOOKS, Word
from staff import permissions
from staff.models import User

SOON = timedelta(minutes=10)
SHOWN = 8
BAR = 1000.0  # the width of the chart in its own units

STYLES = {
    Word.COMPLIANT: "c-compliant",
    Word.GRACE: "c-grace",
    Word.OVERDUE: "c-overdue",
    Word.EXPOSED: "c-exposed",
    Word.WAITING: "c-held",
    Word.NOT_MEASURABLE: "c-mute",
    Word.NO_POLICY: "c-mute",
}


def figures(user: AbstractBaseUser | AnonymousUser) -> dict[str, int]:
    """The small numbers beside the menu's entries."""
    if not isinstance(user, User):
        return {}
    if not user.has_perm("passcodes.view_clearrequest"):
        return {}
    return {"requests": waiting(user).count(), "acts": len(acts.to_sign(user))}


def waiting(user: User) -> QuerySet[ClearRequest]:
    """Requests that wait for this person: to be signed, or to be seen to an end."""
    requests = ClearRequest.objects.filter(device__in=permissions.visible(user))
    mine = Q(requested_by=user) & Q(
        state__in=[
            Clear.REQUESTED.value,
            Clear.APPROVED.value,
            Clear.ARMED.value,
            Clear.SENT.value,
            Clear.CLEARED.value,
            Clear.EXPOSED.value,
        ]
    )
    if user.has_perm("passcodes.approve_clearrequest"):
        to_sign = Q(state=Clear.REQUESTED.value) & ~Q(requested_by=user)
        return requests.filter(mine | to_sign)
    return requests.filter(mine)


def facts(user: AbstractBaseUser | AnonymousUser) -> dict[str, Any]:
    """Everything the page needs, in a fixed number of queries."""
    assert isinstance(user, User)
    now = timezone.now()
    devices = permissions.visible(user).exclude(enrollment_state="retired")
    if not Device.objects.exists():
        return {"first_run": True, "greeting": _greeting(now)}
    inbox = list(
        waiting(user).select_related("device", "requested_by").order_by("requested_at")[:SHOWN]
    )
    running = Enforcement.objects.filter(
        device__in=devices, state=State.GRACE.value, deadline__gt=now
    )
    ends_next = running.select_related("device", "version__policy").order_by("deadline")
    exposed = standing.only(devices, "exposed", now=now)
    overdue = standing.only(devices, "overdue", now=now)
    unreachable = standing.only(devices, "unreachable", now=now)
    lost = standing.only(devices, "lost", now=now)
    return {
        "greeting": _greeting(now),
        "inbox": inbox,
        "inbox_total": waiting(user).count(),
        "may_sign": user.has_perm("passcodes.approve_clearrequest"),
        "acts": [{"act": act, "title": acts.title(act)} for act in acts.to_sign(user)],
        "ends_next": list(ends_next[:SHOWN]),
        "running": running.count(),
        "ending_soon": running.filter(deadline__lte=now + SOON).count(),
        "exposed": list(exposed[:SHOWN]),
        "exposed_total": exposed.count(),
        "overdue_total": overdue.count(),
        "unreachable_total": unreachable.count(),
        "silent_total": devices.filter(last_seen_at__lt=now - standing.SILENT_AFTER).count(),
        "lost_total": lost.count(),
        "shares": _shares(devices),
        "total": devices.count(),
        "coverage": coverage.of(devices),
        "house": _house(),
    }


def _shares(devices: QuerySet[Device]) -> list[dict[str, Any]]:
    """How many devices have each status, with the place of its part in the bar."""
    total = devices.count() or 1
    at, shares = 0.0, []
    for word, style in STYLES.items():
        count = standing.only(devices, word.value).count()
        width = BAR * count / total
        shares.append(
            {
                "word": LOOKS[word].text,
                "slug": word.value,
                "style": style,
                "count": count,
                "percent": 100 * count / total,
                "x": f"{at:.1f}",
                "width": f"{max(0.0, width - 2):.1f}",
            }
        )
        at += width
    return shares


def _house() -> dict[str, Any]:
    """Whether the product itself is well."""
    now = timezone.now()
    oldest = Device.objects.due_for_push(now).values_list("wake_due_at", flat=True).first()
    certificate = PushCertificate.objects.filter(is_current=True).first()
    return {
        "oldest_push": int((now - oldest).total_seconds()) if oldest else 0,
        "certificate": certificate,
        "certificate_days": (certificate.not_after - now).days if certificate else None,
        "open_commands": Command.objects.open().count(),
        "selftest": alarms.selftest(),
    }


def _greeting(now: Any) -> str:
    hour = timezone.localtime(now).hour
    if hour < 12:  # noqa: PLR2004  noon
        return "Good morning"
    return "Good afternoon" if hour < 18 else "Good evening"  # noqa: PLR2004  six in the evening
