"""Which devices fit the rules of groups, asked of the database: for all devices at once, or for one.

There is one reading of a rule, in SQL, so that a preview, a device that reports and the clock cannot differ.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    BooleanField,
    Case,
    Exists,
    F,
    Func,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.lookups import Exact, GreaterThanOrEqual, LessThan

from devices.models import Device, DeviceGroup, GroupRule
from devices.models.device import Enrollment
from devices.rules import grouping as rules
from devices.rules.channels import Platform
from devices.rules.grouping import Condition, Fact, How

MEMBERS = DeviceGroup.devices.through
NUMBERS = ArrayField(IntegerField())
COLUMNS: dict[Fact, tuple[str, ...]] = {
    Fact.USER: ("user_name",),
    Fact.TAG: ("asset_tag",),
    Fact.MODEL: ("model_name", "product_name"),
}
LOOKUPS = {How.IS: "iexact", How.BEGINS: "istartswith", How.CONTAINS: "icontains"}
VERSIONS = {How.IS: Exact, How.AT_LEAST: GreaterThanOrEqual, How.BELOW: LessThan}


class Parts(Func):
    """The first numbers of a version, with 0 for those that are not there. It never fails."""

    # Nine digits fit an integer, whatever a device calls its version.
    part = (
        "COALESCE((string_to_array(substring(%(expressions)s from"
        " '^[0-9]{1,9}(?:[.][0-9]{1,9})*'), '.'))[NUMBER]::int, 0)"
    )
    output_field = NUMBERS

    def __init__(self, column: str, *, number: int) -> None:
        super().__init__(F(column))
        listed = (self.part.replace("NUMBER", str(at)) for at in range(1, number + 1))
        self.template = f"ARRAY[{', '.join(listed)}]"


def fitting(conditions: Sequence[Condition]) -> QuerySet[Device]:
    """The devices in service for which all of these hold."""
    return Device.objects.filter(_all(conditions)).exclude(enrollment_state=Enrollment.RETIRED)


def joining(group_id: int, conditions: Sequence[Condition]) -> QuerySet[Device]:
    """Those that fit and are not in the group."""
    return fitting(conditions).exclude(_is_member(group_id))


def leaving(group_id: int, conditions: Sequence[Condition]) -> QuerySet[Device]:
    """Those that are in the group and do not fit."""
    fits = fitting(conditions).filter(pk=OuterRef("pk"))
    return Device.objects.filter(_is_member(group_id)).exclude(Exists(fits))


def moves(device: Device) -> tuple[set[int], set[int]]:
    """The groups by rule that the device fits and is not in, and those that it is in and does not fit."""
    known = {rule.group_id: read for rule in GroupRule.objects.all() if (read := _read(rule))}
    if not known:
        return set(), set()
    fits = {
        f"fits_{group_id}": Case(
            When(_all(conditions), then=Value(value=True)),
            default=Value(value=False),
            output_field=BooleanField(),
        )
        for group_id, conditions in known.items()
    }
    in_service = Device.objects.filter(pk=device.pk).exclude(enrollment_state=Enrollment.RETIRED)
    row: Any = in_service.values(**fits).first() or {}
    fitted = {group_id for group_id in known if row.get(f"fits_{group_id}")}
    member = set(
        MEMBERS.objects.filter(device=device, devicegroup__in=known).values_list(
            "devicegroup_id", flat=True
        )
    )
    return fitted - member, member - fitted


def by_hand(group_ids: Iterable[int]) -> set[int]:
    """Of these groups, those that people put devices into."""
    found = DeviceGroup.objects.filter(pk__in=list(group_ids), rule=None)
    return set(found.values_list("pk", flat=True))


def members(group_ids: Collection[int]) -> QuerySet[Any]:
    return MEMBERS.objects.filter(devicegroup_id__in=group_ids)


def _is_member(group_id: int) -> Exists:
    return Exists(MEMBERS.objects.filter(devicegroup=group_id, device=OuterRef("pk")))


def _read(rule: GroupRule) -> tuple[Condition, ...] | None:
    """None where the row makes no rule: then it moves nobody, and no device is kept waiting by it."""
    try:
        return rules.from_json(rule.conditions)
    except rules.Refused:
        return None


def _all(conditions: Sequence[Condition]) -> Q:
    together = Q()
    for condition in conditions:
        together &= _holds(condition)
    return together


def _holds(one: Condition) -> Q:
    match one.fact:
        case Fact.PLATFORM:
            phones = [Platform.IOS.value, Platform.IPADOS.value]
            kinds = phones if one.value == rules.PHONES else [one.value]
            is_it = Q(platform__in=kinds)
            if one.test is How.IS:
                return is_it
            return ~is_it & ~Q(platform=Platform.UNKNOWN.value)
        case Fact.VERSION:
            wanted = list(rules.parts(one.value))
            compared = VERSIONS[one.test](
                Parts("os_version", number=len(wanted)), Value(wanted, NUMBERS)
            )
            return Q(os_version__regex=r"^[0-9]") & Q(compared)
        case Fact.SUPERVISED:
            return Q(is_supervised=one.value == rules.YES)
        case Fact.ENROLLMENT:
            return Q(is_user_enrollment=one.value == rules.OWN)
        case _:
            either = Q()
            for column in COLUMNS[one.fact]:
                either |= Q(**{f"{column}__{LOOKUPS[one.test]}": one.value})
            return either
