"""A push in waves, on the staff site: how it is to go on, how far it is, and the click for the next wave."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from devices.models import DeviceGroup
from passcodes import waves
from passcodes.admin.page import Page, attempt
from passcodes.admin.wording import say_devices
from passcodes.models import Rollout, WavePlan
from passcodes.rules import waves as rules
from passcodes.rules.enforcement import State as Enforced
from passcodes.rules.waves import Kind, Portion, State
from passcodes.scope import groups_of
from passcodes.waves import Intent
from staff import permissions
from staff.models import User
from staff.permissions import person

ROWS = ("First", "Second", "Third")
AT_ONCE, IN_WAVES = "at_once", "waves"
CLICK, ITSELF = "click", "itself"
AFTER, THRESHOLD = 24, 5  # what is proposed: hours, percent
BAR = 1000  # the width of a bar in its own units
NEEDS = "This wave has no {what}."


class WavesForm(forms.Form):
    """All at once, or some devices first. All at once is the default."""

    how = forms.ChoiceField(
        choices=((AT_ONCE, "All at once"), (IN_WAVES, "In waves: some first, then the others")),
        initial=AT_ONCE,
        required=False,
        widget=forms.RadioSelect,
    )
    goes = forms.ChoiceField(
        label="The next wave goes",
        choices=((CLICK, "when somebody clicks"), (ITSELF, "by itself")),
        initial=CLICK,
        required=False,
        widget=forms.RadioSelect,
    )
    after_hours = forms.IntegerField(
        label="Hours between two waves",
        min_value=rules.SHORTEST,
        max_value=rules.LONGEST,
        initial=AFTER,
        required=False,
        widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
    )
    threshold = forms.IntegerField(
        label="Percent in trouble that are borne",
        min_value=0,
        max_value=rules.ALL,
        initial=THRESHOLD,
        required=False,
        widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
    )

    def __init__(self, *args: Any, by: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.intent: Intent | None = None
        for number, name in enumerate(ROWS, start=1):
            kinds = [(Kind.DEVICES, "devices"), (Kind.PERCENT, "% of all"), (Kind.GROUP, "group")]
            self.fields[f"kind_{number}"] = forms.ChoiceField(
                label=f"{name} wave",
                choices=[("", "none"), *((kind.value, words) for kind, words in kinds)],
                initial=Kind.DEVICES.value if number == 1 else "",
                required=False,
            )
            self.fields[f"number_{number}"] = forms.IntegerField(
                label=f"{name} wave: how many",
                min_value=1,
                initial=10 if number == 1 else None,
                required=False,
                widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
            )
            self.fields[f"group_{number}"] = forms.ModelChoiceField(
                groups_of(by), label=f"{name} wave: which group", required=False, empty_label="–"
            )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if data.get("how") != IN_WAVES or self.errors:
            return data
        portions = tuple(self._portions(data))
        if self.errors:
            return data
        try:
            rules.check(portions)
        except rules.Refused as refused:
            raise forms.ValidationError(str(refused)) from None
        by_itself = data.get("goes") == ITSELF
        threshold = data.get("threshold")
        self.intent = Intent(
            portions,
            after_hours=(data.get("after_hours") or AFTER) if by_itself else None,
            threshold=THRESHOLD if threshold is None else threshold,
        )
        return data

    def _portions(self, data: dict[str, Any]) -> Iterator[Portion]:
        for number in range(1, len(ROWS) + 1):
            kind = data.get(f"kind_{number}")
            if not kind:
                continue
            field = f"group_{number}" if kind == Kind.GROUP else f"number_{number}"
            value = data.get(field)
            if value is None:
                what = "group" if kind == Kind.GROUP else "number"
                self.add_error(field, NEEDS.format(what=what))
                continue
            yield Portion(Kind(kind), getattr(value, "pk", value))

    @property
    def rows(self) -> list[dict[str, forms.BoundField]]:
        return [
            {"kind": self[f"kind_{n}"], "number": self[f"number_{n}"], "group": self[f"group_{n}"]}
            for n in range(1, len(ROWS) + 1)
        ]

    @property
    def kept(self) -> list[tuple[str, str]]:
        """What was chosen, for the confirmation to send again."""
        return [(name, self.data[name]) for name in self.fields if self.data.get(name)]


@dataclass(frozen=True, slots=True)
class Line:
    """One wave as the page shows it: of how many devices, and how far they are."""

    number: int
    words: str
    devices: int
    started_at: datetime | None = None
    started_by: User | None = None
    done: int = 0  # compliant, or of a kind that cannot say so
    waiting: int = 0  # installed, and not proven yet
    trouble: int = 0

    @property
    def parts(self) -> list[tuple[str, str, str]]:
        """The bar: colour, beginning and width of each part."""
        found, at = [], 0.0
        for colour, count in (
            ("c-compliant", self.done),
            ("c-grace", self.waiting),
            ("c-overdue", self.trouble),
        ):
            width = BAR * count / (self.devices or 1)
            if count:
                found.append((colour, f"{at:.1f}", f"{width:.1f}"))
            at += width
        return found


def words_of(intent: Intent) -> list[str]:
    """Each wave in words, the last one too."""
    return [*_words(intent.portions), "everyone else"]


def facts(one: Rollout, *, exactly: bool = False) -> dict[str, Any]:
    """What the rollout's page says of its waves; nothing where it goes all at once.

    `exactly`: with each device asked whether it takes the version, as the push will ask.
    """
    plan = WavePlan.objects.filter(pk=one.pk).select_related("rollout__version").first()
    if plan is None:
        return {}
    going = State(plan.state) in rules.OPEN
    look = waves.coming if exactly else waves.ahead
    number, coming = look(plan) if going else (0, 0)
    verdict = waves.verdict(plan) if going else None
    return {
        "plan": plan,
        "state": rules.IN_WORDS[State(plan.state)],
        "lines": _lines(plan, number, coming),
        "next": number,
        "coming": coming,
        "is_last": number > len(plan.portions),
        "waits": getattr(verdict, "because", ""),
    }


class WavePages(Page):
    """The deeds of a rollout in waves."""

    def next_wave(self, request: HttpRequest, pk: int) -> HttpResponse:
        """First the number of devices, then the wave: the one that was read about."""
        user = person(request)
        permissions.require(user, waves.PUSH)
        one = get_object_or_404(Rollout.objects.select_related("version__policy"), pk=pk)
        told = facts(one, exactly=True)
        if not told or not told["next"]:
            messages.error(request, "No wave of this rollout is still to come.")
            return redirect("admin:passcodes_rollout_change", one.pk)
        if request.method == "POST":
            number = request.POST.get("wave", "")
            wave = attempt(
                request,
                lambda: waves.go_on(
                    one.pk, number=int(number) if number.isdigit() else 0, by=user
                ),
                rules.Refused,
            )
            if wave:
                messages.success(request, f"The wave is out, to {say_devices(wave.devices)}.")
            return redirect("admin:passcodes_rollout_change", one.pk)
        return self.show(
            request,
            "admin/passcodes/rollout/next_wave.html",
            f"The next wave of {one.version}",
            rollout=one,
            groups=list(one.groups.all()),
            excluded=list(one.excluded.all()),
            health=waves.health(told["plan"]),
            loses=waves.losing(told["plan"], told["next"]),
            waves=told,
        )

    @method_decorator(require_POST)
    def hold(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        one = get_object_or_404(WavePlan, pk=pk)
        if attempt(request, lambda: waves.hold(one.pk, by=user), rules.Refused):
            messages.success(request, "Held. No wave goes by itself until somebody lets it.")
        return redirect("admin:passcodes_rollout_change", one.pk)


def _lines(plan: WavePlan, number: int, coming: int) -> list[Line]:
    words = [*_words(rules.from_json(plan.portions)), "everyone else"]
    runs, ran_out = (
        Q(enforcements__state=Enforced.GRACE, **{f"enforcements__deadline__{way}": timezone.now()})
        for way in ("gt", "lte")
    )
    out = plan.waves.select_related("started_by").annotate(
        done=_counted(Q(enforcements__state__in=[Enforced.COMPLIANT, Enforced.NOT_MEASURABLE])),
        waiting=_counted(runs | Q(enforcements__state=Enforced.CHECKING)),
        trouble=_counted(
            ran_out | Q(enforcements__state__in=[Enforced.OVERDUE, Enforced.REFUSED])
        ),
    )
    lines = [
        Line(
            wave.number,
            words[wave.number - 1],
            wave.devices,
            wave.started_at,
            wave.started_by,
            wave.done,
            wave.waiting,
            wave.trouble,
        )
        for wave in out
    ]
    if number:
        lines.append(Line(number, words[number - 1], coming))
    return lines


def _counted(which: Q) -> Count:
    return Count("enforcements", filter=which)


def _words(portions: tuple[Portion, ...]) -> list[str]:
    keys = [portion.value for portion in portions if portion.kind is Kind.GROUP]
    names = {group.pk: str(group) for group in DeviceGroup.objects.filter(pk__in=keys)}
    return [
        rules.in_words(portion, group=names.get(portion.value, "a group")) for portion in portions
    ]
