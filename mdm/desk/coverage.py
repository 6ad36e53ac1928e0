"""The coverage report: how many devices could not be cleared today, why, and what is to be done about each."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_POST

from devices import audit, pins
from devices.models import Device
from mdm.desk import export as files
from passcodes import coverage
from passcodes import pins as giving
from passcodes.coverage import Row
from staff import permissions
from staff.models import User
from staff.permissions import person

RIGHT = "passcodes.view_clearrequest"
NAMED = 20  # devices of each reason; the list has all
COLUMNS = (
    "name",
    "serial",
    "platform",
    "model",
    "user",
    "last contact",
    "cannot be cleared because it",
    "next step",
)


class Clearable(admin.SimpleListFilter):
    """The devices behind one line of the report."""

    title = "cannot be cleared"
    parameter_name = "clear"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("any", "For any reason"), *((one.word, one.one) for one in coverage.REASONS)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> QuerySet[Device]:
        return coverage.only(queryset, self.value() or "")


class Pinned(admin.SimpleListFilter):
    """The devices that could be led to another door than ours."""

    title = "the door’s TLS"
    parameter_name = "pins"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("lacking", "Not pinned, or a former one")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> QuerySet[Device]:
        return pins.lacking(queryset) if self.value() == "lacking" else queryset


def page(request: HttpRequest) -> HttpResponse:
    user = person(request)
    permissions.require(user, RIGHT)
    devices = permissions.visible(user)
    told = coverage.of(devices)
    context = {
        **admin.site.each_context(request),
        "title": "Coverage",
        "coverage": told,
        "can": told.total - told.cannot,
        "rows": [(row, _first(devices, row)) for row in told.rows],
        **_pins(user, devices),
        "named": NAMED,
        "at": timezone.now(),
    }
    return TemplateResponse(request, "desk/coverage.html", context)


def give_pins(request: HttpRequest) -> HttpResponse:
    """Give those that lack them their enrollment profile again, after a look at what that means."""
    user = person(request)
    permissions.require(user, giving.GIVE)
    if request.method == "POST":
        try:
            count = giving.give(by=user)
        except giving.Refused as refused:
            messages.error(request, str(refused))
        else:
            asked = "1 device is given its" if count == 1 else f"{count} devices are given their"
            messages.success(request, f"{asked} enrollment profile again.")
        return redirect("admin:coverage")
    context = {
        **admin.site.each_context(request),
        "title": "Pin the door’s TLS",
        **_pins(user, permissions.visible(user)),
        "most": giving.MOST_AT_ONCE,
    }
    return TemplateResponse(request, "desk/pins.html", context)


@require_POST
def export(request: HttpRequest) -> StreamingHttpResponse:
    """Every device with every reason, as a file; and a trace of that."""
    user = person(request)
    permissions.require(user, RIGHT)
    devices = permissions.visible(user)
    told = coverage.of(devices)
    audit.record("coverage.export", actor=user, format="csv", entries=told.cannot)
    total = sum(row.count for row in told.rows)  # a device with two reasons comes twice
    return files.answer("coverage", COLUMNS, _cells(devices), total=total)


def _cells(devices: QuerySet[Device]) -> Iterator[files.Row]:
    for device, reason in coverage.each(devices):
        seen = device.last_seen_at.isoformat(timespec="minutes") if device.last_seen_at else ""
        yield (
            device.name,
            device.serial or device.udid,
            device.get_platform_display(),
            device.model_name or device.product_name,
            device.user_name,
            seen,
            reason.one,
            reason.next_step,
        )


def _pins(user: User, devices: QuerySet[Device]) -> dict[str, Any]:
    """Which devices lack the present pins, and what can be done for how many of them."""
    standing = pins.standing(devices)
    return {
        "pins": standing,
        "unpinned": list(pins.lacking(devices).order_by("name", "serial")[:NAMED]),
        "pins_askable": giving.askable(devices).count() if standing.lacking else 0,
        "pins_asked": giving.asked(devices) if standing.lacking else 0,
        "may_give_pins": user.has_perm(giving.GIVE),
    }


def _first(devices: QuerySet[Device], row: Row) -> list[Device]:
    return list(coverage.only(devices, row.reason.word).order_by("name", "serial")[:NAMED])
