"""`audit_verify` over a million entries, with the heads that the vault would have signed under them.

`python -m embedded.run -- .venv/bin/python -m bench.audit [ENTRIES]`
"""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from bench.figures import Figure, watch
from devices import chain
from devices.models import AuditEntry, AuditHead, AuditLink, Device
from devices.rules import chain as rules
from passcodes import chain as heads
from vault import keyring
from vault.chain import Chain
from vault.journal import Journal

ENTRIES = 1_000_000
A_HEAD = 10  # entries: the vault signs every two seconds, whatever came
OUTSIDE = 150  # heads for one that was kept outside: every five minutes
A_LINE = 100  # entries for one line of the vault's journal
AT_ONCE = 10_000
KILOBYTE = 1024
SAID = {  # as long as what a usual entry says
    "because": "The device was asked, and its answer is not older than the policy.",
    "command": "0f" * 16,
    "policy": 7,
}


def main() -> None:
    call_command("migrate", verbosity=0)
    count = int(sys.argv[1]) if sys.argv[1:] else ENTRIES
    with TemporaryDirectory(prefix="bench-") as folder:
        for figure in figures(count, Path(folder)):
            print(figure, flush=True)


def figures(count: int, folder: Path) -> Iterator[Figure]:
    with watch() as filling:
        _fill(count, folder / "state")
    yield Figure(
        "Audit entries written", count / filling.seconds, "a second", "as what follows needs them"
    )
    with watch() as linking:
        times = _link()
    yield Figure("Links written", count / linking.seconds, "a second", "likewise")
    with watch() as signing:
        signed, outside = _sign(folder / "heads", times)
    yield Figure("Heads signed", signed / signing.seconds, "a second", f"{outside:,} kept outside")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    verify = ("audit_verify", "--key", settings.VAULT_VERIFY_KEY, "--heads", folder / "heads")
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "mdm.settings",
        "SERVE": "owner",
    }
    with watch() as all_of_it:
        done = subprocess.run(
            [sys.executable, "manage.py", *map(str, verify)],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = (done.stdout + done.stderr).strip().splitlines()[-1]
    yield Figure("audit_verify", all_of_it.seconds, "s", f"{count:,} entries, {signed:,} heads")
    yield Figure("  the process's own time", used.ru_utime + used.ru_stime, "s", "of that")
    yield Figure("  the process's memory at most", used.ru_maxrss / KILOBYTE, "MB", said)


def _fill(count: int, state: Path) -> None:
    """Device after device says something; now and then the vault writes a line of its journal."""
    device = Device.objects.create(udid="UDID", serial="SERIAL", product_name="iPhone16,1")
    keys = keyring.load()
    with Journal(state) as journal:
        for begin in range(0, count, AT_ONCE):
            many = min(AT_ONCE, count - begin)
            for _ in range(many // A_LINE):
                journal.alive()
            Chain(state, keyring=keys, journal=journal).look()  # each line is an entry as well
            AuditEntry.objects.bulk_create(
                AuditEntry(
                    verb="enforcement.compliant",
                    device=device,
                    facts={**SAID, "number": begin + number},
                )
                for number in range(many - many // A_LINE)
            )


def _link() -> list[datetime]:
    """As the worker does it, all at once; when the vault would have signed under each tenth."""
    place, links, times = rules.Place(), [], []
    entries = AuditEntry.objects.order_by("pk").values_list(*chain.FIELDS)
    for row in entries.iterator(chunk_size=AT_ONCE):
        seq, digest = place.seq + 1, rules.digest(row)
        place = rules.Place(seq, rules.follow(place.hash, seq=seq, entry=row[0], digest=digest))
        if seq % A_HEAD == 0:
            times.append(row[1] + timedelta(seconds=2))
        links.append(AuditLink(seq=seq, entry=row[0], digest=digest, hash=place.hash))
        if len(links) == AT_ONCE:
            AuditLink.objects.bulk_create(links)
            links.clear()
    AuditLink.objects.bulk_create(links)
    return times


def _sign(file: Path, times: Sequence[datetime]) -> tuple[int, int]:
    """As the vault does it, and as if it had done so all the time."""
    key = keyring.load().order_key
    made, kept = [], []
    links = AuditLink.objects.order_by("seq").values_list("seq", "hash")
    for seq, digest in links.iterator(chunk_size=AT_ONCE):
        if seq % A_HEAD:
            continue
        at = int(times[seq // A_HEAD - 1].timestamp())
        head = heads.Head(seq, bytes(digest).hex(), 1, at)
        signature = heads.sign(head, key)
        made.append(
            AuditHead(
                seq=seq,
                hash=bytes(digest),
                journal=1,
                at=datetime.fromtimestamp(head.at, UTC),
                signature=signature,
            )
        )
        if seq % (A_HEAD * OUTSIDE) == 0:
            kept.append(heads.exported(head, signature))
    AuditHead.objects.bulk_create(made, batch_size=AT_ONCE)
    file.write_text("\n".join(kept))
    return len(made), len(kept)


if __name__ == "__main__":
    main()
