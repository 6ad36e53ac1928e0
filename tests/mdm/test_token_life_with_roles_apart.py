"""Rotation, self-test, restore, shredding and the two pages, each with the rights of its own process."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.test import Client
from django.utils import timezone

from devices.models import Device
from devices.rules.secret import Secret
from passcodes import coverage, escrow, it_policy, shredding
from passcodes.models import EscrowedToken, ItPolicy, TokenBox
from passcodes.models.escrow import TokenState
from staff.models import User
from tests import clears
from tests.house import PASSKEYS, House
from tests.mdm.test_grants import granted, role
from vault import keyring, resealing, restoring, selftest

__all__ = ["granted"]


@pytest.fixture
def phone(house: House, granted: Iterator[None]) -> Device:
    """It has sent two tokens: the first is retired."""
    made = clears.with_token()
    escrow.keep(made, Secret(clears.TOKEN), certificate_digest=clears.IDENTITY)
    return made


def test_the_vault_may_seal_anew_and_try(phone: Device) -> None:
    keys = keyring.load()
    new = replace(keys, box_key=X25519PrivateKey.generate(), old_keys=(keys.box_key,))
    with role("vault"):
        assert resealing.reseal(new) == resealing.Count(resealed=2, not_opened=0, left=0)
        assert selftest.run(new).word == "yes"


def test_the_vault_may_void_what_was_open_when_it_is_restored(phone: Device) -> None:
    asker, signer = (
        User.objects.create_superuser(name, password="x") for name in ("helpdesk", "approver")
    )
    for person in (asker, signer):
        PASSKEYS[person.username].row(person)
    asked = clears.approve(clears.ask(phone, by=asker).pk, by=signer)
    with role("vault"):
        assert restoring._void() == 1
    assert clears.reread(asked).state == "void"


def test_the_worker_may_shred(phone: Device) -> None:
    retired = EscrowedToken.objects.filter(state=TokenState.RETIRED)
    retired.update(retired_at=timezone.now() - timedelta(days=31))
    with role("worker"):
        assert shredding.shred_due() == 1
    assert TokenBox.objects.count() == 1


def test_the_staff_site_may_show_both_pages(house: House, phone: Device) -> None:
    client = Client()
    client.force_login(house.admin)
    with role("staff"):
        assert coverage.of(Device.objects.all()).total == 1
        assert client.get("/coverage/").status_code == 200
        assert client.post("/coverage/csv/").status_code == 200
        it_policy.write("We keep tokens to help.", after=0, by=house.admin)
        assert client.get("/it-policy/").status_code == 200
    assert ItPolicy.objects.count() == 1
