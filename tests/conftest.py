"""Each process that runs tests has a PostgreSQL of its own: roles and backends are a whole cluster's."""

import gc
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import environ
import pytest
from django.conf import settings

from embedded import place, postgres
from embedded.processes import Family

SELDOM = 200_000  # new objects until Python looks for rings of them


def pytest_collection_finish() -> None:
    """What stands now stays until the end: nobody needs to look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(SELDOM)


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """Never the one that stands in the environment: tests drop what they find."""
    data = Path(mkdtemp(prefix="passcodes-tests-"))
    try:
        with Family() as family:
            yield postgres.start(family, place.prepare(data), durable=False)
    finally:
        place.remove(data)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(database_url: str) -> None:
    """pytest-django asks for this before it makes the test's database."""
    settings.DATABASES["default"].update(environ.Env.db_url_config(database_url))
