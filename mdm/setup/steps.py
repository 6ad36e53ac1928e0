"""The steps of the set-up in their order. Each says what it made, or that it stands; each may be repeated."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mdm.setup import answers, environments, templates
from mdm.setup.answers import House, Refused
from mdm.setup.machine import Failed, Machine

PUBLIC = 0o644
SYSTEMD = Path("/etc/systemd/system")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is given beside the house itself: two addresses with passwords, files, fingerprints."""

    database_url: str = ""
    redis_url: str = ""
    units: Path | None = None
    push_certificate: Path | None = None
    push_key: Path | None = None
    pins: tuple[str, ...] = ()  # NAME:ROLE,ROLE:six groups of four


@dataclass(slots=True)
class Done:
    """What came of a step."""

    made: str = ""  # empty: it stands
    waits: str = ""  # what has to come first
    tells: list[str] = field(default_factory=list)


Step = tuple[str, Callable[[], Done]]


class Setup:
    """One run over all steps."""

    def __init__(
        self, house: House, folder: Path, wishes: Wishes, ask: Callable[[str], str] | None
    ) -> None:
        self.house, self.wishes, self._ask = house, wishes, ask
        self.machine = Machine(folder, house)
        self.units = wishes.units or (SYSTEMD if house.users else folder / "systemd")
        self.links: dict[str, str] = {}
        self._environments_changed: list[str] = []
        self._facts: dict[str, Any] | None = None

    def steps(self) -> Iterator[Step]:
        if self.house.users:
            yield "a system user for each process", self._users
        yield "folders", self._folders
        yield "keys and environment files", self._environments
        yield "the tables", self._tables
        yield "a login for each process", self._logins
        yield "the age of the door's key", self._door_key
        yield "roles of people", self._roles
        yield "the vault's state", self._vault_state
        yield "the signing page", self._signing_page
        yield "the staff site's files", self._static
        yield "systemd units", self._units
        yield "the proxy's configuration", self._nginx
        yield "first people", self._people
        yield "the push certificate", self._push_certificate
        yield "the vault's first charter", self._charter

    # The machine

    def _users(self) -> Done:
        new = [one for one in environments.processes(self.house) if self.machine.make_user(one)]
        return Done(", ".join(f"passcodes-{one}" for one in new))

    def _folders(self) -> Done:
        made = self.machine.make_folders()
        said = answers.written(self.house)
        is_new = self.machine.write(self.machine.folder / answers.NAME, said, mode=PUBLIC)
        paths = [str(one) for one in made]
        return Done(", ".join([*paths, *([answers.NAME] if is_new else [])]))

    def _environments(self) -> Done:
        changed = environments.write(
            self.house,
            self.machine,
            database_url=self.wishes.database_url,
            redis_url=self.wishes.redis_url,
        )
        self._environments_changed = changed
        return Done(", ".join(f"{one}.env" for one in changed))

    def _signing_page(self) -> Done:
        return self._same(
            self.machine.sign,
            ("signing_page", "--out", self.machine.sign),
        )

    def _static(self) -> Done:
        return self._same(
            self.machine.static,
            ("collectstatic", "--no-input", "--verbosity", "0"),
        )

    def _same(self, folder: Path, command: tuple[str | Path, ...]) -> Done:
        """Written by us: a staff site that is taken over must not change the page where people sign."""
        before = _digest(folder)
        self.machine.manage("staff", *command, ours=True)
        return Done("" if _digest(folder) == before else str(folder))

    def _units(self) -> Done:
        self.units.mkdir(parents=True, exist_ok=True)
        wanted = templates.units(self.house, self.machine)
        made = [
            name
            for name, text in wanted.items()
            if self.machine.write(self.units / name, text, mode=PUBLIC)
        ]
        former = [
            path for path in self.units.glob("passcodes-*.service") if path.name not in wanted
        ]
        for path in former:
            if self.machine.is_active(path.stem.removeprefix("passcodes-")):
                self.machine.run(["systemctl", "disable", "--now", path.stem])
            path.unlink()
        if (made or former) and self.machine.has_systemd and self.units == SYSTEMD:
            self.machine.run(["systemctl", "daemon-reload"])
        return Done(", ".join(made))

    def _nginx(self) -> Done:
        path = self.machine.folder / "nginx.conf"
        text = templates.nginx(self.house, self.machine)
        return Done(str(path) if self.machine.write(path, text, mode=PUBLIC) else "")

    # The database

    def _tables(self) -> Done:
        try:
            self.machine.manage("owner", "migrate", "--check")
        except Failed:
            if because := self._no_database("owner"):
                raise Refused(
                    f"The database: {because} Next: see that it is there, and that the login and "
                    "password in --database-url are right."
                ) from None
            self.machine.manage("owner", "migrate", "--no-input")
            return Done("all migrations")
        return Done()

    def _logins(self) -> Done:
        if "owner" not in self._environments_changed and self._logins_stand():
            return Done()
        self.machine.manage("owner", "grants")
        return Done("each with its own rights, and a password in its own file")

    def _logins_stand(self) -> bool:
        try:
            self.machine.manage("owner", "grants", "--check")
            return not self._no_database("vault")
        except Failed:
            return False

    def _no_database(self, process: str) -> str:
        """Why a process does not reach the database; empty where it does."""
        said = self.machine.manage(process, "reach", "--well")
        told = [json.loads(line) for line in said.splitlines()]
        return next(
            (one["words"] for one in told if one["what"] == "the database" and not one["works"]),
            "",
        )

    def _door_key(self) -> Done:
        """Noted from the first day, so that whoever forgets to change it is told."""
        holder = "connect" if self.house.doors == answers.APART else "door"
        asked = ("--deploy", "--database", "default", "--tag", "database")
        try:
            self.machine.manage(holder, "check", *asked, "--fail-level", "WARNING")
        except Failed:
            self.machine.manage(holder, "door_rotate")
            return Done("noted")
        return Done()

    def _roles(self) -> Done:
        try:
            self.machine.manage("staff", "setup_roles", "--check")
        except Failed:
            self.machine.manage("staff", "setup_roles")
            return Done("the roles of staff/roles.py")
        return Done()

    # The vault, and people

    def _vault_state(self) -> Done:
        if (self.machine.vault / "state" / "journal").exists():
            return Done()
        self.machine.manage("vault", "vault_init")
        return Done(str(self.machine.vault / "state"))

    def _people(self) -> Done:
        facts = self.facts()
        known = facts["people"]
        waiting = {name: role for name, role in self.house.people.items() if not known.get(name)}
        if not waiting:
            return Done()
        wanted = [f"{name}:{role}" for name, role in waiting.items()]
        for line in self.machine.manage("staff", "invite", *wanted).splitlines():
            name, _, link = line.partition(" ")
            self.links[name] = link
        self._facts = None
        new = [name for name in waiting if name not in known]
        return Done(", ".join(new), tells=[f"{name}: {link}" for name, link in self.links.items()])

    def _push_certificate(self) -> Done:
        if self.facts()["push_certificate"]:
            return Done()
        if self.wishes.push_certificate is None or self.wishes.push_key is None:
            return Done(waits="an admin asks Apple for it on the page «Push certificate»")
        both = _text(self.wishes.push_certificate) + _text(self.wishes.push_key)
        files = ("--certificate", "-", "--key", "-")  # the process may not look where they are
        said = self.machine.manage("staff", "push_certificate", *files, answer=both).strip()
        self._facts = None
        return Done(said)

    def _charter(self) -> Done:
        """The ceremony that there is: fingerprints are spoken by their people, and typed here."""
        facts = self.facts()
        if facts["charter"]:
            return Done()
        pins = self.wishes.pins
        if not pins and self._may_begin(facts):
            pins = self._spoken(facts)
        if not pins or not self._is_compared():
            return Done(waits="keepers, approver and helpdesk register signing passkeys first")
        was_active = self.machine.is_active("vault")
        if was_active:  # one alone writes into its journal
            self.machine.run(["systemctl", "stop", "passcodes-vault"])
        try:
            words = [word for pin in pins for word in ("--pin", pin)]
            said = self.machine.manage("vault", "vault_trust", "genesis", *words, answer="yes\n")
        finally:
            if was_active:
                self.machine.run(["systemctl", "start", "passcodes-vault"])
        self._facts = None
        digest = said.strip().rpartition(" ")[2]
        return Done(f"{len(pins)} people are pinned; this goes on paper: {digest}")

    def _may_begin(self, facts: dict[str, Any]) -> bool:
        return set(self.house.keepers) <= {key["name"] for key in facts["keys"]}

    def _spoken(self, facts: dict[str, Any]) -> tuple[str, ...]:
        """What people say of their own passkey, typed by an operator; never shown by us."""
        if self._ask is None:
            return ()
        pins = []
        registered = {key["name"] for key in facts["keys"]}
        for name, role in self.house.pinned_roles.items():
            if name in registered:
                spoken = self._ask(f"Fingerprint as {name} speaks it (empty: not now)")
                if spoken.strip():
                    pins.append(f"{name}:{role}:{' '.join(spoken.split())}")
        keepers_spoke = set(self.house.keepers) <= {pin.partition(":")[0] for pin in pins}
        return tuple(pins) if keepers_spoke else ()

    def _is_compared(self) -> bool:
        """With --yes whoever gives the fingerprints says so by giving them."""
        if self._ask is None:
            return True
        question = "Two operators have compared every fingerprint. Type yes"
        return self._ask(question).strip() == "yes"

    # What the rows say

    def facts(self) -> dict[str, Any]:
        """What the staff site's process sees; Refused with its words where it sees nothing."""
        if self._facts is not None:
            return self._facts
        try:
            lines = self.machine.manage("staff", "reach").splitlines()
        except Failed as reason:
            raise Refused(
                f"The staff site's process does not reach its database.\n{reason}"
            ) from None
        told = [json.loads(line) for line in lines if line.startswith("{")]
        facts: dict[str, Any] = next(one["words"] for one in told if one["what"] == "house")
        self._facts = facts
        return facts


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", "it is no text")
        raise Refused(f"{file} cannot be read: {reason}.") from None


def _digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()
