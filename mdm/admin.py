"""The staff site's pages that stand on the roof; importing them registers them with the admin."""

from allauth.account.models import EmailAddress
from django.contrib import admin

from mdm.desk import (
    audit,
    bulk,
    device,
    device_users,
    enrollment,
    groups,
    house_rules,
    list_files,
    network_users,
    notices,
    push_certificates,
    saved_views,
    site,
)

__all__ = [
    "audit",
    "bulk",
    "device",
    "device_users",
    "enrollment",
    "groups",
    "house_rules",
    "network_users",
    "notices",
    "push_certificates",
]

admin.site.unregister(EmailAddress)  # allauth's own page; nobody signs in by an address here
site.ALSO += [list_files.paths, saved_views.paths]
