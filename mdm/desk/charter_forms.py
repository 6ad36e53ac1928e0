"""What keepers fill in to change the charter; each form says the change as it will be signed."""

from typing import Any

from django import forms

from passcodes.passkeys import as_key, to_be_pinned
from passcodes.rules import charter_changes as changes
from passcodes.rules.charter import (
    ALL,
    DAY,
    HIGHEST_BULK,
    HOUR,
    NO_GLASS,
    ROLES,
    WEEK,
    Charter,
    Rule,
    written_key,
    written_rule,
)
from passcodes.rules.clearing import REASONS_IN_WORDS, Reason
from staff.models import SigningKey

MINUTE = 60
CHOICES_OF_ROLES = [(role, changes.ROLES_IN_WORDS[role].capitalize()) for role in ROLES]
CHOICES_OF_PROOFS = [
    (how, changes.POSSESSION_IN_WORDS[how].capitalize()) for how in changes.POSSESSION_IN_WORDS
]
CHOOSE = ("", "Choose")  # first: a name that nobody has must not become somebody else’s


class ChangeForm(forms.Form):
    """A change, and why."""

    words = forms.CharField(
        label="Why",
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2, "class": "desk-input"}),
        help_text="Whoever signs with you reads this.",
    )
    field_order: list[str] | None = None
    nothing = ""  # why there is nothing to choose from

    def __init__(self, data: Any, *, charter: Charter, about: Any) -> None:
        self.charter, self.about = charter, about
        super().__init__(data, initial=self.known())
        self.prepare()
        self.order_fields([*(name for name in self.fields if name != "words"), "words"])

    def known(self) -> dict[str, Any]:
        return {}

    def prepare(self) -> None:
        """Choices that depend on who is known."""

    def change(self) -> dict[str, Any]:
        raise NotImplementedError


class KeyField(forms.ModelChoiceField):
    """By its person. The fingerprint is not shown: it is to be typed as it was heard."""

    def label_from_instance(self, obj: Any) -> str:
        synced = ", synced by its maker’s cloud" if obj.is_backup_eligible else ""
        return f"{obj.person}, registered {obj.registered_at:%d %b %Y, %H:%M}{synced}"


class PinForm(ChangeForm):
    key = KeyField(
        SigningKey.objects.none(),
        label="Passkey",
        widget=forms.RadioSelect,
        empty_label=None,
        help_text="Registered, and not known to the vault yet.",
    )
    fingerprint = forms.CharField(
        max_length=64,
        label="Fingerprint, as it was read aloud to you",
        widget=forms.TextInput(attrs={"class": "desk-input mono", "autocomplete": "off"}),
        help_text="By the person themselves, off the signing page. Not copied from here.",
    )
    roles = forms.MultipleChoiceField(
        choices=CHOICES_OF_ROLES, label="May sign", widget=forms.CheckboxSelectMultiple
    )
    replaces = forms.BooleanField(
        required=False,
        label="All earlier passkeys are lost",
        help_text="They are taken out with this. What the person may sign stays as it is.",
    )

    def prepare(self) -> None:
        keys = to_be_pinned(self.charter)
        field = self.fields["key"]
        assert isinstance(field, KeyField)
        field.queryset = keys.select_related("person")
        if not keys.exists():
            self.nothing = (
                "Every registered passkey is known to the vault. Next: its owner registers the new "
                "one under «My signing passkeys»."
            )
        self.fields["roles"].required = False

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        key = given.get("key")
        typed = "".join(str(given.get("fingerprint", "")).lower().split())
        if key and typed and typed != key.fingerprint.replace(" ", ""):
            self.add_error(
                "fingerprint",
                "This is not the fingerprint of this passkey. If it was read aloud like this, the "
                "passkey in the list is somebody else’s: pin nothing, and tell an auditor.",
            )
        if key and not given.get("replaces") and not given.get("roles"):
            self.add_error("roles", "Say what the person may sign.")
        return given

    def change(self) -> dict[str, Any]:
        row = self.cleaned_data["key"]
        about = {"person": row.person.get_username(), "key": written_key(as_key(row))}
        if self.cleaned_data["replaces"]:
            return {"what": "recover", **about}
        return {"what": "pin", "roles": sorted(self.cleaned_data["roles"]), **about}


class PersonForm(ChangeForm):
    person = forms.ChoiceField(label="Who")
    roles = forms.MultipleChoiceField(
        choices=CHOICES_OF_ROLES,
        label="May sign",
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    lists = forms.MultipleChoiceField(
        label="For", required=False, widget=forms.CheckboxSelectMultiple
    )
    aliases = forms.CharField(
        required=False,
        label="Also called",
        max_length=200,
        widget=forms.TextInput(attrs={"class": "desk-input"}),
        help_text="Names under which a device’s user is this person, with commas between them.",
    )
    mail = forms.EmailField(required=False, widget=forms.EmailInput(attrs={"class": "desk-input"}))

    def known(self) -> dict[str, Any]:
        one = self.charter.person(self.about.get("name", ""))
        if one is None:
            return {}
        return {
            "person": one.name,
            "roles": sorted(one.roles),
            "lists": sorted(one.lists),
            "aliases": ", ".join(sorted(one.aliases)),
            "mail": one.mail,
        }

    def prepare(self) -> None:
        people, lists = self.fields["person"], self.fields["lists"]
        assert isinstance(people, forms.ChoiceField)
        assert isinstance(lists, forms.ChoiceField)
        people.choices = [CHOOSE, *((one.name, one.name) for one in self.charter.people)]
        lists.choices = [(ALL, "Every device"), *((name, name) for name, _ in self.charter.lists)]

    def change(self) -> dict[str, Any]:
        given = self.cleaned_data
        aliases = {one.strip() for one in given["aliases"].split(",")} - {""}
        return {
            "what": "person",
            "person": given["person"],
            "roles": sorted(given["roles"]),
            "lists": sorted(given["lists"]),
            "aliases": sorted(aliases),
            "mail": given["mail"],
        }


class RevokeForm(ChangeForm):
    which = forms.ChoiceField(
        label="What", help_text="One signature is enough, and it counts at once."
    )

    def known(self) -> dict[str, Any]:
        return {"which": f"{self.about.get('name', '')}:{self.about.get('key', '')}"}

    def prepare(self) -> None:
        which = self.fields["which"]
        assert isinstance(which, forms.ChoiceField)
        which.choices = [CHOOSE] + [
            (f"{one.name}:{fingerprint}", f"{one.name}, {fingerprint or 'altogether'}")
            for one in self.charter.people
            for fingerprint in ("", *(key.fingerprint for key in one.keys))
        ]

    def change(self) -> dict[str, Any]:
        name, _, fingerprint = self.cleaned_data["which"].rpartition(":")
        which = {"fingerprint": fingerprint} if fingerprint else {}
        return {"what": "revoke", "person": name, **which}


class RuleForm(ChangeForm):
    """Every value of a rule: it is written whole."""

    of = forms.ChoiceField(
        label="For",
        choices=[
            (changes.DEFAULT, "Every clear"),
            *((reason.value, REASONS_IN_WORDS[reason]) for reason in Reason),
        ],
        help_text="Of all rules that apply to a clear the strictest value counts.",
    )
    approvers = forms.IntegerField(label="Signatures by others", min_value=1, max_value=9)
    possession = forms.MultipleChoiceField(
        label="Proof that it is in our hands",
        choices=CHOICES_OF_PROOFS,
        widget=forms.CheckboxSelectMultiple,
    )
    ask_lasts = forms.IntegerField(
        label="An ask counts for, in minutes", min_value=1, max_value=WEEK // MINUTE
    )
    yes_lasts = forms.IntegerField(
        label="A yes counts for, in minutes", min_value=1, max_value=HOUR // MINUTE
    )
    hold = forms.IntegerField(
        label="Held back after the last signature, in minutes",
        min_value=0,
        max_value=HOUR // MINUTE,
    )
    opens_from = forms.IntegerField(label="Opens from, hour", min_value=0, max_value=DAY - 1)
    opens_until = forms.IntegerField(label="Opens until, hour", min_value=1, max_value=DAY)
    bulk_max = forms.IntegerField(
        label="Devices in one list, at most", min_value=1, max_value=HIGHEST_BULK
    )
    per_hour = forms.IntegerField(label="Clears an hour, at most", min_value=1, max_value=10_000)
    notice = forms.BooleanField(required=False, label="People are told before it opens")
    glass = forms.BooleanField(required=False, label="A key from the safe may agree")
    synced = forms.MultipleChoiceField(
        label="Synced passkeys count for",
        choices=CHOICES_OF_ROLES,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    def known(self) -> dict[str, Any]:
        of = self.about.get("of", changes.DEFAULT)
        rule = self.charter.default
        if of != changes.DEFAULT:
            rule = dict(self.charter.reasons).get(of, Rule())
        return {"of": of, **_shown(rule)}

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        start, end = given.get("opens_from"), given.get("opens_until")
        if start is not None and end is not None and start >= end:
            self.add_error("opens_until", "It must be later than the first hour.")
        return given

    def rule(self) -> dict[str, Any]:
        given = self.cleaned_data
        rule = Rule(
            approvers=given["approvers"],
            possession=frozenset(given["possession"]),
            ask_lasts=given["ask_lasts"] * MINUTE,
            yes_lasts=given["yes_lasts"] * MINUTE,
            hold=given["hold"] * MINUTE,
            hours=(given["opens_from"], given["opens_until"]),
            bulk_max=given["bulk_max"],
            per_hour=given["per_hour"],
            notice=int(given["notice"]),
            glass=int(given["glass"]),
            synced=frozenset(given["synced"]),
        )
        return written_rule(rule)

    def change(self) -> dict[str, Any]:
        return {"what": "rule", "of": self.cleaned_data["of"], "rule": self.rule()}


class ListForm(RuleForm):
    name = forms.CharField(max_length=100, widget=forms.TextInput(attrs={"class": "desk-input"}))
    serials = forms.CharField(
        label="Serial numbers",
        required=False,
        widget=forms.Textarea(attrs={"rows": 6, "class": "desk-input mono"}),
        help_text="One on each line. The vault knows devices by these, not by the groups here.",
    )
    has_rule = forms.BooleanField(
        required=False,
        label="A rule of its own",
        help_text="Then all that follows counts for these devices, where it is stricter.",
    )

    def prepare(self) -> None:
        del self.fields["of"]
        self.order_fields(["name", "serials", "has_rule"])

    def known(self) -> dict[str, Any]:
        name = self.about.get("name", "")
        kept = dict(self.charter.lists).get(name)
        return {
            "name": name,
            "serials": "\n".join(sorted(kept.serials)) if kept else "",
            "has_rule": bool(kept and kept.rule),
            **_shown(kept.rule if kept and kept.rule else NO_GLASS),
        }

    def change(self) -> dict[str, Any]:
        given = self.cleaned_data
        own = {"rule": self.rule()} if given["has_rule"] else {}
        serials = sorted(set(given["serials"].split()))
        return {"what": "list", "name": given["name"], "serials": serials, **own}


class UnlistForm(ChangeForm):
    name = forms.ChoiceField(label="List")

    def known(self) -> dict[str, Any]:
        return {"name": self.about.get("name", "")}

    def prepare(self) -> None:
        names = self.fields["name"]
        assert isinstance(names, forms.ChoiceField)
        names.choices = [CHOOSE, *((name, name) for name, _ in self.charter.lists)]

    def change(self) -> dict[str, Any]:
        return {"what": "unlist", "name": self.cleaned_data["name"]}


class ResumeForm(ChangeForm):
    of = forms.CharField(
        label="What was stopped",
        max_length=100,
        initial="all",
        widget=forms.TextInput(attrs={"class": "desk-input mono"}),
        help_text="“all”, or the UDID of a device.",
    )

    def change(self) -> dict[str, Any]:
        return {"what": "resume", "of": self.cleaned_data["of"].strip()}


FORMS: dict[str, type[ChangeForm]] = {
    "pin": PinForm,
    "person": PersonForm,
    "revoke": RevokeForm,
    "rule": RuleForm,
    "list": ListForm,
    "unlist": UnlistForm,
    "resume": ResumeForm,
}


def _shown(rule: Rule) -> dict[str, Any]:
    return {
        "approvers": rule.approvers,
        "possession": sorted(rule.possession),
        "ask_lasts": rule.ask_lasts // MINUTE,
        "yes_lasts": rule.yes_lasts // MINUTE,
        "hold": rule.hold // MINUTE,
        "opens_from": rule.hours[0],
        "opens_until": rule.hours[1],
        "bulk_max": rule.bulk_max,
        "per_hour": rule.per_hour,
        "notice": bool(rule.notice),
        "glass": bool(rule.glass),
        "synced": sorted(rule.synced),
    }
