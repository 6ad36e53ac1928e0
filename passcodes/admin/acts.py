"""What two people sign beside clears, on pages: read it, sign it, deny it, take it back."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from passcodes import acts, vault_says
from passcodes.admin import signing
from passcodes.admin.page import Page
from passcodes.models import Act, ClearRequest, Signature
from passcodes.rules import acts as rules
from passcodes.rules import charter_changes as changes
from passcodes.rules.acts import Kind, State, Step
from passcodes.rules.charter import NotACharter
from passcodes.rules.clearing import Refused
from staff import permissions
from staff.permissions import Forbidden, person

ENDED_SHOWN = 20


@admin.register(Act)
class ActAdmin(Page):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # each begins on the page of what it is about

    def get_urls(self) -> list[URLPattern]:
        return [
            path("", self.behind(self.listed), name="passcodes_act_changelist"),
            path("<uuid:pk>/change/", self.behind(self.shown), name="passcodes_act_change"),
            path("<uuid:pk>/sign/", self.behind(self.sign), name="act_sign"),
            path("<uuid:pk>/agree/", self.behind(self.agree), name="act_agree"),
            path("<uuid:pk>/deny/", self.behind(self.deny), name="act_deny"),
            path("review/<uuid:pk>/", self.behind(self.review), name="act_review"),
            path("<uuid:pk>/take-back/", self.behind(self.take_back), name="act_take_back"),
        ]

    def listed(self, request: HttpRequest) -> HttpResponse:
        user = person(request)
        mine = acts.to_sign(user)
        seen = acts.visible(user)
        others = [act for act in seen.open().order_by("asked_at") if act not in mine]
        return self.show(
            request,
            "admin/passcodes/act/change_list.html",
            "Other sign-offs",
            to_sign=_rows(mine),
            others=_rows(
                act for act in others if act.state != State.DRAFT or act.asked_by_id == user.pk
            ),
            ended=_rows(
                seen.exclude(state__in=[state.value for state in rules.OPEN])[:ENDED_SHOWN]
            ),
        )

    def shown(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        act, user = self._act(request, pk), person(request)
        state = State(act.state)
        is_asked = state in rules.TO_BE_ENDED
        agrees = is_asked and acts.has_right(act, user)
        obstacles = acts.obstacles(Step.AGREE, act, by=user) if agrees else []
        signers = _signers(act)
        has_signed = any(one["who"] == user for one in signers)
        return self.show(
            request,
            "admin/passcodes/act/change_form.html",
            acts.title(act),
            act=act,
            what=acts.title(act),
            state_words=rules.IN_WORDS[state],
            is_open=state in rules.OPEN,
            differences=_differences(act),
            leaves_too_few=_leaves_too_few(act),
            key=act.change.get("key", {}),
            charter=vault_says.charter(),
            signers=signers,
            vault=vault_says.of_request(act.pk),
            drafts=state is State.DRAFT and act.asked_by_id == user.pk,
            agrees=agrees and not obstacles,
            obstacles=[] if has_signed else obstacles,
            may_deny=is_asked and user.has_perm(rules.MAY_DENY),
            may_take_back=state in rules.OPEN and act.asked_by_id == user.pk,
            deny_form=signing.WordsForm(),
        )

    @method_decorator(require_POST)
    def sign(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Who has prepared it signs it now."""
        act, user = self._act(request, pk), person(request)
        return signing.lead(request, act, lambda: acts.to_ask(act, by=user))

    @method_decorator(require_POST)
    def review(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Begin the review of a clear that the key from the safe has signed."""
        user, form = person(request), signing.WordsForm(request.POST)
        seen = ClearRequest.objects.filter(device__in=permissions.visible(user), pk=pk).first()
        if seen is None:
            raise Http404
        try:
            words = form.cleaned_data["words"] if form.is_valid() else ""
            act = acts.review(pk, words=words, by=user)
        except (Refused, Forbidden) as refused:
            messages.error(request, str(refused))
            return redirect("admin:passcodes_clearrequest_change", pk)
        return signing.lead(request, act, lambda: acts.to_ask(act, by=user))

    @method_decorator(require_POST)
    def agree(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        act, user = self._act(request, pk), person(request)
        return signing.lead(request, act, lambda: acts.to_agree(act, by=user))

    @method_decorator(require_POST)
    def deny(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        act, user = self._act(request, pk), person(request)
        return signing.lead_to_deny(
            request, act, lambda words: acts.to_deny(act, words=words, by=user)
        )

    @method_decorator(require_POST)
    def take_back(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        act = self._act(request, pk)
        try:
            acts.take_back(act.pk, by=person(request))
        except (Refused, Forbidden) as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, "Taken back. Nothing has changed.")
        return signing.to_page(act)

    def _act(self, request: HttpRequest, pk: UUID) -> Act:
        """The act, if this person may see it; otherwise a 404 like for none."""
        act = acts.visible(person(request)).filter(pk=pk).first()
        if act is None:
            raise Http404
        return act


def _rows(found: Any) -> list[dict[str, Any]]:
    return [
        {"act": act, "title": acts.title(act), "state_words": rules.IN_WORDS[State(act.state)]}
        for act in found
    ]


def _differences(act: Act) -> list[changes.Difference]:
    """What the change makes otherwise than it is now, as the vault has told it."""
    if act.kind != Kind.CHARTER or State(act.state) not in rules.OPEN:
        return []
    try:
        return changes.differences(vault_says.charter(), act.change)
    except NotACharter:
        return []


def _leaves_too_few(act: Act) -> bool:
    if act.kind != Kind.CHARTER or State(act.state) not in rules.OPEN:
        return False
    try:
        return changes.leaves_too_few(vault_says.charter(), act.change)
    except NotACharter:
        return False


def _signers(act: Act) -> list[dict[str, Any]]:
    """Who has signed what, and whether the vault has heard it."""
    said = vault_says.of_request(act.pk)
    heard = {*said.get("answers", []), *([f"ask {act.asked_by}"] if said.get("ask") else [])}
    rows = Signature.objects.filter(request=act.pk).select_related("person").order_by("at")
    return [
        {
            "who": row.person,
            "what": {"ask": "asked", "yes": "agreed", "no": "denied"}.get(row.kind, row.kind),
            "at": row.at,
            "is_heard": f"{row.kind} {row.person}" in heard,
        }
        for row in rows
    ]
