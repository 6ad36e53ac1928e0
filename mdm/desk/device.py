"""The device's page and its deeds; what it says is gathered in device_facts.py.

It stands on the roof, because it shows what the ground and the domain know of one device together.
"""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from devices import enrollment
from devices.models import Device, DeviceGroup
from mdm.desk import custom_command, device_facts
from mdm.desk import users as users_card
from mdm.desk.device_list import DeviceList
from passcodes import (
    accounts,
    acts,
    custody,
    enforcement,
    escrow,
    leaving,
    lost_mode,
    ownership,
    witness,
)
from passcodes.admin import signing
from passcodes.rules.acts import MAY_ASK, Kind
from passcodes.rules.clearing import Refused as ClearRefused
from passcodes.rules.escrow import Refused as EscrowRefused
from passcodes.rules.lost_mode import PLACE_LASTS
from staff import permissions
from staff.models import User
from staff.permissions import Forbidden, person

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


# The page.


@admin.register(Device)
class DeviceAdmin(DeviceList):
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        device = self._device(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": str(device),
            "device": device,
            **device_facts.of(device, person(request)),
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
        device, user = self._device(request, pk), person(request)
        does, said = ONE_TOUCH[deed]
        return self._do(request, device, lambda: does(device, user), said)

    @method_decorator(require_POST)
    def place(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Opened by a POST, since opening it leaves a trace."""
        device, user = self._device(request, pk), person(request)
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
        device, user = self._device(request, pk), person(request)
        permissions.require(user, MAY_ASK[Kind.FOUND], device=device)
        form = FoundForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                act = acts.find(device.pk, words=form.cleaned_data["note"], by=user)
            except Refusals as refused:
                messages.error(request, str(refused))
                return redirect("admin:devices_device_change", device.pk)
            return signing.lead(request, act, lambda: acts.to_ask(act, by=user))
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
        device, user = self._device(request, pk), person(request)
        permissions.require(user, "devices.assign_device", device=device)
        groups = list(device.groups.filter(rule=None).values_list("pk", flat=True))
        form = OwnerForm(request.POST or None, instance=device, initial={"groups": groups})
        if request.method == "POST" and form.is_valid():
            written = {field: form.cleaned_data[field] for field in OwnerForm.Meta.fields}
            try:
                ownership.assign(
                    device.pk,
                    **written,
                    group_ids={group.pk for group in form.cleaned_data["groups"]},
                    by=user,
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
        user = person(request)
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
        user = person(request)
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
