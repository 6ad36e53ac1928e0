"""The audit of one device as a timeline: people, the device and the product in one, in sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devices.models import AuditEntry, Device

# verb → the sentence. What a person did names the person; {…} are facts of the entry.
SENTENCES: dict[str, str] = {
    "device.authenticated": "Began to enroll.",
    "device.enrolled": "Enrolled.",
    "device.left": "Removed its management profile.",
    "device.unenrolled": "unenrolled it.",
    "device.retired": "retired it.",
    "device.unreachable": "Its push address is gone.",
    "device.reachable": "It can be reached again.",
    "device.lost": "marked it as lost.",
    "device.found": "marked it as found.",
    "device.asked": "asked the device for its state.",
    "device.assigned": "changed whose device it is.",
    "door.refused": "A request in its name was refused.",
    "escrow.kept": "Its unlock token was sealed and kept.",
    "escrow.retired": "Its unlock token was retired.",
    "escrow.suspect": "Its unlock token was refused by the device.",
    "enforcement.pushed": "A policy was pushed.",
    "enforcement.grace": "The policy was installed. The hour began.",
    "enforcement.checking": "The policy was installed. Nothing became stricter.",
    "enforcement.compliant": "The device says: compliant.",
    "enforcement.overdue": "The hour is over, and it does not comply.",
    "enforcement.refused": "The device refused the policy.",
    "enforcement.superseded": "A newer version took over.",
    "enforcement.ended": "The policy is no longer watched here.",
    "enforcement.not_measurable": "The policy was installed. This kind of device cannot say more.",
    "gate.released": "A withheld configuration was let go.",
    "gate.delivered": "A withheld configuration arrived.",
    "gate.held": "Configurations are withheld.",
    "gate.withdrawn": "A configuration was taken back.",
    "clear.request": "asked for a clear.",
    "clear.approve": "signed the clear.",
    "clear.deny": "denied the clear.",
    "clear.cancel": "took the request back.",
    "clear.arm": "The vault opened the token for this one clear. Nobody has seen it.",
    "clear.send": "The clear was handed to the device.",
    "clear.confirm": "Cleared, said by the device.",
    "clear.fail": "The clear failed.",
    "clear.expire": "The request ran out.",
    "clear.void": "The request is void.",
    "clear.protect": "Protected again: a compliant passcode is set.",
    "clear.expose": "Exposed: no compliant passcode by its time.",
    "clear.refused": "wanted to ask for a clear. Refused.",
    "clear.alarm": "It was too late to call the clear back.",
}
OF_THE_DEVICE = ("device.authenticated", "device.enrolled", "device.left", "clear.confirm")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the timeline."""

    entry: AuditEntry
    sentence: str
    more: str
    kind: str  # person, device, product, refused
    icon: str


def of(device: Device, *, limit: int) -> list[Line]:
    """The newest entries about the device."""
    entries = AuditEntry.objects.filter(device=device).select_related("actor")[:limit]
    return [line(entry) for entry in entries]


def line(entry: AuditEntry) -> Line:
    kind, icon = _who(entry)
    sentence = SENTENCES.get(entry.verb, entry.verb.replace(".", ": ").replace("_", " ") + ".")
    return Line(entry, sentence, _more(entry.facts), kind, icon)


def _who(entry: AuditEntry) -> tuple[str, str]:
    if entry.verb.endswith(("refused", "denied")):
        return "refused", "no"
    if entry.actor_name:
        return "person", "person"
    if entry.verb in OF_THE_DEVICE:
        return "device", "phone"
    return "product", "product"


SHOWN = ("policy", "version", "configuration", "because", "reason", "words", "note", "errors")


def _more(facts: Mapping[str, Any]) -> str:
    """The facts that help a reader, as «name: value»."""
    parts = []
    for name in SHOWN:
        value = facts.get(name)
        if isinstance(value, list):
            value = "; ".join(str(item) for item in value)
        if value not in (None, "", {}):
            parts.append(f"{name}: {value}")
    return ", ".join(parts)
