"""A scene that is set once for many tests: each finds it as it was, and what it does is undone.

The tests' transactions lie in one that holds the scene, so their `db` gives back the rows; the vault's
folder, the clock and what Python holds of the rows are given back here.
"""

import copy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from django.db import transaction
from django.db.models import Model
from django.utils import timezone

from tests.house import House, house_in
from tests.staff_site import Scene

Thing = TypeVar("Thing", Scene, House)


class Stage:
    def __init__(self, scene: Scene, kept: Path) -> None:
        self._scene = scene
        self._kept = shutil.copytree(scene.house.vault_state, kept)
        self._then = timezone.now()
        self._pushes = list(scene.house.pushes)

    def as_it_was(self) -> Scene:
        """The scene for the next test."""
        rows: dict[int, object] = {}
        scene = _copied(self._scene, rows)
        scene.house = _copied(self._scene.house, rows)
        scene.people = {role: copy.deepcopy(one, rows) for role, one in scene.people.items()}
        house = scene.house
        house.clock.back_to(self._then)
        house.pushes[:] = self._pushes
        house.push_answers.clear()
        house.phones = list(house.phones)
        shutil.rmtree(house.vault_state)
        shutil.copytree(self._kept, house.vault_state)
        return scene


@contextmanager
def stage_set(folder: Path) -> Iterator[Stage]:
    outer = transaction.atomic()
    outer._from_testcase = True  # type: ignore[attr-defined]  # what must be outermost is, as in a TestCase
    with outer, house_in(folder) as house:  # what a house is born with is undone as well
        yield Stage(Scene(house), folder / "kept")
        transaction.set_rollback(True)


def _copied(thing: Thing, rows: dict[int, object]) -> Thing:
    """Another one, whose rows are its own; `rows` keeps those that two hold alike."""
    other = copy.copy(thing)
    for name, value in vars(thing).items():
        if isinstance(value, Model):
            setattr(other, name, copy.deepcopy(value, rows))
    return other
