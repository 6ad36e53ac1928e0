"""The clock's hands: each task names one due thing and does it.

A tick is acknowledged before its work: the row is what must not be lost. Acknowledged afterwards,
a tick whose worker was killed would come back when it is worth nothing any more.
"""

from celery import shared_task

from devices import chain, identities, inactivity, notices, push_certificates, trials, waking


@shared_task(acks_late=False)
def push_due_devices() -> int:
    return waking.push_due()


@shared_task(acks_late=False)
def send_notices() -> int:
    return notices.send_due()


@shared_task(acks_late=False)
def renew_identities() -> int:
    return identities.renew_due()


@shared_task(acks_late=False)
def probe_silent_devices() -> int:
    return inactivity.probe_due()


@shared_task(acks_late=False)
def warn_of_the_push_certificates_end() -> int:
    return push_certificates.warn_due()


@shared_task(acks_late=False)
def link_the_audit() -> int:
    return chain.link_due()


@shared_task(acks_late=False)
def try_what_was_asked() -> int:
    return trials.take_due()
