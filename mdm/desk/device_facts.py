"""What the device's page says, in the order in which it is asked."""

from typing import Any

from django.urls import reverse
from django.utils import timezone

from devices.models import Device
from mdm.desk import custody as custody_page
from mdm.desk import history, told
from mdm.desk import users as users_card
from passcodes import acts, clearing, reachability, standing, wanted, ways
from passcodes.models import ClearRequest, Evidence, PolicyVersion, Release
from passcodes.models.gate import ReleaseState
from passcodes.rules.acts import Kind
from passcodes.rules.acts import State as ActState
from passcodes.rules.clearing import UNDER_WAY
from passcodes.rules.clearing import State as Clear
from passcodes.rules.enforcement import State, user_sees
from passcodes.rules.requirements import from_json, in_words
from passcodes.rules.standing import LOOKS
from staff.models import User

HISTORY_SHOWN = 30


def of(device: Device, user: User) -> dict[str, Any]:
    stands = standing.one(device)
    newest = Evidence.objects.filter(device=device, enrollment=device.enrollment).first()
    current = stands.enforcement
    by_way = ways.of_device(device)
    words = []
    if current is not None:
        words = in_words(from_json(PolicyVersion.objects.get(pk=current.version_id).requirements))
    releases = list(
        Release.objects.filter(device=device)
        .exclude(state=ReleaseState.ENDED)
        .select_related("configuration", "user")
    )
    request = (
        ClearRequest.objects.filter(device=device)
        .exclude(state__in=[Clear.DENIED.value, Clear.CANCELLED.value])
        .select_related("requested_by")
        .first()
    )
    live_request = request if request and not _is_over(request) else None
    open_acts = acts.visible(user).open().filter(device=device, kind=Kind.FOUND)
    finding = open_acts.exclude(state=ActState.DRAFT.value).first()
    return {
        "standing": stands,
        "in_force": [(one, by_way.get(one.pk)) for one in stands.enforcements],
        "looks": LOOKS,
        "evidence": newest,
        "policy_words": words,
        "user_sees": _user_sees(stands),
        "releases": releases,
        "held": (held := [one for one in releases if one.state == ReleaseState.WITHHELD]),
        "held_for_a_while": any(one.configuration.installed_policy_is_enough for one in held),
        "clear": live_request,
        "finding": finding,
        "approval": live_request.approvals.select_related("by").first() if live_request else None,
        "obstacles": clearing.obstacles(device, by=user),
        **custody_page.facts(device, user),
        "hints": reachability.why(device),
        "open_commands": list(
            device.commands.open().filter(user=None).select_related("profile")[:HISTORY_SHOWN]
        ),
        "failed_commands": list(
            device.commands.filter(user=None, state="failed").order_by("-answered_at")[:5]
        ),
        "groups": list(device.groups.select_related("rule")),
        "not_given": wanted.not_given(device),
        **users_card.facts(device, user),
        **told.facts(device),
        "history": history.of(device, limit=HISTORY_SHOWN),
        "may": {
            "ask": user.has_perm("devices.ask_device") and device.is_enrolled,
            "lose": user.has_perm("devices.mark_lost") and not device.is_lost,
            "find": user.has_perm("devices.mark_found") and device.is_lost and not finding,
            "clear": user.has_perm("passcodes.request_clear") and live_request is None,
            "leave": user.has_perm("devices.unenroll_device") and device.is_enrolled,
            "retire": user.has_perm("devices.unenroll_device")
            and device.enrollment_state != "retired",
            "assign": user.has_perm("devices.assign_device"),
            "command": user.has_perm("devices.custom_command") and device.is_enrolled,
        },
        "clear_address": f"{reverse('admin:passcodes_clearrequest_add')}?device={device.pk}",
    }


def _user_sees(stands: standing.Standing) -> str:
    """What the device shows its user meanwhile; overdue counts from the deadline itself."""
    if stands.enforcement is None:
        return ""
    state, deadline = State(stands.enforcement.state), stands.enforcement.deadline
    return user_sees(state, deadline - timezone.now() if deadline else None)


def _is_over(request: ClearRequest) -> bool:
    return Clear(request.state) not in UNDER_WAY
