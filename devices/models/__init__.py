"""What the ground remembers, one file a subject."""

from devices.models.account import Account
from devices.models.audit import AuditEntry, AuditHead, AuditLink
from devices.models.bootstrap import BootstrapToken
from devices.models.command import Command
from devices.models.device import Device
from devices.models.door import DoorKey
from devices.models.enrollment import EnrollmentLink, IdentityRenewal
from devices.models.group import DeviceGroup, GroupRule
from devices.models.house import HouseRules
from devices.models.login import NetworkUser, UserLogin
from devices.models.notice import NoMail, Notice, NoticePlace
from devices.models.profile import Profile
from devices.models.push import PushCertificate, PushCertificateRequest
from devices.models.told import CustomCommand, Told, UserTold
from devices.models.trial import Trial
from devices.models.user import DeviceUser
from devices.models.words import DeviceWords

__all__ = [
    "Account",
    "AuditEntry",
    "AuditHead",
    "AuditLink",
    "BootstrapToken",
    "Command",
    "CustomCommand",
    "Device",
    "DeviceGroup",
    "DeviceUser",
    "DeviceWords",
    "DoorKey",
    "EnrollmentLink",
    "GroupRule",
    "HouseRules",
    "IdentityRenewal",
    "NetworkUser",
    "NoMail",
    "Notice",
    "NoticePlace",
    "Profile",
    "PushCertificate",
    "PushCertificateRequest",
    "Told",
    "Trial",
    "UserLogin",
    "UserTold",
]
