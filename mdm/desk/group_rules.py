"""The rule of a group, on the staff site: conditions in rows, who would be in by them, and what follows.

Every row, and every look at who is in, works without a script; with one, both are there while somebody types.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from devices import grouping as ground
from devices.models import DeviceGroup, GroupRule
from devices.rules import grouping as rules
from devices.rules.grouping import KINDS, MOST, TESTS, Condition
from passcodes import foresight, grouping
from passcodes.admin.page import Page, attempt
from passcodes.admin.targets import Counted
from staff.permissions import person

SHOWN = 20  # devices that are named
PARTS = ("fact", "test", "value")


@dataclass(frozen=True, slots=True)
class Row:
    """One condition as it stands in the form, and what is wrong with it."""

    number: int
    fact: str = ""
    test: str = ""
    value: str = ""
    wrong: str = ""

    @property
    def choices(self) -> list[str]:
        """What the value may be, where that is a short list."""
        kind = next((kind for fact, kind in KINDS.items() if fact.value == self.fact), None)
        return list(kind.choices.values()) if kind and kind.choices else []


@dataclass(frozen=True, slots=True)
class Written:
    """What somebody has written: the rows as they stand, and the rule, if they make one."""

    rows: list[Row]
    conditions: tuple[Condition, ...]
    wrong: str = ""

    @property
    def is_rule(self) -> bool:
        return not self.wrong

    @property
    def words(self) -> str:
        return rules.in_words(self.conditions) if self.is_rule else ""


def read(sent: Mapping[str, Any], *, more: bool = False) -> Written:
    """The rows of the form. A row in which nothing is written counts for nothing."""
    rows: list[Row] = []
    conditions = []
    for number in range(MOST):
        fact, test, value = (str(sent.get(f"{part}-{number}", "")) for part in PARTS)
        if not fact and not value.strip():
            continue
        wrong = ""
        try:
            conditions.append(rules.read(fact, test, value))
        except rules.Refused as refused:
            wrong = str(refused)
        rows.append(Row(len(rows), fact, test, value, wrong))
    faults = " ".join(row.wrong for row in rows if row.wrong)
    if not faults:
        try:
            rules.check(conditions)
        except rules.Refused as refused:
            faults = str(refused)
    if (more or not rows) and len(rows) < MOST:
        rows.append(Row(len(rows)))
    return Written(rows, tuple(conditions), faults)


def kept(rule: GroupRule | None) -> Written:
    """The rows of the rule that the group has."""
    if rule is None:
        return read({})
    lines = rule.conditions if isinstance(rule.conditions, list) else []
    sent = {
        f"{part}-{number}": _called(str(line.get("fact", "")), str(line.get(part, "")), part)
        for number, line in enumerate(lines)
        if isinstance(line, dict)
        for part in PARTS
    }
    return read(sent)


def words_of(group: DeviceGroup) -> str:
    """The rule in words; nothing where people put devices in."""
    rule = getattr(group, "rule", None)
    if rule is None:
        return ""
    try:
        return rules.in_words(rules.from_json(rule.conditions))
    except rules.Refused:
        return "a rule that cannot be read; it moves nobody"


def about(group: DeviceGroup) -> dict[str, Any]:
    """What the group's page says of its rule."""
    rule = getattr(group, "rule", None)
    if rule is None:
        return {"rule": None}
    left = grouping.still_moving(rule)
    return {
        "rule": rule,
        "rule_words": words_of(group),
        "left": left,
        "moving": max(rule.moving, left),
        "moved": max(rule.moving, left) - left,
    }


class RulePages(Page):
    """The deeds of a group by rule."""

    def rule(self, request: HttpRequest, pk: int) -> HttpResponse:
        """First who would be in and what follows; then it is kept, with the numbers that were read."""
        user = person(request)
        grouping.require(user)
        group = get_object_or_404(DeviceGroup.objects.select_related("rule"), pk=pk)
        has_rule = hasattr(group, "rule")
        title = f"The rule of {group}"
        if request.method != "POST":
            written = kept(group.rule if has_rule else None)
            return self._rule_form(request, group, written, title, first=not has_rule)
        written = read(request.POST, more="more" in request.POST)
        if {"more", "look", "again"} & set(request.POST) or not written.is_rule:
            is_first = "more" in request.POST and not written.conditions
            return self._rule_form(request, group, written, title, first=is_first)
        would = grouping.moves(group.pk, written.conditions)
        joining, leaving = (
            set(one.values_list("pk", flat=True)) for one in (would.joining, would.leaving)
        )
        counted = Counted(
            f"rule of group {group.pk} {written.words}",
            frozenset(joining | leaving),
            (len(joining), len(leaving)),
        )
        confirmed = request.POST.get("counted", "")
        if counted.is_confirmed(confirmed, by=user):
            done = attempt(
                request,
                lambda: grouping.write(group.pk, written.conditions, by=user),
                grouping.Refused,
                rules.Refused,
            )
            if done:
                messages.success(request, _said(group, len(joining), len(leaving)))
                return redirect("admin:devices_devicegroup_change", group.pk)
        return self.show(
            request,
            "admin/devices/devicegroup/rule_confirm.html",
            title,
            group=group,
            written=written,
            **_what_follows(group, written),
            in_background=len(joining) + len(leaving) > grouping.AT_ONCE,
            counted=counted.signed(by=user),
            has_changed=bool(confirmed) and not counted.is_confirmed(confirmed, by=user),
        )

    def rule_preview(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Who would be in by what stands in the form now; nothing is kept."""
        grouping.require(person(request))
        group = get_object_or_404(DeviceGroup, pk=pk)
        written = read(request.POST or request.GET)
        return self.show(
            request,
            "admin/devices/devicegroup/rule_said.html",
            f"Who would be in {group}",
            group=group,
            written=written,
            **_what_follows(group, written),
        )

    @method_decorator(require_POST)
    def rule_drop(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        group = get_object_or_404(DeviceGroup, pk=pk)
        if attempt(
            request, lambda: (grouping.drop(group.pk, by=user), True)[-1], grouping.Refused
        ):
            messages.success(
                request, f"{group} has no rule any more. Who is in it stays until taken out."
            )
        return redirect("admin:devices_devicegroup_change", group.pk)

    def _rule_form(
        self,
        request: HttpRequest,
        group: DeviceGroup,
        written: Written,
        title: str,
        *,
        first: bool,
    ) -> HttpResponse:
        """`first`: nothing has been written yet, so nothing is wrong with it."""
        return self.show(
            request,
            "admin/devices/devicegroup/rule.html",
            title,
            group=group,
            written=written,
            is_first=first,
            kinds=[
                {
                    "key": fact.value,
                    "label": kind.label,
                    "tests": " ".join(test.value for test in kind.tests),
                    "choices": "|".join((kind.choices or {}).values()),
                }
                for fact, kind in KINDS.items()
            ],
            tests=[(test.value, words) for test, words in TESTS.items()],
            choices=sorted(
                {one for kind in KINDS.values() for one in (kind.choices or {}).values()}
            ),
            most=MOST,
            **_what_follows(group, written),
        )


def _what_follows(group: DeviceGroup, written: Written) -> dict[str, Any]:
    """Who would be in, join and leave, and what that brings and takes."""
    if not written.is_rule:
        return {}
    would = grouping.moves(group.pk, written.conditions)
    fitting = ground.fitting(written.conditions)
    shown, gone = list(fitting[:SHOWN]), list(would.leaving[:SHOWN])
    keys = [device.pk for device in shown]
    new = set(would.joining.filter(pk__in=keys).values_list("pk", flat=True))
    total, leaves = fitting.count(), would.leaving.count()
    return {
        "total": total,
        "joins": would.joining.count(),
        "leaves": leaves,
        "fitting": [{"device": device, "joins": device.pk in new} for device in shown],
        "more_fitting": total - len(shown),
        "leaving": gone,
        "more_leaving": leaves - len(gone),
        "effects": foresight.of(group, joining=would.joining, leaving=would.leaving),
    }


def _called(fact: str, value: str, part: str) -> str:
    """A choice as people call it."""
    if part != "value":
        return value
    kind = next((kind for one, kind in KINDS.items() if one.value == fact), None)
    return (kind.choices or {}).get(value, value) if kind else value


def _said(group: DeviceGroup, joining: int, leaving: int) -> str:
    if joining + leaving > grouping.AT_ONCE:
        return (
            f"{group} goes by its rule. {joining:,} join and {leaving:,} leave, some hundred at a "
            "time; how far it is stands here."
        )
    joined = f"{joining:,} device{'' if joining == 1 else 's'} joined"
    return f"{group} goes by its rule. {joined}, {leaving:,} left."
