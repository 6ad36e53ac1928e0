"""Hold withheld configuration back until a device proves that it complies; take back what says so.

Whatever may change the answer calls `review`. What has been queued is asked for once more when the
device comes for it (`may_deliver`), since hours may lie between the two.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from devices import audit, queue
from devices.models import Command, Device, Told
from devices.models.told import Subject
from devices.rules.channels import Platform
from devices.rules.commands import OPEN, State
from passcodes import wanted
from passcodes.models import (
    ClearRequest,
    Enforcement,
    Evidence,
    Release,
    WithheldConfiguration,
)
from passcodes.models.gate import ReleaseState
from passcodes.rules import clearing, enforcement
from passcodes.rules import gate as rules
from passcodes.rules.compliance import PasscodeFacts
from passcodes.rules.gate import Answer, GateFacts

NOT_INSTALLED = 12075  # MDMErrorDomain: there is no such profile to remove
BATCH = 500
WORST_FIRST = (
    enforcement.State.REFUSED,
    enforcement.State.PUSHED,
    enforcement.State.OVERDUE,
    enforcement.State.GRACE,
    enforcement.State.CHECKING,
    enforcement.State.COMPLIANT,
    enforcement.State.NOT_MEASURABLE,
)


def is_measurable(device: Device) -> bool:
    """Whether the device can say anything of its passcode: Macs, Apple TVs, Shared iPads cannot."""
    return not device.is_shared_ipad and device.platform not in {Platform.MACOS, Platform.TVOS}


def answer(device: Device, configuration: WithheldConfiguration | None = None) -> Answer:
    """Whether withheld configuration may go to the device now, and everything it waits for."""
    facts = _facts([device])[device.pk]
    return _ask(facts, configuration, timezone.now())


def review(device: Device) -> None:
    """Let go what may go to the device, hold what may not, take back what must."""
    review_all([device])


@transaction.atomic
def review_all(devices: Iterable[Device]) -> None:
    """The same for many devices at once; a device that nothing is meant for costs nothing."""
    device_ids = {device.pk for device in devices}
    meant = wanted.configurations(device_ids)
    under_way = Release.objects.exclude(state=ReleaseState.ENDED).filter(device__in=device_ids)
    concerned = set(meant) | set(under_way.values_list("device_id", flat=True).distinct())
    if concerned:
        _Review(Device.objects.locked_in_order(concerned), meant).go()


@transaction.atomic
def may_deliver(command: Command) -> str | None:
    """Why the device must not be given this now, and the release is held again; None: give it.

    The caller holds the device's row, and ends the command where there is a reason.
    """
    if command.request_type != "InstallProfile":
        return None
    if not WithheldConfiguration.objects.filter(profile=command.profile).exists():
        return None
    release = (
        Release.objects.filter(command=command, state=ReleaseState.QUEUED)
        .select_related("configuration", "device")
        .first()
    )
    if release is None:
        return "Nothing says any more that this configuration is meant for the device."
    device = Device.objects.get(pk=release.device_id)
    said = answer(device, release.configuration)
    if said.open:
        return None
    release.state = ReleaseState.WITHHELD
    release.command = None
    release.reasons = list(said.reasons)
    release.save(update_fields=["state", "command", "reasons", "since"])
    _trace("gate.held", release, reasons=release.reasons)
    return " ".join(said.reasons)


@transaction.atomic
def delivered(command: Command) -> None:
    """The device has installed the configuration."""
    release = _on_its_way(command, ReleaseState.QUEUED)
    if release is None:
        return
    release.state = ReleaseState.DELIVERED
    release.delivered_at = command.answered_at or timezone.now()
    release.withdrawn_at = None
    release.reasons = []
    release.save(
        update_fields=["state", "delivered_at", "withdrawn_at", "reasons", "since"],
    )
    _trace("gate.delivered", release)


@transaction.atomic
def removed(command: Command) -> None:
    """The device answered that it gives the configuration up, or that it has none.

    It may come back when the gate opens again.
    """
    if command.state == State.FAILED and not _had_none(command):
        failed(command)
        return
    release = _on_its_way(command, ReleaseState.WITHDRAWING)
    if release is None:
        return
    release.state = ReleaseState.WITHHELD
    release.command = None
    release.withdrawn_at = command.answered_at or timezone.now()
    release.save(update_fields=["state", "command", "withdrawn_at", "since"])
    _trace("gate.withdrawn", release)
    review(release.device)


@transaction.atomic
def failed(command: Command) -> None:
    """The device refused to install the configuration, or to give it up."""
    release = _on_its_way(command, ReleaseState.QUEUED, ReleaseState.WITHDRAWING)
    if release is None:
        return
    what = "install" if release.state == ReleaseState.QUEUED else "give up"
    release.state = ReleaseState.FAILED
    release.command = None
    release.reasons = [f"The device refused to {what} it: {why_refused(command)}"]
    release.save(update_fields=["state", "command", "reasons", "since"])
    _trace("gate.failed", release, reasons=release.reasons)


@transaction.atomic
def missing(device: Device, there: Collection[str], *, asked_at: datetime) -> None:
    """What was delivered and is no longer on the device counts as withheld; review lets it go again.

    The caller holds the device's row.
    """
    gone = (
        Release.objects.filter(
            device=device, state=ReleaseState.DELIVERED, delivered_at__lte=asked_at
        )
        .exclude(configuration__profile__identifier__in=there)
        .select_related("configuration", "device")
    )
    for release in gone:
        release.state = ReleaseState.WITHHELD
        release.delivered_at = None
        release.reasons = []
        release.since = timezone.now()
        release.save(update_fields=["state", "delivered_at", "reasons", "since"])
        _trace("gate.missing", release)


def _had_none(command: Command) -> bool:
    return any(error.get("ErrorCode") == NOT_INSTALLED for error in command.errors)


def why_refused(command: Command) -> str:
    """The device's own words for its refusal, or what we know of it."""
    for error in command.errors:
        words = error.get("LocalizedDescription") or error.get("USEnglishDescription")
        if words:
            return f"{words} ({error.get('ErrorDomain')} {error.get('ErrorCode')})"
    return command.ended_because or "it gave no reason."


def _on_its_way(command: Command, *states: ReleaseState) -> Release | None:
    """The release that the answered command belongs to, unless it has moved on."""
    Device.objects.locked(command.device_id)
    return (
        Release.objects.filter(command=command, state__in=states)
        .select_related("configuration", "device")
        .first()
    )


def _trace(verb: str, release: Release, **facts: Any) -> None:
    audit.record(
        verb,
        device=release.device,
        configuration=release.configuration_id,
        name=release.configuration.name,
        **facts,
    )


def _ask(facts: GateFacts, configuration: WithheldConfiguration | None, now: datetime) -> Answer:
    if configuration and configuration.installed_policy_is_enough:
        facts = replace(facts, installed_policy_is_enough=True)
    return rules.ask(facts, now=now)


@dataclass(slots=True)
class _Review:
    """One review of some devices, whose rows are held: decide for each release, then write in bulk."""

    devices: list[Device]
    meant: dict[int, dict[int, WithheldConfiguration]]
    now: datetime = field(default_factory=timezone.now)
    install: dict[int, list[Release]] = field(default_factory=lambda: defaultdict(list))
    remove: dict[int, list[Release]] = field(default_factory=lambda: defaultdict(list))
    cancel: list[Command] = field(default_factory=list)
    changed: dict[int, Release] = field(default_factory=dict)
    new: list[Release] = field(default_factory=list)
    traces: dict[tuple[str, int], list[int]] = field(default_factory=lambda: defaultdict(list))

    def go(self) -> None:
        facts = _facts(self.devices)
        releases: dict[int, dict[int, Release]] = defaultdict(dict)
        found = (
            Release.objects.exclude(state=ReleaseState.ENDED)
            .filter(device__in=self.devices)
            .select_related("command")
        )
        configurations = WithheldConfiguration.objects.select_related("profile").in_bulk(
            {release.configuration_id for release in found}
        )
        for release in found:
            release.configuration = configurations[release.configuration_id]  # loaded once
            releases[release.device_id][release.configuration_id] = release
        self.new = self._missing(releases)
        for device in self.devices:
            for release in releases[device.pk].values():
                release.device = device
                self._decide(release, _ask(facts[device.pk], release.configuration, self.now))
        self._write()

    def _missing(self, releases: dict[int, dict[int, Release]]) -> list[Release]:
        """A way for each configuration that is meant for a device and has none yet."""
        new = []
        for device in self.devices:
            for configuration in self.meant.get(device.pk, {}).values():
                if configuration.pk not in releases[device.pk]:
                    release = Release(configuration=configuration, device=device)
                    releases[device.pk][configuration.pk] = release
                    new.append(release)
        return new

    def _decide(self, release: Release, said: Answer) -> None:
        if not release.device.is_enrolled:
            self._left(release, said)
            return
        is_wanted = release.configuration_id in self.meant.get(release.device_id, {})
        command = release.command
        if command is None or command.state not in OPEN:
            self._forget_command(release)
        match ReleaseState(release.state):
            case ReleaseState.WITHHELD:
                self._held(release, said, is_wanted=is_wanted)
            case ReleaseState.QUEUED:
                self._queued(release, said, is_wanted=is_wanted)
            case ReleaseState.DELIVERED:
                self._had(release, said, is_wanted=is_wanted)
            case ReleaseState.WITHDRAWING:
                if is_wanted and said.open and command and not command.times_sent:
                    self.cancel.append(command)
                    self._to(release, ReleaseState.DELIVERED)
            case ReleaseState.FAILED:
                self._refused(release, said, is_wanted=is_wanted)
            case ReleaseState.ENDED:
                pass

    def _forget_command(self, release: Release) -> None:
        """A release whose command was cancelled stands where it stood before."""
        before = {
            ReleaseState.QUEUED.value: ReleaseState.WITHHELD,
            ReleaseState.WITHDRAWING.value: ReleaseState.DELIVERED,
        }
        if state := before.get(release.state):
            release.state = state
            release.command = None
            self._note(release)

    def _left(self, release: Release, said: Answer) -> None:
        """What was on the device went with our management profile."""
        if release.command and release.command.state in OPEN:
            self.cancel.append(release.command)
        if release.configuration_id in self.meant.get(release.device_id, {}):
            release.delivered_at = release.withdrawn_at = None
            self._to(release, ReleaseState.WITHHELD, said.reasons)
        else:
            self._to(release, ReleaseState.ENDED)

    def _held(self, release: Release, said: Answer, *, is_wanted: bool) -> None:
        if not is_wanted:
            self._to(release, ReleaseState.ENDED)
        elif not said.open:
            self._to(release, ReleaseState.WITHHELD, said.reasons)
        elif reason := queue.refusal(release.device, "InstallProfile"):
            self._to(release, ReleaseState.WITHHELD, (reason,))
        else:
            self.install[release.configuration_id].append(release)
            self._to(release, ReleaseState.QUEUED)

    def _queued(self, release: Release, said: Answer, *, is_wanted: bool) -> None:
        if is_wanted and said.open:
            return
        assert release.command is not None
        self.cancel.append(release.command)
        was_sent = release.command.times_sent > 0  # so it may be installed by now
        must_go = not is_wanted or (
            said.regressed and release.configuration.withdraw_on_regression
        )
        if was_sent and must_go:
            self._take_back(release, said)
        elif is_wanted:
            self._to(release, ReleaseState.WITHHELD, said.reasons)
        else:
            self._to(release, ReleaseState.ENDED)

    def _had(self, release: Release, said: Answer, *, is_wanted: bool) -> None:
        if not is_wanted or (said.regressed and release.configuration.withdraw_on_regression):
            self._take_back(release, said)
        else:
            self._to(release, ReleaseState.DELIVERED)

    def _refused(self, release: Release, said: Answer, *, is_wanted: bool) -> None:
        """Offer it again only when the gate has been shut in between, so that nothing circles."""
        if release.delivered_at and not release.withdrawn_at:  # it would not give it up
            if is_wanted and said.open:
                self._to(release, ReleaseState.DELIVERED)
        elif not is_wanted:
            self._to(release, ReleaseState.ENDED)
        elif not said.open:
            self._to(release, ReleaseState.WITHHELD, said.reasons)

    def _take_back(self, release: Release, said: Answer) -> None:
        self.remove[release.configuration_id].append(release)
        self._to(release, ReleaseState.WITHDRAWING, said.reasons)

    def _to(self, release: Release, state: ReleaseState, reasons: Iterable[str] = ()) -> None:
        reasons = list(reasons)
        if release.state != state:
            if verb := TRACES.get(state):
                self.traces[verb, release.configuration_id].append(release.device_id)
        elif release.reasons == reasons:
            return
        if state in {ReleaseState.WITHHELD, ReleaseState.ENDED, ReleaseState.DELIVERED}:
            release.command = None
        release.state = state
        release.reasons = reasons
        release.since = self.now
        self._note(release)

    def _note(self, release: Release) -> None:
        if release.pk:  # a new one is written as it stands in the end
            self.changed[release.pk] = release

    def _write(self) -> None:
        queue.cancel(self.cancel, because="The gate for withheld configuration was reviewed.")
        for releases in self.install.values():
            profile = releases[0].configuration.profile
            _give(releases, queue.enqueue(_devices(releases), "InstallProfile", profile=profile))
        for releases in self.remove.values():
            identifier = releases[0].configuration.profile.identifier
            _give(
                releases,
                queue.enqueue(
                    _devices(releases), "RemoveProfile", arguments={"Identifier": identifier}
                ),
            )
        Release.objects.bulk_create(self.new, batch_size=BATCH)
        self._write_changed()
        for (verb, configuration_id), device_ids in self.traces.items():
            audit.record_many(verb, device_ids, configuration=configuration_id)

    def _write_changed(self) -> None:
        """What thousands have in common is one statement; only commands are each device's own."""
        alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for release in self.changed.values():
            written = (getattr(release, name) for name in WRITTEN_ALIKE)
            alike[*written, tuple(release.reasons)].append(release.pk)
        for (*values, reasons), keys in alike.items():
            common = dict(zip(WRITTEN_ALIKE, values, strict=True))
            Release.objects.filter(pk__in=keys).update(
                **common, reasons=list(reasons), command=None
            )
        with_command = [release for release in self.changed.values() if release.command_id]
        Release.objects.bulk_update(with_command, ["command"], batch_size=BATCH)


TRACES = {
    ReleaseState.WITHHELD: "gate.held",
    ReleaseState.QUEUED: "gate.released",
    ReleaseState.WITHDRAWING: "gate.withdrawing",
    ReleaseState.ENDED: "gate.ended",
}
WRITTEN_ALIKE = ("state", "since", "delivered_at", "withdrawn_at")


def _devices(releases: list[Release]) -> list[Device]:
    return [release.device for release in releases]


def _give(releases: list[Release], commands: list[Command]) -> None:
    for release, command in zip(releases, commands, strict=True):
        release.command = command


@dataclass(slots=True)
class _Known:
    """What is known of one device before the gate is asked."""

    installed: list[tuple[enforcement.State | None, datetime | None]] = field(default_factory=list)
    evidence: Evidence | None = None
    cleared_at: datetime | None = None
    clear_is_under_way: bool = False
    profiles_asked_at: datetime | None = None


def _facts(devices: list[Device]) -> dict[int, GateFacts]:
    """What the gate looks at, for many devices by a handful of queries."""
    known = {device.pk: _Known() for device in devices}
    _look_at_policies(known)
    newest = (
        Evidence.objects.filter(device__in=known, enrollment=F("device__enrollment"))
        .order_by("device_id", "-heard_at", "-pk")
        .distinct("device_id")
    )
    for evidence in newest:
        known[evidence.device_id].evidence = evidence
    _look_at_clears(known)
    listed = Told.objects.filter(
        device__in=known, enrollment=F("device__enrollment"), subject=Subject.PROFILES
    )
    for device_id, asked_at in listed.values_list("device_id", "asked_at"):
        known[device_id].profiles_asked_at = asked_at
    return {device.pk: _facts_of(device, known[device.pk]) for device in devices}


def _look_at_policies(known: dict[int, _Known]) -> None:
    given = wanted.versions(known)
    live = set()
    rows = (
        Enforcement.objects.live()
        .filter(device__in=known)
        .values_list("device_id", "policy_id", "version__number", "state", "acknowledged_at")
    )
    for device_id, policy_id, number, state, acknowledged_at in rows:
        live.add((device_id, policy_id))
        newest = given.get(device_id, {}).get(policy_id)
        is_outdated = newest is not None and newest.number > number  # the newer one is on its way
        known[device_id].installed.append(
            (None, None) if is_outdated else (enforcement.State(state), acknowledged_at)
        )
    for device_id, policies in given.items():
        for policy_id in policies:
            if (device_id, policy_id) not in live:
                known[device_id].installed.append((None, None))


def _look_at_clears(known: dict[int, _Known]) -> None:
    """A clear that nobody can say worked counts as one from the moment it was given up."""
    gone = [clearing.State.UNCONFIRMED.value, clearing.State.VOID.value]
    rows = ClearRequest.objects.filter(device__in=known).filter(
        Q(state=clearing.State.SENT.value)
        | Q(cleared_at__isnull=False)
        | Q(state__in=gone, sent_at__isnull=False)
    )
    for request in rows:
        device = known[request.device_id]
        if request.state == clearing.State.SENT.value:
            device.clear_is_under_way = True
        elif at := request.cleared_at or request.ended_at:
            device.cleared_at = max(at, device.cleared_at or at)


def _facts_of(device: Device, known: _Known) -> GateFacts:
    evidence = known.evidence
    state, installed_at = _worst(known.installed)
    return GateFacts(
        has_wanted_policy=bool(known.installed),
        wanted_version_installed_at=installed_at,
        enforcement=state,
        facts=PasscodeFacts(
            present=evidence.passcode_present,
            compliant=evidence.compliant,
            compliant_with_profiles=evidence.compliant_with_profiles,
        )
        if evidence
        else None,
        evidence_asked_at=evidence.asked_at if evidence else None,
        evidence_heard_at=evidence.heard_at if evidence else None,
        user_enrollment=device.is_user_enrollment,
        measurable=is_measurable(device),
        enrollment_active=device.is_enrolled,
        is_lost=device.is_lost,
        passcode_cleared_at=known.cleared_at,
        clear_is_under_way=known.clear_is_under_way,
        is_inactive=device.inactive_since is not None,
        returned_at=device.returned_at,
        profiles_asked_at=known.profiles_asked_at,
    )


def _worst(
    installed: list[tuple[enforcement.State | None, datetime | None]],
) -> tuple[enforcement.State | None, datetime | None]:
    """Several policies count as one: none is forgotten, and the last to be installed gives the time."""
    states = [state for state, _ in installed]
    times = [at for _, at in installed]
    if not states or None in states:
        return None, None
    worst = min((state for state in states if state), key=WORST_FIRST.index)
    if None in times:
        return worst, None
    return worst, max(at for at in times if at)
