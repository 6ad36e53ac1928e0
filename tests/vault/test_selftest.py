"""The vault tries by itself whether tokens open; it says yes or no and how many, and nothing else."""

import threading
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.core.management import CommandError, call_command

from devices.models import AuditEntry
from mdm.desk import alarms
from passcodes.models import TokenBox
from tests import clears
from vault import keyring, loop, selftest
from vault.journal import Journal

pytestmark = pytest.mark.django_db


def said() -> AuditEntry:
    return AuditEntry.objects.get(verb="vault.selftest")


def test_yes_when_all_that_were_tried_open() -> None:
    clears.with_token()
    out = StringIO()
    call_command("vault_selftest", stdout=out)
    assert out.getvalue() == "yes: 1 of 1 tried open, of 1 in escrow\n"
    assert said().facts["opens"] == "yes"
    assert not any("token" in alarm.text for alarm in alarms.burning())


def test_no_and_an_alarm_when_one_does_not() -> None:
    clears.with_token()
    clears.with_token(udid="UDID-2", serial="OTHER", identity="cd" * 32)
    spoilt = TokenBox.objects.get(token__udid="UDID-2")
    TokenBox.objects.filter(pk=spoilt.pk).update(box=bytes(spoilt.box)[:-1] + b"\0")
    with pytest.raises(CommandError, match="do not open"):
        call_command("vault_selftest", stdout=(out := StringIO()))
    assert out.getvalue() == "no: 1 of 2 tried open, of 2 in escrow\n"
    assert "1 of 2 unlock tokens" in " ".join(alarm.text for alarm in alarms.burning())


def test_with_another_key_the_answer_is_no() -> None:
    clears.with_token()
    keys = replace(keyring.load(), box_key=X25519PrivateKey.generate())
    assert selftest.run(keys).word == "no"


def test_what_was_sealed_to_the_old_key_opens_while_that_is_kept() -> None:
    clears.with_token()
    keys = keyring.load()
    new = replace(keys, box_key=X25519PrivateKey.generate(), old_keys=(keys.box_key,))
    assert selftest.run(new).word == "yes"


def test_only_a_sample_is_opened_and_nothing_of_it_is_kept() -> None:
    for number in range(4):
        clears.with_token(udid=f"UDID-{number}", identity=f"{number:064}")
    assert selftest.run(keyring.load(), sample=3) == selftest.Tried(boxes=4, tried=3, opened=3)
    assert set(said().facts) == {"opens", "tried", "opened", "boxes", "key"}


def test_the_loop_tries_at_its_start_and_not_again_within_the_hour(tmp_path: Path) -> None:
    clears.with_token()

    class Stop(threading.Event):
        """Said after a few turns."""

        turns = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.turns += 1
            if self.turns == 3:
                self.set()
            return self.is_set()

    with Journal(tmp_path / "vault") as journal:
        loop.run(keyring=keyring.load(), journal=journal, stop=(stop := Stop()))
    assert stop.turns == 3
    assert said().facts["tried"] == 1
