"""An unlock token is sealed where it enters, and serves its own enrollment alone."""

import hashlib
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import IntegrityError, connection

from devices import sealing
from devices.models import Device
from devices.rules.secret import Secret
from passcodes import escrow
from passcodes.models import EscrowedToken, TokenBox
from passcodes.models.escrow import TokenState
from passcodes.rules import statements
from tests import clears
from tests.clears import IDENTITY, SERIAL, TOKEN, UDID
from vault import keyring

pytestmark = pytest.mark.django_db

ANOTHER = b"DATA another unlock token, of the same device"


def opened(kept: EscrowedToken, **otherwise: str) -> bytes:
    box = TokenBox.objects.get(token=kept)
    place = escrow.place(kept, **otherwise)
    return sealing.unseal(bytes(box.box), key=keyring.load().box_key, context=place).reveal()


def test_what_is_kept_comes_out_byte_for_byte() -> None:
    kept = escrow.keep(clears.device(), Secret(TOKEN), certificate_digest=IDENTITY)
    assert opened(kept) == TOKEN


def test_the_box_is_what_the_protocol_says() -> None:
    made = clears.device()
    kept = escrow.keep(made, Secret(TOKEN), certificate_digest=IDENTITY)
    box = bytes(TokenBox.objects.get(token=kept).box)
    public = sealing.raw(settings.VAULT_PUBLIC_KEY)
    assert box[:2] == b"\x01\x01"
    assert box[2:10] == hashlib.sha256(public).digest()[:8]
    info = (
        b"passcodes/box/v1\0"
        + (
            f'{{"enrollment":"{made.enrollment.hex}","identity":"{IDENTITY}",'
            f'"model":"iPhone16,1","serial":"{SERIAL}","token":"{kept.token.hex}",'
            f'"udid":"{UDID}"}}'
        ).encode()
    )
    assert sealing.SUITE.decrypt(box[10:], keyring.load().box_key, info=info) == TOKEN


@pytest.mark.parametrize("bound", ["udid", "serial", "model"])
def test_a_box_at_another_place_does_not_open(bound: str) -> None:
    kept = escrow.keep(clears.device(), Secret(TOKEN), certificate_digest=IDENTITY)
    with pytest.raises(sealing.DoesNotOpen):
        opened(kept, **{bound: "something else"})


@pytest.mark.parametrize(
    ("bound", "value"),
    [("enrollment", uuid4()), ("identity", "cd" * 32), ("serial", "X"), ("model", "X")],
)
def test_a_row_that_was_changed_does_not_open_its_box(bound: str, value: object) -> None:
    kept = escrow.keep(clears.device(), Secret(TOKEN), certificate_digest=IDENTITY)
    setattr(kept, bound, value)
    with pytest.raises(sealing.DoesNotOpen):
        opened(kept)


def test_swapped_boxes_do_not_open() -> None:
    one = escrow.keep(clears.device(), Secret(TOKEN), certificate_digest=IDENTITY)
    other = escrow.keep(
        clears.device(udid="another", identity="cd" * 32), Secret(ANOTHER), certificate_digest="cd"
    )
    box = TokenBox.objects.get(token=other).box
    TokenBox.objects.filter(token=one).update(box=box)
    with pytest.raises(sealing.DoesNotOpen):
        opened(one)


def test_a4_a_newer_token_takes_the_place_of_the_earlier_which_stays_sealed() -> None:
    made = clears.device()
    earlier = escrow.keep(made, Secret(TOKEN), certificate_digest=IDENTITY)
    newer = escrow.keep(made, Secret(ANOTHER), certificate_digest=IDENTITY)
    earlier.refresh_from_db()
    assert escrow.current(made) == newer
    assert (earlier.current, earlier.state) == (False, TokenState.RETIRED)
    assert earlier.retired_at is not None
    assert opened(newer) == ANOTHER
    assert opened(earlier) == TOKEN


def test_the_same_message_twice_loses_nothing() -> None:
    made = clears.device()
    for _ in range(2):
        kept = escrow.keep(made, Secret(TOKEN), certificate_digest=IDENTITY)
    assert made.tokens.filter(current=True).count() == 1
    assert opened(kept) == TOKEN


def test_no_device_has_two_current_tokens() -> None:
    made = clears.with_token()
    retired = made.tokens.get()
    escrow.keep(made, Secret(TOKEN), certificate_digest=IDENTITY)
    with pytest.raises(IntegrityError):
        EscrowedToken.objects.filter(pk=retired.pk).update(current=True)


def test_a14_a_token_of_an_earlier_enrollment_is_not_current() -> None:
    made = clears.with_token()
    Device.objects.filter(pk=made.pk).update(enrollment=uuid4())
    assert escrow.current(Device.objects.get(pk=made.pk)) is None


def test_a_token_that_came_by_another_certificate_is_not_current() -> None:
    made = clears.with_token()
    Device.objects.filter(pk=made.pk).update(identity="cd" * 32)
    assert escrow.current(Device.objects.get(pk=made.pk)) is None


def test_what_is_retired_is_not_current_and_leaves_a_trace_once() -> None:
    made = clears.with_token()
    escrow.retire(made, because="The device left.")
    escrow.retire(made, because="The device left.")
    assert escrow.current(made) is None
    assert clears.traces(made, "escrow.") == ["escrow.kept", "escrow.retired"]


def test_a_suspect_token_is_still_the_current_one() -> None:
    made = clears.with_token()
    kept = escrow.current(made)
    assert kept is not None
    escrow.suspect(kept)
    assert escrow.current(made) == kept
    assert clears.traces(made, "escrow.") == ["escrow.kept", "escrow.suspect"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("F2LXQ1ABCD", "F2LXQ1ABCD"),
        ("F2L\u202eXQ\x00", "F2LXQ"),  # a direction mark and a control character
        ("Cafe\u0301", "Caf\u00e9"),
        ("  ", ""),
        ("x" * 100, "x" * 64),
    ],
)
def test_what_a_device_says_is_cleaned_before_it_is_bound(said: str, kept: str) -> None:
    assert escrow.cleaned(said) == kept
    assert statements.encode({"serial": escrow.cleaned(said)})


def test_a_device_with_an_odd_serial_number_can_be_kept_and_opened() -> None:
    made = clears.device(serial="F2L\u202eXQ", product_name="iPhone\u200e16,1")
    assert opened(escrow.keep(made, Secret(TOKEN), certificate_digest=IDENTITY)) == TOKEN


def test_a22_no_table_holds_the_token_in_plain() -> None:
    clears.with_token()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(t::text, ' ') FROM passcodes_tokenbox t"
            " UNION ALL SELECT string_agg(t::text, ' ') FROM passcodes_escrowedtoken t"
            " UNION ALL SELECT string_agg(t::text, ' ') FROM devices_auditentry t"
        )
        rows = " ".join(row[0] for row in cursor.fetchall())
    assert "escrow.kept" in rows
    assert TOKEN.hex() not in rows
    assert "an unlock token" not in rows


def test_a22_nothing_prints_a_token() -> None:
    made = clears.with_token()
    kept = escrow.current(made)
    assert kept is not None
    box = TokenBox.objects.get(token=kept)
    for thing in (Secret(TOKEN), kept, box, made, keyring.load()):
        for words in (repr(thing), str(thing), f"{thing}"):
            assert "an unlock token" not in words
            assert bytes(box.box).hex() not in words
            assert repr(bytes(box.box)) not in words
