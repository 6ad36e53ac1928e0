"""A figure as it is printed, and how it is measured."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

WHOLE = 100  # from here on nobody wants decimals


@dataclass(frozen=True, slots=True)
class Figure:
    what: str
    value: float
    unit: str
    on: str = ""

    def __str__(self) -> str:
        shown = f"{self.value:,.0f}" if self.value >= WHOLE else f"{self.value:.3g}"
        return f"{self.what:<44} {shown:>9} {self.unit:<9} {self.on}".rstrip()


@dataclass(slots=True)
class Watch:
    seconds: float = 0.0


@contextmanager
def watch() -> Iterator[Watch]:
    watched = Watch()
    began = time.perf_counter()
    yield watched
    watched.seconds = time.perf_counter() - began


def each(act: Callable[[], object], *, times: int) -> float:
    """The usual time of one, in seconds."""
    took = []
    for _ in range(times):
        with watch() as one:
            act()
        took.append(one.seconds)
    return median(took)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(answers: Callable[[], bool], what: str, *, seconds: float = 30.0) -> None:
    ends = time.monotonic() + seconds
    while not answers():
        if time.monotonic() > ends:
            raise TimeoutError(f"{what} does not answer.")
        time.sleep(0.05)
