"""Erasing from a log that another process writes: one asks in a file, the writer does it and answers in another.

    <name>.wanted    the subject, when it was asked, a random name of the question, sealed with the key of the log
    <name>.answer    that name, and how many records it were or what went wrong; read and removed by the one who asked

Without the key nobody can ask, so that who can write the folder cannot have the writer sign what he could not take out
unseen himself. A log that has neither key nor signature proves nothing against such a one, and asks for no seal.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from aimds.errors import AimdsError, DataError
from aimds.record import disk, segments
from aimds.record.audit import AuditLog
from aimds.record.chain import canonical
from aimds.record.erasure import Found, erase
from aimds.record.keys import mac
from aimds.record.subject import Subject

VALID = timedelta(hours=1)
"""A question is answered this long; an older one may have been put back by somebody."""
MAX_BYTES = 64 << 10
PURPOSE = "erase"
_NAMES = ("session", "tenant", "request", "identity")


def wanted_path(path: Path) -> Path:
    """Where the writer of the log ``path`` is asked."""
    return path.with_name(path.name + ".wanted")


def answer_path(path: Path) -> Path:
    """Where it answers."""
    return path.with_name(path.name + ".answer")


def ask(path: Path, subject: Subject, key: bytes | None, *, now: datetime, name: str) -> None:
    """Ask the writer of the log ``path`` to erase ``subject``. ``name``: of the question, random.

    Raises:
        DataError: somebody else's question waits, or the file cannot be written.
    """
    fields = {"asked": now.isoformat(), "name": name, **asdict(subject)}
    content = canonical({**fields, "seal": _seal(fields, key)}, "wanted").encode()
    file = wanted_path(path)
    with contextlib.suppress(FileNotFoundError):
        if now.timestamp() - file.stat().st_mtime > VALID.total_seconds():
            file.unlink()
    try:
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise DataError(file, "is there: another erasure waits for the writer of the log; try again later") from None
    except OSError as error:
        raise DataError(file, f"cannot be written: {error.strerror}") from error
    try:
        disk.write(opened, content + b"\n")
    finally:
        os.close(opened)


def _content(file: Path, most: int = -1) -> bytes:
    """What stands in ``file``, up to ``most`` bytes.

    Raises:
        FileNotFoundError: nobody has written it.
        DataError: it is no file, so that whoever reads it could wait for ever; or it cannot be read.
    """
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            if not segments.regular(opened.fileno()):
                raise DataError(file, "is no file; remove it")
            return opened.read(most)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror}") from error


def withdraw(path: Path, name: str) -> bool:
    """Take the question ``name`` back; False where the writer has it already, and the next one's stays.

    Raises:
        DataError: something else stands in its place.
    """
    file = wanted_path(path)
    try:
        found = json.loads(_content(file))
        if not isinstance(found, dict) or found.get("name") != name:
            return False
        file.unlink()
    except (FileNotFoundError, ValueError):
        return False
    return True


def answered(path: Path, name: str) -> dict[str, Any] | None:
    """What the writer answered to the question ``name``: ``records`` or ``problem``; None: nothing yet.

    Raises:
        DataError: something else stands where it answers.
    """
    try:
        found = json.loads(_content(answer_path(path)))
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("name") != name:
        return None
    with contextlib.suppress(FileNotFoundError):
        answer_path(path).unlink()
    return found


def serve(log: AuditLog, now: datetime) -> Found | None:
    """Do what the writer of ``log`` is asked for, and answer; None where nobody asks, or the question is refused.

    Raises:
        AimdsError: it could not be done; the answer says why. Or something else than a file is in its place, which
            stays there.
    """
    file = wanted_path(log.path)
    try:
        content = _content(file, MAX_BYTES)
    except FileNotFoundError:
        return None
    if not content.endswith(b"\n") and len(content) < MAX_BYTES:
        # It is being written; one that never ends is taken away by who asks much later.
        return None
    file.unlink()
    name = ""
    answer: dict[str, Any] = {}
    try:
        fields = _fields(file, content)
        name = str(fields["name"])
        subject = _trusted(log, fields, now)
        found = erase(log, subject, checked=True)
        answer = {"records": found.records}
    except AimdsError as error:
        answer = {"problem": str(error)}
        raise
    finally:
        whole = {"name": name, **(answer or {"problem": "the writer failed; see what it says"})}
        disk.replace(answer_path(log.path), (canonical(whole, "answer") + "\n").encode())
    return found


def _fields(file: Path, content: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(content)
        whole = fields.keys() == {"asked", "name", "seal", *_NAMES}
    except (ValueError, RecursionError, AttributeError):
        whole = False
    texts = whole and all(
        isinstance(value, str) or (value is None and name in _NAMES) for name, value in fields.items()
    )
    if not texts:
        raise DataError(file, "is no question that this version reads")
    return dict(fields)


def _trusted(log: AuditLog, fields: dict[str, Any], now: datetime) -> Subject:
    file, seal = wanted_path(log.path), fields.pop("seal")
    if not log.sealed(PURPOSE, canonical(fields, "wanted").encode(), seal):
        raise DataError(file, "is not sealed with the key of the log; name it with --key, or stop the writer and erase")
    try:
        age = now - datetime.fromisoformat(fields["asked"])
    except (ValueError, TypeError):
        raise DataError(file, "is no question that this version reads") from None
    if abs(age) > VALID:
        raise DataError(file, f"was asked at {fields['asked']}, which is too long ago")
    if fields["name"] in log.served:
        raise DataError(file, "was done already; somebody has put it back")
    log.served.add(fields["name"])
    return Subject(**{name: fields[name] for name in _NAMES})


def _seal(fields: dict[str, Any], key: bytes | None) -> str:
    return "" if key is None else mac(key, PURPOSE, canonical(fields, "wanted").encode())
