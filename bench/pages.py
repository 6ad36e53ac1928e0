"""Pages of the staff site: how long each takes on a full house, and how many queries it needs."""

from collections.abc import Iterator
from functools import partial
from http import HTTPStatus

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bench.figures import Figure, each
from bench.house import ALL, ROLLED_OUT, Filled
from passcodes.models import Rollout

TIMES = 5
MILLI = 1e3
OPENS = {HTTPStatus.OK, HTTPStatus.FOUND}  # a search for one device leads straight to it


def figures(filled: Filled) -> Iterator[Figure]:
    client = Client(headers={"host": "localhost"})
    client.force_login(filled.boss)
    device = filled.signers[0].device
    newest = Rollout.objects.latest("pk")
    for what, address, on in (
        ("The desk", "/", f"{ALL:,} devices"),
        ("The list of devices", "/devices/device/", ""),
        ("Search: end of a serial", f"/devices/device/?q={device.serial[-6:]}", ""),
        ("Search: a user", "/devices/device/?q=user.12345", ""),
        ("Search: nobody", "/devices/device/?q=no-such-device", ""),
        ("Saved view: overdue", "/devices/device/?view=overdue", f"{ROLLED_OUT:,} overdue"),
        ("A device's page", f"/devices/device/{device.pk}/change/", ""),
        ("A rollout's page", f"/passcodes/rollout/{newest.pk}/change/", f"{ROLLED_OUT:,} devices"),
        ("The audit", "/devices/auditentry/", ""),
    ):
        answer = client.get(address)
        assert answer.status_code in OPENS, (address, answer.status_code)
        with CaptureQueriesContext(connection) as queries:
            client.get(address)
            count = len(queries)
        took = each(partial(client.get, address), times=TIMES)
        yield Figure(what, took * MILLI, "ms", f"{count} queries; {on}".rstrip("; "))
