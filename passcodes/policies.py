"""Write passcode policies: a draft may change, a published version never does.

A policy keeps its identifier for ever, so that a new version replaces the old one on a device; each
published version has a PayloadUUID of its own, so that a list of profiles proves which is installed.
"""

import hashlib
import uuid

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from devices import audit
from devices.models import Profile
from passcodes.models import Policy, PolicyVersion
from passcodes.rules import payload
from passcodes.rules.requirements import Requirements, from_json
from staff import permissions
from staff.models import User

IDENTIFIER = "org.passcodes.policy.{}"


class Refused(Exception):
    """The step is not open; the message says why, for a person to read."""


@transaction.atomic
def create(name: str, *, description: str = "", by: User) -> Policy:
    """A new policy, without a version yet."""
    permissions.require(by, "passcodes.add_policy")
    if not name.strip():
        raise Refused("A policy needs a name.")
    if Policy.objects.filter(name=name.strip()).exists():
        raise Refused(f"There is a policy «{name.strip()}» already. Choose another name.")
    policy = Policy.objects.create(
        name=name.strip(),
        description=description,
        identifier=IDENTIFIER.format(uuid.uuid4()),
        made_by=by,
    )
    audit.record("policy.create", actor=by, policy=policy.pk, name=policy.name)
    return policy


@transaction.atomic
def draft(
    policy: Policy, requirements: Requirements, *, note: str = "", by: User
) -> PolicyVersion:
    """The next version of the policy, which may still change."""
    permissions.require(by, "passcodes.add_policyversion")
    Policy.objects.select_for_update().get(pk=policy.pk)  # one draft at a time gets the number
    if open_draft := policy.versions.filter(published_at=None).first():
        raise Refused(f"{open_draft} is a draft already. Change it, or publish it first.")
    last = policy.versions.aggregate(last=Max("number"))["last"] or 0
    version = PolicyVersion.objects.create(
        policy=policy,
        number=last + 1,
        requirements=_checked(requirements),
        note=note,
        made_by=by,
    )
    audit.record(
        "policy.draft",
        actor=by,
        policy=policy.pk,
        version=version.pk,
        requirements=version.requirements,
    )
    return version


@transaction.atomic
def change_draft(
    version_id: int, requirements: Requirements, *, note: str = "", by: User
) -> PolicyVersion:
    """Write a draft anew. What is published is refused."""
    permissions.require(by, "passcodes.change_policyversion")
    version = _locked_draft(version_id)
    version.requirements = _checked(requirements)
    version.note = note
    version.save(update_fields=["requirements", "note"])
    audit.record(
        "policy.change_draft",
        actor=by,
        policy=version.policy_id,
        version=version.pk,
        requirements=version.requirements,
    )
    return version


@transaction.atomic
def discard_draft(version_id: int, *, by: User) -> None:
    """Throw a draft away; its number is free again."""
    permissions.require(by, "passcodes.change_policyversion")
    version = _locked_draft(version_id)
    audit.record("policy.discard_draft", actor=by, policy=version.policy_id, number=version.number)
    version.delete()


@transaction.atomic
def publish(version_id: int, *, by: User) -> PolicyVersion:
    """From now on the version is what it is, and can be pushed. Its profile is made here."""
    permissions.require(by, "passcodes.publish_policyversion")
    version = _locked_draft(version_id)
    requirements = from_json(version.requirements)
    payload_uuid = str(uuid.uuid4()).upper()
    data = payload.profile(
        requirements,
        identifier=version.policy.identifier,
        uuid=payload_uuid,
        name=version.policy.name,
        organisation=settings.ORGANISATION,
    )
    version.profile = Profile.objects.create(
        identifier=version.policy.identifier,
        payload_uuid=payload_uuid,
        name=str(version),
        digest=hashlib.sha256(data).hexdigest(),
        payload=data,
    )
    version.published_at = timezone.now()
    version.published_by = by
    version.save(update_fields=["profile", "published_at", "published_by"])
    audit.record(
        "policy.publish",
        actor=by,
        policy=version.policy_id,
        version=version.pk,
        number=version.number,
        requirements=version.requirements,
        profile=version.profile.digest,
    )
    return version


def _locked_draft(version_id: int) -> PolicyVersion:
    version = (
        PolicyVersion.objects.select_for_update(of=("self",))
        .select_related("policy")
        .get(pk=version_id)
    )
    if version.is_published:
        raise Refused(f"{version} is published and never changes. Draft a new version.")
    return version


def _checked(requirements: Requirements) -> dict[str, bool | int]:
    """The requirements as they are kept, or the rule's Refused with everything that is wrong."""
    return from_json(requirements.to_json()).to_json()
