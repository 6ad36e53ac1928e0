"""Payloads that never change; a hundred thousand commands may point at one row."""

from django.db import models


class Profile(models.Model):
    """The bytes of a configuration profile, written once."""

    identifier = models.CharField(max_length=200)  # top-level PayloadIdentifier
    payload_uuid = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    digest = models.CharField(max_length=64, unique=True)  # SHA-256 of the bytes, hex
    payload = models.BinaryField()
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "profile"

    def __str__(self) -> str:
        return self.name
