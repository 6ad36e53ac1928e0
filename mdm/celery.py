"""The clock and the hands: which tick calls which task stands in `settings.CELERY_BEAT_SCHEDULE`."""

import os

import django
from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mdm.settings")
django.setup()

app = Celery("mdm", set_as_current=True)
app.conf.update(settings.CELERY)
app.conf.beat_schedule = settings.CELERY_BEAT_SCHEDULE
app.autodiscover_tasks(["devices", "passcodes"])
