"""Set the house up on one machine; run it again at any time, it goes on from what is there.

It asks for what has no default (or takes it as options; --yes asks nothing), makes every key, each
process's environment file and login, the vault's state, units and proxy configuration, and invites the
first people. `--check` tries each thing for real, changes nothing, and says what is next.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from mdm.setup import answers, looks
from mdm.setup.answers import House, Refused
from mdm.setup.looks import Look
from mdm.setup.steps import Setup, Wishes

GIVEN = (  # options that are kept in the folder
    "organisation",
    "staff_url",
    "door_url",
    "sign_url",
    "admin",
    "keepers",
    "approver",
    "helpdesk",
    "doors",
    "port",
    "state",
    "tls",
    "tls_authority",
    "users",
)


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = ()  # there is no house yet

    def add_arguments(self, parser: CommandParser) -> None:
        option = parser.add_argument
        option("--folder", type=Path, default=Path("/etc/passcodes"), help="environment files")
        option("--yes", action="store_true", help="ask nothing")
        option("--check", action="store_true", help="change nothing; try each thing for real")
        option(
            "--through",
            default="",
            help="with --check: connect to this address, whatever DNS says",
        )
        for name, question in answers.QUESTIONS.items():
            option(f"--{name.replace('_', '-')}", help=question)
        option("--database-url", default="", help="postgres://OWNER:PASSWORD@HOST/NAME")
        option("--database-url-file", type=Path, help="the same, in a file")
        option("--redis-url", default="", help="redis://:PASSWORD@HOST/0")
        option("--admin", help="user name of the first admin")
        option("--keeper", action="append", dest="keepers", help="a keeper; say it twice")
        option("--approver")
        option("--helpdesk")
        option("--doors", choices=(answers.APART, answers.TOGETHER))
        option("--port", type=int, help="of the staff site; the doors take the next two")
        option("--state", help="where the vault and others keep their files")
        option("--tls", help="folder with HOST.pem and HOST.key of each name")
        option("--tls-authority", help="PEM: the authority of the door's TLS, for devices to pin")
        option("--users", action="store_true", default=None, help="an OS user for each process")
        option("--units", type=Path, help="where systemd's units go")
        option("--push-certificate", type=Path, metavar="PEM")
        option("--push-key", type=Path, metavar="PEM")
        option("--pin", action="append", default=[], metavar="NAME:ROLE:FINGERPRINT")

    def handle(self, *_args: Any, folder: Path, check: bool, yes: bool, **options: Any) -> None:
        if settings.SERVE != "setup":
            raise CommandError(
                "The set-up sees no process's environment: leave SERVE and ENV_FILE away."
            )
        ask = None if yes or check else self._ask
        given = {name: options[name] for name in GIVEN if options[name] is not None}
        try:
            before = answers.kept(folder, needed=check)
            house = answers.house(given, before, ask)
            self._may(house)
            setup = Setup(house, folder.resolve(), _wishes(options, before, ask), ask)
            if check:
                self._check(setup, options["through"])
            else:
                self._run(setup)
        except Refused as reason:
            raise CommandError(str(reason)) from None

    def _may(self, house: House) -> None:
        if house.users and os.geteuid() != 0:
            raise Refused("--users needs root: it makes users and gives files to them.")

    def _run(self, setup: Setup) -> None:
        steps = list(setup.steps())
        for number, (what, take) in enumerate(steps, 1):
            done = take()
            said = f"made {done.made}" if done.made else "stands"
            said = f"waits; {done.waits}" if done.waits else said
            self.stdout.write(f"{number:2}/{len(steps)}  {what}: {said}")
            for line in done.tells:
                self.stdout.write(f"        {line}")
        self._next(setup)

    def _next(self, setup: Setup) -> None:
        """What a person has to do, in its order."""
        facts, house, machine = setup.facts(), setup.house, setup.machine
        units = " ".join(sorted(one.removesuffix(".service") for one in _units(setup)))
        lines = []
        if not machine.is_active("staff"):
            lines.append(
                f"Start the processes: systemctl enable --now {units} (units: {setup.units})"
            )
            lines.append(
                f"Start the proxy: TLS certificates in {house.tls}, {machine.folder / 'nginx.conf'} "
                "in /etc/nginx/conf.d"
            )
        if setup.links:
            lines.append("Give each person their link above; it serves once, for three days")
        if not facts["push_certificate"]:
            lines.append(
                "The admin asks Apple for a push certificate on the page «Push certificate»"
            )
        if not facts["charter"]:
            lines.append(
                "Keepers, approver and helpdesk register a signing passkey, and speak its "
                "fingerprint; run setup again then"
            )
        lines.append("manage.py setup --check tries everything for real")
        self.stdout.write(looks.promise(house))
        self.stdout.write("Next:")
        for line in lines:
            self.stdout.write(f"  - {line}.")

    def _check(self, setup: Setup, through: str) -> None:
        house = setup.house
        failed: list[Look] = []
        for one in self._looks(setup, through):
            self.stdout.write(f"{'yes' if one.works else 'NO '}  {one.what}: {one.words}")
            if not one.works:
                failed.append(one)
        self.stdout.write(looks.promise(house))
        if failed:
            missing = "1 thing is" if len(failed) == 1 else f"{len(failed)} things are"
            raise CommandError(f"{missing} missing. First: {failed[0].words}")
        self.stdout.write("The house stands. Next: let a device in, on the page «Enrollment».")

    def _looks(self, setup: Setup, through: str) -> Any:
        yield from looks.processes(setup.house, setup.machine)
        yield from looks.addresses(setup.house, through=through)
        try:
            facts = setup.facts()
        except Refused as reason:
            yield Look("first people", works=False, words=str(reason))
            return
        yield from looks.people(setup.house, facts)

    def _ask(self, question: str) -> str:
        try:
            return input(f"{question}: ").strip()
        except EOFError:
            raise Refused("Nobody answers. Next: give it as an option, with --yes.") from None


def _wishes(
    options: dict[str, Any], before: dict[str, Any], ask: Callable[[str], str] | None
) -> Wishes:
    database_url = options["database_url"]
    if options["database_url_file"]:
        try:
            database_url = options["database_url_file"].read_text().strip()
        except OSError as problem:
            raise Refused(f"{problem.filename}: {problem.strerror}.") from None
    redis_url = options["redis_url"]
    if ask and not before:
        database_url = database_url or ask("Database (postgres://OWNER:PASSWORD@HOST/NAME)")
        redis_url = redis_url or ask("Redis (redis://:PASSWORD@HOST/0)")
    return Wishes(
        database_url=database_url,
        redis_url=redis_url,
        units=options["units"],
        push_certificate=options["push_certificate"],
        push_key=options["push_key"],
        pins=tuple(options["pin"]),
    )


def _units(setup: Setup) -> list[str]:
    return [one.name for one in setup.units.glob("passcodes-*.service")]
