"""A new key for the vault with 100,000 tokens in escrow, killed twice on the way.

`python -m embedded.run -- .venv/bin/python -m bench.rotation [TOKENS]`
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from bench.figures import Figure, watch
from devices import sealing
from devices.models import Device
from devices.rules.secret import Secret
from passcodes import escrow
from passcodes.models import EscrowedToken, TokenBox

TOKENS = 100_000
TOKEN = Secret(bytes(1500))
AT_ONCE = 5_000
KILOBYTE = 1024


def main() -> None:
    call_command("migrate", verbosity=0)
    count = int(sys.argv[1]) if sys.argv[1:] else TOKENS
    old = sealing.private_key(settings.VAULT_PRIVATE_KEY)
    for begin in range(0, count, AT_ONCE):
        _fill(begin, min(begin + AT_ONCE, count), old)
    with TemporaryDirectory(prefix="bench-") as state:
        for figure in figures(count, old, state):
            print(figure, flush=True)


def figures(count: int, old: X25519PrivateKey, state: str) -> Iterator[Figure]:
    new = X25519PrivateKey.generate()
    new_id = sealing.key_id(new.public_key())
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "mdm.settings",
        "SERVE": "vault",
        "VAULT_PRIVATE_KEY": sealing.written(new.private_bytes_raw()),
        "VAULT_OLD_PRIVATE_KEYS": sealing.written(old.private_bytes_raw()),
        "VAULT_ORDER_KEY": settings.VAULT_ORDER_KEY,
        "VAULT_STATE": f"{state}/vault",
        "DOOR_PUBLIC_KEY": settings.DOOR_PUBLIC_KEY,
    }
    left = TokenBox.objects.exclude(key=new_id)
    with watch() as all_of_it:
        for part in (3, 1.5):
            with subprocess.Popen([sys.executable, "manage.py", "vault_rotate"], env=env) as one:
                while left.count() > count - count / part:
                    time.sleep(0.1)
                one.kill()
            yield Figure("Killed -9 with this many left", left.count(), "tokens")
        last = subprocess.run([sys.executable, "manage.py", "vault_rotate"], env=env, check=True)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / KILOBYTE
    yield Figure("Seal tokens anew", all_of_it.seconds, "s", f"{count:,} tokens of 1,500 bytes")
    yield Figure("  the process's memory at most", memory, "MB", f"exit status {last.returncode}")
    opened = lost = 0
    for box in TokenBox.objects.select_related("token").iterator(chunk_size=AT_ONCE):
        try:
            sealing.unseal(bytes(box.box), key=new, context=escrow.place(box.token))
            opened += 1
        except sealing.DoesNotOpen:
            lost += 1
    yield Figure("  open with the new key", opened, "tokens", f"{lost} do not")


def _fill(begin: int, end: int, key: X25519PrivateKey) -> None:
    devices = Device.objects.bulk_create(
        Device(udid=f"UDID-{n}", serial=f"S{n}", product_name="iPhone16,1")
        for n in range(begin, end)
    )
    kept = EscrowedToken.objects.bulk_create(
        EscrowedToken(
            device=device,
            enrollment=uuid4(),
            identity="ab" * 32,
            udid=device.udid,
            serial=device.serial,
            model=device.product_name,
            key=sealing.key_id(key.public_key()),
            received_at=timezone.now(),
        )
        for device in devices
    )
    TokenBox.objects.bulk_create(
        TokenBox(
            token=one,
            key=one.key,
            box=sealing.seal(TOKEN, to=key.public_key(), context=escrow.place(one)),
        )
        for one in kept
    )


if __name__ == "__main__":
    main()
