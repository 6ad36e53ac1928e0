"""Fill an empty house for the demo: people, groups, a policy, and configurations that are withheld.

One of them is for users of Macs and Shared iPads, and one network user is known, whom the fleet has.

Safe to repeat: what is there already stays as it is. Refused outside the demo.
"""

import json
import plistlib
import uuid
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from devices.models import DeviceGroup, NetworkUser
from devices.rules.grouping import read
from devices.rules.secret import Secret
from passcodes import accounts, configurations, grouping, policies, rollout
from passcodes.models import Policy, WithheldConfiguration
from passcodes.rules.requirements import Requirements
from staff.models import Scope, User
from staff.setup import setup_roles

PEOPLE = {  # user name → role
    "helpdesk": "helpdesk",
    "approver": "approver",
    "approver2": "approver",
    "author": "author",
    "keeper": "keeper",
    "keeper2": "keeper",
    "safe": "approver",  # for whoever takes the key from the safe
    "auditor": "auditor",
    "admin": "admin",
}
GROUPS = {
    "Phones": "Every iPhone of the organisation",
    "Tablets": "iPads in meeting rooms and at the counter",
    "Macs": "Macs, which cannot say whether their password is good enough",
}
BY_RULE = "Supervised", "iPhones and iPads that are ours, as they say themselves"
RULE = (("platform", "is", "iPhone or iPad"), ("supervised", "is", "yes"))
FIRST = Requirements(force_pin=True, min_length=4)
STRICTER = Requirements(force_pin=True, min_length=6, allow_simple=False, max_inactivity=5)
NETWORK_USER = ("editor", "only in the demo")
FOR_USERS = "Team calendar"
CONFIGURATIONS = {  # name → payload type, taken back when the device no longer complies
    "Office Wi-Fi": ("com.apple.wifi.managed", True),
    "Company VPN": ("com.apple.vpn.managed", True),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "com.apple.wifi.managed": {
        "SSID_STR": "Office",
        "EncryptionType": "WPA2",
        "Password": "only in the demo",
        "AutoJoin": True,
    },
    "com.apple.vpn.managed": {
        "UserDefinedName": "Company VPN",
        "VPNType": "IKEv2",
        "IKEv2": {
            "RemoteAddress": "vpn.example.org",
            "RemoteIdentifier": "vpn.example.org",
            "LocalIdentifier": "demo",
            "AuthenticationMethod": "None",
        },
    },
    "com.apple.caldav.account": {
        "CalDAVAccountDescription": FOR_USERS,
        "CalDAVHostName": "calendar.example.org",
        "CalDAVUseSSL": True,
    },
}


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--passwords", help="a file of JSON, name → password; else SEED_PASSWORDS"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEMO:
            raise CommandError("This fills a demo with people and policies; DEMO is not set.")
        passwords = settings.SEED_PASSWORDS
        if options["passwords"]:
            with Path(options["passwords"]).open(encoding="utf-8") as file:
                passwords = file.read()
        with transaction.atomic():
            self._fill(json.loads(passwords or "{}"))

    def _fill(self, passwords: dict[str, str]) -> None:
        setup_roles()
        people = {name: _person(name, role, passwords) for name, role in PEOPLE.items()}
        groups = [
            DeviceGroup.objects.get_or_create(name=name, defaults={"description": text})[0]
            for name, text in GROUPS.items()
        ]
        _policy(people["author"], groups)
        for name, (payload_type, withdraw) in CONFIGURATIONS.items():
            _configuration(name, payload_type, withdraw, people["author"], groups)
        _for_users(people["author"], [group for group in groups if group.name != "Phones"])
        _by_rule(people["admin"])
        if not NetworkUser.objects.exists():
            short_name, password = NETWORK_USER
            accounts.know(short_name, Secret(password.encode()), by=people["admin"])
        self.stdout.write(
            f"{len(people)} people, {len(groups) + 1} groups, one of them by rule, a policy with a draft."
        )


def _person(name: str, role: str, passwords: dict[str, str]) -> User:
    person, is_new = User.objects.get_or_create(username=name, defaults={"is_staff": True})
    if is_new:
        if name not in passwords:
            raise CommandError(f"There is no password for {name}.")
        person.set_password(passwords[name])
        person.email = f"{name}@example.org"
        person.save(update_fields=["password", "email"])
        person.groups.add(Group.objects.get(name=role))
        Scope.objects.create(user=person, everything=True)
    return person


def _by_rule(admin: User) -> None:
    """A group that fills itself as the fleet enrolls."""
    name, text = BY_RULE
    group, is_new = DeviceGroup.objects.get_or_create(name=name, defaults={"description": text})
    if is_new:
        grouping.write(group.pk, [read(*line) for line in RULE], by=admin)


def _policy(author: User, groups: list[DeviceGroup]) -> None:
    """Version 1 is what devices get when they enroll; version 2 is a draft, ready to be pushed."""
    if Policy.objects.exists():
        return
    policy = policies.create("Passcode", description="For every device we manage.", by=author)
    first = policies.draft(policy, FIRST, note="Any passcode of four characters.", by=author)
    policies.publish(first.pk, by=author)
    rollout.push(first.pk, group_ids=[group.pk for group in groups], by=author)
    policies.draft(policy, STRICTER, note="Six characters, no 1234.", by=author)


def _configuration(
    name: str, payload_type: str, withdraw: bool, author: User, groups: list[DeviceGroup]
) -> None:
    if WithheldConfiguration.objects.filter(name=name).exists():
        return
    configuration = configurations.upload(
        name, _mobileconfig(name, payload_type), withdraw_on_regression=withdraw, by=author
    )
    configurations.assign(configuration.pk, group_ids=[group.pk for group in groups], by=author)


def _for_users(author: User, groups: list[DeviceGroup]) -> None:
    """Macs and Shared iPads cannot say whether they comply, so the installed policy is enough."""
    if WithheldConfiguration.objects.filter(name=FOR_USERS).exists():
        return
    configuration = configurations.upload(
        FOR_USERS,
        _mobileconfig(FOR_USERS, "com.apple.caldav.account"),
        withdraw_on_regression=True,
        installed_policy_is_enough=True,
        for_users=True,
        by=author,
    )
    configurations.assign(configuration.pk, group_ids=[group.pk for group in groups], by=author)


def _mobileconfig(name: str, payload_type: str) -> bytes:
    word = name.lower().replace(" ", "-")
    payload = {
        "PayloadType": payload_type,
        "PayloadVersion": 1,
        "PayloadIdentifier": f"org.example.{word}.payload",
        "PayloadUUID": str(uuid.uuid4()).upper(),
        **SETTINGS[payload_type],
    }
    return plistlib.dumps(
        {
            "PayloadType": "Configuration",
            "PayloadVersion": 1,
            "PayloadIdentifier": f"org.example.{word}",
            "PayloadUUID": str(uuid.uuid4()).upper(),
            "PayloadDisplayName": name,
            "PayloadContent": [payload],
        }
    )
