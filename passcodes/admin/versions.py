"""Versions of a policy: a typed editor for the draft, words for what is published."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from passcodes import policies
from passcodes.admin import wording
from passcodes.admin.page import Deed, attempt, posted
from passcodes.admin.push import PushPages
from passcodes.admin.requirements import RequirementsForm
from passcodes.admin.targets import kinds
from passcodes.admin.wording import NOTHING
from passcodes.models import Policy, PolicyVersion
from passcodes.rules import strictness
from passcodes.rules.enforcement import in_minutes
from passcodes.rules.presets import BY_KEY
from passcodes.rules.requirements import CATALOGUE, Requirements, from_json, in_words
from staff import permissions
from staff.permissions import person


@admin.register(PolicyVersion)
class PolicyVersionAdmin(PushPages):
    def deeds(self) -> list[Deed]:
        return [
            ("add/", self.add, "passcodes_policyversion_add"),
            ("preview/", self.preview, "policyversion_preview"),
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
        published = wording.published(policy)
        preset = BY_KEY.get(request.GET.get("preset", ""))
        form = RequirementsForm(
            posted(request),
            draft=preset.requirements if preset else _begins_as(published),
            against=wording.requirements_of(published),
            note=f"As {preset.source} has it, {preset.dated}." if preset else "",
        )
        if request.method == "POST" and form.is_valid() and "preview" not in request.POST:
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
        version = self.version(pk)
        published = wording.published(version.policy, before=version)
        if version.is_published or not user.has_perm("passcodes.change_policyversion"):
            return self._read(request, version, before=published)
        form = RequirementsForm(
            posted(request),
            draft=from_json(version.requirements),
            against=wording.requirements_of(published),
            note=version.note,
        )
        if request.method == "POST" and form.is_valid() and "preview" not in request.POST:
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

    def preview(self, request: HttpRequest) -> HttpResponse:
        """What the editor's fields would mean, in words; nothing is kept."""
        user = person(request)
        permissions.require(user, "passcodes.add_policyversion")
        sent = posted(request) or request.GET
        key = sent.get("policy", "")
        policy = get_object_or_404(Policy, pk=int(key) if key.isdigit() else 0)
        draft = policy.versions.filter(published_at=None).first()
        published = wording.published(policy, before=draft)
        form = RequirementsForm(
            sent, draft=_begins_as(published), against=wording.requirements_of(published)
        )
        form.is_valid()
        return self.show(
            request,
            "admin/passcodes/policyversion/said.html",
            f"{policy} in words",
            **self._said(policy, form, published=published, number=_number(draft, published)),
        )

    def publish(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        permissions.require(user, "passcodes.publish_policyversion")
        version = self.version(pk)
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
            **wording.about(version, wording.published(version.policy)),
        )

    def discard(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        permissions.require(user, "passcodes.change_policyversion")
        version = self.version(pk)
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
        number = _number(version, published)
        return self.show(
            request,
            "admin/passcodes/policyversion/change_form.html",
            f"{policy}, version {number}",
            policy=policy,
            version=version,
            number=number,
            presets=wording.presets() if version is None else [],
            **self._said(policy, form, published=published, number=number),
            on_devices=wording.on_devices(published),
            may={"publish": user.has_perm("passcodes.publish_policyversion")},
        )

    def _said(
        self,
        policy: Policy,
        form: RequirementsForm,
        *,
        published: PolicyVersion | None,
        number: int,
    ) -> dict[str, Any]:
        """What changes while somebody types."""
        among = kinds(wording.devices_of(policy), policy_id=policy.pk)
        return {
            "form": form,
            "changes": form.changes,
            "same": len(CATALOGUE) - len(form.changes),
            "published": published,
            "old_name": wording.name_of(published),
            "new_name": f"Version {number}",
            "words": in_words(form.requirements) or [NOTHING],
            "warnings": strictness.lint(form.requirements, facts=among.targets),
            "minutes": in_minutes(settings.HOUR),
        }

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
            **wording.about(version, before),
            rows=wording.rows(version),
            on_devices=wording.on_devices(version),
            rollouts=list(rollouts[:10]),
            may={
                "push": version.is_published and user.has_perm("passcodes.push_policyversion"),
                "publish": not version.is_published
                and user.has_perm("passcodes.publish_policyversion"),
                "edit": not version.is_published
                and user.has_perm("passcodes.change_policyversion"),
            },
        )


def _number(draft: PolicyVersion | None, published: PolicyVersion | None) -> int:
    if draft is not None:
        return draft.number
    return published.number + 1 if published else 1


def _begins_as(published: PolicyVersion | None) -> Requirements:
    """What a draft is before anybody writes in it."""
    return from_json(published.requirements) if published else Requirements(force_pin=True)
