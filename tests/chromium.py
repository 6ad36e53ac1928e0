"""Debian's Chromium, for the tests, the pictures and the figures."""

import shutil

from playwright.sync_api import Browser, Playwright

# The build without windows takes half the processor's time; it has the same engine.
NAMES = ("chromium-headless-shell", "chromium")


def launched(playwright: Playwright) -> Browser:
    """A new one, or RuntimeError where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise RuntimeError(
            f"There is no {' and no '.join(NAMES)}; `make test` installs one as root."
        )
    return playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
