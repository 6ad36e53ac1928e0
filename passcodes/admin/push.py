"""The push of a version: first to whom, then the numbers, then it goes, and only with the numbers that were read."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from devices.models import Device
from passcodes import rollout, wanted
from passcodes.admin import wording
from passcodes.admin.page import Page, attempt, posted
from passcodes.admin.targets import Counted, Targets, kinds
from passcodes.admin.waves import WavesForm, words_of
from passcodes.models import Assignment, Enforcement, PolicyVersion
from passcodes.rules import strictness
from passcodes.rules.enforcement import in_minutes
from passcodes.rules.requirements import from_json
from passcodes.rules.waves import Refused as NotWaves
from staff import permissions
from staff.permissions import person


class PushPages(Page):
    def push(self, request: HttpRequest, pk: int) -> HttpResponse:
        """First to whom, then the numbers, then it goes: and only with the numbers that were read."""
        user = person(request)
        permissions.require(user, "passcodes.push_policyversion")
        version = self.version(pk)
        if not version.is_published:
            messages.error(request, f"{version} is a draft. Publish it first.")
            return redirect("admin:passcodes_policyversion_change", version.pk)
        form = Targets(
            posted(request),
            by=user,
            leaves_out=True,
            initial={"excluded": _left_out_now(version)},
        )
        in_waves = WavesForm(posted(request), by=user)
        facts: dict[str, Any] = {
            **wording.about(version, None),
            "form": form,
            "waves_form": in_waves,
        }
        title = f"Push {version}"
        are_valid = form.is_valid() and in_waves.is_valid()
        if request.method != "POST" or not are_valid or "again" in request.POST:
            return self.show(request, "admin/passcodes/policyversion/push.html", title, **facts)
        device_ids = form.device_ids()
        intent = in_waves.intent
        try:
            preview = rollout.preview(
                version.pk,
                form.pasted,
                group_ids=form.group_ids,
                except_ids=form.excluded_ids,
                in_waves=intent,
            )
        except rollout.Refused as refused:
            form.add_error(None, str(refused))
            return self.show(request, "admin/passcodes/policyversion/push.html", title, **facts)
        numbers = (preview.devices, preview.stricter, preview.same, preview.loosened)
        counted = Counted(
            f"push version {version.pk} {sorted(form.group_ids)} except "
            f"{sorted(form.excluded_ids)} {intent}",
            frozenset(device_ids),
            (*numbers, preview.left_out, preview.loses, *preview.waves),
        )
        confirmed = request.POST.get("counted", "")
        if counted.is_confirmed(confirmed, by=user):
            started = attempt(
                request,
                lambda: rollout.push(
                    version.pk,
                    group_ids=form.group_ids,
                    device_ids=form.pasted,
                    except_ids=form.excluded_ids,
                    in_waves=intent,
                    by=user,
                ),
                rollout.Refused,
                NotWaves,
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
            refused=sum(count for _, count in preview.refused),
            intent=intent,
            waves=list(zip(words_of(intent), preview.waves, strict=True)) if intent else [],
            unreachable=among.unreachable,
            configurations=_meant(device_ids),
            minutes=in_minutes(settings.HOUR),
            counted=counted.signed(by=user),
            has_changed=bool(confirmed) and not counted.is_confirmed(confirmed, by=user),
        )

    def version(self, pk: int) -> PolicyVersion:
        return get_object_or_404(
            PolicyVersion.objects.select_related("policy", "published_by", "made_by"), pk=pk
        )


def _left_out_now(version: PolicyVersion) -> list[int]:
    """Whom the groups leave out of the policy at present: what a next push goes on with."""
    now = Assignment.excluded.through.objects.filter(assignment__policy=version.policy_id)
    return sorted(set(now.values_list("devicegroup_id", flat=True)))


def _meant(device_ids: set[int]) -> list[str]:
    """The names of the configurations that are meant for some of the devices."""
    meant: Mapping[int, Mapping[int, Any]] = wanted.configurations(device_ids)
    names = {str(one) for configurations in meant.values() for one in configurations.values()}
    return sorted(names)
