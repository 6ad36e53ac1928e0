"""To whom: groups and devices that a person chooses, and the number that is then confirmed.

The number is signed together with the choice it was counted for. If another one comes out at the
confirmation, nothing is done and the page is shown again.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django import forms
from django.core import signing
from django.db.models import Count, Q, QuerySet
from django.utils import timezone
from django.utils.functional import cached_property

from devices.models import Device, DeviceGroup
from devices.models.device import Enrollment
from passcodes import planning, standing, targets
from passcodes.rules import strictness
from passcodes.scope import groups_of
from staff import permissions
from staff.models import User

MOST = 5000  # serials in one go
NAMED = 10  # of those that are not known
COUNT_LASTS = 3600  # seconds
SALT = "passcodes.admin.targets"


def read_serials(text: str, *, by: User) -> set[int]:
    """The devices behind pasted serials or UDIDs; ValidationError names what nobody knows."""
    wanted = {word.upper(): word for word in re.split(r"[\s,;]+", text) if word}
    if len(wanted) > MOST:
        raise forms.ValidationError(
            f"{len(wanted):,} serials are too many for one go: {MOST:,} at most. Make a group."
        )
    rows = (
        permissions.visible(by)
        .filter(
            Q(serial__in={*wanted, *wanted.values()}) | Q(udid__in={*wanted, *wanted.values()})
        )
        .exclude(enrollment_state=Enrollment.RETIRED)
        .values_list("pk", "serial", "udid")
    )
    ids, known = set(), set()
    for pk, serial, udid in rows:
        ids.add(pk)
        known |= {serial.upper(), udid.upper()}
    if missing := [word for key, word in wanted.items() if key not in known]:
        more = f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
        raise forms.ValidationError(
            f"Not among the devices that you may act on: {', '.join(missing[:NAMED])}{more}."
        )
    return ids


class Targets(forms.Form):
    """Groups by their name, devices by their serial."""

    groups = forms.ModelMultipleChoiceField(
        DeviceGroup.objects.none(), required=False, widget=forms.CheckboxSelectMultiple
    )
    excluded = forms.ModelMultipleChoiceField(
        DeviceGroup.objects.none(), required=False, widget=forms.CheckboxSelectMultiple
    )
    serials = forms.CharField(
        label="Single devices",
        required=False,
        widget=forms.Textarea(
            attrs={"rows": 3, "class": "desk-input mono", "spellcheck": "false"}
        ),
        help_text="Serials or UDIDs, one a line or with commas between them.",
    )

    def __init__(
        self,
        *args: Any,
        by: User,
        offered: QuerySet[DeviceGroup] | None = None,
        may_be_nobody: bool = False,
        leaves_out: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.by = by
        self.may_be_nobody = may_be_nobody
        self.pasted: set[int] = set()
        chosen = self.fields["groups"]
        assert isinstance(chosen, forms.ModelMultipleChoiceField)
        chosen.queryset = groups_of(by) if offered is None else offered
        if leaves_out:
            others = self.fields["excluded"]
            assert isinstance(others, forms.ModelMultipleChoiceField)
            others.queryset = groups_of(by)
        else:
            del self.fields["excluded"]

    def clean_serials(self) -> str:
        text = str(self.cleaned_data["serials"])
        self.pasted = read_serials(text, by=self.by)
        return text

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        given, left_out = (set(data.get(name) or ()) for name in ("groups", "excluded"))
        if both := ", ".join(sorted(map(str, given & left_out))):
            raise forms.ValidationError(
                f"{both}: a group cannot be given it and be left out of it. Untick it in one place."
            )
        if self.errors or self.may_be_nobody:
            return data
        if not data.get("groups") and not self.pasted:
            raise forms.ValidationError("Choose a group, or paste the serial of a device.")
        return data

    @property
    def chosen(self) -> list[DeviceGroup]:
        return list(self.cleaned_data["groups"])

    @property
    def group_ids(self) -> set[int]:
        return {group.pk for group in self.chosen}

    @property
    def left_out(self) -> list[DeviceGroup]:
        """The groups whose members get nothing by a group."""
        return list(self.cleaned_data.get("excluded") or ())

    @property
    def excluded_ids(self) -> set[int]:
        return {group.pk for group in self.left_out}

    def device_ids(self) -> set[int]:
        """All of them: who is in a group and not left out, and who was pasted. None is retired."""
        reached = planning.reached((), self.group_ids, self.excluded_ids)
        members = Device.objects.filter(pk__in=reached).exclude(
            enrollment_state=Enrollment.RETIRED
        )
        return set(members.values_list("pk", flat=True)) | self.pasted

    @cached_property
    def offers(self) -> list[dict[str, Any]]:
        """The groups to choose from, each with its number of devices."""
        return self._offers("groups")

    @cached_property
    def exceptions(self) -> list[dict[str, Any]]:
        """The groups that can be left out; none where that makes no sense."""
        return self._offers("excluded") if "excluded" in self.fields else []

    @property
    def leaves_somebody_out(self) -> bool:
        return any(one["is_chosen"] for one in self.exceptions)

    def _offers(self, name: str) -> list[dict[str, Any]]:
        field = self.fields[name]
        assert isinstance(field, forms.ModelMultipleChoiceField)
        assert field.queryset is not None
        ticked = {str(getattr(one, "pk", one)) for one in self[name].value() or ()}
        in_service = ~Q(devices__enrollment_state=Enrollment.RETIRED)
        return [
            {"group": group, "devices": group.members, "is_chosen": str(group.pk) in ticked}
            for group in field.queryset.annotate(
                members=Count("devices", filter=in_service, distinct=True)
            )
        ]


@dataclass(frozen=True, slots=True)
class Counted:
    """What a person is about to confirm: the deed, the devices it meets, and the numbers that were read."""

    deed: str
    device_ids: frozenset[int]
    numbers: tuple[int, ...] = ()

    def signed(self, *, by: User) -> str:
        return signing.dumps(self._facts(by), salt=SALT)

    def is_confirmed(self, text: str, *, by: User) -> bool:
        """Whether `text` is what `signed` gave for exactly this, lately."""
        try:
            facts = signing.loads(text, salt=SALT, max_age=COUNT_LASTS)
        except signing.BadSignature:
            return False
        return bool(facts == self._facts(by))

    def _facts(self, by: User) -> dict[str, Any]:
        return {
            "by": by.pk,
            "deed": self.deed,
            "devices": digest(self.device_ids),
            "numbers": list(self.numbers),
        }


def digest(ids: Iterable[int]) -> str:
    return sha256(",".join(str(pk) for pk in sorted(ids)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Kinds:
    """What kinds of devices are among those chosen, in numbers."""

    targets: strictness.Targets
    unreachable: int
    not_enrolled: int

    @property
    def unmeasured(self) -> int:
        return self.targets.macs + self.targets.apple_tvs + self.targets.shared_ipads


def kinds(devices: QuerySet[Device], *, policy_id: int | None = None) -> Kinds:
    now = timezone.now()
    return Kinds(
        targets=targets.of(devices, policy_id=policy_id),
        unreachable=standing.only(devices, "unreachable", now=now).distinct().count(),
        not_enrolled=devices.exclude(enrollment_state=Enrollment.ENROLLED).distinct().count(),
    )
