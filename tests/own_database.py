"""A database for a test that commits: audit entries stay, so nothing can be cleaned up in a shared one."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import psycopg
import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection, connections
from django.db.backends.base.creation import TEST_DATABASE_PREFIX
from django.db.models import Model
from pytest_django import DjangoDbBlocker


@pytest.fixture
def own_database(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The URL of a fresh copy of the migrated database; Django uses it as well."""
    with fresh_database(django_db_blocker) as url:
        yield url


@contextmanager
def fresh_database(django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The same for longer than one test."""
    place = connections.settings["default"]  # every thread's connection is made from it
    shared = place["NAME"]
    is_migrated = shared.startswith(TEST_DATABASE_PREFIX)  # not where no other test has rows
    own = f"{TEST_DATABASE_PREFIX}own_{secrets.token_hex(4)}"
    with django_db_blocker.unblock():
        connection.close()
        template = shared if is_migrated else "template0"
        # Its files are copied at once; by default each page would go through the log.
        _maintain(f'CREATE DATABASE "{own}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        place["NAME"] = own
        try:
            if is_migrated:
                left = [model._meta.label for model in kinds_of_rows()]
                assert not left, f"An earlier test has left rows of {left}."
            else:
                call_command("migrate", verbosity=0)
            yield address_of(own)
        finally:
            connection.close()
            place["NAME"] = shared
            _maintain(f'DROP DATABASE "{own}" WITH (FORCE)')


def kinds_of_rows() -> list[type[Model]]:
    """Of which there are some that no migration has made."""
    return [
        model
        for model in apps.get_models()
        if model not in {ContentType, Permission} and model._default_manager.exists()
    ]


def address_of(name: str) -> str:
    user, password, host, port = (
        quote(str(connections.settings["default"][key]))
        for key in ("USER", "PASSWORD", "HOST", "PORT")
    )
    place = f"/{host}" if host.startswith("/") else f"{host}:{port}"  # a socket, or a server
    return f"postgres://{user}:{password}@{place}/{name}"


def _maintain(statement: str) -> None:
    place = connections.settings["default"]
    with psycopg.connect(
        dbname="postgres",
        user=place["USER"],
        password=place["PASSWORD"],
        host=place["HOST"],
        port=place["PORT"] or None,
        autocommit=True,
    ) as maintenance:
        maintenance.execute(statement.encode())
