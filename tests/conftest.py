"""Tests get a PostgreSQL and a Redis that are theirs alone: from `embedded.run`, or started here."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import environ
import pytest
from django.conf import settings

from embedded import place, postgres, redis
from embedded.place import Place
from embedded.processes import Family


@pytest.fixture(scope="session")
def services() -> Iterator[tuple[Family, Place]]:
    """Where a lone `pytest tests/…` starts what `make test` has started before."""
    data = Path(mkdtemp(prefix="passcodes-tests-"))
    try:
        with Family() as family:
            yield family, place.prepare(data)
    finally:
        place.remove(data)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(request: pytest.FixtureRequest) -> None:
    """pytest-django asks for this before it makes the test's database."""
    database = settings.DATABASES["default"]
    if not database["HOST"]:
        family, here = request.getfixturevalue("services")
        database.update(environ.Env.db_url_config(postgres.start(family, here, durable=False)))


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """The broker, empty at the start of the session."""
    if url := os.environ.get("REDIS_URL"):
        return url
    family, here = request.getfixturevalue("services")
    return redis.start(family, here, durable=False)
