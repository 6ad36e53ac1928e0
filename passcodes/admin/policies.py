"""Policies and their versions: a typed editor for the draft, words for what is published, and the push."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse

from devices.models import Device, DeviceGroup
from passcodes import policies, rollout, wanted
from passcodes.admin.page import Deed, Page, attempt, person, posted
from passcodes.admin.targets import Counted, Targets, groups_of, kinds
from passcodes.models import Assignment, Enforcement, Policy, PolicyVersion
from passcodes.models.enforcement import LIVE_STATES
from passcodes.rules import strictness
from passcodes.rules.enforcement import State, in_minutes
from passcodes.rules.requirements import (
    ALL,
    CATALOGUE,
    Requirement,
    Requirements,
    from_json,
    in_words,
)
from passcodes.rules.requirements import Refused as NotRequirements
from staff import permissions

NOT_ON_IT = (State.PUSHED.value, State.REFUSED.value)
ON_IT = tuple(state for state in LIVE_STATES if state not in NOT_ON_IT)
NOTHING = "It demands nothing beyond Apple’s own rules; an iPhone or iPad asks for a passcode all the same."
SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "The passcode",
        (
            "force_pin",
            "min_length",
            "allow_simple",
            "require_alphanumeric",
            "min_complex_chars",
            "pin_history",
            "max_pin_age_in_days",
        ),
    ),
    ("Locking", ("max_inactivity", "max_grace_period", "max_failed_attempts")),
    ("On Macs", ("minutes_until_failed_login_reset", "change_at_next_auth")),
)
PLATFORMS = {
    "ios": "iPhone",
    "ipados": "iPad",
    "visionos": "Vision Pro",
    "macos": "Mac",
    "watchos": "Watch",
}


class PolicyForm(forms.Form):
    name = forms.CharField(
        max_length=100,
        widget=forms.TextInput(attrs={"class": "desk-input"}),
        help_text="Users see it on their device, in the list of profiles.",
    )
    description = forms.CharField(
        label="For whom, and why",
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3, "class": "desk-input"}),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One requirement in the editor: its field, and how it differs from what is published."""

    field: forms.BoundField
    requirement: Requirement
    only_on: str
    change: strictness.Change | None


class RequirementsForm(forms.Form):
    """A field for each requirement of the catalogue; what is left empty is absent."""

    def __init__(
        self,
        data: Any = None,
        *,
        draft: Requirements,
        against: Requirements | None,
        note: str = "",
    ) -> None:
        super().__init__(
            data, initial={**{field: _typed(value) for field, value in draft.to_json().items()}}
        )
        self.requirements = draft
        self.against = against
        for requirement in CATALOGUE:
            self.fields[requirement.field] = _field(requirement)
        self.fields["note"] = forms.CharField(
            label="What changes, and why",
            required=False,
            max_length=2000,
            initial=note,
            widget=forms.Textarea(attrs={"rows": 2, "class": "desk-input"}),
            help_text="Whoever pushes or audits this version reads it.",
        )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        values = {
            requirement.field: data.get(requirement.field)
            for requirement in CATALOGUE
            if data.get(requirement.field) is not None
        }
        try:
            self.requirements = from_json(values)
        except NotRequirements as refused:
            for field, sentence in refused.problems.items():
                self.add_error(field or None, sentence)
        return data

    @property
    def sections(self) -> list[tuple[str, list[Row]]]:
        changes = {one.field: one for one in self.changes}
        by_field = {requirement.field: requirement for requirement in CATALOGUE}
        return [
            (
                title,
                [
                    Row(self[name], by_field[name], _only_on(by_field[name]), changes.get(name))
                    for name in names
                ],
            )
            for title, names in SECTIONS
        ]

    @property
    def changes(self) -> list[strictness.Change]:
        if self.against is None:
            return []
        return strictness.compare(self.against, self.requirements)


@admin.register(Policy)
class PolicyAdmin(Page):
    search_fields = ("name", "description")
    search_help_text = "Any part of a name"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Policy]:
        versions = PolicyVersion.objects.filter(policy=OuterRef("pk")).order_by("-number")
        published = versions.exclude(published_at=None)
        return Policy.objects.annotate(
            published=Subquery(published.values("number")[:1]),
            published_pk=Subquery(published.values("pk")[:1]),
            published_when=Subquery(published.values("published_at")[:1]),
            draft=Subquery(versions.filter(published_at=None).values("number")[:1]),
            draft_pk=Subquery(versions.filter(published_at=None).values("pk")[:1]),
            on_devices=_count(Enforcement.objects.filter(state__in=ON_IT), "policy"),
            on_the_way=_count(Enforcement.objects.filter(state=State.PUSHED.value), "policy"),
        )

    def deeds(self) -> list[Deed]:
        return [
            ("add/", self.add, "passcodes_policy_add"),
            ("<int:pk>/compare/", self.compare, "policy_compare"),
            ("<int:pk>/remove/", self.remove, "policy_remove"),
        ]

    def add(self, request: HttpRequest) -> HttpResponse:
        user = person(request)
        permissions.require(user, "passcodes.add_policy")
        form = PolicyForm(posted(request))
        if request.method == "POST" and form.is_valid():
            try:
                policy = policies.create(
                    form.cleaned_data["name"],
                    description=form.cleaned_data["description"],
                    by=user,
                )
            except policies.Refused as refused:
                form.add_error("name", str(refused))
            else:
                return redirect(_draft_address(policy))
        return self.show(request, "admin/passcodes/policy/add.html", "Add a policy", form=form)

    def page(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        policy: Any = get_object_or_404(self.get_queryset(request), pk=pk)
        versions = list(
            policy.versions.select_related("published_by", "made_by").annotate(
                on_devices=_count(Enforcement.objects.filter(state__in=ON_IT), "version"),
                on_the_way=_count(Enforcement.objects.filter(state=State.PUSHED.value), "version"),
                refused=_count(Enforcement.objects.filter(state=State.REFUSED.value), "version"),
            )
        )
        published = next((one for one in versions if one.is_published), None)
        assignments = (
            Assignment.objects.filter(policy=policy)
            .select_related("group", "version", "by")
            .annotate(members=Count("group__devices"))
            .order_by("group__name")
        )
        return self.show(
            request,
            "admin/passcodes/policy/change_form.html",
            str(policy),
            policy=policy,
            versions=versions,
            published=published,
            words=_words(published),
            assignments=list(assignments) if user.has_perm("passcodes.view_assignment") else [],
            draft_address=_draft_address(policy),
            may={
                "draft": user.has_perm("passcodes.add_policyversion") and policy.draft is None,
                "push": user.has_perm("passcodes.push_policyversion"),
                "compare": len(versions) > 1,
            },
        )

    def compare(self, request: HttpRequest, pk: int) -> HttpResponse:
        policy = get_object_or_404(Policy, pk=pk)
        versions = list(policy.versions.order_by("-number"))
        by_number = {str(version.number): version for version in versions}
        newest = versions[0] if versions else None
        if newest is None:
            raise Http404
        new = by_number.get(request.GET.get("new", ""), newest)
        before = next((one for one in versions if one.number < new.number), None)
        old = by_number.get(request.GET.get("old", ""), before)
        return self.show(
            request,
            "admin/passcodes/policy/compare.html",
            f"Compare versions of {policy}",
            policy=policy,
            versions=versions,
            old=old,
            new=new,
            changes=_compared(old, new),
            same=len(CATALOGUE) - len(_compared(old, new)),
            old_name=_name(old),
            new_name=_name(new),
        )

    def remove(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        permissions.require(user, "passcodes.push_policyversion")
        policy = get_object_or_404(Policy, pk=pk)
        having = groups_of(user).filter(assignments__policy=policy)
        form = Targets(posted(request), by=user, offered=having)
        facts: dict[str, Any] = {"policy": policy, "form": form}
        title = f"Remove {policy}"
        if request.method != "POST" or not form.is_valid() or "again" in request.POST:
            return self.show(request, "admin/passcodes/policy/remove.html", title, **facts)
        device_ids = form.device_ids()
        live = set(
            Enforcement.objects.live()
            .filter(policy=policy, device__in=device_ids)
            .values_list("device_id", flat=True)
        )
        kept = _kept_by_other_groups(policy, live, form.group_ids)
        counted = Counted(
            f"remove policy {policy.pk} {sorted(form.group_ids)}",
            frozenset(device_ids),
            (len(live), kept),
        )
        confirmed = request.POST.get("counted", "")
        if counted.is_confirmed(confirmed, by=user):
            gone = attempt(
                request,
                lambda: rollout.remove(
                    policy.pk, group_ids=form.group_ids, device_ids=form.pasted, by=user
                ),
                rollout.Refused,
            )
            if gone is not None:
                messages.success(request, f"{policy} is being taken off {_devices(gone)}.")
                return redirect("admin:passcodes_policy_change", policy.pk)
        return self.show(
            request,
            "admin/passcodes/policy/remove_confirm.html",
            title,
            **facts,
            devices=len(device_ids),
            having=len(live),
            kept=kept,
            goes=len(live) - kept,
            counted=counted.signed(by=user),
            has_changed=bool(confirmed) and not counted.is_confirmed(confirmed, by=user),
        )


@admin.register(PolicyVersion)
class PolicyVersionAdmin(Page):
    def deeds(self) -> list[Deed]:
        return [
            ("add/", self.add, "passcodes_policyversion_add"),
            ("<int:pk>/publish/", self.publish, "policyversion_publish"),
            ("<int:pk>/discard/", self.discard, "policyversion_discard"),
            ("<int:pk>/push/", self.push, "policyversion_push"),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return redirect("admin:passcodes_policy_changelist")

    def add(self, request: HttpRequest) -> HttpResponse:
        """The next draft of a policy, which begins as what is published."""
        user = person(request)
        permissions.require(user, "passcodes.add_policyversion")
        key = request.GET.get("policy", "")
        policy = get_object_or_404(Policy, pk=int(key) if key.isdigit() else 0)
        if waiting := policy.versions.filter(published_at=None).first():
            return redirect("admin:passcodes_policyversion_change", waiting.pk)
        published = _published(policy)
        draft = published.requirements if published else {"force_pin": True}
        form = RequirementsForm(
            posted(request), draft=from_json(draft), against=_requirements(published)
        )
        if request.method == "POST" and form.is_valid():
            version = attempt(
                request,
                lambda: policies.draft(
                    policy, form.requirements, note=form.cleaned_data["note"], by=user
                ),
                policies.Refused,
            )
            if version:
                return self._kept(request, version)
        return self._editor(request, policy, form, version=None, published=published)

    def page(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        version = self._version(pk)
        published = _published(version.policy, before=version)
        if version.is_published or not user.has_perm("passcodes.change_policyversion"):
            return self._read(request, version, before=published)
        form = RequirementsForm(
            posted(request),
            draft=from_json(version.requirements),
            against=_requirements(published),
            note=version.note,
        )
        if request.method == "POST" and form.is_valid():
            kept = attempt(
                request,
                lambda: policies.change_draft(
                    version.pk, form.requirements, note=form.cleaned_data["note"], by=user
                ),
                policies.Refused,
            )
            if kept:
                return self._kept(request, kept)
        return self._editor(request, version.policy, form, version=version, published=published)

    def publish(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        permissions.require(user, "passcodes.publish_policyversion")
        version = self._version(pk)
        if request.method == "POST":
            published = attempt(
                request, lambda: policies.publish(version.pk, by=user), policies.Refused
            )
            if published:
                messages.success(request, f"{published} is published. Nothing has been sent.")
            return redirect("admin:passcodes_policyversion_change", version.pk)
        if version.is_published:
            return redirect("admin:passcodes_policyversion_change", version.pk)
        return self.show(
            request,
            "admin/passcodes/policyversion/publish.html",
            f"Publish {version}",
            **_about(version, _published(version.policy)),
        )

    def discard(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        permissions.require(user, "passcodes.change_policyversion")
        version = self._version(pk)
        if request.method == "POST":
            if attempt(
                request,
                lambda: policies.discard_draft(version.pk, by=user) or version,
                policies.Refused,
            ):
                messages.success(request, f"The draft of {version} is gone.")
            return redirect("admin:passcodes_policy_change", version.policy_id)
        if version.is_published:
            raise Http404
        return self.show(
            request,
            "admin/passcodes/policyversion/discard.html",
            f"Throw away {version}",
            version=version,
            policy=version.policy,
        )

    def push(self, request: HttpRequest, pk: int) -> HttpResponse:
        """First to whom, then the numbers, then it goes: and only with the numbers that were read."""
        user = person(request)
        permissions.require(user, "passcodes.push_policyversion")
        version = self._version(pk)
        if not version.is_published:
            messages.error(request, f"{version} is a draft. Publish it first.")
            return redirect("admin:passcodes_policyversion_change", version.pk)
        form = Targets(posted(request), by=user)
        facts: dict[str, Any] = {**_about(version, None), "form": form}
        title = f"Push {version}"
        if request.method != "POST" or not form.is_valid() or "again" in request.POST:
            return self.show(request, "admin/passcodes/policyversion/push.html", title, **facts)
        device_ids = form.device_ids()
        preview = rollout.preview(version.pk, form.pasted, group_ids=form.group_ids)
        counted = Counted(
            f"push version {version.pk} {sorted(form.group_ids)}",
            frozenset(device_ids),
            (preview.devices, preview.stricter, preview.same, preview.loosened),
        )
        confirmed = request.POST.get("counted", "")
        if counted.is_confirmed(confirmed, by=user):
            started = attempt(
                request,
                lambda: rollout.push(
                    version.pk, group_ids=form.group_ids, device_ids=form.pasted, by=user
                ),
                rollout.Refused,
            )
            if started:
                return redirect("admin:passcodes_rollout_change", started.pk)
        having = Enforcement.objects.live().filter(version=version).values("device")
        among = kinds(
            Device.objects.filter(pk__in=device_ids).exclude(pk__in=having),
            policy_id=version.policy_id,
        )
        return self.show(
            request,
            "admin/passcodes/policyversion/push_confirm.html",
            title,
            **{
                **facts,
                "warnings": strictness.lint(from_json(version.requirements), facts=among.targets),
            },
            preview=preview,
            unreachable=among.unreachable,
            configurations=_meant(device_ids),
            minutes=in_minutes(settings.HOUR),
            counted=counted.signed(by=user),
            has_changed=bool(confirmed) and not counted.is_confirmed(confirmed, by=user),
        )

    def _version(self, pk: int) -> PolicyVersion:
        return get_object_or_404(
            PolicyVersion.objects.select_related("policy", "published_by", "made_by"), pk=pk
        )

    def _kept(self, request: HttpRequest, version: PolicyVersion) -> HttpResponse:
        if "publish" in request.POST:
            return redirect("admin:policyversion_publish", version.pk)
        messages.success(request, "The draft is kept.")
        return redirect("admin:passcodes_policyversion_change", version.pk)

    def _editor(
        self,
        request: HttpRequest,
        policy: Policy,
        form: RequirementsForm,
        *,
        version: PolicyVersion | None,
        published: PolicyVersion | None,
    ) -> HttpResponse:
        user = person(request)
        number = version.number if version else (published.number + 1 if published else 1)
        among = kinds(_devices_of(policy), policy_id=policy.pk)
        return self.show(
            request,
            "admin/passcodes/policyversion/change_form.html",
            f"{policy}, version {number}",
            policy=policy,
            version=version,
            number=number,
            published=published,
            form=form,
            changes=form.changes,
            same=len(CATALOGUE) - len(form.changes),
            old_name=_name(published),
            new_name=f"Version {number}",
            words=in_words(form.requirements) or [NOTHING],
            warnings=strictness.lint(form.requirements, facts=among.targets),
            on_devices=_on_devices(published),
            minutes=in_minutes(settings.HOUR),
            may={"publish": user.has_perm("passcodes.publish_policyversion")},
        )

    def _read(
        self, request: HttpRequest, version: PolicyVersion, *, before: PolicyVersion | None
    ) -> HttpResponse:
        user = person(request)
        may_see_rollouts = user.has_perm("passcodes.view_rollout")
        rollouts = version.rollouts.select_related("started_by") if may_see_rollouts else ()
        return self.show(
            request,
            "admin/passcodes/policyversion/read.html",
            str(version),
            **_about(version, before),
            rows=_rows(version),
            on_devices=_on_devices(version),
            rollouts=list(rollouts[:10]),
            may={
                "push": version.is_published and user.has_perm("passcodes.push_policyversion"),
                "publish": not version.is_published
                and user.has_perm("passcodes.publish_policyversion"),
                "edit": not version.is_published
                and user.has_perm("passcodes.change_policyversion"),
            },
        )


# What the pages show of a version.


def _about(version: PolicyVersion, before: PolicyVersion | None) -> dict[str, Any]:
    changes = _compared(before, version)
    return {
        "version": version,
        "policy": version.policy,
        "before": before,
        "changes": changes,
        "same": len(CATALOGUE) - len(changes),
        "old_name": _name(before),
        "new_name": _name(version),
        "words": _words(version),
        "warnings": strictness.lint(
            from_json(version.requirements),
            facts=kinds(_devices_of(version.policy), policy_id=version.policy_id).targets,
        ),
    }


def _rows(version: PolicyVersion) -> list[dict[str, Any]]:
    """Every requirement in words, and whether it is set or Apple's default."""
    requirements = from_json(version.requirements)
    return [
        {
            "requirement": one,
            "only_on": _only_on(one),
            "is_set": requirements.value(one.field) is not None,
            "words": one.in_words(requirements.value(one.field)),
        }
        for one in CATALOGUE
    ]


def _name(version: PolicyVersion | None) -> str:
    return f"Version {version.number}" if version else "No policy"


def _words(version: PolicyVersion | None) -> list[str]:
    if version is None:
        return []
    return in_words(from_json(version.requirements)) or [NOTHING]


def _compared(old: PolicyVersion | None, new: PolicyVersion) -> list[strictness.Change]:
    return strictness.compare(_requirements(old), from_json(new.requirements))


def _requirements(version: PolicyVersion | None) -> Requirements | None:
    return from_json(version.requirements) if version else None


def _published(policy: Policy, *, before: PolicyVersion | None = None) -> PolicyVersion | None:
    """The newest published version, or the one before a given version."""
    versions = policy.versions.exclude(published_at=None).order_by("-number")
    if before is not None:
        versions = versions.filter(number__lt=before.number)
    return versions.first()


def _on_devices(version: PolicyVersion | None) -> int:
    if version is None:
        return 0
    return Enforcement.objects.filter(version=version, state__in=ON_IT).count()


def _devices_of(policy: Policy) -> QuerySet[Device]:
    """Whoever has the policy, or ought to have it."""
    live = Enforcement.objects.live().filter(policy=policy).values("device")
    members = DeviceGroup.devices.through.objects.filter(
        devicegroup__assignments__policy=policy
    ).values("device")
    return Device.objects.filter(Q(pk__in=live) | Q(pk__in=members)).exclude(
        enrollment_state="retired"
    )


def _meant(device_ids: set[int]) -> list[str]:
    """The names of the configurations that are meant for some of the devices."""
    meant: Mapping[int, Mapping[int, Any]] = wanted.configurations(device_ids)
    names = {str(one) for configurations in meant.values() for one in configurations.values()}
    return sorted(names)


def _kept_by_other_groups(policy: Policy, device_ids: set[int], group_ids: set[int]) -> int:
    """How many of the devices keep the policy, because another group of theirs has it."""
    return (
        Device.objects.filter(
            pk__in=device_ids,
            groups__in=DeviceGroup.objects.filter(assignments__policy=policy).exclude(
                pk__in=group_ids
            ),
        )
        .distinct()
        .count()
    )


def _count(rows: QuerySet[Enforcement], key: str) -> Coalesce:
    """How many enforcements belong to the row that is shown."""
    counted = (
        rows.filter(**{key: OuterRef("pk")})
        .order_by()
        .values(of=F(key))
        .annotate(number=Count("pk"))
        .values("number")
    )
    return Coalesce(Subquery(counted), 0)


def _draft_address(policy: Policy) -> str:
    return f"{reverse('admin:passcodes_policyversion_add')}?policy={policy.pk}"


def _devices(number: int) -> str:
    return "1 device" if number == 1 else f"{number:,} devices"


# The editor's fields.


def _field(requirement: Requirement) -> forms.Field:
    if requirement.kind is bool:
        yes, no = requirement.say(True), requirement.say(False)  # noqa: FBT003  a value, not a switch
        return forms.TypedChoiceField(
            label=requirement.label,
            required=False,
            choices=(("", "left out"), ("true", yes), ("false", no)),
            coerce=lambda text: text == "true",
            empty_value=None,
            help_text=f"{requirement.meaning} {requirement.absent}",
        )
    low, high = requirement.minimum, requirement.maximum
    return forms.IntegerField(
        label=requirement.label,
        required=False,
        widget=forms.NumberInput(attrs={"min": low, "max": high, "inputmode": "numeric"}),
        help_text=f"{requirement.meaning} {low} to {high}. {requirement.absent}",
    )


def _typed(value: bool | int) -> str | int:
    return str(value).lower() if isinstance(value, bool) else value


def _only_on(requirement: Requirement) -> str:
    """«Mac» or «iPhone, iPad, Vision Pro, Mac», where it is not for every kind of device."""
    if requirement.platforms == ALL:
        return ""
    return ", ".join(name for kind, name in PLATFORMS.items() if kind in requirement.platforms)
