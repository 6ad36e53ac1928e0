"""Withheld configuration: upload it, say for whom it is meant, and see where it is held and why."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Length
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from devices.rules.profiles import LARGEST
from passcodes import configurations
from passcodes.admin.page import Deed, Page, attempt, posted
from passcodes.admin.payloads import payload_words
from passcodes.admin.people import Whom, line_of, users_of
from passcodes.admin.targets import Counted
from passcodes.configurations import Aim
from passcodes.models import Release, WithheldConfiguration
from passcodes.models.gate import ReleaseState
from passcodes.scope import groups_of
from staff import permissions
from staff.permissions import person

SHOWN = 25  # devices on which it is held
BADGES = {
    ReleaseState.WITHHELD: ("withheld", "withheld"),
    ReleaseState.QUEUED: ("doing", "doing"),
    ReleaseState.DELIVERED: ("compliant", "check"),
    ReleaseState.WITHDRAWING: ("doing", "doing"),
    ReleaseState.FAILED: ("overdue", "no"),
}


class UploadForm(forms.Form):
    profile = forms.FileField(
        label="Configuration profile",
        widget=forms.FileInput(attrs={"accept": ".mobileconfig,application/x-apple-aspen-config"}),
        help_text="A .mobileconfig, signed or not. It is read and checked before it is kept.",
    )
    name = forms.CharField(
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"class": "desk-input"}),
        help_text="Left empty: the name in the profile.",
    )
    for_users = forms.BooleanField(
        label="For users",
        required=False,
        help_text="It goes to each user of a Mac or a Shared iPad on a channel of their own, and is "
        "theirs alone. The device has to comply all the same.",
    )
    withdraw_on_regression = forms.BooleanField(
        label="Take it back",
        required=False,
        help_text="When a device no longer complies, what it already has is removed again.",
    )
    installed_policy_is_enough = forms.BooleanField(
        label="Macs: the policy is enough",
        required=False,
        help_text="A Mac, an Apple TV and a Shared iPad cannot say whether they comply. With this they "
        "get it once the policy is installed; without it, never.",
    )

    def clean_profile(self) -> UploadedFile:
        file = self.cleaned_data["profile"]
        assert isinstance(file, UploadedFile)
        if (file.size or 0) > LARGEST:
            raise forms.ValidationError(
                f"The file is larger than {LARGEST // 1024 // 1024} MB. Split the profile."
            )
        return file


@admin.register(WithheldConfiguration)
class WithheldConfigurationAdmin(Page):
    search_fields = ("name", "profile__identifier")
    search_help_text = "Any part of a name or identifier"

    def get_queryset(self, request: HttpRequest) -> QuerySet[WithheldConfiguration]:
        return (
            WithheldConfiguration.objects.select_related("profile", "uploaded_by")
            .defer("profile__payload")
            .annotate(
                **{
                    f"now_{state.value}": Count(
                        "releases", filter=Q(releases__state=state), distinct=True
                    )
                    for state in BADGES
                }
            )
        )

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        for one in changelist.result_list:
            one.words = payload_words(one.payload_types)
        return changelist

    def deeds(self) -> list[Deed]:
        return [
            ("add/", self.add, "passcodes_withheldconfiguration_add"),
            ("<int:pk>/assign/", self.assign, "withheld_assign"),
            ("<int:pk>/retire/", self.retire, "withheld_retire"),
        ]

    def add(self, request: HttpRequest) -> HttpResponse:
        user = person(request)
        permissions.require(user, "passcodes.add_withheldconfiguration")
        form = UploadForm(posted(request), request.FILES or None)
        if request.method == "POST" and form.is_valid():
            said = form.cleaned_data
            try:
                kept = configurations.upload(
                    said["name"],
                    said["profile"].read(),
                    withdraw_on_regression=said["withdraw_on_regression"],
                    installed_policy_is_enough=said["installed_policy_is_enough"],
                    for_users=said["for_users"],
                    by=user,
                )
            except configurations.Refused as refused:
                form.add_error("profile", str(refused))
            else:
                messages.success(request, f"{kept} is kept. It is meant for nobody yet.")
                return redirect("admin:passcodes_withheldconfiguration_change", kept.pk)
        return self.show(
            request,
            "admin/passcodes/withheldconfiguration/add.html",
            "Upload a configuration",
            form=form,
        )

    def page(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        one: Any = get_object_or_404(
            self.get_queryset(request).annotate(size=Length("profile__payload")), pk=pk
        )
        visible = permissions.visible(user)
        held = (
            Release.objects.filter(configuration=one, device__in=visible)
            .filter(state__in=[ReleaseState.WITHHELD, ReleaseState.FAILED])
            .select_related("device", "user")
            .order_by("device__name", "device__serial", "user__short_name")
        )
        may_assign = user.has_perm("passcodes.assign_withheldconfiguration")
        return self.show(
            request,
            "admin/passcodes/withheldconfiguration/change_form.html",
            str(one),
            configuration=one,
            words=payload_words(one.payload_types),
            groups=list(one.groups.annotate(members=Count("devices"))),
            excluded=list(one.excluded.all()),
            devices=list(one.devices.filter(pk__in=visible)[:SHOWN]),
            devices_total=one.devices.count(),
            users=list(users_of(user).filter(configurations=one)[:SHOWN]),
            users_total=one.users.count(),
            noun=_noun(one),
            states=[
                {
                    "style": style,
                    "icon": icon,
                    "word": state.label,
                    "count": getattr(one, f"now_{state.value}"),
                }
                for state, (style, icon) in BADGES.items()
            ],
            held=list(held[:SHOWN]),
            held_total=held.count(),
            may={"assign": may_assign and one.retired_at is None},
        )

    def assign(self, request: HttpRequest, pk: int) -> HttpResponse:
        """For exactly which groups and devices; what the person may not act on stays as it is."""
        user = person(request)
        permissions.require(user, "passcodes.assign_withheldconfiguration")
        one = get_object_or_404(WithheldConfiguration, pk=pk)
        if one.retired_at:
            messages.error(request, f"{one} is retired. Upload it again.")
            return redirect("admin:passcodes_withheldconfiguration_change", one.pk)
        now = Aim.of(one)
        own_groups = frozenset(groups_of(user).values_list("pk", flat=True))
        own_devices = list(one.devices.filter(pk__in=permissions.visible(user)))
        own_users = list(users_of(user).filter(pk__in=now.users))
        form = Whom(
            posted(request),
            by=user,
            for_users=one.for_users,
            may_be_nobody=True,
            leaves_out=True,
            initial={
                "groups": sorted(now.groups & own_groups),
                "excluded": sorted(now.excluded & own_groups),
                "serials": "\n".join(device.serial or device.udid for device in own_devices),
                "people": "\n".join(map(line_of, own_users)),
            },
        )
        others = now.groups - own_groups
        facts: dict[str, Any] = {
            "configuration": one,
            "form": form,
            "others": len(others),
            "noun": _noun(one),
        }
        title = f"Who gets {one}"
        template = "admin/passcodes/withheldconfiguration/assign.html"
        if request.method != "POST" or not form.is_valid() or "again" in request.POST:
            return self.show(request, template, title, **facts)
        then = Aim(
            others | form.group_ids,
            (now.devices - {device.pk for device in own_devices}) | form.pasted,
            (now.users - {one.pk for one in own_users}) | form.named,
            (now.excluded - own_groups) | form.excluded_ids,
        )
        if reason := configurations.impossible(one, then.without(now)):
            form.add_error(None, reason)
            return self.show(request, template, title, **facts)
        after, before = then.whom(for_users=one.for_users), now.whom(for_users=one.for_users)
        counted = Counted(
            f"assign {one.pk} {sorted(then.groups)} except {sorted(then.excluded)}",
            frozenset(after),
            (len(after - before), len(before - after)),
        )
        confirmed = request.POST.get("counted", "")
        if counted.is_confirmed(confirmed, by=user):
            assigned = attempt(
                request,
                lambda: configurations.assign(
                    one.pk,
                    group_ids=then.groups,
                    device_ids=then.devices,
                    user_ids=then.users,
                    except_ids=then.excluded,
                    by=user,
                ),
                configurations.Refused,
            )
            if assigned:
                messages.success(request, f"{one} is meant for {_many(len(after), one)}.")
                return redirect("admin:passcodes_withheldconfiguration_change", one.pk)
        losing = {"user__in" if one.for_users else "device__in": before - after}
        having = Release.objects.filter(configuration=one, state=ReleaseState.DELIVERED, **losing)
        return self.show(
            request,
            "admin/passcodes/withheldconfiguration/assign_confirm.html",
            title,
            **facts,
            total=len(after),
            new=len(after - before),
            gone=len(before - after),
            removed=having.count(),
            counted=counted.signed(by=user),
            has_changed=bool(confirmed) and not counted.is_confirmed(confirmed, by=user),
        )

    def retire(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        permissions.require(user, "passcodes.assign_withheldconfiguration")
        one = get_object_or_404(WithheldConfiguration, pk=pk)
        having = one.releases.filter(state=ReleaseState.DELIVERED).count()
        if request.method == "POST":
            if attempt(
                request, lambda: configurations.retire(one.pk, by=user), configurations.Refused
            ):
                messages.success(
                    request, f"{one} is retired, and removed from {_many(having, one)}."
                )
            return redirect("admin:passcodes_withheldconfiguration_change", one.pk)
        return self.show(
            request,
            "admin/passcodes/withheldconfiguration/retire.html",
            f"Retire {one}",
            configuration=one,
            having=having,
            noun=_noun(one),
        )


def _noun(one: WithheldConfiguration) -> str:
    return "user" if one.for_users else "device"


def _many(number: int, one: WithheldConfiguration) -> str:
    return f"{number:,} {_noun(one)}{'' if number == 1 else 's'}"
