"""Write the signing page into a folder, for a host of its own: three static files, one way back."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse
from django.utils.html import escape

FILES = ("index.html", "sign.js", "sign.css")


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--out", type=Path, required=True, help="an empty or former folder")

    def handle(self, *args: Any, **options: Any) -> None:
        out: Path = options["out"]
        out.mkdir(parents=True, exist_ok=True)
        if strangers := {one.name for one in out.iterdir()} - set(FILES):
            raise CommandError(f"{out} holds other things: {', '.join(sorted(strangers))}.")
        source = settings.ROOT / "static" / "sign"
        back = settings.STAFF_URL.rstrip("/") + reverse("admin:signature_signed")
        for name in FILES:
            text = (source / name).read_text().replace("{{ return }}", escape(back))
            beside = out / f"{name}.new"
            beside.write_text(text)
            beside.chmod(0o644)
            beside.replace(out / name)
        self.stdout.write(
            f"Written. Serve {out} as {settings.SIGN_URL}/, by another host or user than the "
            f"staff site's, with the headers of deploy/nginx.conf. It leads back to {back} alone."
        )
