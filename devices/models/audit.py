"""What happened, refusals and reads included. Rows are only ever added (a trigger and grants see to it)."""

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone

from devices.models.device import Device


class AuditEntry(models.Model):
    """Something that a person, a device or the product did."""

    at = models.DateTimeField(default=timezone.now)
    verb = models.CharField(max_length=64)  # clear.approve
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    actor_name = models.CharField(max_length=150, blank=True)  # as it was then
    device = models.ForeignKey(Device, models.PROTECT, null=True, related_name="audit_entries")
    facts = models.JSONField(default=dict, encoder=DjangoJSONEncoder)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit"
        ordering = ("-at", "-pk")
        permissions = (("export_audit", "Can export the audit"),)
        indexes = (
            models.Index(fields=("device", "-at"), name="devices_audit_of_a_device"),
            models.Index(fields=("-at",), name="devices_audit_by_time"),
            models.Index(fields=("verb", "-at"), name="devices_audit_by_verb"),
        )

    def __str__(self) -> str:
        return self.verb


class AuditLink(models.Model):
    """The place of an entry in the chain, given after it was committed; gaps betray a removal."""

    seq = models.PositiveBigIntegerField(primary_key=True)
    entry = models.PositiveBigIntegerField(unique=True)  # no foreign key: it outlives a removal
    digest = models.BinaryField()  # of the entry as it was then, SHA-256
    hash = models.BinaryField()  # of the link before and of this one, SHA-256

    class Meta:
        default_permissions = ()
        ordering = ("seq",)

    def __str__(self) -> str:
        return f"Link {self.seq}"


class AuditHead(models.Model):
    """The vault's signature under the chain as far as `seq`, and its journal as far as `journal`."""

    seq = models.PositiveBigIntegerField(db_index=True)
    hash = models.BinaryField()
    journal = models.PositiveBigIntegerField()
    at = models.DateTimeField()
    signature = models.BinaryField()

    class Meta:
        default_permissions = ()
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"Head {self.seq}"
