"""A house at work while it is attacked: people sign, phones come; and what must never be is asked anew."""

import hashlib
import json

import redis
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from devices import sealing
from devices.models import Device
from passcodes.models import ClearRequest, Handover
from passcodes.rules import statements
from passcodes.rules.clearing import Refused
from passcodes.vault_says import Silent
from staff.models import User
from tests import clears
from tests.apart import Apart
from tests.simulator.phone import Phone
from vault.journal import NAME

PASSCODE = "tulip-4471-river"


class Watch:
    """The last two phones are cleared now and then by two people; the others by nobody."""

    def __init__(self, house: Apart, phones: list[Phone]) -> None:
        self.house, self.phones = house, phones
        self.signed = {pk.hex for pk in ClearRequest.objects.values_list("pk", flat=True)}
        self.verify = Ed25519PublicKey.from_public_bytes(
            sealing.raw(house.environment("connect.env")["VAULT_VERIFY_KEY"])
        )
        self.turn = self.cleared = 0

    def works(self) -> None:
        """Now a phone comes, now it sends a token, now two people sign for the last but one."""
        self.turn += 1
        phone = self.phones[self.turn % len(self.phones)]
        self.house.hear()
        phone.connect()
        self.counts()
        if self.turn % 7 == 0:
            phone.token_update()
        if self.turn % 15 == 0:
            self.signs(self.phones[-2])

    def signs(self, phone: Phone) -> None:
        device = Device.objects.get(udid=phone.udid)
        try:
            asked = clears.ask(device, by=person("helpdesk"))
            self.signed.add(asked.pk.hex)
            clears.approve(asked.pk, by=person("approver"))
        except (Refused, Silent):
            return  # whoever holds the database can stop what he likes

    def counts(self) -> None:
        """A phone that was cleared is given its passcode again, and that is one clear."""
        for phone in self.phones[-2:]:
            if phone.passcode is None:
                self.cleared += 1
                phone.user_sets_passcode(PASSCODE)

    def looks(self) -> None:
        for phone in self.phones[:-2]:
            assert phone.passcode == PASSCODE, "a phone was cleared that nobody had signed for"
        for order, box, signature in Handover.objects.values_list("order", "box", "signature"):
            if self._is_the_vaults(bytes(order), bytes(box), bytes(signature)):
                assert json.loads(bytes(order))["request"] in self.signed
        used = self.used()
        assert used <= self.signed
        assert self.cleared <= len(used), "a sign-off has cleared a phone twice"

    def used(self) -> set[str]:
        """The requests that the vault has opened a token for, each once."""
        lines = (self.house.data / "vault" / NAME).read_bytes().splitlines()
        said = [json.loads(line) for line in lines]
        used = [one["request"] for one in said if one["what"] == "used"]
        assert len(used) == len(set(used)), "a sign-off was used twice"
        return set(used)

    def vault_has_looked(self) -> bool:
        """Nothing is left that it would open."""
        waiting = ClearRequest.objects.filter(state="approved").values_list("pk", flat=True)
        return {pk.hex for pk in waiting}.isdisjoint(self.signed - self.used())

    def _is_the_vaults(self, order: bytes, box: bytes, signature: bytes) -> bool:
        signed = statements.ORDER + order + hashlib.sha256(box).digest()
        try:
            self.verify.verify(signature, signed)
        except InvalidSignature:
            return False
        return True


def person(name: str) -> User:
    return User.objects.get(username=name)


def broker(house: Apart) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(house.place.folder / "redis/redis.sock"))


def everything(house: Apart) -> dict[str, str]:
    """What stands in every environment but the vault's."""
    files = ("env", "door.env", "checkin.env", "connect.env", "worker.env")
    return {name: value for file in files for name, value in house.environment(file).items()}
