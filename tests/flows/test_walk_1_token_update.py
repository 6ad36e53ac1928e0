"""A TokenUpdate with an UnlockToken arrives and is sealed."""

from django.conf import settings
from django.db import connection

from devices import sealing
from devices.models import AuditEntry
from passcodes import escrow
from passcodes.models import EscrowedToken, TokenBox
from tests.house import House


def test_a_phone_enrolls_and_its_token_is_sealed(house: House) -> None:
    phone = house.phone(passcode="1234")
    house.give_profile(phone)

    phone.enroll()

    device = house.device(phone)
    kept = escrow.current(device)
    assert device.is_enrolled
    assert kept is not None
    assert kept.identity == device.identity
    assert "escrow.kept" in house.audit(phone)
    entry = AuditEntry.objects.get(verb="escrow.kept")
    assert entry.facts["key"] == kept.key

    # It is woken, comes, and says how it stands.
    assert house.woken() == [phone]
    assert device.evidence.get().passcode_present is True
    assert house.waiting(phone) == []


def test_the_vault_alone_can_open_it(house: House) -> None:
    phone = house.enrolled_phone()
    kept = escrow.current(house.device(phone))
    assert kept is not None
    box, place = bytes(TokenBox.objects.get(token=kept).box), escrow.place(kept)

    vault = sealing.private_key(settings.VAULT_PRIVATE_KEY)
    assert sealing.unseal(box, key=vault, context=place).reveal() == phone.unlock_token

    for holder in (settings.DOOR_PRIVATE_KEY, settings.WORKER_PRIVATE_KEY):
        try:
            sealing.unseal(box, key=sealing.private_key(holder), context=place)
        except sealing.DoesNotOpen:
            continue
        raise AssertionError("somebody else opened the box")


def test_nothing_in_the_database_holds_it_in_plain(house: House) -> None:
    phone = house.enrolled_phone()
    wanted = phone.unlock_token.hex()

    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT t::text FROM "{table}" t')  # noqa: S608 - our own tables
            assert all(wanted not in row for (row,) in cursor.fetchall()), table


def test_later_updates_keep_it_or_replace_it(house: House) -> None:
    phone = house.enrolled_phone()
    first = escrow.current(house.device(phone))

    phone.new_push_token()
    phone.token_update(UnlockToken=None)
    assert escrow.current(house.device(phone)) == first
    assert house.woken() == [phone]  # by its new address

    phone.new_unlock_token()
    phone.token_update()
    second = escrow.current(house.device(phone))
    assert second != first
    assert EscrowedToken.objects.filter(device=house.device(phone)).count() == 2
