"""What the pages show of a policy's versions: names, words, comparisons and numbers of devices."""

from typing import Any

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from devices.models import Device, DeviceGroup
from passcodes.admin.targets import kinds
from passcodes.models import Assignment, Enforcement, Policy, PolicyVersion
from passcodes.models.enforcement import LIVE_STATES
from passcodes.rules import strictness
from passcodes.rules.enforcement import State
from passcodes.rules.presets import PRESETS
from passcodes.rules.requirements import (
    ALL,
    CATALOGUE,
    Requirement,
    Requirements,
    from_json,
    in_words,
)

NOT_ON_IT = (State.PUSHED.value, State.REFUSED.value)
ON_IT = tuple(state for state in LIVE_STATES if state not in NOT_ON_IT)
NOTHING = "It demands nothing beyond Apple’s own rules; an iPhone or iPad asks for a passcode all the same."
PLATFORMS = {
    "ios": "iPhone",
    "ipados": "iPad",
    "visionos": "Vision Pro",
    "macos": "Mac",
    "watchos": "Watch",
}


def about(version: PolicyVersion, before: PolicyVersion | None) -> dict[str, Any]:
    changes = compared(before, version)
    return {
        "version": version,
        "policy": version.policy,
        "before": before,
        "changes": changes,
        "same": len(CATALOGUE) - len(changes),
        "old_name": name_of(before),
        "new_name": name_of(version),
        "words": words_of(version),
        "warnings": strictness.lint(
            from_json(version.requirements),
            facts=kinds(devices_of(version.policy), policy_id=version.policy_id).targets,
        ),
    }


def rows(version: PolicyVersion) -> list[dict[str, Any]]:
    """Every requirement in words, and whether it is set or Apple's default."""
    requirements = from_json(version.requirements)
    return [
        {
            "requirement": one,
            "only_on": only_on(one),
            "is_set": requirements.value(one.field) is not None,
            "words": one.in_words(requirements.value(one.field)),
        }
        for one in CATALOGUE
    ]


def presets(*, chosen: str = "") -> list[dict[str, Any]]:
    """What a policy can begin with, in words and with its source."""
    return [
        {
            "preset": preset,
            "words": in_words(preset.requirements),
            "is_chosen": preset.key == chosen,
        }
        for preset in PRESETS
    ]


def name_of(version: PolicyVersion | None) -> str:
    return f"Version {version.number}" if version else "No policy"


def words_of(version: PolicyVersion | None) -> list[str]:
    if version is None:
        return []
    return in_words(from_json(version.requirements)) or [NOTHING]


def compared(old: PolicyVersion | None, new: PolicyVersion) -> list[strictness.Change]:
    return strictness.compare(requirements_of(old), from_json(new.requirements))


def requirements_of(version: PolicyVersion | None) -> Requirements | None:
    return from_json(version.requirements) if version else None


def published(policy: Policy, *, before: PolicyVersion | None = None) -> PolicyVersion | None:
    """The newest published version, or the one before a given version."""
    versions = policy.versions.exclude(published_at=None).order_by("-number")
    if before is not None:
        versions = versions.filter(number__lt=before.number)
    return versions.first()


def on_devices(version: PolicyVersion | None) -> int:
    if version is None:
        return 0
    return Enforcement.objects.filter(version=version, state__in=ON_IT).count()


def devices_of(policy: Policy) -> QuerySet[Device]:
    """Whoever has the policy, or ought to have it."""
    live = Enforcement.objects.live().filter(policy=policy).values("device")
    members = DeviceGroup.devices.through.objects
    given = Q(pk__in=())
    for one in Assignment.objects.filter(policy=policy):
        left_out = members.filter(devicegroup__in=one.excluded.all()).values("device")
        by_it = members.filter(devicegroup=one.group_id).values("device")
        given |= Q(pk__in=by_it) & ~Q(pk__in=left_out)
    return Device.objects.filter(Q(pk__in=live) | given).exclude(enrollment_state="retired")


def count(rows: QuerySet[Enforcement], key: str) -> Coalesce:
    """How many enforcements belong to the row that is shown."""
    counted = (
        rows.filter(**{key: OuterRef("pk")})
        .order_by()
        .values(of=F(key))
        .annotate(number=Count("pk"))
        .values("number")
    )
    return Coalesce(Subquery(counted), 0)


def say_devices(number: int) -> str:
    return "1 device" if number == 1 else f"{number:,} devices"


def only_on(requirement: Requirement) -> str:
    """«Mac» or «iPhone, iPad, Vision Pro, Mac», where it is not for every kind of device."""
    if requirement.platforms == ALL:
        return ""
    return ", ".join(name for kind, name in PLATFORMS.items() if kind in requirement.platforms)
