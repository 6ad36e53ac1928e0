"""Groups of devices: their members, and what joining or leaving one brings or takes.

They stand on the roof, because a group brings policies and configurations, which the ground does not know.
"""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from devices import audit, search
from devices import grouping as ground
from devices.models import Device, DeviceGroup
from devices.models.device import Enrollment
from mdm.desk.group_rules import RulePages, about, words_of
from passcodes import foresight, grouping, membership, scope, wanted
from passcodes.admin.page import Deed, attempt, posted
from passcodes.admin.targets import Counted, read_serials
from passcodes.admin.wording import say_devices
from passcodes.models import WithheldConfiguration
from staff import permissions
from staff.models import User
from staff.permissions import person

SHOWN = 50
FOUND = 25
IN_SERVICE = ~Q(devices__enrollment_state=Enrollment.RETIRED)


class GroupForm(forms.ModelForm):
    class Meta:
        model = DeviceGroup
        fields = ("name", "description")
        widgets = {
            "name": forms.TextInput(attrs={"class": "desk-input"}),
            "description": forms.Textarea(attrs={"rows": 3, "class": "desk-input"}),
        }


class JoinForm(forms.Form):
    """Devices by their serial, or ticked in what a search has found."""

    serials = forms.CharField(
        label="Serials or UDIDs",
        required=False,
        widget=forms.Textarea(
            attrs={"rows": 4, "class": "desk-input mono", "spellcheck": "false"}
        ),
        help_text="One a line, or with commas between them.",
    )
    devices = forms.ModelMultipleChoiceField(
        Device.objects.none(), required=False, widget=forms.CheckboxSelectMultiple
    )

    def __init__(self, *args: Any, by: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.by = by
        self.chosen: set[int] = set()
        ticked = self.fields["devices"]
        assert isinstance(ticked, forms.ModelMultipleChoiceField)
        ticked.queryset = permissions.visible(by)

    def clean_serials(self) -> str:
        text = str(self.cleaned_data["serials"])
        self.chosen |= read_serials(text, by=self.by)
        return text

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        self.chosen |= {device.pk for device in data.get("devices") or ()}
        if not self.errors and not self.chosen:
            raise forms.ValidationError(
                "Paste a serial, or tick a device that a search has found."
            )
        return data


@admin.register(DeviceGroup)
class DeviceGroupAdmin(RulePages):
    search_fields = ("name", "description")
    search_help_text = "Any part of a name"

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeviceGroup]:
        return (
            DeviceGroup.objects.select_related("rule")
            .annotate(members=Count("devices", filter=IN_SERVICE, distinct=True))
            .prefetch_related("assignments__version__policy", "configurations")
        )

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        for group in changelist.result_list:
            group.rule_words = words_of(group)
        return changelist

    def deeds(self) -> list[Deed]:
        return [
            ("add/", self.add, "devices_devicegroup_add"),
            ("<int:pk>/edit/", self.edit, "group_edit"),
            ("<int:pk>/join/", self.join, "group_join"),
            ("<int:pk>/leave/", self.leave, "group_leave"),
            ("<int:pk>/rule/", self.rule, "group_rule"),
            ("<int:pk>/rule/preview/", self.rule_preview, "group_rule_preview"),
            ("<int:pk>/rule/drop/", self.rule_drop, "group_rule_drop"),
        ]

    def add(self, request: HttpRequest) -> HttpResponse:
        permissions.require(person(request), "devices.add_devicegroup")
        return self._form(request, DeviceGroup(), "Add a group", "group.created")

    def edit(self, request: HttpRequest, pk: int) -> HttpResponse:
        permissions.require(person(request), "devices.change_devicegroup")
        group = get_object_or_404(DeviceGroup, pk=pk)
        return self._form(request, group, f"Rename {group}", "group.changed")

    def page(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        groups = self.get_queryset(request).prefetch_related("assignments__excluded")
        group: Any = get_object_or_404(groups, pk=pk)
        query = request.GET.get("q", "").strip()
        members = search.called(permissions.visible(user).filter(groups=group), query)
        return self.show(
            request,
            "admin/devices/devicegroup/change_form.html",
            str(group),
            group=group,
            query=query,
            members=list(members[:SHOWN]),
            members_total=members.count(),
            configurations=_in_use(group.configurations.prefetch_related("excluded")),
            left_out=wanted.policies_without(group),
            not_meant=_in_use(WithheldConfiguration.objects.filter(excluded=group)),
            **about(group),
            may={
                "rename": user.has_perm("devices.change_devicegroup"),
                "regroup": user.has_perm("devices.assign_device") and not hasattr(group, "rule"),
                "rule": user.has_perm(grouping.WRITE) and scope.is_everything(user),
            },
        )

    def join(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Choose devices; then read how many join and what they get; then they join."""
        user = person(request)
        permissions.require(user, "devices.assign_device")
        group = get_object_or_404(DeviceGroup, pk=pk)
        if group.pk not in ground.by_hand([group.pk]):
            messages.error(request, membership.by_rule(group))
            return redirect("admin:devices_devicegroup_change", group.pk)
        query = request.GET.get("q", "").strip()
        form = JoinForm(posted(request), by=user)
        outside = permissions.visible(user).exclude(groups=group)
        in_service = outside.exclude(enrollment_state=Enrollment.RETIRED)
        facts: dict[str, Any] = {
            "group": group,
            "form": form,
            "query": query,
            "found": list(search.called(in_service, query)[:FOUND]) if query else [],
        }
        title = f"Add devices to {group}"
        template = "admin/devices/devicegroup/join.html"
        if request.method != "POST" or not form.is_valid():
            return self.show(request, template, title, **facts)
        new = set(outside.filter(pk__in=form.chosen).values_list("pk", flat=True))
        if not new:
            form.add_error(None, f"All of these are in {group} already.")
            return self.show(request, template, title, **facts)
        return self._moved(request, group, new, joins=True, title=title)

    def leave(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        permissions.require(user, "devices.assign_device")
        group = get_object_or_404(DeviceGroup, pk=pk)
        keys = {int(key) for key in request.POST.getlist("devices") if key.isdigit()}
        inside = permissions.visible(user).filter(groups=group, pk__in=keys)
        gone = set(inside.values_list("pk", flat=True))
        if not gone:
            messages.error(request, "Tick the devices that are to leave the group.")
            return redirect("admin:devices_devicegroup_change", group.pk)
        return self._moved(request, group, gone, joins=False, title=f"Take devices out of {group}")

    def _moved(
        self,
        request: HttpRequest,
        group: DeviceGroup,
        device_ids: set[int],
        *,
        joins: bool,
        title: str,
    ) -> HttpResponse:
        """The confirmation, or the deed where it is confirmed."""
        user = person(request)
        counted = Counted(
            f"{'join' if joins else 'leave'} group {group.pk}", frozenset(device_ids)
        )
        confirmed = request.POST.get("counted", "")
        if counted.is_confirmed(confirmed, by=user):
            move = membership.joined if joins else membership.left
            done = attempt(
                request,
                lambda: (move(group, device_ids, by=user), True)[-1],
                membership.Refused,
            )
            if done:
                what = "joined" if joins else "left"
                messages.success(request, f"{say_devices(len(device_ids))} {what} {group}.")
                return redirect("admin:devices_devicegroup_change", group.pk)
        chosen = Device.objects.filter(pk__in=device_ids)
        return self.show(
            request,
            "admin/devices/devicegroup/confirm.html",
            title,
            group=group,
            joins=joins,
            devices=list(chosen[:SHOWN]),
            number=len(device_ids),
            # One field for all that join: a form may not have thousands of them.
            udids=" ".join(chosen.values_list("udid", flat=True)) if joins else "",
            effects=foresight.of(
                group,
                joining=chosen if joins else Device.objects.none(),
                leaving=Device.objects.none() if joins else chosen,
            ),
            counted=counted.signed(by=user),
            has_changed=bool(confirmed) and not counted.is_confirmed(confirmed, by=user),
        )

    def _form(
        self, request: HttpRequest, group: DeviceGroup, title: str, verb: str
    ) -> HttpResponse:
        form = GroupForm(posted(request), instance=group)
        if request.method == "POST" and form.is_valid():
            kept = _keep(form, verb, by=person(request))
            messages.success(request, f"{kept} is kept.")
            return redirect("admin:devices_devicegroup_change", kept.pk)
        name = group.name if group.pk else ""
        return self.show(
            request,
            "admin/devices/devicegroup/edit.html",
            title,
            group=group,
            form=form,
            name=name,
        )


@transaction.atomic
def _keep(form: GroupForm, verb: str, *, by: User) -> DeviceGroup:
    group: DeviceGroup = form.save()
    audit.record(verb, actor=by, group=group.pk, name=group.name)
    return group


def _in_use(configurations: QuerySet[WithheldConfiguration]) -> list[WithheldConfiguration]:
    return list(configurations.filter(retired_at=None))
