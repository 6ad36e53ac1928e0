"""Start processes that never outlive us, notice when one dies, and stop every one of them."""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn, Self

LIBC = ctypes.CDLL(None, use_errno=True)
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER
PATIENCE = 15.0  # seconds a process has to stop by itself
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Trouble(Exception):
    """What keeps us from going on, in one line for a person to read."""


class Stopped(BaseException):
    """Somebody asked us to end."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


@dataclass(frozen=True, slots=True)
class Child:
    name: str
    process: subprocess.Popen[bytes]
    stop_with: signal.Signals
    log: Path | None

    def epitaph(self) -> str:
        """How it ended, and where its last words are."""
        code = self.process.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        line = f"{self.name} stopped with {how}"
        if self.log is None:
            return f"{line}."
        words = self.log.read_text(errors="replace").strip().splitlines()
        return (
            f"{line}: {words[-1].strip() if words else 'it said nothing'} (all of it: {self.log})"
        )


class Family:
    """Some processes that are stopped together."""

    def __init__(self) -> None:
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log: Path | None = None,
        stop_with: signal.Signals = signal.SIGTERM,
        user: pwd.struct_passwd | None = None,
    ) -> Child:
        """Start it in a session of its own: a Ctrl-C comes to us alone, and it dies with us."""
        out = None
        if log is not None:
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            process = subprocess.Popen(
                [str(part) for part in command],
                env=None if env is None else dict(env),
                cwd=cwd,
                stdin=None if log is None else subprocess.DEVNULL,
                stdout=out,
                stderr=None if out is None else subprocess.STDOUT,
                start_new_session=True,
                user=None if user is None else user.pw_uid,
                group=None if user is None else user.pw_gid,
                extra_groups=None if user is None else [],
                preexec_fn=_dying_with_us(stop_with),  # noqa: PLW1509 - we have no threads
            )
        finally:
            if out is not None:
                os.close(out)
        child = Child(name, process, stop_with, log)
        self.children.append(child)
        return child

    def dead(self) -> Child | None:
        """The first that has ended, if one has."""
        return next((child for child in self.children if child.process.poll() is not None), None)

    def stop(self) -> None:
        """Ask all at once, wait, then end what is left of each with force."""
        for child in self.children:
            if child.process.poll() is None:
                child.process.send_signal(child.stop_with)
        until = time.monotonic() + PATIENCE
        for child in self.children:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, until - time.monotonic()))
            with suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)  # its session bears its number
            child.process.wait()
        self.children.clear()


def _dying_with_us(stop_with: signal.Signals) -> Callable[[], None]:
    us = os.getpid()

    def bind() -> None:
        LIBC.prctl(DIE_WITH_PARENT, stop_with)
        if os.getppid() != us:
            os._exit(1)

    return bind


@contextmanager
def whole_process() -> Iterator[None]:
    """Answer for all that this process starts: when it ends, none of them stays behind."""
    LIBC.prctl(ADOPT_ORPHANS, 1)
    for ending in ENDINGS:
        if ending is not signal.SIGHUP or signal.getsignal(ending) is not signal.SIG_IGN:
            signal.signal(ending, _end)
    try:
        yield
    finally:
        for ending in ENDINGS:
            signal.signal(ending, signal.SIG_IGN)
        while orphans := _children_of(os.getpid()):
            for pid in orphans:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                with suppress(ChildProcessError):
                    os.waitpid(pid, 0)


def _end(signum: int, _frame: FrameType | None) -> NoReturn:
    for ending in ENDINGS:
        signal.signal(ending, signal.SIG_IGN)  # one is enough; stopping must not be interrupted
    raise Stopped(signum)


def _children_of(parent: int) -> list[int]:
    """By /proc; the field after the name in brackets and the state is the parent."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                stat = (entry / "stat").read_text(errors="replace")
                if int(stat.rpartition(")")[2].split()[1]) == parent:
                    found.append(int(entry.name))
    return found


def main(work: Callable[[], int], *, farewell: str = "") -> NoReturn:
    """Run it as this process's whole task; trouble is one line and exit status 1."""
    try:
        with whole_process():
            code = work()
    except Trouble as trouble:
        print(f"\n{trouble}", file=sys.stderr, flush=True)
        code = 1
    except Stopped as stopped:
        code = 128 + stopped.signum
        if farewell:
            print(f"\n{farewell}", flush=True)
    sys.exit(code)
