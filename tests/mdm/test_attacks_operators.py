"""T32, operators' mistakes: a key where it must not be, doors in one, no pins. Refused, or warned and said.

A synced passkey is tried in tests/vault/test_attacks_signatures.py, a restore in tests/vault/test_backup.py.
"""

import secrets

import psycopg
import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils.encoding import force_str
from pytest_django.fixtures import Settings

from tests.house import House
from tests.mdm.test_settings import EVERYBODY, HOLDS, run

SERVED = ("-m", "granian", "--interface", "wsgi", "--port", "0", "mdm.wsgi:application")
CELERY = ("-m", "celery", "-A", "mdm.celery")
STARTS = {  # as the processes are really started
    "staff": SERVED,
    "checkin": SERVED,
    "connect": SERVED,
    "devices": SERVED,
    "worker": (*CELERY, "worker", "--concurrency", "1"),
}


@pytest.mark.parametrize("process", STARTS)
def test_t32_a_process_that_can_see_a_key_of_the_vault_does_not_start(process: str) -> None:
    key = secrets.token_urlsafe(32)
    env = {"SERVE": process, **EVERYBODY, **HOLDS[process], "VAULT_PRIVATE_KEY": key}
    done = run(env, *STARTS[process])
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert f"VAULT_PRIVATE_KEY is visible to SERVE={process}" in said
    assert key not in said


@pytest.mark.parametrize(
    ("process", "holds", "warnings"),
    [
        ("devices", {}, {"passcodes.W002", "passcodes.W009", "passcodes.W010"}),
        ("devices", {"DOOR_TLS_AUTHORITY": "PEM", "DOOR_STATE": "/x"}, {"passcodes.W002"}),
        ("checkin", {}, {"passcodes.W010"}),
        ("checkin", {"DOOR_TLS_AUTHORITY": "PEM"}, set()),
        ("connect", {}, {"passcodes.W009"}),
        ("connect", {"DOOR_STATE": "/x"}, set()),
    ],
)
def test_t32_both_doors_in_one_and_no_pins_are_warned_of(
    process: str, holds: dict[str, str], warnings: set[str]
) -> None:
    env = {"SERVE": process, **EVERYBODY, **HOLDS[process], **holds}
    done = run(env, "manage.py", "check", "--deploy")
    found = {word.strip("():") for word in done.stderr.split() if "passcodes.W" in word}
    assert found == warnings


def test_t32_both_doors_in_one_and_no_pins_are_said_on_the_policy_page(
    house: House, settings: Settings
) -> None:
    client = Client()
    client.force_login(house.auditor)

    def page() -> str:
        with connection.cursor() as cursor:  # a transaction sees the sessions of its beginning
            cursor.execute("SELECT pg_stat_clear_snapshot()")
        return client.get(reverse("admin:it_policy")).content.decode()

    place = connection.get_connection_params()
    settings.DOOR_TLS_AUTHORITY = force_str(settings.CA_CERTIFICATE)
    with (
        psycopg.connect(**{**place, "application_name": "passcodes checkin"}),
        psycopg.connect(**{**place, "application_name": "passcodes connect"}),
    ):
        said = page()
    assert "The doors are apart" in said
    assert "do not pin the door’s TLS" not in said
    settings.DOOR_TLS_AUTHORITY = ""
    with psycopg.connect(**{**place, "application_name": "passcodes devices"}):
        said = page()
    assert "Both doors are one process" in said
    assert "do not pin the door’s TLS" in said
