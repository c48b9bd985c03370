"""The queue in a PostgreSQL database, which gateways and reviewers on many machines share.

A password comes from where libpq looks for one: PGPASSFILE, a service file, a client certificate. It is never part of
the URL, which stands in process lists and settings.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from aimds.errors import ConfigError, DataError
from aimds.respond.review.store import WAIT_S, Row
from aimds.respond.review.tables import FORMAT, statements

SCHEMA = "aimds_review"
SECRETS = ("password", "sslpassword")
MAKING = 0x41494D52
"""The lock of those who make the tables."""
TYPES = {
    "serial": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "int": "BIGINT",
    "real": "DOUBLE PRECISION",
    "text": 'TEXT COLLATE "C"',
    "bytes": "BYTEA",
    "keyed": "",
    "equal": "USING hash ",
}
_DEFAULTS = {
    "application_name": "aimds review",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "tcp_user_timeout": int(1000 * WAIT_S),
}
# A text of PostgreSQL holds no U+0000, which a client may put into an id; both ways, each text has one form.
_ESCAPE, _ZERO, _SELF = "\ue000", "\ue000\ue002", "\ue000\ue001"
Connection = psycopg.Connection[dict[str, Any]]


def _written(value: Any) -> Any:
    return value.replace(_ESCAPE, _SELF).replace("\x00", _ZERO) if isinstance(value, str) else value


def _read(value: Any) -> Any:
    return value.replace(_ZERO, "\x00").replace(_SELF, _ESCAPE) if isinstance(value, str) else value


class Rows:
    """A transaction of ``base``."""

    holds = "position(? IN text) > 0"

    def __init__(self, base: Connection) -> None:
        self._base = base

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Sequence[Row]:
        """Do ``statement``; the rows it gives."""
        done = self._base.execute(statement.replace("?", "%s").encode(), [_written(value) for value in values])
        if done.description is None:
            return []
        return [{name: _read(value) for name, value in row.items()} for row in done.fetchall()]

    def one(self, statement: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row that ``statement`` gives."""
        return next(iter(self.execute(statement, values)), None)

    def insert(self, statement: str, values: Sequence[Any]) -> int:
        """Do ``statement``, which adds one row; its id."""
        return int(self.execute(statement + " RETURNING id", values)[0]["id"])


class Server:
    """The schema ``aimds_review`` of the database ``url``; may be used from several threads. A connection that was lost
    is made anew by the next step.

    Args:
        create: make schema and tables where they are missing.

    Raises:
        ConfigError: the URL cannot be read, or holds a password.
        DataError: the database cannot be reached, holds no queue, or one of another format.
    """

    def __init__(self, url: str, *, create: bool = False) -> None:
        self._options = options(url)
        self.place = _place(self._options)
        self._lock = threading.RLock()
        with self._told():
            self._base = self._connected()
        try:
            with self._told():
                self._prepare(create)
        except BaseException:
            self._base.close()
            raise

    def _connected(self) -> Connection:
        base = psycopg.connect(autocommit=True, row_factory=dict_row, **self._options)
        base.execute(f"SET search_path = {SCHEMA}, pg_temp")
        base.execute(f"SET lock_timeout = '{WAIT_S:.0f}s'")
        # Who stops in the middle of a step must not hold the lock for ever.
        base.execute(f"SET idle_in_transaction_session_timeout = '{WAIT_S:.0f}s'")
        return base

    def _prepare(self, create: bool) -> None:
        encoding = self._one("SHOW server_encoding")["server_encoding"]
        if encoding != "UTF8":
            raise DataError(self.place, f"has the encoding {encoding}, a review queue needs UTF8")
        if not self._is_made():
            if not create:
                raise DataError(self.place, "holds no review queue; `aimds review add` makes one")
            with self._base.transaction():
                self._base.execute("SELECT pg_advisory_xact_lock(%s)", (MAKING,))
                if not self._is_made():
                    self._make()
        found = bytes(self._one("SELECT value FROM settings WHERE name = 'format'")["value"]).decode("ascii", "replace")
        if found != str(FORMAT):
            raise DataError(self.place, f"has format {found}, this version of aimds reads format {FORMAT}")

    def _is_made(self) -> bool:
        # A name that is looked up without a table may be remembered from before the lock was given.
        tables = f"SELECT count(*) AS n FROM pg_tables WHERE schemaname = '{SCHEMA}' AND tablename = 'settings'"
        return bool(self._one(tables)["n"])

    def _make(self) -> None:
        # Where the schema stands already, the right to make one is not needed.
        if not self._one(f"SELECT count(*) AS n FROM pg_namespace WHERE nspname = '{SCHEMA}'")["n"]:
            self._base.execute(f"CREATE SCHEMA {SCHEMA}")
        for statement in statements(TYPES):
            self._base.execute(statement.encode())
        for name, value in (("key", os.urandom(32)), ("format", str(FORMAT).encode())):
            self._base.execute("INSERT INTO settings VALUES (%s, %s)", (name, value))

    def _one(self, statement: str) -> dict[str, Any]:
        row = self._base.execute(statement.encode()).fetchone()
        assert row is not None
        return row

    @contextlib.contextmanager
    def change(self) -> Iterator[Rows]:
        """A transaction that holds the lock of the queue; rolled back where the block raises."""
        # The lock is a row, so that it is given up with the transaction whatever ends it. Each statement sees what was
        # committed before it, and so all that was done before the lock was given.
        with self._transaction("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE") as base:
            base.execute("SELECT name FROM settings WHERE name = 'key' FOR UPDATE")
            yield base

    @contextlib.contextmanager
    def read(self) -> Iterator[Rows]:
        """One state of the database, which writers do not change meanwhile."""
        with self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") as base:
            yield base

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[Rows]:
        with self._lock, self._told():
            self._begin(begin)
            try:
                yield Rows(self._base)
            except BaseException:
                try:
                    self._base.execute("ROLLBACK")
                except psycopg.Error:
                    self._base.close()
                raise
            self._base.execute("COMMIT")

    def _begin(self, statement: str) -> None:
        try:
            if not self._base.closed:
                self._base.execute(statement.encode())
                return
        except psycopg.OperationalError:
            if not self._base.closed:
                raise
        # Nothing was done yet, so that nothing is done twice.
        self._base = self._connected()
        self._base.execute(statement.encode())

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError as error:
            # An argument of a command line may hold bytes that are no text.
            raise ConfigError("text", error.object[:80], "text that can be written as UTF-8") from None
        except psycopg.Error as error:
            # What follows the first line may name values of a row.
            said = error.diag.message_primary or str(error).strip().partition("\n")[0]
            raise DataError(self.place, f"cannot be used: {said}") from error

    def scrub(self) -> None:
        """Vacuum the tables: what was removed can be read by no query, and its room is used again."""
        with self._lock, self._told():
            self._begin("SELECT 1")
            self._base.execute("VACUUM items, turns, history, proposals")

    def setting(self, name: str) -> bytes:
        """A value of the table of settings."""
        with self.read() as base:
            row = base.one("SELECT value FROM settings WHERE name = ?", (name,))
        assert row is not None
        return bytes(row["value"])

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._base.close()


def options(url: str) -> dict[str, Any]:
    """``url`` as options of a connection. A server that is reached over a network has to show a certificate for its
    name, unless the URL, PGSSLMODE or a service says something else.

    Raises:
        ConfigError: it cannot be read, or holds a password.
    """
    scheme, _, rest = url.partition("://")
    shown = scheme + "://…"
    try:
        given: dict[str, Any] = {name: value for name, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.Error:
        raise ConfigError("review queue", shown, "a URL that libpq reads: postgresql://[USER@]HOST/DATABASE") from None
    # A password with a / in it is the port and the name of the database to libpq, which would name them in an error.
    is_told = ":" in rest.partition("?")[0].rpartition("@")[0] or any(name in given for name in SECRETS)
    if is_told:
        source = "no password in the URL; libpq reads it from PGPASSFILE, a service file or PGPASSWORD"
        raise ConfigError("review queue", shown, source)
    hosts = [given.get(name) or os.environ.get(f"PG{name.upper()}", "") for name in ("host", "hostaddr")]
    is_far = not all(_is_here(one) for listed in hosts for one in str(listed).split(","))
    elsewhere = "service" in given or any(name in os.environ for name in ("PGSERVICE", "PGSSLMODE"))
    if is_far and "sslmode" not in given and not elsewhere:
        given["sslmode"] = "verify-full"
    return _DEFAULTS | given | {"client_encoding": "UTF8"}


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("", "localhost") or host.startswith(("/", "@"))


def _place(given: dict[str, Any]) -> str:
    if "service" in given:
        return f"postgresql://?service={given['service']}"
    host, port = given.get("host") or given.get("hostaddr") or "", given.get("port")
    return f"postgresql://{host}{'' if port is None else f':{port}'}/{given.get('dbname', '')}"
