"""The vault's keys are read in one place, and shown nowhere."""

import pytest
from pytest_django.fixtures import Settings

from devices import sealing
from devices.sealing import NotAKey
from vault import keyring


def test_the_keys_fit_what_the_others_hold(settings: Settings) -> None:
    keys = keyring.load()
    assert keys.box_key.public_key() == sealing.public_key(settings.VAULT_PUBLIC_KEY)
    assert keys.door_key == sealing.private_key(settings.DOOR_PRIVATE_KEY).public_key()
    verify = keys.order_key.public_key().public_bytes_raw()
    assert sealing.written(verify) == settings.VAULT_VERIFY_KEY


def test_a_key_that_is_none_is_said_without_quoting_it(settings: Settings) -> None:
    settings.VAULT_ORDER_KEY = "not a key at all"
    with pytest.raises(NotAKey) as problem:
        keyring.load()
    assert "not a key at all" not in str(problem.value)


def test_a_keyring_prints_no_key(settings: Settings) -> None:
    keys = keyring.load()
    for words in (repr(keys), str(keys), f"{keys}"):
        assert settings.VAULT_ORDER_KEY not in words
        assert keys.box_key.private_bytes_raw().hex() not in words
