"""The pages for whoever asks «is it safe?» and «does it work?»: the IT policy and the coverage report."""

import csv
import io
import re
from dataclasses import replace
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.test import Client
from pytest_django.fixtures import Settings

from devices.models import AuditEntry, Device
from mdm.desk import it_policy as desk
from passcodes import it_policy
from passcodes.models import ItPolicy, VaultSays
from passcodes.rules.charter import Charter
from tests import clears
from tests.house import House
from vault import keyring, selftest


def client(house: House, role: str) -> Client:
    client = Client()
    client.force_login(getattr(house, role))
    return client


def text(response: Any) -> str:
    """The words of a page."""
    page = response.getvalue().decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)).replace("&quot;", '"')


def phones() -> list[Device]:
    """One that can be cleared, one without a token, one that is lost and has none either."""
    return [
        clears.with_token(udid="U1", serial="S1", identity="1" * 64, name="till-1"),
        clears.device(udid="U2", serial="S2", identity="2" * 64, name="=till-2"),
        clears.device(
            udid="U3", serial="S3", identity="3" * 64, name="till-3", lost_at="2026-01-01T00:00Z"
        ),
    ]


def test_the_report_counts_reasons_with_their_next_steps(house: House) -> None:
    phones()
    page = text(client(house, "auditor").get("/coverage/"))
    assert "2 of 3 devices cannot be cleared today" in page
    assert "2 have given no token" in page
    assert "1 is marked lost" in page
    assert "Ask for a new one on the device’s page, or enroll it again" in page


def test_a_reason_leads_to_the_list_of_its_devices(house: House) -> None:
    phones()
    helpdesk = client(house, "helpdesk")
    page = helpdesk.get("/coverage/").getvalue().decode()
    assert 'href="/devices/device/?clear=lost"' in page
    lost = text(helpdesk.get("/devices/device/?clear=lost"))
    assert "till-3" in lost
    assert "till-1" not in lost
    every = text(helpdesk.get("/devices/device/?clear=any"))
    assert "till-2" in every
    assert "till-1" not in every
    assert "till-1" in text(helpdesk.get("/devices/device/?clear=nonsense"))


def test_the_file_has_every_device_with_every_reason(house: House) -> None:
    phones()
    answer: Any = client(house, "approver").post("/coverage/csv/")
    rows = list(csv.reader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))
    assert [(row[0], row[6]) for row in rows[1:]] == [
        ("'=till-2", "has given no token"),
        ("till-3", "has given no token"),
        ("till-3", "is marked lost"),
    ]
    assert AuditEntry.objects.get(verb="coverage.export").facts["entries"] == 2


def test_whoever_sees_few_devices_reads_of_those_alone(house: House) -> None:
    [_, without, _] = phones()
    group = house.group("Tills")
    group.devices.add(without)
    scope = house.helpdesk.scope
    scope.everything = False
    scope.save()
    scope.groups.add(group)
    page = text(client(house, "helpdesk").get("/coverage/"))
    assert "1 of 1 devices cannot be cleared today" in page
    assert "till-3" not in page


def test_the_first_page_says_the_same(house: House) -> None:
    phones()
    page = text(client(house, "helpdesk").get("/"))
    assert "2 have given no token" in page
    assert "2 of 3" in page


def test_a_statement_is_kept_version_by_version(house: House) -> None:
    admin = client(house, "admin")
    assert "Nobody has written one yet" in text(admin.get("/it-policy/"))
    admin.post("/it-policy/write/", {"after": "0", "text": "We keep tokens to help."})
    admin.post("/it-policy/write/", {"after": "1", "text": "We keep them for a year."})
    reader = client(house, "outsider")
    assert "We keep them for a year." in text(reader.get("/it-policy/"))
    old = text(reader.get("/it-policy/?version=1"))
    assert "We keep tokens to help." in old
    assert "This is an old version" in old
    for nonsense in ("7", "x", "9" * 40):
        assert reader.get(f"/it-policy/?version={nonsense}").status_code == 404


def test_of_two_writers_the_second_reads_first(house: House) -> None:
    it_policy.write("The first.", after=0, by=house.admin)
    with pytest.raises(it_policy.Refused, match="Version 1 was written meanwhile"):
        it_policy.write("The other.", after=0, by=house.admin)
    page = client(house, "admin").post("/it-policy/write/", {"after": "0", "text": "The other."})
    assert "written meanwhile" in text(page)
    assert ItPolicy.objects.count() == 1


@pytest.mark.parametrize("words", ["  \n ", "x" * 20_001, "The first."])
def test_what_says_nothing_is_no_version(house: House, words: str) -> None:
    it_policy.write("The first.", after=0, by=house.admin)
    with pytest.raises(it_policy.Refused):
        it_policy.write(words, after=1, by=house.admin)


def test_no_version_is_ever_changed_or_removed(house: House) -> None:
    it_policy.write("The first.", after=0, by=house.admin)
    for deed in (
        lambda: ItPolicy.objects.update(version=F("version") + 1),
        lambda: ItPolicy.objects.all().delete(),
        lambda: connection.cursor().execute(
            "SET CONSTRAINTS ALL IMMEDIATE; TRUNCATE passcodes_itpolicy"
        ),
    ):
        with pytest.raises(DatabaseError, match="only ever added"), transaction.atomic():
            deed()


def test_markup_in_a_statement_is_text(house: House) -> None:
    it_policy.write("<script>alert(1)</script>", after=0, by=house.admin)
    page = client(house, "outsider").get("/it-policy/").getvalue().decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_it_says_how_tokens_are_stored(house: House) -> None:
    clears.with_token()
    keys = keyring.load()
    selftest.run(keys)
    page = text(client(house, "auditor").get("/it-policy/"))
    assert f"Key {keys.key_id} 1 token, 1 of them current" in page
    assert "Yes: 1 of 1 that the vault tried" in page
    assert "after 30 days" in page


def test_it_says_who_has_access_and_names_them_to_whom_it_may(house: House) -> None:
    house.person("approver", name="paula")
    auditor = text(client(house, "auditor").get("/it-policy/"))
    assert re.search(r"Sign a clear 1 paula ", auditor)
    outsider = text(client(house, "outsider").get("/it-policy/"))
    assert "Sign a clear 1 " in outsider
    assert "paula" not in outsider


def test_whoever_is_switched_off_has_no_access(house: House) -> None:
    paula = house.person("approver", name="paula")
    paula.is_active = False
    paula.save(update_fields=["is_active"])
    assert "paula" not in text(client(house, "auditor").get("/it-policy/"))


def test_it_says_what_holds_of_the_promise(house: House, settings: Settings) -> None:
    auditor = client(house, "auditor")
    page = text(auditor.get("/it-policy/"))
    assert "No stored UnlockToken opens outside the vault" in page
    assert "Enrollments do not pin the door’s TLS authority" in page
    settings.DOOR_TLS_AUTHORITY = settings.CA_CERTIFICATE
    assert "New enrollments pin the door’s TLS authority" in text(auditor.get("/it-policy/"))


@pytest.mark.parametrize(
    ("running", "look", "words"),
    [
        ({"staff", "devices"}, "care", "one process"),
        ({"staff", "checkin", "connect"}, "yes", "are apart"),
        ({"devices", "checkin", "connect"}, "care", "one process"),
        ({"staff", "checkin"}, "care", "cannot be said"),
    ],
)
def test_doors_are_apart_only_when_both_are_seen_and_no_third(
    running: set[str], look: str, words: str
) -> None:
    said = desk._doors(running)
    assert said.look == look
    assert words in said.what


def test_which_processes_run_is_read_off_the_database(house: House) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET application_name = 'passcodes connect'")
        try:
            assert "connect" in desk.processes()
        finally:
            cursor.execute("RESET application_name")


def test_it_says_what_a_clear_requires_by_the_vaults_own_rule(house: House) -> None:
    auditor = client(house, "auditor")
    page = text(auditor.get("/it-policy/"))
    assert "Signatures of two people at least: one asks" in page
    assert "one other person approves" in page
    assert re.search(
        r"pinned at the vault \(charter, version 1\): \d+ may ask, \d+ may approve", page
    )
    assert "shown in one of 3 ways" in page
    assert "Synced passkeys count for who asks" in page

    def stricter(charter: Charter) -> Charter:
        rule = replace(
            charter.default,
            approvers=2,
            possession=frozenset({"code"}),
            synced=frozenset(),
            notice=1,
        )
        return replace(charter, version=charter.version + 1, default=rule)

    house.charter(stricter)
    page = text(auditor.get("/it-policy/"))
    assert "Signatures of three people at least" in page
    assert "two others approve" in page
    assert "shown in this way: the requester read the code" in page
    assert "people are told before it opens: yes" in page
    assert "No synced passkey counts" in page


def test_where_nobody_is_pinned_it_says_that_nothing_opens(house: House) -> None:
    VaultSays.objects.all().delete()
    page = text(client(house, "auditor").get("/it-policy/"))
    assert "Nobody is pinned at the vault yet" in page
