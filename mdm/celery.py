"""The clock and the hands: which tick calls which task stands in `settings.CELERY_BEAT_SCHEDULE`."""

import os

import django
from celery import Celery, signals, states
from django.conf import settings
from django.db import close_old_connections, connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mdm.settings")
django.setup()

app = Celery("mdm", set_as_current=True)
app.conf.update(settings.CELERY)
app.conf.beat_schedule = settings.CELERY_BEAT_SCHEDULE
app.autodiscover_tasks(["devices", "passcodes"])


@signals.task_postrun.connect
def leave_the_session(state: str = "", **_about: object) -> None:
    """The next task goes on with this one's session at the database, while it is young and nothing failed in it."""
    if state == states.SUCCESS:
        close_old_connections()
    else:
        connections.close_all()
