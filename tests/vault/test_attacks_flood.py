"""Floods: signatures that are none, by the hundred thousand; requests with two stolen passkeys.

Nobody else is held up, and no more is opened in an hour than the rule allows.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from devices.models import Device
from passcodes import signatures, vault_says
from passcodes.models import Approval, ClearRequest, Handover, Possession, Signature
from passcodes.rules import statements
from staff.models import User
from tests import clears
from tests.clears import Vault
from tests.house import PASSKEYS, House, awake
from vault import charter as charters
from vault import hearing, keyring, loop
from vault.journal import Journal

pytestmark = pytest.mark.django_db

FLOOD = 100_000
WITHIN = 10.0  # seconds
FILL = """
INSERT INTO passcodes_signature (id, request, kind, person_id, statement, assertion, at)
SELECT gen_random_uuid(), %s, %s, %s, %s, %s, now() - n * interval '1 millisecond'
FROM generate_series(1, %s) AS n
"""


@pytest.fixture
def running(house: House) -> Iterator[Journal]:
    """A vault that goes on running: it remembers what it has judged."""
    with Journal(house.vault_state) as journal:
        yield journal


def look(journal: Journal) -> float:
    """One look, and the two seconds until the next; how long it took in all."""
    began = time.monotonic()
    loop.tick(keyring=keyring.load(), journal=journal)
    return time.monotonic() - began + loop.EVERY


def flood(person: User, number: int) -> None:
    """As costly for the vault as can be: all is right but the signature itself, which is another's."""
    name = person.get_username()
    drafted: dict[str, Any] = {
        "act": "review",
        "by": name,
        "charter": 1,
        "kind": "ask",
        "of": uuid4().hex,
        "pulse": "0" * 48,
        "request": uuid4().hex,
        "until": int(timezone.now().timestamp()) + 600,
        "v": 1,
        "words": "A flood.",
    }
    raw = statements.encode(drafted)
    signed = PASSKEYS[name].sign(raw + b" ")
    with connection.cursor() as cursor:
        values = (drafted["request"], "ask", person.pk, raw, json.dumps(dict(signed.assertion)))
        cursor.execute(FILL, [*values, number])


def test_t31_a_hundred_thousand_bogus_signatures_hold_up_nobody(
    house: House, running: Journal
) -> None:
    asked = clears.ask(clears.with_token(), by=house.helpdesk)
    for person in (house.helpdesk, house.approver):
        flood(person, FLOOD // 2)

    waited = 0.0
    while running.hearing(asked.pk) is None and waited < WITHIN:
        waited += look(running)
    assert running.hearing(asked.pk) is not None
    assert waited < WITHIN

    clears.approve(asked.pk, by=house.approver)
    waited = 0.0
    while clears.reread(asked).state != "armed" and waited < WITHIN:
        waited += look(running)
    assert clears.reread(asked).state == "armed"
    assert waited < WITHIN
    assert Signature.objects.count() == FLOOD + 2


def test_t31_the_vault_judges_a_look_full_of_them_in_less_than_its_two_seconds(
    house: House, running: Journal
) -> None:
    flood(house.keeper, 3 * hearing.MOST)  # a keeper: all is looked at, to the signature itself
    charter = charters.load(running)
    hearing.hear_new(running, charter)  # the first look is slower
    began = time.monotonic()
    verdicts = hearing.hear_new(running, charter)
    took = time.monotonic() - began
    assert len(verdicts) == hearing.MOST
    assert {one.because for one in verdicts} == {"It was signed over something else."}
    print(f"{hearing.MOST / took:.0f} signatures heard per second")
    assert took < loop.EVERY


# Two stolen passkeys

DEVICES, EACH, ALLOWED = 10, 20, 3


def stolen(device: Device, house: House) -> list[tuple[ClearRequest, Signature, Signature]]:
    """Requests for one device, each signed by both passkeys as well as can be."""
    token = device.tokens.get()
    seen = signatures.seen(device, token)
    facts = [signatures.facts(device, token)]
    like = clears.draft(device, by=house.helpdesk)
    awake()
    said = statements.decode(signatures.to_ask(like, by=house.helpdesk))
    common = {name: said[name] for name in ("charter", "pulse", "v")}
    until = int(timezone.now().timestamp()) + 1700
    made = []
    for _ in range(EACH):
        row = ClearRequest(
            device=device,
            token=token,
            state="approved",
            reason="forgotten",
            words="Stolen.",
            snapshot=seen,
            requested_by=house.helpdesk,
            expires_at=timezone.now() + timedelta(hours=1),
        )
        ask = statements.encode({**said, "request": row.pk.hex})
        yes = statements.encode(
            {
                **common,
                "ask": statements.digest(ask),
                "by": "approver",
                "facts": facts,
                "kind": "yes",
                "request": row.pk.hex,
                "until": until,
            }
        )
        made.append(
            (row, signed("ask", row, ask, house.helpdesk), signed("yes", row, yes, house.approver))
        )
    return made


def signed(kind: str, row: ClearRequest, raw: bytes, person: User) -> Signature:
    assertion = dict(PASSKEYS[person.get_username()].sign(raw).assertion)
    return Signature(request=row.pk, kind=kind, person=person, statement=raw, assertion=assertion)


def test_t31_two_hundred_requests_with_two_stolen_passkeys_open_what_an_hour_allows(
    house: House,
) -> None:
    clears.allow_lists(house, 1, per_hour=ALLOWED)
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX one_open_clear_request_per_device")
    made = [each for device in clears.several(DEVICES) for each in stolen(device, house)]
    rows = [row for row, _, _ in made]
    ClearRequest.objects.bulk_create(rows)
    Possession.objects.bulk_create(
        Possession(request=row, how="word", words="Stolen.", proven_by=house.helpdesk)
        for row in rows
    )
    until = timezone.now() + timedelta(minutes=28)
    Approval.objects.bulk_create(
        Approval(request=row, by=house.approver, until=until, facts=row.snapshot) for row in rows
    )
    Signature.objects.bulk_create(one for _, *both in made for one in both)
    with Journal(house.vault_state) as journal:
        for _ in range(3):
            hearing.hear_new(journal, charters.load(journal))
        assert all(len(journal.hearing(row.pk).answers) == 1 for row in rows)  # type: ignore[union-attr]  # heard
        look(journal)
        house.clock.forward(minutes=20)
        look(journal)
    assert Vault(house.vault_state).journal().count("used") == ALLOWED
    assert Handover.objects.count() == ALLOWED
    states = ClearRequest.objects.filter(pk__in=[row.pk for row in rows]).values_list("state")
    assert Counter(states) == {("armed",): ALLOWED, ("approved",): len(rows) - ALLOWED}
    assert "allows 3 clears an hour" in vault_says.of_request(rows[-1].pk)["waits"]
