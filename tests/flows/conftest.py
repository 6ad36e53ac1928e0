"""Every test here may ask for the house, or for the ground on which real processes stand side by side."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import DjangoDbBlocker

from tests.house import house
from tests.own_database import fresh_database

__all__ = ["house"]


@pytest.fixture(scope="module")
def ground(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Path, str]]:
    """An empty folder, and the URL of a database that all tests of the file share."""
    data = tmp_path_factory.mktemp("processes") / "data"
    with fresh_database(django_db_blocker) as url:
        yield data, url
