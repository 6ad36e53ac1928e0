"""What a door notes of orders that have served: on its own disk, for a day, and told where it cannot."""

import os
import time
from pathlib import Path
from uuid import uuid4

import pytest
from pytest_django.fixtures import Settings

from passcodes import served


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    settings.DOOR_STATE = str(tmp_path / "door")
    return tmp_path / "door"


def test_what_is_noted_is_known_to_every_worker_of_the_door(folder: Path) -> None:
    command = uuid4()
    assert not served.is_noted(command)
    child = os.fork()
    if child == 0:
        served.note(command)
        os._exit(0)
    os.waitpid(child, 0)
    assert served.is_noted(command)
    assert not served.is_noted(uuid4())
    assert folder.stat().st_mode & 0o077 == 0


def test_a_note_goes_after_a_day(folder: Path) -> None:
    old, new = uuid4(), uuid4()
    served.note(old)
    before = time.time() - served.KEPT - 1
    os.utime(folder / old.hex, (before, before))
    served.note(new)
    assert served.is_noted(new)
    assert not served.is_noted(old)


def test_a_folder_that_cannot_be_written_is_told_and_loses_no_answer(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("no folder")
    served.note(uuid4())
    assert "DOOR_STATE cannot be written: " in caplog.text


def test_a_door_without_a_folder_knows_nothing(settings: Settings) -> None:
    settings.DOOR_STATE = ""
    command = uuid4()
    served.note(command)
    assert not served.is_noted(command)
