"""What is declared for devices, and what they report by themselves."""

from django.db import models
from django.db.models import Q

from devices.models import Command, Device
from passcodes.models.enforcement import LIVE_STATES, Enforcement
from passcodes.models.policies import Policy


class PolicyDeclarationQuerySet(models.QuerySet["PolicyDeclaration"]):
    def current(self) -> "PolicyDeclarationQuerySet":
        """What is in the sets of devices now."""
        return self.filter(withdrawn_at=None)

    def of_live(self) -> "PolicyDeclarationQuerySet":
        """Those whose version is the one that is followed on the device."""
        return self.current().filter(enforcement__state__in=LIVE_STATES)


class PolicyDeclaration(models.Model):
    """A version of a policy in the set of a device; it stays until something else is in force there."""

    device = models.ForeignKey(Device, models.PROTECT, related_name="+")
    policy = models.ForeignKey(Policy, models.PROTECT, related_name="+")
    enforcement = models.ForeignKey(Enforcement, models.PROTECT, related_name="declarations")
    declared_at = models.DateTimeField(auto_now_add=True)

    is_in_force = models.BooleanField(default=False)  # with its present token, active and valid
    proven_at = models.DateTimeField(null=True)  # the first report that said so
    reasons = models.JSONField(default=list)  # why it is not, in the device's words

    way_back = models.ForeignKey(  # the profile that is to take its place
        Command, models.PROTECT, null=True, related_name="+"
    )
    withdrawn_at = models.DateTimeField(null=True)

    objects = PolicyDeclarationQuerySet.as_manager()

    class Meta:
        ordering = ("-declared_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("device", "policy"),
                condition=Q(withdrawn_at=None),
                name="one_current_declaration_a_device_and_policy",
            ),
        )

    def __str__(self) -> str:
        return f"{self.enforcement}, declared"


class DeclarativeChannel(models.Model):
    """What a device was last told of its set, and all that it has reported since it enrolled."""

    device = models.OneToOneField(
        Device, models.PROTECT, primary_key=True, related_name="declarative"
    )
    enrollment = models.UUIDField()  # what an earlier enrollment reported counts no more
    token = models.CharField(max_length=64, blank=True)  # the DeclarationsToken it was last told
    token_since = models.DateTimeField(null=True)
    status = models.JSONField(default=dict)  # all reports, merged
    errors = models.JSONField(default=list)
    reported_at = models.DateTimeField(null=True)
    full_report_at = models.DateTimeField(null=True)
    refused_at = models.DateTimeField(null=True)  # it cannot; it gets profiles
    refused_because = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return f"Declarations of {self.device}"
