"""One command makes a house: its processes start from what was written, a phone enrolls, and a clear is done."""

import hashlib
import http.client
import json
import os
import re
import shlex
import socket
import stat
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from devices.models import AuditEntry, Device
from devices.models.enrollment import Identity
from devices.rules.channels import Platform
from embedded import place, redis
from embedded.demo.parts import is_open
from embedded.processes import Family
from mdm.enrollment import links
from mdm.setup import answers, environments, looks, templates
from mdm.setup.machine import Machine
from passcodes.models import EscrowedToken, TokenBox, VaultSays
from staff import invitations
from staff.models import User
from tests import clears
from tests.house import PASSKEYS
from tests.own_database import fresh_database
from tests.running import free_ports
from tests.simulator.phone import Phone
from tests.simulator.push_service import PushService
from tests.simulator.transport import HttpTransport, Response

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("passcodes.localhost", "mdm.localhost", "sign.localhost")
PASSWORD = "nine green bottles"
SOON = 40.0  # seconds
PRIVATE = (
    "VAULT_PRIVATE_KEY",
    "VAULT_ORDER_KEY",
    "DOOR_PRIVATE_KEY",
    "WORKER_PRIVATE_KEY",
    "CA_PRIVATE_KEY_FILE",
)
SIGNERS = (  # who, as what, with whose passkey of the tests
    ("keeper1", "keep", "admin"),
    ("keeper2", "keep", "author"),
    ("approver", "yes", "approver"),
    ("helpdesk", "ask", "helpdesk"),
)
HOLDS = {
    "VAULT_PRIVATE_KEY": {"vault"},
    "VAULT_ORDER_KEY": {"vault"},
    "DOOR_PRIVATE_KEY": {"connect"},
    "WORKER_PRIVATE_KEY": {"worker"},
    "CA_PRIVATE_KEY_FILE": {"checkin"},
}


class Through(HttpTransport):
    """Names lead to this machine, as its own hosts file would say."""

    def _connect(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        made = super()._connect(scheme, netloc)
        made._create_connection = lambda where, *_: socket.create_connection(  # type: ignore[attr-defined]  # http.client's own hook
            ("127.0.0.1", where[1]), timeout=20
        )
        return made


class Place:
    """A folder in which a house is set up, with all that it finds on its machine."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder, self.etc, self.var = folder, folder / "etc", folder / "var"
        self.database_url = database_url
        self.services, self.processes = Family(), Family()
        self.port = free_ports()
        self.said = ""  # by the first run
        self.urls = [
            f"https://{name}:{self.port + 3 + number}" for number, name in enumerate(NAMES)
        ]
        self.here = place.prepare(folder / "services")
        self.redis_url = redis.start(self.services, self.here, durable=False)
        self.tls = _certificates(folder)
        self.transport = Through(ca_file=str(self.tls / "ca.pem"))

    def setup(self, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", "setup", "--folder", str(self.etc), *more],
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )

    def first(self) -> list[str]:
        staff, door, sign = self.urls
        return [
            *("--yes", "--organisation", "Example Organisation", "--state", str(self.var)),
            *("--staff-url", staff, "--door-url", door, "--sign-url", sign),
            *("--port", str(self.port), "--tls-authority", str(self.tls / "ca.pem")),
            *("--database-url", self.database_url, "--redis-url", self.redis_url),
        ]

    def environment(self, process: str) -> dict[str, str]:
        lines = (self.etc / f"{process}.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def later(self, push: PushService) -> list[str]:
        """What was not there at the first run: a push certificate, and fingerprints that were spoken."""
        _everybody_registers()
        pins = [f"{name}:{role}:{PASSKEYS[key].fingerprint}" for name, role, key in SIGNERS]
        files = ("--push-certificate", push.client_cert_path, "--push-key", push.client_key_path)
        return ["--yes", *map(str, files), *(word for pin in pins for word in ("--pin", pin))]

    def digest(self, top: Path) -> dict[str, tuple[str, int]]:
        """Every file with its content and mode."""
        return {
            str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mode)
            for path in top.rglob("*")
            if path.is_file()
        }

    def start(self) -> None:
        """Every process, by the words of its unit; and what stands before them."""
        for unit in sorted((self.etc / "systemd").iterdir()):
            text = unit.read_text()
            command = re.findall(r"(?m)^ExecStart=(.*)$", text)[0]
            said = shlex.split(re.findall(r"(?m)^Environment=(.*)$", text)[0])
            env = {"PATH": os.environ["PATH"], **dict(one.split("=", 1) for one in said)}
            folder = Path(re.findall(r"(?m)^WorkingDirectory=(.*)$", text)[0])
            log = self.folder / f"{unit.stem}.log"
            words = shlex.split(command)
            self.processes.start(unit.stem, words, env=env, cwd=folder, log=log)
        staff, checkin, connect = (str(self.port + offset) for offset in range(3))
        ways = ([f"/={staff}"], [f"/mdm/connect={connect}", f"/={checkin}"])
        for number, some in enumerate(ways):
            self._front(self.port + 3 + number, NAMES[number], some)
        sign = self.port + 6
        page = ("--folder", str(self.var / "sign"), "--port", str(sign))
        self.processes.start("signing page", [sys.executable, "-m", "embedded.sign_server", *page])
        self._front(self.port + 5, NAMES[2], [f"/={sign}"])
        for port in range(self.port, self.port + 7):
            self.wait(lambda port=port: is_open(port), f"port {port}")  # type: ignore[misc]  # a default is no argument of a callable
        self.wait(VaultSays.objects.filter(about=VaultSays.CHARTER).exists, "the vault")

    def _front(self, port: int, name: str, ways: list[str]) -> None:
        pair = ("--certificate", self.tls / f"{name}.pem", "--key", self.tls / f"{name}.key")
        words = [word for way in ways for word in ("--way", way)]
        command = [sys.executable, "-m", "embedded.front", "--port", str(port), *pair, *words]
        self.processes.start(f"before {name}", list(map(str, command)), cwd=ROOT)

    def wait(self, answers: Callable[[], object], what: str) -> None:
        until = time.monotonic() + SOON
        while not answers():
            if dead := self.processes.dead():
                raise AssertionError(dead.epitaph())
            assert time.monotonic() < until, f"Not within {SOON:.0f} seconds: {what}."
            time.sleep(0.1)

    def end(self) -> None:
        self.transport.close()
        self.processes.stop()
        self.services.stop()
        place.remove(self.folder / "services")


@pytest.fixture(scope="module")
def house(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    """Set up once; the tests below follow each other as its days do."""
    with fresh_database(django_db_blocker) as url, django_db_blocker.unblock():
        made = Place(tmp_path_factory.mktemp("house"), url)
        try:
            done = made.setup(*made.first())
            assert done.returncode == 0, done.stderr
            made.said = done.stdout
            yield made
        finally:
            made.end()


def test_each_process_has_a_file_of_its_own_with_its_own_keys_alone(house: Place) -> None:
    files = {path.stem: path for path in house.etc.glob("*.env")}
    assert set(files) == {"owner", "staff", "checkin", "connect", "worker", "clock", "vault"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
    for key in PRIVATE:
        assert {name for name in files if key in house.environment(name)} == HOLDS[key]
    secrets = [house.environment(name)["SECRET_KEY"] for name in files]
    assert len(set(secrets)) == len(files)
    logins = [house.environment(name).get("DATABASE_URL", "") for name in files if name != "clock"]
    assert len(set(logins)) == len(logins)
    assert stat.S_IMODE((house.etc / "ca.key").stat().st_mode) == 0o600
    said = (house.etc / "house.json").read_text()
    assert "postgres" not in said
    assert "redis" not in said


def test_what_is_printed_holds_no_key_and_no_password(house: Place) -> None:
    printed = house.said
    for name in ("owner", "staff", "checkin", "connect", "worker", "vault"):
        for key, value in house.environment(name).items():
            if key.endswith(("_KEY", "_URL")) or key.startswith("ROLE_PASSWORD"):
                assert value not in printed or key in {"STAFF_URL", "DOOR_URL", "SIGN_URL"}, key
    assert "Next:" in printed


def test_the_house_stands_and_a_phone_lives_in_it(house: Place) -> None:
    """A second run goes on from what is there; then everything is started and tried for real."""
    before = house.digest(house.etc)
    with PushService() as push, override_settings(SIGN_URL=house.urls[2], DOOR_URL=house.urls[1]):
        done = house.setup(*house.later(push))
        assert done.returncode == 0, done.stderr
        assert house.digest(house.etc) == before
        assert User.objects.count() == 5
        assert steps(done.stdout) == {
            **dict.fromkeys(steps(house.said), "stands"),
            "first people": "stands",
            "the push certificate": "made",
            "the vault's first charter": "made",
        }
        with (house.etc / "worker.env").open("a") as file:
            file.write(f"APNS_HOST=localhost\nAPNS_PORT={push.port}\nAPNS_CA={push.ca_pem_path}\n")
        house.start()
        _choose_a_password(house, "admin")
        for name in ("keeper1", "keeper2", "approver", "helpdesk"):
            link = invitations.invite(name, role="helpdesk")
            assert invitations.accept(link, PASSWORD)
        well = house.setup("--check", "--through", "127.0.0.1")
        assert well.returncode == 0, well.stdout + well.stderr
        assert "NO " not in well.stdout
        assert "connect: the database: signed in as passcodes_connect" in well.stdout
        assert f"it takes the certificate {push.topic}" in well.stdout
        _a_phone_is_cleared(house)


def _everybody_registers() -> None:
    for name, _, key in SIGNERS:
        PASSKEYS[key].row(User.objects.get(username=name))


def _choose_a_password(house: Place, name: str) -> None:
    """By the link, in a browser of few words, over TLS."""
    [link] = re.findall(rf"(?m)^ +{name}: (\S+)$", house.said)
    path = urllib.parse.urlsplit(link).path
    page = house.transport.send("GET", link, {}, b"")
    assert page.ok
    cookie = page.headers["set-cookie"].partition(";")[0]
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.body.decode())
    form = {"csrfmiddlewaretoken": token, "new_password1": PASSWORD, "new_password2": PASSWORD}
    said = _post(house, house.urls[0] + path, form, cookie)
    assert said.status == 302
    assert said.headers["location"] == "/accounts/login/"
    assert User.objects.get(username=name).has_usable_password()
    assert house.transport.send("GET", link, {}, b"").status == 404
    assert AuditEntry.objects.filter(verb="staff.invitation_taken").count() == 1


def _post(house: Place, url: str, form: dict[str, str], cookie: str) -> Response:
    headers = {
        "Cookie": cookie,
        "Referer": url,
        "Content-Type": "application/x-www-form-urlencoded",
    }
    body = urllib.parse.urlencode(form).encode()
    return house.transport._once("POST", url, headers, body)


def _a_phone_is_cleared(house: Place) -> None:
    """The token arrives at one process, and is handed out by the other, for two signatures."""
    _, link = links.make(Platform.IOS, identity_kind=Identity.PKCS12, by=None)
    phone = Phone("iphone", transport=house.transport.send, seed="setup", passcode="4711")
    phone.install_enrollment_profile(house.transport.send("GET", link, {}, b"").body)
    phone.enroll()
    phone.connect()
    device = Device.objects.get(udid=phone.udid)
    kept = EscrowedToken.objects.get(device=device, current=True)
    assert TokenBox.objects.filter(token=kept).exists()
    helpdesk, approver = (User.objects.get(username=name) for name in ("helpdesk", "approver"))
    asked = clears.ask(device, by=helpdesk)
    clears.approve(asked.pk, by=approver)
    house.wait(lambda: clears.reread(asked).state == "armed", "the vault opens it")
    phone.connect()
    house.wait(lambda: clears.reread(asked).state == "cleared", "the phone clears")
    assert phone.passcode is None


def steps(printed: str) -> dict[str, str]:
    return dict(re.findall(r"(?m)^ *\d+/\d+  (.*?): (stands|made|waits)", printed))


# Without processes.

GOOD: dict[str, object] = {
    "organisation": "Example Organisation",
    "staff_url": "https://passcodes.example.org",
    "door_url": "https://mdm.example.org",
    "sign_url": "https://sign.example.org",
}


EMPTY: dict[str, dict[str, str]] = {
    name: {} for name in ("staff", "checkin", "connect", "worker", "clock", "vault")
}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"staff_url": "http://passcodes.example.org"}, "must be https://"),
        ({"door_url": "https://mdm.example.org/path"}, "a host name alone"),
        ({"sign_url": "https://sign.passcodes.example.org"}, "above or below"),
        ({"sign_url": "https://mdm.example.org"}, "three different host names"),
        ({"door_url": "https://192.0.2.1"}, "not an address of digits"),
        ({"organisation": "A\nB"}, "organisation's name"),
        ({"keepers": ["one"]}, "two keepers"),
        ({"keepers": ["admin", "keeper2"]}, "different user names"),
        ({"tls_authority": "/nowhere/ca.pem"}, "There is no file"),
        ({"tls_authority": __file__}, "no certificate in PEM form"),
        ({"port": 65_534}, "must be a number"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(answers.Refused, match=words):
        answers.house({**GOOD, **wrong}, {}, None)


def test_what_is_missing_is_asked_for_or_named() -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return "https://sign.example.org"

    given = {name: value for name, value in GOOD.items() if name != "sign_url"}
    assert answers.house(given, {}, ask).sign_url == "https://sign.example.org"
    assert len(asked) == 1
    with pytest.raises(answers.Refused, match="--sign-url is missing"):
        answers.house(given, {}, None)


def written(folder: Path, **more: object) -> Machine:
    """The environment files alone."""
    made = answers.house({**GOOD, **more}, {}, None)
    machine = Machine(folder, made)
    folder.mkdir(exist_ok=True)
    environments.write(
        made, machine, database_url="postgres://o:p@db.example.org/x", redis_url="redis://r/0"
    )
    return machine


def test_half_of_it_is_mended_by_the_next_run(tmp_path: Path) -> None:
    """As if it had been killed between two files: public halves follow from the private ones."""
    machine = written(tmp_path)
    before = {name: machine.environment(name) for name in ("checkin", "staff")}
    machine.environment_file("checkin").unlink()
    machine.environment_file("staff").write_text("SECRET_KEY=cut")
    written(tmp_path)
    for name, was in before.items():
        now = machine.environment(name)
        ours = {"SECRET_KEY": ""}
        assert {**now, **ours} == {**was, **ours}


def test_what_an_operator_has_added_stays(tmp_path: Path) -> None:
    machine = written(tmp_path)
    file = machine.environment_file("staff")
    with file.open("a") as opened:
        opened.write("# the shop's number\nLOST_PHONE=+49 30 1\n")
    for _ in range(2):
        written(tmp_path)
        assert "LOST_PHONE=+49 30 1\n" in file.read_text()
        assert file.read_text().count("# the shop's number\n") == 1
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_one_process_for_both_doors_holds_the_keys_of_both(tmp_path: Path) -> None:
    door = written(tmp_path, doors="together").environment("door")
    assert door["SERVE"] == "devices"
    assert {
        "VAULT_PUBLIC_KEY",
        "VAULT_VERIFY_KEY",
        "DOOR_PRIVATE_KEY",
        "CA_PRIVATE_KEY_FILE",
    } <= set(door)
    assert not (tmp_path / "connect.env").exists()


def test_the_authority_of_the_tls_is_copied_to_where_the_processes_may_look(
    tmp_path: Path,
) -> None:
    """An operator's own folder is closed to them."""
    kept = _certificates(tmp_path) / "ca.pem"
    kept.chmod(0o600)
    machine = written(tmp_path / "etc", tls_authority=str(kept))
    for process in ("staff", "checkin"):
        copy = Path(machine.environment(process)["DOOR_TLS_AUTHORITY_FILE"])
        assert copy.parent == tmp_path / "etc"
        assert copy.read_bytes() == kept.read_bytes()
        assert stat.S_IMODE(copy.stat().st_mode) == 0o644
    assert "DOOR_TLS_AUTHORITY_FILE" not in machine.environment("connect")


def test_the_doors_may_be_parted_later_and_keep_their_key(tmp_path: Path) -> None:
    before = written(tmp_path, doors="together").environment("door")
    machine = written(tmp_path, doors="apart")
    assert machine.environment("connect")["DOOR_PRIVATE_KEY"] == before["DOOR_PRIVATE_KEY"]
    assert not machine.environment_file("door").exists()
    assert "DOOR_PRIVATE_KEY" not in machine.environment("checkin")
    assert "CA_PRIVATE_KEY_FILE" not in machine.environment("connect")


def test_what_devices_hang_on_does_not_change() -> None:
    with pytest.raises(answers.Refused, match="cannot change"):
        answers.house({"door_url": "https://other.example.org"}, GOOD, None)
    with pytest.raises(answers.Refused, match="no key"):
        environments.Keys(
            answers.house(GOOD, {}, None), {**EMPTY, "vault": {"VAULT_PRIVATE_KEY": "?"}}
        )


def test_an_address_that_nobody_serves_is_told(tmp_path: Path) -> None:
    made = answers.house({**GOOD, "staff_url": "https://passcodes.example.org:1"}, {}, None)
    looked = list(looks.addresses(made, through="127.0.0.1"))
    assert [one.works for one in looked] == [False] * 4
    assert "passcodes.example.org:1/accounts/login/ does not answer over TLS" in looked[0].words


@pytest.mark.parametrize("doors", ["apart", "together"])
def test_units_and_proxy_are_the_examples_filled_in(tmp_path: Path, doors: str) -> None:
    made = answers.house({**GOOD, "doors": doors, "users": True, "port": 7000}, {}, None)
    machine = Machine(tmp_path / "etc", made)
    units = templates.units(made, machine)
    both = {"passcodes-checkin.service", "passcodes-connect.service"}
    assert (both <= set(units)) == (doors == "apart")
    assert ("passcodes-door.service" in units) == (doors == "together")
    for name, text in units.items():
        assert "/opt/passcodes" not in text.replace(str(ROOT), "")
        assert f"User={name.removesuffix('.service')}\n" in text
        assert f"ENV_FILE={tmp_path}/etc/" in text
    proxy = templates.nginx(made, machine)
    assert (
        f"location = /mdm/connect {{ proxy_pass http://127.0.0.1:{7002 if doors == 'apart' else 7001}"
        in proxy
    )
    assert "127.0.0.1:80" not in proxy
    assert f"root {made.state}/sign;" in proxy


def test_a_broker_that_does_not_answer_is_told() -> None:
    env = {"SERVE": "clock", "SECRET_KEY": "x", "REDIS_URL": "redis://127.0.0.1:1/0"}
    done = subprocess.run(
        [sys.executable, "manage.py", "reach"],
        env={"PATH": os.environ["PATH"], **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    told = {one["what"]: one["works"] for one in map(json.loads, done.stdout.splitlines())}
    assert told == {"its settings": True, "Redis": False}
    assert done.returncode == 1


def refused(folder: Path) -> str:
    """What it says where it goes no further: one line."""
    words = ["--yes", "--folder", str(folder), "--state", str(folder / "var")]
    for name, value in GOOD.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    words += ["--database-url", f"postgres://o:sesame@/{quote(str(folder), safe='')}/x"]
    words += ["--redis-url", "redis://x/0"]
    done = subprocess.run(
        [sys.executable, "manage.py", "setup", *words],
        env={"PATH": os.environ["PATH"]},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    assert "sesame" not in line + done.stdout
    return line


def test_a_database_that_is_not_there_is_told_and_the_next_run_goes_on(tmp_path: Path) -> None:
    for _ in range(2):
        said = refused(tmp_path)
        assert "The database: It does not let us in" in said
        assert "Next: see that it is there" in said


def test_a_key_that_does_not_fit_its_authority_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("PEM")
    assert "ca.key is not. Next: bring it back." in refused(tmp_path)
    assert (
        json.loads((tmp_path / "house.json").read_text())["organisation"] == GOOD["organisation"]
    )


def _certificates(folder: Path) -> Path:
    """A TLS authority, and a certificate for each of the three names."""
    tls = folder / "tls"
    tls.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate(key, key, "Tests", None)
    (tls / "ca.pem").write_bytes(authority)
    for name in NAMES:
        own = ec.generate_private_key(ec.SECP256R1())
        (tls / f"{name}.pem").write_bytes(_certificate(own, key, name, name))
        (tls / f"{name}.key").write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return tls


def _certificate(
    key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey, common: str, name: str | None
) -> bytes:
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tests")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=name is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
        )
    )
    if name:
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = builder.add_extension(names, critical=False)
    else:
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
