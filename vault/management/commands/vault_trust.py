"""Say at the vault's own console who counts: the first charter, or a new one after passkeys were lost.

Two operators do it together. Each passkey is named by the fingerprint that its person has spoken.
"""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from passcodes import signing
from passcodes.rules.charter import ROLES, Charter, NotACharter
from passcodes.rules.charter_changes import FEWEST_KEEPERS, keepers
from staff.models import SigningKey
from vault import charter as charters
from vault.journal import Journal, JournalBroken

FORM = "NAME:ROLE,ROLE:six groups of four"


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("deed", choices=["genesis", "recover", "show"])
        parser.add_argument("--pin", action="append", default=[], metavar=FORM)
        parser.add_argument("--revoke", action="append", default=[], metavar="FINGERPRINT")

    def handle(self, *_args: Any, deed: str, **options: Any) -> None:
        try:
            with Journal(Path(settings.VAULT_STATE)) as journal:
                charter = charters.load(journal)
                if deed == "show":
                    self._show(charter)
                    return
                self._change(deed, charter, journal, options)
        except (JournalBroken, NotACharter, signing.NotSigned) as problem:
            raise CommandError(str(problem)) from None

    def _change(
        self, deed: str, charter: Charter, journal: Journal, options: dict[str, Any]
    ) -> None:
        if deed == "genesis" and charter.version:
            raise CommandError("There is a charter. Next: change it by two keepers, or recover.")
        made = charter
        pinned = charter.fingerprints()
        for fingerprint in options["revoke"]:
            if fingerprint not in pinned:
                raise CommandError(f"No passkey with the fingerprint {fingerprint} is pinned.")
            made = made.revoked(fingerprint)
        for text in options["pin"]:
            made = _pinned(made, text)
        whole = Charter(charter.version + 1, made.people, made.default, made.reasons, made.lists)
        self._show(whole)
        if len(keepers(whole)) < FEWEST_KEEPERS:
            self.stdout.write("Fewer than two keepers: nobody can change it but here.")
        if input("Two operators have compared every fingerprint. Type yes: ") != "yes":
            raise CommandError("Nothing was changed.")
        if deed == "recover":
            journal.recovered("set at the console")
        digest = charters.put_in_force(whole, journal, why=deed)
        self.stdout.write(f"In force. Its digest goes on paper: {digest}")

    def _show(self, charter: Charter) -> None:
        self.stdout.write(f"Charter, version {charter.version}")
        for person in charter.people:
            self.stdout.write(f"  {person.name}: {', '.join(sorted(person.roles)) or 'pinned'}")
            for key in person.keys:
                self.stdout.write(f"    {key.fingerprint}")


def _pinned(charter: Charter, text: str) -> Charter:
    name, _, rest = text.partition(":")
    roles, _, fingerprint = rest.partition(":")
    wanted = [role for role in roles.split(",") if role]
    if not fingerprint or not set(wanted) <= set(ROLES):
        raise CommandError(f"«{text}» is not {FORM}; roles are {', '.join(ROLES)}.")
    row = SigningKey.objects.filter(fingerprint=fingerprint, person__username=name).first()
    if row is None:
        raise CommandError(f"{name} has registered no passkey with the fingerprint {fingerprint}.")
    key = charters.key_of(row, now=int(timezone.now().timestamp()))
    if key.fingerprint != fingerprint:
        raise CommandError(f"The passkey of {name} is not the one that its row says.")
    return charter.pinned(name, wanted, key)
