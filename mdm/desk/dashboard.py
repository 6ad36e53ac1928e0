"""What the first page shows: what waits for me, whose hour ends next, and how the fleet is."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from devices.models import Command, Device, PushCertificate
from devices.rules.push_certificates import WARN_BEFORE
from mdm.desk import alarms, figures, it_policy
from passcodes import acts, standing, vault_says
from passcodes.models import Approval, ClearRequest, Enforcement, FleetDay, VaultSays
from passcodes.rules.clearing import UNDER_WAY
from passcodes.rules.clearing import State as Clear
from passcodes.rules.enforcement import State
from staff import permissions
from staff.models import User

SOON = timedelta(minutes=10)
SHOWN = 8
PULSE_LASTS = timedelta(minutes=3)  # the clock counts the fleet each minute


def waiting_counts(user: AbstractBaseUser | AnonymousUser) -> dict[str, int]:
    """The small numbers beside the menu's entries."""
    if not isinstance(user, User):
        return {}
    if not user.has_perm("passcodes.view_clearrequest"):
        return {}
    return {"requests": waiting(user).count(), "acts": len(acts.to_sign(user))}


def waiting(user: User) -> QuerySet[ClearRequest]:
    """Requests that wait for this person: to be signed, or to be seen to an end."""
    requests = ClearRequest.objects.filter(device__in=permissions.visible(user))
    mine = Q(requested_by=user, state__in=[state.value for state in UNDER_WAY])
    if user.has_perm("passcodes.approve_clearrequest"):
        signed = Approval.objects.filter(by=user).values("request")
        to_sign = Q(state=Clear.REQUESTED.value) & ~Q(requested_by=user) & ~Q(pk__in=signed)
        return requests.filter(mine | to_sign)
    return requests.filter(mine)


def facts(user: AbstractBaseUser | AnonymousUser, *, days: str) -> dict[str, Any]:
    """Everything the page needs, in a fixed number of queries; over so many days, if it is offered."""
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
    told = figures.of(user)
    return {
        "greeting": _greeting(now),
        "inbox": inbox,
        "inbox_total": waiting(user).count(),
        "may_sign": user.has_perm("passcodes.approve_clearrequest"),
        "acts": [{"act": act, "title": acts.title(act)} for act in acts.to_sign(user)],
        "ends_next": list(ends_next[:SHOWN]),
        "exposed": list(exposed[:SHOWN]),
        "exposed_total": exposed.count(),
        "house": _house(now),
        **running.order_by().aggregate(
            running=Count("pk"), ending_soon=Count("pk", filter=Q(deadline__lte=now + SOON))
        ),
        **_counted(told.value),
        "counted_at": told.at,
        "over_time": figures.over_time(user, days),
    }


def _counted(told: figures.Figures) -> dict[str, Any]:
    """What was counted over all devices, a while ago where they are many."""
    return {
        "overdue_total": told.overdue,
        "unreachable_total": told.fleet.unreachable,
        "silent_total": told.fleet.silent,
        "lost_total": told.fleet.lost,
        "shares": figures.shares(told.fleet),
        "total": told.fleet.total,
        "coverage": told.coverage,
        "charts": [
            (key, title, chart)
            for key, title, chart in (
                ("hours", "Hours by their end", figures.ending_hours(told)),
                ("versions", "Policy versions in the field", figures.in_the_field(told)),
                ("contact", "Last contact", figures.last_contact(told)),
                ("identities", "Identities about to end", figures.certificates(told)),
            )
            if chart
        ],
    }


def _house(now: datetime) -> dict[str, Any]:
    """Whether the product itself is well."""
    counted = FleetDay.objects.order_by("-day").values_list("counted_at", flat=True).first()
    pulse = VaultSays.objects.filter(about=VaultSays.HOUSE).values_list("at", flat=True).first()
    oldest = Device.objects.due_for_push(now).values_list("wake_due_at", flat=True).first()
    certificate = PushCertificate.objects.filter(is_current=True).first()
    return {
        "oldest_push": int((now - oldest).total_seconds()) if oldest else 0,
        "certificate": certificate,
        "certificate_days": (certificate.not_after - now).days if certificate else None,
        "certificate_is_well": certificate and certificate.not_after > now + WARN_BEFORE,
        "open_commands": Command.objects.open().count(),
        "selftest": alarms.selftest(),
        "ticked_at": counted,
        "ticks": (ticks := counted is not None and now - counted < PULSE_LASTS),
        "has_worker": ticks or "worker" in it_policy.processes(),
        "vault_at": pulse,
        "vault_speaks": pulse is not None and now - pulse < vault_says.FRESH,
    }


def _greeting(now: Any) -> str:
    hour = timezone.localtime(now).hour
    if hour < 12:  # noqa: PLR2004  noon
        return "Good morning"
    return "Good afternoon" if hour < 18 else "Good evening"  # noqa: PLR2004  six in the evening
