"""How staff ask for a clear, sign it or deny it, and see it through."""

import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from devices.models import Device
from passcodes import (
    acts,
    bulk,
    clear_state,
    clearing,
    codes,
    escrow,
    inbox,
    signatures,
    vault_says,
)
from passcodes.admin import asking, signing, told
from passcodes.admin.asking import AskForm
from passcodes.models import ClearRequest, LostMode, Release
from passcodes.models.gate import ReleaseState
from passcodes.rules import clearing as rules
from passcodes.rules import possession
from passcodes.rules.charter_changes import rule_in_words
from passcodes.rules.clearing import Refused, State
from passcodes.rules.possession import SERIAL_END, How
from staff import permissions
from staff.models import User
from staff.permissions import Forbidden, person

UNDER_WAY = (
    State.APPROVED.value,
    State.ARMED.value,
    State.SENT.value,
    State.CLEARED.value,
    State.EXPOSED.value,
)
SIGNED_IN = (State.REQUESTED, State.APPROVED)  # until the vault has opened it

LABELS = {
    "lost": "Lost",
    "token": "Token",
    "owner": "Belongs to",
    "os": "System",
    "serial": "Serial number",
    "udid": "UDID",
}
SHOWN = {"passcode": "Passcode", "stops": "Would stop"}  # looked at, and not signed


class WitnessForm(forms.Form):
    serial_end = forms.CharField(
        label=f"Last {SERIAL_END} characters of its serial number",
        max_length=SERIAL_END,
        widget=forms.TextInput(attrs={"autocomplete": "off", "class": "desk-input mono"}),
        help_text="Read off the device itself.",
    )


class Stage(admin.SimpleListFilter):
    title = "stage"
    parameter_name = "stage"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return (("waiting", "Waiting to be signed"), ("under_way", "Under way"), ("over", "Ended"))

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ClearRequest]
    ) -> QuerySet[ClearRequest]:
        match self.value():
            case "waiting":
                return queryset.filter(state=State.REQUESTED.value)
            case "under_way":
                return queryset.filter(state__in=UNDER_WAY)
            case "over":
                return queryset.exclude(state__in=[State.REQUESTED.value, *UNDER_WAY])
        return queryset


@admin.register(ClearRequest)
class ClearRequestAdmin(admin.ModelAdmin):
    list_display = ("device", "stands", "why", "requested_by", "requested_at")
    list_filter = (Stage, "reason")
    list_select_related = ("device", "requested_by")
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("device__serial", "device__name", "device__user_name")
    search_help_text = "Any part of a serial, name or user"

    @admin.display(description="Where it stands", ordering="state")
    def stands(self, request: ClearRequest) -> str:
        return rules.IN_WORDS[State(request.state)]

    @admin.display(description="Reason", ordering="reason")
    def why(self, request: ClearRequest) -> str:
        return request.reason_in_words

    def get_queryset(self, request: HttpRequest) -> QuerySet[ClearRequest]:
        return ClearRequest.objects.filter(device__in=permissions.visible(person(request)))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("passcodes.request_clear")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a request moves by a decision, never by an edit

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # history stays

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:pk>/sign/", wrap(self.sign), name="clear_sign"),
            path("<uuid:pk>/approve/", wrap(self.approve), name="clear_approve"),
            path("<uuid:pk>/witness/", wrap(self.witness), name="clear_witness"),
            path("<uuid:pk>/deny/", wrap(self.deny), name="clear_deny"),
            path("<uuid:pk>/cancel/", wrap(self.cancel), name="clear_cancel"),
            *super().get_urls(),
        ]

    # The list, with the inbox above it.

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        user = person(request)
        if not self.has_view_permission(request):
            return super().changelist_view(request, extra_context)
        requests = self.get_queryset(request).select_related("device", "requested_by")
        requests = requests.filter(list=None)
        may_sign = user.has_perm("passcodes.approve_clearrequest")
        waiting = inbox.waiting(user)
        context = {
            "title": "To sign" if may_sign else "Requests",
            "may_sign": may_sign,
            "to_sign": [one for one in waiting if may_sign and not one.not_by],
            "for_others": [one for one in waiting if one.not_by or not may_sign],
            "under_way": list(requests.filter(state__in=UNDER_WAY).order_by("requested_at")),
            "lists_under_way": list(bulk.under_way(user)),
            "plain": not request.GET,
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    # Asking.

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        user = person(request)
        if not self.has_add_permission(request):
            raise Forbidden("You may not ask for clears.")
        device = self._device(request)
        code = codes.latest(device, by=user)
        form = AskForm(request.POST or None)
        if which := asking.deed(request, code):
            asking.about_the_code(request, which, device, code, by=user)
            form = AskForm(initial=request.POST.dict())  # nothing is asked for yet
        elif request.method == "POST" and form.is_valid():
            try:
                drafted = clearing.draft(
                    device.pk,
                    reason=form.cleaned_data["reason"],
                    words=form.cleaned_data["words"],
                    possession=form.possession(code),
                    by=user,
                )
            except (Refused, Forbidden) as refused:
                form.add_error(None, str(refused))
            else:
                return signing.lead(request, drafted, lambda: signatures.to_ask(drafted, by=user))
        stops = Release.objects.filter(
            device=device,
            state=ReleaseState.DELIVERED,
            configuration__withdraw_on_regression=True,
        )
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Ask for a clear of {device}",
            "device": device,
            "form": form,
            "obstacles": clearing.obstacles(device, by=user),
            **asking.facts(device, by=user),
            "token": escrow.current(device),
            "stops": list(stops.select_related("configuration")),
            "serial_end": SERIAL_END,
        }
        return TemplateResponse(
            request,
            "admin/passcodes/clearrequest/add_form.html",
            context,
            status=409 if form.non_field_errors() else 200,
        )

    # One request: its facts, and the decision.

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        asked = self._request(request, object_id)
        return self._page(request, asked)

    @method_decorator(require_POST)
    def sign(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        """Who has drafted it signs it now."""
        drafted, user = self._request(request, pk), person(request)
        return signing.lead(request, drafted, lambda: signatures.to_ask(drafted, by=user))

    @method_decorator(require_POST)
    def approve(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        asked, user = self._request(request, pk), person(request)
        return signing.lead(request, asked, lambda: signatures.to_approve(asked, by=user))

    @method_decorator(require_POST)
    def witness(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        asked, user = self._request(request, pk), person(request)
        form = WitnessForm(request.POST)
        serial_end = form.cleaned_data["serial_end"] if form.is_valid() else ""
        request.session[signing.SERIAL_END] = {asked.pk.hex: serial_end}
        return signing.lead(request, asked, lambda: signatures.to_witness(asked, by=user))

    @method_decorator(require_POST)
    def deny(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        asked, user = self._request(request, pk), person(request)
        return signing.lead_to_deny(
            request, asked, lambda words: signatures.to_deny(asked, words=words, by=user)
        )

    @method_decorator(require_POST)
    def cancel(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        asked = self._request(request, pk)
        try:
            clearing.cancel(asked.pk, by=person(request))
        except (Refused, Forbidden) as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, "Taken back. Nothing has reached the device.")
        return signing.to_page(asked)

    def _page(self, request: HttpRequest, asked: ClearRequest) -> HttpResponse:
        user, state = person(request), State(asked.state)
        may_sign = user.has_perm("passcodes.approve_clearrequest")
        about = asked.list or asked
        rule = signatures.rule(about)
        approvals = list(asked.approvals.select_related("by").order_by("at"))
        missing = max(0, rule.approvers - len(approvals)) if state in SIGNED_IN else 0
        alone = asked.list is None  # what stands in a list is signed with the whole of it
        signs = alone and may_sign and (state is State.REQUESTED or missing > 0)
        now = timezone.now()
        facts = clear_state.facts(asked)
        obstacles = (
            list(rules.obstacles(rules.Step.APPROVE, facts, by=user.pk, now=now)) if signs else []
        )
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Clear the passcode of {asked.device}",
            "clear": asked,
            "device": asked.device,
            "state_words": rules.IN_WORDS[state],
            "possession": getattr(asked, "possession", None),
            "possession_words": _means(asked),
            "possession_worth": _worth(asked),
            "may_witness": alone
            and facts.waits_for_witness
            and state is State.REQUESTED
            and user.has_perm("passcodes.witness_possession")
            and user.pk not in {asked.requested_by_id, asked.device.assigned_to_id},
            "waits_for_witness": facts.waits_for_witness,
            "witness_form": WitnessForm(),
            "approval": approvals[-1] if approvals and not missing else None,
            "approvals": approvals,
            "needed": rule.approvers,
            "missing": missing,
            "may_still": signatures.who_may_sign(about) if missing else [],
            "rule_words": rule_in_words(rule),
            "together": asked.list.requests.count() if asked.list else 0,
            "facts": _compared(asked),
            "changed": facts.facts_changed if state in rules.OPEN else (),
            "is_open": state in rules.OPEN,
            "signs": signs,
            "denies": alone and may_sign and state in SIGNED_IN,
            "obstacles": obstacles,
            "may_cancel": (state, rules.Step.CANCEL) in rules.MOVES
            and (
                asked.requested_by_id == user.pk or user.has_perm("passcodes.cancel_clearrequest")
            ),
            **inbox.beside(asked, to=user),
            "own_word": LostMode.objects.filter(device=asked.device).first(),
            "queue": inbox.place(user, asked.signed_as),
            "told": told.of(asked.signed_as),
            "drafts": alone and state is State.DRAFT and asked.requested_by_id == user.pk,
            **acts.of_the_safe(asked, by=user),
            "vault": vault_says.of_request(asked.signed_as) if state in rules.OPEN else {},
            "deny_form": signing.WordsForm(),
        }
        return TemplateResponse(request, "admin/passcodes/clearrequest/change_form.html", context)

    def _request(self, request: HttpRequest, key: Any) -> ClearRequest:
        """The request, if this person may see it; otherwise a 404 like for none."""
        if not self.has_view_permission(request):
            raise Http404
        requests = self.get_queryset(request).select_related(
            "device",
            "device__assigned_to",
            "requested_by",
            "list",
            "possession__code",
            "possession__witness",
            "token",
        )
        try:
            return requests.get(pk=uuid.UUID(str(key)))
        except (ClearRequest.DoesNotExist, ValueError):
            raise Http404 from None

    def _device(self, request: HttpRequest) -> Device:
        try:
            return permissions.visible(person(request)).get(pk=int(request.GET.get("device", "")))
        except (Device.DoesNotExist, ValueError):
            raise Http404 from None


def _means(asked: ClearRequest) -> str:
    proof = getattr(asked, "possession", None)
    if proof is None:
        return "Nobody has shown it."
    if proof.how == How.WITNESS and proof.witness_id is None:
        return "A second person is to confirm it, and has not yet."
    return possession.MEANS[How(proof.how)]


def _worth(asked: ClearRequest) -> str:
    proof = getattr(asked, "possession", None)
    return possession.WORTH[How(proof.how)] if proof else ""


def _compared(asked: ClearRequest) -> list[dict[str, Any]]:
    """Each fact as it was when asked and as it is now."""
    now = signatures.seen(asked.device, escrow.current(asked.device))
    now |= inbox.shown(asked.device)
    return [
        {
            "label": label,
            "before": _said(name, before := asked.snapshot.get(name)),
            "now": _said(name, now[name]),
            "same": before == now[name],
            "is_signed": name in LABELS,
        }
        for name, label in {**LABELS, **SHOWN}.items()
    ]


def _said(name: str, value: Any) -> str:
    match name:
        case "lost":
            return "Yes" if value else "No"
        case "token":
            return f"Kept, number {str(value)[:8]}" if value else "None"
        case "stops":
            return ", ".join(value) if value else "nothing"
        case "owner":
            owner = User.objects.filter(pk=value).first() if value else None
            return str(owner) if owner else "nobody on staff"
        case _:
            return str(value) or "not known"
