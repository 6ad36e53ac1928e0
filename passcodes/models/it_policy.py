"""The organisation's own statement on unlock tokens, as people here have written it. Versions are only added."""

from django.conf import settings
from django.db import models


class ItPolicy(models.Model):
    """One version of the statement: what it said, since when, and who wrote it."""

    version = models.PositiveIntegerField(unique=True)
    text = models.TextField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "IT policy"
        verbose_name_plural = "IT policies"
        ordering = ("-version",)
        default_permissions = ("add",)

    def __str__(self) -> str:
        return f"IT policy, version {self.version}"
