"""What people have signed, and what the vault says of it. The vault alone judges signatures."""

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone


class Kind(models.TextChoices):
    ASK = "ask", "Ask"
    YES = "yes", "Yes"
    NO = "no", "No"
    WITNESS = "witness", "Witness"


class Signature(models.Model):
    """One statement, signed by one person with a passkey. Never changed, never deleted."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)  # no right to read it is needed
    request = models.UUIDField(db_index=True)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    statement = models.BinaryField()
    assertion = models.JSONField()
    at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.get_kind_display()} by {self.person}"


class VaultSays(models.Model):
    """What the vault tells people: of itself, of its charter, of one request. Nobody believes it."""

    HOUSE, CHARTER = "house", "charter"
    WATCH = "watch"  # what two keepers are to look at
    TAKEN_OUT = "taken out"  # passkeys that counted once, by fingerprint, and since when no more

    about = models.CharField(max_length=64, primary_key=True)  # or a request, in hex
    said = models.JSONField(default=dict)
    document = models.BinaryField(default=bytes)
    signature = models.BinaryField(default=bytes)  # by the order key, over the document
    at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "vault says"
        default_permissions = ()

    def __str__(self) -> str:
        return f"The vault about {self.about}"
