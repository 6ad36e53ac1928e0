"""The configurations that are withheld: uploaded, meant for devices or for users, retired by people.

What is held back from whom, and why, is `gate.py`'s to say.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from devices import audit
from devices.models import Device, DeviceGroup, DeviceUser, Profile
from devices.rules import channels, payload_channels, profiles
from devices.rules.channels import Channel, Platform
from devices.rules.profiles import ProfileFacts
from passcodes import gate, planning, scope, wanted
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
    for_users: bool = False,
    by: User,
) -> WithheldConfiguration:
    """Keep a configuration profile that is to be held back; or Refused, with what is wrong in it."""
    permissions.require(by, "passcodes.add_withheldconfiguration")
    try:
        facts = profiles.read(data)
    except profiles.Refused as refused:
        raise Refused(str(refused)) from None
    if for_users:
        _is_for_users(facts, installed_policy_is_enough=installed_policy_is_enough)
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
        for_users=for_users,
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
        for_users=for_users,
    )
    return configuration


@transaction.atomic
def assign(
    configuration_id: int,
    *,
    group_ids: Collection[int] = (),
    device_ids: Collection[int] = (),
    user_ids: Collection[int] = (),
    except_ids: Collection[int] = (),
    by: User,
) -> WithheldConfiguration:
    """Mean the configuration for exactly these; others lose it. Where it was refused, it is offered anew.

    One that is for users goes to all users of these groups and devices, and to these users. Members of
    `except_ids` do not get it by a group; a device or a user that is named gets it all the same.
    """
    permissions.require(by, "passcodes.assign_withheldconfiguration")
    configuration = WithheldConfiguration.objects.select_related("profile").get(
        pk=configuration_id
    )
    if configuration.retired_at:
        raise Refused(f"«{configuration}» is retired. Upload it again.")
    if user_ids and not configuration.for_users:
        raise Refused(f"«{configuration}» is for devices. Upload it for users to give it to one.")
    before = Aim.of(configuration)
    after = Aim(
        frozenset(group_ids), frozenset(device_ids), frozenset(user_ids), frozenset(except_ids)
    )
    if both := after.groups & after.excluded:
        names = ", ".join(map(str, DeviceGroup.objects.filter(pk__in=both)))
        raise Refused(f"{names}: a group cannot be given it and be left out of it.")
    scope.require(
        by,
        device_ids=before.differing(after).named() | before.newly_left_out(after),
        group_ids=(before.groups ^ after.groups) | (before.excluded ^ after.excluded),
    )
    devices = Device.objects.locked_in_order(before.together(after).named())
    if reason := impossible(configuration, after.without(before)):
        raise Refused(reason)
    configuration.groups.set(group_ids)
    configuration.devices.set(device_ids)
    configuration.users.set(user_ids)
    configuration.excluded.set(except_ids)
    Release.objects.filter(
        configuration=configuration, state=ReleaseState.FAILED, delivered_at=None
    ).update(state=ReleaseState.WITHHELD, since=timezone.now())
    audit.record(
        "configuration.assign",
        actor=by,
        configuration=configuration.pk,
        groups=sorted(group_ids),
        devices=sorted(device_ids),
        users=sorted(user_ids),
        except_groups=sorted(except_ids),
    )
    gate.review_all(devices)
    return configuration


@dataclass(frozen=True, slots=True)
class Aim:
    """Whom a configuration is meant for, as it was said."""

    groups: frozenset[int]
    devices: frozenset[int]
    users: frozenset[int]
    excluded: frozenset[int] = frozenset()  # groups whose members do not get it by a group

    @classmethod
    def of(cls, configuration: WithheldConfiguration) -> "Aim":
        return cls(
            *(
                frozenset(named.values_list("pk", flat=True))
                for named in (
                    configuration.groups,
                    configuration.devices,
                    configuration.users,
                    configuration.excluded,
                )
            )
        )

    def differing(self, other: "Aim") -> "Aim":
        return Aim(
            self.groups ^ other.groups, self.devices ^ other.devices, self.users ^ other.users
        )

    def together(self, other: "Aim") -> "Aim":
        return Aim(
            self.groups | other.groups, self.devices | other.devices, self.users | other.users
        )

    def without(self, other: "Aim") -> "Aim":
        return Aim(
            self.groups - other.groups, self.devices - other.devices, self.users - other.users
        )

    def newly_left_out(self, other: "Aim") -> set[int]:
        """Whoever one of the two leaves out and the other does not, of the groups of both."""
        return wanted.spared(self.groups | other.groups, self.excluded ^ other.excluded)

    def named(self) -> set[int]:
        """Every device that this says something about, also those that are left out."""
        members = Device.objects.filter(groups__in=self.groups)
        theirs = Device.objects.filter(users__in=self.users)
        return {
            *self.devices,
            *members.values_list("pk", flat=True),
            *theirs.values_list("pk", flat=True),
        }

    def whom(self, *, for_users: bool) -> set[int]:
        """The devices, or the users, that a configuration meets by this now."""
        devices = planning.reached(self.devices, self.groups, self.excluded)
        if not for_users:
            return devices
        found = DeviceUser.objects.there().filter(Q(device__in=devices) | Q(pk__in=self.users))
        return set(found.values_list("pk", flat=True))


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


def impossible(configuration: WithheldConfiguration, aim: Aim) -> str | None:
    """Why somebody who is newly chosen by name cannot be given it; None where all can."""
    if not configuration.for_users:
        return None
    devices = Device.objects.filter(pk__in=aim.devices).order_by("pk")
    chosen = DeviceUser.objects.filter(pk__in=aim.users).select_related("device").order_by("pk")
    reasons = {
        **{str(device): _why_not_on(configuration, device) for device in devices},
        **{f"{user} on {user.device}": _why_not_to(configuration, user) for user in chosen},
    }
    return " ".join(f"{who}: {reason}" for who, reason in reasons.items() if reason) or None


def _is_for_users(facts: ProfileFacts, *, installed_policy_is_enough: bool) -> None:
    """Refused where no user could ever be given it."""
    if reason := payload_channels.impossible(facts.payload_types):
        raise Refused(reason)
    if facts.content.get("PayloadScope") == "System":
        raise Refused(
            "The profile says that it is for the whole system (PayloadScope), not for a user. "
            "Set its PayloadScope to User, or upload it for devices."
        )
    if not installed_policy_is_enough:
        raise Refused(
            "Users with a channel of their own are on Macs and Shared iPads, which cannot say "
            "whether they comply: it would wait for ever. Say that the policy is enough there, or "
            "upload it for devices."
        )


def _why_not_to(configuration: WithheldConfiguration, user: DeviceUser) -> str | None:
    if user.has_left:
        return "There is no channel and no push token for them now. They must log in first."
    return _why_not_on(configuration, user.device)


def _why_not_on(configuration: WithheldConfiguration, device: Device) -> str | None:
    """Why no user of the device could be given it."""
    return channels.refusal(
        "InstallProfile",
        platform=Platform(device.platform),
        channel=Channel.USER,
        shared_ipad=device.is_shared_ipad,
        user_enrollment=device.is_user_enrollment,
        access_rights=device.access_rights,
        supervised=device.is_supervised,
    ) or payload_channels.refusal(configuration.payload_types, shared_ipad=device.is_shared_ipad)
