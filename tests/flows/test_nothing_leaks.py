"""After a whole run of the real processes: what opens a device, or wakes one, is written nowhere.

The phones are the tests' own, so their secrets are known, and every place in which the house writes
is searched for them in every way in which they could be written. At the end the same secrets are
planted in each kind of place, and the same search must find every one.
"""

import os
import plistlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from django.db import connection
from psycopg import sql

from devices.models import AuditEntry, Command, Device, DeviceGroup, DeviceUser, PushCertificate
from devices.rules.commands import State
from mdm.settings import PRIVATE
from passcodes.models import ClearRequest, Enforcement, PolicyVersion
from passcodes.rules.clearing import State as Clear
from passcodes.rules.enforcement import State as Hour
from tests.desk import Page, Person
from tests.house import PASSKEYS
from tests.needles import Needle, found, needles
from tests.running import Running
from tests.simulator.phone import CHECK_IN, Phone
from tests.simulator.transport import Response

HOMES = {  # the only columns in which they may stand
    "push token": {("devices_device", "push_token"), ("devices_deviceuser", "push_token")},
    "PushMagic": {("devices_device", "push_magic"), ("devices_deviceuser", "push_magic")},
}
GOOD = "tulip-4471-river"
ROLES = ("admin", "auditor", "helpdesk", "approver", "author")
PAGES = 60  # for each role
PIECE = 24  # bytes: short enough to stand in one line of a property list


@dataclass
class Run:
    """A house that has been through everything, and what was heard of it from outside."""

    house: Running
    phones: list[Phone]
    unlock: list[Needle] = field(default_factory=list)
    push: list[Needle] = field(default_factory=list)
    answers: list[tuple[bytes, Response]] = field(default_factory=list)
    pages: list[tuple[str, Page]] = field(default_factory=list)

    @property
    def all(self) -> list[Needle]:
        return [*self.unlock, *self.push]


# The run


@pytest.fixture(scope="module")
def run(ground: tuple[Path, str]) -> Iterator[Run]:
    with Running(*ground) as house:
        yield walk(house)


def walk(house: Running) -> Run:
    people = {name: Person(house.wanted.staff, name, house.passwords[name]) for name in ROLES}
    run = Run(house, house.phones)
    made = people["admin"].fill(
        "/devices/enrollmentlink/add/",
        {
            "platform": "ios",
            "identity": "pkcs12",
            "hours": "1",
            "group": str(DeviceGroup.objects.get(name="Phones").pk),
        },
    )
    link = next(word for word in made.text.split('"') if "/enroll/" in word)
    good = phone(run, link=link, passcode="1234")
    stale, dead, leaver = (phone(run, passcode=GOOD) for _ in range(3))
    mac = phone(run, "mac", passcode=GOOD)
    user = {"UserID": "A3F0", "UserShortName": "reader", "UserLongName": "A Reader"}
    magic, token = "5B1D7E0C-6C3E-4F4B-8D55-0A6E3C1B9F42", os.urandom(32)
    mac.token_update(**user, Token=token, PushMagic=magic)
    learn(run, "a user", token, magic)
    assert DeviceUser.objects.count() == 1

    push_policy(run, people["author"])
    good.user_sets_passcode(GOOD)
    ask(run, people["helpdesk"], good)
    house.until(lambda: "org.example.office-wi-fi" in good.installed, "the gate opens")

    clear(run, people, good, answers=Clear.CLEARED)
    assert good.passcode is None
    good.user_sets_passcode(GOOD)
    house.until(lambda: last(good).state == Clear.REPROTECTED, "it is protected again")

    stale.new_unlock_token()  # the house is not told, so its own opens nothing
    learn_of(run, stale)
    clear(run, people, stale, answers=Clear.FAILED)

    strange_messages(run, dead, leaver)
    faults(run, people, good)

    house.pushes_answer(dead, 410)
    ask(run, people["helpdesk"], dead)
    house.until(lambda: device(dead).token_dead_since, "its push address is gone")
    people["helpdesk"].fill(
        f"/devices/device/{device(leaver).pk}/lost/", {"note": "Left in a train."}
    )
    leaver.user_removes_profile()
    look_around(run, people)
    return run


def phone(run: Run, kind: str = "iphone", **how: Any) -> Phone:
    """Enrolled; all that the door answers to it is kept."""
    one = run.house.phone(kind, **how)

    def send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        answer = run.house.send(method, url, headers, body)
        run.answers.append((body, answer))
        return answer

    one.transport = send
    one.enroll()
    one.connect()
    learn_of(run, one)
    return one


def learn_of(run: Run, phone: Phone) -> None:
    who = f"{phone.name} {phone.serial}"
    learn(run, who, phone.push_token, phone.push_magic)
    token = phone.unlock_token
    starts = range(0, len(token) - PIECE, len(token) // 6)
    keys = [at for at in range(len(token)) if token.startswith(b"WPKY", at)]
    random = [token[at + 8 : at + 8 + PIECE] for at in keys[:: len(keys) // 3]]
    assert len(starts) > 2
    assert len(random) > 2
    run.unlock += needles(f"the UnlockToken of {who}", *random)


def learn(run: Run, who: str, token: bytes, magic: str) -> None:
    run.push += needles(f"the push token of {who}", token[4 : 4 + PIECE])
    run.push += needles(f"the PushMagic of {who}", magic.encode(), magic.lower().encode())


def push_policy(run: Run, author: Person) -> None:
    version = PolicyVersion.objects.get(published_at=None)
    author.fill(f"/passcodes/policyversion/{version.pk}/publish/", {})
    address = f"/passcodes/policyversion/{version.pk}/push/"
    group = DeviceGroup.objects.get(name="Phones")
    counted = author.fill(address, {"groups": str(group.pk), "serials": ""})
    author.fill(address, {}, on=counted)
    ours = Enforcement.objects.filter(version=version)
    run.house.until(lambda: ours.filter(state=Hour.COMPLIANT).count() == 3, "three comply")
    assert ours.get(device=device(run.phones[0])).state == Hour.GRACE


def ask(run: Run, helpdesk: Person, phone: Phone) -> None:
    row = device(phone)
    helpdesk.fill(f"/devices/device/{row.pk}/ask/", {}, on=f"/devices/device/{row.pk}/change/")


def clear(run: Run, people: Mapping[str, Person], phone: Phone, *, answers: Clear) -> None:
    phone.user_forgets_passcode()
    request_and_sign(run, people, phone)
    run.house.until(lambda: last(phone).state == answers, f"the clear is {answers}")


def request_and_sign(run: Run, people: Mapping[str, Person], phone: Phone) -> None:
    people["helpdesk"].sign(
        f"/passcodes/clearrequest/add/?device={device(phone).pk}",
        {
            "reason": "forgotten",
            "words": "The passcode is forgotten.",
            "holder": "It lies on the counter before me.",
            "serial_end": phone.serial[-4:],
        },
        PASSKEYS["helpdesk"],
    )
    asked = last(phone)
    people["approver"].sign(
        f"/passcodes/clearrequest/{asked.pk}/approve/",
        {},
        PASSKEYS["approver"],
        on=f"/passcodes/clearrequest/{asked.pk}/change/",
    )


def strange_messages(run: Run, phone: Phone, other: Phone) -> None:
    """With everything secret in them: cut off, of a wrong type, unsigned, signed by another."""
    url = phone.enrollment.check_in_url if phone.enrollment else ""
    keys = {
        "MessageType": "TokenUpdate",
        "UDID": phone.udid,
        "Topic": phone.enrollment.topic if phone.enrollment else "",
        "Token": phone.push_token,
        "PushMagic": phone.push_magic,
        "UnlockToken": phone.unlock_token,
    }
    whole = plistlib.dumps(keys)
    wrong = [
        whole[:-40],
        whole.replace(b"<key>UnlockToken</key>", b"<key>UnlockToken"),
        plistlib.dumps({**keys, "UnlockToken": phone.unlock_token.hex()}),
        plistlib.dumps({**keys, "Token": phone.push_token.hex()}),
        plistlib.dumps({**keys, "PushMagic": phone.push_magic.encode()}),
        plistlib.dumps({**keys, "Topic": phone.push_magic}),
        plistlib.dumps({**keys, "MessageType": phone.push_magic}),
        plistlib.dumps([phone.unlock_token]),
    ]
    before = len(run.answers)
    for body in wrong:
        assert phone.put(url, CHECK_IN, body).status == 400
    refused = [
        phone.put(url, CHECK_IN, whole, signed=False),
        phone.put(url, CHECK_IN, whole, signature=phone.sign(whole + b" ")),
        phone.put(url, CHECK_IN, whole, signature=other.sign(whole)),
        phone.put(url, CHECK_IN, whole, signature="not base64"),
        phone.put(url, CHECK_IN, plistlib.dumps({**keys, "UDID": phone.push_magic})),
    ]
    assert {answer.status for answer in refused} == {403}
    assert phone.put(url, CHECK_IN, whole + b" " * 300_000).status == 413
    assert len(run.answers) == before + len(wrong) + len(refused) + 1


def faults(run: Run, people: Mapping[str, Person], phone: Phone) -> None:
    """The house itself breaks while it holds a secret: 500, and a traceback in the log."""
    with broken("devices_device", "push_magic = ''"):
        assert phone.token_update().status == 500
    with broken("passcodes_escrowedtoken", "retired_at IS NULL"):
        assert phone.token_update().status == 500
    with broken("passcodes_tokenbox", "false"):
        assert phone.token_update().status == 500
    assert phone.token_update().ok
    phone.user_forgets_passcode()
    with broken("passcodes_clearrequest", "state <> 'sent'"):
        request_and_sign(run, people, phone)
        run.house.wait(lambda: last(phone).state == Clear.ARMED, "the vault has armed it")
        phone.connect()
        assert run.answers[-1][1].status == 500
    phone.connect()
    assert last(phone).state == Clear.CLEARED
    phone.user_sets_passcode(GOOD)


@contextmanager
def broken(table: str, nothing_but: str) -> Iterator[None]:
    """A rule of the database that what is about to be written breaks."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT broken CHECK ({nothing_but}) NOT VALID"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT broken")


def look_around(run: Run, people: Mapping[str, Person]) -> None:
    """Every page, for every role; and the files that the auditor takes away."""
    for name, person in people.items():
        run.pages += [(name, page) for page in person.pages(at_most=PAGES)]
    auditor = people["auditor"]
    for shape in ("csv", "jsonl"):
        export = f"/devices/auditentry/export/{shape}/"
        run.pages.append(("auditor", auditor.fill(export, {}, on="/devices/auditentry/")))


def device(phone: Phone) -> Device:
    return Device.objects.get(udid=phone.udid)


def last(phone: Phone) -> ClearRequest:
    return ClearRequest.objects.filter(device=device(phone)).latest("requested_at")


# The search


def in_rows(run: Run) -> list[str]:
    """Every column of every table, as text and as bytes, but where an address is kept."""
    places = []
    with psycopg.connect(**connection.get_connection_params()) as session:
        columns = session.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1, 2"
        ).fetchall()
        for table, column, kind in columns:
            wanted = [one for one in run.all if not is_at_home(one, table, column)]
            query = sql.SQL("SELECT {0}::text, {0} FROM {1} WHERE {0} IS NOT NULL")
            if kind != "bytea":
                query = sql.SQL("SELECT {0}::text, ''::bytea FROM {1} WHERE {0} IS NOT NULL")
            rows = session.execute(query.format(sql.Identifier(column), sql.Identifier(table)))
            everything = b"\n".join(text.encode() + b"\n" + raw for text, raw in rows)
            places += [f"{table}.{column}: {what}" for what in found(everything, wanted)]
    return places


def is_at_home(needle: Needle, table: str, column: str) -> bool:
    return any(what in needle.secret and (table, column) in at for what, at in HOMES.items())


def in_files(run: Run) -> list[str]:
    """Every file of the house: logs, environments, Redis's memory, the vault's journal."""
    places = []
    for folder in {run.house.data, run.house.place.folder}:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                places += [
                    f"{path.relative_to(folder)}: {what}"
                    for what in found(path.read_bytes(), run.all)
                ]
    return places


def in_the_log_of_postgres(run: Run) -> list[str]:
    return found((postgres_data().parents[1] / "postgres.log").read_bytes(), run.all)


def in_the_files_of_postgres(run: Run) -> list[str]:
    """Where rows that are gone may still stand. Push tokens have a home there."""
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
        cursor.execute("SELECT oid::text FROM pg_database WHERE datname = current_database()")
        ((number,),) = cursor.fetchall()
    data = postgres_data()
    short = [one for one in run.unlock if one.way in {"it is", "hex", "base64"}]
    places = []
    for folder in (data / "base" / number, data / "pg_wal", data / "global"):
        for path in folder.rglob("*"):
            if path.is_file():
                places += [f"{path.name}: {what}" for what in found(path.read_bytes(), short)]
    return places


def postgres_data() -> Path:
    with connection.cursor() as cursor:
        cursor.execute("SHOW data_directory")
        ((where,),) = cursor.fetchall()
    return Path(where)


def in_redis(run: Run) -> list[str]:
    """Every key, as Redis would write it into a file. What went through is in its own files."""
    with broker(run) as client:
        places = []
        for key in client.scan_iter():
            content = key + (client.dump(key) or b"")
            places += [f"{key!r}: {what}" for what in found(content, run.all)]
    return places


@contextmanager
def broker(run: Run) -> Iterator[Any]:
    client = redis.Redis(unix_socket_path=str(run.house.place.folder / "redis/redis.sock"))
    with client:
        yield client


def in_pages(run: Run) -> list[str]:
    return [
        f"{page.url} for {name}: {what}"
        for name, page in run.pages
        for what in found(page.headers.encode() + page.body, run.all)
    ]


def in_answers(run: Run) -> list[str]:
    """What the door said to devices: only the clear itself holds a token."""
    return [
        f"{answer.status} {len(answer.body)} bytes: {what}"
        for _, answer in run.answers
        if b"<string>ClearPasscode</string>" not in answer.body
        for what in found(repr(answer.headers).encode() + answer.body, run.all)
    ]


def in_processes(run: Run) -> list[str]:
    """The command line and the environment of each process, as the system shows them."""
    places = []
    for name, child in run.house.running.items():
        folder = Path("/proc") / str(child.process.pid)
        for file in ("cmdline", "environ"):
            content = (folder / file).read_bytes()
            places += [f"{file} of {name}: {what}" for what in found(content, run.all)]
    return places


SEARCHES = {
    "rows": in_rows,
    "files": in_files,
    "the log of PostgreSQL": in_the_log_of_postgres,
    "the files of PostgreSQL": in_the_files_of_postgres,
    "Redis": in_redis,
    "pages": in_pages,
    "answers": in_answers,
    "processes": in_processes,
}


# What must be so


def test_the_run_went_through_everything(run: Run) -> None:
    """Or there was nothing to find."""
    statuses = {answer.status for _, answer in run.answers}
    assert statuses >= {200, 400, 403, 413, 500}
    sent = [body for body, _ in run.answers]
    assert any(found(body, run.unlock) for body in sent)
    cleared = [answer.body for _, answer in run.answers if b"ClearPasscode" in answer.body]
    assert len(cleared) == 3
    assert all(found(body, run.unlock) for body in cleared)
    assert not [(who, page.url) for who, page in run.pages if page.status != 200]
    assert {urlpath(page) for _, page in run.pages} >= {
        "/",
        "/devices/device/",
        f"/devices/device/{device(run.phones[0]).pk}/change/",
        "/devices/auditentry/",
        "/devices/pushcertificate/",
        "/passcodes/clearrequest/",
        f"/passcodes/clearrequest/{last(run.phones[0]).pk}/change/",
        "/devices/auditentry/export/csv/",
        "/devices/auditentry/export/jsonl/",
    }
    assert not Command.objects.filter(state=State.FAILED).exclude(request_type="ClearPasscode")
    assert PushCertificate.objects.get().alarm == ""
    mails = [path.read_text() for path in (run.house.data / "mail").iterdir()]
    assert any("A clear waits to be signed" in mail for mail in mails)
    assert any("Its token was opened" in mail for mail in mails)


def urlpath(page: Page) -> str:
    return "/" + page.url.partition("?")[0].split("/", 3)[3]


@pytest.mark.parametrize("place", SEARCHES)
def test_no_token_and_no_magic_is_in(run: Run, place: str) -> None:
    assert SEARCHES[place](run) == []


def test_a_private_key_is_in_one_environment_file_and_nowhere_else(run: Run) -> None:
    keys = private_keys(run)
    during_a_rotation_only = {"VAULT_OLD_PRIVATE_KEYS", "DOOR_FORMER_KEY"}
    assert set(keys) == {*PRIVATE} - during_a_rotation_only
    searched = [*run.house.data.rglob("*"), *run.house.place.folder.rglob("*")]
    for name, (home, written) in keys.items():
        holding = [path for path in searched if path.is_file() and written in path.read_bytes()]
        assert {path.name for path in holding} == {home}, name
    without_devices = Run(run.house, [], unlock=[], answers=run.answers, pages=run.pages)
    for name, (_, written) in keys.items():
        without_devices.push += needles(name, written)
    for place in set(SEARCHES) - {"files"}:
        assert SEARCHES[place](without_devices) == []


def private_keys(run: Run) -> dict[str, tuple[str, bytes]]:
    """Each private key, where it belongs, and how it is written there."""
    homes = {
        "VAULT_PRIVATE_KEY": "vault.env",
        "VAULT_ORDER_KEY": "vault.env",
        "DOOR_PRIVATE_KEY": "door.env",
        "WORKER_PRIVATE_KEY": "worker.env",
    }
    keys = {}
    for name, home in homes.items():
        lines = (run.house.data / home).read_text().splitlines()
        ((_, _, value),) = (line.partition("=") for line in lines if line.startswith(f"{name}="))
        keys[name] = (home, value.encode())
    authority = (run.house.data / "authority/ca.key").read_bytes().splitlines()
    return {**keys, "CA_PRIVATE_KEY": ("ca.key", authority[5])}


def test_what_is_planted_in_each_place_is_found(run: Run) -> None:
    """The last one: from here on the house is spoilt."""
    token, magic = run.phones[0].unlock_token, run.phones[0].push_magic
    piece = next(one.written.decode() for one in run.unlock if one.way == "hex")
    row = device(run.phones[0])
    Device.objects.filter(pk=row.pk).update(name=magic)
    AuditEntry.objects.create(verb="planted", facts={"token": piece})
    (run.house.data / "logs/planted.log").write_text(f"took {token!r}")
    with connection.cursor() as cursor, pytest.raises(Exception, match="planted"):
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'planted {magic}'; END $$")
    with broker(run) as client:
        client.rpush("planted", magic)
    admin = Person(run.house.wanted.staff, "admin", run.house.passwords["admin"])
    run.pages.append(("admin", admin.get("/devices/device/")))
    run.answers.append((b"", Response(500, {"x-planted": magic}, b"")))
    for place, search in SEARCHES.items():
        if place != "processes":
            assert search(run), place
