"""Fuzz one target, guided by what it covers: `python -m tests.fuzz.drive NAME FOLDER SECONDS`.

libFuzzer stops at the first thing that goes wrong. Here what goes wrong is written down, each kind
once, and the run goes on; only what hangs or eats the memory ends it.
"""

import hashlib
import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import atheris
import django

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ["asn1crypto", "fido2", "json", "plistlib"]
ROOMS = ["devices", "mdm", "passcodes"]
PARSERS = ("/rules/", "/wire/", "/push_certificates.py", "/handover.py", "/signing.py")
LONGEST_INPUT = 64 * 1024  # bytes
NEAR = b"\x80"  # what begins so, or with more, says what is changed in a seed
HANGS_AFTER = 30  # seconds
MEMORY = 2048  # MB


def drive(name: str, folder: Path, seconds: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    for known in [one for one in sys.modules if one.partition(".")[0] in LIBRARIES]:
        del sys.modules[known]  # what was read before is read again, to be guided by it
    with atheris.instrument_imports(include=[*LIBRARIES, *ROOMS], exclude=_no_parsers()):
        django.setup()
        targets = importlib.import_module("tests.fuzz.targets")
    target = targets.TARGETS[name]
    corpus, finds = folder / "corpus", folder / "finds"
    for made in (corpus, finds):
        made.mkdir(parents=True, exist_ok=True)
    seeds = list(target.seeds())
    for number, seed in enumerate(seeds):
        _keep(corpus, seed)
        _keep(corpus, bytes([NEAR[0], number % 256, 0, 0, 0, 0]))
    seen: set[tuple[Any, ...]] = set()

    def one_input(data: bytes) -> None:
        if target.near and data[:1] >= NEAR:
            data = target.near(seeds, data[1:])
        try:
            target(data)
        except Exception as fault:  # noqa: BLE001 - whatever comes out of it is a find
            _note(fault, data, finds, seen)

    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST_INPUT}",
            f"-timeout={HANGS_AFTER}",
            f"-rss_limit_mb={MEMORY}",
            f"-artifact_prefix={finds}/",
            "-print_final_stats=1",
            "-close_fd_mask=0",
            "-len_control=20",
            *words(folder),
        ],
        one_input,
    )
    atheris.Fuzz()


def _no_parsers() -> list[str]:
    """All other modules of ours: to be guided by them would take half a minute at each start."""
    files = (file.relative_to(ROOT) for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    return [
        ".".join(file.with_suffix("").parts).removesuffix(".__init__")
        for file in files
        if not any(parser in f"/{file}" for parser in PARSERS)
    ]


def words(folder: Path) -> list[str]:
    """Names that the formats know; a fuzzer does not guess them."""
    file = folder / "words"
    file.write_text("".join(f'"{word}"\n' for word in WORDS))
    return [f"-dict={file}"]


WORDS = (
    "<dict>", "<array>", "<key>", "<string>", "<data>", "<integer>", "<date>", "<true/>",
    "bplist00", "UDID", "EnrollmentID", "UserID", "MessageType", "Status", "Idle", "Acknowledged",
    "ErrorChain", "QueryResponses", "SecurityInfo", "ProfileList", "GlobalRestrictions", "Users",
    "Latitude", "Timestamp", "PayloadType", "Configuration", "PayloadContent", "PayloadUUID",
    "-----BEGIN CERTIFICATE-----", "StatusItems", "management", "declarations", "_removed",
    "possession", "devices", "facts", "change", "what", "pin", "rule", "list", "hours", "serials",
    "null", "true", "1e999", "\\\\ud800", "\\x30\\x80", "\\x00\\x00", "\\x24\\x80", "\\x06\\x09",
)  # fmt: skip


def _keep(corpus: Path, data: bytes) -> None:
    (corpus / hashlib.sha256(data).hexdigest()[:40]).write_bytes(data)


def _note(fault: Exception, data: bytes, finds: Path, seen: set[tuple[Any, ...]]) -> None:
    """Each kind once: which exception, and the last line that raised it."""
    last = traceback.extract_tb(fault.__traceback__)[-1]
    kind = (
        type(fault).__name__,
        str(fault)[:40] if type(fault).__name__ == "Find" else "",
        last.filename,
        last.lineno,
    )
    if kind in seen:
        return
    seen.add(kind)
    name = f"{type(fault).__name__}-{hashlib.sha256(data).hexdigest()[:12]}"
    (finds / name).write_bytes(data)
    (finds / f"{name}.txt").write_text("".join(traceback.format_exception(fault)))
    print(f"\nFIND {name}: {fault!r:.200} in {last.filename}:{last.lineno}", flush=True)


if __name__ == "__main__":
    drive(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
