"""`make screenshots`: every page of the demo, by role, wide and narrow, light and dark; the handbook's few.

It starts the demo on a folder of its own with a few devices, signs in as each role in a real Chromium with
a security key in it, sets the scene, and walks along the links: one picture for each route, and one for each
state of a page that the scene leads to.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from playwright.sync_api import sync_playwright

from embedded import place
from embedded.processes import Family
from tests.chromium import launched
from tests.running import free_ports
from tests.screenshots import scene as scenes
from tests.screenshots import sign_offs
from tests.screenshots.people import everybody
from tests.screenshots.scene import Scene
from tests.screenshots.taking import Pictures
from tests.screenshots.walk import Walk

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN = 300.0  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / ".screenshots")
    parser.add_argument("--handbook", type=Path, default=ROOT / "docs" / "screenshots")
    parser.add_argument("--devices", type=int, default=14)
    parser.add_argument("--hour", type=int, default=180, help="seconds that stand for the hour")
    parser.add_argument("--running", type=Path, metavar="DATA", help="a new demo that runs there")
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    given.out.mkdir(parents=True)
    demo = _running(given.running) if given.running else _demo(given.devices, given.hour)
    with demo as data, sync_playwright() as playwright:
        base, passwords = _told(data)
        chromium = launched(playwright)
        pictures = Pictures(base, given.out, given.handbook)
        tabs = everybody(chromium, base, passwords)
        walk = Walk(pictures, tabs)
        _everything(Scene(base, pictures, tabs, partial(_console, data)), walk)
        chromium.close()
    return _said(pictures, walk)


def _everything(scene: Scene, walk: Walk) -> None:
    """What tells itself on every page comes last, and the handbook's pictures come before it."""
    phones = scene.rows("helpdesk", "/devices/device/?platform__exact=ios", fewest=10)
    request = sign_offs.asked(scene, phones[0])
    witnessed = sign_offs.seen_by_two(scene, phones[1])
    lost = scenes.lost(scene, phones[2])
    ask = sign_offs.asked_with_a_code(scene, phones[3])
    scenes.stricter_in_waves(scene)
    hour = scenes.in_its_hour(scene)
    for name, path in {"device": hour, "desk": "/", "ask": ask}.items():
        scene.pictures.for_the_handbook(scene.open("helpdesk", path), name)
    scenes.kept_view(scene)
    begins = {
        "helpdesk": [hour, request, ask, lost],
        "approver": [witnessed],
        "keeper": [],
        "author": [],
        "auditor": [],
        "admin": scenes.house(scene),
        "anonymous": scenes.invited(scene),
    }
    for name, addresses in begins.items():
        walk.along(name, addresses)
    sign_offs.agreed(scene, request)
    change = sign_offs.key_from_the_safe(scene)
    sign_offs.denied(scene)
    sign_offs.stopped(scene, witnessed)
    sign_offs.several(scene, phones[4:8])
    walk.beside()
    sign_offs.by_the_key_from_the_safe(scene, phones[8:], change)


def _said(pictures: Pictures, walk: Walk) -> int:
    """What was made, and what has no picture and why."""
    kept = list(pictures.handbook.glob("*.webp"))
    size = sum(file.stat().st_size for file in kept) / 1024
    count, missing = len(list(pictures.out.glob("*.jpeg"))), walk.missing()
    print(f"{count} pictures of {len(pictures.taken - {''})} pages in {pictures.out}")
    print(f"{len(kept)} for the handbook, {size:.0f} KB, in {pictures.handbook}")
    for route, instead in walk.no_pages.items():
        if route not in pictures.taken:
            print(f"No page of its own: {route}: {instead}")
    print(f"No link led to: {', '.join(missing) or 'nothing, all were seen'}")
    return 0


@contextmanager
def _demo(devices: int, hour: int) -> Iterator[Path]:
    """The demo on fresh data, and where that is."""
    data = Path(tempfile.mkdtemp(prefix="passcodes-screenshots-"))
    command = [sys.executable, "-m", "embedded.demo", "--port", str(free_ports())]
    command += ["--data", str(data), "--devices", str(devices), "--hour", str(hour)]
    log = data.with_suffix(".log")
    try:
        with Family() as processes:
            child = processes.start("the demo", command, cwd=ROOT, log=log)
            until = time.monotonic() + READY_WITHIN
            while "READY" not in log.read_text():
                if child.process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(log.read_text())
                time.sleep(0.5)
            yield data
    finally:
        place.remove(data)
        log.unlink(missing_ok=True)


@contextmanager
def _running(data: Path) -> Iterator[Path]:
    yield data


def _told(data: Path) -> tuple[str, dict[str, str]]:
    """The address of the demo, and the passwords of its people."""
    lines = (data / "passwords").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in (data / "env").read_text().splitlines())
    return settings["STAFF_URL"], dict(line.split(" ", 1) for line in lines)


def _console(data: Path, keys: str, *command: str) -> str:
    """What one of the demo's processes may do, done by hand; what it printed."""
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        env={"PATH": os.environ["PATH"], "ENV_FILE": str(data / keys)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr or done.stdout)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
