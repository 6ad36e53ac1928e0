"""Network users: who may log in on Macs with a password that the door can check."""

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from devices.models import NetworkUser
from devices.rules.secret import Secret
from passcodes import accounts
from passcodes.admin.page import Deed, Page, attempt, posted
from staff import permissions
from staff.permissions import person

LIST = "admin:devices_networkuser_changelist"


class PasswordForm(forms.Form):
    short_name = forms.CharField(
        max_length=200,
        widget=forms.TextInput(attrs={"class": "desk-input", "autocomplete": "off"}),
        help_text="As the directory and the login window know it.",
    )
    password = forms.CharField(
        strip=False,
        max_length=500,
        widget=forms.PasswordInput(attrs={"class": "desk-input", "autocomplete": "new-password"}),
        help_text="Only what checks it is kept, sealed so that this site cannot open it again.",
    )


@admin.register(NetworkUser)
class NetworkUserAdmin(Page):
    search_fields = ("short_name",)
    search_help_text = "Any part of a short name"

    def deeds(self) -> list[Deed]:
        return [
            ("add/", self.add, "devices_networkuser_add"),
            ("<int:pk>/remove/", self.remove, "devices_networkuser_remove"),
        ]

    @method_decorator(sensitive_post_parameters("password"))
    def add(self, request: HttpRequest) -> HttpResponse:
        user = person(request)
        permissions.require(user, accounts.KNOW)
        form = PasswordForm(posted(request))
        if request.method == "POST" and form.is_valid():
            name = form.cleaned_data["short_name"]
            password = Secret(form.cleaned_data["password"].encode())
            try:
                accounts.know(name, password, by=user)
            except accounts.Refused as refused:
                form.add_error(None, str(refused))
            else:
                messages.success(request, f"{name} can log in on Macs from the next login on.")
                return redirect(LIST)
        return self.show(
            request,
            "admin/devices/networkuser/add.html",
            "Add a network user",
            form=form,
            policy=settings.NETWORK_USERS,
        )

    def page(self, request: HttpRequest, pk: int) -> HttpResponse:
        one = get_object_or_404(NetworkUser, pk=pk)
        return self.show(request, "admin/devices/networkuser/change_form.html", str(one), one=one)

    def remove(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        permissions.require(user, accounts.FORGET)
        one = get_object_or_404(NetworkUser, pk=pk)
        if request.method == "POST":
            attempt(request, lambda: accounts.no_longer_know(pk, by=user))
            return redirect(LIST)
        return self.show(
            request, "admin/devices/networkuser/remove.html", f"Remove {one}", one=one
        )
