"""Two people, or a person and the vault, at the same moment: one goes first, and both see it."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection

from devices.models import AuditEntry, Command, Device
from passcodes import custody
from passcodes.models import Approval, ClearRequest, Handover
from passcodes.rules.clearing import Refused
from staff.models import User
from tests import clears
from tests.clears import Vault
from tests.house import PASSKEYS, pin_everybody
from tests.own_database import own_database

__all__ = ["own_database"]
pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
def db(own_database: str, tmp_path: Path) -> None:
    """Real transactions, each thread with a connection of its own."""
    pin_everybody(tmp_path / "vault")


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Each in its own thread, started together: what it gave, or what it was refused with."""
    barrier = threading.Barrier(len(acts))
    results: list[object] = [None] * len(acts)

    def run(number: int, act: Callable[[], object]) -> None:
        barrier.wait()
        try:
            results[number] = act()
        except Refused as refused:
            results[number] = refused
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def people(*names: str) -> list[User]:
    made = [User.objects.create_superuser(name, password="x") for name in names]
    for person in made:
        PASSKEYS[person.username].row(person)
    return made


def test_of_two_approvers_at_once_one_signs() -> None:
    asker, one, other = people("helpdesk", "approver", "approver2")
    asked = clears.ask(clears.with_token(), by=asker)
    results = at_once(
        lambda: clears.approve(asked.pk, by=one),
        lambda: clears.approve(asked.pk, by=other),
    )
    assert sorted(type(result).__name__ for result in results) == ["ClearRequest", "Refused"]
    assert Approval.objects.count() == 1
    verbs = AuditEntry.objects.filter(verb__startswith="clear.").order_by("pk")
    assert sorted(verbs.values_list("verb", flat=True)) == [
        "clear.approve",
        "clear.draft",
        "clear.refused",
        "clear.request",
    ]


def test_of_two_who_ask_at_once_one_is_heard() -> None:
    one, other = people("helpdesk", "someone")
    phone = clears.with_token()
    results = at_once(lambda: clears.ask(phone, by=one), lambda: clears.ask(phone, by=other))
    assert sorted(type(result).__name__ for result in results) == ["ClearRequest", "Refused"]
    assert ClearRequest.objects.open().count() == 1


@pytest.mark.parametrize("turn", range(4))
def test_lost_while_the_vault_opens_leaves_nothing_to_deliver(tmp_path: Path, turn: int) -> None:
    asker, approver, finder = people("helpdesk", "approver", "admin")
    phone = clears.with_token()
    asked = clears.ask(phone, by=asker)
    clears.approve(asked.pk, by=approver)
    vault = Vault(tmp_path / "vault")
    at_once(
        vault.tick,
        lambda: custody.mark_lost(phone.pk, note=f"Turn {turn}.", by=finder),
    )
    assert Device.objects.get(pk=phone.pk).is_lost
    assert clears.reread(asked).state == "void"
    assert not Handover.objects.exists()
    assert not Command.objects.open().filter(request_type="ClearPasscode").exists()
    assert vault.tick() == 0
