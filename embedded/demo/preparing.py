"""What must be there before the processes can start: databases, keys, tables, people, devices' links."""

import base64
import json
import secrets
from collections.abc import Callable

from embedded import place, postgres, redis
from embedded.demo.commands import manage, run
from embedded.demo.environments import write_environments
from embedded.demo.wanted import Wanted
from embedded.place import write_private
from embedded.processes import Family

PEOPLE = (
    *("helpdesk", "approver", "approver2", "author", "auditor", "admin"),
    *("keeper", "keeper2", "safe"),
)
PLATFORMS = (
    ("ios", 5),
    ("ipados", 2),
    ("macos", 1),
)  # shares of the fleet, the first takes the rest
GROUPS = {"ios": "Phones", "ipados": "Tablets", "macos": "Macs"}  # as `seed_demo` makes them


def prepare(wanted: Wanted, services: Family) -> dict[str, str]:
    """Databases, keys, tables, people and devices' links; the passwords."""
    data = wanted.data
    is_new = not (data / "seeded").exists()
    urls: dict[str, str] = {}
    passwords: dict[str, str] = {}

    def start_services() -> None:
        here = place.prepare(data)
        urls["DATABASE_URL"] = postgres.start(services, here, durable=True)
        urls["REDIS_URL"] = redis.start(services, here, durable=True)

    def seed() -> None:
        passwords.update({name: _password() for name in PEOPLE})
        write_private(data / "passwords", "".join(f"{n} {p}\n" for n, p in passwords.items()))
        manage(wanted, "seed_demo", SEED_PASSWORDS=json.dumps(passwords))

    def make_push_certificate() -> None:
        run(
            "tests.simulator",
            "-m",
            "tests.simulator",
            "push-certificates",
            "--state",
            data / "push",
        )
        files = ("--certificate", data / "push/mdm.pem", "--key", data / "push/mdm.key")
        manage(wanted, "push_certificate", *files)

    steps: list[tuple[str, Callable[[], object]]] = [
        ("starting PostgreSQL and Redis", start_services),
        ("keys and environment files", lambda: write_environments(wanted, urls)),
        ("making the tables", lambda: manage(wanted, "migrate", "--no-input", by="owner")),
        ("a login for each process", lambda: manage(wanted, "grants", by="owner")),
        ("the door's key", lambda: manage(wanted, "door_rotate", by="door")),
        ("roles and their permissions", lambda: manage(wanted, "setup_roles")),
        ("the signing page", lambda: manage(wanted, "signing_page", "--out", data / "sign")),
    ]
    if is_new:
        steps += [
            ("people, groups, policies and configurations", seed),
            ("a push certificate", make_push_certificate),
            ("noting that this is done", (data / "seeded").touch),
        ]
    steps.append((f"enrollment links for {wanted.devices} devices", lambda: _make_links(wanted)))
    for done, (sentence, step) in enumerate(steps):
        print(
            f"Preparing {done + 1}/{len(steps)} {100 * done // len(steps):3} %  {sentence}",
            flush=True,
        )
        step()
    if not is_new:
        lines = (data / "passwords").read_text().splitlines()
        passwords.update((name, password) for name, password in map(str.split, lines))
    return passwords


def _password() -> str:
    """80 bits that can be read out and typed."""
    letters = base64.b32encode(secrets.token_bytes(10)).decode().lower()
    return "-".join(letters[at : at + 4] for at in range(0, 16, 4))


def _make_links(wanted: Wanted) -> None:
    """One for each device that has none yet; the first makes its own key, the others are quicker."""
    file = wanted.data / "links"
    lines = file.read_text().splitlines() if file.exists() else []
    missing = max(0, wanted.devices - len(lines))
    shares = sum(share for _, share in PLATFORMS)
    counts = {name: missing * share // shares for name, share in PLATFORMS}
    counts[PLATFORMS[0][0]] += missing - sum(counts.values())
    wanted_links = [(name, "pkcs12", count) for name, count in counts.items()]
    if missing and not lines:
        first, _, count = wanted_links[0]
        wanted_links[:1] = [(first, "scep", 1), (first, "pkcs12", count - 1)]
    for name, identity, count in wanted_links:
        if count:
            options = ("--platform", name, "--identity", identity, "--group", GROUPS[name])
            printed = manage(wanted, "enrollment_link", *options, "--count", str(count))
            lines += [
                f"{name} {line.strip()}" for line in printed.splitlines() if "/enroll/" in line
            ]
    write_private(file, "".join(f"{line}\n" for line in lines))
