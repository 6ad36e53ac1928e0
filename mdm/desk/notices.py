"""Notices: where they go, what has not arrived and why, and what each person wishes for themselves."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from devices import notices
from devices.models import NoMail, Notice, NoticePlace
from devices.rules.notices import Channel, State
from passcodes.admin.page import Page, attempt
from staff import permissions
from staff.models import User
from staff.permissions import person

SIGNING = (
    "passcodes.approve_clearrequest",
    "passcodes.keep_charter",
    "passcodes.agree_found",
)
MY_LAST = 20


class Standing(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("trouble", "Not arrived"),
            ("waiting", "On its way"),
            ("sent", "Sent"),
            ("dropped", "Not needed"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Notice]) -> QuerySet[Notice]:
        match self.value():
            case "trouble":
                return queryset & Notice.objects.in_trouble()
            case "waiting":
                return queryset.filter(state=State.WAITING.value, trouble="")
            case "sent" | "dropped" as state:
                return queryset.filter(state=state)
        return queryset


@admin.register(Notice)
class NoticeAdmin(Page):
    list_filter = (Standing, "channel")
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("title", "person__username")
    search_help_text = "Any part of what it says, or a user name"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # each is laid down with what it tells of

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notice]:
        """Of the devices that this person may see, and those of none, or of several."""
        seen = permissions.visible(person(request)).values("pk")
        mine = Notice.objects.filter(Q(device=None) | Q(device__in=seen))
        return mine.select_related("person")

    def get_urls(self) -> list[URLPattern]:
        return [
            path("", self.behind(self.changelist_view), name="devices_notice_changelist"),
            path("mine/", self.admin_site.admin_view(self.mine), name="my_notices"),
            path("<uuid:pk>/again/", self.behind(self.again), name="notice_again"),
            path("<uuid:pk>/let-be/", self.behind(self.let_be), name="notice_let_be"),
            path("try/<str:name>/", self.behind(self.try_out), name="notice_try"),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {
            "title": "Notices",
            "places": _places(),
            "unreachable": _unreachable(),
            "may_change": person(request).has_perm(notices.CHANGE),
            "plain": not request.GET,
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def mine(self, request: HttpRequest) -> HttpResponse:
        """Everybody's own page: what comes to me, and whether it does."""
        user = person(request)
        if request.method == "POST":
            notices.wish_mail(wanted="mail" in request.POST, by=user)
            messages.success(request, "Kept.")
            return redirect("admin:my_notices")
        return self.show(
            request,
            "desk/my_notices.html",
            "My notices",
            wants_mail=not NoMail.objects.filter(person=user).exists(),
            has_mail=NoticePlace.objects.filter(channel=Channel.MAIL.value).exists(),
            signs=any(user.has_perm(right) for right in SIGNING),
            asks=user.has_perm("passcodes.request_clear"),
            is_admin=user.groups.filter(name="admin").exists(),
            found=list(Notice.objects.filter(person=user)[:MY_LAST]),
        )

    @method_decorator(require_POST)
    def again(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        return self._done(
            request,
            lambda: notices.again(self._seen(request, pk), by=person(request)),
            "It is tried again now.",
        )

    @method_decorator(require_POST)
    def let_be(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        return self._done(
            request,
            lambda: notices.let_be(self._seen(request, pk), by=person(request)),
            "Put aside. It goes nowhere.",
        )

    @method_decorator(require_POST)
    def try_out(self, request: HttpRequest, name: str) -> HttpResponse:
        return self._done(
            request,
            lambda: notices.try_out(name, by=person(request)),
            "A trial is on its way. Below stands whether it has arrived.",
        )

    def _seen(self, request: HttpRequest, pk: UUID) -> UUID:
        return self.get_queryset(request).get(pk=pk).pk

    def _done(self, request: HttpRequest, deed: Any, words: str) -> HttpResponse:
        try:
            if attempt(request, deed, notices.NotNow):
                messages.success(request, words)
        except Notice.DoesNotExist:
            raise Http404 from None
        return redirect("admin:devices_notice_changelist")


def _places() -> list[dict[str, Any]]:
    """Where the worker says that it can send to, and what became of the last that went there."""
    found = []
    for place in NoticePlace.objects.all():
        is_mail = place.channel == Channel.MAIL
        sent = Notice.objects.filter(
            channel=place.channel, place="" if is_mail else place.name, state=State.SENT.value
        )
        found.append(
            {
                "place": place,
                "last": sent.order_by("-sent_at").values_list("sent_at", flat=True).first(),
            }
        )
    return found


def _unreachable() -> list[User]:
    """Who may sign, and cannot be called to it by mail."""
    signing = Q(groups__permissions__codename__in=[right.split(".")[1] for right in SIGNING])
    people = User.objects.filter(signing, is_active=True, email="")
    return list(people.distinct())
