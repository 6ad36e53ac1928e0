"""What is to happen later: one thread that waits for the next thing, and a few that do it."""

import heapq
import itertools
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable


class Diary:
    def __init__(self, *, hands: int) -> None:
        self._plans: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._due: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._closed = False
        names = ["diary", *(f"diary {number}" for number in range(hands))]
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in zip([self._wait, *[self._work] * hands], names, strict=True)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def later(self, seconds: float, do: Callable[[], object]) -> None:
        with self._changed:
            plan = (time.monotonic() + seconds, next(self._numbers), do)
            heapq.heappush(self._plans, plan)
            if self._plans[0] is plan:
                self._changed.notify()

    def close(self) -> None:
        """Nothing more begins; what is being done may end."""
        with self._changed:
            self._closed = True
            self._plans.clear()
            self._changed.notify()
        for _ in self._threads[1:]:
            self._due.put(None)
        for thread in self._threads:
            thread.join(timeout=3)

    def _wait(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                while self._plans and self._plans[0][0] <= now:
                    self._due.put(heapq.heappop(self._plans)[2])
                self._changed.wait(self._plans[0][0] - now if self._plans else None)

    def _work(self) -> None:
        while (do := self._due.get()) is not None and not self._closed:
            try:
                do()
            except Exception:  # noqa: BLE001  # one device's trouble is not the fleet's
                traceback.print_exc(file=sys.stderr)
