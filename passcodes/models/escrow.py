"""Unlock tokens, sealed; and the sealed order that hands one over for one command.

The box has a table of its own, so that the process that seals it may insert it and never read it.
"""

import uuid

from django.db import models
from django.db.models import Q

from devices.models import Command, Device


class TokenState(models.TextChoices):
    KEPT = "kept", "Kept"
    SUSPECT = "suspect", "Suspect"  # the device answered a clear with an error
    RETIRED = "retired", "Retired"  # of a former enrollment, or replaced
    SHREDDED = "shredded", "Shredded"  # its box is gone


class Origin(models.TextChoices):
    ENROLLMENT = "enrollment", "came when the device enrolled"
    RENEWAL = "renewal", "came when its enrollment profile was installed again"
    UPDATE = "TokenUpdate", "sent by the device itself"


class EscrowedToken(models.Model):
    """One unlock token of one enrollment: what it is bound to, never what it is."""

    token = models.UUIDField(primary_key=True, default=uuid.uuid4)
    device = models.ForeignKey(Device, models.PROTECT, related_name="tokens")
    enrollment = models.UUIDField()
    identity = models.CharField(max_length=64)  # the certificate that signed the message, SHA-256
    udid = models.CharField(max_length=64)
    serial = models.CharField(max_length=64, blank=True)
    model = models.CharField(max_length=64, blank=True)
    key = models.CharField("key id", max_length=16)
    origin = models.CharField(max_length=64, choices=Origin.choices, default=Origin.UPDATE)
    received_at = models.DateTimeField()
    state = models.CharField(max_length=16, choices=TokenState.choices, default=TokenState.KEPT)
    current = models.BooleanField(default=True)
    retired_at = models.DateTimeField(null=True)
    seen_by_the_door_at = models.DateTimeField(null=True)  # it was handed over once

    class Meta:
        verbose_name = "escrowed token"
        ordering = ("-received_at",)
        permissions = (("ask_fresh_token", "Can have a device send a new unlock token"),)
        constraints = (
            models.UniqueConstraint(
                fields=("device",), condition=Q(current=True), name="one_current_token_a_device"
            ),
        )

    def __str__(self) -> str:
        return f"Token of {self.device}"

    def __repr__(self) -> str:
        return f"<EscrowedToken {self.token}>"


class TokenBox(models.Model):
    """The sealed token. Inserted by the door, read by the vault, by nobody else."""

    token = models.OneToOneField(
        EscrowedToken, models.CASCADE, primary_key=True, related_name="+", db_column="token"
    )
    key = models.CharField(max_length=16)
    box = models.BinaryField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return "TokenBox"

    def __repr__(self) -> str:
        return "<TokenBox>"


class Handover(models.Model):
    """The vault's order for one command, and the token sealed to the door under it."""

    command = models.OneToOneField(
        Command, models.CASCADE, primary_key=True, related_name="+", db_column="command"
    )
    order = models.BinaryField()
    box = models.BinaryField()
    signature = models.BinaryField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return "Handover"

    def __repr__(self) -> str:
        return "<Handover>"
