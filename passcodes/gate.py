"""Hold withheld configuration back until a device proves that it complies; take back what says so.

A configuration goes to the device, or to each of its users on a channel of their own; the gate is
the device's either way. Whatever may change the answer calls `review`. What has been queued is
asked for once more when it is fetched (`may_deliver`), since hours may lie between the two.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from devices import audit, queue
from devices.models import Command, Device, DeviceUser
from devices.rules import payload_channels
from devices.rules.commands import OPEN, State
from passcodes import gate_facts, wanted
from passcodes.models import Release, WithheldConfiguration
from passcodes.models.gate import ReleaseState
from passcodes.rules import gate as rules
from passcodes.rules.gate import Answer, GateFacts

NOT_INSTALLED = 12075  # MDMErrorDomain: there is no such profile to remove
BATCH = 500
NOT_MANAGED = "{} is not managed at this login. It waits for the next one."
Way = tuple[int, int | None]  # a configuration, and the user it goes to; None: the device itself


def is_measurable(device: Device) -> bool:
    """Whether the device can say anything of its passcode."""
    return gate_facts.is_measurable(device)


def answer(device: Device, configuration: WithheldConfiguration | None = None) -> Answer:
    """Whether withheld configuration may go to the device now, and everything it waits for."""
    facts = gate_facts.of([device])[device.pk]
    return _ask(facts, configuration, timezone.now())


def review(device: Device) -> None:
    """Let go what may go to the device, hold what may not, take back what must."""
    review_all([device])


@transaction.atomic
def review_all(devices: Iterable[Device]) -> None:
    """The same for many devices at once; a device that nothing is meant for costs nothing."""
    device_ids = {device.pk for device in devices}
    meant = _meant(device_ids)
    under_way = Release.objects.exclude(state=ReleaseState.ENDED).filter(device__in=device_ids)
    concerned = set(meant) | set(under_way.values_list("device_id", flat=True).distinct())
    if concerned:
        _Review(Device.objects.locked_in_order(concerned), meant).go()


def why_not_to(user: DeviceUser, configuration: WithheldConfiguration) -> str | None:
    """Why the user cannot be given it on their own channel, as things stand; None where they can."""
    return (
        queue.refusal(user.device, "InstallProfile", user=user)
        or payload_channels.refusal(
            configuration.payload_types, shared_ipad=user.device.is_shared_ipad
        )
        or (None if user.is_active else NOT_MANAGED.format(user))
    )


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
        .select_related("configuration", "device", "user")
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
def missing(
    device: Device,
    there: Collection[str],
    *,
    asked_at: datetime,
    user: DeviceUser | None = None,
) -> None:
    """What was delivered and is no longer there counts as withheld; review lets it go again.

    `there` is what one channel lists, so it says nothing of what came by another. The caller holds
    the device's row.
    """
    gone = (
        Release.objects.filter(
            device=device, user=user, state=ReleaseState.DELIVERED, delivered_at__lte=asked_at
        )
        .exclude(configuration__profile__identifier__in=there)
        .select_related("configuration", "device", "user")
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
        .select_related("configuration", "device", "user")
        .first()
    )


def _trace(verb: str, release: Release, **facts: Any) -> None:
    if release.user_id:
        facts["user"] = release.user_id
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


@dataclass(frozen=True, slots=True)
class _Meant:
    """That a device, or one of its users, is to have a configuration."""

    configuration: WithheldConfiguration
    user: DeviceUser | None = None


def _meant(device_ids: Collection[int]) -> dict[int, dict[Way, _Meant]]:
    """By device, every way that a configuration ought to go."""
    meant: dict[int, dict[Way, _Meant]] = {}
    for device_id, configurations in wanted.configurations(device_ids).items():
        meant[device_id] = {(pk, None): _Meant(one) for pk, one in configurations.items()}
    for device_id, theirs in wanted.of_users(device_ids).items():
        ways = meant.setdefault(device_id, {})
        ways |= {(one.pk, user.pk): _Meant(one, user) for one, user in theirs}
    return meant


@dataclass(slots=True)
class _Review:
    """One review of some devices, whose rows are held: decide for each release, then write in bulk."""

    devices: list[Device]
    meant: dict[int, dict[Way, _Meant]]
    now: datetime = field(default_factory=timezone.now)
    install: dict[int, list[Release]] = field(default_factory=lambda: defaultdict(list))  # by what
    remove: dict[int, list[Release]] = field(default_factory=lambda: defaultdict(list))
    cancel: list[Command] = field(default_factory=list)
    changed: dict[int, Release] = field(default_factory=dict)
    new: list[Release] = field(default_factory=list)
    traces: dict[tuple[str, int, int | None], list[int]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def go(self) -> None:
        facts = gate_facts.of(self.devices)
        releases: dict[int, dict[Way, Release]] = defaultdict(dict)
        found = (
            Release.objects.exclude(state=ReleaseState.ENDED)
            .filter(device__in=self.devices)
            .select_related("command", "user")
        )
        configurations = WithheldConfiguration.objects.select_related("profile").in_bulk(
            {release.configuration_id for release in found}
        )
        for release in found:
            release.configuration = configurations[release.configuration_id]  # loaded once
            releases[release.device_id][_way(release)] = release
        self.new = self._missing(releases)
        for device in self.devices:
            for release in releases[device.pk].values():
                release.device = device
                if release.user:
                    release.user.device = device
                self._decide(release, _ask(facts[device.pk], release.configuration, self.now))
        self._write()

    def _missing(self, releases: dict[int, dict[Way, Release]]) -> list[Release]:
        """A way for each configuration that is meant for a device or a user and has none yet."""
        new = []
        for device in self.devices:
            for way, meant in self.meant.get(device.pk, {}).items():
                if way not in releases[device.pk]:
                    release = Release(
                        configuration=meant.configuration, device=device, user=meant.user
                    )
                    releases[device.pk][way] = release
                    new.append(release)
        return new

    def _is_wanted(self, release: Release) -> bool:
        return _way(release) in self.meant.get(release.device_id, {})

    def _decide(self, release: Release, said: Answer) -> None:
        if not release.device.is_enrolled or (release.user and release.user.has_left):
            self._left(release, said)
            return
        is_wanted = self._is_wanted(release)
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
        """What was on the device went with our management profile, or with the user's account."""
        if release.command and release.command.state in OPEN:
            self.cancel.append(release.command)
        if self._is_wanted(release):
            release.delivered_at = release.withdrawn_at = None
            self._to(release, ReleaseState.WITHHELD, said.reasons)
        else:
            self._to(release, ReleaseState.ENDED)

    def _held(self, release: Release, said: Answer, *, is_wanted: bool) -> None:
        if not is_wanted:
            self._to(release, ReleaseState.ENDED)
        elif not said.open:
            self._to(release, ReleaseState.WITHHELD, said.reasons)
        elif reason := _why_not_now(release):
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
                about = verb, release.configuration_id, release.user_id
                self.traces[about].append(release.device_id)
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
            _queue(releases, "InstallProfile", profile=releases[0].configuration.profile)
        for releases in self.remove.values():
            identifier = releases[0].configuration.profile.identifier
            _queue(releases, "RemoveProfile", arguments={"Identifier": identifier})
        Release.objects.bulk_create(self.new, batch_size=BATCH)
        self._write_changed()
        for (verb, configuration_id, user_id), device_ids in self.traces.items():
            whose: dict[str, Any] = {"user": user_id} if user_id else {}
            audit.record_many(verb, device_ids, configuration=configuration_id, **whose)

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


def _way(release: Release) -> Way:
    return release.configuration_id, release.user_id


def _why_not_now(release: Release) -> str | None:
    """Why it cannot be queued, although the gate is open."""
    if release.user:
        return why_not_to(release.user, release.configuration)
    return queue.refusal(release.device, "InstallProfile")


def _queue(releases: list[Release], request_type: str, **how: Any) -> None:
    """Each on its own channel: one configuration goes to devices or to users, never to both."""
    users = [release.user for release in releases if release.user]
    if users:
        commands = queue.enqueue_for_users(users, request_type, **how)
    else:
        commands = queue.enqueue([release.device for release in releases], request_type, **how)
    for release, command in zip(releases, commands, strict=True):
        release.command = command
