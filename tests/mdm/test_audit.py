"""The auditor's page: every verb has its sentence, what is found is what was asked for, and nobody changes it."""

import ast
import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.http import HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from devices import audit as trace
from devices.models import AuditEntry, Device
from mdm.desk import history, spreadsheet
from passcodes.gate import TRACES
from passcodes.rules import acts, clearing, codes, enforcement
from staff.models import Scope
from tests.house import House

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("devices", "staff", "passcodes", "mdm", "vault")
LIST = "admin:devices_auditentry_changelist"
# Verbs that are put together where they are recorded, by what they begin with.
COMPOSED = {
    "clear.": [f"clear.{step.value}" for step in clearing.Step],
    "enforcement.": [f"enforcement.{state.value}" for state in enforcement.State],
    "code.": [f"code.{step.value}" for step in codes.Step],
    "lost_mode.": ["lost_mode.on", "lost_mode.off"],
}
# Verbs that come from a table, by the file that records them.
TABLES = {
    "passcodes/gate.py": list(TRACES.values()),
    "passcodes/acts.py": list(acts.VERBS.values()),
}


def calls(tree: ast.AST, names: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names and node.args:
            yield node


def recorded(file: Path) -> Iterator[str]:
    """Every verb that the file records; a call that cannot be read fails."""
    tree = ast.parse(file.read_text())
    name = str(file.relative_to(ROOT))
    for call in calls(tree, {"audit.record", "audit.record_many", "audit.refusals"}):
        yield from verbs(call.args[0], tree, call, name)


def verbs(said: ast.expr, tree: ast.AST, call: ast.Call, name: str) -> Iterator[str]:
    match said:
        case ast.Constant(value=str(verb)):
            yield verb
        case ast.JoinedStr(values=[ast.Constant(value=str(beginning)), _]):
            yield from COMPOSED[beginning]
        case ast.Name(id=parameter):
            around = [
                node
                for node in ast.walk(tree)
                if isinstance(node, ast.FunctionDef) and call in ast.walk(node)
            ]
            arguments = [one.arg for one in around[0].args.args]
            if parameter not in arguments:
                chosen = list(chosen_from(around[0], parameter))
                yield from chosen or TABLES[name]
                return
            place = arguments.index(parameter)
            own = around[0].name
            callers = list(calls(tree, {own, f"self.{own}"}))
            assert callers, f"{name}: nobody calls {own}"
            for caller in callers:
                is_method = ast.unparse(caller.func).startswith("self.")
                yield from verbs(caller.args[place - is_method], tree, caller, name)
        case _:
            pytest.fail(f"{name}: the verb in «{ast.unparse(call)}» cannot be read")


def chosen_from(around: ast.AST, name: str) -> Iterator[str]:
    """Both verbs of «verb = a if … else b»."""
    for node in ast.walk(around):
        match node:
            case ast.Assign(
                targets=[ast.Name(id=given)],
                value=ast.IfExp(
                    body=ast.Constant(value=str(one)), orelse=ast.Constant(value=str(other))
                ),
            ) if given == name:
                yield from (one, other)
            case _:
                continue


def all_recorded() -> set[str]:
    files = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]
    return {verb for file in files for verb in recorded(file)}


def test_every_verb_that_the_code_records_has_a_sentence() -> None:
    assert all_recorded() - set(history.SENTENCES) == set()


def test_every_sentence_belongs_to_a_verb_that_the_code_records() -> None:
    assert set(history.SENTENCES) - all_recorded() == set()


def test_every_sentence_ends_as_a_sentence_and_names_no_code() -> None:
    for verb, said in history.SENTENCES.items():
        assert said.endswith("."), verb
        assert not re.search(r"[a-z]+[._][a-z]", said), verb


def test_refusals_and_what_devices_do_are_verbs_that_exist() -> None:
    assert set(history.REFUSALS) | set(history.OF_THE_DEVICE) <= set(history.SENTENCES)


@pytest.fixture
def auditor(house: House, client: Client) -> Client:
    client.force_login(house.auditor)
    return client


@pytest.fixture
def till(house: House) -> Device:
    phone = house.enrolled_phone(name="till-1")
    return house.device(phone)


def lines(response: HttpResponseBase) -> list[history.Line]:
    assert isinstance(response, TemplateResponse), response
    assert response.context_data is not None
    found: list[history.Line] = response.context_data["lines"]
    return found


def shown(response: HttpResponseBase) -> list[str]:
    return [line.entry.verb for line in lines(response)]


def test_the_newest_entry_stands_first(auditor: Client, house: House) -> None:
    trace.record("device.lost")
    trace.record("device.found")
    assert shown(auditor.get(reverse(LIST)))[:2] == ["device.found", "device.lost"]


def test_an_entry_is_told_as_a_sentence_with_its_facts(auditor: Client, house: House) -> None:
    trace.record("clear.deny", actor=house.approver, words="Call the shop first.")
    page = auditor.get(reverse(LIST)).content.decode()
    assert "<strong>approver</strong> denied the clear." in page
    assert "in their words: Call the shop first." in page


def test_numbers_in_facts_are_told_by_name(auditor: Client, house: House, till: Device) -> None:
    group = house.group("Retail phones")
    trace.record("device.joined", actor=house.admin, device=till, group=group.pk)
    assert "group: Retail phones" in auditor.get(reverse(LIST)).content.decode()


@pytest.mark.parametrize("word", ["clear.deny", "denied", "approver", "APPROVER denied"])
def test_an_entry_is_found_by_verb_by_sentence_and_by_person(
    auditor: Client, house: House, word: str
) -> None:
    trace.record("clear.deny", actor=house.approver)
    trace.record("device.lost", actor=house.helpdesk)
    assert shown(auditor.get(reverse(LIST), {"q": word})) == ["clear.deny"]


@pytest.mark.parametrize("field", ["serial", "name", "udid"])
def test_an_entry_is_found_by_its_device(auditor: Client, till: Device, field: str) -> None:
    trace.record("device.lost", device=till)
    trace.record("device.lost")
    found = auditor.get(reverse(LIST), {"q": f"{getattr(till, field)} lost"})
    assert shown(found) == ["device.lost"]
    assert lines(found)[0].entry.device == till


@pytest.mark.parametrize(
    ("kind", "verb"),
    [
        ("person", "device.lost"),
        ("device", "device.left"),
        ("product", "clear.expire"),
        ("refused", "clear.refused"),
    ],
)
def test_entries_are_narrowed_to_people_devices_product_and_refusals(
    auditor: Client, house: House, kind: str, verb: str
) -> None:
    trace.record("device.lost", actor=house.helpdesk)
    trace.record("device.left")
    trace.record("clear.expire")
    trace.record("clear.refused", actor=house.helpdesk)
    found = auditor.get(reverse(LIST), {"kind": kind})
    assert verb in shown(found)
    assert {line.kind for line in lines(found)} == {kind}


def test_the_database_and_the_page_agree_on_every_kind(house: House) -> None:
    for verb in history.SENTENCES:
        trace.record(verb)
        trace.record(verb, actor=house.helpdesk)
    for kind in history.KINDS:
        entries = AuditEntry.objects.filter(history.of_kind(kind))
        assert entries
        assert {history.kind(entry) for entry in entries} == {kind}
    counted = sum(
        AuditEntry.objects.filter(history.of_kind(kind)).count() for kind in history.KINDS
    )
    assert counted == AuditEntry.objects.count()


def test_entries_are_narrowed_to_days_both_of_them_included(auditor: Client) -> None:
    today = timezone.localdate()
    for days, verb in enumerate(["device.found", "device.lost", "device.left"]):
        AuditEntry.objects.create(verb=verb, at=timezone.now() - timedelta(days=days))
    yesterday = (today - timedelta(days=1)).isoformat()
    chosen = {"since": yesterday, "until": yesterday}
    assert shown(auditor.get(reverse(LIST), chosen)) == ["device.lost"]


@pytest.mark.parametrize(
    "chosen",
    [{"since": "yesterday"}, {"until": "2025-02-31"}, {"kind": "ghosts"}, {"topic": "tea"}],
)
def test_a_choice_that_makes_no_sense_narrows_nothing(
    auditor: Client, chosen: dict[str, str]
) -> None:
    trace.record("device.lost")
    assert "device.lost" in shown(auditor.get(reverse(LIST), chosen))


def test_entries_are_narrowed_to_one_device(auditor: Client, till: Device) -> None:
    trace.record("policy.create")
    found = auditor.get(reverse(LIST), {"device__id__exact": till.pk})
    assert "device.enrolled" in shown(found)
    assert "policy.create" not in shown(found)
    assert f"Audit of {till}" in found.content.decode()


def test_an_auditor_reads_of_the_devices_in_scope_and_of_what_has_no_device(
    house: House, client: Client, till: Device
) -> None:
    elsewhere = house.device(house.enrolled_phone(name="elsewhere"))
    group = house.group("Tills")
    group.devices.add(till)
    auditor = house.person("auditor", name="auditor of tills", everything=False)
    Scope.objects.create(user=auditor).groups.add(group)
    trace.record("device.lost", device=elsewhere)
    trace.record("device.found", device=till)
    trace.record("policy.create")
    client.force_login(auditor)
    seen = shown(client.get(reverse(LIST), {"kind": "product"}))
    assert {"device.found", "policy.create"} <= set(seen)
    assert "device.lost" not in seen
    hidden = AuditEntry.objects.get(verb="device.lost")
    assert (
        client.get(reverse("admin:devices_auditentry_change", args=[hidden.pk])).status_code == 404
    )
    narrowed = client.get(reverse(LIST), {"device__id__exact": elsewhere.pk})
    assert shown(narrowed) == []


def test_an_entry_has_a_page_with_every_fact(auditor: Client, till: Device) -> None:
    trace.record(
        "door.refused", device=till, kind="no signature", identity="ab12", nested={"a": 1}
    )
    entry = AuditEntry.objects.get(verb="door.refused")
    page = auditor.get(
        reverse("admin:devices_auditentry_change", args=[entry.pk])
    ).content.decode()
    for said in ("A request at the device door was refused.", "ab12", "no signature", "nested"):
        assert said in page


@pytest.mark.parametrize("role", ["auditor", "admin"])
def test_nobody_adds_changes_or_deletes_an_entry(house: House, client: Client, role: str) -> None:
    client.force_login(getattr(house, role))
    trace.record("device.lost")
    entry = AuditEntry.objects.get(verb="device.lost")
    page = reverse("admin:devices_auditentry_change", args=[entry.pk])
    for address in (
        reverse("admin:devices_auditentry_add"),
        f"{page.removesuffix('change/')}delete/",
    ):
        assert client.get(address).status_code == 403
        assert client.post(address, {"post": "yes"}).status_code == 403
    client.post(page, {"verb": "device.found"})
    client.post(reverse(LIST), {"action": "delete_selected", "_selected_action": entry.pk})
    entry.refresh_from_db()
    assert entry.verb == "device.lost"


def taken(client: Client, shape: str, **chosen: str) -> str:
    response = client.post(
        reverse(f"admin:audit_export_{shape}", query=chosen)
        if chosen
        else reverse(f"admin:audit_export_{shape}")
    )
    assert isinstance(response, StreamingHttpResponse), response.status_code
    return response.getvalue().decode()


def test_the_audit_is_taken_away_as_json_lines(auditor: Client, till: Device) -> None:
    trace.record("device.lost", device=till, note="left in a taxi")
    rows = [json.loads(line) for line in taken(auditor, "jsonl").splitlines()]
    assert rows[-1]["verb"] == "device.lost"
    assert rows[-1]["facts"] == {"note": "left in a taxi"}
    assert rows[-1]["serial"] == till.serial
    assert [row["number"] for row in rows] == sorted(row["number"] for row in rows)


def test_the_audit_is_taken_away_as_narrowed_as_it_is_shown(auditor: Client, till: Device) -> None:
    trace.record("device.lost", device=till)
    trace.record("policy.create")
    rows = [json.loads(line) for line in taken(auditor, "jsonl", q="policy.create").splitlines()]
    assert [row["verb"] for row in rows] == ["policy.create"]


def test_taking_the_audit_away_is_audited(auditor: Client, house: House) -> None:
    trace.record("policy.create")
    taken(auditor, "csv", q="policy")
    entry = AuditEntry.objects.get(verb="audit.export")
    assert entry.actor_name == "auditor"
    assert entry.facts == {"format": "csv", "entries": 1, "filters": {"q": "policy"}}


def test_a_table_holds_what_the_page_tells(auditor: Client, house: House, till: Device) -> None:
    trace.record("device.lost", device=till, actor=house.helpdesk, note="left, in a “taxi”")
    text = taken(auditor, "csv", q="lost").removeprefix("\ufeff")
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["sentence"] == "marked it as lost."
    assert row["actor"] == "helpdesk"
    assert row["device_name"] == "till-1"
    assert json.loads(row["facts"]) == {"note": "left, in a “taxi”"}


@pytest.mark.parametrize("begins", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1"])
def test_no_name_becomes_a_formula_in_a_spreadsheet(
    auditor: Client, till: Device, begins: str
) -> None:
    Device.objects.filter(pk=till.pk).update(name=begins)
    trace.record("device.lost", device=till)
    text = taken(auditor, "csv", q="lost").removeprefix("\ufeff")
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["device_name"] == f"'{begins}"


def test_a_plain_name_and_a_number_stay_as_they_are() -> None:
    assert [spreadsheet.harmless(value) for value in ("till-1", 7, None)] == ["till-1", 7, None]


@pytest.mark.parametrize("shape", ["csv", "jsonl"])
def test_only_who_may_export_takes_the_audit_away_and_never_by_a_link(
    house: House, client: Client, shape: str
) -> None:
    address = reverse(f"admin:audit_export_{shape}")
    client.force_login(house.admin)  # reads the audit, and may not export it
    assert client.post(address).status_code == 403
    client.force_login(house.auditor)
    assert client.get(address).status_code == 405
    assert not AuditEntry.objects.filter(verb="audit.export").exists()


def test_a_long_audit_costs_no_more_questions_than_a_short_one(
    auditor: Client, house: House, till: Device, django_assert_max_num_queries: object
) -> None:
    for number in range(49):
        trace.record("device.joined", device=till, actor=house.admin, group=number)
    with django_assert_max_num_queries(24):  # type: ignore[operator]
        auditor.get(reverse(LIST))


def test_the_admin_s_own_history_leads_to_the_audit_for_who_may_read_it(
    house: House, client: Client
) -> None:
    device = Device.objects.create(udid="00008101-HISTORY", name="till-1")
    address = reverse("admin:devices_device_history", args=[device.pk])
    for person, may in ((house.auditor, True), (house.helpdesk, False)):
        client.force_login(person)
        page = client.get(address).content.decode()
        assert "Every change is written into the audit" in page
        assert (f"{reverse(LIST)}?device__id__exact={device.pk}" in page) is may
