"""PostgreSQL, Redis and the processes: they start, they keep, and none stays behind."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import environ
import psycopg
import pytest
import redis as client

from embedded import place, postgres, redis
from embedded.processes import Family, Trouble
from embedded.run import has_room_in_memory

ROOT = Path(__file__).resolve().parent.parent
SOON = 60.0  # seconds, on a machine that has other work too


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    place.remove(tmp_path / "data")


@pytest.fixture(scope="module")
def made_before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a database has been made, and stopped again."""
    data = tmp_path_factory.mktemp("made") / "data"
    here = place.prepare(data)
    with Family() as services:
        postgres.start(services, here, durable=False)
    yield here.folder
    place.remove(data)


@pytest.fixture
def kept(data: Path, made_before: Path) -> Path:
    """A data folder of a former start: most tests are not about how a database is made."""
    folder = place.prepare(data).folder
    subprocess.run(["cp", "-a", f"{made_before}/.", folder], check=True)
    return data


def connect(url: str, *, password: str | None = None) -> psycopg.Connection[tuple[object, ...]]:
    facts = environ.Env.db_url_config(url)
    return psycopg.connect(
        host=facts["HOST"],
        dbname=facts["NAME"],
        user=facts["USER"],
        password=password or facts["PASSWORD"],
    )


def processes_of(data: Path) -> list[str]:
    """Every process whose command line names a file that belongs to this data folder."""
    names = [str(data)]
    if (data / "place").exists():
        names.append((data / "place").read_text().strip())
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(name in command for name in names):
                found.append(command)
    return found


def wait_until_none(data: Path) -> None:
    until = time.monotonic() + SOON
    while processes_of(data) and time.monotonic() < until:
        time.sleep(0.05)
    assert processes_of(data) == []


def runner(data: Path, *command: str, asked: Sequence[str] = ()) -> subprocess.Popen[str]:
    """`python -m embedded.run`, as make starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "embedded.run", "--data", str(data), *asked, "--", *command],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def sleeping_run(data: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that has started everything and would go on for long."""
    with runner(data, sys.executable, "-c", "print('up', flush=True); input()") as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "up\n"
        assert len(processes_of(data)) > 2
        yield run


def test_the_database_keeps_what_is_written_over_a_restart(data: Path) -> None:
    for expected in (0, 1):
        with Family() as services:
            url = postgres.start(services, place.prepare(data), durable=True)
            with connect(url) as session:
                session.execute("CREATE TABLE IF NOT EXISTS kept (word text)")
                row = session.execute("SELECT count(*) FROM kept").fetchone()
                assert row == (expected,)
                session.execute("INSERT INTO kept VALUES ('here')")
    wait_until_none(data)


def test_text_is_compared_by_code_point_on_every_machine(kept: Path) -> None:
    with Family() as services:
        url = postgres.start(services, place.prepare(kept), durable=False)
        with connect(url) as session:
            row = session.execute(
                "SELECT datlocprovider, datlocale, pg_encoding_to_char(encoding), upper('ä')"
                " FROM pg_database WHERE datname = current_database()"
            ).fetchone()
    assert row == ("b", "C.UTF-8", "UTF8", "Ä")


def test_the_database_lets_nobody_in_without_the_password(kept: Path) -> None:
    with Family() as services:
        here = place.prepare(kept)
        url = postgres.start(services, here, durable=False)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(url, password="guessed")
        assert (here.folder / "password").stat().st_mode & 0o777 == 0o600
        assert (here.folder / "postgres").stat().st_mode & 0o777 == 0o700
        assert (here.folder / "postgres/socket").stat().st_mode & 0o777 == 0o700


def test_the_database_has_no_port(kept: Path) -> None:
    with Family() as services:
        url = postgres.start(services, place.prepare(kept), durable=False)
        with connect(url) as session:
            assert session.execute("SHOW listen_addresses").fetchone() == ("",)


def test_a_note_of_a_process_that_is_no_database_does_not_stop_the_next_start(kept: Path) -> None:
    here = place.prepare(kept)
    with Family() as services:
        postgres.start(services, here, durable=False)
        note = here.folder / "postgres/data/postmaster.pid"
        left_behind = note.read_text()
    assert not note.exists()
    mine = str(os.getpid())
    note.write_text(mine + left_behind[left_behind.index("\n") :])
    with Family() as services:
        url = postgres.start(services, here, durable=False)
        with connect(url) as session:
            assert session.execute("SELECT 1").fetchone() == (1,)


def test_a_half_made_database_is_not_taken_for_a_whole_one(kept: Path) -> None:
    here = place.prepare(kept)
    with Family() as services:
        first = postgres.start(services, here, durable=False)
    home = here.folder / "postgres"
    (home / "data").rename(home / "unfinished-1")
    with Family() as services:
        second = postgres.start(services, here, durable=False)
        assert first != second
        with connect(second) as session:
            assert session.execute("SELECT 1").fetchone() == (1,)


def test_a_killed_database_recovers(kept: Path) -> None:
    here = place.prepare(kept)
    with Family() as services:
        url = postgres.start(services, here, durable=True)
        with connect(url) as session:
            session.execute("CREATE TABLE kept AS SELECT 7 AS number")
        services.children[0].process.kill()
    with Family() as services:
        url = postgres.start(services, here, durable=True)
        with connect(url) as session:
            assert session.execute("SELECT number FROM kept").fetchone() == (7,)


def test_a_data_folder_with_a_long_name_gets_its_sockets_elsewhere(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 30)
    try:
        here = place.prepare(data)
        in_memory = data.is_relative_to(place.MEMORY)
        assert here.folder.parent == (place.MEMORY if in_memory else place.APART)
        assert place.prepare(data) == here
        with Family() as services:
            url = postgres.start(services, here, durable=False)
            with connect(url) as session:
                assert session.execute("SELECT 1").fetchone() == (1,)
    finally:
        place.remove(data)
    assert not here.folder.exists()


def test_a_socket_that_cannot_be_is_said() -> None:
    with pytest.raises(Trouble, match="107 bytes"):
        place.socket_path(Path("/" + "x" * 107))


def test_redis_answers_on_a_private_socket_only(data: Path) -> None:
    with Family() as services:
        url = redis.start(services, place.prepare(data), durable=True)
        path = url.removeprefix("redis+socket://").partition("?")[0]
        with client.Redis(unix_socket_path=path) as session:
            session.set("tick", "1")
            assert session.config_get("port") == {"port": "0"}
            assert session.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert Path(path).stat().st_mode & 0o777 == 0o700
    with Family() as services:
        redis.start(services, place.prepare(data), durable=True)
        with client.Redis(unix_socket_path=path) as session:
            assert session.get("tick") == b"1"


def test_a_service_that_cannot_start_says_why_in_its_own_words(data: Path) -> None:
    here = place.prepare(data)
    (here.folder / "redis").mkdir(mode=0o700)
    (here.folder / "redis/appendonly.aof").write_text("this is no log of commands\n")
    with (
        Family() as services,
        pytest.raises(Trouble, match=r"Redis stopped with .*: .*redis\.log"),
    ):
        redis.start(services, here, durable=True)


def test_a_run_passes_the_exit_status_on_and_leaves_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    run = runner(data, sys.executable, "-c", "raise SystemExit(7)")
    run.communicate(timeout=SOON)
    assert run.returncode == 7
    wait_until_none(data)
    place.remove(data)


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_run_takes_passing_files_away_and_keeps_them_in_memory_where_it_may(
    kept: Path, in_memory: bool
) -> None:
    show = "import tempfile; print(tempfile.mkdtemp())"
    asked = ["--in-memory"] if in_memory else []
    with runner(kept, sys.executable, "-c", show, asked=asked) as run:
        out, _ = run.communicate(timeout=SOON)
    made = Path(out.strip())
    in_it = in_memory and has_room_in_memory()
    assert made.is_relative_to(place.MEMORY if in_it else tempfile.gettempdir())
    assert made.parent.name.startswith("passing-")
    assert not made.parent.exists()


def test_a_run_hides_the_database_its_caller_uses(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://production.example.org/passcodes")
    show = "import os; print(os.environ['DATABASE_URL'], os.environ['REDIS_URL'])"
    out, _ = runner(kept, sys.executable, "-c", show).communicate(timeout=SOON)
    assert "production" not in out
    assert out.count("passcodes") >= 1


@pytest.fixture
def hears_hang_ups() -> Iterator[None]:
    """Whoever is run by nohup does not, and hands that down."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hears_hang_ups")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_end_asked_for_leaves_no_process(kept: Path, ending: signal.Signals) -> None:
    with sleeping_run(kept) as run:
        run.send_signal(ending)
        assert run.wait(SOON) == 128 + ending
    wait_until_none(kept)


def test_a_killed_run_leaves_no_process_either(kept: Path) -> None:
    with sleeping_run(kept) as run:
        run.kill()
        run.wait(SOON)
    wait_until_none(kept)


def test_a_grandchild_in_a_session_of_its_own_is_ended_as_well(kept: Path) -> None:
    away = (
        f"import subprocess; subprocess.Popen(['sleep', '611', '{kept}'], start_new_session=True)"
    )
    away = away.replace("['sleep', '611', ", "['tail', '-f', '/dev/null', '--', ")
    run = runner(kept, sys.executable, "-c", away)
    run.communicate(timeout=SOON)
    wait_until_none(kept)


def demo(*arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "embedded.demo", "--data", str(data), *arguments],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=SOON,
    )


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_a_port_in_use_is_said_before_anything_starts(data: Path, offset: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = demo("--port", str(port - offset), data=data)
    assert done.returncode == 1
    assert done.stderr.strip().startswith(f"Port {port} is in use;")
    assert not data.exists()


def test_a_port_that_another_shares_counts_as_in_use(data: Path) -> None:
    """As granian's workers do: the kernel would let a second one in."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        done = demo("--port", str(port), data=data)
    assert done.returncode == 1
    assert done.stderr.strip().startswith(f"Port {port} is in use;")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--port", "eight"),
        ("--port", "65533"),
        ("--devices", "-1"),
        ("--hour", "0"),
        ("--hour", "3601"),
    ],
)
def test_a_number_that_makes_no_sense_is_said(data: Path, arguments: tuple[str, str]) -> None:
    done = demo(*arguments, data=data)
    assert done.returncode == 1
    assert "must be a number from" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_child_that_dies_is_named_with_its_last_words(tmp_path: Path) -> None:
    with Family() as family:
        words = "import sys; sys.exit('the key is missing')"
        child = family.start(
            "the vault", [sys.executable, "-c", words], log=tmp_path / "vault.log"
        )
        child.process.wait(SOON)
        assert family.dead() is child
        assert child.epitaph().startswith(
            "the vault stopped with exit status 1: the key is missing (all of it: "
        )
