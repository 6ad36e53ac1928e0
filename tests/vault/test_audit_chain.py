"""Who holds the database can change the audit, and cannot hide that he did."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.db.models import Model
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone
from psycopg import sql

from devices import audit, chain
from devices.models import AuditEntry, AuditHead, AuditLink
from devices.rules import chain as rules
from mdm.desk import alarms
from passcodes import chain as heads
from tests import clears
from tests.clears import Vault
from tests.house import House
from vault import keyring, loop
from vault.chain import StateIsOld
from vault.journal import Journal

COUNT = 30


def superuser(statement: str, *values: Any) -> None:
    """Every SQL, triggers off."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement, values)
        cursor.execute("SET LOCAL session_replication_role = origin")


def verified(*files: Path) -> list[str]:
    """What `audit_verify` says, line by line; empty if all is whole."""
    said = StringIO()
    try:
        call_command("audit_verify", head=list(files), stdout=said)
    except CommandError:
        return said.getvalue().splitlines()
    assert said.getvalue().startswith("Whole")
    return []


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The file in which the vault leaves its heads, out of the database's reach."""
    return tmp_path / "heads"


@pytest.fixture
def vault(house: House, tmp_path: Path, kept: Path) -> Iterator[Vault]:
    """After a whole clear and some entries more: linked, signed, and whole."""
    with override_settings(AUDIT_HEAD_FILE=str(kept)):
        vault = Vault(tmp_path / "vault")
        phone = house.enrolled_phone(passcode="4471")
        asked = clears.ask_for(phone, by=house.helpdesk)
        clears.approve(asked.pk, by=house.approver)
        for _ in range(COUNT // 3):
            audit.record("audit.export", actor=house.auditor, entries=12)
        vault.tick()
        grow(vault)
        for _ in range(COUNT):
            audit.record("audit.export", actor=house.auditor, entries=7, filters={"of": "all"})
        grow(vault)
        assert verified(kept) == []
        yield vault


def grow(vault: Vault) -> None:
    """The worker links what is new, and the vault signs under it."""
    chain.link_due()
    vault.tick()


def middle() -> AuditLink:
    return AuditLink.objects.get(seq=AuditLink.objects.count() // 2)


def used() -> AuditEntry:
    return AuditEntry.objects.get(verb=heads.LINE, facts__what="used")


def write_anew(first: int) -> None:
    """The links from there on, as somebody would who knows how they are made."""
    before = AuditLink.objects.filter(seq=first - 1).first()
    place = bytes(before.hash) if before else rules.START
    for link in AuditLink.objects.filter(seq__gte=first).order_by("seq"):
        digest = rules.digest(chain.rows([link.entry])[link.entry])
        place = rules.follow(place, seq=link.seq, entry=link.entry, digest=digest)
        superuser(
            "UPDATE devices_auditlink SET digest = %s, hash = %s WHERE seq = %s",
            digest,
            place,
            link.seq,
        )


def changes_an_entry() -> str:
    entry = middle().entry
    superuser("UPDATE devices_auditentry SET actor_name = 'somebody' WHERE id = %s", entry)
    return f"Entry {entry} was changed"


def changes_facts_and_the_whole_chain_after_it() -> str:
    link = middle()
    superuser("UPDATE devices_auditentry SET facts = '{}' WHERE id = %s", link.entry)
    write_anew(link.seq)
    return "The chain was written anew"


def removes_an_entry() -> str:
    entry = middle().entry
    superuser("DELETE FROM devices_auditentry WHERE id = %s", entry)
    return f"Entry {entry} was removed"


def removes_an_entry_and_its_link() -> str:
    link = middle()
    superuser("DELETE FROM devices_auditentry WHERE id = %s", link.entry)
    superuser("DELETE FROM devices_auditlink WHERE seq = %s", link.seq)
    return f"Link {link.seq} of the chain is gone"


def removes_an_entry_and_closes_the_gap() -> str:
    link = middle()
    superuser("DELETE FROM devices_auditentry WHERE id = %s", link.entry)
    superuser("DELETE FROM devices_auditlink WHERE seq = %s", link.seq)
    for after in AuditLink.objects.filter(seq__gt=link.seq).order_by("seq"):
        superuser("UPDATE devices_auditlink SET seq = %s WHERE seq = %s", after.seq - 1, after.seq)
    write_anew(link.seq)
    audit.record("audit.export", entries=1)
    chain.link_due()  # the worker knows of nothing
    return "The chain was written anew"


def inserts_an_entry_in_the_past() -> str:
    superuser(
        "INSERT INTO devices_auditentry (at, verb, actor_name, facts)"
        " VALUES (now() - interval '2 hours', 'clear.approve', 'approver', '{}')"
    )
    entry = AuditEntry.objects.order_by("-pk")[0].pk
    return f"Entry {entry} was inserted"


def inserts_an_entry_in_the_past_and_links_it() -> str:
    inserts_an_entry_in_the_past()
    entry = AuditEntry.objects.order_by("-pk")[0].pk
    last = AuditLink.objects.order_by("-seq")[0]
    digest = rules.digest(chain.rows([entry])[entry])
    follows = rules.follow(bytes(last.hash), seq=last.seq + 1, entry=entry, digest=digest)
    superuser(
        "INSERT INTO devices_auditlink (seq, entry, digest, hash) VALUES (%s, %s, %s, %s)",
        last.seq + 1,
        entry,
        digest,
        follows,
    )
    return f"Entry {entry} was inserted"


def swaps_two_entries() -> str:
    link = middle()
    after = AuditLink.objects.get(seq=link.seq + 1)
    for seq, entry in ((link.seq, -1), (after.seq, link.entry), (link.seq, after.entry)):
        superuser(
            "UPDATE devices_auditlink SET entry = %s, digest = digest WHERE seq = %s",
            max(entry, 0),
            seq,
        )
    return f"Link {link.seq} (entry {after.entry}) does not follow"


def cuts_the_tail() -> str:
    first = middle()
    last = AuditLink.objects.order_by("-seq")[0]
    gone = AuditLink.objects.filter(seq__gte=first.seq).values_list("entry", flat=True)
    superuser("DELETE FROM devices_auditentry WHERE id = ANY(%s)", list(gone))
    superuser("DELETE FROM devices_auditlink WHERE seq >= %s", first.seq)
    superuser("DELETE FROM devices_audithead WHERE seq >= %s", first.seq)
    return f"The tail was cut: links {first.seq} to {last.seq} are gone"


def removes_a_use() -> str:
    entry = used()
    superuser("DELETE FROM devices_auditentry WHERE id = %s", entry.pk)
    return f"Line {entry.facts['journal']} of the vault's journal is gone"


def removes_a_use_with_all_that_names_it() -> str:
    entry = used()
    arm = AuditEntry.objects.get(verb="clear.arm")
    for pk in (entry.pk, arm.pk):
        superuser("DELETE FROM devices_auditlink WHERE entry = %s", pk)
        superuser("DELETE FROM devices_auditentry WHERE id = %s", pk)
    return "The use for request"


def invents_a_use() -> str:
    true = used().facts
    line = true["line"].replace(true["line"][-40:-8], "0" * 32)
    audit.record(heads.LINE, **{**true, "line": line})
    entry = AuditEntry.objects.order_by("-pk")[0].pk
    return f"Entry {entry} says that it is a line of the vault's journal, and is not signed"


def invents_an_opening() -> str:
    superuser(
        "INSERT INTO devices_auditentry (at, verb, actor_name, facts) VALUES"
        " (now() - interval '2 seconds', 'clear.arm', '', jsonb_build_object('request', %s::text))",
        "ab" * 16,
    )
    entry = AuditEntry.objects.order_by("-pk")[0].pk
    return f"Entry {entry} says that the vault opened a token"


def forges_a_head() -> str:
    last = AuditLink.objects.order_by("-seq")[0]
    superuser(
        "INSERT INTO devices_audithead (seq, hash, journal, at, signature)"
        " VALUES (%s, %s, 0, now(), %s)",
        last.seq,
        bytes(last.hash),
        bytes(64),
    )
    return f"The head of link {last.seq} in the database is not signed"


ATTACKS = (
    changes_an_entry,
    changes_facts_and_the_whole_chain_after_it,
    removes_an_entry,
    removes_an_entry_and_its_link,
    removes_an_entry_and_closes_the_gap,
    inserts_an_entry_in_the_past,
    inserts_an_entry_in_the_past_and_links_it,
    swaps_two_entries,
    cuts_the_tail,
    removes_a_use,
    removes_a_use_with_all_that_names_it,
    invents_a_use,
    invents_an_opening,
    forges_a_head,
)


@contextmanager
def undone() -> Iterator[None]:
    """Afterwards nothing of it has happened."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_t29_whatever_is_done_to_the_audit_is_named(vault: Vault, kept: Path) -> None:
    for attack in ATTACKS:
        with undone():
            expected = attack()
            named = verified(kept)
            assert any(words.startswith(expected) for words in named), (attack.__name__, named)
        assert verified(kept) == []


def test_the_page_says_until_where_it_is_whole_and_every_page_when_it_is_not(
    vault: Vault, client: Client, house: House
) -> None:
    client.force_login(house.auditor)
    page = reverse("admin:devices_auditentry_changelist")
    newest = AuditLink.objects.order_by("-seq")[0].entry
    assert f"Whole until entry {newest}, signed by the vault at" in client.get(page).text
    assert not [alarm for alarm in alarms.burning() if "audit" in alarm.text]
    audit.record("audit.export", actor=house.auditor, entries=3)
    house.clock.forward(minutes=6)
    assert "signed nothing of the audit since" in client.get(reverse("admin:index")).text

    entry = middle().entry
    superuser("UPDATE devices_auditentry SET actor_name = 'nobody' WHERE id = %s", entry)
    vault.tick()
    assert f"<strong>Not whole.</strong> Entry {entry} " in client.get(page).text
    alarm = f"The audit was tampered with: Entry {entry} of the audit was changed"
    assert alarm in client.get(reverse("admin:index")).text


def test_a_cut_tail_is_named_by_a_head_that_lies_outside_the_database(
    vault: Vault, kept: Path
) -> None:
    with undone():
        cuts_the_tail()
        assert verified() == []  # from within, nothing is to be seen
        assert verified(kept) != []


def test_the_vault_says_what_was_done_and_guards_what_follows(vault: Vault, kept: Path) -> None:
    link = middle()
    superuser("UPDATE devices_auditentry SET verb = 'device.lost' WHERE id = %s", link.entry)
    vault.tick()  # it reads what was signed before again
    found = AuditEntry.objects.get(verb=heads.BROKEN)
    assert found.facts["words"] == (
        f"Entry {link.entry} of the audit was changed (link {link.seq})."
    )
    grow(vault)
    assert heads.standing([]).broken == found.facts["words"]
    assert AuditEntry.objects.filter(verb=heads.BROKEN).count() == 1

    cuts_the_tail()
    grow(vault)
    assert "gone" in heads.standing([]).broken
    audit.record("audit.export", entries=3)
    grow(vault)
    standing = heads.standing([])
    assert standing.entry == AuditEntry.objects.order_by("-pk")[0].pk
    assert "tail was cut" in " ".join(verified(kept))


def test_the_vault_signs_nothing_that_is_not_as_the_worker_linked_it(vault: Vault) -> None:
    before = AuditHead.objects.count()
    vault.tick()
    assert AuditHead.objects.count() == before  # no news
    audit.record("audit.export", entries=3)
    vault.tick()
    assert AuditHead.objects.count() == before  # not linked yet
    grow(vault)
    [newest, *_] = AuditHead.objects.all()
    assert AuditHead.objects.count() == before + 1
    assert newest.seq == AuditLink.objects.count()
    assert newest.journal == len(vault.journal())


def test_a_vault_whose_state_is_older_than_the_database_does_not_start(
    vault: Vault, tmp_path: Path
) -> None:
    with Journal(vault.state) as journal:
        loop.audit_chain(keyring=keyring.load(), journal=journal).check_state()
    with Journal(tmp_path / "restored") as journal:
        chain_ = loop.audit_chain(keyring=keyring.load(), journal=journal)
        with pytest.raises(StateIsOld, match="state is old"):
            chain_.check_state()


@pytest.mark.django_db
@pytest.mark.parametrize("model", [AuditEntry, AuditLink, AuditHead])
def test_rows_of_the_audit_are_only_ever_added(model: type[Model]) -> None:
    audit.record("audit.export", entries=3)
    chain.link_due()
    AuditHead.objects.create(
        seq=1, hash=bytes(32), journal=0, at=timezone.now(), signature=bytes(64)
    )
    connection.check_constraints()  # nothing is pending that a TRUNCATE would wait for
    table = sql.Identifier(model._meta.db_table)
    column = sql.Identifier("verb" if model is AuditEntry else "hash")
    for statement in ("UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0}"):
        with (
            pytest.raises(DatabaseError, match="only ever added"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(sql.SQL(statement).format(table, column).as_string())
