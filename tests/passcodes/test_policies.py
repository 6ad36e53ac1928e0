"""Drafts change, published versions never do."""

import plistlib

import pytest
from django.db import DatabaseError, transaction

from devices.models import AuditEntry
from passcodes import policies
from passcodes.models import PolicyVersion
from passcodes.rules import requirements
from passcodes.rules.requirements import Requirements
from staff.permissions import Forbidden
from tests.house import House
from tests.scenes import LOOSE, STRICT, published


def test_versions_are_numbered_from_one(house: House) -> None:
    first = published(house, LOOSE)
    second = published(house, STRICT, policy=first.policy)
    assert (first.number, second.number) == (1, 2)


def test_a_published_version_has_a_profile_that_replaces_the_one_before(house: House) -> None:
    first = published(house, LOOSE)
    second = published(house, STRICT, policy=first.policy)
    assert first.profile is not None
    assert second.profile is not None
    before = plistlib.loads(bytes(first.profile.payload))
    after = plistlib.loads(bytes(second.profile.payload))
    assert after["PayloadIdentifier"] == before["PayloadIdentifier"] == first.policy.identifier
    assert after["PayloadUUID"] != before["PayloadUUID"]
    assert after["PayloadUUID"] == second.profile.payload_uuid
    assert after["PayloadContent"][0]["minLength"] == 8


def test_two_policies_have_two_identifiers(house: House) -> None:
    one, other = (policies.create(name, by=house.author) for name in ("One", "Other"))
    assert one.identifier != other.identifier


def test_a_draft_may_change_until_it_is_published(house: House) -> None:
    policy = policies.create("Phones", by=house.author)
    draft = policies.draft(policy, LOOSE, note="first try", by=house.author)
    changed = policies.change_draft(draft.pk, STRICT, note="second try", by=house.author)
    assert requirements.from_json(changed.requirements) == STRICT
    policies.publish(draft.pk, by=house.author)
    with pytest.raises(policies.Refused, match="never changes"):
        policies.change_draft(draft.pk, LOOSE, by=house.author)
    with pytest.raises(policies.Refused, match="never changes"):
        policies.publish(draft.pk, by=house.author)
    with pytest.raises(policies.Refused, match="never changes"):
        policies.discard_draft(draft.pk, by=house.author)


def test_the_database_itself_keeps_a_published_version_as_it_is(house: House) -> None:
    version = published(house, LOOSE)
    found = PolicyVersion.objects.filter(pk=version.pk)
    with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
        found.update(requirements={})
    with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
        found.delete()
    assert requirements.from_json(found.get().requirements) == LOOSE


def test_a_policy_has_one_draft_at_a_time(house: House) -> None:
    policy = policies.create("Phones", by=house.author)
    draft = policies.draft(policy, LOOSE, by=house.author)
    with pytest.raises(policies.Refused, match="is a draft already"):
        policies.draft(policy, STRICT, by=house.author)
    policies.discard_draft(draft.pk, by=house.author)
    assert policies.draft(policy, STRICT, by=house.author).number == 1


def test_a_policy_needs_a_name_of_its_own(house: House) -> None:
    policies.create("Phones", by=house.author)
    with pytest.raises(policies.Refused, match="already"):
        policies.create(" Phones ", by=house.author)
    with pytest.raises(policies.Refused, match="needs a name"):
        policies.create(" ", by=house.author)


def test_what_is_out_of_range_is_refused_with_its_field(house: House) -> None:
    policy = policies.create("Phones", by=house.author)
    with pytest.raises(requirements.Refused) as refused:
        policies.draft(policy, Requirements(min_length=99), by=house.author)
    assert list(refused.value.problems) == ["min_length"]


@pytest.mark.parametrize("who", ["helpdesk", "approver", "auditor", "admin", "outsider"])
def test_only_an_author_writes_policies(house: House, who: str) -> None:
    person = getattr(house, who)
    policy = policies.create("Phones", by=house.author)
    draft = policies.draft(policy, LOOSE, by=house.author)
    with pytest.raises(Forbidden):
        policies.create("Mine", by=person)
    with pytest.raises(Forbidden):
        policies.draft(policy, LOOSE, by=person)
    with pytest.raises(Forbidden):
        policies.change_draft(draft.pk, STRICT, by=person)
    with pytest.raises(Forbidden):
        policies.discard_draft(draft.pk, by=person)
    with pytest.raises(Forbidden):
        policies.publish(draft.pk, by=person)


def test_publishing_leaves_a_trace_with_the_requirements(house: House) -> None:
    version = published(house, STRICT)
    entry = AuditEntry.objects.get(verb="policy.publish")
    assert entry.actor == house.author
    assert entry.facts["version"] == version.pk
    assert entry.facts["requirements"] == STRICT.to_json()
