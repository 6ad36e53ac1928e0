"""The users on a device: their channels, the accounts that the device listed, and what may be done to them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST

from devices import users
from devices.accounts import REQUESTS
from devices.models import Account, Command, Device
from mdm.desk.device_users import releases_of
from passcodes import accounts
from passcodes.admin.page import posted
from passcodes.models.gate import ReleaseState
from staff import permissions
from staff.models import User
from staff.permissions import person

RESULTS_SHOWN = 5
SAYS = {  # what became of a request, in the words of the page
    "UserList": "List of users",
    "UnlockUserAccount": "Unlock",
    "LogOutUser": "Log out",
    "DeleteUser": "Delete",
}


class AccountForm(forms.Form):
    """Which of the accounts that the device has listed."""

    name = forms.ChoiceField(label="Account")

    def __init__(self, listed: list[Account], *given: Any, **how: Any) -> None:
        super().__init__(*given, **how)
        choices = [(one.name, f"{one} ({one.name})") for one in listed]
        self.fields["name"] = forms.ChoiceField(label="Account", choices=choices)


class DeleteForm(AccountForm):
    even_unsynced = forms.BooleanField(
        required=False,
        label="Even if it has data that no server has yet",
        help_text="On a Shared iPad. That data is lost.",
    )


@dataclass(frozen=True, slots=True)
class DevicePages:
    """What the device's page lends to these."""

    admin_site: AdminSite
    device: Callable[[HttpRequest, Any], Device]
    do: Callable[[HttpRequest, Device, Callable[[], object], str], HttpResponse]
    page_of: Callable[[HttpRequest, Device, str, dict[str, Any]], HttpResponse]


def paths(pages: DevicePages) -> list[URLPattern]:
    """The deeds of the card «Users on it»."""

    def wrap(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        return pages.admin_site.admin_view(view)

    return [
        path(
            "<int:pk>/users/list/",
            wrap(require_POST(partial(_list, pages))),
            name="device_list_users",
        ),
        path("<int:pk>/users/unlock/", wrap(partial(_unlock, pages)), name="device_unlock_user"),
        path("<int:pk>/users/delete/", wrap(partial(_delete, pages)), name="device_delete_user"),
        path(
            "<int:pk>/users/log-out/", wrap(partial(_log_out, pages)), name="device_log_out_user"
        ),
    ]


def facts(device: Device, user: User) -> dict[str, Any]:
    """What the card says; a deed that this kind of device does not know is not offered."""

    def may(right: str, request_type: str) -> bool:
        return user.has_perm(right) and accounts.obstacle(device, request_type) is None

    channels = list(device.users.order_by("-is_active", "short_name"))
    held: dict[int | None, list[str]] = {}
    for release in releases_of([one.pk for one in channels]):
        if release.state == ReleaseState.WITHHELD:
            held.setdefault(release.user_id, []).append(str(release.configuration))
    for one in channels:
        one.__dict__["has"] = users.profiles(one)
        one.__dict__["held"] = held.get(one.pk, [])
        one.__dict__["waiting"] = one.commands.open().count()
    return {
        "users": channels,
        "accounts": list(device.accounts.all()),
        "bootstrap": getattr(device, "bootstrap_token", None),
        "user_results": _results(device),
        "may_users": {
            "list": may(accounts.LIST, "UserList"),
            "unlock": may(accounts.UNLOCK, "UnlockUserAccount"),
            "log_out": may(accounts.MANAGE, "LogOutUser"),
            "delete": may(accounts.MANAGE, "DeleteUser"),
        },
    }


def _list(pages: DevicePages, request: HttpRequest, pk: int) -> HttpResponse:
    device, user = pages.device(request, pk), person(request)
    return pages.do(
        request,
        device,
        lambda: accounts.list_users(device.pk, by=user),
        "Asked. The accounts appear here when the device has listed them.",
    )


def _unlock(pages: DevicePages, request: HttpRequest, pk: int) -> HttpResponse:
    return _with_account(
        pages,
        request,
        pk,
        request_type="UnlockUserAccount",
        permission=accounts.UNLOCK,
        form_class=AccountForm,
        template="unlock_user.html",
        deed=accounts.unlock,
        said="Told to unlock it. The password stays as it was.",
    )


def _delete(pages: DevicePages, request: HttpRequest, pk: int) -> HttpResponse:
    return _with_account(
        pages,
        request,
        pk,
        request_type="DeleteUser",
        permission=accounts.MANAGE,
        form_class=DeleteForm,
        template="delete_user.html",
        deed=accounts.delete,
        said="Told to delete it. The account goes from this page when the device has done so.",
    )


def _log_out(pages: DevicePages, request: HttpRequest, pk: int) -> HttpResponse:
    device, user = pages.device(request, pk), person(request)
    permissions.require(user, accounts.MANAGE, device=device)
    if reason := accounts.obstacle(device, "LogOutUser"):
        return _not_here(request, device, reason)
    if request.method == "POST":
        return pages.do(
            request,
            device,
            lambda: accounts.log_out(device.pk, by=user),
            "Told to log its user out.",
        )
    return pages.page_of(request, device, "log_out_user.html", {})


def _results(device: Device) -> list[Command]:
    """The latest requests about its users, and what became of each."""
    latest = device.commands.filter(request_type__in=REQUESTS).order_by("-queued_at")
    results = list(latest[:RESULTS_SHOWN])
    for command in results:
        about = command.arguments.get("UserName")
        words = SAYS[command.request_type]
        command.__dict__["says"] = f"{words}: {about}" if about else words
    return results


def _with_account(
    pages: DevicePages,
    request: HttpRequest,
    pk: int,
    *,
    request_type: str,
    permission: str,
    form_class: type[AccountForm],
    template: str,
    deed: Callable[..., object],
    said: str,
) -> HttpResponse:
    """A deed to one of the listed accounts, confirmed on a page of its own."""
    device, user = pages.device(request, pk), person(request)
    permissions.require(user, permission, device=device)
    listed = list(device.accounts.all())
    reason = accounts.obstacle(device, request_type)
    if reason or not listed:
        reason = reason or "The device has listed no accounts yet. List its users first."
        return _not_here(request, device, reason)
    form = form_class(listed, posted(request), initial={"name": request.GET.get("name")})
    if request.method == "POST" and form.is_valid():
        chosen = form.cleaned_data
        return pages.do(request, device, lambda: deed(device.pk, **chosen, by=user), said)
    return pages.page_of(request, device, template, {"form": form})


def _not_here(request: HttpRequest, device: Device, reason: str) -> HttpResponse:
    messages.error(request, reason)
    return redirect("admin:devices_device_change", device.pk)
