"""What devices said of their passcodes, and when they had been asked."""

from django.db import models

from devices.models import Device


class Source(models.TextChoices):
    SECURITY_INFO = "security_info", "SecurityInfo"
    STATUS = "status", "Status report"


class Evidence(models.Model):
    """One answer. A missing key is unknown, not false."""

    device = models.ForeignKey(Device, models.PROTECT, related_name="evidence")
    enrollment = models.UUIDField()  # an answer of an earlier enrollment proves nothing
    source = models.CharField(max_length=16, choices=Source.choices)
    asked_at = models.DateTimeField()
    heard_at = models.DateTimeField()
    passcode_present = models.BooleanField(null=True)
    compliant = models.BooleanField(null=True)
    compliant_with_profiles = models.BooleanField(null=True)

    class Meta:
        verbose_name_plural = "evidence"
        ordering = ("-heard_at",)
        indexes = (models.Index(fields=("device", "-heard_at"), name="passcodes_newest_evidence"),)

    def __str__(self) -> str:
        return f"{self.device} at {self.heard_at:%d %b %H:%M}"
