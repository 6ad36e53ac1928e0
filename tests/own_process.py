"""One process of ours on the test's database: it is given what its host would give to it, and nothing of ours."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings
from django.db import connection

from tests.clears import Vault
from tests.own_database import address_of

ROOT = Path(__file__).resolve().parent.parent


def environment(serve: str, **holds: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "mdm.settings",
        "SERVE": serve,
        "SECRET_KEY": "only for tests",
        "DATABASE_URL": address_of(connection.settings_dict["NAME"]),
        **holds,
    }


def of_the_vault(vault: Vault, **otherwise: str) -> dict[str, str]:
    keys = ("VAULT_PRIVATE_KEY", "VAULT_ORDER_KEY", "DOOR_PUBLIC_KEY", "SIGN_URL")
    holds = {name: str(getattr(settings, name)) for name in keys}
    return environment("vault", **{**holds, "VAULT_STATE": str(vault.state), **otherwise})


def run(env: Mapping[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """Until it ends by itself."""
    return subprocess.run(
        [sys.executable, *command],
        env=dict(env),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
