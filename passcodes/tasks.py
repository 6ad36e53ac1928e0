"""The clock's hands: each task names one due thing and does it.

A tick is acknowledged before its work: the row is what must not be lost. Acknowledged afterwards,
a tick whose worker was killed would come back when it is worth nothing any more.
"""

from celery import shared_task

from passcodes import (
    acts,
    clear_delivery,
    clear_state,
    codes,
    custody,
    enforcement,
    fleet,
    fresh_tokens,
    grouping,
    inactivity,
    lost_mode,
    notices,
    shredding,
    waves,
    ways,
    witness,
)


@shared_task(acks_late=False)
def close_countdowns() -> int:
    return enforcement.close_due()


@shared_task(acks_late=False)
def ask_again() -> int:
    return enforcement.ask_due()


@shared_task(acks_late=False)
def expire() -> int:
    return clear_state.expire_due()


@shared_task(acks_late=False)
def expose() -> int:
    return clear_delivery.expose_due()


@shared_task(acks_late=False)
def look_after_clears() -> int:
    return clear_delivery.look_due()


@shared_task(acks_late=False)
def go_on_in_waves() -> int:
    return waves.go_on_due()


@shared_task(acks_late=False)
def settle_groups() -> int:
    return grouping.settle_due()


@shared_task(acks_late=False)
def right_ways() -> int:
    return ways.settle_due()


@shared_task(acks_late=False)
def shut_the_gate_for_inactive_devices() -> int:
    return inactivity.close_due()


@shared_task(acks_late=False)
def expire_codes() -> int:
    return codes.expire_due()


@shared_task(acks_late=False)
def forget_places() -> int:
    return lost_mode.forget_due()


@shared_task(acks_late=False)
def ask_what_is_there() -> int:
    return witness.ask_due() + witness.ask_users_due()


@shared_task(acks_late=False)
def ask_for_fresh_tokens() -> int:
    return fresh_tokens.ask_due()


@shared_task(acks_late=False)
def shred_retired_tokens() -> int:
    return shredding.shred_due()


@shared_task(acks_late=False)
def tend_notices() -> int:
    return notices.tend_due()


@shared_task(acks_late=False)
def take_marks_off() -> int:
    return custody.find_due()


@shared_task(acks_late=False)
def expire_acts() -> int:
    return acts.expire_due()


@shared_task(acks_late=False)
def count_the_fleet() -> None:
    fleet.note()
