"""The typed editor of a version: a field for each requirement, and how it differs from what is published."""

from dataclasses import dataclass
from typing import Any

from django import forms

from passcodes.admin import wording
from passcodes.rules import strictness
from passcodes.rules.requirements import CATALOGUE, Requirement, Requirements, from_json
from passcodes.rules.requirements import Refused as NotRequirements

SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "The passcode",
        (
            "force_pin",
            "min_length",
            "allow_simple",
            "require_alphanumeric",
            "min_complex_chars",
            "pin_history",
            "max_pin_age_in_days",
        ),
    ),
    ("Locking", ("max_inactivity", "max_grace_period", "max_failed_attempts")),
    ("On Macs", ("minutes_until_failed_login_reset", "change_at_next_auth")),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One requirement in the editor: its field, and how it differs from what is published."""

    field: forms.BoundField
    requirement: Requirement
    only_on: str
    change: strictness.Change | None


class RequirementsForm(forms.Form):
    """A field for each requirement of the catalogue; what is left empty is absent."""

    def __init__(
        self,
        data: Any = None,
        *,
        draft: Requirements,
        against: Requirements | None,
        note: str = "",
    ) -> None:
        super().__init__(
            data, initial={**{field: _typed(value) for field, value in draft.to_json().items()}}
        )
        self.requirements = draft
        self.against = against
        for requirement in CATALOGUE:
            self.fields[requirement.field] = _field(requirement)
        self.fields["note"] = forms.CharField(
            label="What changes, and why",
            required=False,
            max_length=2000,
            initial=note,
            widget=forms.Textarea(attrs={"rows": 2, "class": "desk-input"}),
            help_text="Whoever pushes or audits this version reads it.",
        )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        values = {
            requirement.field: data.get(requirement.field)
            for requirement in CATALOGUE
            if data.get(requirement.field) is not None
        }
        try:
            self.requirements = from_json(values)
        except NotRequirements as refused:
            for field, sentence in refused.problems.items():
                self.add_error(field or None, sentence)
        return data

    @property
    def sections(self) -> list[tuple[str, list[Row]]]:
        changes = {one.field: one for one in self.changes}
        by_field = {requirement.field: requirement for requirement in CATALOGUE}
        return [
            (
                title,
                [
                    Row(
                        self[name],
                        by_field[name],
                        wording.only_on(by_field[name]),
                        changes.get(name),
                    )
                    for name in names
                ],
            )
            for title, names in SECTIONS
        ]

    @property
    def changes(self) -> list[strictness.Change]:
        if self.against is None:
            return []
        return strictness.compare(self.against, self.requirements)


def _field(requirement: Requirement) -> forms.Field:
    if requirement.kind is bool:
        yes, no = requirement.say(True), requirement.say(False)  # noqa: FBT003  a value, not a switch
        return forms.TypedChoiceField(
            label=requirement.label,
            required=False,
            choices=(("", "left out"), ("true", yes), ("false", no)),
            coerce=lambda text: text == "true",
            empty_value=None,
            help_text=f"{requirement.meaning} {requirement.absent}",
        )
    low, high = requirement.minimum, requirement.maximum
    return forms.IntegerField(
        label=requirement.label,
        required=False,
        widget=forms.NumberInput(attrs={"min": low, "max": high, "inputmode": "numeric"}),
        help_text=f"{requirement.meaning} {low} to {high}. {requirement.absent}",
    )


def _typed(value: bool | int) -> str | int:
    return str(value).lower() if isinstance(value, bool) else value
