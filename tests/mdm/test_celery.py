"""The clock: ticks without arguments, each for a task that exists, and nothing else in Redis."""

import inspect
from typing import Any

from django.conf import settings

from mdm.celery import app

app.loader.import_default_modules()
OURS = {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}
TICKS: dict[str, dict[str, Any]] = settings.CELERY_BEAT_SCHEDULE


def test_every_tick_has_its_task_and_every_task_its_tick() -> None:
    assert {tick["task"] for tick in TICKS.values()} == set(OURS)
    assert app.conf.beat_schedule == TICKS


def test_no_task_takes_an_argument() -> None:
    """So no name, token or device lies in Redis, and nobody who writes there chooses one."""
    assert OURS
    for task in OURS.values():
        assert not inspect.signature(task.run).parameters
    for tick in TICKS.values():
        assert not tick.get("args")
        assert not tick.get("kwargs")


def test_a_late_tick_is_worth_nothing() -> None:
    for tick in TICKS.values():
        assert tick["options"]["expires"] <= tick["schedule"]


def test_a_tick_is_acknowledged_before_its_work() -> None:
    """Otherwise a Redis that dies under a running task leaves the worker deaf (kombu 5.7)."""
    for task in OURS.values():
        assert not task.acks_late
        assert task.ignore_result


def test_a_slot_lost_with_redis_leaves_no_worker_deaf() -> None:
    """A limit would count messages whose acknowledgement died with Redis for ever (kombu 5.7)."""
    assert app.conf.worker_prefetch_multiplier == 0


def test_nobody_commands_a_worker_from_afar_and_no_task_outlives_its_message() -> None:
    assert not app.conf.worker_enable_remote_control
    assert app.conf.task_soft_time_limit < app.conf.task_time_limit
    # A message that is not acknowledged in this time is delivered again.
    assert app.conf.broker_transport_options["visibility_timeout"] > app.conf.task_time_limit
