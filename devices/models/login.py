"""Network and mobile users of Macs: whom we know, and how far each login has gone."""

from django.db import models

from devices.models.device import Device
from devices.rules.logins import Login


class UserLogin(models.Model):
    """The latest login of a network or mobile user on a Mac, as far as UserAuthenticate has gone."""

    device = models.ForeignKey(Device, models.PROTECT, related_name="logins")
    user_id = models.CharField(max_length=64)
    short_name = models.CharField(max_length=200, blank=True)

    state = models.CharField(
        max_length=16, choices=[(state.value, state.name.capitalize()) for state in Login]
    )
    nonce = models.CharField(max_length=64, blank=True)  # gone once it has been answered
    nonce_until = models.DateTimeField(null=True)
    auth_token = models.CharField(max_length=64, blank=True)  # SHA-256, hex
    began_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("device", "user_id"), name="one_latest_login_a_user_on_a_mac"
            ),
        )

    def __str__(self) -> str:
        return self.short_name or self.user_id

    def __repr__(self) -> str:
        return f"<UserLogin {self.pk}>"


class NetworkUser(models.Model):
    """A network user whose password we can check, by an HA1 that only the door can open."""

    short_name = models.CharField(max_length=200)
    realm = models.CharField(max_length=200)
    key = models.CharField(max_length=16)  # id of the door's key
    box = models.BinaryField()
    kept_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("short_name",)
        constraints = (
            models.UniqueConstraint(
                fields=("short_name", "realm"), name="one_password_a_network_user_and_realm"
            ),
        )

    def __str__(self) -> str:
        return self.short_name

    def __repr__(self) -> str:
        return f"<NetworkUser {self.pk}>"
