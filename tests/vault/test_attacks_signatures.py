"""Attacks on signatures: what was not signed, by these two people, over this, just now, opens nothing.

The attacker writes what he likes into the database. The vault is the real one, and so is what it says.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from django.db import ProgrammingError, connection, transaction
from django.utils import timezone

from devices.models import AuditEntry, Command, Device
from passcodes import signatures, signing, vault_says
from passcodes.models import (
    Approval,
    ClearRequest,
    Handover,
    Signature,
    VaultSays,
)
from passcodes.rules import charter as charters
from passcodes.rules import statements
from passcodes.rules.charter import Rule
from passcodes.signatures import Signed
from staff.models import SigningKey, User
from tests import clears
from tests.attacks import inserted
from tests.authenticator import BE, BS, UP, UV, Passkey, text
from tests.clears import Vault
from tests.house import PASSKEYS, House, awake
from vault import pulse
from vault.journal import Journal

pytestmark = pytest.mark.django_db


def approved_by_sql(asked: ClearRequest) -> None:
    ClearRequest.objects.filter(pk=asked.pk).update(state="approved")


def nothing_opens(vault: Vault, asked: ClearRequest) -> str:
    """After two looks no token was used; what the vault says of the request."""
    approved_by_sql(asked)
    vault.tick()
    vault.tick()
    assert "used" not in vault.journal()
    assert not Handover.objects.exists()
    assert not Command.objects.filter(request_type="ClearPasscode").exists()
    said = vault_says.of_request(asked.pk)
    return " ".join(str(said.get(name, "")) for name in ("waits", "refused", "stopped"))


def ask_of(draft: ClearRequest, person: User, **otherwise: Any) -> dict[str, Any]:
    """The statement of an honest ask, and what is to be otherwise in it."""
    return {**statements.decode(signatures.to_ask(draft, by=person)), **otherwise}


def yes_to(asked: ClearRequest, by: User, **otherwise: Any) -> dict[str, Any]:
    asked = ClearRequest.objects.select_related("device").get(pk=asked.pk)
    return {**statements.decode(signatures.to_approve(asked, by=by)), **otherwise}


def asked_for(house: House, vault: Vault, phone: Device) -> ClearRequest:
    """An honest ask, that the vault has heard."""
    asked = clears.ask(phone, by=house.helpdesk)
    vault.tick()
    assert vault.journal().count("heard") == 1
    return asked


def says_yes(
    house: House, asked: ClearRequest, passkey: Passkey | None = None, **how: Any
) -> None:
    """A *yes* of the approver, straight into the table."""
    passkey = passkey or PASSKEYS["approver"]
    signed = passkey.sign(statements.encode(yes_to(asked, house.approver, **how)))
    inserted(asked.pk, "yes", house.approver, signed)


def test_the_honest_way_opens(house: House, vault: Vault, phone: Device) -> None:
    """Without this, all that follows would prove nothing."""
    asked = asked_for(house, vault, phone)
    says_yes(house, asked)
    approved_by_sql(asked)
    Approval.objects.create(
        request=asked,
        by=house.approver,
        until=timezone.now() + timedelta(minutes=20),
        facts=signatures.seen(phone, asked.token),
    )
    vault.tick()
    assert clears.reread(asked).state == "armed"
    assert vault.said() == ["used", "handed"]


# T3


def test_t3_a_state_without_signatures_opens_nothing(
    house: House, vault: Vault, phone: Device
) -> None:
    draft = clears.draft(phone, by=house.helpdesk)
    assert "has heard nothing" in nothing_opens(vault, draft)


@pytest.mark.parametrize(
    "assertion",
    [
        {},
        {"id": "", "cd": "", "ad": "", "sig": ""},
        {"id": text(PASSKEYS["helpdesk"].id)},
        {"id": text(PASSKEYS["helpdesk"].id), "cd": "x", "ad": "%%", "sig": "AAAA"},
        {"id": text(PASSKEYS["helpdesk"].id), "cd": 1, "ad": None, "sig": ["AAAA"]},
        {"id": text(b"random" * 5), "cd": "AAAA", "ad": "AAAA", "sig": "AAAA"},
        [],
        "rubbish",
    ],
)
def test_t3_rows_without_a_good_assertion_are_worth_nothing(
    house: House, vault: Vault, phone: Device, assertion: Any
) -> None:
    draft = clears.draft(phone, by=house.helpdesk)
    raw = signatures.to_ask(draft, by=house.helpdesk)
    Signature.objects.create(
        request=draft.pk, kind="ask", person=house.helpdesk, statement=raw, assertion=assertion
    )
    assert "has heard nothing" in nothing_opens(vault, draft)


@pytest.mark.parametrize("part", ["cd", "ad", "sig"])
def test_t3_a_cut_assertion_is_worth_nothing(
    house: House, vault: Vault, phone: Device, part: str
) -> None:
    draft = clears.draft(phone, by=house.helpdesk)
    signed = PASSKEYS["helpdesk"].sign(signatures.to_ask(draft, by=house.helpdesk))
    cut = {**signed.assertion, part: signed.assertion[part][:-4]}
    inserted(draft.pk, "ask", house.helpdesk, signed, assertion=cut)
    assert "refused a signature of helpdesk" in nothing_opens(vault, draft)


# T4


@pytest.mark.parametrize(
    "row",
    [
        {"request": uuid4()},
        {"kind": "yes"},
        {"kind": "witness"},
        {"person": "approver"},
    ],
)
def test_t4_a_good_assertion_in_another_row_is_refused(
    house: House, vault: Vault, phone: Device, row: dict[str, Any]
) -> None:
    draft = clears.draft(phone, by=house.helpdesk)
    signed = PASSKEYS["helpdesk"].sign(signatures.to_ask(draft, by=house.helpdesk))
    person = house.approver if row.pop("person", None) else house.helpdesk
    facts = {"request": draft.pk, "kind": "ask", **row}
    inserted(facts["request"], facts["kind"], person, signed)
    assert "has heard nothing" in nothing_opens(vault, draft)


def test_t4_one_character_changed_is_refused(house: House, vault: Vault, phone: Device) -> None:
    draft = clears.draft(phone, by=house.helpdesk)
    raw = signatures.to_ask(draft, by=house.helpdesk)
    signed = PASSKEYS["helpdesk"].sign(raw)
    changed = raw.replace(b"Till 4", b"Till 5")
    assert changed != raw
    inserted(draft.pk, "ask", house.helpdesk, Signed(changed, signed.assertion))
    assert "signed over something else" in nothing_opens(vault, draft)


def test_t4_used_rows_copied_are_refused(house: House, vault: Vault, phone: Device) -> None:
    asked = clears.ask(phone, by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    vault.tick()
    assert vault.said() == ["used", "handed"]
    for row in Signature.objects.filter(request=asked.pk):  # these passkeys' counters stay at zero
        row.pk = uuid4()
        row.save(force_insert=True)
    Handover.objects.all().delete()
    ClearRequest.objects.filter(pk=asked.pk).update(state="approved", command=None)
    vault.tick()
    assert vault.said().count("used") == 1
    assert not Handover.objects.exists()
    assert clears.reread(asked).state == "failed"
    assert "used before" in clears.reread(asked).ended_because


def test_t4_what_was_signed_cannot_be_changed_or_deleted_by_sql(
    house: House, phone: Device
) -> None:
    clears.ask(phone, by=house.helpdesk)
    connection.check_constraints()
    for deed in (
        "UPDATE passcodes_signature SET kind = 'yes'",
        "DELETE FROM passcodes_signature",
        "TRUNCATE passcodes_signature",
    ):
        with (
            pytest.raises(ProgrammingError, match="never changed or deleted"),
            transaction.atomic(),
        ):
            connection.cursor().execute(deed)


# T7


def test_t7_passkeys_that_are_rows_alone_sign_nothing(
    house: House, vault: Vault, phone: Device
) -> None:
    own, other = Passkey(), Passkey()
    own.row(house.helpdesk, roles="ask yes keep")
    other.row(house.approver, roles="ask yes keep")
    draft = clears.draft(phone, by=house.helpdesk)
    ask = own.sign(signatures.to_ask(draft, by=house.helpdesk))
    inserted(draft.pk, "ask", house.helpdesk, ask)
    assert "has heard nothing" in nothing_opens(vault, draft)


def test_t7_the_copy_of_the_charter_is_ignored_and_put_right_with_an_alarm(
    house: House, vault: Vault, phone: Device
) -> None:
    own = Passkey()
    copy = VaultSays.objects.get(about=VaultSays.CHARTER)
    true = bytes(copy.document)
    forged = charters.read(true).pinned("helpdesk", ["ask", "yes", "keep"], own.pinned())
    VaultSays.objects.filter(about=VaultSays.CHARTER).update(document=forged.written())
    VaultSays.objects.filter(about=VaultSays.HOUSE).update(
        said={**VaultSays.objects.get(about=VaultSays.HOUSE).said, "charter": forged.version}
    )
    draft = clears.draft(phone, by=house.helpdesk)
    signed = own.sign(signatures.to_ask(draft, by=house.helpdesk))
    inserted(draft.pk, "ask", house.helpdesk, signed)
    honest = PASSKEYS["helpdesk"].sign(signatures.to_ask(draft, by=house.helpdesk))
    inserted(draft.pk, "ask", house.helpdesk, honest)
    assert "another charter" in nothing_opens(vault, draft)
    assert bytes(VaultSays.objects.get(about=VaultSays.CHARTER).document) == true
    assert AuditEntry.objects.filter(verb="vault.alarm").exists()


# T9


def test_t9_one_person_with_two_passkeys_is_one_person(
    house: House, vault: Vault, phone: Device
) -> None:
    second = Passkey()
    second.row(house.helpdesk)
    house.charter(lambda now: now.pinned("helpdesk", ["ask", "yes"], second.pinned()))
    asked = asked_for(house, vault, phone)
    signed = second.sign(statements.encode(yes_to(asked, house.helpdesk)))
    inserted(asked.pk, "yes", house.helpdesk, signed)
    assert "person who asked cannot answer" in nothing_opens(vault, asked)


def test_t9_an_invented_requester_is_refused(house: House, vault: Vault, phone: Device) -> None:
    """The staff site has the approver's signatures, and says that helpdesk asks."""
    draft = clears.draft(phone, by=house.helpdesk)
    signed = PASSKEYS["approver"].sign(signatures.to_ask(draft, by=house.helpdesk))
    inserted(draft.pk, "ask", house.helpdesk, signed)
    assert "not pinned for this person" in nothing_opens(vault, draft)


def test_t9_an_approver_s_signature_as_the_ask_is_refused(
    house: House, vault: Vault, phone: Device
) -> None:
    draft = clears.draft(phone, by=house.helpdesk)
    ask = ask_of(draft, house.helpdesk, by="approver")
    signed = PASSKEYS["approver"].sign(statements.encode(ask))
    inserted(draft.pk, "ask", house.approver, signed)
    assert "role «ask» is missing" in nothing_opens(vault, draft)


def test_t9_who_is_pinned_to_ask_approves_nothing(
    house: House, vault: Vault, phone: Device
) -> None:
    someone = house.person("helpdesk", name="someone")
    asked = asked_for(house, vault, phone)
    signed = PASSKEYS["someone"].sign(statements.encode(yes_to(asked, someone)))
    inserted(asked.pk, "yes", someone, signed)
    assert "role «yes» is missing" in nothing_opens(vault, asked)


def test_t9_the_device_s_own_user_neither_asks_nor_approves(house: House, vault: Vault) -> None:
    own = clears.with_token(user_name="Approver")  # a row does not know that it is the same person
    asked = asked_for(house, vault, own)
    says_yes(house, asked)
    assert "own user cannot sign off" in nothing_opens(vault, asked)


# T11: what the vault refuses; the page's own refusals are tried in a browser.


def test_t11_a_yes_to_another_ask_is_refused(house: House, vault: Vault, phone: Device) -> None:
    asked = asked_for(house, vault, phone)
    says_yes(house, asked, ask="ab" * 32)
    assert "another ask" in nothing_opens(vault, asked)


def test_t11_a_yes_about_other_devices_is_refused(
    house: House, vault: Vault, phone: Device
) -> None:
    asked = asked_for(house, vault, phone)
    facts = yes_to(asked, house.approver)["facts"]
    says_yes(house, asked, facts=[*facts, {**facts[0], "udid": "another"}])
    assert "other devices" in nothing_opens(vault, asked)


def test_t11_more_devices_than_the_rule_allows_are_refused(
    house: House, vault: Vault, phone: Device
) -> None:
    draft = clears.draft(phone, by=house.helpdesk)
    ask = ask_of(draft, house.helpdesk)
    ask["devices"] = [ask["devices"][0], {**ask["devices"][0], "udid": "another"}]
    inserted(draft.pk, "ask", house.helpdesk, PASSKEYS["helpdesk"].sign(statements.encode(ask)))
    assert "more devices than the rule" in nothing_opens(vault, draft)


@pytest.mark.parametrize("name", ["udid", "serial", "model", "token"])
def test_t11_an_ask_for_what_is_not_in_escrow_is_refused(
    house: House, vault: Vault, phone: Device, name: str
) -> None:
    draft = clears.draft(phone, by=house.helpdesk)
    ask = ask_of(draft, house.helpdesk)
    ask["devices"][0][name] = uuid4().hex
    inserted(draft.pk, "ask", house.helpdesk, PASSKEYS["helpdesk"].sign(statements.encode(ask)))
    assert "No unlock token is in escrow" in nothing_opens(vault, draft)


# T12


def _changed(raw: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    said = json.loads(raw)
    change(said)
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def _deep(said: dict[str, Any]) -> None:
    said["devices"][0]["possession"]["how"] = {"a": {"b": {"c": {"d": "e"}}}}


MALFORMED: dict[str, Callable[[bytes], bytes]] = {
    "a blank": lambda raw: raw.replace(b":", b": ", 1),
    "a doubled key": lambda raw: raw.replace(b'{"act":', b'{"act":"found","act":', 1),
    "unsorted": lambda raw: b"{" + b'"v":1,' + raw[1:].replace(b',"v":1', b"", 1),
    "an unknown field": lambda raw: _changed(raw, lambda said: said.update(zz="x")),
    "a missing field": lambda raw: _changed(raw, lambda said: said.pop("words")),
    "an unknown field of a device": lambda raw: _changed(
        raw, lambda said: said["devices"][0].update(zz="x")
    ),
    "bidi": lambda raw: _changed(raw, lambda said: said.update(words="a\u202eb")),
    "zero width": lambda raw: _changed(raw, lambda said: said.update(words="a\u200bb")),
    "not normal": lambda raw: _changed(raw, lambda said: said.update(words="e\u0301")),
    "too long": lambda raw: _changed(raw, lambda said: said.update(words="a" * 501)),
    "too long a name": lambda raw: _changed(
        raw, lambda said: said["devices"][0].update(name="a" * 201)
    ),
    "too deep": lambda raw: _changed(raw, _deep),
    "a fraction": lambda raw: raw.replace(b'"v":1', b'"v":1.0'),
    "an exponent": lambda raw: raw.replace(b'"v":1', b'"v":1e0'),
    "a negative number": lambda raw: _changed(raw, lambda said: said.update(until=-1)),
    "a large number": lambda raw: _changed(raw, lambda said: said.update(until=2**53)),
    "true": lambda raw: _changed(raw, lambda said: said.update(v=True)),
    "null": lambda raw: _changed(raw, lambda said: said.update(words=None)),
    "a number for a text": lambda raw: _changed(raw, lambda said: said.update(words=5)),
    "another version": lambda raw: _changed(raw, lambda said: said.update(v=2)),
    "another kind": lambda raw: _changed(raw, lambda said: said.update(kind="order")),
    "another act": lambda raw: _changed(raw, lambda said: said.update(act="erase")),
    "no devices": lambda raw: _changed(raw, lambda said: said.update(devices=[])),
    "a code that is none": lambda raw: _changed(
        raw, lambda said: said["devices"][0].update(possession={"how": "code", "code": 123456})
    ),
    "UTF-8": lambda raw: raw.replace(b"Till 4", "Tïll".encode()),
    "upper case in an escape": lambda raw: raw.replace(b"Till 4", b"T\\u00EFll"),
    "no JSON": lambda raw: raw[:-1],
    "a list": lambda raw: b"[" + raw + b"]",
}


@pytest.mark.parametrize("how", MALFORMED)
def test_t12_what_is_not_in_its_one_form_is_refused(
    house: House, vault: Vault, phone: Device, how: str
) -> None:
    draft = clears.draft(phone, by=house.helpdesk)
    raw = signatures.to_ask(draft, by=house.helpdesk)
    assert statements.read(raw)
    bad = MALFORMED[how](raw)
    assert bad != raw
    with pytest.raises(statements.NotCanonical):
        statements.read(bad)
    inserted(draft.pk, "ask", house.helpdesk, PASSKEYS["helpdesk"].sign(bad))
    assert "one form" in nothing_opens(vault, draft)


# T13


def lying(**how: Any) -> Passkey:
    """The helpdesk's own passkey, in the hands of somebody who can make it say anything."""
    honest = PASSKEYS["helpdesk"]
    return replace(honest, **how)


LIES: dict[str, tuple[Passkey, str]] = {
    "UV missing": (lying(flags=UP), "did not check who"),
    "UP missing": (lying(flags=UV), "Nobody touched"),
    "cross-origin": (lying(cross_origin=True), "inside another page"),
    "another port": (lying(origin="http://sign.localhost:8003"), "not signed on the signing page"),
    "a subdomain": (
        lying(origin="http://x.sign.localhost:8002"),
        "not signed on the signing page",
    ),
    "the parent": (lying(origin="http://localhost:8002"), "not signed on the signing page"),
    "another scheme": (
        lying(origin="https://sign.localhost:8002"),
        "not signed on the signing page",
    ),
    "the staff site": (lying(origin="http://localhost:8000"), "not signed on the signing page"),
    "a slash": (lying(origin="http://sign.localhost:8002/"), "not signed on the signing page"),
    "another site": (lying(rp_id="localhost"), "another site"),
    "synced since": (lying(flags=UP | UV | BE | BS), "another kind of passkey"),
    "a registration": (lying(kind="webauthn.create"), "no signature of this kind"),
    "another key": (lying(key=Passkey().key), "not by this passkey"),
}


@pytest.mark.parametrize("lie", LIES)
def test_t13_what_an_authenticator_must_not_say_is_refused(
    house: House, vault: Vault, phone: Device, lie: str
) -> None:
    passkey, sentence = LIES[lie]
    draft = clears.draft(phone, by=house.helpdesk)
    signed = passkey.sign(signatures.to_ask(draft, by=house.helpdesk))
    inserted(draft.pk, "ask", house.helpdesk, signed)
    assert sentence in nothing_opens(vault, draft)


def test_t13_a_challenge_of_another_domain_is_refused(
    house: House, vault: Vault, phone: Device
) -> None:
    draft = clears.draft(phone, by=house.helpdesk)
    raw = signatures.to_ask(draft, by=house.helpdesk)
    signed = PASSKEYS["helpdesk"].sign(raw, domain=statements.REGISTER)
    inserted(draft.pk, "ask", house.helpdesk, signed)
    assert "something else" in nothing_opens(vault, draft)


@pytest.mark.parametrize(
    ("key", "algorithm", "counts"),
    [
        (ed25519.Ed25519PrivateKey.generate(), -8, True),
        (rsa.generate_private_key(65537, 2048), -257, True),
        (rsa.generate_private_key(65537, 2048), -65535, False),  # SHA-1
        (rsa.generate_private_key(65537, 2048), -37, False),
    ],
)
def test_t13_algorithms_that_do_not_count_are_refused_when_registered_and_when_heard(  # noqa: PLR0917
    house: House, vault: Vault, phone: Device, key: Any, algorithm: int, counts: bool
) -> None:
    own = Passkey(key=key, algorithm=algorithm)
    document = statements.encode({"by": "helpdesk", "pulse": "00" * 24})
    if counts:
        made = signing.register("helpdesk", "00" * 24, own.register(document))
        assert made.fingerprint == own.fingerprint
    else:
        with pytest.raises(signing.NotSigned):
            signing.register("helpdesk", "00" * 24, own.register(document))
    house.charter(
        lambda now: now.pinned(
            "helpdesk", ["ask"], replace(own.pinned(), fingerprint=f"test {algorithm}")
        )
    )
    draft = clears.draft(phone, by=house.helpdesk)
    awake()
    inserted(
        draft.pk,
        "ask",
        house.helpdesk,
        own.sign(signatures.to_ask(draft, by=house.helpdesk)),
    )
    vault.tick()
    assert ("heard" in vault.journal()) is counts


@pytest.mark.parametrize(
    ("lie", "how"),
    [("UV missing", {"flags": UP}), ("another port", {"origin": "http://sign.localhost:1"})],
)
def test_t13_a_registration_elsewhere_or_without_its_person_is_refused(
    lie: str, how: dict[str, Any]
) -> None:
    document = statements.encode({"by": "helpdesk", "pulse": "00" * 24})
    with pytest.raises(signing.NotSigned):
        signing.register("helpdesk", "00" * 24, Passkey(**how).register(document))
    with pytest.raises(signing.NotSigned):
        signing.register("approver", "00" * 24, Passkey().register(document))
    with pytest.raises(signing.NotSigned):
        signing.register("helpdesk", "00" * 24, Passkey().register(document, kind="webauthn.get"))


@pytest.mark.parametrize("clone", [0, 1, 2])
def test_t13_a_clone_is_refused_and_told(
    house: House, vault: Vault, phone: Device, clone: int
) -> None:
    """A counter that is equal, or runs back, or is zero after it was not."""
    own = Passkey(counter=1, counts=True)
    house.charter(lambda now: now.pinned("approver", ["yes"], own.pinned()))
    asked = asked_for(house, vault, phone)
    signed = own.sign(statements.encode(yes_to(asked, house.approver)))  # counter 2
    other = clears.with_token(udid="other", identity="cd" * 32, serial="F2LXQ9WXYZ")
    second = clears.ask(other, by=house.helpdesk)
    inserted(asked.pk, "yes", house.approver, signed)
    vault.tick()
    assert vault.journal().count("heard") == 3
    copy = replace(own, counter=clone, counts=False)
    says_yes(house, second, copy)
    assert "counter ran back" in nothing_opens(vault, second)


# T14


def pulses(vault: Vault, now: int) -> dict[str, str]:
    with Journal(vault.state) as journal:
        key = journal.pulse_key
    return {
        "old": pulse.make(key, now - pulse.LASTS - 1),
        "future": pulse.make(key, now + 5),
        "forged": pulse.make(b"\0" * 32, now),
        "of a later time": f"{now:016x}" + pulse.make(key, now - 9999)[16:],
    }


@pytest.mark.parametrize("which", ["old", "future", "forged", "of a later time"])
def test_t14_a_pulse_that_is_not_of_now_and_ours_is_refused(
    house: House, vault: Vault, phone: Device, which: str
) -> None:
    draft = clears.draft(phone, by=house.helpdesk)
    made = pulses(vault, int(timezone.now().timestamp()))[which]
    ask = ask_of(draft, house.helpdesk, pulse=made)
    inserted(draft.pk, "ask", house.helpdesk, PASSKEYS["helpdesk"].sign(statements.encode(ask)))
    said = nothing_opens(vault, draft)
    assert "not signed just now" in said or "not this vault" in said


def test_t14_what_was_signed_before_a_restore_is_refused(
    house: House, vault: Vault, phone: Device
) -> None:
    """A new pulse key makes every old signature worthless."""
    draft = clears.draft(phone, by=house.helpdesk)
    signed = PASSKEYS["helpdesk"].sign(signatures.to_ask(draft, by=house.helpdesk))
    (vault.state / pulse.NAME).unlink()
    inserted(draft.pk, "ask", house.helpdesk, signed)
    assert "not this vault" in nothing_opens(vault, draft)


def test_t14_an_old_version_of_the_charter_is_refused(
    house: House, vault: Vault, phone: Device
) -> None:
    draft = clears.draft(phone, by=house.helpdesk)
    signed = PASSKEYS["helpdesk"].sign(signatures.to_ask(draft, by=house.helpdesk))
    house.charter(lambda now: replace(now, version=now.version + 1))
    inserted(draft.pk, "ask", house.helpdesk, signed)
    assert "another charter" in nothing_opens(vault, draft)


def test_t14_the_vector_of_the_protocol_holds() -> None:
    assert pulse.make(bytes(32), 1795464000) == "000000006b049b4016871aad779885be142bf40d0d7f11cd"


# T15


@pytest.mark.parametrize("seconds", [4 * 3600 + 30, 0, -1, 7 * 24 * 3600])
def test_t15_an_ask_that_would_count_too_long_is_refused(
    house: House, vault: Vault, phone: Device, seconds: int
) -> None:
    draft = clears.draft(phone, by=house.helpdesk)
    until = int(timezone.now().timestamp()) + seconds
    ask = ask_of(draft, house.helpdesk, until=until)
    inserted(draft.pk, "ask", house.helpdesk, PASSKEYS["helpdesk"].sign(statements.encode(ask)))
    assert "longer than the rule allows" in nothing_opens(vault, draft)


def test_t15_a_yes_that_would_count_too_long_is_refused(
    house: House, vault: Vault, phone: Device
) -> None:
    asked = asked_for(house, vault, phone)
    says_yes(house, asked, until=int(timezone.now().timestamp()) + 1900)
    assert "longer than the rule allows" in nothing_opens(vault, asked)


def test_t15_what_has_run_out_is_not_revived_by_a_clock_set_back(
    house: House, vault: Vault, phone: Device
) -> None:
    asked = asked_for(house, vault, phone)
    says_yes(house, asked)
    vault.tick()  # heard, and the row does not say approved yet
    house.clock.forward(minutes=31)
    vault.tick()
    assert "expired" in vault.journal()
    house.clock.forward(minutes=-31)
    assert "used" not in vault.journal()
    approved_by_sql(asked)
    vault.tick()
    assert "used" not in vault.journal()
    assert not Handover.objects.exists()


def test_t15_a_vault_whose_clock_is_behind_stands_still_and_says_so(
    house: House, vault: Vault, phone: Device
) -> None:
    asked = clears.ask(phone, by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    house.clock.forward(minutes=2)
    with Journal(vault.state) as journal:
        journal.alive()
    house.clock.forward(minutes=-2)
    lines = vault.journal()
    assert vault.tick() == 0
    assert vault.journal() == lines
    assert clears.reread(asked).state == "approved"
    with pytest.raises(vault_says.Silent, match="seconds behind"):
        vault_says.house()


# What ends for ever, and rules that count.


def test_a_no_ends_it_for_ever(house: House, vault: Vault, phone: Device) -> None:
    asked = asked_for(house, vault, phone)
    clears.deny(asked.pk, words="Not without the manager.", by=house.approver)
    vault.tick()
    ClearRequest.objects.filter(pk=asked.pk).update(state="requested", ended_because="")
    says_yes(house, asked, PASSKEYS["approver"])
    assert "has ended" in nothing_opens(vault, asked)


@pytest.mark.parametrize(
    ("fact", "sentence"),
    [
        ({"os_version": "26.2"}, "system has changed"),
        ({"user_name": "somebody else"}, "belongs to somebody else"),
    ],
)
def test_a_fact_that_changed_since_the_yes_stops_it_by_name(
    house: House, vault: Vault, phone: Device, fact: dict[str, str], sentence: str
) -> None:
    asked = clears.ask(phone, by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    Device.objects.filter(pk=phone.pk).update(**fact)
    vault.tick()
    request = clears.reread(asked)
    assert request.state in {"failed", "void"}
    assert sentence in request.ended_because
    assert "used" not in vault.journal()


def test_two_approvers_where_the_pinned_rule_wants_two(
    house: House, vault: Vault, phone: Device
) -> None:
    house.charter(lambda now: replace(now, version=now.version + 1, default=Rule(approvers=2)))
    asked = clears.ask(phone, by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    vault.tick()
    assert "used" not in vault.journal()
    assert "waits for one signature" in vault_says.of_request(asked.pk)["waits"]
    clears.approve(asked.pk, by=house.approver2)
    vault.tick()
    assert clears.reread(asked).state == "armed"


def test_a_person_who_is_switched_off_signs_nothing(
    house: House, vault: Vault, phone: Device
) -> None:
    asked = asked_for(house, vault, phone)
    says_yes(house, asked)
    User.objects.filter(pk=house.approver.pk).update(is_active=False)
    assert "may no longer sign in" in nothing_opens(vault, asked)


def test_a_revoked_passkey_stops_what_it_has_signed(
    house: House, vault: Vault, phone: Device
) -> None:
    asked = asked_for(house, vault, phone)
    SigningKey.objects.filter(person=house.helpdesk).update(revoked_at=timezone.now())
    says_yes(house, asked)
    assert "may no longer sign" in nothing_opens(vault, asked)


def test_t32_a_synced_passkey_counts_only_where_the_rule_says_so(
    house: House, vault: Vault, phone: Device
) -> None:
    synced = Passkey(flags=UP | UV | BE | BS)
    house.charter(
        lambda now: replace(
            now.pinned("approver", ["yes"], synced.pinned()),
            default=Rule(synced=frozenset({"ask"})),
        )
    )
    asked = asked_for(house, vault, phone)
    says_yes(house, asked, synced)
    assert "synced passkey" in nothing_opens(vault, asked)
