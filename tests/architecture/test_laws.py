"""The laws of the house: who may import whom, and where secrets and settings may be named."""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "devices": {"devices"},
    "staff": {"staff", "devices"},
    "passcodes": {"passcodes", "staff", "devices"},
    "mdm": {"mdm", "passcodes", "staff", "devices"},
    "vault": {"vault", "passcodes", "staff", "devices"},
    "embedded": {"embedded"},
}
HOUSE = {*ROOMS, "tests", "bench"}
APPS = ("devices", "staff", "passcodes", "mdm", "vault")
ABOVE_PROCESSES = {"tasks", "admin", "management", "apps"}  # parts of an app; nobody imports them
PURE = re.compile(r"(devices|passcodes)/rules/|mdm/wire/")
RULES = re.compile(r"(devices|passcodes)\.rules(\.|$)")
PURE_OUTSIDE = {"cryptography", "asn1crypto"}  # CMS and X.509; nothing of it does I/O
READS_ENVIRONMENT = {"mdm/settings.py"}
NAMES_VAULT_KEY = {
    "vault/keyring.py",
    "mdm/settings.py",
    "mdm/wsgi.py",  # refuses to start where it sees it
    "mdm/management/commands/keygen.py",  # makes it
    "mdm/management/commands/vault_restore.py",  # writes it where two custodians brought it back
    "mdm/setup/environments.py",  # makes it, in the vault's own file alone
    "embedded/demo/environments.py",  # hands it to the demo's vault alone
}
REVEALS = {
    "devices/sealing.py",  # sealed where it enters
    "devices/custodians.py",  # the vault's keys, for two of three people; and their passphrases
    "devices/apns/apple.py",  # the push certificate's key, to OpenSSL
    "devices/rules/digest.py",  # a network user's HA1, and an AuthToken's fingerprint
    "passcodes/custom_command.py",  # an expert's PIN or password, into one command
    "mdm/wire/answers.py",  # a bootstrap token or an AuthToken, back to who it belongs to
    "mdm/wire/commands.py",  # the UnlockToken, into one answer
}


@dataclass(frozen=True)
class Import:
    name: str  # devices.models.Device, or devices.models
    line: int
    is_relative: bool = False
    in_function: bool = False


def files(*rooms: str) -> Iterator[str]:
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix()


@cache
def text(file: str) -> str:
    return (ROOT / file).read_text()


def read(source: str) -> list[Import]:
    """Every import of a file, with the whole name of what it takes."""
    found: list[Import] = []

    def visit(node: ast.AST, *, in_function: bool) -> None:
        match node:
            case ast.Import(names=names):
                found.extend(
                    Import(one.name, node.lineno, in_function=in_function) for one in names
                )
            case ast.ImportFrom(module=module, names=names, level=level):
                found.extend(
                    Import(f"{module}.{one.name}", node.lineno, level > 0, in_function)
                    for one in names
                )
            case _:
                inside = in_function or isinstance(
                    node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
                )
                for child in ast.iter_child_nodes(node):
                    visit(child, in_function=inside)

    visit(ast.parse(source), in_function=False)
    return found


@cache
def imports(file: str) -> list[Import]:
    return read(text(file))


def room_of(name: str) -> str:
    return name.partition(".")[0]


def part_of(file: str) -> str:
    """The floor inside an app: rules, models, migrations, tasks, admin …, or a process's name."""
    return file.split("/")[1].removesuffix(".py")


def breaches(found: Iterator[str]) -> None:
    """The test's verdict, with every place that breaks the law."""
    places = list(found)
    assert not places, "\n".join(places)


def at(file: str, one: Import) -> str:
    return f"{file}:{one.line}: {one.name}"


def test_the_reader_of_imports_sees_them_all() -> None:
    source = (
        "import os.path\nfrom a.b import c as d, e\nfrom . import f\n"
        "class G:\n    def h(self):\n        if True:\n            import i\n"
    )
    assert read(source) == [
        Import("os.path", 1),
        Import("a.b.c", 2),
        Import("a.b.e", 2),
        Import("None.f", 3, is_relative=True),
        Import("i", 7, in_function=True),
    ]


def test_the_laws_look_at_every_room() -> None:
    with_python = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert with_python - {"bench"} == {*ROOMS, "tests"}
    for room in ROOMS:
        assert len(list(files(room))) > 1


def test_imports_are_absolute() -> None:
    breaches(at(f, one) for f in files(*HOUSE) for one in imports(f) if one.is_relative)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_imports_run_downwards(room: str) -> None:
    breaches(
        at(file, one)
        for file in files(room)
        for one in imports(file)
        if room_of(one.name) in HOUSE - ROOMS[room]
    )


def test_rules_and_wire_are_pure() -> None:
    allowed = {*sys.stdlib_module_names, *PURE_OUTSIDE}

    def is_pure(file: str, name: str) -> bool:
        if room_of(name) in HOUSE:
            return bool(RULES.match(name)) or (
                file.startswith("mdm/wire/") and name.startswith("mdm.wire")
            )
        return room_of(name) in allowed

    pure = [file for file in files(*APPS) if PURE.match(file)]
    assert pure
    breaches(
        at(file, one) for file in pure for one in imports(file) if not is_pure(file, one.name)
    )


def test_rules_of_the_ground_know_nothing_of_passcodes() -> None:
    breaches(
        at(file, one)
        for file in files("devices/rules")
        for one in imports(file)
        if room_of(one.name) in HOUSE - {"devices"}
    )


def test_models_know_rules_and_models_only() -> None:
    below = re.compile(r"(devices|staff|passcodes)\.(rules|models)(\.|$)")
    models = [file for file in files(*APPS) if part_of(file) == "models"]
    assert models
    breaches(
        at(file, one)
        for file in models
        for one in imports(file)
        if room_of(one.name) in HOUSE and not below.match(one.name)
    )


def test_nobody_imports_tasks() -> None:
    breaches(
        at(file, one)
        for file in files(*HOUSE)
        for one in imports(file)
        if room_of(one.name) in APPS and "tasks" in one.name.split(".")
    )


def test_processes_know_no_page_and_no_command() -> None:
    processes = [
        file
        for file in files("devices", "staff", "passcodes", "vault")
        if part_of(file) not in {*ABOVE_PROCESSES, "migrations"}
    ]
    breaches(
        at(file, one)
        for file in processes
        for one in imports(file)
        if room_of(one.name) in ROOMS and ABOVE_PROCESSES & set(one.name.split(".")[1:2])
    )


def test_processes_see_no_request_and_no_form() -> None:
    """A page or an API carries a person's wish to a process; it hands no framework over."""
    processes = [
        file
        for file in files("devices", "passcodes", "vault")
        if part_of(file) not in {*ABOVE_PROCESSES, "migrations"}
    ]
    breaches(
        at(file, one)
        for file in processes
        for one in imports(file)
        if one.name.startswith(("django.http", "django.forms", "django.contrib.admin"))
    )


def test_one_file_knows_aioapns() -> None:
    knowing = {f for f in files(*HOUSE) for one in imports(f) if room_of(one.name) == "aioapns"}
    assert knowing == {"devices/apns/apple.py"}


def test_celery_is_known_to_tasks_and_the_clock_only() -> None:
    knowing = {f for f in files(*APPS) for one in imports(f) if room_of(one.name) == "celery"}
    assert knowing == {"devices/tasks.py", "passcodes/tasks.py", "mdm/celery.py"}


def test_no_import_stands_inside_a_function() -> None:
    breaches(at(f, one) for f in files(*HOUSE) for one in imports(f) if one.in_function)


def test_there_are_no_signals_of_our_own() -> None:
    ours = re.compile(r"django\.dispatch|django\..*\bsignals\b|django\.db\.models\.signals")
    breaches(at(f, one) for f in files(*APPS) for one in imports(f) if ours.match(one.name))


def test_the_environment_is_read_by_settings_only() -> None:
    """`os.environ.setdefault("DJANGO_SETTINGS_MODULE", …)` writes, and may stand where one begins."""
    begins = re.compile(r'os\.environ\.setdefault\("DJANGO_SETTINGS_MODULE", "mdm\.settings"\)')
    reads = re.compile(r"\benviron\b|\bgetenv\b|\bEnv\(")
    reading = {f for f in files(*APPS) if reads.search(begins.sub("", text(f)))}
    assert reading == READS_ENVIRONMENT


def test_the_vaults_private_key_is_named_in_few_files() -> None:
    naming = {f for f in files(*ROOMS) if re.search(r"\bVAULT_PRIVATE_KEY\b", text(f))}
    assert naming <= NAMES_VAULT_KEY
    assert {"vault/keyring.py", "mdm/settings.py", "mdm/wsgi.py"} <= naming


def test_a_secret_is_seen_in_few_files() -> None:
    seeing = {f for f in files(*ROOMS) if re.search(r"\.reveal\b", text(f))}
    assert seeing == REVEALS


def test_the_simulator_imports_nothing_of_the_house() -> None:
    """It is written from Apple's words, so that a misreading is not made twice."""
    breaches(
        at(file, one)
        for file in files("tests/simulator")
        for one in imports(file)
        if room_of(one.name) in HOUSE and not one.name.startswith("tests.simulator")
    )


def test_no_file_is_named_after_a_kind() -> None:
    kinds = {"services", "selectors", "utils", "helpers", "managers", "util", "common", "misc"}
    assert not [file for file in files(*HOUSE) if kinds & set(file[:-3].split("/"))]
