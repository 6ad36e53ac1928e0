"""A process starts only with what it needs, never with a key of another, and says which and why."""

import base64
import itertools
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from pytest_django import Settings

from mdm import checks

ROOT = Path(__file__).resolve().parents[2]
A_KEY = base64.b64encode(bytes(range(32))).decode()
EVERYBODY = {
    "SECRET_KEY": secrets.token_urlsafe(48),
    "DATABASE_URL": "postgres://passcodes:secret@db.example.org/passcodes",
}
HOLDS = {
    "staff": {
        "STAFF_URL": "https://passcodes.example.org",
        "SIGN_URL": "https://sign.example.org",
        "DOOR_URL": "https://mdm.example.org",
        "ALLOWED_HOSTS": "passcodes.example.org",
    },
    "devices": {
        "DOOR_URL": "https://mdm.example.org",
        "VAULT_PUBLIC_KEY": A_KEY,
        "VAULT_VERIFY_KEY": A_KEY,
        "DOOR_PRIVATE_KEY": A_KEY,
        "CA_CERTIFICATE": "PEM",
        "CA_PRIVATE_KEY": "PEM",
    },
    "checkin": {
        "DOOR_URL": "https://mdm.example.org",
        "VAULT_PUBLIC_KEY": A_KEY,
        "CA_CERTIFICATE": "PEM",
        "CA_PRIVATE_KEY": "PEM",
    },
    "connect": {
        "DOOR_URL": "https://mdm.example.org",
        "VAULT_VERIFY_KEY": A_KEY,
        "DOOR_PRIVATE_KEY": A_KEY,
        "CA_CERTIFICATE": "PEM",
    },
    "worker": {"WORKER_PRIVATE_KEY": A_KEY, "REDIS_URL": "redis://redis.example.org"},
    "vault": {
        "VAULT_PRIVATE_KEY": A_KEY,
        "VAULT_ORDER_KEY": A_KEY,
        "VAULT_STATE": "/var/lib/passcodes-vault",
        "DOOR_PUBLIC_KEY": A_KEY,
        "SIGN_URL": "https://sign.example.org",
    },
}
PRIVATE = {
    "VAULT_PRIVATE_KEY",
    "VAULT_ORDER_KEY",
    "DOOR_PRIVATE_KEY",
    "WORKER_PRIVATE_KEY",
    "CA_PRIVATE_KEY",
}


def run(env: Mapping[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """A process that sees this environment and nothing of ours."""
    return subprocess.run(
        [sys.executable, *command],
        env={"PATH": os.environ["PATH"], **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def starts(process: str, without: str = "", **more: str) -> tuple[bool, str]:
    """Whether the settings let it start, and the last line that it says."""
    env = {"SERVE": process, **EVERYBODY, **HOLDS[process], **more}
    env.pop(without, None)
    done = run(env, "-c", "import mdm.settings")
    return done.returncode == 0, (done.stderr.strip().splitlines() or [""])[-1]


@pytest.mark.parametrize("process", HOLDS)
def test_a_process_starts_with_what_it_needs(process: str) -> None:
    assert starts(process) == (True, "")


@pytest.mark.parametrize(
    ("process", "name"),
    [
        *(("staff", name) for name in (*EVERYBODY, "STAFF_URL", "SIGN_URL", "DOOR_URL")),
        *((p, name) for p in HOLDS if p != "staff" for name in HOLDS[p]),
    ],
)
def test_a_missing_value_says_which_and_why(process: str, name: str) -> None:
    started, said = starts(process, without=name)
    assert not started
    assert re.search(rf"ImproperlyConfigured: {name} is not set: \w.{{20,}}", said)


@pytest.mark.parametrize(
    ("process", "key"),
    [(p, key) for p, key in itertools.product(HOLDS, sorted(PRIVATE)) if key not in HOLDS[p]],
)
def test_a_process_that_sees_a_foreign_key_refuses(process: str, key: str) -> None:
    value = secrets.token_urlsafe(16)
    started, said = starts(process, **{key: value})
    assert not started
    assert f"{key} is visible to SERVE={process}" in said
    assert value not in said


@pytest.mark.parametrize("process", sorted(set(HOLDS)))
def test_an_old_key_of_the_vault_is_the_vaults_alone(process: str) -> None:
    old = f"{A_KEY},{A_KEY}"
    started, said = starts(process, VAULT_OLD_PRIVATE_KEYS=old)
    assert started == (process == "vault"), said
    assert old not in said


@pytest.mark.parametrize("process", sorted(set(HOLDS)))
def test_the_doors_former_key_is_for_whoever_opens_with_it(process: str) -> None:
    former = base64.b64encode(bytes(range(1, 33))).decode()
    started, said = starts(process, DOOR_FORMER_KEY=former)
    assert started == (process in {"devices", "connect"}), said
    assert former not in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("slack=https://hooks.example.org/T0/hidden", ""),
        ("slack=http://hooks.example.org/T0/hidden", "slack must begin with https://"),
        ("https://hooks.example.org/T0/hidden", "each begins with slack=, teams= or webhook="),
        ("pager=https://hooks.example.org/T0/hidden", "each begins with slack="),
        ("teams=https://hooks.example.org/T0/hidden é", "teams is no address"),
        ("teams=https://hooks.example.org:hidden/T0", "teams is no address"),
        ("teams=https://a:hidden@hooks.example.org/T0", "teams is no address"),
        ("teams=https://[hidden/T0", "teams is no address"),
    ],
)
def test_a_webhook_is_reached_by_https_and_its_address_never_quoted(given: str, said: str) -> None:
    started, answer = starts("worker", NOTICE_WEBHOOKS=given)
    assert started == (not said)
    assert said in answer
    assert "hidden" not in answer


@pytest.mark.parametrize("process", ["worker", "staff"])
def test_where_notices_go_is_the_workers_alone(process: str) -> None:
    env = {
        "SERVE": process,
        **EVERYBODY,
        **HOLDS[process],
        "EMAIL_URL": "smtp+tls://a:secret@mail.example.org:587",
        "NOTICE_WEBHOOKS": "slack=https://a.example.org/x?b=c, slack=https://b.example.org/y",
    }
    names = "[one[0] for one in s.NOTICE_WEBHOOKS]"
    done = run(env, "-c", f"import mdm.settings as s; print({names}, s.EMAIL_HOST_PASSWORD)")
    wanted = "['slack', 'slack 2'] secret" if process == "worker" else "[]"
    assert done.stdout.strip() == wanted, done.stderr


def test_a_key_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(A_KEY)
    file = str(tmp_path / "key")
    assert starts("worker", without="WORKER_PRIVATE_KEY", WORKER_PRIVATE_KEY_FILE=file)[0]
    refused = starts("staff", WORKER_PRIVATE_KEY_FILE=file)
    assert not refused[0]
    assert "WORKER_PRIVATE_KEY is visible" in refused[1]


def test_an_unknown_process_is_told_which_there_are() -> None:
    started, said = starts("staff", SERVE="everything")
    assert not started
    assert all(process in said for process in HOLDS)


def test_no_process_is_the_default() -> None:
    started, said = starts("staff", without="SERVE")
    assert not started
    assert "SERVE is not set" in said


@pytest.mark.parametrize("process", ["vault", "worker"])
def test_a_web_server_refuses_to_be_the_vault_or_the_worker(process: str) -> None:
    done = run({"SERVE": process, **EVERYBODY, **HOLDS[process]}, "-c", "import mdm.wsgi")
    assert done.returncode != 0
    assert "web process" in done.stderr


@pytest.mark.parametrize("process", ["staff", "connect"])
def test_no_web_process_loads_celery(process: str) -> None:
    look = "import sys, mdm.wsgi; print('celery' in sys.modules, 'django' in sys.modules)"
    done = run({"SERVE": process, **EVERYBODY, **HOLDS[process]}, "-c", look)
    assert done.stdout == "False True\n", done.stderr


def test_a_process_that_has_started_looks_for_garbage_again() -> None:
    """It does not while it loads; one that never did again would grow until it is killed."""
    env = {"SERVE": "worker", **EVERYBODY, **HOLDS["worker"]}
    ask = "import gc, django, mdm.settings; print(gc.isenabled()); django.setup(); print(gc.isenabled())"
    done = run({**env, "DJANGO_SETTINGS_MODULE": "mdm.settings"}, "-c", ask)
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_check_deploy_is_clean_for_production() -> None:
    env = {"SERVE": "staff", **EVERYBODY, **HOLDS["staff"]}
    done = run(env, "-W", "error", "manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "System check identified no issues (0 silenced).\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("said", "more"),
    [
        ("passcodes.E001", {"HOUR": "120"}),
        ("passcodes.E002", {"WORKER_PUBLIC_KEY": "c2hvcnQ="}),
        ("passcodes.E003", {"APNS_CA": "/nowhere/ca.pem"}),
        ("passcodes.W001", {"DEMO": "1", "HOUR": "120"}),
    ],
)
def test_check_deploy_says_what_production_must_not_have(said: str, more: dict[str, str]) -> None:
    env = {"SERVE": "staff", **EVERYBODY, **HOLDS["staff"], **more}
    done = run(env, "manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode != 0
    assert re.findall(r"passcodes\.[EW]\d+", done.stderr) == [said]
    assert all(value not in done.stderr for name, value in more.items() if "KEY" in name)


def test_a_proxy_that_is_no_address_is_refused_by_name() -> None:
    env = {"SERVE": "connect", **EVERYBODY, **HOLDS["connect"], "TRUSTED_PROXIES": "the proxy"}
    done = run(env, "-c", "import mdm.wsgi")
    assert done.returncode != 0
    assert "TRUSTED_PROXIES: 'the proxy'" in done.stderr


@pytest.mark.parametrize(
    ("demo", "allowed"), [({}, "False False []"), ({"DEMO": "1"}, "True True []")]
)
def test_old_crypto_is_for_the_demo_and_nobody_is_trusted(
    demo: dict[str, str], allowed: str
) -> None:
    look = (
        "from mdm import settings as s;"
        "print(s.SCEP_ALLOWS_OLD_CRYPTO, s.MDM_SIGNATURE_ALLOWS_SHA1, s.TRUSTED_PROXIES)"
    )
    done = run({"SERVE": "connect", **EVERYBODY, **HOLDS["connect"], **demo}, "-c", look)
    assert done.stdout.strip() == allowed, done.stderr


def test_the_hour_may_be_scaled_in_the_demo_alone(settings: Settings) -> None:
    settings.HOUR, settings.DEMO = timedelta(seconds=120), True
    assert checks.the_hour_is_apples() == []
    settings.DEMO = False
    assert [message.id for message in checks.the_hour_is_apples()] == ["passcodes.E001"]
    settings.HOUR = timedelta(seconds=3600)
    assert checks.the_hour_is_apples() == []


def test_a_check_in_process_apart_says_what_it_cannot_do(settings: Settings) -> None:
    settings.SERVE, settings.NETWORK_USERS = "checkin", "digest"
    found = [message.id for message in checks.check_in_opens_nothing()]
    assert found == ["passcodes.I001", "passcodes.W003"]
    settings.NETWORK_USERS = "accept"
    assert [message.id for message in checks.check_in_opens_nothing()] == ["passcodes.I001"]
    settings.SERVE = "devices"
    assert checks.check_in_opens_nothing() == []


def test_production_is_warned_of_one_door_for_both(settings: Settings) -> None:
    settings.SERVE = "devices"
    assert [message.id for message in checks.doors_are_apart()] == ["passcodes.W002"]
    settings.SERVE = "connect"
    assert checks.doors_are_apart() == []
