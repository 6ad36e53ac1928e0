"""The journal: a line is on the disk before anything follows, and a broken chain stops the vault."""

import errno
import os
import resource
import stat
from pathlib import Path
from uuid import uuid4

import pytest

from passcodes.rules import statements
from vault import disk
from vault.journal import NAME, AlreadyUsed, Journal, JournalBroken
from vault.memory import Heard, Use


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "vault"


def a_use() -> Use:
    return Use(request=uuid4(), command=uuid4(), udid="00008101", token=uuid4())


def lines(state: Path) -> list[bytes]:
    return (state / NAME).read_bytes().splitlines(keepends=True)


def test_lines_are_canonical_numbered_and_bound_to_each_other(state: Path) -> None:
    use = a_use()
    with Journal(state) as journal:
        journal.use(use)
        journal.handed(use)
        journal.stopped(uuid4(), "The device is marked lost.")
    said = [statements.decode(line[:-1]) for line in lines(state)]
    assert [one["what"] for one in said] == ["used", "handed", "stopped"]
    assert [one["seq"] for one in said] == [1, 2, 3]
    assert said[0]["prev"] == "0" * 64
    assert said[0]["request"] == use.request.hex
    assert said[0]["udid"] == use.udid
    assert len({one["prev"] for one in said}) == 3


def test_a_request_and_a_command_are_used_once(state: Path) -> None:
    use = a_use()
    with Journal(state) as journal:
        journal.use(use)
        for again in (
            use,
            Use(request=use.request, command=uuid4(), udid=use.udid, token=use.token),
            Use(request=uuid4(), command=use.command, udid=use.udid, token=use.token),
        ):
            with pytest.raises(AlreadyUsed):
                journal.use(again)


def test_it_remembers_across_a_start(state: Path) -> None:
    first, second = a_use(), a_use()
    with Journal(state) as journal:
        journal.use(first)
        journal.handed(first)
        journal.use(second)
    with Journal(state) as journal:
        assert journal.was_used(first.request)
        assert journal.open_uses() == [second]
        with pytest.raises(AlreadyUsed):
            journal.use(first)
        journal.burnt(second)
        assert journal.open_uses() == []
    assert len(lines(state)) == 4


def test_there_is_one_vault(state: Path) -> None:
    with Journal(state), pytest.raises(JournalBroken, match="Another vault"):
        Journal(state)
    with Journal(state):
        """And after it has ended, the next one may."""


@pytest.mark.parametrize(
    "spoil",
    [
        lambda all_of_it: all_of_it[1:],  # the first line is gone
        lambda all_of_it: [all_of_it[0], all_of_it[2]],  # one is gone
        lambda all_of_it: [all_of_it[1], all_of_it[0], all_of_it[2]],  # in another order
        lambda all_of_it: [*all_of_it, all_of_it[2]],  # one twice
        lambda all_of_it: [all_of_it[0].replace(b"used", b"kept"), *all_of_it[1:]],
        lambda all_of_it: [b"rubbish\n", *all_of_it],
        lambda all_of_it: [b"{}\n", *all_of_it],
    ],
)
def test_a_changed_journal_stops_the_vault(state: Path, spoil: object) -> None:
    assert callable(spoil)
    with Journal(state) as journal:
        for _ in range(3):
            journal.use(a_use())
    (state / NAME).write_bytes(b"".join(spoil(lines(state))))
    with pytest.raises(JournalBroken, match="broken after line"):
        Journal(state)


def test_half_a_line_at_the_end_is_cut_because_nothing_came_of_it(state: Path) -> None:
    use = a_use()
    with Journal(state) as journal:
        journal.use(use)
        journal.use(a_use())
    whole = lines(state)
    (state / NAME).write_bytes(whole[0] + whole[1][:40])
    with Journal(state) as journal:
        assert journal.open_uses() == [use]
        journal.handed(use)
    with Journal(state) as journal:
        assert journal.open_uses() == []


def test_the_folder_is_made_for_the_vault_alone(state: Path) -> None:
    with Journal(state):
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        assert stat.S_IMODE((state / NAME).stat().st_mode) == 0o600


def test_a_folder_that_others_can_enter_is_refused(state: Path) -> None:
    state.mkdir(mode=0o755)
    state.chmod(0o755)
    with pytest.raises(JournalBroken, match="mode 0700"):
        Journal(state)


def test_a_full_disk_stops_the_vault_before_anything_is_opened(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(state) as journal:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(JournalBroken, match="No space left"):
            journal.use(a_use())
        monkeypatch.undo()
        with pytest.raises(JournalBroken):  # nobody knows what is on the disk: only a start helps
            journal.use(a_use())


def test_what_was_heard_is_kept_whole_or_was_not_heard(state: Path) -> None:
    """A disk that is nearly full takes a part of a long statement, and then a short line."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with Journal(state) as journal:
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
                with pytest.raises(JournalBroken, match="could not be kept"):
                    journal.heard(heard(), b"x" * 5000)
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert lines(state) == []


def heard() -> Heard:
    return Heard(
        request=uuid4(),
        kind="ask",
        by="helpdesk",
        key="a fingerprint",
        role="ask",
        counter=0,
        digest="ab" * 32,
        at=1,
        until=2,
    )


def test_a_line_is_synced_before_use_returns(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(file: int) -> None:
        real(file)
        synced.append(len(lines(state)))

    with Journal(state) as journal:
        monkeypatch.setattr(os, "fsync", fsync)
        journal.use(a_use())
        assert synced == [1]


def test_a_file_is_whole_and_in_its_folder_before_anything_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(file: int) -> None:
        real(file)
        name = Path(f"/proc/self/fd/{file}").readlink().name
        synced.append(f"{name}: {sorted(one.name for one in tmp_path.iterdir())}")

    (tmp_path / "kept.new").write_text("half of what a start before this one")
    monkeypatch.setattr(os, "fsync", fsync)
    disk.keep(tmp_path / "kept", b"all of it")
    assert (tmp_path / "kept").read_bytes() == b"all of it"
    assert synced == ["kept.new: ['kept.new']", f"{tmp_path.name}: ['kept']"]
