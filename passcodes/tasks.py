"""The clock's hands: each task names one due thing and does it."""

from celery import shared_task

from passcodes import clearing, enforcement


@shared_task
def close_countdowns() -> int:
    return enforcement.close_due()


@shared_task
def ask_again() -> int:
    return enforcement.ask_due()


@shared_task
def expire() -> int:
    return clearing.expire_due()


@shared_task
def expose() -> int:
    return clearing.expose_due()


@shared_task
def look_after_clears() -> int:
    return clearing.look_due()
