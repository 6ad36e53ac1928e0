"""Make one-time enrollment links and print them, one a line."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from devices.models import DeviceGroup
from devices.models.enrollment import Identity
from devices.rules.channels import Platform
from mdm.enrollment import links

PLATFORMS = [platform.value for platform in Platform if platform is not Platform.UNKNOWN]


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--platform", choices=PLATFORMS, required=True)
        parser.add_argument(
            "--identity",
            choices=Identity.values,
            default=Identity.SCEP.value,
            help="how the device gets its identity: it makes the key itself (scep), or we do (pkcs12)",
        )
        parser.add_argument("--note", default="", help="whose device, or what for")
        parser.add_argument("--group", help="the name of the group that the device joins")
        parser.add_argument("--count", type=int, default=1, help="how many links")
        parser.add_argument("--hours", type=float, default=24, help="how long they are valid")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["count"] < 1 or options["hours"] <= 0:
            raise CommandError("--count and --hours must be more than nothing.")
        group = None
        if options["group"]:
            group = DeviceGroup.objects.filter(name=options["group"]).first()
            if group is None:
                raise CommandError(f"There is no group «{options['group']}».")
        for _ in range(options["count"]):
            try:
                _link, address = links.make(
                    Platform(options["platform"]),
                    identity_kind=Identity(options["identity"]),
                    note=options["note"],
                    group=group,
                    lasts=timedelta(hours=options["hours"]),
                    by=None,
                )
            except links.Refused as refused:
                raise CommandError(str(refused)) from None
            self.stdout.write(address)
