"""The device's page: who, what and where; its passcode; its hour; what is withheld; can it be cleared today?

It stands on the roof, because it shows what the ground and the domain know of one device together.
"""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from devices import enrollment, search
from devices.models import Device, DeviceGroup
from mdm.desk import custody as custody_page
from mdm.desk import custom_command, history, told
from mdm.desk import users as users_card
from mdm.desk.coverage import Clearable, Pinned
from mdm.templatetags.desk import age, countdown, st
from passcodes import (
    accounts,
    acts,
    clearing,
    custody,
    enforcement,
    escrow,
    leaving,
    lost_mode,
    ownership,
    reachability,
    standing,
    wanted,
    ways,
    witness,
)
from passcodes.admin.acts import lead_to_sign
from passcodes.models import ClearRequest, Evidence, PolicyVersion, Release
from passcodes.models.gate import ReleaseState
from passcodes.rules.acts import MAY_ASK, Kind
from passcodes.rules.acts import State as ActState
from passcodes.rules.clearing import Refused as ClearRefused
from passcodes.rules.clearing import State as Clear
from passcodes.rules.enforcement import State, user_sees
from passcodes.rules.escrow import Refused as EscrowRefused
from passcodes.rules.lost_mode import PLACE_LASTS
from passcodes.rules.requirements import from_json, in_words
from passcodes.rules.standing import LOOKS, Word
from staff import permissions
from staff.models import User
from staff.permissions import Forbidden

HISTORY_SHOWN = 30
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
Refusals = (
    Forbidden,
    accounts.Refused,
    ClearRefused,
    custody.Refused,
    enforcement.Refused,
    enrollment.Refused,
    lost_mode.Refused,
    EscrowRefused,
)


class View(admin.SimpleListFilter):
    """The saved views: by the passcode status and what stands beside it."""

    title = "status"
    parameter_name = "view"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return VIEWS

    def queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> QuerySet[Device]:
        return standing.only(queryset, self.value() or "")


class LostForm(forms.Form):
    note = forms.CharField(
        label="What happened",
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3, "class": "desk-input"}),
        help_text="Where it was last, who says so. The next person reads this.",
    )


class FoundForm(forms.Form):
    note = forms.CharField(
        label="Who has seen it, and where",
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3, "class": "desk-input"}),
    )


class OwnerForm(forms.ModelForm):
    groups = forms.ModelMultipleChoiceField(
        DeviceGroup.objects.filter(rule=None),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Groups by rule are not among them: the device joins and leaves those by itself.",
    )

    class Meta:
        model = Device
        fields = ("name", "asset_tag", "user_name", "assigned_to")


def _ask_everything(device: Device, user: User) -> None:
    """How its passcode stands, and what bears witness beside it."""
    enforcement.ask_now(device.pk, by=user)
    witness.ask(device)


# Deeds that need no words and no confirmation: what is done, and what is said then.
ONE_TOUCH: dict[str, tuple[Callable[[Device, User], object], str]] = {
    "ask": (_ask_everything, "Asked. The answer appears here when the device has given it."),
    "sound": (
        lambda device, user: lost_mode.sound(device.pk, by=user),
        "Told to play a sound. It plays as soon as the device is online.",
    ),
    "locate": (
        lambda device, user: lost_mode.locate(device.pk, by=user),
        "Asked where it is. The time of its answer appears here.",
    ),
    "token": (
        lambda device, user: escrow.ask_fresh(device.pk, by=user),
        "Asked for. The device checks in anew and sends a token when it has its profile.",
    ),
}


@admin.register(Device)
class DeviceAdmin(admin.ModelAdmin):
    list_display = ("device", "passcode", "policy", "withheld", "reached")
    list_filter = (View, Clearable, Pinned, "platform", "groups", "enrollment_state")
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("words",)  # how they are looked for: devices/search.py
    search_help_text = "Any part of a serial, name, user, UDID or asset tag"
    actions = ("ask_for_clears",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Device]:
        assert isinstance(request.user, User)
        return permissions.visible(request.user)

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

    # The page.

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        device = self._device(request, object_id)
        assert isinstance(request.user, User)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": str(device),
            "device": device,
            **_facts(device, request.user),
        }
        return TemplateResponse(request, "admin/devices/device/change_form.html", context)

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        pages = users_card.DevicePages(self.admin_site, self._device, self._do, self._page)
        one_touch = wrap(self.one_touch)
        return [
            *(
                path(f"<int:pk>/{deed}/", one_touch, {"deed": deed}, f"device_{deed}")
                for deed in ONE_TOUCH
            ),
            path("<int:pk>/lost/", wrap(self.lost), name="device_lost"),
            path("<int:pk>/found/", wrap(self.found), name="device_found"),
            path("<int:pk>/unenroll/", wrap(self.unenroll), name="device_unenroll"),
            path("<int:pk>/retire/", wrap(self.retire), name="device_retire"),
            path("<int:pk>/owner/", wrap(self.owner), name="device_owner"),
            path("<int:pk>/place/", wrap(self.place), name="device_place"),
            *users_card.paths(pages),
            *custom_command.paths(pages),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def one_touch(self, request: HttpRequest, pk: int, deed: str) -> HttpResponse:
        device, user = self._device(request, pk), request.user
        assert isinstance(user, User)
        does, said = ONE_TOUCH[deed]
        return self._do(request, device, lambda: does(device, user), said)

    @method_decorator(require_POST)
    def place(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Opened by a POST, since opening it leaves a trace."""
        device, user = self._device(request, pk), request.user
        assert isinstance(user, User)
        try:
            place = lost_mode.open_place(device.pk, by=user)
        except Refusals as refused:
            messages.error(request, str(refused))
            return redirect("admin:devices_device_change", device.pk)
        return self._page(
            request, device, "place.html", {"place": place, "lasts": PLACE_LASTS.days}
        )

    def lost(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._with_words(
            request,
            self._device(request, pk),
            permission="devices.mark_lost",
            form_class=LostForm,
            template="lost.html",
            deed=custody.mark_lost,
            said="Marked as lost. Nothing can open it until it is marked as found.",
        )

    def found(self, request: HttpRequest, pk: int) -> HttpResponse:
        """One person says where it is and signs; the mark goes when another has signed, too."""
        device, user = self._device(request, pk), request.user
        assert isinstance(user, User)
        permissions.require(user, MAY_ASK[Kind.FOUND], device=device)
        form = FoundForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                act = acts.find(device.pk, words=form.cleaned_data["note"], by=user)
            except Refusals as refused:
                messages.error(request, str(refused))
                return redirect("admin:devices_device_change", device.pk)
            return lead_to_sign(request, act, lambda: acts.to_ask(act, by=user), answers=False)
        return self._page(request, device, "found.html", {"form": form})

    def unenroll(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._confirmed(
            request,
            self._device(request, pk),
            template="unenroll.html",
            deed=leaving.unenroll,
            said="The device is told to remove its management profile.",
        )

    def retire(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._confirmed(
            request,
            self._device(request, pk),
            template="retire.html",
            deed=leaving.retire,
            said="Retired. Its history stays.",
        )

    def owner(self, request: HttpRequest, pk: int) -> HttpResponse:
        device = self._device(request, pk)
        assert isinstance(request.user, User)
        permissions.require(request.user, "devices.assign_device", device=device)
        groups = list(device.groups.filter(rule=None).values_list("pk", flat=True))
        form = OwnerForm(request.POST or None, instance=device, initial={"groups": groups})
        if request.method == "POST" and form.is_valid():
            written = {field: form.cleaned_data[field] for field in OwnerForm.Meta.fields}
            try:
                ownership.assign(
                    device.pk,
                    **written,
                    group_ids={group.pk for group in form.cleaned_data["groups"]},
                    by=request.user,
                )
            except Forbidden as refused:
                form.add_error(None, str(refused))
            else:
                messages.success(request, "Kept.")
                return redirect("admin:devices_device_change", device.pk)
        return self._page(request, device, "owner.html", {"form": form})

    # How a deed is done: ask, do, say; a refusal is shown as it stands.

    def _device(self, request: HttpRequest, key: Any) -> Device:
        """The device, if this person may see it; whoever may not gets a 404 like for none."""
        if not self.has_view_permission(request):
            raise Http404
        try:
            return self.get_queryset(request).select_related("assigned_to").get(pk=int(key))
        except (Device.DoesNotExist, ValueError):
            raise Http404 from None

    def _do(
        self, request: HttpRequest, device: Device, deed: Callable[[], object], said: str
    ) -> HttpResponse:
        try:
            deed()
        except Refusals as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, said)
        return redirect("admin:devices_device_change", device.pk)

    def _with_words(
        self,
        request: HttpRequest,
        device: Device,
        *,
        permission: str,
        form_class: type[forms.Form],
        template: str,
        deed: Callable[..., object],
        said: str,
    ) -> HttpResponse:
        assert isinstance(request.user, User)
        user = request.user
        permissions.require(user, permission, device=device)
        form = form_class(request.POST or None)
        if request.method == "POST" and form.is_valid():
            note = form.cleaned_data["note"]
            return self._do(request, device, lambda: deed(device.pk, note=note, by=user), said)
        return self._page(request, device, template, {"form": form})

    def _confirmed(
        self,
        request: HttpRequest,
        device: Device,
        *,
        template: str,
        deed: Callable[..., object],
        said: str,
    ) -> HttpResponse:
        assert isinstance(request.user, User)
        user = request.user
        permissions.require(user, "devices.unenroll_device", device=device)
        if request.method == "POST":
            return self._do(request, device, lambda: deed(device.pk, by=user), said)
        return self._page(request, device, template, {})

    def _page(
        self, request: HttpRequest, device: Device, template: str, more: dict[str, Any]
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "device": device,
            "title": str(device),
            **more,
        }
        return TemplateResponse(request, f"admin/devices/device/{template}", context)


def _stands(device: Device) -> standing.Standing:
    """What `get_changelist_instance` has put beside the row."""
    stands = device.__dict__["standing"]
    assert isinstance(stands, standing.Standing)
    return stands


def _facts(device: Device, user: User) -> dict[str, Any]:
    """What the page says, in the order in which it is asked."""
    stands = standing.one(device)
    newest = Evidence.objects.filter(device=device, enrollment=device.enrollment).first()
    current = stands.enforcement
    by_way = ways.of_device(device)
    words = []
    if current is not None:
        words = in_words(from_json(PolicyVersion.objects.get(pk=current.version_id).requirements))
    releases = list(
        Release.objects.filter(device=device)
        .exclude(state=ReleaseState.ENDED)
        .select_related("configuration", "user")
    )
    request = (
        ClearRequest.objects.filter(device=device)
        .exclude(state__in=[Clear.DENIED.value, Clear.CANCELLED.value])
        .select_related("requested_by")
        .first()
    )
    live_request = request if request and not _is_over(request) else None
    open_acts = acts.visible(user).open().filter(device=device, kind=Kind.FOUND)
    finding = open_acts.exclude(state=ActState.DRAFT.value).first()
    return {
        "standing": stands,
        "in_force": [(one, by_way.get(one.pk)) for one in stands.enforcements],
        "looks": LOOKS,
        "evidence": newest,
        "policy_words": words,
        "user_sees": _user_sees(stands),
        "releases": releases,
        "held": (held := [one for one in releases if one.state == ReleaseState.WITHHELD]),
        "held_for_a_while": any(one.configuration.installed_policy_is_enough for one in held),
        "clear": live_request,
        "finding": finding,
        "approval": live_request.approvals.select_related("by").first() if live_request else None,
        "obstacles": clearing.obstacles(device, by=user),
        **custody_page.facts(device, user),
        "hints": reachability.why(device),
        "open_commands": list(
            device.commands.open().filter(user=None).select_related("profile")[:HISTORY_SHOWN]
        ),
        "failed_commands": list(
            device.commands.filter(user=None, state="failed").order_by("-answered_at")[:5]
        ),
        "groups": list(device.groups.select_related("rule")),
        "not_given": wanted.not_given(device),
        **users_card.facts(device, user),
        **told.facts(device),
        "history": history.of(device, limit=HISTORY_SHOWN),
        "may": {
            "ask": user.has_perm("devices.ask_device") and device.is_enrolled,
            "lose": user.has_perm("devices.mark_lost") and not device.is_lost,
            "find": user.has_perm("devices.mark_found") and device.is_lost and not finding,
            "clear": user.has_perm("passcodes.request_clear") and live_request is None,
            "leave": user.has_perm("devices.unenroll_device") and device.is_enrolled,
            "retire": user.has_perm("devices.unenroll_device")
            and device.enrollment_state != "retired",
            "assign": user.has_perm("devices.assign_device"),
            "command": user.has_perm("devices.custom_command") and device.is_enrolled,
        },
        "clear_address": f"{reverse('admin:passcodes_clearrequest_add')}?device={device.pk}",
    }


def _user_sees(stands: standing.Standing) -> str:
    """What the device shows its user meanwhile; overdue counts from the deadline itself."""
    if stands.enforcement is None:
        return ""
    state, deadline = State(stands.enforcement.state), stands.enforcement.deadline
    return user_sees(state, deadline - timezone.now() if deadline else None)


def _is_over(request: ClearRequest) -> bool:
    return request.state not in {
        Clear.REQUESTED.value,
        Clear.APPROVED.value,
        Clear.ARMED.value,
        Clear.SENT.value,
        Clear.CLEARED.value,
        Clear.EXPOSED.value,
    }
