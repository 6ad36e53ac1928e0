"""By which way each device has a policy: on the policy's, the rollout's and the device's page."""

import re
from typing import Any

from django.conf import settings
from django.test import Client, override_settings
from django.urls import reverse

from passcodes import rollout
from staff.models import Scope
from tests.house import House
from tests.scenes import STRICT, WEAK, published, rows

OLD = "Its system is older than 17.0."


def text(response: Any) -> str:
    """What a person reads, on one line."""
    plain = re.sub(r"<[^>]*>", " ", response.content.decode())
    return re.sub(r"\s+", " ", plain).replace("&#x27;", "'").replace(" ,", ",").replace(" .", ".")


@override_settings(DECLARATIVE=True)
def test_each_page_says_the_way_and_why_and_the_list_is_filtered_by_it(house: House) -> None:
    assert settings.DECLARATIVE
    [new] = rows(1, os_version="17.4")
    [old] = rows(1, os_version="16.7")
    group = house.group("Tills")
    group.devices.add(new, old)
    version = published(house, STRICT)
    one = rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    client = Client()
    client.force_login(house.author)
    for page in (
        reverse("admin:passcodes_policy_change", args=[version.policy_id]),
        reverse("admin:passcodes_rollout_change", args=[one.pk]),
    ):
        said = text(client.get(page))
        assert "As a declaration iOS 17.4 takes a policy so. 1" in said
        assert f"As a profile {OLD} 1" in said
    device = text(client.get(reverse("admin:devices_device_change", args=[old.pk])))
    assert f"Way As a profile. {OLD}" in device
    assert "Passcode set Not known" in device

    for devices in (
        reverse("admin:rollout_devices", args=[one.pk]),
        reverse("admin:policy_devices", args=[version.policy_id]),
    ):
        everyone = text(client.get(devices))
        assert f"{new} " in everyone
        assert f"{old} " in everyone
        by_profile = text(client.get(devices, {"way": "profile"}))
        assert f"{old} " in by_profile
        assert f"{new} " not in by_profile
        assert "No device." in text(client.get(devices, {"way": "to_profile"}))
        assert "No device." in text(client.get(devices, {"state": "overdue"}))

    Scope.objects.filter(user=house.author).update(everything=False)
    assert "No device." in text(client.get(reverse("admin:rollout_devices", args=[one.pk])))


@override_settings(DECLARATIVE=True)
def test_the_hour_says_whether_the_device_is_asked_or_tells_by_itself(house: House) -> None:
    group = house.group("Tills")
    tells, is_asked = (
        house.device(house.enrolled_phone(passcode=WEAK, group=group, declarative=declarative))
        for declarative in (True, False)
    )
    rollout.push(published(house, STRICT).pk, group_ids=[group.pk], by=house.author)
    while house.woken():
        pass
    client = Client()
    client.force_login(house.author)
    for device, expected in ((tells, True), (is_asked, False)):
        page = text(client.get(reverse("admin:devices_device_change", args=[device.pk])))
        assert ("The device says by itself when it complies." in page) == expected
        assert ("Asked next at" in page) != expected
