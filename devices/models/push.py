"""The MDM push certificate, whose private key is sealed to the worker."""

from django.db import models
from django.db.models import Q


class PushCertificate(models.Model):
    """A certificate that may wake devices of its topic. The topic is fixed for the life of an enrollment."""

    topic = models.CharField(max_length=200)
    certificate = models.TextField()  # PEM; public
    sealed_key = models.BinaryField()  # to WORKER_PUBLIC_KEY
    not_after = models.DateTimeField("ends")
    added_at = models.DateTimeField(auto_now_add=True)
    is_current = models.BooleanField(default=True)

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
