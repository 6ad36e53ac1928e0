"""The real processes as a careful house runs them: check-in and connect apart, people pinned by keepers.

Each door has its own process, login, keys and address. Devices know one address; what stands before
the doors sends each request to the one that it is for.
"""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from embedded.demo.commands import manage
from embedded.demo.environments import read, signed_in
from embedded.demo.parts import answers
from embedded.demo.preparing import PEOPLE
from embedded.demo.wanted import PORTS
from embedded.place import write_private
from passcodes.rules.charter import Charter, Person
from tests.house import PASSKEYS, PINNED
from tests.running import Running
from tests.simulator.transport import Response
from vault import charter as charters
from vault.journal import Journal

CHECK_IN, CONNECT = "check-in door", "connect door"
HOLDS = {  # what each is given of all that one door alone would hold
    "checkin": ("VAULT_PUBLIC_KEY", "CA_CERTIFICATE_FILE", "CA_PRIVATE_KEY_FILE"),
    "connect": ("VAULT_VERIFY_KEY", "DOOR_PRIVATE_KEY", "CA_CERTIFICATE_FILE"),
}
KEYS = {name for names in HOLDS.values() for name in names}


class Apart(Running):
    def __init__(self, data: Path, database_url: str) -> None:
        super().__init__(data, database_url)
        self.connect = f"http://localhost:{self.wanted.port + PORTS}"
        door = self._parts.pop("device door")
        self._parts[CHECK_IN] = replace(door, env="checkin.env")
        port = str(urlsplit(self.connect).port)
        words = [port if word == str(self.wanted.port + 1) else word for word in door.command]
        self._parts[CONNECT] = replace(door, command=tuple(words), env="connect.env")
        self.logins: dict[str, str] = {}  # role → password

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        if urlsplit(url).path == "/mdm/connect":
            url = url.replace(self.wanted.door, self.connect)
        return super().send(method, url, headers, body)

    def environment(self, file: str) -> dict[str, str]:
        return read(self.data / file)

    def _prepare(self) -> None:
        super()._prepare()
        owner, door = self.environment("owner.env"), self.environment("door.env")
        for name, holds in HOLDS.items():
            password = secrets.token_urlsafe(24)
            owner[f"ROLE_PASSWORD_{name.upper()}"] = password
            own = {key: value for key, value in door.items() if key not in KEYS - {*holds}}
            url = signed_in(name, password, self.database_url)
            self._write(f"{name}.env", {**own, "SERVE": name, "DATABASE_URL": url})
        begin = "ROLE_PASSWORD_"
        self.logins = {
            name.removeprefix(begin).lower(): value
            for name, value in owner.items()
            if name.startswith(begin)
        }
        self._write("owner.env", owner)
        manage(self.wanted, "grants", by="owner")
        vault = self.environment("vault.env")
        del vault["VAULT_PINS_AT_ONCE"]
        self._write("vault.env", vault)
        people = tuple(
            Person(name, frozenset(PINNED[name].split()), (PASSKEYS[name].pinned(),))
            for name in sorted(PEOPLE)
        )
        with Journal(self.data / "vault") as journal:
            charters.put_in_force(Charter(1, people), journal, why="genesis")

    def _write(self, file: str, values: Mapping[str, str]) -> None:
        write_private(self.data / file, "".join(f"{k}={v}\n" for k, v in values.items()))

    def _is_ready(self, name: str) -> bool:
        if name == CHECK_IN:
            return super()._is_ready(name) and answers(self.wanted.door)
        if name == CONNECT:
            return super()._is_ready(name) and answers(self.connect)
        return super()._is_ready(name)
