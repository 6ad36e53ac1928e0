"""What of the set-up was tried for real, and what came of it."""

from django.db import models


class Trial(models.Model):
    """One thing that was tried. It is shown to an admin and decides nothing: no process believes it."""

    what = models.CharField(max_length=40, primary_key=True)
    asked_at = models.DateTimeField(null=True)  # by the staff site, of the worker
    asked = models.JSONField(default=dict)  # with which words
    taken_at = models.DateTimeField(null=True)  # by a worker

    at = models.DateTimeField(null=True)
    works = models.BooleanField(default=False)
    words = models.TextField(blank=True)
    facts = models.JSONField(default=dict)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.what
