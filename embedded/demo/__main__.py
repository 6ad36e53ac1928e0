"""`make demo`: all processes side by side, with a simulated push service and fleet."""

import argparse
import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded.demo.parts import check_alive, start_all
from embedded.demo.ports import HIGHEST, check_free
from embedded.demo.preparing import prepare
from embedded.demo.wanted import APART_PORTS, PORTS, Wanted
from embedded.processes import Family, Trouble, main


def demo() -> int:
    wanted = _wanted()
    for port in range(wanted.port, wanted.port + wanted.ports):
        check_free(port)
    wanted.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _ours_alone(wanted.data), Family() as services, Family() as processes:
        passwords = prepare(wanted, services)
        start_all(wanted, processes)
        people = ", ".join(f"{name} {password}" for name, password in passwords.items())
        fleet = f"; fleet: {wanted.page}/" if wanted.devices else ""
        print(f"READY {wanted.staff}/ sign in as {people}{fleet} (Ctrl-C ends it)", flush=True)
        while True:
            check_alive(services, processes)
            time.sleep(0.3)


def _wanted() -> Wanted:
    parser = argparse.ArgumentParser(prog="python -m embedded.demo", description=__doc__)
    parser.add_argument("--port", default="8000")
    parser.add_argument("--devices", default="30")
    parser.add_argument("--data", default=".demo", type=Path)
    parser.add_argument("--hour", default="120")
    parser.add_argument("--apart", action="store_true", help="two processes behind the door")
    given = parser.parse_args()
    return Wanted(
        port=_number("PORT", given.port, 1, HIGHEST - PORTS - APART_PORTS + 1),
        apart=given.apart,
        devices=_number("DEVICES", given.devices, 0, 100_000),
        data=given.data.resolve(),
        hour=_number("HOUR", given.hour, 1, 3600),
    )


def _number(name: str, given: str, lowest: int, highest: int) -> int:
    if not given.isdecimal() or not lowest <= int(given) <= highest:
        raise Trouble(f"{name} is {given!r}; it must be a number from {lowest} to {highest}.")
    return int(given)


@contextmanager
def _ours_alone(data: Path) -> Iterator[None]:
    with (data / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble(f"Another demo runs on {data}; end it or choose another DATA.") from None
        yield


if __name__ == "__main__":
    main(demo, farewell="Everything has been stopped; the data is kept for the next start.")
