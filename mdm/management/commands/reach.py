"""Can this process reach what it needs? One line of JSON for each thing that was tried for real.

`manage.py setup --check` runs it in the name of every process; by hand, with a process's ENV_FILE.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection
from kombu import Connection
from kombu.exceptions import OperationalError as BrokerError

from devices import trials
from devices.models import Device, PushCertificate
from devices.trials import NotWell
from passcodes import vault_says
from staff.models import SigningKey, User

PATIENCE = 5  # seconds
Told = tuple[str, bool, str]


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = ()  # it asks for them itself, and goes on

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--well", action="store_true", help="exit well whatever was found")

    def handle(self, *_args: Any, well: bool, **_options: Any) -> None:
        is_well = True
        for what, works, words in _told():
            self.stdout.write(json.dumps({"what": what, "works": works, "words": words}))
            is_well = is_well and works
        if settings.SERVE == "staff" and is_well:
            self.stdout.write(json.dumps({"what": "house", "works": True, "words": _house()}))
        if not is_well and not well:
            raise CommandError("Not everything answers.")


def _told() -> Iterator[Told]:
    yield _try("its settings", _settings)
    if settings.SERVE != "clock":  # it has none
        yield _try("the database", _database)
    if settings.SERVE in {"worker", "clock"}:
        yield _try("Redis", _redis)
    if settings.SERVE == "worker":
        yield _try("the push service", _push_service)
    if settings.SERVE == "vault":
        yield _try("its state", _state)


def _try(what: str, look: Callable[[], str]) -> Told:
    try:
        return what, True, look()
    except NotWell as reason:
        return what, False, str(reason)


def _settings() -> str:
    found = checks.run_checks(include_deployment_checks=True)
    if serious := [one for one in found if one.level >= checks.ERROR]:
        raise NotWell(f"{serious[0].msg} {serious[0].hint or ''}".strip())
    return f"SERVE={settings.SERVE}"


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user")
            login = str(cursor.fetchone()[0])
    except DatabaseError as problem:
        raise NotWell(f"It does not let us in ({type(problem).__name__}).") from None
    found = checks.run_checks(
        databases=["default"], tags=["database"], include_deployment_checks=True
    )
    if serious := [one for one in found if one.level >= checks.ERROR]:
        raise NotWell(f"{serious[0].msg} {serious[0].hint or ''}".strip())
    return f"signed in as {login}"


def _redis() -> str:
    try:
        with Connection(settings.REDIS_URL, connect_timeout=PATIENCE) as broker:
            broker.ensure_connection(max_retries=1, timeout=PATIENCE)  # it pings
    except (BrokerError, OSError) as problem:
        raise NotWell(f"It does not answer ({type(problem).__name__}).") from None
    return "it answers"


def _push_service() -> str:
    words, _ = trials.push_service()
    return words


def _state() -> str:
    state = Path(settings.VAULT_STATE)
    if not (state / "journal").is_file():
        raise NotWell(f"There is no journal in {state}. Next: manage.py vault_init.")
    return f"its journal is in {state}"


def _house() -> dict[str, Any]:
    """What the set-up needs to know of the rows; names and fingerprints, no secret."""
    people = User.objects.filter(is_active=True)
    try:
        vault_says.house()
        silent = ""
    except vault_says.Silent as words:
        silent = str(words)
    charter = vault_says.charter()
    return {
        "people": {one.username: one.has_usable_password() for one in people},
        "keys": [
            {"name": name, "fingerprint": fingerprint}
            for name, fingerprint in SigningKey.objects.filter(revoked_at=None)
            .order_by("registered_at")
            .values_list("person__username", "fingerprint")
        ],
        "push_certificate": PushCertificate.objects.filter(is_current=True).exists(),
        "devices": Device.objects.enrolled().count(),
        "vault_silent": silent,
        "charter": charter.version,
        "pinned": {one.name: sorted(one.roles) for one in charter.people if one.keys},
    }
