"""Policies: the list, one policy with its versions and groups, comparing versions, and taking it off devices."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse

from passcodes import policies, rollout, wanted, ways
from passcodes.admin import wording
from passcodes.admin.page import Deed, attempt, posted
from passcodes.admin.targets import Counted, Targets
from passcodes.admin.ways import WayPages
from passcodes.admin.wording import ON_IT
from passcodes.models import Assignment, Enforcement, Policy, PolicyVersion
from passcodes.rules.enforcement import State
from passcodes.rules.presets import PRESETS
from passcodes.rules.requirements import CATALOGUE
from passcodes.scope import groups_of
from staff import permissions
from staff.permissions import person


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


class BeginForm(forms.Form):
    """What a policy begins with: nothing, or what others have written down."""

    preset = forms.ChoiceField(
        required=False,
        choices=(("", "Nothing"), *((preset.key, preset.name) for preset in PRESETS)),
    )


@admin.register(Policy)
class PolicyAdmin(WayPages):
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
            on_devices=wording.count(Enforcement.objects.filter(state__in=ON_IT), "policy"),
            on_the_way=wording.count(
                Enforcement.objects.filter(state=State.PUSHED.value), "policy"
            ),
        )

    def deeds(self) -> list[Deed]:
        return [
            ("add/", self.add, "passcodes_policy_add"),
            ("<int:pk>/devices/", self.its_devices, "policy_devices"),
            ("<int:pk>/compare/", self.compare, "policy_compare"),
            ("<int:pk>/remove/", self.remove, "policy_remove"),
        ]

    def add(self, request: HttpRequest) -> HttpResponse:
        user = person(request)
        permissions.require(user, "passcodes.add_policy")
        form, begin = PolicyForm(posted(request)), BeginForm(posted(request))
        if request.method == "POST" and form.is_valid() and begin.is_valid():
            try:
                policy = policies.create(
                    form.cleaned_data["name"],
                    description=form.cleaned_data["description"],
                    by=user,
                )
            except policies.Refused as refused:
                form.add_error("name", str(refused))
            else:
                preset = begin.cleaned_data["preset"]
                return redirect(_draft_address(policy) + (f"&preset={preset}" if preset else ""))
        return self.show(
            request,
            "admin/passcodes/policy/add.html",
            "Add a policy",
            form=form,
            presets=wording.presets(chosen=str(begin["preset"].value() or "")),
        )

    def page(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = person(request)
        policy: Any = get_object_or_404(self.get_queryset(request), pk=pk)
        versions = list(
            policy.versions.select_related("published_by", "made_by").annotate(
                on_devices=wording.count(Enforcement.objects.filter(state__in=ON_IT), "version"),
                on_the_way=wording.count(
                    Enforcement.objects.filter(state=State.PUSHED.value), "version"
                ),
                refused=wording.count(
                    Enforcement.objects.filter(state=State.REFUSED.value), "version"
                ),
            )
        )
        published = next((one for one in versions if one.is_published), None)
        assignments = (
            Assignment.objects.filter(policy=policy)
            .select_related("group", "version", "by")
            .prefetch_related("excluded")
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
            words=wording.words_of(published),
            assignments=list(assignments) if user.has_perm("passcodes.view_assignment") else [],
            draft_address=_draft_address(policy),
            ways=ways.counted(Enforcement.objects.live().filter(policy=policy)),
            ways_address=reverse("admin:policy_devices", args=[policy.pk]),
            may={
                "draft": user.has_perm("passcodes.add_policyversion") and policy.draft is None,
                "push": user.has_perm("passcodes.push_policyversion"),
                "compare": len(versions) > 1,
            },
        )

    def its_devices(self, request: HttpRequest, pk: int) -> HttpResponse:
        policy = get_object_or_404(Policy, pk=pk)
        return self.devices(
            request,
            Enforcement.objects.live().filter(policy=policy),
            f"Devices that have {policy}",
            back=reverse("admin:passcodes_policy_change", args=[policy.pk]),
            back_name=str(policy),
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
            changes=wording.compared(old, new),
            same=len(CATALOGUE) - len(wording.compared(old, new)),
            old_name=wording.name_of(old),
            new_name=wording.name_of(new),
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
                messages.success(
                    request, f"{policy} is being taken off {wording.say_devices(gone)}."
                )
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


def _kept_by_other_groups(policy: Policy, device_ids: set[int], group_ids: set[int]) -> int:
    """How many of the devices keep the policy, because another group of theirs has it."""
    given = wanted.versions(device_ids, without_groups=group_ids)
    return sum(1 for policies in given.values() if policy.pk in policies)


def _draft_address(policy: Policy) -> str:
    return f"{reverse('admin:passcodes_policyversion_add')}?policy={policy.pk}"
