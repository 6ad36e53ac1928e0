"""Every test here may ask for the house, the vault, a device with a token in escrow, and the vault's mail."""

import pytest

from devices.models import Device
from tests import clears
from tests.clears import Vault
from tests.house import House, house
from tests.mailbox import mailbox

__all__ = ["house", "mailbox"]


@pytest.fixture
def vault(house: House) -> Vault:
    return Vault(house.vault_state)


@pytest.fixture
def phone(house: House) -> Device:
    return clears.with_token()
