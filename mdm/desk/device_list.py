"""The list of devices: how each stands, found by its words, filtered by what somebody has to do."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from devices import search
from devices.models import Device
from mdm.desk.coverage import Clearable, Pinned
from mdm.templatetags.desk import age, countdown, st
from passcodes import standing
from passcodes.rules.standing import Word
from staff import permissions
from staff.permissions import person

MOST_CHOSEN = 400  # in an address; a list that people sign has half as many
VIEWS: tuple[tuple[str, str], ...] = (
    ("needs", "Needs somebody"),
    ("exposed", "Exposed"),
    ("overdue", "Overdue"),
    ("grace", "In grace"),
    ("waiting", "Waiting for device"),
    ("compliant", "Compliant"),
    ("refused", "Policy refused"),
    ("not_measurable", "Not measurable"),
    ("no_policy", "No policy"),
    ("withheld", "Withheld"),
    ("unreachable", "Unreachable"),
    ("inactive", "Inactive"),
    ("lost", "Lost"),
)


class View(admin.SimpleListFilter):
    """The saved views: by the passcode status and what stands beside it."""

    title = "status"
    parameter_name = "view"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return VIEWS

    def queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> QuerySet[Device]:
        return standing.only(queryset, self.value() or "")


class DeviceList(admin.ModelAdmin):
    list_display = ("device", "passcode", "policy", "withheld", "reached")
    list_filter = (View, Clearable, Pinned, "platform", "groups", "enrollment_state")
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("words",)  # how they are looked for: devices/search.py
    search_help_text = "Any part of a serial, name, user, UDID or asset tag"
    actions = ("ask_for_clears",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Device]:
        return permissions.visible(person(request))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Device], search_term: str
    ) -> tuple[QuerySet[Device], bool]:
        return search.called(queryset, search_term), False  # no device comes twice

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # a device comes in by enrolling

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a device changes by what it says, or by a deed of its page

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # history stays; a device is retired

    @admin.action(description="Ask for the clears of these devices", permissions=["clear"])
    def ask_for_clears(self, request: HttpRequest, devices: QuerySet[Device]) -> HttpResponse:
        keys = list(devices.order_by("pk").values_list("pk", flat=True)[: MOST_CHOSEN + 1])
        query = ",".join(map(str, keys))
        return redirect(f"{reverse('admin:passcodes_clearlist_add')}?devices={query}")

    def has_clear_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("passcodes.request_clear")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list; a search that fits one device alone leads straight to it."""
        response = super().changelist_view(request, extra_context)
        found = getattr(response, "context_data", {}).get("cl")
        if (
            found
            and found.query.strip()
            and list(request.GET) == ["q"]
            and found.result_count == 1
        ):
            return redirect("admin:devices_device_change", found.result_list[0].pk)
        return response

    # The list. Standings are fetched once for the page, not once a row.

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        shown = list(changelist.result_list)
        standings = standing.of(shown)
        for device in shown:
            device.__dict__["standing"] = standings[device.pk]
        changelist.result_list = shown
        return changelist

    @admin.display(ordering="name")
    def device(self, device: Device) -> SafeString:
        return format_html(
            '{} <span class="quiet">{}, <span class="mono">{}</span></span>',
            device,
            device.model_name or device.get_platform_display(),
            device.serial or device.udid,
        )

    def passcode(self, device: Device) -> SafeString:
        stands = _stands(device)
        badge = st(stands.look.style, stands.look.text, stands.look.icon)
        if stands.word is Word.GRACE and stands.enforcement and stands.enforcement.deadline:
            left = countdown(stands.enforcement.deadline)
            badge = format_html('{} <span class="quiet">{} left</span>', badge, left)
        if stands.is_lost:
            badge = format_html("{} {}", st("lost", "Lost"), badge)
        return badge

    def policy(self, device: Device) -> str:
        stands = _stands(device)
        return str(stands.enforcement.version) if stands.enforcement else "–"

    def withheld(self, device: Device) -> SafeString | str:
        stands = _stands(device)
        return st("withheld", str(stands.withheld), plain=True) if stands.withheld else "–"

    def reached(self, device: Device) -> SafeString | str:
        stands = _stands(device)
        seen = age(device.last_seen_at)
        if stands.is_inactive:
            return format_html(
                '{} <span class="quiet">{}</span>', st("unreachable", "Inactive"), seen
            )
        if not stands.is_unreachable:
            return seen
        return format_html(
            '{} <span class="quiet">{}</span>', st("unreachable", "Unreachable"), seen
        )


def _stands(device: Device) -> standing.Standing:
    """What `get_changelist_instance` has put beside the row."""
    stands = device.__dict__["standing"]
    assert isinstance(stands, standing.Standing)
    return stands
