"""Any part of what people call a device finds it, and the database does not read the fleet for it."""

import pytest
from django.db import connection

from devices.models import Device
from devices.search import called
from staff.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def phone() -> Device:
    owner = User.objects.create(username="margarete")
    Device.objects.create(udid="another", serial="ZZZZZZZZZZ", name="Lager", user_name="nobody")
    return Device.objects.create(
        udid="00008130-000A1B2C3D4E5F60",
        serial="F2LX9K7QPQ",
        name="Kasse 7, Straße",
        user_name="j.keller@example.org",
        asset_tag="IT-0042",
        assigned_to=owner,
    )


@pytest.mark.parametrize(
    "words",
    [
        "F2LX9K7QPQ",
        "k7qp",
        "QPQ",
        "kasse",
        "straße",
        "e 7",
        "J.KELLER",
        "@example",
        "3d4e5f60",
        "it-0042",
        "garet",
        "7",
        "keller kasse",
        "margarete f2l 00",
    ],
)
def test_any_part_of_what_it_is_called_finds_it(phone: Device, words: str) -> None:
    assert list(called(Device.objects.all(), words)) == [phone]


@pytest.mark.parametrize(
    "words", ["f2lx9k8", "kasse lager", "%", "_eller", "keller%", "k7 qpx", "\\"]
)
def test_what_is_not_in_it_does_not(phone: Device, words: str) -> None:
    assert not called(Device.objects.all(), words)


def test_no_word_finds_all(phone: Device) -> None:
    assert called(Device.objects.all(), "  ").count() == 2


@pytest.mark.parametrize("words", ["keller", "margarete", "keller kasse"])
def test_the_rows_are_found_by_an_index(phone: Device, words: str) -> None:
    Device.objects.bulk_create(
        Device(udid=f"UDID-{number:06}", serial=f"{number:09}X", name=f"iPhone {number}")
        for number in range(3000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE devices_device, devices_devicewords")
    found = called(Device.objects.all(), words)
    assert list(found) == [phone]
    assert "devices_by_gram" in found.explain()
    assert "Seq Scan on devices_devicewords" not in found.explain()
