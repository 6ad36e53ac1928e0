"""Clears of several devices: the page on which they are asked for, and the report on how each one goes.

It stands on the roof, because its report leaves the house as a file for spreadsheets.
"""

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import URLPattern, path

from devices import audit
from devices.models import DeviceGroup
from mdm.desk import bulk_report, export
from passcodes import bulk, clearing, escrow, inbox, signatures, vault_says
from passcodes.admin import signing, told
from passcodes.admin.asking_for_several import SeveralForm, WitnessForm
from passcodes.admin.page import Page, View, attempt, posted
from passcodes.admin.targets import Targets
from passcodes.admin.wording import say_devices
from passcodes.models import ClearList, ClearRequest
from passcodes.rules import bulk as rules
from passcodes.rules import clearing as clear_rules
from passcodes.rules.charter import HIGHEST_BULK
from passcodes.rules.charter_changes import rule_in_words
from passcodes.rules.clearing import Reason, Refused, State
from passcodes.rules.possession import How
from staff import permissions
from staff.models import User
from staff.permissions import Forbidden, person

RIGHT = "passcodes.view_clearrequest"
CHOOSE, SEND = "choose", "send"
NOT_SEEN = (
    "Nobody has confirmed that the devices are in our hands. Next: a second person who sees them "
    "confirms it on this page."
)
SIGNED = (State.APPROVED, State.ARMED, State.SENT)


@admin.register(ClearList)
class ClearListAdmin(Page):
    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(RIGHT)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return False  # its lists stand among the requests

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(clearing.ASK)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ClearList]:
        return bulk.visible(person(request)).annotate(devices=Count("requests"))

    def get_urls(self) -> list[URLPattern]:
        routes: list[tuple[str, View, str]] = [
            ("", self.changelist_view, "passcodes_clearlist_changelist"),
            ("add/", self.add, "passcodes_clearlist_add"),
            ("<uuid:key>/change/", self.report, "passcodes_clearlist_change"),
            ("<uuid:key>/sign/", self.sign, "clears_sign"),
            ("<uuid:key>/approve/", self.approve, "clears_approve"),
            ("<uuid:key>/witness/", self.witness, "clears_witness"),
            ("<uuid:key>/deny/", self.deny, "clears_deny"),
            ("<uuid:key>/stop/", self.stop, "clears_stop"),
            ("<uuid:key>/csv/", self.export, "clears_csv"),
        ]
        return [path(route, self.behind(view), name=name) for route, view, name in routes]

    # Asking.

    def add(self, request: HttpRequest) -> HttpResponse:
        user = person(request)
        if not self.has_add_permission(request):
            raise Forbidden("You may not ask for clears.")
        deed = request.POST.get("deed", "")
        targets = Targets(posted(request) if deed == CHOOSE else None, by=user)
        keys = _chosen(request, user)
        if deed == CHOOSE and targets.is_valid():
            keys = targets.device_ids()
        devices = permissions.visible(user).filter(pk__in=keys)
        too_many = max(0, devices.count() - HIGHEST_BULK)
        judged = [] if too_many else bulk.judge(devices.order_by("serial", "pk"), by=user)
        serials = [escrow.cleaned(one.device.serial) for one in judged if not one.obstacles]
        rule = signatures.rule_for(Reason.REFRESH, serials)
        pasted = request.POST.get("serials", "")
        form = SeveralForm(
            posted(request) if deed == SEND else None,
            hows=rules.hows(rule),
            initial={"read": pasted},
        )
        if deed == SEND and form.is_valid():
            drafted = self._draft(request, keys, form)
            if drafted is not None:
                return signing.lead(request, drafted, lambda: signatures.to_ask(drafted, by=user))
        return self.show(
            request,
            "admin/passcodes/clearlist/add_form.html",
            "Ask for several clears",
            targets=targets,
            form=form,
            judged=judged,
            able=len(serials),
            keys=keys,
            too_many=too_many,
            most=rules.most_devices(rule),
            rule=rule,
        )

    def _draft(self, request: HttpRequest, keys: set[int], form: SeveralForm) -> ClearList | None:
        try:
            return bulk.draft(keys, by=person(request), **form.cleaned_data)
        except (Refused, Forbidden) as refused:
            form.add_error(None, str(refused))
            return None

    # The report, and the decisions.

    def report(self, request: HttpRequest, key: uuid.UUID) -> HttpResponse:
        user, found = person(request), self._list(request, key)
        asked = bulk.members(found, to=user)
        states = {State(one.state) for one in asked}
        first, all_seen = asked[0], len(asked) == found.requests.count()
        waits = bool(states & {State.REQUESTED, State.APPROVED})
        rule = signatures.rule(found)
        approvals = bulk_report.approvals(found)
        missing = max(0, rule.approvers - len(approvals))
        how = How(first.possession.how)
        witnessed = first.possession.witness
        waits_for_witness = how is How.WITNESS and witnessed is None
        obstacles = _of_the_people(asked, user) if waits else []
        if waits_for_witness:
            obstacles.append(NOT_SEEN)
        may_sign = user.has_perm(clearing.SIGN) and all_seen
        return self.show(
            request,
            "admin/passcodes/clearlist/change_form.html",
            f"Clear the passcodes of {len(asked)} devices",
            found=found,
            rows=[bulk_report.row(one) for one in asked],
            hidden=0 if all_seen else found.requests.count() - len(asked),
            first=first,
            parts=bulk_report.parts(asked),
            asked_at=first.requested_at,
            how=how,
            how_words=rules.MEANS[how],
            witnessed=witnessed,
            waits_for_witness=waits_for_witness,
            is_draft=states == {State.DRAFT},
            drafts=states == {State.DRAFT} and found.made_by_id == user.pk,
            vault=vault_says.of_request(found.pk) if states & clear_rules.OPEN else {},
            rule_words=rule_in_words(rule),
            approvals=approvals,
            needed=rule.approvers,
            missing=missing if waits else 0,
            may_still=signatures.who_may_sign(found) if waits and missing else [],
            signs=may_sign and State.REQUESTED in states,
            denies=may_sign and waits,
            obstacles=obstacles,
            changed=[(one, words) for one in asked for words in _changed(one)],
            may_witness=waits_for_witness
            and State.REQUESTED in states
            and user.has_perm(clearing.WITNESS)
            and user.pk != found.made_by_id,
            may_stop=found.stopped_at is None
            and any((state, clear_rules.Step.CANCEL) in clear_rules.MOVES for state in states)
            and any(user.has_perm(right) for right in bulk.MAY_STOP),
            witness_form=WitnessForm(),
            deny_form=signing.WordsForm(),
            queue=inbox.place(user, found.pk),
            told=told.of(found.pk),
        )

    def sign(self, request: HttpRequest, key: uuid.UUID) -> HttpResponse:
        found, user = self._posted(request, key), person(request)
        return signing.lead(request, found, lambda: signatures.to_ask(found, by=user))

    def approve(self, request: HttpRequest, key: uuid.UUID) -> HttpResponse:
        found, user = self._posted(request, key), person(request)
        return signing.lead(request, found, lambda: signatures.to_approve(found, by=user))

    def witness(self, request: HttpRequest, key: uuid.UUID) -> HttpResponse:
        found, user = self._posted(request, key), person(request)
        request.session[signing.SERIAL_END] = {found.pk.hex: request.POST.get("read", "")}
        return signing.lead(request, found, lambda: signatures.to_witness(found, by=user))

    def deny(self, request: HttpRequest, key: uuid.UUID) -> HttpResponse:
        found, user = self._posted(request, key), person(request)
        return signing.lead_to_deny(
            request, found, lambda words: signatures.to_deny(found, words=words, by=user)
        )

    def stop(self, request: HttpRequest, key: uuid.UUID) -> HttpResponse:
        found, user = self._posted(request, key), person(request)
        stopped = attempt(request, lambda: bulk.stop(found.pk, by=user), Refused)
        if stopped is not None:
            messages.success(request, f"Stopped. {say_devices(stopped)} will not be opened.")
        return signing.to_page(found)

    def export(self, request: HttpRequest, key: uuid.UUID) -> StreamingHttpResponse:
        """Every device with how it went, as a file; and a trace of that."""
        found, user = self._posted(request, key), person(request)
        asked = bulk.members(found, to=user)
        audit.record("clears.export", actor=user, list=found.pk.hex, entries=len(asked))
        rows = bulk_report.cells(found, asked)
        total = len(asked) + len(found.left_out)
        return export.answer("clears", bulk_report.COLUMNS, rows, total=total)

    def _list(self, request: HttpRequest, key: uuid.UUID) -> ClearList:
        """The list, if this person may see a device of it; otherwise a 404 like for none."""
        found = self.get_queryset(request).select_related("made_by", "stopped_by").filter(pk=key)
        one = found.first()
        if one is None:
            raise Http404
        return one

    def _posted(self, request: HttpRequest, key: uuid.UUID) -> ClearList:
        if request.method != "POST":
            raise Http404
        return self._list(request, key)


def _chosen(request: HttpRequest, user: User) -> set[int]:
    """What a list or a group has handed on; from then on, what is still ticked on the page itself."""
    listed = request.GET.get("devices", "").split(",")
    texts = request.POST.getlist("device") if request.POST else listed
    keys = {int(text) for text in texts if text.isdigit()}
    group = request.GET.get("group", "")
    if group.isdigit() and not request.POST:
        members = DeviceGroup.objects.filter(pk=int(group)).values("devices")
        keys |= set(permissions.visible(user).filter(pk__in=members).values_list("pk", flat=True))
    return keys


def _of_the_people(asked: Iterable[ClearRequest], user: User) -> list[str]:
    """Why this person cannot approve the list, each sentence once."""
    said: dict[str, None] = {}
    for one in asked:
        for words in bulk.not_by(one, user):
            said[words] = None
    return list(said)


def _changed(one: ClearRequest) -> Iterator[str]:
    if State(one.state) in {State.REQUESTED, *SIGNED}:
        yield from bulk.changed(one)
