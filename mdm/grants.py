"""What each process may do with each table, and how the database is told.

A login of the database for each process, and one for the owner, who migrates and serves nobody. What a
line does not name is refused by the database itself, whatever a process has been talked into. `devices`
is one process that is both doors, with the rights of both.

S select, I insert, U update, D delete; columns in brackets narrow S and U. A column beside INSERT does
not work: Django names every column of a row that it inserts, so what one process alone may write has a
table of its own. `select_for_update` needs U on some column: for a device that is `locked_at`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db import connection, transaction
from psycopg import sql

ROLES = ("staff", "checkin", "connect", "devices", "worker", "vault")
BOTH_DOORS = ("checkin", "connect")
ALL = "*"  # every column
RIGHT = re.compile(r"([SIUD])(?:\(([a-z0-9_, ]+)\))?(?: |$)")
VERBS = {"S": "SELECT", "I": "INSERT", "U": "UPDATE", "D": "DELETE"}

WAKE = "wake_due_at, wake_attempts"
PUSH_ADDRESS = "push_token, push_magic, token_since, token_dead_since"
PUSHED = "pushed_at, push_token, push_magic, token_dead_since"
REPORTED = (
    "is_shared_ipad, is_supervised, is_user_enrollment, last_seen_at, inactive_since, returned_at, "
    "build, model_name, name, os_version, platform, product_name, serial, access_rights"
)
BELONGING = "enrollment_state, enrolled_at, left_at, identity, identity_until, pins"
ENDS = "state, answered_at, ended_because"  # of a command
ENDED = "state, ended_at, ended_because"  # of a request, an enforcement
ENFORCED = (
    f"{ENDED}, acknowledged_at, command_id, compliant_at, deadline, look_again_at, overdue_since"
)
RELEASED = "state, reasons, since, command_id, delivered_at, withdrawn_at"
DECLARED = "is_in_force, proven_at, reasons, way_back_id, withdrawn_at"
SUPERSEDED = "is_in_force, withdrawn_at, way_back_id"
KEPT = "state, current, retired_at"
CHANNEL = (
    "enrollment, errors, full_report_at, refused_at, refused_because, reported_at, status, token, "
    "token_since"
)
CODE = "state, command_id, message_result, answered_at, until, typed, ended_because"
PERSON = "id, username, first_name, last_name, is_active"
WAVES = "state, due_at, held_because, held_by_id, since"
SENDING = "state, attempts, next_try_at, trouble"  # of a notice
LOGIN = "auth_token, nonce, nonce_until, state"

# The table is read by rows; a role that is not named has nothing.
RIGHTS: dict[str, dict[str, str]] = {
    # The escrow. Nobody but the vault reads a box, and nobody but the door writes one.
    "passcodes_tokenbox": {"checkin": "I", "worker": "S(token) D", "vault": "S U(key, box)"},
    "passcodes_handover": {
        "staff": "S(command) D",
        "checkin": "S(command) D",
        "connect": "S D",
        "worker": "S(command) D",
        "vault": "S I D",
    },
    "passcodes_escrowedtoken": {
        "staff": f"S U({KEPT})",
        "checkin": f"S I U({KEPT})",
        "connect": f"S U({KEPT}, seen_by_the_door_at)",
        "worker": "S U(state, current, retired_at)",
        "vault": "S U(state, key)",
    },
    "passcodes_clearrequest": {
        "staff": f"S I U({ENDED}, expires_at, requested_at)",
        "checkin": f"S U({ENDED}, look_again_at, protected_at)",
        "connect": f"S U({ENDED}, sent_at, cleared_at, exposed_after, look_again_at, protected_at)",
        "worker": f"S U({ENDED}, look_again_at, protected_at)",
        "vault": f"S U({ENDED}, armed_at, command_id)",
    },
    "passcodes_clearlist": {"staff": "S I U(stopped_at, stopped_by_id)", "vault": "S"},
    "passcodes_approval": {
        "staff": "S I",
        "checkin": "S",
        "connect": "S",
        "worker": "S",
        "vault": "S",
    },
    # What people have signed: never changed, and judged by the vault, which tells what it made of it.
    "passcodes_signature": {"staff": "S I", "vault": "S"},
    "passcodes_vaultsays": {"staff": "S", "worker": "S", "vault": "S I U"},
    "passcodes_act": {
        "staff": f"S I U({ENDED}, expires_at)",
        "worker": f"S U({ENDED})",
        "vault": f"S U({ENDED})",
    },
    "staff_signingkey": {"staff": "S I U(revoked_at)", "vault": "S"},
    "passcodes_possession": {
        "staff": "S I U(witness_id, witnessed_at)",
        "checkin": "S",
        "connect": "S",
        "worker": "S",
        "vault": "S",
    },
    "passcodes_lockscreencode": {
        "staff": "S I U(state, typed, typed_at, ended_because)",
        "checkin": f"S U({CODE})",
        "connect": f"S U({CODE})",
        "worker": f"S U({CODE})",
        "vault": f"S U({CODE}, tries_left, proven_at)",
    },
    # The audit. It grows, and the vault signs under it.
    "devices_auditentry": {
        "staff": "S I",
        "checkin": "S(id) I",
        "connect": "S(id) I",
        "worker": "S I",
        "vault": "S I",
    },
    "devices_auditlink": {"staff": "S", "worker": "S I", "vault": "S"},
    "devices_audithead": {"staff": "S", "worker": "S", "vault": "S I"},
    # Devices, and what they are asked.
    "devices_devicewords": {"staff": "S"},  # a trigger keeps it
    "devices_device": {
        "staff": "S I U",
        "checkin": f"S I U({BELONGING}, {REPORTED}, {PUSH_ADDRESS}, {WAKE}, authenticated_at, "
        "enrollment, udid, asset_tag, assigned_to_id, user_name, locked_at)",
        "connect": f"S U({BELONGING}, {REPORTED}, {PUSH_ADDRESS}, {WAKE}, locked_at)",
        "worker": f"S U({WAKE}, {PUSHED}, inactive_since, lost_at, lost_by_id, lost_note, locked_at)",
        "vault": f"S U({WAKE}, locked_at)",
    },
    "devices_deviceuser": {
        "staff": f"S U(is_active, {PUSH_ADDRESS}, {WAKE})",
        "checkin": "S I U",
        "connect": f"S I U(is_active, is_on_console, last_seen_at, {PUSH_ADDRESS}, {WAKE})",
        "worker": f"S U({WAKE}, {PUSHED})",
        "vault": "S",
    },
    "devices_command": {
        "staff": f"S I U({ENDS}, priority)",
        "checkin": f"S I U({ENDS}, priority)",
        "connect": f"S I U({ENDS}, priority, errors, not_now_at, sent_at, times_sent)",
        "worker": f"S I U({ENDS}, priority, sent_at, times_sent)",
        "vault": f"S I U({ENDS})",
    },
    "devices_customcommand": {
        "staff": "S I U",
        "connect": "S U(answer, key, box)",
        "checkin": "S U(key, box)",
        "worker": "S U(key, box)",
        "vault": "S U(key, box)",  # what it cancels loses its box; it cannot open one
    },
    "devices_profile": {
        "staff": "S I",
        "checkin": "S I",
        "connect": "S I",
        "worker": "S I",
        "vault": "S",
    },
    "devices_account": {"staff": "S U D", "checkin": "S D", "connect": "S I U D"},
    "devices_told": {"staff": "S D", "checkin": "S D", "connect": "S I U D", "worker": "S"},
    "devices_usertold": {"staff": "S", "checkin": "S", "connect": "S I U", "worker": "S"},
    "devices_userlogin": {
        "staff": f"S U({LOGIN}) D",
        "checkin": "S I U D",
        "connect": f"S U({LOGIN}) D",
    },
    # What is sealed to the door's key. `connect` seals it anew when the key is changed; what a
    # network user's password is checked with it may count, and not read, where it runs apart.
    "devices_networkuser": {
        "staff": "S I U D",
        "checkin": "S U(key, box)",
        "connect": "S(id, key)",
    },
    "devices_bootstraptoken": {
        "staff": "S D",
        "checkin": "S I U(key, box, received_at, given_at) D",
        "connect": "S U(key, box, given_at) D",
    },
    "devices_doorkey": {"staff": "S", "connect": "S I U(since)", "vault": "S"},
    "devices_devicegroup": {"staff": "S I U D", "checkin": "S", "connect": "S", "worker": "S"},
    "devices_devicegroup_devices": {
        "staff": "S I D",
        "checkin": "S I D",
        "connect": "S I D",
        "worker": "S I D",
    },
    "devices_grouprule": {
        "staff": "S I U D",
        "checkin": "S",
        "connect": "S",
        "worker": "S U(due_at, settled_at)",
    },
    "devices_houserules": {
        "staff": "S I U",
        "checkin": "S",
        "connect": "S",
        "worker": "S",
        "vault": "S",
    },
    "devices_enrollmentlink": {
        "staff": "S I U D",
        "checkin": "S U(device_id, identity, pins, used_at, challenge_digest, challenge_until, challenge_used_at)",
        "connect": "S",
        "worker": "S",
    },
    "devices_identityrenewal": {
        "staff": "S",
        "checkin": "S I U",
        "connect": "S I U(taken_up_at)",
        "worker": "S I U",
    },
    "devices_pushcertificate": {
        "staff": "S I U",
        "checkin": "S",
        "connect": "S",
        "worker": "S U(alarm, alarm_since, stopped_until, warned_days)",
    },
    "devices_pushcertificaterequest": {"staff": "S I U D"},
    "devices_trial": {"staff": "S I U", "worker": "S U(taken_at, at, works, words, facts)"},
    # Notices: laid down with their cause, sent by the worker, which alone knows the places' addresses.
    "devices_notice": {
        "staff": f"S I U({SENDING})",
        "checkin": "I",
        "connect": "I",
        "worker": f"S I U({SENDING}, sent_at) D",
        "vault": "I",
    },
    "devices_noticeplace": {
        "staff": "S",
        "checkin": "S",
        "connect": "S",
        "worker": "S I U D",
        "vault": "S",
    },
    "devices_nomail": {"staff": "S I D", "worker": "S"},
    # Policies, and what is held back until a device complies.
    "passcodes_policy": {
        "staff": "S I U D",
        "checkin": "S",
        "connect": "S",
        "worker": "S",
        "vault": "S",
    },
    "passcodes_policyversion": {
        "staff": "S I U D",
        "checkin": "S",
        "connect": "S",
        "worker": "S",
        "vault": "S",
    },
    "passcodes_rollout": {
        "staff": "S I U",
        "checkin": "S",
        "connect": "S",
        "worker": "S",
    },
    "passcodes_waveplan": {
        "staff": f"S I U({WAVES})",
        "checkin": "S",
        "connect": "S",
        "worker": f"S U({WAVES})",
    },
    "passcodes_wave": {"staff": "S I", "checkin": "S", "connect": "S", "worker": "S I"},
    "passcodes_rollout_groups": {"staff": "S I D", "checkin": "S", "connect": "S", "worker": "S"},
    "passcodes_rollout_excluded": {
        "staff": "S I D",
        "checkin": "S",
        "connect": "S",
        "worker": "S",
    },
    "passcodes_itpolicy": {"staff": "S I"},
    "passcodes_assignment": {
        "staff": "S I U D",
        "checkin": "S",
        "connect": "S",
        "worker": "S I U(version_id, by_id, since)",
    },
    "passcodes_assignment_excluded": {
        "staff": "S I D",
        "checkin": "S",
        "connect": "S",
        "worker": "S I D",
    },
    "passcodes_enforcement": {
        "staff": f"S I U({ENFORCED})",
        "checkin": f"S I U({ENFORCED}, reports_itself)",
        "connect": f"S I U({ENFORCED}, reports_itself)",
        "worker": f"S I U({ENFORCED}, reports_itself)",
    },
    "passcodes_policydeclaration": {
        "staff": f"S I U({DECLARED})",
        "checkin": f"S I U({DECLARED})",
        "connect": f"S I U({DECLARED})",
        "worker": f"S I U({SUPERSEDED})",
    },
    "passcodes_declarativechannel": {
        "staff": f"S U({CHANNEL})",
        "checkin": f"S I U({CHANNEL}) D",
        "connect": f"S I U({CHANNEL}) D",
        "worker": f"S U({CHANNEL})",
    },
    "passcodes_fleetday": {"staff": "S", "worker": "S I U"},
    "passcodes_fleetpart": {"staff": "S", "worker": "S I U D"},
    "passcodes_evidence": {"staff": "S", "checkin": "S I", "connect": "S I", "worker": "S"},
    "passcodes_withheldconfiguration": {
        "staff": "S I U",
        "checkin": "S",
        "connect": "S",
        "worker": "S",
    },
    "passcodes_withheldconfiguration_groups": {
        "staff": "S I D",
        "checkin": "S",
        "connect": "S",
        "worker": "S",
    },
    "passcodes_withheldconfiguration_excluded": {
        "staff": "S I D",
        "checkin": "S",
        "connect": "S",
        "worker": "S",
    },
    "passcodes_withheldconfiguration_devices": {
        "staff": "S I D",
        "checkin": "S",
        "connect": "S",
        "worker": "S",
    },
    "passcodes_withheldconfiguration_users": {
        "staff": "S I D",
        "checkin": "S",
        "connect": "S",
        "worker": "S",
    },
    "passcodes_release": {
        "staff": f"S I U({RELEASED})",
        "checkin": f"S I U({RELEASED})",
        "connect": f"S I U({RELEASED})",
        "worker": f"S I U({RELEASED})",
    },
    "passcodes_lostmode": {
        "staff": "S I U",
        "checkin": "S I U D",
        "connect": "S I U D",
        "worker": "S",
        "vault": "S",
    },
    "passcodes_place": {
        "staff": "S D",
        "checkin": "S(device_id) D",
        "connect": "S I U D",
        "worker": "S D",
    },
    # People. Who hears devices or opens tokens learns names, and no password.
    "staff_user": {
        "staff": "S I U D",
        "checkin": f"S({PERSON})",
        "connect": f"S({PERSON})",
        "worker": f"S({PERSON}, email)",  # it sends the mail
        "vault": f"S({PERSON})",
    },
    "staff_user_groups": {"staff": "S I D", "worker": "S(user_id, group_id)"},  # who is an admin
    "staff_user_user_permissions": {"staff": "S I D"},
    "staff_savedview": {"staff": "S I U D"},
    "staff_scope": {"staff": "S I U D"},
    "staff_scope_groups": {"staff": "S I D"},
    "auth_group": {"staff": "S I U D", "worker": "S(id, name)"},
    "auth_group_permissions": {"staff": "S I D"},
    "auth_permission": {"staff": "S I U D"},
    "django_content_type": {"staff": "S I U D"},
    "django_session": {"staff": "S I U D"},
    "django_admin_log": {"staff": "S I"},
    "account_emailaddress": {"staff": "S I U D"},
    "account_emailconfirmation": {"staff": "S I U D"},
    "cache": {"staff": "S I U D"},
    "django_migrations": {"staff": "S"},
}

# Until a new table has its line; `manage.py grants --check` fails for it.
DEFAULT = {
    "staff": "S I U D",
    "checkin": "S I U",
    "connect": "S I U",
    "worker": "S I U",
    "vault": "S",
}


@dataclass(frozen=True, slots=True)
class Right:
    """One thing that a role may do with a table; `columns` is ALL, or the columns by name."""

    verb: str
    columns: str | frozenset[str]


def rights_of(role: str, table: str) -> tuple[Right, ...]:
    """What a role may do with a table, one right a verb."""
    if role == "devices":
        return _together(*(rights_of(one, table) for one in BOTH_DOORS))
    return _read(RIGHTS.get(table, DEFAULT).get(role, ""))


def tables() -> dict[str, list[str]]:
    """Every table of the database, with its columns."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, a.attname FROM pg_class c"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace"
            " ORDER BY c.relname, a.attnum"
        )
        found: dict[str, list[str]] = {}
        for table, column in cursor.fetchall():
            found.setdefault(table, []).append(column)
        return found


def faults() -> list[str]:
    """Where the table above and the database's tables do not fit each other."""
    there = tables()
    found = [f"{table} has no line in mdm/grants.py." for table in there if table not in RIGHTS]
    found += [f"{table} has a line and is no table." for table in RIGHTS if table not in there]
    for table, roles in RIGHTS.items():
        for role in roles:
            for right in rights_of(role, table):
                unknown = set(right.columns) - {ALL} - set(there.get(table, right.columns))
                found += [f"{table} has no column {column}." for column in sorted(unknown)]
    return found


def differences(prefix: str) -> list[str]:
    """What the database allows and the table above does not, or the other way round."""
    return [
        f"{role} {'must not' if is_there else 'cannot'} {verb} {table}.{column}."
        for role in ROLES
        for table, columns in tables().items()
        for verb, column, is_there, is_wanted in _compared(prefix + role, role, table, columns)
        if is_there != is_wanted
    ]


@transaction.atomic
def grant(prefix: str, passwords: Mapping[str, str]) -> None:
    """Make the roles that are missing; give each what the table says, and take what it does not."""
    there = tables()
    with connection.cursor() as cursor:

        def run(statement: str, *names: sql.Composable) -> None:
            cursor.execute(sql.SQL(statement).format(*names).as_string(cursor.connection))

        database = sql.Identifier(connection.settings_dict["NAME"])
        run("REVOKE ALL ON DATABASE {} FROM PUBLIC", database)
        run("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        run("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC")
        for role in ROLES:
            name = sql.Identifier(prefix + role)
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [prefix + role])
            if cursor.fetchone() is None:
                run("CREATE ROLE {} NOLOGIN", name)
            if password := passwords.get(role):
                run("ALTER ROLE {} LOGIN PASSWORD {}", name, _scrambled(password, prefix + role))
            run("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}", name)
            run("REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {}", name)
            run("REVOKE ALL ON SCHEMA public FROM {}", name)
            run("GRANT CONNECT ON DATABASE {} TO {}", database, name)
            run("GRANT USAGE ON SCHEMA public TO {}", name)
            for table in there:
                if rights := rights_of(role, table):
                    words = sql.SQL(", ").join(_words(right) for right in rights)
                    run("GRANT {} ON {} TO {}", words, sql.Identifier(table), name)


def _compared(
    login: str, role: str, table: str, columns: Iterable[str]
) -> Iterable[tuple[str, str, bool, bool]]:
    wanted = {right.verb: right.columns for right in rights_of(role, table)}
    with connection.cursor() as cursor:
        for letter, verb in VERBS.items():
            allowed = wanted.get(letter, frozenset())
            if verb == "DELETE":
                cursor.execute("SELECT has_table_privilege(%s, %s, %s)", [login, table, verb])
                yield verb, ALL, cursor.fetchone()[0], allowed == ALL
                continue
            for column in columns:
                cursor.execute(
                    "SELECT has_column_privilege(%s, %s, %s, %s)", [login, table, column, verb]
                )
                yield verb, column, cursor.fetchone()[0], allowed == ALL or column in allowed


def _read(line: str) -> tuple[Right, ...]:
    found = []
    at = 0
    while at < len(line):
        right = RIGHT.match(line, at)
        if right is None or (right[2] and right[1] in "ID"):
            raise ValueError(f"«{line}» cannot be read after {at} characters.")
        names = frozenset(name.strip() for name in right[2].split(",")) if right[2] else ALL
        found.append(Right(right[1], names))
        at = right.end()
    return tuple(found)


def _together(*sides: Iterable[Right]) -> tuple[Right, ...]:
    found: dict[str, str | frozenset[str]] = {}
    for right in (right for side in sides for right in side):
        known = found.get(right.verb, frozenset())
        if isinstance(known, str) or isinstance(right.columns, str):
            found[right.verb] = ALL
        else:
            found[right.verb] = known | right.columns
    return tuple(Right(verb, columns) for verb, columns in found.items())


def _words(right: Right) -> sql.Composable:
    verb = sql.SQL(VERBS[right.verb])
    if isinstance(right.columns, str):
        return verb
    names = sql.SQL(", ").join(map(sql.Identifier, sorted(right.columns)))
    return sql.SQL("{} ({})").format(verb, names)


def _scrambled(password: str, login: str) -> sql.Composable:
    """As the database keeps it, so that no statement, and no log of one, holds it in plain."""
    pgconn = connection.connection.pgconn
    kept = pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256")
    return sql.Literal(kept.decode())
