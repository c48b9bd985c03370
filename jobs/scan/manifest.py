"""What a scan remembers on disk, per input file, so that it can be killed at any moment and resumed.

``DIR/.aimds/<hash of the output's name>/`` holds ``input.json`` (the configuration and the input it belongs to), one
part per finished unit, and at the end ``done.json``, written after the output stands under its name; only then are the
parts deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aimds.errors import DataError
from aimds.jobs.scan import durable, parts
from aimds.jobs.scan.summary import Skip

FOLDER = ".aimds"
SKIPPED = "_skipped.json"
_INPUT, _DONE = "input.json", "done.json"
_WORDS = {
    "input": "the input file",
    "job": "the command",
    "screener": "the settings",
    "columns": "the columns",
    "carry": "--carry",
    "with_text": "--with-text",
    "unit_rows": "the rows of a unit",
    "limits": "the limits",
    "schema": "the columns of the output",
    "format": "the version of aimds",
}
"""What an output depends on, for a reader."""


def digest(value: Any) -> str:
    """A hash of ``value`` (JSON)."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def _folder(root: Path, name: str) -> Path:
    return root / FOLDER / digest(name)[:16]


def wrote(root: Path, name: str) -> bool:
    """Whether ``root``/``name`` is the output of a scan into ``root``, finished or not."""
    return (_folder(root, name) / _INPUT).exists()


def outputs(root: Path) -> Iterator[str]:
    """The names of the outputs, finished or not, of scans into ``root``."""
    for record in sorted((root / FOLDER).glob(f"*/{_INPUT}")):
        known = durable.read_json(record)
        if isinstance(known, dict) and isinstance(known.get("name"), str):
            yield known["name"]


@dataclass(frozen=True, slots=True)
class Memory:
    """The state of one output file. ``belongs`` = {"config": …, "input": …}: what its content depends on. ``job`` and
    ``makes`` are the words for who writes it and what it holds, ``told`` the options it is made with, for a reader."""

    root: Path
    name: str
    belongs: dict[str, Any]
    job: str = "scan"
    makes: str = "verdicts"
    told: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return _folder(self.root, self.name)

    @property
    def output(self) -> Path:
        return self.root / self.name

    @property
    def key(self) -> str:
        """What the parts are marked with."""
        return digest([self.name, self.belongs])

    @property
    def _input(self) -> dict[str, Any]:
        return {"name": self.name, "belongs": self.belongs, "told": self.told}

    def conflict(self) -> str | None:
        """Why what is on disk is not of this scan; None where it is, or where nothing is there."""
        before = durable.read_json(self.folder / _INPUT)
        if before is None:
            unknown = f"exists and was not written by a {self.job} that is known here"
            return unknown if self.output.exists() else None
        if before.get("belongs") != self.belongs:
            changed = _difference(before.get("belongs") or {}, self.belongs)
            options = _options(before.get("told"), self.told)
            return f"does not hold {self.makes} of this {self.job} ({changed}{options})"
        done = self.done()
        if done and done["bytes"] is not None and self.output.exists() and self.output.stat().st_size != done["bytes"]:
            return f"was changed after the {self.job} wrote it"
        return None

    def done(self) -> dict[str, Any] | None:
        """The record of the finished file, if it is finished and its output is still there."""
        record = durable.read_json(self.folder / _DONE)
        return record if isinstance(record, dict) and self.output.exists() else None

    def begin(self, *, afresh: bool) -> dict[tuple[int, int], dict[str, Any]]:
        """Make the folder ready; return the trailers of the parts that are finished and good, by (group, slice).

        ``afresh`` forgets everything that was done before. Damaged and foreign parts are deleted.

        Raises:
            OutputError: the operating system refuses.
        """
        if afresh:
            self.forget()
        with durable.guarded(self.folder, "prepare this folder"):
            self.folder.mkdir(parents=True, exist_ok=True)
            for stale in self.folder.glob(f".*{durable.TEMPORARY}"):
                stale.unlink()
            (self.folder / _DONE).unlink(missing_ok=True)
        if durable.read_json(self.folder / _INPUT) is None:
            durable.write_json(self.folder / _INPUT, self._input)
        good = {}
        for group, slice_, path in parts.listed(self.folder):
            trailer = parts.verify(path, self.key)
            if trailer is None:
                path.unlink()
            else:
                good[group, slice_] = trailer
        return good

    def forget(self) -> None:
        """Remove all memory of this file; the output itself stays until the new one replaces it."""
        with durable.guarded(self.folder, "remove this folder"):
            # The marker goes last: without it what is left would look like someone else's output.
            if self.folder.exists():
                for path in self.folder.iterdir():
                    if path.name != _INPUT:
                        path.unlink()
                if self.output.exists():
                    durable.write_json(self.folder / _INPUT, self._input)
                else:
                    shutil.rmtree(self.folder)

    def finish(self, record: dict[str, Any]) -> None:
        """Write the record of the finished file, then delete its parts."""
        durable.write_json(self.folder / _DONE, record)
        self.sweep()

    def sweep(self) -> None:
        """Delete the parts of a finished file, and what was begun of others."""
        with durable.guarded(self.folder, "delete parts"):
            for _, _, path in parts.listed(self.folder):
                path.unlink()
            for pattern in (f".*{durable.TEMPORARY}", f"*{durable.KEPT}"):
                for stale in self.folder.glob(pattern):
                    stale.unlink(missing_ok=True)


def list_skipped(root: Path, now: set[Path], looked_at: set[str], skipped: list[Skip]) -> None:
    """Write ``_skipped.json``: what this run skipped, and what earlier runs over other inputs skipped.

    ``now`` are the folders of this run's files, ``looked_at`` the labels of all its inputs and the folders
    that were searched for them.

    Raises:
        OutputError: the operating system refuses.
    """
    listed = [asdict(skip) for skip in skipped]
    for record in sorted((root / FOLDER).glob(f"*/{_DONE}")):
        if record.parent not in now:
            listed += (durable.read_json(record) or {}).get("skipped", [])
    path = root / SKIPPED
    # What could not be opened has no record but this list.
    before = durable.read_json(path)
    listed += [one for one in before if _unopened(one, looked_at)] if isinstance(before, list) else []
    if listed:
        durable.write_json(path, listed)
    else:
        with durable.guarded(path, "delete"):
            path.unlink(missing_ok=True)


def _unopened(entry: Any, looked_at: set[str]) -> bool:
    """Whether ``entry`` says of a file or folder that it could not be opened, and nobody has ``looked_at`` it since."""
    if not isinstance(entry, dict) or entry.get("row_group") is not None:
        return False
    label = str(entry.get("file"))
    return label not in looked_at and ("://" in label or os.path.lexists(label))


def refuse(conflicts: list[tuple[Memory, str]]) -> None:
    """Raise DataError for the first of ``conflicts``, if there is one."""
    if conflicts:
        memory, problem = conflicts[0]
        more = f" (and {len(conflicts) - 1} more)" if len(conflicts) > 1 else ""
        raise DataError(
            memory.output, f"{problem}{more}; choose another folder with -o, or replace it with --overwrite"
        )


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    changed = []
    for part in ("input", "config"):
        old, new = before.get(part) or {}, now[part]
        changed += [_WORDS[part] if part == "input" else _WORDS[key] for key in new if old.get(key) != new[key]]
    return "different: " + ", ".join(dict.fromkeys(changed or [_WORDS["format"]]))


def _options(before: object, now: dict[str, str]) -> str:
    # Outputs of an earlier version do not say what they were made with.
    old: dict[str, str] = before if isinstance(before, dict) else now
    names = [name for name in sorted({*old, *now}) if old.get(name) != now.get(name)]
    said = [f"with {name} {old[name]}".rstrip() if name in old else f"without {name}" for name in names]
    return f"; made {', '.join(said)}" if said else ""
