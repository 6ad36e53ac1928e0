"""The staff site: Django's admin under our name, with our way of signing in and our frame."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone
from django.utils.http import urlencode

from devices.models import Device
from mdm.desk import alarms, charter, coverage, dashboard, first_run, handbook, it_policy


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of the side menu."""

    label: str
    icon: str
    address: str
    permission: str  # an empty one: everybody who may sign in
    counts: str = ""  # which figure stands beside it
    covers: str = ""  # other addresses that belong to it


WORK = (
    Place("Desk", "home", "admin:index", ""),
    Place("Devices", "devices", "admin:devices_device_changelist", "devices.view_device"),
    Place(
        "Requests",
        "inbox",
        "admin:passcodes_clearrequest_changelist",
        "passcodes.view_clearrequest",
        "requests",
    ),
    Place(
        "Other sign-offs",
        "compliant",
        "admin:passcodes_act_changelist",
        "passcodes.view_act",
        "acts",
    ),
    Place(
        "My signing passkeys",
        "key",
        "admin:staff_signingkey_changelist",
        "passcodes.view_clearrequest",
    ),
)
LOOK_UP = (
    Place(
        "Policies",
        "policy",
        "admin:passcodes_policy_changelist",
        "passcodes.view_policy",
        covers="/passcodes/policyversion/",
    ),
    Place("Rollouts", "rollout", "admin:passcodes_rollout_changelist", "passcodes.view_rollout"),
    Place(
        "Withheld",
        "withheld",
        "admin:passcodes_withheldconfiguration_changelist",
        "passcodes.view_withheldconfiguration",
    ),
    Place("Groups", "group", "admin:devices_devicegroup_changelist", "devices.view_devicegroup"),
    Place(
        "Device users",
        "person",
        "admin:devices_deviceuser_changelist",
        "devices.view_deviceuser",
    ),
    Place("Audit", "audit", "admin:devices_auditentry_changelist", "devices.view_auditentry"),
    Place("Coverage", "key", "admin:coverage", "passcodes.view_clearrequest"),
    Place("IT policy", "policy", "admin:it_policy", ""),
)
HOUSE = (
    Place("Setup", "check", "admin:setup", first_run.RIGHT),
    Place(
        "Enrollment",
        "download",
        "admin:devices_enrollmentlink_changelist",
        "devices.view_enrollmentlink",
    ),
    Place(
        "Push certificate",
        "cert",
        "admin:devices_pushcertificate_changelist",
        "devices.view_pushcertificate",
    ),
    Place(
        "Rules of the house",
        "gear",
        "admin:devices_houserules_changelist",
        "devices.view_houserules",
    ),
    Place(
        "Network users",
        "key",
        "admin:devices_networkuser_changelist",
        "devices.view_networkuser",
    ),
    Place("Notices", "say", "admin:devices_notice_changelist", "devices.view_notice"),
    Place("People", "person", "admin:staff_user_changelist", "staff.view_user"),
    Place("Charter", "lock", "admin:charter", "staff.view_user"),
)
# Addresses of what knows the pages of all models; `mdm/admin.py` adds them when those are there.
ALSO: list[Callable[[AdminSite], list[URLPattern]]] = []
LOOKS_AGAIN = "Desk-Looks-Again"  # a page that is open asks for what lives in it, by desk.js
SECTIONS = (("", WORK), ("Look up", LOOK_UP), ("The house", HOUSE))


class Desk(AdminSite):
    site_title = "Passcodes"
    site_header = "Passcodes"
    index_title = "Desk"
    site_url = None
    enable_nav_sidebar = True

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context = super().each_context(request)
        if self.has_permission(request):
            counts = dashboard.waiting_counts(request.user)
            if LOOKS_AGAIN in request.headers:
                context["desk_frame"] = "desk/looked_again.html"
                context["desk_counts"] = counts
            else:
                context["desk_sections"] = _sections(request, counts)
            context["desk_alarms"] = [
                *alarms.burning(),
                *alarms.of_those_who_look_after(request.user),
            ]
            context["desk_now"] = timezone.now()
            context["desk_handbook"] = handbook.address(request.path)
        return context

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Pages that are about no one model stand before the admin's own."""
        wrap = self.admin_view
        return [
            path("coverage/", wrap(coverage.page), name="coverage"),
            path("coverage/csv/", wrap(coverage.export), name="coverage_csv"),
            path("coverage/pins/", wrap(coverage.give_pins), name="coverage_pins"),
            path("charter/", wrap(charter.page), name="charter"),
            path("charter/propose/<str:what>/", wrap(charter.propose), name="charter_propose"),
            path("it-policy/", wrap(it_policy.page), name="it_policy"),
            path("handbook/", wrap(handbook.page), name="handbook"),
            path("setup/", wrap(first_run.page), name="setup"),
            path("setup/check/", wrap(first_run.check), name="setup_check"),
            path("setup/mail/", wrap(first_run.mail), name="setup_mail"),
            path("it-policy/write/", wrap(it_policy.write), name="it_policy_write"),
            *(one for paths in ALSO for one in paths(self)),
            *super().get_urls(),
        ]

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """People sign in by allauth, which limits tries; the admin's own form is not used."""
        if self.has_permission(request):
            return redirect("admin:index")
        if (
            request.user.is_authenticated
        ):  # sending them to log in would send them round in circles
            raise PermissionDenied("Your account is not one of the staff site’s.")
        query = urlencode({"next": request.GET.get("next", reverse("admin:index"))})
        return redirect(f"{reverse('account_login')}?{query}")

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        context = {
            **self.each_context(request),
            **dashboard.facts(request.user, days=request.GET.get("days", "")),
            **({} if Device.objects.exists() else first_run.facts(request)),
            "title": self.index_title,
            **(extra_context or {}),
        }
        request.current_app = self.name
        return TemplateResponse(request, "admin/index.html", context)


def _sections(request: HttpRequest, counts: Mapping[str, int]) -> list[dict[str, Any]]:
    sections = []
    for title, places in SECTIONS:
        entries = [
            {
                "label": place.label,
                "icon": place.icon,
                "address": (address := reverse(place.address)),
                "is_here": request.path == address
                or (address != reverse("admin:index") and request.path.startswith(address))
                or bool(place.covers and request.path.startswith(place.covers)),
                "counts": place.counts if place.counts in counts else "",
                "count": counts.get(place.counts, 0),
            }
            for place in places
            if not place.permission or request.user.has_perm(place.permission)
        ]
        if entries:
            sections.append({"title": title, "entries": entries})
    return sections
