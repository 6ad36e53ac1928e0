"""A new key for the vault: every token is sealed anew, none is lost, and the old key opens nothing."""

import signal
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.conf import settings
from django.utils import timezone

from devices import sealing
from devices.models import AuditEntry, Device
from devices.rules.secret import Secret
from passcodes import escrow
from passcodes.models import EscrowedToken, TokenBox
from tests import clears
from tests.clears import Vault
from tests.own_database import own_database
from tests.own_process import of_the_vault, run
from tests.vault.test_command import vault
from vault import keyring, resealing
from vault.keyring import Keyring
from vault.resealing import Count

__all__ = ["own_database", "vault"]
pytestmark = pytest.mark.usefixtures("own_database")  # other processes see what it holds

TOKENS = 2_000
# The rotation, gone in the middle of its second batch: written, and not committed.
KILLED = """
import os, signal
import django
django.setup()
from django.core.management import call_command
from vault import resealing
real, calls = resealing._write, []
def killed(*args):
    calls.append(real(*args))
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return calls[-1]
resealing._write = killed
call_command("vault_rotate")
"""


def many(count: int) -> None:
    """Devices with a token each, sealed as the door seals them."""
    key = sealing.public_key(settings.VAULT_PUBLIC_KEY)
    devices = Device.objects.bulk_create(
        Device(udid=f"UDID-{n}", serial=f"SERIAL{n}", product_name="iPhone16,1")
        for n in range(count)
    )
    kept = EscrowedToken.objects.bulk_create(
        EscrowedToken(
            device=device,
            enrollment=uuid4(),
            identity=clears.IDENTITY,
            udid=device.udid,
            serial=device.serial,
            model=device.product_name,
            key=sealing.key_id(key),
            received_at=timezone.now(),
        )
        for device in devices
    )
    TokenBox.objects.bulk_create(
        TokenBox(
            token=one,
            key=one.key,
            box=sealing.seal(Secret(plain(one)), to=key, context=escrow.place(one)),
        )
        for one in kept
    )


def plain(kept: EscrowedToken) -> bytes:
    return f"the token of {kept.udid}".encode()


def renewed() -> tuple[Keyring, X25519PrivateKey]:
    """The keyring after a change of keys, and the key that was changed."""
    keys = keyring.load()
    return replace(
        keys, box_key=X25519PrivateKey.generate(), old_keys=(keys.box_key,)
    ), keys.box_key


def with_keys(vault: Vault, keys: Keyring) -> dict[str, str]:
    new = sealing.written(keys.box_key.private_bytes_raw())
    old = ",".join(sealing.written(key.private_bytes_raw()) for key in keys.old_keys)
    return of_the_vault(vault, VAULT_PRIVATE_KEY=new, VAULT_OLD_PRIVATE_KEYS=old)


def opens(box: TokenBox, key: X25519PrivateKey) -> bytes | None:
    """What the mathematics says, whatever key the box names."""
    sealed = bytes(box.box)[sealing.HEAD_LENGTH :]
    try:
        return sealing.SUITE.decrypt(sealed, key, info=escrow.place(box.token))
    except InvalidTag:
        return None


def test_killed_twice_half_way_it_loses_no_token(vault: Vault) -> None:
    many(TOKENS)
    keys, old = renewed()
    for turn in (1, 2):
        ended = run(with_keys(vault, keys), "-c", KILLED)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert resealing.left(keys) == TOKENS - turn * resealing.BATCH
    ended = run(with_keys(vault, keys), "manage.py", "vault_rotate")
    assert ended.returncode == 0, ended.stderr
    assert "Sealed anew: 1000. Do not open: 0. Left: 0." in ended.stdout
    boxes = list(TokenBox.objects.select_related("token"))
    assert len(boxes) == TOKENS
    assert all(opens(box, keys.box_key) == plain(box.token) for box in boxes)
    assert all(opens(box, old) is None for box in boxes)
    assert {box.key for box in boxes} == {box.token.key for box in boxes} == {keys.key_id}
    told = AuditEntry.objects.filter(verb="escrow.resealed").values_list("facts", flat=True)
    assert sum(facts["tokens"] for facts in told) == TOKENS
    assert "the token of" not in ended.stdout + ended.stderr


def test_what_opens_with_no_key_is_counted_and_stays_as_it_is(vault: Vault) -> None:
    many(3)
    keys, _ = renewed()
    spoilt = TokenBox.objects.order_by("pk")[1]
    TokenBox.objects.filter(pk=spoilt.pk).update(box=bytes(spoilt.box)[:-1] + b"\0")
    before = bytes(TokenBox.objects.get(pk=spoilt.pk).box)
    assert resealing.reseal(keys) == Count(resealed=2, not_opened=1, left=1)
    assert bytes(TokenBox.objects.get(pk=spoilt.pk).box) == before
    ended = run(with_keys(vault, keys), "manage.py", "vault_rotate")
    assert ended.returncode == 1
    assert "1 are still sealed to another key" in ended.stderr


def test_without_the_old_key_nothing_is_touched() -> None:
    many(2)
    keys, old = renewed()
    assert resealing.reseal(replace(keys, old_keys=())) == Count(0, 2, 2)
    assert all(opens(box, old) for box in TokenBox.objects.select_related("token"))


def test_a_box_that_was_changed_meanwhile_is_not_overwritten() -> None:
    many(1)
    keys, _ = renewed()
    box = TokenBox.objects.get()
    assert resealing._write(keys.key_id, [(box.pk, b"what it was before", b"new")]) == []
    assert TokenBox.objects.get().box == box.box


def test_while_both_keys_are_there_the_vault_opens_with_either(tmp_path: Path) -> None:
    many(2)
    keys, old = renewed()
    resealing.reseal(keys)
    [box, *_] = TokenBox.objects.all()
    assert keys.key_for(bytes(box.box)) is keys.box_key
    sealed_before = sealing.seal(Secret(b"x"), to=old.public_key(), context=b"")
    assert keys.key_for(sealed_before) is old
