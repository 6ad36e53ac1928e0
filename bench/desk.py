"""The staff site at 100,000 devices: as it runs, and as a browser finds it.

`python -m embedded.run -- .venv/bin/python -m bench.desk [DEVICES]`

For the desk, the search, the list and a device's page: the server's time, the bytes as they were sent
and as they are, the requests, and the time until the page can be used, in a real Chromium with an empty
cache and with a full one. Then how the figures of the desk are counted, before and after, in one run; and
how fast the list leaves as a file, and what memory that takes.
"""

import os
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db.models import Q
from django.test import Client
from playwright.sync_api import BrowserContext, Response, sync_playwright

from bench import fleet
from bench.door import answers
from bench.figures import Figure, each, free_port, until, watch
from devices.models import Device, DeviceGroup
from embedded.processes import Family
from mdm.desk import figures as desk_figures
from passcodes import coverage, standing
from staff import permissions
from staff.models import Scope, User
from tests.chromium import launched

TIMES = 7
MILLI, KILO, MEGA = 1e3, 1e3, 1e6
KIB = 1024
LOOKS = 0.5  # seconds between two looks at a process
WIDE = {"width": 1440, "height": 900}
# When the page could be read and used: its parser was done and its scripts had run.
USABLE = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
SERVED = """(() => { const page = performance.getEntriesByType('navigation')[0];
  return page.responseStart - page.requestStart; })()"""
FORMER = (  # words that the desk counted one by one
    *("exposed", "overdue", "unreachable", "lost"),
    *("compliant", "grace", "overdue", "exposed", "waiting", "not_measurable", "no_policy"),
)


def main() -> None:
    count = int(sys.argv[1]) if sys.argv[1:] else fleet.DEVICES
    call_command("migrate", verbosity=0)
    with watch() as filling:
        boss = User.objects.filter(username="boss").first() or fleet.fill(count)
    print(Figure("Fill the house", filling.seconds, "s", f"{count:,} devices"), flush=True)
    with TemporaryDirectory(prefix="bench-") as folder:
        for figure in figures(boss, Path(folder)):
            print(figure, flush=True)


def figures(boss: User, folder: Path) -> Iterator[Figure]:
    yield from counting(boss)
    with serving(folder) as (site, server):
        yield from pages(boss, site)
        yield from file(boss, site, server)


# The figures of the desk, before and after


def counting(boss: User) -> Iterator[Figure]:
    devices = permissions.visible(boss)
    former = each(lambda: one_by_one(devices), times=3)
    whole = each(lambda: desk_figures.count(devices), times=3)
    client = Client(headers={"host": "localhost"})
    client.force_login(boss)

    def anew() -> None:
        desk_figures.forget()
        client.get("/")

    counted = each(anew, times=3)
    kept = each(lambda: client.get("/"), times=TIMES)
    yield Figure("The desk's figures, each word by itself", former * MILLI, "ms")
    yield Figure("  all of them at once, charts included", whole * MILLI, "ms")
    yield Figure("The desk, its figures counted for each look", counted * MILLI, "ms")
    yield Figure("  and now, for a page that looks again", kept * MILLI, "ms")
    yield Figure("  so many looks for one", counted / kept, "times")
    region = somebody_of_a_region()
    groups = region.scope.groups.all()
    former = each(Device.objects.filter(groups__in=groups).distinct().count, times=3)
    seen = permissions.visible(region)
    now = each(seen.count, times=3)
    yield Figure("Devices of half the groups, rows compared", former * MILLI, "ms", "DISTINCT")
    yield Figure("  and now", now * MILLI, "ms", f"{seen.count():,} devices")
    yield Figure("  so much less", former / now, "times")


def somebody_of_a_region() -> User:
    region, is_new = User.objects.get_or_create(username="region", defaults={"is_staff": True})
    if is_new:
        scope = Scope.objects.create(user=region)
        scope.groups.set(DeviceGroup.objects.order_by("pk")[: fleet.GROUPS // 2])
    return region


def one_by_one(devices: Any) -> None:
    """As it was counted for each who looked."""
    in_service = devices.filter(~Q(enrollment_state="retired"))
    for word in FORMER:
        standing.only(in_service, word).count()
    in_service.count()
    coverage.of(in_service)


# The pages


def pages(boss: User, site: str) -> Iterator[Figure]:
    client = Client(headers={"host": "localhost"})
    client.force_login(boss)
    device = Device.objects.order_by("pk")[Device.objects.count() // 2]
    looks = (
        ("The desk", "/"),
        ("Search for a part of a user's name", f"/devices/device/?q={device.user_name[:-2]}"),
        ("Search that fits one device", f"/devices/device/?q={device.serial[-6:]}"),
        ("The list of devices", "/devices/device/"),
        ("A device's page", f"/devices/device/{device.pk}/change/"),
    )
    cookie = {
        "name": settings.SESSION_COOKIE_NAME,
        "value": client.cookies[settings.SESSION_COOKIE_NAME].value,
        "url": site,
    }
    with sync_playwright() as playwright:
        chromium = launched(playwright)
        for what, address in looks:
            context = chromium.new_context(viewport=WIDE)  # type: ignore[arg-type]  # a plain dict
            context.add_cookies([cookie])  # type: ignore[list-item]  # likewise
            yield from visited(context, what, site + address)
            context.close()
        chromium.close()


def visited(context: BrowserContext, what: str, address: str) -> Iterator[Figure]:
    page = context.new_page()
    sent: list[Response] = []

    def note(one: Response) -> None:
        sent.append(one)

    page.on("response", note)
    page.goto(address)
    first = page.evaluate(USABLE)
    page.wait_for_load_state("networkidle")
    came = [one for one in sent if one.status == HTTPStatus.OK]  # not what leads elsewhere
    sizes = [one.request.sizes() for one in came]
    over = sum(one["responseBodySize"] + one["responseHeadersSize"] for one in sizes)
    whole, html, requests = sum(len(one.body()) for one in came), sizes[0], len(sent)
    served, usable = [], []
    for _ in range(TIMES):
        page.goto(address)
        served.append(page.evaluate(SERVED))
        usable.append(page.evaluate(USABLE))
    yield Figure(f"{what}: server", median(served), "ms", "from the request to the first byte")
    yield Figure("  until usable, nothing cached", first, "ms", f"{requests} requests")
    yield Figure("  until usable, afterwards", median(usable), "ms")
    yield Figure("  sent", over / KILO, "kB", f"of {whole / KILO:.0f} kB")
    yield Figure("  the page itself", html["responseBodySize"] / KILO, "kB")


# The list as a file


def file(boss: User, site: str, server: int) -> Iterator[Figure]:
    client = Client(headers={"host": "localhost"}, enforce_csrf_checks=True)
    client.force_login(boss)
    client.get("/devices/device/")
    cookies = "; ".join(f"{name}={one.value}" for name, one in client.cookies.items())
    token = client.cookies[settings.CSRF_COOKIE_NAME].value
    before = memory(server)
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{site}/devices/device/csv/",
        data=f"csrfmiddlewaretoken={token}".encode(),
        headers={"Cookie": cookies},
    )
    rows = size = 0
    most = before
    with watch() as took, urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310 - likewise
        first, began = None, time.monotonic()
        looked = began
        while piece := answer.read(1 << 16):
            first = first or time.monotonic() - began
            rows += piece.count(b"\n")
            size += len(piece)
            if time.monotonic() > looked + LOOKS:
                most, looked = max(most, memory(server)), time.monotonic()
    yield Figure("CSV of the list", took.seconds, "s", f"{rows - 1:,} rows, {size / MEGA:.1f} MB")
    yield Figure("  until its first rows", (first or 0) * MILLI, "ms")
    yield Figure("  the server's memory grew by", (most - before) / KIB, "MB", "at most")


def memory(pid: int) -> int:
    """What a process and its children hold, in KiB."""
    told = subprocess.run(
        ["ps", "-o", "rss=", "--pid", str(pid), "--ppid", str(pid)],  # noqa: S607 - of the system
        capture_output=True,
        check=False,
        text=True,
    )
    return sum(int(one) for one in told.stdout.split()) or resource.getpagesize()


# The site as it runs


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, int]]:
    port = free_port()
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "mdm.settings",
        "SERVE": "staff",
        "DEMO": "1",  # plain HTTP
        "STAFF_URL": f"http://localhost:{port}",
        "SECRET_KEY": settings.SECRET_KEY,
    }
    command = (sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1")
    size = ("--workers", "1", "--blocking-threads", "2", "--port", str(port))
    with Family() as processes:
        child = processes.start(
            "the staff site",
            [*command, *size, "mdm.wsgi:application"],
            env=env,
            log=folder / "staff.log",
        )
        until(lambda: answers(port), "the staff site")
        yield f"http://localhost:{port}", child.process.pid


if __name__ == "__main__":
    main()
