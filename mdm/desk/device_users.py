"""One user of a Mac or a Shared iPad: how they are reached, and what is theirs by their own channel."""

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from devices import told, users
from devices.models import AuditEntry, DeviceUser, UserLogin
from devices.models.told import Subject
from devices.rules.logins import Login
from mdm.desk import history
from passcodes import accounts, witness
from passcodes.admin.page import Deed, Page, attempt
from passcodes.models import Release
from passcodes.models.gate import ReleaseState
from staff import permissions
from staff.permissions import person

SHOWN = 30
LOGINS = {
    Login.DECLINED: "a network user, not managed at this login",
    Login.ACCEPTED: "a network user, let in without a proof",
    Login.CHALLENGED: "a network user, asked for a proof",
    Login.PROVEN: "a network user, who has proven their password",
    Login.REFUSED: "a network user, who did not show the right password",
    Login.ENDED: "a network user, whose login has ended",
}
HELD = Q(releases__state__in=[ReleaseState.WITHHELD, ReleaseState.WITHDRAWING])


@admin.register(DeviceUser)
class DeviceUserAdmin(Page):
    search_fields = ("short_name", "long_name", "device__name", "device__serial")
    search_help_text = "Any part of a name, or of the device’s name or serial"
    ordering = ("-is_active", "short_name", "pk")

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeviceUser]:
        delivered = Q(releases__state=ReleaseState.DELIVERED)
        return (
            DeviceUser.objects.filter(device__in=permissions.visible(person(request)))
            .select_related("device")
            .annotate(
                now_held=Count("releases", filter=HELD, distinct=True),
                now_delivered=Count("releases", filter=delivered, distinct=True),
            )
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # a user comes in by logging in

    def deeds(self) -> list[Deed]:
        return [("<int:pk>/ask/", self.ask, "deviceuser_ask")]

    def page(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = get_object_or_404(self.get_queryset(request), pk=pk)
        listed = told.of_user(user, Subject.PROFILES)
        there = {one["identifier"] for one in listed.facts} if listed else set()
        releases = list(releases_of([user.pk]))
        for one in releases:
            one.__dict__["is_listed"] = one.configuration.profile.identifier in there
        unreachable = accounts.unreachable(user)
        return self.show(
            request,
            "admin/devices/deviceuser/change_form.html",
            user.long_name or str(user),
            one=user,
            device=user.device,
            is_shared=users.is_shared(user.user_id),
            login=_login(user),
            releases=releases,
            listed=listed,
            enforces=witness.of_user(user),
            open_commands=list(user.commands.open().select_related("profile")[:SHOWN]),
            failed_commands=list(
                user.commands.filter(state="failed").order_by("-answered_at")[:5]
            ),
            unreachable=unreachable,
            history=history.lines(_entries(user)[:SHOWN]),
            may={"ask": unreachable is None and person(request).has_perm(accounts.LIST)},
        )

    @method_decorator(require_POST)
    def ask(self, request: HttpRequest, pk: int) -> HttpResponse:
        by = person(request)
        user = get_object_or_404(self.get_queryset(request), pk=pk)
        if attempt(request, lambda: accounts.ask(user.pk, by=by), accounts.Refused):
            messages.success(
                request, "Asked. The answer appears here when the user’s channel has given it."
            )
        return redirect("admin:devices_deviceuser_change", user.pk)


def releases_of(user_ids: list[int]) -> QuerySet[Release]:
    """What these users are meant to have of their own, and how far it has come."""
    return (
        Release.objects.filter(user__in=user_ids)
        .exclude(state=ReleaseState.ENDED)
        .select_related("configuration__profile")
        .defer("configuration__profile__payload")
    )


def _entries(user: DeviceUser) -> QuerySet[AuditEntry]:
    """What the audit says of them; a login names them as the Mac does."""
    about = Q(facts__user=user.pk)
    if not users.is_shared(user.user_id):
        about |= Q(facts__user=user.user_id)
    return AuditEntry.objects.filter(about, device=user.device)


def _login(user: DeviceUser) -> str:
    """Whether a directory knows them, and how their latest login went."""
    if users.is_shared(user.user_id):
        return "a user of a Shared iPad"
    login = UserLogin.objects.filter(device=user.device, user_id=user.user_id).first()
    return LOGINS[Login(login.state)] if login else "a local user"
