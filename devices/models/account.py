"""The accounts on a Mac or a Shared iPad, as its UserList told them; most have no channel of their own."""

from django.db import models

from devices.models.device import Device


class Account(models.Model):
    """One account of the newest UserList of a device."""

    device = models.ForeignKey(Device, models.PROTECT, related_name="accounts")
    name = models.CharField(max_length=200)
    full_name = models.CharField(max_length=200, blank=True)
    uid = models.BigIntegerField(null=True)
    guid = models.CharField(max_length=64, blank=True)
    is_logged_in = models.BooleanField(null=True)
    is_mobile = models.BooleanField(null=True)
    has_secure_token = models.BooleanField(null=True)
    has_data_to_sync = models.BooleanField(null=True)
    data_quota = models.BigIntegerField(null=True)  # bytes, on a Shared iPad
    data_used = models.BigIntegerField(null=True)
    listed_at = models.DateTimeField()

    class Meta:
        ordering = ("name",)
        permissions = (
            ("unlock_account", "Can unlock an account that too many wrong passwords have locked"),
            ("manage_device_users", "Can log users out of devices and delete them there"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("device", "name"), name="one_row_an_account_on_a_device"
            ),
        )

    def __str__(self) -> str:
        return self.full_name or self.name

    def __repr__(self) -> str:
        return f"<Account {self.pk}>"
