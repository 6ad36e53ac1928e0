"""The examples of deploy/ filled in for this house: one unit for each process, and the proxy before them."""

import re
import sys
from pathlib import Path

from django.conf import settings

from mdm.setup import environments
from mdm.setup.answers import APART, House
from mdm.setup.machine import Machine

EXAMPLES = {  # host in the example → the address that takes its place
    "passcodes.example.org": "staff_url",
    "mdm.example.org": "door_url",
    "sign.example.org": "sign_url",
}
HOMES = ("/home/", "/root/")
BIN = "/opt/passcodes/.venv/bin/"


def units(house: House, machine: Machine) -> dict[str, str]:
    """File name → content."""
    return {
        f"passcodes-{process}.service": _unit(process, house, machine)
        for process in environments.processes(house)
    }


def nginx(house: House, machine: Machine) -> str:
    text = _example("nginx.conf")
    for example, name in EXAMPLES.items():
        address = getattr(house, name).removeprefix("https://")
        host, _, port = address.partition(":")
        text = text.replace(f"/etc/ssl/{example}", f"{house.tls}/{host}").replace(example, host)
        if port:
            text = re.sub(
                rf"listen 443( ssl;(?:\n.*?)?\n    server_name {re.escape(host)};)",
                rf"listen {port}\1",
                text,
            )
    first, second = house.port + 1, house.port + (2 if house.doors == APART else 1)
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{house.port}")
    text = text.replace("127.0.0.1:8002", f"127.0.0.1:{second}")
    text = text.replace("127.0.0.1:8001", f"127.0.0.1:{first}")
    return text.replace("/var/www/passcodes-sign", str(machine.sign))


def _unit(process: str, house: House, machine: Machine) -> str:
    text = _example(f"systemd/passcodes-{process}.service")
    for offset in (2, 1, 0):
        text = text.replace(f"--port {8000 + offset} ", f"--port {house.port + offset} ")
    text = text.replace("/etc/passcodes/", f"{machine.folder}/")
    own = {"vault": machine.vault, "clock": machine.clock, "connect": machine.door}
    own["door"] = machine.door
    text = text.replace("/var/lib/passcodes-clock", str(machine.clock))
    text = text.replace(BIN, f"{Path(sys.executable).parent}/")
    text = text.replace("/opt/passcodes", str(settings.ROOT))
    if not house.users:
        text = re.sub(r"(?m)^User=.*$", f"User={machine.runs_as}", text)
    if any(str(path).startswith(HOMES) for path in (settings.ROOT, machine.folder, machine.state)):
        text = text.replace("ProtectHome=yes\n", "ProtectHome=read-only\n")
    if process in own:
        text = re.sub(r"(?m)^StateDirectory(Mode)?=.*\n", "", text)
        text = text.replace("LimitCORE=0\n", f"LimitCORE=0\nReadWritePaths={own[process]}\n")
    return text


def _example(name: str) -> str:
    return (settings.ROOT / "deploy" / name).read_text()
