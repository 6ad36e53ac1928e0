"""The MDM push certificate and requests for one; their private keys are sealed to the worker."""

from django.conf import settings
from django.db import models
from django.db.models import Q


class PushCertificateRequest(models.Model):
    """A signing request made here. Its key was sealed to the worker as soon as it was made."""

    request = models.TextField()  # PEM; public
    public_key = models.CharField(max_length=64, unique=True)  # SHA-256 of it, hex
    sealed_key = models.BinaryField()  # to WORKER_PUBLIC_KEY
    made_at = models.DateTimeField(auto_now_add=True)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    used_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "signing request"
        ordering = ("-made_at",)

    def __str__(self) -> str:
        return f"Signing request of {self.made_at:%d %b %Y}"

    def __repr__(self) -> str:
        return f"<PushCertificateRequest {self.pk}>"


class PushCertificate(models.Model):
    """A certificate that may wake devices of its topic. The topic is fixed for the life of an enrollment."""

    topic = models.CharField(max_length=200)
    certificate = models.TextField()  # PEM; public
    sealed_key = models.BinaryField()  # to WORKER_PUBLIC_KEY
    request = models.OneToOneField(
        PushCertificateRequest, models.PROTECT, null=True, related_name="certificate"
    )  # where its key was made here
    not_after = models.DateTimeField("ends")
    added_at = models.DateTimeField(auto_now_add=True)
    is_current = models.BooleanField(default=True)
    warned_days = models.PositiveSmallIntegerField(null=True)  # the last of its end's warnings

    alarm = models.CharField(max_length=200, blank=True)  # why pushing stands still, in words
    alarm_since = models.DateTimeField(null=True)
    stopped_until = models.DateTimeField(
        null=True
    )  # then one push is tried; not null: it stands still

    class Meta:
        verbose_name = "push certificate"
        constraints = (
            models.UniqueConstraint(
                fields=("is_current",),
                condition=Q(is_current=True),
                name="one_current_push_certificate",
            ),
        )

    def __str__(self) -> str:
        return self.topic

    def __repr__(self) -> str:
        return f"<PushCertificate {self.pk}>"
