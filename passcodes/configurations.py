"""The configurations that are withheld: uploaded, meant for groups and devices, retired by people.

What is held back from which device, and why, is `gate.py`'s to say.
"""

import hashlib
from collections.abc import Collection

from django.db import transaction
from django.utils import timezone

from devices import audit
from devices.models import Device, Profile
from devices.rules import profiles
from passcodes import gate, scope
from passcodes.models import Policy, Release, WithheldConfiguration
from passcodes.models.gate import ReleaseState
from staff import permissions
from staff.models import User


class Refused(Exception):
    """The step is not open; the message says why, for a person to read."""


@transaction.atomic
def upload(
    name: str,
    data: bytes,
    *,
    withdraw_on_regression: bool = False,
    installed_policy_is_enough: bool = False,
    by: User,
) -> WithheldConfiguration:
    """Keep a configuration profile that is to be held back; or Refused, with what is wrong in it."""
    permissions.require(by, "passcodes.add_withheldconfiguration")
    try:
        facts = profiles.read(data)
    except profiles.Refused as refused:
        raise Refused(str(refused)) from None
    name = name.strip() or facts.name
    if WithheldConfiguration.objects.filter(name=name).exists():
        raise Refused(f"There is a configuration «{name}» already. Choose another name.")
    if Policy.objects.filter(identifier=facts.identifier).exists():
        raise Refused(
            f"The identifier {facts.identifier} is that of a passcode policy, which the profile "
            "would replace on devices. Give the profile another identifier."
        )
    twin = WithheldConfiguration.objects.filter(
        profile__identifier=facts.identifier, retired_at=None
    ).first()
    if twin:
        raise Refused(
            f"«{twin}» has the identifier {facts.identifier} as well, so the two would replace "
            "each other on devices. Retire that one first, or give this one another identifier."
        )
    profile, _ = Profile.objects.get_or_create(
        digest=hashlib.sha256(data).hexdigest(),
        defaults={
            "identifier": facts.identifier,
            "payload_uuid": facts.uuid,
            "name": facts.name,
            "payload": data,
        },
    )
    configuration = WithheldConfiguration.objects.create(
        name=name,
        profile=profile,
        payload_types=list(facts.payload_types),
        withdraw_on_regression=withdraw_on_regression,
        installed_policy_is_enough=installed_policy_is_enough,
        uploaded_by=by,
    )
    audit.record(
        "configuration.upload",
        actor=by,
        configuration=configuration.pk,
        name=name,
        profile=profile.digest,
        payload_types=configuration.payload_types,
        withdraw_on_regression=withdraw_on_regression,
        installed_policy_is_enough=installed_policy_is_enough,
    )
    return configuration


@transaction.atomic
def assign(
    configuration_id: int,
    *,
    group_ids: Collection[int] = (),
    device_ids: Collection[int] = (),
    by: User,
) -> WithheldConfiguration:
    """Mean the configuration for exactly these groups and devices; others lose it.

    Where a device had refused it, it is offered once more.
    """
    permissions.require(by, "passcodes.assign_withheldconfiguration")
    configuration = WithheldConfiguration.objects.select_related("profile").get(
        pk=configuration_id
    )
    if configuration.retired_at:
        raise Refused(f"«{configuration}» is retired. Upload it again.")
    groups_before = set(configuration.groups.values_list("pk", flat=True))
    devices_before = set(configuration.devices.values_list("pk", flat=True))
    groups_changed = groups_before ^ set(group_ids)
    touched = set(
        Device.objects.filter(groups__in=groups_before | set(group_ids)).values_list(
            "pk", flat=True
        )
    )
    touched |= devices_before | set(device_ids)
    changed = set(Device.objects.filter(groups__in=groups_changed).values_list("pk", flat=True))
    changed |= devices_before ^ set(device_ids)
    scope.require(by, device_ids=changed, group_ids=groups_changed)
    devices = Device.objects.locked_in_order(touched)
    configuration.groups.set(group_ids)
    configuration.devices.set(device_ids)
    Release.objects.filter(
        configuration=configuration, state=ReleaseState.FAILED, delivered_at=None
    ).update(state=ReleaseState.WITHHELD, since=timezone.now())
    audit.record(
        "configuration.assign",
        actor=by,
        configuration=configuration.pk,
        groups=sorted(group_ids),
        devices=sorted(device_ids),
    )
    gate.review_all(devices)
    return configuration


@transaction.atomic
def retire(configuration_id: int, *, by: User) -> WithheldConfiguration:
    """Take the configuration out of use, and back from every device that has it."""
    permissions.require(by, "passcodes.assign_withheldconfiguration")
    configuration = WithheldConfiguration.objects.get(pk=configuration_id)
    if configuration.retired_at:
        raise Refused(f"«{configuration}» is retired already.")
    device_ids = set(
        configuration.releases.exclude(state=ReleaseState.ENDED).values_list(
            "device_id", flat=True
        )
    )
    group_ids = set(configuration.groups.values_list("pk", flat=True))
    scope.require(by, device_ids=device_ids, group_ids=group_ids)
    devices = Device.objects.locked_in_order(device_ids)
    configuration.retired_at = timezone.now()
    configuration.save(update_fields=["retired_at"])
    audit.record("configuration.retire", actor=by, configuration=configuration.pk)
    gate.review_all(devices)
    return configuration
