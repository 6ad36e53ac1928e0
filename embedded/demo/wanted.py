"""What is asked of a demo, and what follows from it: its addresses, and which process reads which file."""

from dataclasses import dataclass
from pathlib import Path

FILES = {
    "owner": "owner.env",
    "staff": "env",
    "door": "door.env",
    "worker": "worker.env",
    "clock": "clock.env",
    "vault": "vault.env",
}
DOORS = {True: ("checkin", "connect"), False: ("door",)}  # apart, or one process for both
APART_PORTS = 2  # check-in and connect, behind the door's
PORTS = 6  # staff site, door, signing page, fleet, push service, where the fleet hears of pushes


@dataclass(frozen=True, slots=True)
class Wanted:
    port: int
    devices: int
    data: Path
    hour: int
    apart: bool = False  # check-in and connect are two processes

    @property
    def ports(self) -> int:
        return PORTS + (APART_PORTS if self.apart else 0)

    @property
    def files(self) -> dict[str, str]:
        """The environment file of each process that there is."""
        doors = {name: f"{name}.env" for name in DOORS[self.apart]}
        return {**{name: file for name, file in FILES.items() if name != "door"}, **doors}

    @property
    def staff(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def door(self) -> str:
        return f"http://localhost:{self.port + 1}"

    @property
    def sign(self) -> str:
        return f"http://sign.localhost:{self.port + 2}"

    @property
    def push_port(self) -> int:
        return self.port + 4

    @property
    def listen_port(self) -> int:
        return self.port + 5

    @property
    def page(self) -> str:
        return f"http://localhost:{self.port + 3}"
