"""The door's keys, by their ids: since when each has been in use."""

from django.db import models


class DoorKey(models.Model):
    """A key that the door has used. It serves warnings alone; nobody takes a key from a row."""

    key = models.CharField("key id", max_length=16, primary_key=True)
    since = models.DateTimeField()  # the present one is the newest

    class Meta:
        ordering = ("-since",)
        default_permissions = ()

    def __str__(self) -> str:
        return self.key

    def __repr__(self) -> str:
        return f"<DoorKey {self.key}>"
