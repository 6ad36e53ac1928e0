"""The editor of a version: what it says while somebody types, and what a policy can begin with."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from passcodes import policies
from passcodes.models import Policy, PolicyVersion
from passcodes.rules.presets import BY_KEY, PRESETS
from tests.house import House
from tests.scenes import LOOSE, published

SIX = {"force_pin": "true", "min_length": "6", "max_inactivity": "5"}


@pytest.fixture
def author(house: House) -> Client:
    client = Client()
    client.force_login(house.author)
    return client


def text(response: Any) -> str:
    """What a person reads, on one line."""
    plain = re.sub(r"<[^>]*>", " ", response.content.decode())
    return re.sub(r"\s+", " ", plain).replace("&#x27;", "'").replace(" ,", ",").replace(" .", ".")


def test_the_preview_says_in_words_what_stands_in_the_fields_and_keeps_nothing(
    house: House, author: Client
) -> None:
    version = published(house, LOOSE)
    address = f"{reverse('admin:policyversion_preview')}?policy={version.policy_id}"
    said = text(author.post(address, {**SIX, "policy": version.policy_id}))
    assert "6 characters at least. Locks after 5 minutes." in said
    assert "Against version 1: Shortest length stricter, Locks by itself after stricter." in said
    assert PolicyVersion.objects.count() == 1
    wrong = text(author.post(address, {"policy": version.policy_id, "min_length": "99"}))
    assert "16" in wrong
    assert "The words below are those of before." in wrong


def test_without_a_script_a_button_shows_the_words_and_keeps_nothing(
    house: House, author: Client
) -> None:
    policy = policies.create("Tills", by=house.author)
    draft = policies.draft(policy, LOOSE, by=house.author)
    address = reverse("admin:passcodes_policyversion_change", args=[draft.pk])
    said = text(author.post(address, {**SIX, "preview": ""}))
    assert "6 characters at least. Locks after 5 minutes." in said
    draft.refresh_from_db()
    assert draft.requirements == LOOSE.to_json()
    first = author.post(
        f"{reverse('admin:passcodes_policyversion_add')}?policy={policy.pk}",
        {**SIX, "preview": ""},
    )
    assert first.status_code == 302  # there is a draft already


def test_a_policy_can_begin_with_what_others_have_written_down(author: Client) -> None:
    add = reverse("admin:passcodes_policy_add")
    offered = text(author.get(add))
    for preset in PRESETS:
        assert preset.name in offered
        assert f"{preset.source}, {preset.dated}" in offered
    made = author.post(add, {"name": "Phones", "preset": "cis"}, follow=True)
    said = text(made)
    assert "Locks after 2 minutes. 6 wrong tries at most." in said
    assert "As CIS Apple iOS 17 Benchmark" in said
    assert not PolicyVersion.objects.exists()
    policy = Policy.objects.get()
    address = f"{reverse('admin:passcodes_policyversion_add')}?policy={policy.pk}&preset=nist"
    fields = re.findall(r'name="(\w+)" value="(\d+)"', author.get(address).content.decode())
    assert ("max_failed_attempts", "10") in fields
    assert BY_KEY["nist"].requirements.max_failed_attempts == 10


def test_a_preset_that_nobody_knows_is_refused(author: Client) -> None:
    author.post(reverse("admin:passcodes_policy_add"), {"name": "Phones", "preset": "unknown"})
    assert not Policy.objects.exists()
