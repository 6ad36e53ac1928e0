"""What happens by itself, and at a push of a button, to thousands at once."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.test import override_settings
from django.utils import timezone

from bench.figures import Figure, free_port, until, watch
from bench.house import ROLLED_OUT, Filled
from devices import waking
from devices.models import Command, Device
from devices.rules.commands import State
from embedded.processes import Family
from passcodes import enforcement, rollout
from passcodes.models import Enforcement
from passcodes.rules import enforcement as rules

ON = f"{ROLLED_OUT:,} devices"


def figures(filled: Filled) -> Iterator[Figure]:
    with watch() as first:
        rollout.push(filled.version().pk, group_ids=[filled.group.pk], by=filled.boss)
    yield Figure("Roll a first version out", first.seconds, "s", f"{ON}, one transaction")
    with watch() as second:
        rollout.push(filled.version().pk, group_ids=[filled.group.pk], by=filled.boss)
    yield Figure("Roll a stricter version out over it", second.seconds, "s", f"{ON}, likewise")
    version = filled.version()
    with watch() as looked:
        rollout.preview(version.pk, group_ids=[filled.group.pk])
    yield Figure("Count what a push would do", looked.seconds, "s", ON)

    with pushing(filled):
        with watch() as pushed:
            count = waking.push_due()
        assert count == ROLLED_OUT, count
        yield Figure("Claim, push and settle", pushed.seconds, "s", f"{ON}, HTTP/2 over TLS")
    assert not Device.objects.due_for_push(timezone.now()).exists()

    now = timezone.now()
    Command.objects.open().update(state=State.ACKNOWLEDGED, answered_at=now, sent_at=now)
    Enforcement.objects.live().update(
        state=rules.State.GRACE,
        acknowledged_at=now - timedelta(hours=2),
        deadline=now - timedelta(hours=1),
        look_again_at=None,
    )
    with watch() as closed:
        count = enforcement.close_due()
    assert count == ROLLED_OUT, count
    yield Figure("End hours that are over", closed.seconds, "s", ON)
    Enforcement.objects.live().update(look_again_at=now)
    Command.objects.open().update(state=State.ACKNOWLEDGED, answered_at=now, sent_at=now)
    with watch() as asked:
        count = enforcement.ask_due()
    assert count == ROLLED_OUT, count
    yield Figure("Ask devices whose look has come", asked.seconds, "s", ON)


@contextmanager
def pushing(filled: Filled) -> Iterator[None]:
    """The simulated push service as a process of its own, and the worker's settings for it."""
    port = free_port()
    command = (sys.executable, "-m", "tests.simulator", "push", "--port", str(port))
    with Family() as services:
        log = filled.push / "push.log"
        services.start("the push service", [*command, "--state", filled.push], log=log)
        until(lambda: "ready" in log.read_text(), "the push service")
        trusted = str(filled.push / "ca.pem")
        with override_settings(APNS_HOST="localhost", APNS_PORT=port, APNS_CA=trusted):
            yield
