"""What the coverage report counts is what each device's own page says."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from devices.models import Device, DeviceGroup
from devices.rules.channels import ALL_RIGHTS, RIGHT_LOCK
from passcodes import clearing, coverage, custody, escrow
from passcodes.models import EscrowedToken
from staff import permissions
from staff.models import Scope, User
from tests import clears

pytestmark = pytest.mark.django_db


def phone(number: int, *, token: bool = True, **facts: Any) -> Device:
    facts = {
        "udid": f"UDID-{number}",
        "serial": f"S{number}",
        "identity": f"{number:064}",
        **facts,
    }
    return clears.with_token(**facts) if token else clears.device(**facts)


def suspect(device: Device) -> None:
    escrow.suspect(device.tokens.get())


def of_a_former_enrollment(device: Device) -> None:
    device.tokens.update(enrollment=uuid4(), identity="ef" * 32)


def of_a_former_certificate(device: Device) -> None:
    device.tokens.update(identity="ef" * 32)


def retired(device: Device) -> None:
    escrow.retire(device, because="It was enrolled again.")


def in_lost_mode(device: Device) -> None:
    custody.heard(device, True, asked_at=timezone.now())  # noqa: FBT003 - its own word


# What is the matter with a device, and under which word it is counted.
MATTERS: list[tuple[str, dict[str, Any], Callable[[Device], object] | None]] = [
    ("", {}, None),
    ("no_token", {"token": False}, None),
    ("no_token", {}, of_a_former_enrollment),
    ("no_token", {}, retired),
    ("renewed", {}, of_a_former_certificate),
    ("refused", {}, suspect),
    ("no_right", {"access_rights": ALL_RIGHTS - RIGHT_LOCK}, None),
    ("inactive", {"inactive_since": timezone.now()}, None),
    ("unknown_kind", {"platform": "unknown"}, None),
    ("lost", {"lost_at": timezone.now()}, None),
    ("lost_mode", {}, in_lost_mode),
    ("mac", {"platform": "macos"}, None),
    ("tv", {"platform": "tvos"}, None),
    ("shared", {"platform": "ipados", "is_shared_ipad": True}, None),
    ("own", {"is_user_enrollment": True}, None),
]


@pytest.mark.parametrize(("word", "facts", "happens"), MATTERS)
def test_a_device_is_counted_where_its_page_names_an_obstacle(
    word: str, facts: dict[str, Any], happens: Callable[[Device], object] | None
) -> None:
    made = phone(1, **facts)
    if happens:
        happens(made)
    made.refresh_from_db()
    told = coverage.of(Device.objects.all())
    assert [row.reason.word for row in (*told.rows, *told.kinds)] == ([word] if word else [])
    assert bool(clearing.obstacles(made)) == bool(word)
    listed = coverage.only(Device.objects.all(), word) if word else []
    assert list(listed) == ([made] if word else [])


def test_two_of_three_cannot_be_cleared_and_one_of_them_for_two_reasons() -> None:
    phone(1)
    phone(2, token=False)
    phone(3, token=False, lost_at=timezone.now())
    phone(4, platform="macos", token=False)
    phone(5, token=False, enrollment_state="left")
    told = coverage.of(Device.objects.all())
    assert (told.cannot, told.total) == (2, 3)
    assert {row.reason.word: row.count for row in told.rows} == {"no_token": 2, "lost": 1}
    assert [row.words for row in told.rows] == ["have given no token", "is marked lost"]
    assert [(row.reason.word, row.count) for row in told.kinds] == [("mac", 1)]
    assert coverage.only(Device.objects.all(), "any").count() == 2


def test_a_device_in_two_groups_is_counted_once() -> None:
    made = phone(1, token=False)
    phone(2)
    scope = Scope.objects.create(user=User.objects.create(username="region"))
    for name in ("Tills", "Vans"):
        group = DeviceGroup.objects.create(name=name)
        made.groups.add(group)
        scope.groups.add(group)
    seen = permissions.visible(scope.user)
    assert list(seen) == [made]
    assert coverage.of(seen).total == coverage.of(seen).cannot == 1


def test_it_is_one_query_however_many_there_are(
    django_assert_num_queries: Callable[[int], Any],
) -> None:
    for number in range(5):
        phone(number, token=number % 2 == 0)
    EscrowedToken.objects.filter(device__serial="S0").update(state="suspect")
    with django_assert_num_queries(1):
        told = coverage.of(Device.objects.all())
    assert (told.cannot, told.total) == (3, 5)
