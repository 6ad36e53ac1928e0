"""The rules that staff set for the whole house, on one page."""

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path

from devices import inactivity
from devices.models import Device, HouseRules
from devices.rules.inactivity import LONGEST_DAYS, SHORTEST_DAYS
from passcodes.admin.page import Page, attempt, posted
from staff import permissions
from staff.models import User
from staff.permissions import person


class RulesForm(forms.Form):
    inactive_after_days = forms.IntegerField(
        label="Inactive after",
        min_value=SHORTEST_DAYS,
        max_value=LONGEST_DAYS,
        help_text=(
            f"Days of silence, {SHORTEST_DAYS} to {LONGEST_DAYS}. Apple speaks of several days up "
            "to a week. Too few, and people on holiday come back to a phone without Wi-Fi."
        ),
    )


@admin.register(HouseRules)
class HouseRulesAdmin(Page):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # there is one set of rules

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.behind(self.rules), name="devices_houserules_changelist")]

    def rules(self, request: HttpRequest) -> HttpResponse:
        user = person(request)
        may_change = user.has_perm(inactivity.CHANGE)
        form = RulesForm(posted(request), initial={"inactive_after_days": inactivity.days()})
        if request.method == "POST":
            permissions.require(user, inactivity.CHANGE)
            if form.is_valid() and _keep(request, form, user):
                messages.success(request, "Kept. It counts from the next minute on.")
                return redirect("admin:devices_houserules_changelist")
        return self.show(
            request,
            "admin/devices/houserules/rules.html",
            "Rules of the house",
            form=form,
            may_change=may_change,
            days=inactivity.days(),
            kept=HouseRules.objects.select_related("changed_by").first(),
            inactive=Device.objects.enrolled().exclude(inactive_since=None).count(),
        )


def _keep(request: HttpRequest, form: RulesForm, user: User) -> HouseRules | None:
    number = form.cleaned_data["inactive_after_days"]
    return attempt(request, lambda: inactivity.set_days(number, by=user), inactivity.Refused)
