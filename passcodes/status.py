"""Take in what a device reports by itself: which declarations are in force, and its passcode.

Its word on the passcode is evidence only while every policy that is declared for it is reported
active and valid with its present token. It counts as asked for at its receipt.
"""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from devices import audit
from devices.models import Device
from passcodes import declarations, delivery, enforcement, evidence, ways
from passcodes.models import DeclarativeChannel, Enforcement, PolicyDeclaration
from passcodes.models.evidence import Source
from passcodes.rules import declarations as rules
from passcodes.rules.declarations import Kind, Standing, StatusReport
from passcodes.rules.enforcement import LIVE, State
from passcodes.rules.payload import DECLARATION_TYPE

REASON_LENGTH = 200


@transaction.atomic
def heard(device: Device, report: StatusReport) -> None:
    """Merge one report, and let everything hear it that waits for it.

    The caller holds the device's row.
    """
    now = timezone.now()
    known = declarations.channel(device)
    known.status = rules.merged(known.status, report)
    known.errors = [dict(error) for error in report.errors]
    known.reported_at = now
    if report.is_full:
        known.full_report_at = now
    known.save(update_fields=["status", "errors", "reported_at", "full_report_at"])

    if not rules.takes(known.status, Kind.CONFIGURATION, DECLARATION_TYPE):
        declarations.cannot(device, because="It says that it takes no passcode settings.")
        ways.settle(device)
    for row in _current(device):
        _look(device, row, known, report, now)
    _passcode(device, known, report, now)
    if known.token and known.token != declarations.of(device).token:
        declarations.nudge([device])


def _current(device: Device) -> list[PolicyDeclaration]:
    return list(
        PolicyDeclaration.objects.current()
        .filter(device=device)
        .select_related("policy", "enforcement__version")
        .order_by("policy_id")
    )


def _look(
    device: Device,
    row: PolicyDeclaration,
    known: DeclarativeChannel,
    report: StatusReport,
    now: datetime,
) -> None:
    """See how one declaration stands there now."""
    row.enforcement.device = device
    wanted = declarations.configuration(row, device)
    said = rules.reported(known.status, wanted.kind, wanted.identifier)
    standing = rules.standing(wanted, said)
    if standing is Standing.NOT_TOLD and report.is_full and row.is_in_force:
        standing = Standing.NOT_IN_FORCE  # all that is there was said, and it was not
    if standing is Standing.IN_FORCE and not row.is_in_force:
        _in_force(device, row, known, report, now)
    elif standing is Standing.NOT_IN_FORCE and row.way_back_id is None:
        row.is_in_force = False
        row.reasons = list(said.reasons) if said else []
        row.save(update_fields=["is_in_force", "reasons"])
        _not_in_force(device, row)


def _in_force(
    device: Device,
    row: PolicyDeclaration,
    known: DeclarativeChannel,
    report: StatusReport,
    now: datetime,
) -> None:
    row.is_in_force = True
    row.proven_at = row.proven_at or now
    row.reasons = []
    row.save(update_fields=["is_in_force", "proven_at", "reasons"])
    audit.record("declaration.in_force", device=device, policy=row.policy_id)
    if row.enforcement.state == State.PUSHED:
        enforcement.declared(
            row.enforcement,
            at=now,
            reports_itself=rules.reports_by_itself(known.status),
            asks=rules.facts(known.status, report) is None,
        )
    ways.proven(row, device)


def _not_in_force(device: Device, row: PolicyDeclaration) -> None:
    """It does not take it, or has lost it: the policy comes as a profile, and nothing is proven."""
    because = " ".join(["The declaration is not in force.", *row.reasons])[:REASON_LENGTH]
    declarations.cannot(device, because=because)
    if row.proven_at is not None and row.enforcement.state in LIVE:
        delivery.renew(row.enforcement)
    ways.settle(device)


def _passcode(
    device: Device, known: DeclarativeChannel, report: StatusReport, now: datetime
) -> None:
    """Hand on what the report says of the passcode, if it is worth anything."""
    rows = list(PolicyDeclaration.objects.of_live().filter(device=device))
    if not rows or not all(row.is_in_force for row in rows):
        return
    if rules.reports_by_itself(known.status):
        Enforcement.objects.filter(
            pk__in=[row.enforcement_id for row in rows], reports_itself=False
        ).update(reports_itself=True)
    said = rules.facts(known.status, report)
    if said is not None:
        evidence.heard(device, said, asked_at=now, source=Source.STATUS.value)
    elif rules.says_half(report):
        enforcement.ask(device)
