"""Configurations come in by an author alone, are kept as they are, and are refused in words."""

import pytest

from devices.models import AuditEntry, Profile
from passcodes import configurations
from passcodes.models import WithheldConfiguration
from staff.permissions import Forbidden
from tests.house import House
from tests.scenes import STRICT, profile, published, wifi


def test_an_upload_is_kept_byte_for_byte_and_told(house: House) -> None:
    data = profile()
    configuration = configurations.upload(
        "Wi-Fi", data, withdraw_on_regression=True, by=house.author
    )
    assert bytes(configuration.profile.payload) == data
    assert configuration.payload_types == ["com.apple.wifi.managed"]
    assert configuration.withdraw_on_regression
    assert AuditEntry.objects.get(verb="configuration.upload").actor == house.author


def test_an_upload_that_cannot_be_is_refused_in_words(
    house: House,
) -> None:
    version = published(house, STRICT)
    configurations.upload("Wi-Fi", profile(), by=house.author)
    assert version.policy.identifier
    refusals = {
        "not a configuration profile": ("X", b"hello"),
        "Choose another name": ("Wi-Fi", profile("com.example.other")),
        "replace each other": ("Second", profile()),
        "that of a passcode policy": ("Third", profile(version.policy.identifier)),
    }
    for words, (name, data) in refusals.items():
        with pytest.raises(configurations.Refused, match=words):
            configurations.upload(name, data, by=house.author)
    assert WithheldConfiguration.objects.count() == 1


def test_a_retired_upload_may_be_uploaded_again(house: House) -> None:
    configuration = wifi(house)
    data = bytes(configuration.profile.payload)
    configurations.retire(configuration.pk, by=house.author)
    again = configurations.upload("Wi-Fi again", data, by=house.author)
    assert again.profile == configuration.profile
    assert Profile.objects.filter(identifier="com.example.wifi").count() == 1


@pytest.mark.parametrize("who", ["helpdesk", "approver", "auditor", "admin", "outsider"])
def test_only_an_author_uploads_and_assigns(house: House, who: str) -> None:
    person = getattr(house, who)
    with pytest.raises(Forbidden):
        configurations.upload("Mine", profile(), by=person)
    configuration = wifi(house)
    with pytest.raises(Forbidden):
        configurations.assign(configuration.pk, by=person)
    with pytest.raises(Forbidden):
        configurations.retire(configuration.pk, by=person)
