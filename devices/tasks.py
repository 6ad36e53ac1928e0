"""The clock's hands: each task names one due thing and does it."""

from celery import shared_task

from devices import waking


@shared_task
def push_due_devices() -> int:
    return waking.push_due()
