"""The vault's own memory of codes: across starts, across crashes, under a key of its own."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest

from devices.models import Command, Device
from passcodes import codes, handover
from passcodes.models import Handover, LockScreenCode
from tests.clears import IDENTITY, UDID, Vault
from tests.house import House
from vault import pulse
from vault.journal import Journal, JournalBroken
from vault.memory import Code

pytestmark = pytest.mark.django_db


def made(code: UUID, *, udid: str = UDID, made_at: int = 1000) -> Code:
    return Code(code=code, udid=udid, by=1, made_at=made_at, digest="ab" * 32)


def test_a_code_is_ordered_for_the_devices_own_identity(
    house: House, vault: Vault, phone: Device
) -> None:
    wish = codes.wish(phone.pk, by=house.helpdesk)
    vault.tick()
    wish.refresh_from_db()
    assert wish.state == "ordered"
    assert wish.command is not None
    assert (wish.command.request_type, wish.command.arguments) == ("DeviceLock", {})
    message = handover.unpack(
        wish.command, certificate_digest=IDENTITY, request=wish.pk, udid=UDID
    )
    assert b"Code for the helpdesk" in message.reveal()
    with pytest.raises(handover.OutOfOrder):
        handover.unpack(wish.command, certificate_digest="cd" * 32, request=wish.pk, udid=UDID)
    assert vault.said() == ["code"]
    vault.tick()
    assert vault.said() == ["code"]


def test_t27_an_identity_that_is_swapped_in_the_row_gets_no_code(
    house: House, vault: Vault, phone: Device
) -> None:
    """The order names the identity that the token came with, not the one that the row claims."""
    Device.objects.filter(pk=phone.pk).update(identity="cd" * 32)
    wish = codes.wish(phone.pk, by=house.helpdesk)
    vault.tick()
    wish.refresh_from_db()
    assert wish.state == "dead"
    assert not Handover.objects.exists()


def test_it_remembers_codes_and_tries_across_a_start(vault: Vault) -> None:
    one, other = uuid4(), uuid4()
    with Journal(vault.state) as journal:
        key = journal.pulse_key
        journal.made_code(made(one))
        journal.made_code(made(other, udid="another", made_at=2000))
        journal.tried(one, right=False)
        journal.tried(one, right=False)
        journal.tried(one, right=True)
    with Journal(vault.state) as journal:
        assert journal.pulse_key == key
        kept = journal.code(one)
        assert kept is not None
        assert (kept.wrong, kept.is_proven, kept.is_spent) == (2, True, False)
        assert journal.codes_since(UDID, 999) == 1
        assert journal.codes_since(UDID, 1000) == 0
        assert journal.code(uuid4()) is None


def test_a_code_whose_order_was_lost_is_made_anew_and_the_first_is_worth_nothing(
    house: House, vault: Vault, phone: Device
) -> None:
    wish = codes.wish(phone.pk, by=house.helpdesk)
    vault.tick()
    with Journal(vault.state) as journal:
        first = journal.code(wish.pk)
    # The machine died after the line and before the commit.
    LockScreenCode.objects.filter(pk=wish.pk).update(state="wished", command=None)
    Handover.objects.all().delete()
    Command.objects.all().delete()
    vault.tick()
    with Journal(vault.state) as journal:
        second = journal.code(wish.pk)
    assert first is not None
    assert second is not None
    assert first.digest != second.digest
    assert vault.said() == ["code", "code"]


def test_the_key_is_made_once_and_belongs_to_the_vault_alone(tmp_path: Path) -> None:
    key = pulse.key(tmp_path)
    assert len(key) == 32
    assert pulse.key(tmp_path) == key
    assert not list(tmp_path.glob("*.new"))
    digest = pulse.code_digest(key, made_at=1, udid=UDID, digits="418207")
    assert digest != pulse.code_digest(key, made_at=2, udid=UDID, digits="418207")
    assert digest != pulse.code_digest(key, made_at=1, udid="another", digits="418207")
    assert digest != pulse.code_digest(b"\0" * 32, made_at=1, udid=UDID, digits="418207")


@pytest.mark.parametrize("spoil", ["short", "open"])
def test_a_key_that_cannot_be_trusted_stops_the_vault(vault: Vault, spoil: str) -> None:
    with Journal(vault.state):
        kept = vault.state / pulse.NAME
    if spoil == "short":
        kept.write_bytes(b"short")
    else:
        kept.chmod(0o644)
    with pytest.raises(JournalBroken):
        Journal(vault.state)
