"""`aimds report`: verdict files in, one self-contained HTML page out."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from aimds import __version__
from aimds.errors import DataError
from aimds.jobs.report.findings import Findings
from aimds.jobs.report.page import render
from aimds.jobs.report.tally import tally

DEFAULT_TITLE = "Screening report"


def report(
    paths: Sequence[str | Path],
    *,
    made_at: datetime,
    out: Path | None,
    requests: Sequence[str | Path] = (),
    title: str = DEFAULT_TITLE,
    mask: bool = True,
) -> Findings:
    """Sum up the verdicts in ``paths`` and write the page to ``out`` (nothing where it is None).

    Args:
        paths: verdict files, folders of them, globs.
        made_at: the time printed on the page; the page depends on nothing else but the arguments and the files.
        out: where the page goes; replaced in one step, its folder made where missing.
        requests: the original logs, for excerpts where the verdicts carry no text.
        title: heading of the page.
        mask: leave personal data and secrets out of the excerpts.

    Raises:
        DataError: nothing to read, a damaged file, or ``out`` cannot be written.
        SchemaError: a file that does not hold verdicts, or a log without text.
    """
    if out is not None:
        check(out)
    findings = tally(paths, requests=requests, mask=mask)
    if out is not None:
        write(out, render(findings, title=title, made_at=made_at, engine_version=__version__))
    return findings


def check(out: Path) -> None:
    """Find out before the work whether a page can be put at ``out``; nothing is made or changed.

    Raises:
        DataError: as `write`.
    """
    try:
        _free(out)
        above = next(one for one in out.absolute().parents if one.exists())
        if not above.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(above, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise DataError(out, f"cannot be written: {error.strerror or error}") from error


def _free(out: Path) -> None:
    if out.is_dir():
        raise DataError(out, "is a folder; name a file, for example report.html")
    if out.is_file():
        with out.open("rb") as there:
            if there.read(1) not in (b"", b"<"):
                raise DataError(out, "holds something else than a page; name another file")


def write(out: Path, page: str) -> None:
    """Put ``page`` at ``out`` in one step: readers see the old file or the new one, never a part.

    A page takes the place of markup or of an empty file alone: what was mistyped may name verdicts, or a policy.

    Raises:
        DataError: it cannot be written, or another kind of file stands there.
    """
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        _free(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Text from logs may hold lone surrogates; the page must still be valid UTF-8.
            part.write_bytes(page.encode("utf-8", "replace"))
            part.replace(out)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(out, f"cannot be written: {error.strerror or error}") from error
