"""What the vault tells people: its pulse, its charter, and of each request what it waits for."""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db.models import Q
from django.utils import timezone

from passcodes import vault_says
from passcodes.models import ClearRequest, VaultSays
from passcodes.rules import statements
from passcodes.rules.charter import Charter
from passcodes.rules.clearing import State
from vault import charter as charters
from vault import opening, pulse, stops
from vault.hearing import Verdict
from vault.journal import Journal
from vault.memory import USED

PULSE_EVERY = timedelta(seconds=30)
ASKED = (State.REQUESTED.value, State.APPROVED.value)
ALTERED = "The copy of the charter in the database was altered. It was put right, and nothing believed it."


def pulse_if_due(
    journal: Journal,
    charter: Charter,
    *,
    mail: str = "",
    keys: Mapping[str, str] | None = None,
) -> None:
    """The heartbeat, which statements name; and at once what changes: charter, stops, mail, keys."""
    now = timezone.now()
    said = vault_says.said(VaultSays.HOUSE)
    age = pulse.age(journal.pulse_key, str(said.get("pulse", "")), now=int(now.timestamp()))
    is_fresh = age is not None and 0 <= age < PULSE_EVERY.total_seconds()
    troubles = {"stopped": stops.in_words(journal), "mail": mail}
    new = {
        "charter": charter.version,
        **({"keys": dict(keys)} if keys else {}),
        **{name: words for name, words in troubles.items() if words},
    }
    if is_fresh and new == {name: value for name, value in said.items() if name != "pulse"}:
        return
    made = pulse.make(journal.pulse_key, int(now.timestamp()))
    vault_says.tell(VaultSays.HOUSE, {"pulse": made, **new})


def stands_still(because: str) -> None:
    vault_says.tell(VaultSays.HOUSE, {"stands_still": because})


def charter_if_changed(charter: Charter, order_key: Ed25519PrivateKey) -> str:
    """Publish the copy; an alarm where somebody had altered it."""
    row = VaultSays.objects.filter(about=VaultSays.CHARTER).first()
    raw = charter.written()
    if row and bytes(row.document) == raw:
        return ""
    charters.publish(charter, order_key=order_key)
    was_ours = row is None or _is_ours(bytes(row.document), bytes(row.signature), order_key)
    return "" if was_ours else ALTERED


def passkeys_taken_out(charter: Charter, journal: Journal) -> None:
    """Which passkeys counted once and do not any more, for their people's pages."""
    out = charters.taken_out(charter, journal)
    if out != vault_says.taken_out():
        vault_says.tell(VaultSays.TAKEN_OUT, out)


def of_requests(
    journal: Journal, charter: Charter, verdicts: list[Verdict], looked_at: list[UUID]
) -> None:
    """For each open request one sentence, and what was refused since; written when it changes."""
    refused = _known({one.request: one for one in verdicts if one.because})
    asked = ClearRequest.objects.filter(Q(state__in=ASKED) | Q(pk__in=looked_at))
    keys = {one.signed_as for one in asked.only("pk", "list_id")}
    for request in keys | set(refused):
        said = vault_says.of_request(request)
        new = _said(request, journal, charter)
        if one := refused.get(request):
            new["refused"] = f"The vault has refused a signature of {one.by}: {one.because}"
        elif "refused" in said and said.get("answers") == new.get("answers"):
            new["refused"] = said["refused"]
        if new != said:
            vault_says.tell(request.hex, new)


def _known(refused: dict[UUID, Verdict]) -> dict[UUID, Verdict]:
    """Those that stand on a page. Of a request that nobody has made there is nobody to tell."""
    about = Q(pk__in=refused) | Q(list__in=refused)
    known = {one.signed_as for one in ClearRequest.objects.filter(about).only("pk", "list_id")}
    return {request: one for request, one in refused.items() if request in known}


def _said(request: UUID, journal: Journal, charter: Charter) -> dict[str, object]:
    heard = journal.hearing(request)
    if heard is None:
        return {"waits": opening.NOTHING_HEARD}
    said: dict[str, object] = {
        "ask": heard.ask.digest,
        "answers": [f"{one.kind} {one.by}" for one in heard.answers],
    }
    if opened := journal.opened(request):
        said["opened"] = opened
    if because := journal.ended(request):
        return said if because == USED else {**said, "stopped": because}
    return {**said, "waits": opening.waits_for(request, journal=journal, charter=charter)}


def _is_ours(document: bytes, signature: bytes, order_key: Ed25519PrivateKey) -> bool:
    """Ed25519 signs one text in one way, so signing again is comparing."""
    return order_key.sign(statements.CHARTER + document) == signature
