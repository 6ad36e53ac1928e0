"""Rollouts: how far a push has come, which devices need a person, and the way to stop it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.db.models import Case, CharField, Count, F, Q, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone

from devices.models import Command, Device
from devices.rules.commands import OPEN
from passcodes import rollout, standing, ways
from passcodes.admin import waves
from passcodes.admin.page import Deed, attempt
from passcodes.admin.waves import WavePages
from passcodes.admin.ways import WayPages
from passcodes.admin.wording import say_devices
from passcodes.models import Enforcement, Release, Rollout
from passcodes.models.gate import ReleaseState
from passcodes.rules import enforcement as rules
from passcodes.rules.enforcement import State
from passcodes.rules.requirements import from_json, in_words
from staff import permissions
from staff.permissions import person

SHOWN = 25  # devices that need a person
BAR = 1000.0  # the width of the chart in its own units
GAP = 2.0
COLOURS = {
    State.COMPLIANT: "c-compliant",
    State.GRACE: "c-grace",
    State.OVERDUE: "c-overdue",
    State.CHECKING: "c-doing",
    State.PUSHED: "c-away",
    State.REFUSED: "c-exposed",
    State.NOT_MEASURABLE: "c-mute",
    State.SUPERSEDED: "c-held",
    State.ENDED: "c-held",
}
ALWAYS_SHOWN = (State.COMPLIANT, State.GRACE, State.OVERDUE, State.CHECKING, State.PUSHED)
WORDS = {**rules.IN_WORDS, State.PUSHED: "Not come yet"}
NEXT = {
    State.REFUSED: "Read the device’s words, mend the cause, push again",
    State.OVERDUE: "Call; the device already insists on a new passcode",
}


@dataclass(frozen=True, slots=True)
class Share:
    """One state in the bar and in the table beside it."""

    word: str
    colour: str
    count: int
    percent: float
    x: str
    width: str


@dataclass(frozen=True, slots=True)
class Needy:
    """A device that will not come to its end by itself."""

    device: Device
    style: str
    word: str
    since: datetime | None
    why: str
    next_step: str


@admin.register(Rollout)
class RolloutAdmin(WavePages, WayPages):
    search_fields = ("version__policy__name",)
    search_help_text = "Any part of a policy’s name"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Rollout]:
        counts = {
            f"now_{state.value}": Count("enforcements", filter=Q(enforcements__state=state.value))
            for state in (State.COMPLIANT, State.GRACE, State.OVERDUE, State.PUSHED, State.REFUSED)
        }
        return Rollout.objects.select_related(
            "version__policy", "started_by", "wave_plan"
        ).annotate(**counts)

    def deeds(self) -> list[Deed]:
        return [
            ("<int:pk>/devices/", self.its_devices, "rollout_devices"),
            ("<int:pk>/stop/", self.stop, "rollout_stop"),
            ("<int:pk>/next/", self.next_wave, "rollout_next"),
            ("<int:pk>/hold/", self.hold, "rollout_hold"),
        ]

    def page(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        one = get_object_or_404(
            Rollout.objects.select_related("version__policy", "started_by", "stopped_by"), pk=pk
        )
        now = timezone.now()
        shares = _shares(one, now)
        total = sum(share.count for share in shares)
        came = total - sum(share.count for share in shares if share.word == WORDS[State.PUSHED])
        needy, needy_total = _needy(one, permissions.visible(user), now)
        stoppable = _stoppable(one)
        in_waves = waves.facts(one)
        may_push = user.has_perm("passcodes.push_policyversion")
        return self.show(
            request,
            "admin/passcodes/rollout/change_form.html",
            str(one.version),
            rollout=one,
            groups=list(one.groups.all()),
            excluded=list(one.excluded.all()),
            words=in_words(from_json(one.version.requirements)),
            shares=shares,
            total=total,
            came=came,
            needy=needy,
            needy_total=needy_total,
            releases=_releases(one),
            stoppable=stoppable,
            waves=in_waves,
            ways=ways.counted(one.enforcements.live()),
            ways_address=reverse("admin:rollout_devices", args=[one.pk]),
            may={
                "stop": one.stopped_at is None
                and (stoppable > 0 or bool(in_waves.get("next")))
                and may_push,
                "go_on": bool(in_waves.get("next")) and may_push,
                "hold": bool(in_waves) and in_waves["plan"].due_at is not None and may_push,
            },
        )

    def its_devices(self, request: HttpRequest, pk: int) -> HttpResponse:
        one = get_object_or_404(Rollout.objects.select_related("version__policy"), pk=pk)
        return self.devices(
            request,
            one.enforcements.live(),
            f"Devices of {one}",
            back=reverse("admin:passcodes_rollout_change", args=[one.pk]),
            back_name=str(one.version),
        )

    def stop(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        permissions.require(user, "passcodes.push_policyversion")
        one = get_object_or_404(Rollout.objects.select_related("version__policy"), pk=pk)
        if request.method == "POST":
            spared = attempt(request, lambda: rollout.stop(one.pk, by=user), rollout.Refused)
            if spared is not None:
                messages.success(
                    request, f"Stopped. {say_devices(spared)} had not taken {one.version} yet."
                )
            return redirect("admin:passcodes_rollout_change", one.pk)
        return self.show(
            request,
            "admin/passcodes/rollout/stop.html",
            f"Stop {one}",
            rollout=one,
            groups=list(one.groups.all()),
            excluded=list(one.excluded.all()),
            stoppable=_stoppable(one),
            waves=waves.facts(one),
            taken=one.enforcements.live().count() - _stoppable(one),
        )


def _shares(one: Rollout, now: datetime) -> list[Share]:
    """How many devices stand where. Overdue counts from the deadline itself, not from a tick."""
    ran_out = Q(state=State.GRACE.value, deadline__lte=now)
    rows = (
        Enforcement.objects.filter(rollout=one)
        .order_by()
        .values(
            stands=Case(
                When(ran_out, then=Value(State.OVERDUE.value)),
                default=F("state"),
                output_field=CharField(),
            )
        )
        .annotate(number=Count("pk"))
        .values_list("stands", "number")
    )
    counts = dict(rows)
    total = sum(counts.values()) or 1
    at, shares = 0.0, []
    for state, colour in COLOURS.items():
        count = counts.get(state.value, 0)
        if not count and state not in ALWAYS_SHOWN:
            continue
        width = BAR * count / total
        shares.append(
            Share(
                word=WORDS[state],
                colour=colour,
                count=count,
                percent=100 * count / total,
                x=f"{at:.1f}",
                width=f"{max(0.0, width - GAP):.1f}",
            )
        )
        at += width
    return shares


def _needy(one: Rollout, visible: QuerySet[Device], now: datetime) -> tuple[list[Needy], int]:
    """The devices that wait for a person, of those that the reader may see; and how many there are."""
    overdue = Q(state=State.OVERDUE.value) | Q(state=State.GRACE.value, deadline__lte=now)
    unreached = Q(
        state=State.PUSHED.value, device__in=standing.only(visible, "unreachable", now=now)
    )
    rows = (
        Enforcement.objects.filter(rollout=one, device__in=visible)
        .filter(overdue | unreached | Q(state=State.REFUSED.value))
        .select_related("device")
        .order_by("-state", "deadline", "pk")
    )
    return [_of(row) for row in rows[:SHOWN]], rows.count()


def _of(row: Enforcement) -> Needy:
    device = row.device
    match State(row.state):
        case State.REFUSED:
            why = row.ended_because or "It gave no reason."
            return Needy(
                device, "overdue", "Refused by the device", None, why, NEXT[State.REFUSED]
            )
        case State.PUSHED:
            gone = device.token_dead_since
            why = (
                "Apple says that its push address is gone"
                if gone
                else "It has not answered for a long time"
            )
            return Needy(
                device,
                "unreachable",
                "Unreachable",
                gone or device.last_seen_at,
                why,
                "Switch it on and open any app; else enroll it again",
            )
        case _:
            why = "Its passcode does not meet the version"
            return Needy(
                device,
                "overdue",
                "Overdue",
                row.overdue_since or row.deadline,
                why,
                NEXT[State.OVERDUE],
            )


def _releases(one: Rollout) -> list[dict[str, Any]]:
    """What is withheld on the devices of the rollout, and what is on them, by configuration."""
    devices = Enforcement.objects.filter(rollout=one).values("device")
    held = Q(state__in=[ReleaseState.WITHHELD, ReleaseState.WITHDRAWING])
    rows = (
        Release.objects.filter(device__in=devices)
        .exclude(state=ReleaseState.ENDED)
        .order_by("configuration__name")
        .values(name=F("configuration__name"))
        .annotate(
            held=Count("pk", filter=held),
            delivered=Count("pk", filter=Q(state=ReleaseState.DELIVERED)),
        )
    )
    return [dict(row) for row in rows]


def _stoppable(one: Rollout) -> int:
    """How many devices have not been handed the version yet, so that a stop spares them."""
    waiting = Command.objects.filter(state__in=_unsent())
    return one.enforcements.filter(state=State.PUSHED.value, command__in=waiting).count()


def _unsent() -> list[str]:
    return sorted(state.value for state in rollout.UNSENT if state in OPEN)
