"""What the ground remembers, one file a subject."""

from devices.models.audit import AuditEntry
from devices.models.command import Command
from devices.models.device import Device
from devices.models.enrollment import EnrollmentLink, IdentityRenewal
from devices.models.group import DeviceGroup
from devices.models.profile import Profile
from devices.models.push import PushCertificate
from devices.models.user import DeviceUser

__all__ = [
    "AuditEntry",
    "Command",
    "Device",
    "DeviceGroup",
    "DeviceUser",
    "EnrollmentLink",
    "IdentityRenewal",
    "Profile",
    "PushCertificate",
]
