"""Enrollment links: made here, shown once, and then known only by what became of them."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone

from devices.models import DeviceGroup, EnrollmentLink
from devices.models.enrollment import Identity
from devices.rules.channels import Platform
from mdm.enrollment import links
from passcodes.admin.page import Deed, Page, posted
from staff import permissions
from staff.models import User
from staff.permissions import person

PLATFORMS = (
    (Platform.IOS.value, "iPhone"),
    (Platform.IPADOS.value, "iPad"),
    (Platform.MACOS.value, "Mac"),
    (Platform.TVOS.value, "Apple TV"),
    (Platform.VISIONOS.value, "Vision Pro"),
)
USUAL_HOURS = int(links.LINK_LASTS / timedelta(hours=1))
MOST_HOURS = 24 * 14


class LinkForm(forms.Form):
    platform = forms.ChoiceField(label="Kind of device", choices=PLATFORMS)
    note = forms.CharField(
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"class": "desk-input"}),
        help_text="For whom or what: it is what the list calls the link.",
    )
    group = forms.ModelChoiceField(
        DeviceGroup.objects.filter(rule=None),
        required=False,
        empty_label="none",
        help_text="The device joins it, and gets its policies, as soon as it is enrolled. Groups by "
        "rule it joins by itself.",
    )
    assigned_to = forms.ModelChoiceField(
        User.objects.filter(is_active=True),
        label="Belongs to",
        required=False,
        empty_label="nobody who signs in here",
        help_text="Whose device it will be. This person can neither ask for its clear nor sign it.",
    )
    identity = forms.ChoiceField(
        choices=Identity.choices,
        initial=Identity.SCEP,
        help_text="How the device gets the certificate it is known by.",
    )
    hours = forms.IntegerField(
        label="Valid for",
        min_value=1,
        max_value=MOST_HOURS,
        initial=USUAL_HOURS,
        help_text=f"Hours, 1 to {MOST_HOURS}. A link that was used once is used up.",
    )


@admin.register(EnrollmentLink)
class EnrollmentLinkAdmin(Page):
    search_fields = ("note", "device__serial", "device__name", "made_by__username")
    search_help_text = "Any part of a note, a serial or who made it"

    def get_queryset(self, request: HttpRequest) -> QuerySet[EnrollmentLink]:
        return EnrollmentLink.objects.select_related("group", "assigned_to", "made_by", "device")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        now = timezone.now()
        for link in changelist.result_list:
            link.is_open = link.used_at is None and link.expires_at > now
        return changelist

    def deeds(self) -> list[Deed]:
        return [("add/", self.add, "devices_enrollmentlink_add")]

    def add(self, request: HttpRequest) -> HttpResponse:
        user = person(request)
        permissions.require(user, "devices.add_enrollmentlink")
        form = LinkForm(posted(request))
        if request.method == "POST" and form.is_valid():
            said = form.cleaned_data
            try:
                link, address = links.make(
                    Platform(said["platform"]),
                    identity_kind=Identity(said["identity"]),
                    note=said["note"],
                    group=said["group"],
                    assigned_to=said["assigned_to"],
                    lasts=timedelta(hours=said["hours"]),
                    by=user,
                )
            except links.Refused as refused:
                form.add_error(None, str(refused))
            else:
                return self._made(request, link, address)
        return self.show(
            request, "admin/devices/enrollmentlink/add.html", "Make a link", form=form
        )

    def page(self, request: HttpRequest, pk: int) -> HttpResponse:
        link = get_object_or_404(self.get_queryset(request), pk=pk)
        is_open = link.used_at is None and link.expires_at > timezone.now()
        return self.show(
            request,
            "admin/devices/enrollmentlink/change_form.html",
            str(link),
            link=link,
            is_open=is_open,
            platform=dict(PLATFORMS).get(link.platform, link.platform),
        )

    def _made(self, request: HttpRequest, link: EnrollmentLink, address: str) -> HttpResponse:
        """Shown this once: no redirect, so the address is in no history; the admin lets nobody store it."""
        return self.show(
            request,
            "admin/devices/enrollmentlink/made.html",
            "The link is made",
            link=link,
            address=address,
            platform=dict(PLATFORMS)[link.platform],
        )
