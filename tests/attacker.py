"""Whoever holds the database, its backups, Redis, the staff site and the door's keys, all of it at once.

He knows each token that passed the door, has an approver's stolen passkey, copies rows today and puts
them back tomorrow. The vault's host and the other people's passkeys are not his. Each attack is one
deed upon a running house; what must never come of them is asked by whoever watches.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.db import DatabaseError
from django.utils import timezone

from devices import sealing
from devices.models import Command, Device
from devices.rules.secret import Secret
from passcodes import escrow, handover, signatures, vault_says
from passcodes.models import ClearRequest, Handover, Signature, TokenBox, VaultSays
from passcodes.rules import charter as charters
from passcodes.rules import statements
from passcodes.rules.charter import Rule
from passcodes.signatures import Signed
from staff.models import SigningKey, User
from tests.attacks import Copy, armed_by_sql, inserted, opens, superuser
from tests.authenticator import Passkey
from tests.house import PASSKEYS
from tests.simulator.phone import Phone
from vault import pulse

OLD_COPIES = 200  # kept at a time
OTHER_PLACES = 4


class Attacker:
    def __init__(
        self, phones: list[Phone], broker: redis.Redis, keys: dict[str, str], *, seed: str
    ) -> None:
        """`keys`: what stands in the environments that are his."""
        self.phones, self.broker, self.keys = phones, broker, keys
        self.deeds: Counter[str] = Counter()
        self.own = (Passkey(), Passkey())
        self.box_key = X25519PrivateKey.generate()
        self.order_key = Ed25519PrivateKey.generate()
        self.copies: list[Copy] = []
        self.asked: set[UUID] = set()  # requests that are of his making
        self._chance = random.Random(seed)
        self._attacks: tuple[Callable[[], object], ...] = (
            self.t3_says_that_it_is_approved,
            self.t4_replays_what_was_signed,
            self.t5_copies_and_puts_back,
            self.t7_signs_with_passkeys_of_his_own,
            self.t8_changes_rules_and_roles,
            self.t9_is_one_person,
            self.t14_uses_other_pulses,
            self.t18_orders_by_himself,
            self.t21_writes_keys_into_rows,
            self.opens_the_stock,
        )
        self._round: list[Callable[[], object]] = []

    def strikes(self) -> str:
        """One deed; the database or the house may refuse it."""
        if not self._round:  # all of them in turn, each time in another order
            self._round = self._chance.sample(self._attacks, len(self._attacks))
        attack = self._round.pop()
        name = attack.__name__
        with suppress(DatabaseError, vault_says.Silent, statements.NotCanonical):
            attack()
        self.deeds[name] += 1
        return name

    def opened(self) -> int:
        """How many boxes of the stock open with any key that is his, in their place or another's."""
        keys = [self.box_key, *self._private_keys()]
        boxes = list(TokenBox.objects.select_related("token"))
        some = self._chance.sample(boxes, min(len(boxes), OTHER_PLACES))
        others = [escrow.place(box.token) for box in some]
        return sum(
            opens(bytes(box.box), key, place)
            for box in boxes
            for key in keys
            for place in {escrow.place(box.token), *others}
        )

    # The deeds

    def t3_says_that_it_is_approved(self) -> None:
        request = self._drafted()
        raw = self._ask(request)
        good = PASSKEYS["approver"].sign(raw).assertion
        for assertion in ({}, {**good, "sig": good["sig"][:-4]}, {**good, "cd": good["ad"]}):
            self._insert(request, "ask", "helpdesk", Signed(raw, assertion))
        self._approved(request)

    def t4_replays_what_was_signed(self) -> None:
        rows = list(Signature.objects.order_by("?")[:4])
        request = self._drafted()
        for row in rows:
            signed = Signed(bytes(row.statement), row.assertion)
            self._insert(request, row.kind, row.person.username, signed)
            changed = bytes(row.statement).replace(row.request.hex.encode(), request.hex.encode())
            self._insert(request, row.kind, row.person.username, Signed(changed, row.assertion))
            row.pk = uuid4()
            row.at = timezone.now()
            row.save(force_insert=True)
            self._approved(row.request)
        self._approved(request)

    def t5_copies_and_puts_back(self) -> None:
        """Before a use, before a denial, before a lost mark."""
        if self.copies and self._chance.random() < 0.5:
            self._chance.choice(self.copies).put_back()
            return
        for request in ClearRequest.objects.order_by("-requested_at")[:3]:
            rows = [request, request.device]
            if request.command_id:
                rows += [Command.objects.get(pk=request.command_id)]
                rows += Handover.objects.filter(command=request.command_id)
            self.copies.append(Copy.of(*rows))
        del self.copies[:-OLD_COPIES]

    def t7_signs_with_passkeys_of_his_own(self) -> None:
        asks, signs = self.own
        for passkey, name in ((asks, "helpdesk"), (signs, "approver")):
            person = self._person(name)
            if not SigningKey.objects.filter(fingerprint=passkey.pinned().fingerprint).exists():
                passkey.row(person, roles="ask yes keep")
        copy = VaultSays.objects.get(about=VaultSays.CHARTER)
        forged = charters.read(bytes(copy.document))
        for passkey, name in ((asks, "helpdesk"), (signs, "approver")):
            if forged.holder(passkey.id) is None:
                forged = forged.pinned(name, ["ask", "yes", "keep"], passkey.pinned())
        VaultSays.objects.filter(about=VaultSays.CHARTER).update(document=forged.written())
        request = self._drafted()
        raw = self._ask(request)
        self._insert(request, "ask", "helpdesk", asks.sign(raw))
        self._insert(request, "yes", "approver", signs.sign(self._yes(request, raw, "approver")))
        self._approved(request)

    def t8_changes_rules_and_roles(self) -> None:
        copy = VaultSays.objects.get(about=VaultSays.CHARTER)
        document = json.loads(bytes(copy.document))
        lax = charters.Charter(9, charters.read(bytes(copy.document)).people, Rule(approvers=1))
        VaultSays.objects.filter(about=VaultSays.CHARTER).update(document=lax.written())
        assert document
        superuser("UPDATE staff_user SET is_superuser = true WHERE username = 'auditor'")
        superuser(
            "INSERT INTO staff_user_groups (user_id, group_id) SELECT u.id, g.id FROM staff_user u,"
            " auth_group g ON CONFLICT DO NOTHING"
        )
        superuser("UPDATE devices_device SET assigned_to_id = NULL")

    def t9_is_one_person(self) -> None:
        """With the approver's passkey alone: as who asks, as who was asked, and as both."""
        stolen = PASSKEYS["approver"]
        request = self._drafted()
        raw = self._ask(request)
        self._insert(request, "ask", "helpdesk", stolen.sign(raw))
        own = self._ask(request, by="approver")
        self._insert(request, "ask", "approver", stolen.sign(own))
        for ask in (raw, own):
            yes = self._yes(request, ask, "approver")
            self._insert(request, "yes", "approver", stolen.sign(yes))
        self._approved(request)

    def t14_uses_other_pulses(self) -> None:
        request = self._drafted()
        now = int(timezone.now().timestamp())
        for made in (pulse.make(bytes(32), now), f"{now + 60:016x}" + "0" * 32, "0" * 48):
            raw = self._ask(request, pulse=made)
            self._insert(request, "ask", "approver", PASSKEYS["approver"].sign(raw))
        self._approved(request)

    def t18_orders_by_himself(self) -> None:
        """With the phone's true token, which he has seen pass the door."""
        phone = self._chance.choice(self.phones)
        device = Device.objects.get(udid=phone.udid)
        if ClearRequest.objects.open().filter(device=device).exists():
            return
        request, command = armed_by_sql(
            device, asks=self._person("helpdesk"), signs=self._person("approver")
        )
        self.asked.add(request.pk)
        handover.pack(
            Secret(phone.unlock_token),
            command=command,
            request=request.pk,
            udid=device.udid,
            identity=device.identity or "",
            until=request.expires_at,
            order_key=self.order_key,
            door_key=sealing.private_key(self.keys["DOOR_PRIVATE_KEY"]).public_key(),
        ).save(force_insert=True)

    def t21_writes_keys_into_rows(self) -> None:
        own = {
            "VAULT_PUBLIC_KEY": sealing.written(self.box_key.public_key().public_bytes_raw()),
            "DOOR_PUBLIC_KEY": sealing.written(self.box_key.public_key().public_bytes_raw()),
            "VAULT_VERIFY_KEY": sealing.written(self.order_key.public_key().public_bytes_raw()),
            "SIGN_URL": "https://sign.example.net",
        }
        said = json.dumps(own)
        superuser("UPDATE passcodes_vaultsays SET said = said || %s WHERE about = 'house'", said)
        superuser("UPDATE passcodes_escrowedtoken SET key = %s", "ab" * 8)
        superuser("UPDATE passcodes_tokenbox SET key = %s", "ab" * 8)
        for name, value in own.items():
            self.broker.set(name, value)
            self.broker.hset("settings", name, value)

    def opens_the_stock(self) -> None:
        assert self.opened() == 0

    # What he has

    def _drafted(self) -> UUID:
        """A request, as he writes it, for a device whose owner never asked."""
        device = Device.objects.get(udid=self._chance.choice(self.phones).udid)
        found = ClearRequest.objects.open().filter(device=device).first()
        if found is not None and found.pk in self.asked:
            return found.pk
        request, command = armed_by_sql(
            device, asks=self._person("helpdesk"), signs=self._person("approver")
        )
        superuser("UPDATE passcodes_clearrequest SET command_id = NULL WHERE id = %s", request.pk)
        superuser("DELETE FROM devices_command WHERE uuid = %s", command.pk)
        self.asked.add(request.pk)
        return request.pk

    def _ask(self, request: UUID, **otherwise: Any) -> bytes:
        asked = ClearRequest.objects.select_related("device").get(pk=request)
        raw = signatures.to_ask(asked, by=self._person("helpdesk"))
        return statements.encode({**statements.decode(raw), **otherwise})

    def _yes(self, request: UUID, ask: bytes, by: str) -> bytes:
        asked = ClearRequest.objects.select_related("device").get(pk=request)
        house = vault_says.house()
        return statements.encode(
            {
                "ask": statements.digest(ask),
                "by": by,
                "charter": house.charter,
                "facts": [signatures.facts(asked.device, escrow.current(asked.device))],
                "kind": "yes",
                "pulse": house.pulse,
                "request": request.hex,
                "until": int(timezone.now().timestamp()) + 1500,
                "v": statements.VERSION,
            }
        )

    def _insert(self, request: UUID, kind: str, name: str, signed: Signed) -> None:
        inserted(request, kind, self._person(name), signed)

    def _approved(self, request: UUID) -> None:
        superuser(
            "UPDATE passcodes_clearrequest SET state = 'approved', ended_because = '',"
            " ended_at = NULL, expires_at = now() + interval '1 hour' WHERE id = %s",
            request,
        )

    def _person(self, name: str) -> User:
        return User.objects.get(username=name)

    def _private_keys(self) -> Iterator[X25519PrivateKey]:
        for value in self.keys.values():
            with suppress(sealing.NotAKey):
                yield sealing.private_key(value)
