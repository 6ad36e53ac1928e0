"""The staff site's pages that stand on the roof; importing them registers them with the admin."""

from mdm.desk import audit, device, enrollment, groups, push_certificates

__all__ = ["audit", "device", "enrollment", "groups", "push_certificates"]
