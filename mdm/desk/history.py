"""The audit in sentences: people, devices and the product in one, each entry with the facts that help a reader."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, Q
from django.utils import formats, timezone
from django.utils.dateparse import parse_datetime
from django.utils.text import Truncator

from devices.models import AuditEntry, Device, DeviceGroup, DeviceUser
from passcodes.models import Policy, PolicyVersion, WithheldConfiguration

# verb → the sentence. One that begins small follows the name of the person who did it.
SENTENCES: dict[str, str] = {
    "account.deleted": "An account on it was deleted.",
    "account.listed": "Told which accounts are on it.",
    "act.forbidden": "tried what two people sign, without the right to it. Refused.",
    "act.refused": "wanted what the rules of signing forbid. Refused.",
    "audit.export": "exported the audit.",
    "bootstrap.forgotten": "Its bootstrap token is no longer kept.",
    "bootstrap.given": "Took its bootstrap token back for a moment.",
    "bootstrap.kept": "Its bootstrap token was sealed and kept.",
    "bootstrap.not_opened": "Its bootstrap token does not open with the door’s present key.",
    "charter.agree": "signed a change of the charter.",
    "charter.ask": "asked for a change of the charter.",
    "charter.cancel": "took a change of the charter back.",
    "charter.deny": "denied a change of the charter.",
    "charter.draft": "prepared a change of the charter.",
    "charter.expire": "A change of the charter ran out.",
    "charter.settle": "The vault put a change of the charter in force.",
    "charter.stop": "The vault stopped a change of the charter.",
    "clear.alarm": "It was too late to call the clear back.",
    "clear.approve": "signed the clear.",
    "clear.arm": "The vault opened the token for this one clear. Nobody has seen it.",
    "clear.cancel": "took the request for a clear back.",
    "clear.confirm": "Cleared, said by the device.",
    "clear.deny": "denied the clear.",
    "clear.expire": "The request for a clear ran out.",
    "clear.expose": "Exposed: no compliant passcode by its time.",
    "clear.fail": "The clear failed.",
    "clear.forbidden": "tried a step of a clear without the right to it. Refused.",
    "clear.glass": "The key from the safe signed a clear. Two keepers are to review it.",
    "clear.not_now": "The device could not clear just then. It is asked again.",
    "clear.protect": "Protected again: a compliant passcode is set.",
    "clear.refused": "wanted a step of a clear that the rules forbid. Refused.",
    "clear.refused_by_device": "The device refused to clear.",
    "clear.draft": "prepared a request for a clear.",
    "clear.request": "asked for a clear.",
    "clear.sign": "signed the clear; the rule demands more signatures.",
    "clears.approve": "signed the clears of several devices.",
    "clears.deny": "denied the clears of several devices.",
    "clears.draft": "prepared clears of several devices.",
    "clears.export": "exported the report on clears of several devices.",
    "clears.forbidden": "tried to stop clears without the right to it. Refused.",
    "clears.refused": "wanted a step of several clears that the rules forbid. Refused.",
    "clears.request": "asked for the clears of several devices.",
    "clears.stop": "stopped the clears of several devices.",
    "clears.witness": "confirmed as a second person to see several devices.",
    "passkey.registered": "registered a signing passkey.",
    "passkey.revoked": "revoked a signing passkey.",
    "vault.alarm": "The vault raised an alarm.",
    "clear.send": "The clear was handed to the device.",
    "clear.void": "The request for a clear is void.",
    "clear.witness": "confirmed as a second person to see the device.",
    "code.end": "The code on its lock screen counts no more.",
    "code.miss": "Wrong digits were typed for its code.",
    "code.order": "The vault made a code for its lock screen. Nobody has seen it.",
    "code.prove": "The digits on its lock screen were read to us. It is in hand.",
    "code.refused": "A code was not given to a device. Refused.",
    "code.show": "Shows a code on its lock screen.",
    "code.spend": "Its code proves a request.",
    "code.typed": "typed the digits that were read from its lock screen.",
    "code.wished": "wanted a code on its lock screen.",
    "configuration.assign": "gave a withheld configuration to devices.",
    "configuration.retire": "took a withheld configuration out of use.",
    "configuration.upload": "added a configuration that is withheld until a device complies.",
    "coverage.export": "exported which devices cannot be cleared.",
    "custom.answered": "Answered a command of an expert’s own making.",
    "custom.refused": "wanted to send a command that is not sent from here. Refused.",
    "custom.send": "sent it a command of their own making.",
    "declaration.back": "Its policy goes back from a declaration to a profile.",
    "declaration.in_force": "It reports the policy’s declaration in force.",
    "declaration.moving": "Its policy moves from a profile to a declaration.",
    "declaration.refused": "It does not take declarations. It gets profiles.",
    "declaration.replaces_profile": "The declaration is in force, so the profile goes.",
    "declaration.withdrawn": "A policy is no longer declared for it.",
    "device.ask": "asked the device for its state.",
    "device.assigned": "changed whose device it is.",
    "device.authenticated": "Began to enroll.",
    "device.described": "Told something new about itself.",
    "device.enrolled": "Enrolled.",
    "device.found": "marked it as found.",
    "device.inactive": "Inactive: it has been silent for too long.",
    "device.joined": "put it into a group.",
    "device.joined_by_rule": "Joined a group whose rule it fits.",
    "device.left": "Removed its management profile.",
    "device.left_group": "took it out of a group.",
    "device.left_by_rule": "Left a group whose rule it does not fit any more.",
    "device.lost": "marked it as lost.",
    "device.push_refused": "The push service refused a push to it.",
    "device.retire": "retired it.",
    "device.returned": "Back after a long silence. It is asked first how it stands.",
    "device.unenroll": "told it to remove its management profile.",
    "device.unreachable": "Its push address is gone.",
    "door.key_in_use": "The door has a new key.",
    "door.refused": "A request at the device door was refused.",
    "door.resealed": "What the door keeps was sealed anew, to its new key.",
    "enforcement.checking": "The policy was installed. Nothing became stricter.",
    "enforcement.compliant": "The device says: compliant.",
    "enforcement.ended": "The policy is no longer watched here.",
    "enforcement.grace": "The policy was installed. The hour began.",
    "enforcement.not_measurable": "The policy was installed. This kind of device cannot say more.",
    "enforcement.not_removed": "The device could not remove the policy.",
    "enforcement.overdue": "It does not comply, and no hour runs.",
    "enforcement.pushed": "A policy was pushed.",
    "enforcement.refused": "The device refused the policy.",
    "enforcement.removed": "The policy was removed from the device.",
    "enforcement.superseded": "A newer version took over.",
    "enrollment.link_made": "made an enrollment link.",
    "enrollment.link_used": "An enrollment link was used.",
    "enrollment.pins_given": "gave devices their profile again, so that they pin the door’s TLS.",
    "escrow.fresh_asked": "wanted a new unlock token from it.",
    "escrow.fresh_awaited": "Its certificate was renewed without a token. It is asked for one.",
    "escrow.kept": "Its unlock token was sealed and kept.",
    "escrow.resealed": "Tokens were sealed anew, to the vault’s new key.",
    "escrow.retired": "Its unlock token was retired.",
    "escrow.shredded": "A retired unlock token of it was shredded.",
    "escrow.suspect": "Its unlock token was refused by the device.",
    "found.agree": "signed as well that it was found.",
    "found.ask": "asked to mark it as found.",
    "found.cancel": "took back that it was found.",
    "found.deny": "denied that it was found.",
    "found.draft": "prepared to ask to mark it as found.",
    "found.expire": "Nobody else signed in time that it was found.",
    "found.settle": "The vault heard from two people that it was found.",
    "found.stop": "The vault stopped what was signed on its being found.",
    "gate.delivered": "A withheld configuration arrived.",
    "gate.ended": "A configuration is no longer meant for it.",
    "gate.failed": "A withheld configuration could not be installed.",
    "gate.held": "A configuration is withheld.",
    "gate.missing": "A configuration that had arrived is no longer on it. It comes again.",
    "gate.released": "A withheld configuration was let go.",
    "gate.withdrawing": "A configuration is being taken back.",
    "gate.withdrawn": "A configuration was removed from it.",
    "group.changed": "renamed a group.",
    "group.created": "made a group.",
    "group.rule": "wrote the rule of a group.",
    "group.rule_dropped": "took the rule off a group. Who is in it stays.",
    "house.changed": "changed the rules of the house.",
    "notice.again": "had a notice tried again.",
    "notice.dropped": "put a notice aside that had not arrived.",
    "notice.trial": "tried whether notices arrive.",
    "notice.wish": "changed whether mail comes to them.",
    "house.policy_written": "wrote a new version of the IT policy.",
    "setup.mail": "had a test mail sent.",
    "setup.tried": "tried whether the set-up still stands.",
    "identity.issued": "A device’s identity was issued.",
    "identity.refused": "A request for an identity was refused.",
    "identity.renewal_asked": "It is asked to renew its identity.",
    "identity.renewal_offered": "It was given its enrollment profile to renew its identity.",
    "identity.renewed": "It uses its renewed identity.",
    "login.accepted": "A network user logged in, without a proof.",
    "login.proven": "A network user logged in and showed the right password.",
    "login.refused": "A network user did not show the right password. Refused.",
    "list.export": "exported a list.",
    "lost_mode.again": "Enrolled while it is lost. It is put back into Lost Mode.",
    "lost_mode.found": "Says that it is in Lost Mode.",
    "lost_mode.locate": "asked it where it is.",
    "lost_mode.located": "Told where it is.",
    "lost_mode.off": "Lost Mode is off.",
    "lost_mode.on": "Lost Mode is on.",
    "lost_mode.place_opened": "looked where it is.",
    "lost_mode.refused": "Did not do what a lost device is asked.",
    "lost_mode.sound": "had it play a sound.",
    "network_user.dropped": "took a network user’s password out.",
    "network_user.kept": "gave a network user’s password.",
    "policy.change_draft": "changed the draft of a policy.",
    "policy.create": "made a policy.",
    "policy.discard_draft": "threw the draft of a policy away.",
    "policy.draft": "began a new version of a policy.",
    "policy.not_there": "The policy’s profile is not on it as it was installed. It is pushed again.",
    "policy.publish": "published a version of a policy.",
    "policy.remove": "removed a policy from devices.",
    "push.alarm": "Apple’s push service does not take our pushes.",
    "push.works_again": "Pushes go out again.",
    "push_certificate.ends_soon": "The push certificate ends soon.",
    "push_certificate.loaded": "loaded a push certificate.",
    "push_certificate.requested": "made a signing request for a push certificate.",
    "rollout.held": "held a rollout in waves.",
    "review.agree": "signed the review as well.",
    "review.ask": "asked to close the review of a clear by the key from the safe.",
    "review.cancel": "took the review back.",
    "review.deny": "denied the review.",
    "review.draft": "prepared the review of a clear by the key from the safe.",
    "review.expire": "The review ran out.",
    "review.settle": "Two keepers have reviewed a clear by the key from the safe.",
    "review.stop": "The vault stopped a review.",
    "rollout.push": "pushed a version to devices.",
    "rollout.stop": "stopped a rollout.",
    "rollout.wave": "let a wave of a rollout go.",
    "staff.forbidden": "opened or tried what is not for them. Refused.",
    "staff.invitation_taken": "chose a password by an invitation.",
    "staff.invited": "A person was invited at the console.",
    "staff.password_changed": "changed their own password.",
    "staff.password_set": "gave a person a new password.",
    "staff.sign_in": "signed in.",
    "staff.sign_in_failed": "A sign-in failed.",
    "staff.user_added": "added a person.",
    "staff.user_changed": "changed a person.",
    "user.ask": "asked what is on the channel of one of its users.",
    "user.delete": "told it to delete an account.",
    "user.enrolled": "A user of the device enrolled.",
    "user.list": "asked it which accounts are on it.",
    "user.log_out": "told it to log its user out.",
    "user.push_refused": "The push service refused a push to one of its users.",
    "user.unlock": "told it to unlock an account.",
    "user.unreachable": "The push address of one of its users is gone.",
    "vault.broken": "The vault found that the audit itself was tampered with.",
    "vault.keys_backed_up": "The vault’s keys were sealed to custodians.",
    "vault.line": "The vault noted in its journal what it did.",
    "vault.restored": "The vault began anew from a backup. Open requests are void.",
    "vault.stopped": "It was stopped at the vault’s console.",
    "vault.selftest": "The vault tried whether tokens in escrow open.",
    "view.brought_back": "brought a view of a list back.",
    "view.changed": "changed a view of a list.",
    "view.dropped": "deleted a view of a list.",
    "view.kept": "kept a view of a list.",
}
OF_THE_DEVICE = (
    "account.deleted",
    "account.listed",
    "bootstrap.given",
    "bootstrap.kept",
    "clear.confirm",
    "clear.not_now",
    "clear.refused_by_device",
    "custom.answered",
    "code.show",
    "device.authenticated",
    "device.described",
    "device.enrolled",
    "device.left",
    "device.returned",
    "enforcement.compliant",
    "escrow.suspect",
    "gate.delivered",
    "gate.failed",
    "gate.withdrawn",
    "identity.renewed",
    "lost_mode.found",
    "lost_mode.located",
    "lost_mode.off",
    "lost_mode.on",
    "lost_mode.refused",
    "user.enrolled",
)
REFUSALS = (
    "act.forbidden",
    "act.refused",
    "clear.forbidden",
    "clear.refused",
    "clears.forbidden",
    "clears.refused",
    "custom.refused",
    "code.refused",
    "door.refused",
    "login.refused",
    "enforcement.refused",
    "identity.refused",
    "staff.forbidden",
    "staff.sign_in_failed",
)
KINDS = {
    "person": ("People", "person"),
    "device": ("Devices", "phone"),
    "product": ("The product", "product"),
    "refused": ("Refusals", "no"),
}

# The facts worth a line, in the order in which they are read, with what they are called.
SHOWN = {
    "version": "",
    "policy": "",
    "configuration": "",
    "name": "",
    "person": "",
    "user": "user",
    "group": "group",
    "groups": "groups",
    "except_groups": "except",
    "rule": "now",
    "joining": "joining",
    "leaving": "leaving",
    "devices": "devices",
    "stricter": "stricter for",
    "changed": "changed",
    "platform": "platform",
    "assigned_to": "for",
    "until": "until",
    "ends": "ends",
    "step": "step",
    "what": "noted",
    "request_type": "command",
    "deed": "at",
    "path": "page",
    "door": "door",
    "kind": "kind",
    "reason": "reason",
    "reasons": "reasons",
    "because": "because",
    "words": "in their words",
    "note": "note",
    "errors": "errors",
    "version_number": "version",
    "opens": "opens",
    "tried": "tried",
    "opened": "opened",
    "tokens": "tokens",
    "format": "as",
    "entries": "entries",
    "filters": "chosen by",
}
NAMED: dict[str, type[Model]] = {
    "version": PolicyVersion,
    "policy": Policy,
    "configuration": WithheldConfiguration,
    "group": DeviceGroup,
    "groups": DeviceGroup,
    "except_groups": DeviceGroup,
    "user": DeviceUser,
}
LONGEST = 160  # characters of one fact in a line; the entry's own page has all


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the timeline."""

    entry: AuditEntry
    who: str  # the person before the sentence
    sentence: str
    more: str
    kind: str  # person, device, product, refused
    icon: str


def of(device: Device, *, limit: int) -> list[Line]:
    """The newest entries about the device."""
    return lines(AuditEntry.objects.filter(device=device)[:limit])


def lines(entries: Iterable[AuditEntry]) -> list[Line]:
    """Each entry as a line; what the facts name by number is looked up once for all."""
    entries = list(entries)
    names = Names(entries)
    return [_line(entry, names) for entry in entries]


def sentence(verb: str) -> str:
    return SENTENCES.get(verb, verb.replace(".", ": ").replace("_", " ") + ".")


def kind(entry: AuditEntry) -> str:
    """Who did it: a person, a device, the product; or it was refused to whoever wanted it."""
    if entry.verb in REFUSALS:
        return "refused"
    if entry.actor_name:
        return "person"
    return "device" if entry.verb in OF_THE_DEVICE else "product"


def of_kind(wanted: str) -> Q:
    """The entries that `kind` would call so."""
    refused, by_person, of_device = (
        Q(verb__in=REFUSALS),
        ~Q(actor_name=""),
        Q(verb__in=OF_THE_DEVICE),
    )
    return {
        "refused": refused,
        "person": ~refused & by_person,
        "device": ~refused & ~by_person & of_device,
        "product": ~refused & ~by_person & ~of_device,
    }[wanted]


class Names:
    """What the numbers in facts stand for, fetched once for a page of entries."""

    def __init__(self, entries: Iterable[AuditEntry]) -> None:
        wanted: dict[type[Model], set[int]] = {}
        for entry in entries:
            for fact, model in NAMED.items():
                wanted.setdefault(model, set()).update(_numbers(entry.facts.get(fact)))
        self._known = {
            model: {row.pk: str(row) for row in _rows(model).filter(pk__in=numbers)}
            for model, numbers in wanted.items()
            if numbers
        }

    def said(self, fact: str, value: Any) -> str:
        """The fact as a person reads it."""
        if fact in NAMED:
            known = self._known.get(NAMED[fact], {})
            names = [known.get(number, f"number {number}") for number in _numbers(value)]
            return ", ".join(names) if names or not value else str(value)
        return _said(fact, value)


def _rows(model: type[Model]) -> Any:
    rows = model._default_manager.all()  # noqa: SLF001  Django's documented name for any model's manager
    return rows.select_related("policy") if model is PolicyVersion else rows


def _numbers(value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, int) and not isinstance(one, bool)]


def _line(entry: AuditEntry, names: Names) -> Line:
    words, which = sentence(entry.verb), kind(entry)
    follows = words[0].islower()
    who = entry.actor_name if follows else ""
    by = "" if follows or not entry.actor_name else f"by {entry.actor_name}"
    if follows and not who:
        words = words[0].upper() + words[1:]
    more = " · ".join(part for part in (by, *_more(entry.facts, names)) if part)
    return Line(entry, who, words, more, which, KINDS[which][1])


def _more(facts: Mapping[str, Any], names: Names) -> list[str]:
    """The facts that help a reader, each with its name where it needs one."""
    parts = []
    for fact, label in SHOWN.items():
        if fact == "policy" and facts.get("version"):
            continue  # the version's name begins with the policy's
        if fact == "name" and (facts.get("configuration") or facts.get("policy")):
            continue  # told already
        words = names.said(fact, facts.get(fact))
        if words:
            words = Truncator(words).chars(LONGEST)
            parts.append(f"{label}: {words}" if label else words)
    return parts


def _said(fact: str, value: Any) -> str:
    match value:
        case None | "" | [] | {}:
            return ""
        case list() if fact == "devices":
            return str(len(value))
        case list():
            return "; ".join(str(one) for one in value)
        case dict():
            return ", ".join(f"{name} {one}" for name, one in value.items())
        case str() if fact in {"until", "ends"} and (moment := parse_datetime(value)):
            return formats.date_format(timezone.localtime(moment), "j M Y, H:i")
        case _:
            return str(value)
