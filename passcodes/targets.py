"""What is known of the devices that a version is meant for, so that what will bite is said before a push."""

from django.db.models import Count, F, Q, QuerySet

from devices.models import Device, Told
from devices.models.told import Subject
from devices.rules import profiles
from passcodes import wanted
from passcodes.models import Enforcement, PolicyVersion, WithheldConfiguration
from passcodes.rules.enforcement import State
from passcodes.rules.requirements import Requirements, from_json
from passcodes.rules.strictness import Targets
from passcodes.rules.witness import MODIFICATION

RESTRICTIONS = "com.apple.applicationaccess"
MOST_OTHERS = 20  # versions of other policies that are compared


def of(devices: QuerySet[Device], *, policy_id: int | None = None) -> Targets:
    """The kinds of these devices, and what they have already of this policy and of others."""
    numbers = devices.aggregate(
        macs=Count("pk", filter=Q(platform="macos"), distinct=True),
        apple_tvs=Count("pk", filter=Q(platform="tvos"), distinct=True),
        shared_ipads=Count("pk", filter=Q(is_shared_ipad=True), distinct=True),
        user_enrollments=Count("pk", filter=Q(is_user_enrollment=True), distinct=True),
    )
    keys = set(devices.values_list("pk", flat=True))
    return Targets(
        **numbers,
        modification_forbidden=len(_forbidden(keys)),
        in_force=_in_force(keys, policy_id),
        others=_others(keys, policy_id),
    )


def _forbidden(keys: set[int]) -> set[int]:
    """Who forbids passcode changes: by what is meant for it or its users, or as the device says."""
    forbidding = {
        configuration.pk
        for configuration in WithheldConfiguration.objects.filter(
            retired_at=None, payload_types__contains=RESTRICTIONS
        ).select_related("profile")
        if _forbids(configuration)
    }
    said = set(
        Told.objects.filter(
            device__in=keys,
            subject=Subject.RESTRICTIONS,
            enrollment=F("device__enrollment"),
            **{f"facts__{MODIFICATION}": False},
        ).values_list("device_id", flat=True)
    )
    if not forbidding:
        return said
    meant = wanted.configurations(keys)
    of_users = {
        key
        for key, theirs in wanted.of_users(keys).items()
        if any(configuration.pk in forbidding for configuration, _ in theirs)
    }
    on_macs = Device.objects.filter(pk__in=of_users, is_shared_ipad=False)  # others ignore it
    return (
        said
        | {key for key, configurations in meant.items() if forbidding & set(configurations)}
        | set(on_macs.values_list("pk", flat=True))
    )


def _forbids(configuration: WithheldConfiguration) -> bool:
    content = profiles.read(bytes(configuration.profile.payload)).content
    payloads = content.get("PayloadContent")
    return any(
        isinstance(payload, dict)
        and payload.get("PayloadType") == RESTRICTIONS
        and payload.get(MODIFICATION) is False
        for payload in (payloads if isinstance(payloads, list) else [])
    )


def _installed(keys: set[int]) -> QuerySet[Enforcement]:
    return (
        Enforcement.objects.live()
        .filter(device__in=keys)
        .exclude(state__in=[State.PUSHED.value, State.REFUSED.value])
    )


def _in_force(keys: set[int], policy_id: int | None) -> Requirements | None:
    """The one version that all of them have; None where they differ, or one has none."""
    rows = _installed(keys).filter(policy=policy_id)
    versions = set(rows.values_list("version_id", flat=True))
    if len(versions) != 1 or rows.count() < len(keys):
        return None
    return from_json(PolicyVersion.objects.get(pk=versions.pop()).requirements)


def _others(keys: set[int], policy_id: int | None) -> tuple[Requirements, ...]:
    if policy_id is None:
        return ()
    versions = PolicyVersion.objects.filter(
        pk__in=_installed(keys).exclude(policy=policy_id).values("version")
    ).order_by("pk")
    return tuple(from_json(version.requirements) for version in versions[:MOST_OTHERS])
