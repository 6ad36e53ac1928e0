"""What the domain remembers, one file a subject."""

from passcodes.models.acts import Act
from passcodes.models.clearing import Approval, ClearList, ClearRequest, Possession
from passcodes.models.codes import LockScreenCode
from passcodes.models.declarations import DeclarativeChannel, PolicyDeclaration
from passcodes.models.enforcement import Enforcement
from passcodes.models.escrow import EscrowedToken, Handover, TokenBox
from passcodes.models.evidence import Evidence
from passcodes.models.fleet import FleetDay, FleetPart
from passcodes.models.gate import Release, WithheldConfiguration
from passcodes.models.it_policy import ItPolicy
from passcodes.models.lost_mode import LostMode, Place
from passcodes.models.policies import Policy, PolicyVersion
from passcodes.models.rollout import Assignment, Rollout
from passcodes.models.signatures import Signature, VaultSays
from passcodes.models.waves import Wave, WavePlan

__all__ = [
    "Act",
    "Approval",
    "Assignment",
    "ClearList",
    "ClearRequest",
    "DeclarativeChannel",
    "Enforcement",
    "EscrowedToken",
    "Evidence",
    "FleetDay",
    "FleetPart",
    "Handover",
    "ItPolicy",
    "LockScreenCode",
    "LostMode",
    "Place",
    "Policy",
    "PolicyDeclaration",
    "PolicyVersion",
    "Possession",
    "Release",
    "Rollout",
    "Signature",
    "TokenBox",
    "VaultSays",
    "Wave",
    "WavePlan",
    "WithheldConfiguration",
]
