"""Take down what a device says of its passcode, and let everything hear it that waits for it."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from devices.models import Device
from passcodes import clear_delivery, enforcement, gate
from passcodes.models import Evidence
from passcodes.models.evidence import Source
from passcodes.rules.compliance import PasscodeFacts


@transaction.atomic
def heard(
    device: Device,
    facts: PasscodeFacts,
    *,
    asked_at: datetime,
    source: str = Source.SECURITY_INFO.value,
) -> Evidence:
    """Keep one answer, with the time at which the device was asked for it.

    The enforcements hear it first, then the gate, which looks at them, then a clear that waits for
    a new passcode. The caller holds the device's row.
    """
    evidence = Evidence.objects.create(
        device=device,
        enrollment=device.enrollment,
        source=source,
        asked_at=asked_at,
        heard_at=timezone.now(),
        passcode_present=facts.present,
        compliant=facts.compliant,
        compliant_with_profiles=facts.compliant_with_profiles,
    )
    enforcement.judged(device, evidence)
    gate.review(device)
    clear_delivery.protected(device, evidence)
    return evidence
