"""Groups by rule at 100,000 devices.

`python -m embedded.run -- .venv/bin/python -m bench.groups [DEVICES]`

What somebody waits for who writes a rule: who is in, by each kind of condition, and the page's preview. Then
a rule that moves a few devices, one that moves half of them by the clock, the clock's look when nothing has
changed, and what the rules cost a device that reports.
"""

import sys
from collections.abc import Iterator
from functools import partial

from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bench import fleet
from bench.figures import Figure, each, watch
from devices import grouping as ground
from devices.models import Device, DeviceGroup, GroupRule
from devices.rules.grouping import in_words, read
from passcodes import grouping, policies, rollout
from passcodes.rules.requirements import Requirements
from staff.models import User

TIMES = 5
MILLI = 1e3
RULES = 20  # in the house
PHONES = read("platform", "is", "iPhone or iPad")
LATE = read("version", "at_least", "26.1")
FEW = read("tag", "begins", "A00001")
NORTH = read("user", "contains", "00042")


def main() -> None:
    count = int(sys.argv[1]) if sys.argv[1:] else fleet.DEVICES
    call_command("migrate", verbosity=0)
    with watch() as filling:
        boss = fleet.fill(count)
    print(Figure("Fill the house", filling.seconds, "s", f"{count:,} devices"), flush=True)
    for figure in figures(boss):
        print(figure, flush=True)


def figures(boss: User) -> Iterator[Figure]:
    total = f"of {Device.objects.count():,}"
    for conditions in ([PHONES], [LATE], [FEW], [NORTH], [PHONES, LATE, FEW]):
        found = ground.fitting(conditions)
        yield Figure(
            "Who is in",
            each(found.count, times=TIMES) * MILLI,
            "ms",
            f"{in_words(conditions)}: {found.count():,} {total}",
        )
    group = DeviceGroup.objects.create(name="By rule")
    demands = Requirements(force_pin=True, min_length=8)
    draft = policies.draft(policies.create("By rule", by=boss), demands, by=boss)
    version = policies.publish(draft.pk, by=boss)
    rollout.push(version.pk, group_ids=[group.pk], by=boss)
    yield _preview(boss, group)
    yield from _written(boss, group)
    for number in range(RULES):
        other = DeviceGroup.objects.create(name=f"Rule {number}")
        grouping.write(other.pk, [read("tag", "is", f"B{number}"), PHONES], by=boss)
    yield from _at_rest(group)


def _preview(boss: User, group: DeviceGroup) -> Figure:
    client = Client(headers={"host": "localhost"})
    client.force_login(boss)
    address = f"/devices/devicegroup/{group.pk}/rule/preview/"
    sent = {"fact-0": "platform", "test-0": "is", "value-0": "iPhone"}
    client.get(address, sent)
    with CaptureQueriesContext(connection) as queries:
        client.get(address, sent)
        count = len(queries)
    took = each(partial(client.get, address, sent), times=TIMES)
    return Figure("The preview, with what follows", took * MILLI, "ms", f"{count} queries")


def _written(boss: User, group: DeviceGroup) -> Iterator[Figure]:
    for conditions in ([FEW], [LATE, PHONES]):
        would = grouping.moves(group.pk, conditions)
        number = would.joining.count() + would.leaving.count()
        with watch() as writing:
            grouping.write(group.pk, conditions, by=boss)
        yield Figure("Write the rule", writing.seconds * MILLI, "ms", f"{number:,} devices move")
        with watch() as moving:
            done = 0
            while some := grouping.settle_due():
                done += some
        if done:
            yield Figure("Move them by the clock", done / moving.seconds, "a second", f"{done:,}")


def _at_rest(group: DeviceGroup) -> Iterator[Figure]:
    rules = GroupRule.objects.count()
    GroupRule.objects.update(due_at=timezone.now())
    with watch() as looking:
        assert grouping.settle_due() == 0
    yield Figure("The clock's look", looking.seconds * MILLI, "ms", f"{rules} rules, nobody moves")
    device = group.devices.all()[0]
    with CaptureQueriesContext(connection) as queries:
        grouping.settle(device)
    took = each(partial(grouping.settle, device), times=TIMES * TIMES)
    yield Figure("A device reports", took * MILLI, "ms", f"{len(queries)} queries, {rules} rules")


if __name__ == "__main__":
    main()
