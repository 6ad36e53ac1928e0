"""Figures that are dear are not counted for each who looks: the dearer they are, the longer one count lasts.

A page that looks again each few seconds gets the last count at once, with the time of it, and the next
one is made beside. Each process keeps its own; a count that is too old is made anew before the answer.
"""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from django.db import connections
from django.utils import timezone

T = TypeVar("T")

SHARE = 20  # a count lasts so many times as long as it took
SHORTEST, LONGEST = 5.0, 60.0  # seconds that it lasts
SHOWN_FOR = 600.0  # seconds after which nobody is shown it any more
MOST = 200  # keys


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    value: T
    at: datetime
    made: float  # by the clock that nobody sets
    took: float

    @property
    def is_fresh(self) -> bool:
        return self._age < min(LONGEST, max(SHORTEST, SHARE * self.took))

    @property
    def may_be_shown(self) -> bool:
        return self._age < SHOWN_FOR

    @property
    def _age(self) -> float:
        return time.monotonic() - self.made


class Keeper(Generic[T]):
    """The last count for each key. What is not worth keeping is counted each time."""

    def __init__(self, worth: Callable[[T], bool]) -> None:
        self._worth = worth
        self._kept: dict[Hashable, Kept[T]] = {}
        self._counting: set[Hashable] = set()
        self._lock = threading.Lock()

    def get(self, key: Hashable, count: Callable[[], T]) -> Kept[T]:
        kept = self._kept.get(key)
        if kept is None or not kept.may_be_shown:
            return self._count(key, count)
        if not kept.is_fresh and self._begins(key):
            threading.Thread(target=self._beside, args=(key, count), daemon=True).start()
        return kept

    def forget(self) -> None:
        self._kept.clear()

    def _begins(self, key: Hashable) -> bool:
        """Whether nobody else is counting it already."""
        with self._lock:
            if key in self._counting:
                return False
            self._counting.add(key)
            return True

    def _beside(self, key: Hashable, count: Callable[[], T]) -> None:
        try:
            self._count(key, count)
        finally:
            self._counting.discard(key)
            connections.close_all()  # of this thread

    def _count(self, key: Hashable, count: Callable[[], T]) -> Kept[T]:
        began, at = time.monotonic(), timezone.now()
        value = count()
        kept = Kept(value, at, began, time.monotonic() - began)
        if self._worth(value):
            if len(self._kept) >= MOST:
                self._kept.clear()
            self._kept[key] = kept
        else:
            self._kept.pop(key, None)
        return kept
