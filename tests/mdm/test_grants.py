"""The database itself refuses each process what is not its own, and the main job runs all the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, transaction
from django.test import override_settings
from django.utils import timezone
from psycopg import sql

from devices import chain, inventory, queue
from devices.models import AuditEntry, Device, GroupRule
from devices.rules.grouping import read
from mdm import checks, grants
from passcodes import (
    accounts,
    configurations,
    custody,
    enforcement,
    grouping,
    rollout,
    witness,
)
from passcodes.models import Assignment, ClearRequest
from passcodes.rules.waves import Kind, Portion
from passcodes.waves import Intent
from tests import clears
from tests.house import DUE, House
from tests.macs import enrolled_mac
from tests.scenes import STRICT, STRONG, STRONGER, profile, published, wifi

PREFIX = "passcodes_grants_test_"
CHECKIN, CONNECT = "checkin", "connect"

# Each a promise of its own, whatever else changes in mdm/grants.py.
NEVER = {
    "staff": [
        "SELECT box FROM passcodes_tokenbox",
        "SELECT token FROM passcodes_tokenbox",
        "INSERT INTO passcodes_tokenbox (token, key, box) VALUES (gen_random_uuid(), '', '')",
        "DELETE FROM passcodes_tokenbox",
        "SELECT box FROM passcodes_handover",
        "INSERT INTO passcodes_handover DEFAULT VALUES",
        "UPDATE passcodes_escrowedtoken SET udid = udid",
        "UPDATE passcodes_clearrequest SET command_id = NULL",
        "UPDATE passcodes_approval SET until = now()",
        "INSERT INTO devices_audithead DEFAULT VALUES",
        "INSERT INTO devices_auditlink DEFAULT VALUES",
        "INSERT INTO passcodes_evidence DEFAULT VALUES",
    ],
    CHECKIN: [
        "UPDATE devices_device SET lost_at = NULL",
        "SELECT token FROM passcodes_tokenbox",
        "SELECT box FROM passcodes_tokenbox",
        "UPDATE passcodes_tokenbox SET box = box",
        "DELETE FROM passcodes_tokenbox",
        "SELECT box FROM passcodes_handover",
        "INSERT INTO passcodes_handover DEFAULT VALUES",
        "INSERT INTO passcodes_approval DEFAULT VALUES",
        "INSERT INTO passcodes_clearrequest DEFAULT VALUES",
    ],
    CONNECT: [
        "UPDATE devices_device SET lost_at = NULL",
        "SELECT token FROM passcodes_tokenbox",
        "INSERT INTO passcodes_tokenbox (token, key, box) VALUES (gen_random_uuid(), '', '')",
        "INSERT INTO passcodes_handover DEFAULT VALUES",
        "INSERT INTO passcodes_escrowedtoken DEFAULT VALUES",
        "INSERT INTO passcodes_approval DEFAULT VALUES",
        "INSERT INTO passcodes_clearrequest DEFAULT VALUES",
    ],
    "devices": [
        "UPDATE devices_device SET lost_at = NULL",
        "SELECT token FROM passcodes_tokenbox",
        "INSERT INTO passcodes_handover DEFAULT VALUES",
        "INSERT INTO passcodes_approval DEFAULT VALUES",
    ],
    "worker": [
        "SELECT box FROM passcodes_tokenbox",
        "SELECT box FROM passcodes_handover",
        'SELECT "order" FROM passcodes_handover',
        "INSERT INTO passcodes_approval DEFAULT VALUES",
        "INSERT INTO devices_audithead DEFAULT VALUES",
    ],
    "vault": [
        "INSERT INTO passcodes_tokenbox (token, key, box) VALUES (gen_random_uuid(), '', '')",
        "DELETE FROM passcodes_tokenbox",
        "INSERT INTO passcodes_approval DEFAULT VALUES",
        "INSERT INTO passcodes_clearrequest DEFAULT VALUES",
        "UPDATE devices_device SET lost_at = NULL",
        "INSERT INTO devices_auditlink DEFAULT VALUES",
    ],
    "everybody": [
        "UPDATE devices_auditentry SET verb = verb",
        "DELETE FROM devices_auditentry",
        "UPDATE devices_auditlink SET hash = hash",
        "DELETE FROM devices_auditlink",
        "DELETE FROM devices_audithead",
        "CREATE TABLE public.mine (id int)",
        "ALTER TABLE devices_auditentry DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "CREATE ROLE another",
        "UPDATE passcodes_tokenbox SET token = token",
        "UPDATE passcodes_escrowedtoken SET enrollment = enrollment",
    ],
    "all but the staff site": [
        "SELECT password FROM staff_user",
        "UPDATE staff_user SET is_superuser = true",
        "INSERT INTO staff_user_groups (user_id, group_id) VALUES (1, 1)",
        "SELECT * FROM django_session",
    ],
}

# Tries every verb on every table, every column by itself; what was not refused comes back.
TRY_ALL = """
CREATE FUNCTION public.tried(allowed text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE cell record;
BEGIN
    FOR cell IN
        SELECT c.relname AS t, v AS verb, a.attname AS col FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        CROSS JOIN unnest(ARRAY['SELECT', 'UPDATE']) v
        WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT c.relname, v, '*' FROM pg_class c
        CROSS JOIN unnest(ARRAY['INSERT', 'DELETE', 'TRUNCATE']) v
        WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
    LOOP
        CONTINUE WHEN cell.verb || ' ' || cell.t || '.' || cell.col = ANY(allowed);
        BEGIN
            CASE cell.verb
                WHEN 'SELECT' THEN EXECUTE format('SELECT %I FROM %I LIMIT 1', cell.col, cell.t);
                WHEN 'UPDATE' THEN EXECUTE format('UPDATE %I SET %I = NULL', cell.t, cell.col);
                WHEN 'INSERT' THEN EXECUTE format('INSERT INTO %I DEFAULT VALUES', cell.t);
                WHEN 'DELETE' THEN EXECUTE format('DELETE FROM %I', cell.t);
                WHEN 'TRUNCATE' THEN EXECUTE format('TRUNCATE %I', cell.t);
            END CASE;
            RETURN NEXT cell.verb || ' ' || cell.t || '.' || cell.col;
        EXCEPTION
            WHEN insufficient_privilege THEN NULL;
            WHEN OTHERS THEN RETURN NEXT cell.verb || ' ' || cell.t || '.' || cell.col || ': ' || SQLERRM;
        END;
    END LOOP;
END $$;
"""


@pytest.fixture
def granted(db: None) -> Iterator[None]:
    with override_settings(ROLE_PREFIX=PREFIX):
        grants.grant(PREFIX, {})
        yield


def run(statement: str, *values: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return [row[0] for row in cursor.fetchall()] if cursor.description else []


@contextmanager
def role(name: str) -> Iterator[None]:
    """What follows comes from that process, as far as the database can tell."""
    run(sql.SQL("SET ROLE {}").format(sql.Identifier(PREFIX + name)).as_string())
    try:
        yield
    finally:
        if not connection.needs_rollback:
            run("RESET ROLE")


def allowed(name: str, there: dict[str, list[str]]) -> list[str]:
    """The cells of the table that are not empty."""
    cells = []
    for table, columns in there.items():
        for right in grants.rights_of(name, table):
            verb = grants.VERBS[right.verb]
            if right.verb in "ID":
                cells.append(f"{verb} {table}.*")
            else:
                named = columns if right.columns == grants.ALL else right.columns
                cells += [f"{verb} {table}.{column}" for column in named]
    return cells


@pytest.mark.django_db
def test_every_table_has_its_line_and_every_line_its_table() -> None:
    assert grants.faults() == []


@pytest.mark.usefixtures("granted")
@pytest.mark.parametrize("name", grants.ROLES)
def test_t23_every_empty_cell_is_refused(name: str) -> None:
    there = grants.tables()
    run(TRY_ALL)
    with role(name):
        assert run("SELECT * FROM public.tried(%s)", allowed(name, there)) == []
        assert len(there) > 50


@pytest.mark.usefixtures("granted")
@pytest.mark.parametrize("name", grants.ROLES)
def test_t23_what_is_promised_by_name_is_refused(name: str) -> None:
    statements = [*NEVER[name], *NEVER["everybody"]]
    if name != "staff":
        statements += NEVER["all but the staff site"]
    for statement in statements:
        with (
            role(name),
            pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
            transaction.atomic(),
        ):
            run(statement)


@pytest.mark.usefixtures("granted")
def test_the_command_may_be_repeated_and_takes_away_what_is_not_in_the_table() -> None:
    call_command("grants", "--check", stdout=StringIO())
    run(f"GRANT SELECT (box) ON passcodes_tokenbox TO {PREFIX}staff")
    with pytest.raises(CommandError, match=r"staff must not SELECT passcodes_tokenbox\.box"):
        call_command("grants", "--check")
    call_command("grants", stdout=StringIO())
    call_command("grants", "--check", stdout=StringIO())


@pytest.mark.usefixtures("granted")
def test_a_table_without_a_line_is_told_and_opens_nothing_to_the_vault() -> None:
    run("CREATE TABLE public.newcomer (id int)")
    told = StringIO()
    call_command("grants", stdout=StringIO(), stderr=told)
    assert "newcomer has no line in mdm/grants.py.\n" in told.getvalue()
    with pytest.raises(CommandError, match="newcomer has no line"):
        call_command("grants", "--check")
    with role("vault"), pytest.raises(ProgrammingError), transaction.atomic():
        run("INSERT INTO newcomer VALUES (1)")


@pytest.mark.usefixtures("granted")
def test_a_process_that_signs_in_as_the_owner_is_told() -> None:
    assert [found.id for found in checks.the_login_owns_nothing(["default"])] == ["passcodes.E004"]
    with role("vault"):
        assert checks.the_login_owns_nothing(["default"]) == []
    with override_settings(SERVE="owner"):
        assert checks.the_login_owns_nothing(["default"]) == []


@pytest.fixture
def apart(house: House, granted: None, monkeypatch: pytest.MonkeyPatch) -> House:
    """The house with each process under its own login: door by address, clock, vault."""
    ask = house.door.ask

    def as_door(method: str, path: str, *args: Any, **more: Any) -> Any:
        with role(CONNECT if path.startswith("/mdm/connect") else CHECKIN):
            return ask(method, path, *args, **more)

    def as_role(name: str, does: Any) -> Any:
        def inside(*args: Any, **more: Any) -> Any:
            with role(name):
                return does(*args, **more)

        return inside

    monkeypatch.setattr(house.door, "ask", as_door)
    monkeypatch.setattr(house, "vault", as_role("vault", house.vault))
    ticks = tuple(as_role("worker", due) for due in (chain.link_due, *DUE))
    monkeypatch.setattr("tests.house.DUE", ticks)
    monkeypatch.setattr("devices.waking.push_due", as_role("worker", ticks[-1]))
    return house


def test_t23_the_main_job_runs_with_roles_apart(apart: House) -> None:
    """From enrollment to a clear that is protected again; nobody is refused a thing."""
    group = apart.group("All")
    phone = apart.enrolled_phone(passcode=STRONG, group=group)
    helpdesk, approver, author = apart.helpdesk, apart.approver, apart.author
    with role("staff"):
        configuration = wifi(apart, group=group, withdraw_on_regression=True)
        version = published(apart, STRICT)
        rollout.push(version.pk, group_ids=[group.pk], by=author)
    apart.woken()
    assert configuration.profile.identifier in phone.installed

    phone.user_forgets_passcode()
    with role("staff"):
        asked = clears.ask_for(phone, by=helpdesk)
        clears.approve(asked.pk, by=approver)
    apart.tick()
    apart.woken()
    phone.connect()
    assert ClearRequest.objects.get(pk=asked.pk).state == "cleared"
    phone.user_sets_passcode(STRONGER)
    apart.clock.forward(minutes=1)
    apart.tick()
    phone.connect()
    assert ClearRequest.objects.get(pk=asked.pk).state == "reprotected"

    with role("staff"):
        custody.mark_lost(apart.device(phone).pk, note="Left in a train.", by=helpdesk)
    apart.tick()
    with role("staff"):
        clears.agree(clears.ask_to_find(apart.device(phone), by=helpdesk), by=approver)
    apart.tick()
    assert not apart.device(phone).is_lost
    phone.user_removes_profile()
    apart.tick()
    assert not apart.device(phone).is_enrolled
    assert AuditEntry.objects.filter(verb="vault.line").exists()


def test_t23_users_get_what_is_theirs_with_roles_apart(apart: House) -> None:
    mac = enrolled_mac(apart)
    with role("staff"):
        version = published(apart, STRICT)
        rollout.push(version.pk, device_ids=[apart.device(mac).pk], by=apart.author)
        mail = configurations.upload(
            "Mail",
            profile("com.example.mail"),
            for_users=True,
            installed_policy_is_enough=True,
            by=apart.author,
        )
        configurations.assign(mail.pk, device_ids=[apart.device(mac).pk], by=apart.author)
    mac.connect()
    anna = mac.add_user("anna")
    assert anna.log_in()
    assert list(anna.profiles) == ["com.example.mail"]

    del anna.profiles["com.example.mail"]
    with role("worker"):
        assert witness.ask_users_due() == 1
    anna.connect()
    assert list(anna.profiles) == ["com.example.mail"]

    with role("staff"):
        accounts.ask(mail.releases.get().user_id or 0, by=apart.helpdesk)
        configurations.assign(mail.pk, by=apart.author)
    anna.connect()
    assert list(anna.profiles) == []
    mac.check_out()
    assert mail.releases.get().state == "ended"


def test_t23_the_worker_lets_waves_go_with_its_own_rights(apart: House) -> None:
    group = apart.group("All")
    first, second = (apart.enrolled_phone(passcode=STRONG, group=group) for _ in range(2))
    one_first = Intent((Portion(Kind.DEVICES, 1),), after_hours=1, threshold=0)
    with role("staff"):
        version = published(apart, STRICT)
        rollout.push(version.pk, group_ids=[group.pk], in_waves=one_first, by=apart.author)
    apart.woken()
    assert sorted(bool(phone.installed) for phone in (first, second)) == [False, True]
    apart.clock.forward(hours=2)
    apart.tick()
    for phone in (first, second):
        phone.connect()
    assert first.installed == second.installed
    assert Assignment.objects.get(group=group).version == version


def test_t23_devices_follow_rules_of_groups_with_roles_apart(apart: House) -> None:
    """The staff site writes the rule, the doors and the worker move devices, the vault knows no groups."""
    shop, kiosks = apart.group("Shop"), apart.group("Kiosks")
    with role("staff"):
        grouping.write(shop.pk, [read("version", "at_least", "26")], by=apart.admin)
        version = published(apart, STRICT)
        rollout.push(version.pk, group_ids=[shop.pk], except_ids=[kiosks.pk], by=apart.author)
        wifi(apart, group=shop)
    phone = apart.enrolled_phone(passcode=STRONG)
    apart.woken()
    assert len(phone.installed) == 2
    with role("staff"):
        grouping.write(kiosks.pk, [read("tag", "is", "KIOSK")], by=apart.admin)
    Device.objects.update(asset_tag="KIOSK")  # unheard, so that the worker has to find it
    GroupRule.objects.update(due_at=timezone.now())
    apart.tick()
    phone.connect()
    assert list(apart.device(phone).groups.order_by("name")) == [kiosks, shop]
    assert len(phone.installed) == 1  # the configuration stays: it leaves nobody out
    phone.os_version = "25.0"
    with role("staff"):
        enforcement.ask_now(apart.device(phone).pk, by=apart.helpdesk)
        queue.enqueue(
            [apart.device(phone)],
            "DeviceInformation",
            arguments={"Queries": list(inventory.QUERIES)},
        )
    phone.connect()
    phone.connect()
    assert list(apart.device(phone).groups.all()) == [kiosks]
    assert phone.installed == []
    for table in ("devices_devicegroup", "devices_devicegroup_devices", "devices_grouprule"):
        assert grants.rights_of("vault", table) == ()
