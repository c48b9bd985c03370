"""A PostgreSQL server of one's own, on a socket in a folder, for as long as it is needed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER = "aimds"
START_S = 30.0


def programs() -> Path | None:
    """The folder of initdb and postgres."""
    for folder in (*os.get_exec_path(), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))):
        if all(os.access(Path(folder, name), os.X_OK) for name in ("initdb", "postgres")):
            return Path(folder)
    return None


def missing() -> str | None:
    """Why no server can be started here."""
    try:
        import psycopg
    except ImportError:
        return "psycopg is not installed"
    del psycopg
    return "no PostgreSQL server here (initdb, postgres)" if programs() is None else None


@dataclass
class Postgres:
    """A server whose socket is in ``folder``; the password of USER is in ``passfile`` alone."""

    folder: Path
    passfile: Path
    process: subprocess.Popen[bytes]
    arguments: list[str]
    ours: dict[str, Any]
    made: int = 0

    def url(self, database: str) -> str:
        """Where ``database`` is."""
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def database(self, encoding: str = "UTF8") -> str:
        """The URL of a new database."""
        self.made += 1
        name = f"queue{self.made}"
        self.order(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        return self.url(name)

    def order(self, statement: str, database: str = "postgres") -> list[Any]:
        """Do ``statement``."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True, passfile=str(self.passfile)) as base:
            done = base.execute(statement.encode())
            return done.fetchall() if done.description is not None else []

    def begin(self) -> None:
        """Start, and wait until it answers."""
        self.process = subprocess.Popen(
            self.arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.ours
        )
        until = time.monotonic() + START_S
        while True:
            try:
                self.order("SELECT 1")
                return
            except Exception:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop, and everybody's connections with it."""
        self.process.send_signal(how)
        self.process.wait()


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """A server; PGPASSFILE is not set."""
    where = programs()
    assert where is not None
    # The server refuses to be root.
    ours: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    # A path of a socket has 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="aimds-pg-", dir="/tmp"))
    try:
        passfile, plain = folder / "pass", folder / "plain"
        word = secrets.token_hex(12)
        plain.write_text(word)
        passfile.write_text(f"*:*:*:{USER}:{word}\n")
        passfile.chmod(0o600)
        if ours:
            shutil.chown(folder, "nobody", "nogroup")
            shutil.chown(plain, "nobody", "nogroup")
        data = folder / "data"
        options = f"-D {data} -U {USER} -A scram-sha-256 --pwfile {plain} -E UTF8 --locale=C -N"
        make = [where / "initdb", *options.split()]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder, **ours)
        plain.unlink()
        options = f"-D {data} -k {folder} -c listen_addresses= -c fsync=off"
        arguments = [str(where / "postgres"), *options.split()]
        server = Postgres(folder, passfile, None, arguments, {**ours, "cwd": folder})  # type: ignore[arg-type]
        server.begin()
        try:
            yield server
        finally:
            server.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
