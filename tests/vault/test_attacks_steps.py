"""T30: at each step of an opening the process is killed, the disk is full, or the database is gone.

Whatever happens, no sign-off is used twice, nothing goes wrong in silence, and what is burnt is shown.
A process is struck in the very instant: it is a process of its own, with a disk and a connection of its
own, and what strikes it is the kernel or the database itself.
"""

import importlib
import json
import logging
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse
from pytest_django import DjangoDbBlocker
from pytest_django.fixtures import Settings

from embedded import place
from passcodes.models import ClearRequest, Handover
from staff.models import User
from tests import clears
from tests.clears import Vault
from tests.house import pin_everybody
from tests.mailbox import Mailbox
from tests.own_database import fresh_database
from vault import charter as charters
from vault import loop
from vault.journal import NAME, Journal

pytestmark = pytest.mark.usefixtures("db")

HALF_A_LINE = 50  # bytes that still fit
PAGE = 4096

APPROVED, ARMED, BURNT = "approved", "armed", "failed"
STEPS: dict[str, tuple[str, str, str]] = {
    "O1 what was signed is looked at": ("vault.opening", "_suffices", "before"),
    "O2 facts are compared": ("passcodes.signatures", "facts", "after"),
    "O4 before the use is noted": ("vault.journal", "Journal.use", "before"),
    "O4 after the use is noted": ("vault.journal", "Journal.use", "after"),
    "O5 after it was opened": ("devices.sealing", "unseal", "after"),
    "O6 after it was sealed to the door": ("passcodes.handover", "pack", "after"),
    "O7 before the commit": ("passcodes.clear_delivery", "arm", "after"),
    "O7 after the commit": ("vault.journal", "Journal.handed", "before"),
}
BEFORE_THE_USE = "O4 before the use is noted"
IS_NOTED = list(STEPS)[3:]
IS_COMMITTED = list(STEPS)[7:]
NOTICE = {
    "O3 before the notice has left": ("smtplib", "SMTP.send_message", "before"),
    "O3 after the notice has left": ("vault.journal", "Journal.noticed", "before"),
}


@pytest.fixture(scope="module")
def db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Real transactions: another process sees them."""
    with fresh_database(django_db_blocker):
        yield


@pytest.fixture(scope="module")
def people(db: None) -> tuple[User, User]:
    return clears.two_people()


@pytest.fixture(scope="module")
def vault(db: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """The database has seen one state; with another no vault would start."""
    state = tmp_path_factory.mktemp("steps") / "vault"
    pin_everybody(state)
    with override_settings(VAULT_STATE=str(state)):
        yield Vault(state)


def lines(vault: Vault, request: ClearRequest) -> list[str]:
    """What the journal says of this request, but for what was heard."""
    kept = (vault.state / NAME).read_bytes().splitlines(keepends=True)
    all_of_it = [json.loads(line) for line in kept if line.endswith(b"\n")]  # no half a line
    ours = [one["what"] for one in all_of_it if one.get("request") == request.pk.hex]
    return [what for what in ours if what != "heard"]


def signed(people: tuple[User, User]) -> ClearRequest:
    """For a new device each time."""
    asker, approver = people
    number = uuid4().hex
    device = clears.with_token(udid=number, serial=number[:10].upper(), identity=number * 2)
    return clears.approve(clears.ask(device, by=asker).pk, by=approver)


# Strikes


@dataclass(frozen=True, slots=True)
class Ended:
    """How the process ended, and what it said."""

    code: int
    said: str


def struck(step: str, strike: Callable[[], None], tmp_path: Path, *, host: str = "") -> Ended:
    """The vault looks once, in a process of its own, and is struck at that step."""
    connection.close()
    said = tmp_path / "said"
    child = os.fork()
    if child == 0:
        code = 70
        try:
            with said.open("w", buffering=1) as out:
                os.dup2(out.fileno(), 1)
                os.dup2(out.fileno(), 2)
                logging.basicConfig(stream=out, force=True)
                if host:
                    connection.settings_dict["HOST"] = host
                if step:
                    _arm(*{**STEPS, **NOTICE}[step], strike)
                code = _looks_once(out)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return Ended(code, said.read_text())


def _looks_once(out: Any) -> int:
    try:
        call_command("vault", "--once")
    except CommandError as problem:
        out.write(f"{problem}\n")
        return 1
    except Exception:  # noqa: BLE001 - as a process would end
        traceback.print_exc(file=out)
        return 1
    return 0


def _arm(holder: str, step: str, when: str, strike: Callable[[], None]) -> None:
    owner: Any = importlib.import_module(holder)
    *way, step = step.split(".")
    for name in way:
        owner = getattr(owner, name)
    real = getattr(owner, step)

    def striking(*args: Any, **facts: Any) -> Any:
        setattr(owner, step, real)
        if when == "before":
            strike()
            return real(*args, **facts)
        answer = real(*args, **facts)
        strike()
        return answer

    setattr(owner, step, striking)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def loses_the_database() -> None:
    """Somebody else ends our session; nobody tells us."""
    with psycopg.connect(**connection.get_connection_params()) as other:
        assert connection.connection is not None
        other.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])


def disk_is_full(state: Path) -> Callable[[], None]:
    """The kernel allows no file to become longer than the journal is, and half a line."""

    def strike() -> None:
        longest = (state / NAME).stat().st_size + HALF_A_LINE
        resource.setrlimit(resource.RLIMIT_FSIZE, (longest, longest))

    return strike


# What must be so


@pytest.mark.parametrize("step", STEPS)
def test_t30_killed_at_any_step_nothing_is_used_twice_or_lost_in_silence(
    vault: Vault, people: tuple[User, User], tmp_path: Path, step: str
) -> None:
    request = signed(people)
    ended = struck(step, killed, tmp_path)
    assert ended.code == -signal.SIGKILL, ended.said
    ends_well(vault, request, step, people)


@pytest.mark.parametrize("step", STEPS)
def test_t30_a_database_lost_at_any_step_nothing_is_used_twice_or_lost_in_silence(
    vault: Vault, people: tuple[User, User], tmp_path: Path, step: str
) -> None:
    request = signed(people)
    ended = struck(step, loses_the_database, tmp_path)
    if step not in IS_COMMITTED:  # else it was no longer needed in this look
        assert ended.code == 1, ended.said
        assert "terminating connection" in ended.said
    if step == BEFORE_THE_USE:  # the journal asks no database, so the use was noted all the same
        step = IS_NOTED[0]
    ends_well(vault, request, step, people)


@pytest.mark.parametrize("step", STEPS)
def test_t30_a_disk_full_at_any_step_nothing_is_used_twice_or_lost_in_silence(
    vault: Vault, people: tuple[User, User], tmp_path: Path, step: str
) -> None:
    request = signed(people)
    vault_has_heard(vault, request)
    ended = struck(step, disk_is_full(vault.state), tmp_path)
    assert ended.code == 1, ended.said
    assert "could not be written" in ended.said
    assert "Traceback" not in ended.said
    if step in IS_NOTED:  # nothing was to be written between, so it was committed
        assert clears.reread(request).state == ARMED
        step = IS_COMMITTED[0]
    ends_well(vault, request, step, people)


def vault_has_heard(vault: Vault, request: ClearRequest) -> None:
    """And nothing more, so that the next line is the use."""
    ClearRequest.objects.filter(pk=request.pk).update(state="requested")
    vault.tick()
    assert lines(vault, request) == []
    ClearRequest.objects.filter(pk=request.pk).update(state=APPROVED)


def ends_well(vault: Vault, request: ClearRequest, step: str, people: tuple[User, User]) -> None:
    """After the next start: handed over, or burnt and shown; used once; and signed again it opens."""
    vault.tick()
    vault.tick()
    request = clears.reread(request)
    noted = lines(vault, request)
    assert noted.count("used") == 1
    handed = Handover.objects.filter(command__device=request.device).count()
    is_burnt = step in IS_NOTED and step not in IS_COMMITTED
    if is_burnt:
        assert (request.state, handed, noted[-1]) == (BURNT, 0, "burnt")
        page = shown(request, people[1])
        assert "The vault was interrupted while it opened the token." in page
        again = clears.ask(request.device, by=people[0])
        clears.approve(again.pk, by=people[1])
        vault.tick()
        assert clears.reread(again).state == ARMED
    else:
        assert (request.state, handed, noted[-1]) == (ARMED, 1, "handed")


def shown(request: ClearRequest, person: User) -> str:
    client = Client()
    client.force_login(person)
    address = reverse("admin:passcodes_clearrequest_change", args=[request.pk])
    return client.get(address).content.decode()


@pytest.fixture
def mailbox(vault: Vault, mailbox: Mailbox) -> Iterator[Mailbox]:
    """For this test the rule demands that a notice leaves first."""
    demands(vault, notice=1)
    yield mailbox
    demands(vault, notice=0)


def demands(vault: Vault, *, notice: int) -> None:
    with Journal(vault.state) as journal:
        now = charters.load(journal)
        rule = replace(now.default, notice=notice)
        changed = replace(now, version=now.version + 1, default=rule)
        charters.put_in_force(changed, journal, why="a test")
    vault.tick()


@pytest.mark.parametrize("how", list(product(NOTICE, ["killed", "disk is full"])))
def test_t30_struck_while_the_notice_leaves_nothing_opens_before_it_has(
    vault: Vault,
    people: tuple[User, User],
    mailbox: Mailbox,
    tmp_path: Path,
    how: tuple[str, str],
) -> None:
    step, strikes = how
    request = signed(people)
    vault_has_heard(vault, request)
    strike = killed if strikes == "killed" else disk_is_full(vault.state)
    ended = struck(step, strike, tmp_path)
    assert ended.code != 0
    assert lines(vault, request) == []
    assert clears.reread(request).state == APPROVED
    for _ in range(3):
        vault.tick()
    assert lines(vault, request) == ["noticed", "used", "handed"]
    assert mailbox.letters
    assert clears.reread(request).state == ARMED


# A disk that is full, and not by a rule


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB; where nobody may mount one, the kernel's limit does."""
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o700)
    options = ("-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(folder))
    is_mounted = not subprocess.run(["mount", *options], check=False).returncode
    try:
        yield folder
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_t30_a_full_disk_opens_nothing_and_the_vault_says_so(
    vault: Vault,
    people: tuple[User, User],
    small_disk: Path,
    tmp_path: Path,
    settings: Settings,
) -> None:
    usual = vault.state
    shutil.copytree(usual, small_disk / "vault")
    vault = Vault(small_disk / "vault")
    settings.VAULT_STATE = str(vault.state)
    request = signed(people)
    vault_has_heard(vault, request)
    with Journal(
        vault.state
    ) as journal:  # up to where the next line needs a page that is not there
        while PAGE - (vault.state / NAME).stat().st_size % PAGE > 2 * HALF_A_LINE + 100:
            journal.alive()
    ballast = small_disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        for _ in range(1024):
            file.write(bytes(PAGE))
    is_full = os.statvfs(small_disk).f_bavail == 0
    ended = struck("" if is_full else BEFORE_THE_USE, disk_is_full(vault.state), tmp_path)
    assert ended.code == 1
    assert "could not be written" in ended.said
    assert clears.reread(request).state == APPROVED
    assert not Handover.objects.filter(command__device=request.device).exists()
    assert "vault stands still: The journal could not be written" in stands_still(people[0])

    ballast.unlink()
    ends_well(vault, request, next(iter(STEPS)), people)
    assert stands_still(people[0]) == ""
    shutil.rmtree(usual)
    shutil.copytree(vault.state, usual)


def stands_still(person: User) -> str:
    """What each page says of the vault, if anything."""
    client = Client()
    client.force_login(person)
    page = client.get(reverse("admin:index")).content.decode()
    return page if "vault stands still" in page else ""


# The answer to COMMIT is lost, so that nobody knows


@contextmanager
def wire_cut_after_commit() -> Iterator[str]:
    """A wire to the database that breaks when the hand-over was committed, before that is heard.

    In a folder whose name is short: a socket's path may have 107 bytes.
    """
    real = (
        f"{connection.settings_dict['HOST']}/.s.PGSQL.{connection.settings_dict['PORT'] or 5432}"
    )
    with (
        TemporaryDirectory(prefix="wire-", dir=place.APART) as folder,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        listener.bind(f"{folder}/.s.PGSQL.5432")
        listener.listen()
        relay = threading.Thread(target=_relay, args=(listener, real))
        relay.start()
        yield folder
        listener.shutdown(socket.SHUT_RDWR)
        relay.join()


def _relay(listener: socket.socket, real: str) -> None:
    with suppress(OSError):
        while True:
            near, _ = listener.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(real)
            is_cut = threading.Event()
            threading.Thread(target=_back, args=(far, near, is_cut), daemon=True).start()
            threading.Thread(target=_forth, args=(near, far, is_cut), daemon=True).start()


def _forth(near: socket.socket, far: socket.socket, is_cut: threading.Event) -> None:
    is_handing_over = False
    with near, suppress(OSError):
        while data := near.recv(65_536):
            is_handing_over |= b'INSERT INTO "passcodes_handover"' in data
            if is_handing_over and b"COMMIT" in data:
                is_cut.set()
                far.sendall(data)
                time.sleep(0.3)  # it is committed, and answered to nobody
                break
            far.sendall(data)
        far.shutdown(socket.SHUT_RDWR)


def _back(far: socket.socket, near: socket.socket, is_cut: threading.Event) -> None:
    with far, suppress(OSError):
        while data := far.recv(65_536):
            if not is_cut.is_set():
                near.sendall(data)


def test_t30_a_commit_whose_answer_is_lost_is_found_out_and_counts_once(
    vault: Vault, people: tuple[User, User], tmp_path: Path
) -> None:
    request = signed(people)
    with wire_cut_after_commit() as host:
        ended = struck("", killed, tmp_path, host=host)
    assert ended.code == 1
    assert clears.reread(request).state == ARMED
    assert lines(vault, request) == ["used"]
    ends_well(vault, request, IS_COMMITTED[0], people)


def test_t30_the_loop_outlives_a_lost_database_and_settles_by_itself(
    vault: Vault, people: tuple[User, User], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = signed(people)
    monkeypatch.setattr(loop, "EVERY", 0.05)
    connection.close()
    child = os.fork()
    if child == 0:
        try:
            _arm(*STEPS["O5 after it was opened"], loses_the_database)
            with (tmp_path / "said").open("w", buffering=1) as out:
                logging.basicConfig(stream=out, force=True)
                call_command("vault", stdout=out)
        finally:
            os._exit(0)
    until = time.monotonic() + 20
    while clears.reread(request).state == APPROVED and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    assert "The database does not answer" in (tmp_path / "said").read_text()
    assert clears.reread(request).state == BURNT
    ends_well(vault, request, "O5 after it was opened", people)
