"""A real PostgreSQL: a cluster of its own in a folder of its own, as a process that can be killed and brought back."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import asyncpg

from models.launcher.program import free_ports

START_S = 60.0
LOCKED_MS = "200"
USER, PASSWORD = "gateway", "s3cret word/@:%"
WRITTEN_PASSWORD = "s3cret%20word%2F%40%3A%25"  # as a URL has it
QUICK = ("fsync=off",)  # the machine goes on, whatever is killed


class Cluster:
    """One that runs, until it is stopped."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = count(1)

    def url(self, database: str, *, password: str = WRITTEN_PASSWORD, options: str = "") -> str:
        """Where one of its databases is."""
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}{options}"

    def start(self, *settings: str) -> None:
        """Start its server, and wait until it takes connections."""
        chosen = (f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}")
        options = [word for one in (*chosen, *QUICK, *settings) for word in ("-c", one)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - what it runs is ours
                [program("postgres"), "-D", self.folder / "data", *options], stderr=log, **as_somebody()
            )
        until = monotonic() + START_S
        while not self._answers():
            if monotonic() > until or self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text())
            sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End its server: at once, its connections with it."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_S)
            self._process = None

    def stand_still(self) -> None:
        """Stop all of its processes where they are: they take connections, and say nothing."""
        self._signal_all(signal.SIGSTOP)

    def go_on(self) -> None:
        """From there."""
        self._signal_all(signal.SIGCONT)

    def new_database(self) -> str:
        """An empty one's name."""
        name = f"test_{next(self._databases)}"
        self.run("postgres", f"CREATE DATABASE {name}")
        return name

    def run(self, database: str, question: str, *given: object) -> list[tuple[Any, ...]]:
        """What a database says to that."""
        return in_a_thread(asked(self.url(database), question, *given))

    def certify(self, name: str = "server") -> Path:
        """A fresh certificate for its address, signed by itself; that of the name `server` is the server's own."""
        certificate, key = (self.folder / "data" / f"{name}.{end}" for end in ("crt", "key"))
        subprocess.run(  # noqa: S603 - what it runs is ours
            [found("openssl"), "req", "-new", "-x509", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key],
            check=True, capture_output=True, **as_somebody(),
        )  # fmt: skip
        return certificate

    def _answers(self) -> bool:
        try:
            return self.run("postgres", "SELECT 1") == [(1,)]
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False

    def _signal_all(self, what: signal.Signals) -> None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for one in (self._process.pid, *map(int, children)):
            with suppress(ProcessLookupError):  # one that has just ended
                os.kill(one, what)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A new one, which runs; it ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="smallfirst-postgresql-"))
    (port,) = free_ports(1)
    made = Cluster(folder, port)
    try:
        prepare(folder)
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def prepare(folder: Path) -> None:
    """The files of a cluster, whose user has a password."""
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if os.geteuid() == 0:
        for one in (folder, secret):
            shutil.chown(one, **owner())
    subprocess.run(  # noqa: S603 - what it runs is ours
        [program("initdb"), "-D", folder / "data", "-U", USER, "--pwfile", secret, "--auth", "scram-sha-256",
         "--no-sync", "--encoding", "UTF8", "--locale", "C.UTF-8"],
        check=True, capture_output=True, cwd=folder, **as_somebody(),
    )  # fmt: skip


def program(name: str) -> str:
    """PostgreSQL's program of that name: the newest one of Debian's folders, else the path's."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda one: float(one.parts[4]))
    known = str(found[-1]) if found else shutil.which(name)
    if known is None:
        raise RuntimeError(f"{name} is not here: install PostgreSQL's server (on Debian: apt-get install postgresql)")
    return known


def found(name: str) -> str:
    """A program of the path."""
    known = shutil.which(name)
    if known is None:
        raise RuntimeError(f"{name} is not here: install it")
    return known


def owner() -> dict[str, str | int]:
    """Who runs it where we are root, whom PostgreSQL refuses."""
    account = next(one for one in pwd.getpwall() if one.pw_name in ("postgres", "nobody"))
    return {"user": account.pw_name, "group": account.pw_gid}


def as_somebody() -> dict[str, Any]:
    """How its programs are started."""
    return {**owner(), "extra_groups": []} if os.geteuid() == 0 else {}


async def asked(url: str, question: str, *given: object) -> list[tuple[Any, ...]]:
    """What a database says, that is not locked: whoever has locked it may be waiting for us."""
    connection = await asyncpg.connect(url, timeout=START_S, server_settings={"lock_timeout": LOCKED_MS})
    try:
        return [tuple(row) for row in await connection.fetch(question, *given)]
    finally:
        await connection.close()


def in_a_thread(asking: Any) -> Any:
    """What a coroutine comes to, while our own loop waits for it."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, asking).result()


def words(rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The first column."""
    return [row[0] for row in rows]
