"""Which lists can be taken away as a file, and what stands in each file.

Every column is named here: what is not named is in no file, and no secret is named.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db import models
from django.db.models import Count, Q, QuerySet

from devices.models import (
    Device,
    DeviceGroup,
    DeviceUser,
    EnrollmentLink,
    NetworkUser,
    Notice,
    PushCertificate,
)
from mdm.desk.export import AT_ONCE, Row
from passcodes import acts, standing
from passcodes.admin.payloads import payload_words
from passcodes.admin.wording import ON_IT
from passcodes.models import (
    Act,
    ClearList,
    ClearRequest,
    Policy,
    PolicyVersion,
    Rollout,
    WithheldConfiguration,
)
from passcodes.rules import acts as rules_of_acts
from passcodes.rules import clearing
from passcodes.rules.enforcement import State
from passcodes.rules.requirements import from_json, in_words
from staff.models import User

Value = Callable[[Any], Any]
NOT_SHOWN = (  # of a device: read for a hundred thousand, they would cost a tenth of the time
    *("authenticated_at", "left_at", "returned_at", "token_since", "wake_due_at", "pushed_at"),
    *("push_magic", "identity", "enrollment", "lost_note", "locked_at", "build", "pins"),
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A list as a file. A column is a path of attributes, or what is made of the row."""

    file: str
    columns: Mapping[str, str | Value]
    from_page: Callable[[QuerySet[Any]], QuerySet[Any]] = lambda found: found
    beside: Callable[[list[Any]], object] = len  # puts beside a thousand rows what they need

    def rows(self, found: QuerySet[Any]) -> Iterator[Row]:
        """Each row's cells; a thousand are in memory at a time, however long the list is."""
        values = [_value(column) for column in self.columns.values()]
        every = found.iterator(chunk_size=AT_ONCE)
        while some := list(islice(every, AT_ONCE)):
            self.beside(some)
            for row in some:
                yield [value(row) for value in values]


def _value(column: str | Value) -> Value:
    if not isinstance(column, str):
        return column
    steps = column.split(".")

    def follow(row: Any) -> Any:
        for step in steps:
            row = getattr(row, step, None)
        return row() if callable(row) else row

    return follow


def _stand(devices: list[Device]) -> None:
    """Put beside each device where it stands, and its groups; four queries for all of them."""
    standings = standing.of(devices)
    groups = defaultdict(list)
    members = Device.groups.through.objects.filter(device__in=[device.pk for device in devices])
    for key, name in members.order_by("devicegroup__name").values_list(
        "device", "devicegroup__name"
    ):
        groups[key].append(name)
    for device in devices:
        device.__dict__ |= {"standing": standings[device.pk], "group_names": groups[device.pk]}


def _names(rows: str) -> Value:
    """The names of what belongs to a row, fetched before."""
    return lambda row: [str(one) for one in getattr(row, rows).all()]


def _words(version: PolicyVersion) -> list[str]:
    return in_words(from_json(version.requirements))


def _versions(policies: QuerySet[Policy]) -> QuerySet[PolicyVersion]:
    """Each version of the policies that the page has found, drafts included."""

    def count(**of: Any) -> Count:
        return Count("enforcements", filter=Q(**of))

    return (
        PolicyVersion.objects.filter(policy__in=policies.order_by().values("pk"))
        .select_related("policy", "made_by", "published_by")
        .annotate(
            on_devices=count(enforcements__state__in=ON_IT),
            on_the_way=count(enforcements__state=State.PUSHED.value),
            refused=count(enforcements__state=State.REFUSED.value),
        )
        .order_by("policy__name", "-number")
    )


def _scope(person: User) -> str:
    scope = getattr(person, "scope", None)
    if person.is_superuser or (scope and scope.everything):
        return "all devices"
    return ", ".join(str(group) for group in scope.groups.all()) if scope else ""


LISTS: dict[type[models.Model], Listed] = {
    Device: Listed(
        "devices",
        {
            "name": "name",
            "serial": "serial",
            "UDID": "udid",
            "asset tag": "asset_tag",
            "user": "user_name",
            "belongs to": "assigned_to",
            "groups": "group_names",
            "platform": "get_platform_display",
            "model": "model_name",
            "system": "os_version",
            "enrollment": "get_enrollment_state_display",
            "enrolled": "enrolled_at",
            "identity ends": "identity_until",
            "last contact": "last_seen_at",
            "passcode": "standing.look.text",
            "policy": "standing.enforcement.version",
            "the hour ends": "standing.enforcement.deadline",
            "overdue since": "standing.enforcement.overdue_since",
            "withheld": "standing.withheld",
            "unreachable": "standing.is_unreachable",
            "inactive since": "inactive_since",
            "lost since": "lost_at",
        },
        lambda found: found.select_related("assigned_to").defer(*NOT_SHOWN),
        _stand,
    ),
    DeviceUser: Listed(
        "device-users",
        {
            "short name": "short_name",
            "long name": "long_name",
            "device": "device",
            "serial": "device.serial",
            "managed now": "is_active",
            "last contact": "last_seen_at",
            "withheld": "now_held",
            "delivered": "now_delivered",
        },
    ),
    DeviceGroup: Listed(
        "groups",
        {
            "group": "name",
            "description": "description",
            "devices": "members",
            "policies": lambda group: [str(one.version) for one in group.assignments.all()],
            "configurations": lambda group: [
                str(one) for one in group.configurations.all() if one.retired_at is None
            ],
        },
    ),
    EnrollmentLink: Listed(
        "enrollment-links",
        {
            "for": "note",
            "kind": "get_platform_display",
            "identity": "get_identity_kind_display",
            "group": "group",
            "belongs to": "assigned_to",
            "made": "made_at",
            "by": "made_by",
            "ends": "expires_at",
            "used": "used_at",
            "device": "device",
            "serial": "device.serial",
        },
    ),
    Notice: Listed(
        "notices",
        {
            "what": "title",
            "channel": "get_channel_display",
            "to": lambda notice: notice.place or notice.person,
            "state": "get_state_display",
            "tries": "attempts",
            "laid down": "made_at",
            "sent": "sent_at",
            "why it has not arrived": "trouble",
        },
    ),
    NetworkUser: Listed(
        "network-users",
        {"short name": "short_name", "realm": "realm", "password kept": "kept_at"},
        lambda found: found.defer("box"),
    ),
    PushCertificate: Listed(
        "push-certificates",
        {
            "topic": "topic",
            "in use": "is_current",
            "ends": "not_after",
            "loaded": "added_at",
            "stands still because": "alarm",
        },
    ),
    ClearRequest: Listed(
        "clear-requests",
        {
            "number": "pk",
            "device": "device",
            "serial": "device.serial",
            "user": "device.user_name",
            "where it stands": lambda one: clearing.IN_WORDS[clearing.State(one.state)],
            "reason": "reason_in_words",
            "in their words": "words",
            "in hand": "possession.get_how_display",
            "asked by": "requested_by",
            "asked": "requested_at",
            "signed by": lambda one: [str(signed.by) for signed in one.approvals.all()],
            "several at once": "list_id",
            "cleared": "cleared_at",
            "protected again": "protected_at",
            "ended": "ended_at",
            "because": "ended_because",
        },
        lambda found: found.select_related(
            "device", "requested_by", "possession"
        ).prefetch_related("approvals__by"),
    ),
    ClearList: Listed(
        "clears-of-several",
        {
            "number": "pk",
            "asked": "made_at",
            "by": "made_by",
            "devices": "devices",
            "left out": lambda one: len(one.left_out),
            "stopped": "stopped_at",
            "stopped by": "stopped_by",
        },
        lambda found: found.select_related("made_by", "stopped_by"),
    ),
    Act: Listed(
        "other-sign-offs",
        {
            "number": "pk",
            "what": acts.title,
            "where it stands": lambda act: rules_of_acts.IN_WORDS[rules_of_acts.State(act.state)],
            "in their words": "words",
            "asked by": "asked_by",
            "asked": "asked_at",
            "ends": "expires_at",
            "ended": "ended_at",
            "because": "ended_because",
        },
        lambda found: found.select_related("asked_by", "device", "of__device"),
    ),
    Policy: Listed(
        "policy-versions",
        {
            "policy": "policy.name",
            "version": "number",
            "what it demands": _words,
            "what changes, and why": "note",
            "written": "made_at",
            "by": "made_by",
            "published": "published_at",
            "published by": "published_by",
            "on devices": "on_devices",
            "on the way": "on_the_way",
            "refused": "refused",
        },
        _versions,
    ),
    Rollout: Listed(
        "rollouts",
        {
            "version": "version",
            "pushed": "started_at",
            "by": "started_by",
            "groups": _names("groups"),
            "devices": "devices",
            "stricter for": "stricter",
            "compliant": "now_compliant",
            "in grace": "now_grace",
            "overdue": "now_overdue",
            "not come yet": "now_pushed",
            "refused": "now_refused",
            "stopped": "stopped_at",
            "stopped by": "stopped_by",
            "waves": "wave_plan.get_state_display",
        },
        lambda found: found.select_related("stopped_by").prefetch_related("groups"),
    ),
    WithheldConfiguration: Listed(
        "configurations",
        {
            "name": "name",
            "identifier": "profile.identifier",
            "brings": lambda one: payload_words(one.payload_types),
            "for users": "for_users",
            "groups": _names("groups"),
            "withheld": "now_withheld",
            "on its way": "now_queued",
            "delivered": "now_delivered",
            "refused": "now_failed",
            "uploaded": "uploaded_at",
            "by": "uploaded_by",
            "retired": "retired_at",
        },
        lambda found: found.prefetch_related("groups"),
    ),
    User: Listed(
        "people",
        {
            "user name": "username",
            "email": "email",
            "roles": lambda person: [group.name for group in person.groups.all()],
            "acts on": _scope,
            "may sign in": "is_active",
            "joined": "date_joined",
            "last here": "last_login",
        },
    ),
}
