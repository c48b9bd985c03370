"""What to read: files, folders, globs and file-system URLs become sources with an output name each.

A URL is anything pyarrow's ``FileSystem.from_uri`` takes (``file://``, ``s3://``, ``gs://``, ``abfs://``, ``hdfs://``
…).
"""

from __future__ import annotations

import errno
import fnmatch
import glob
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from aimds.errors import DataError
from aimds.jobs.scan import manifest

KINDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
PARQUET = (".parquet", ".parq", ".pq")
SUFFIXES = (*PARQUET, *KINDS)
"""Ends of file names, whatever their case."""
_TAIL_BYTES = 1 << 16
_NAME_BYTES = 255
_SHOWN = 3
"""Files of other kinds that a remark names."""


@dataclass(frozen=True, slots=True)
class Source:
    """One input file. ``uri`` is empty for local files; ``path`` is the path inside the file system of ``uri``.

    ``asked_for``: it was named itself, not found in a folder or by a glob. ``problem``: why it cannot be opened, where
    that is known: a folder whose files nobody can tell, a name that no output can have.
    """

    path: str
    uri: str
    name: str
    kind: str
    asked_for: bool = True
    problem: str = ""

    @property
    def label(self) -> str:
        """What to call it in messages."""
        return f"{self.uri.split('://', 1)[0]}://{self.path}" if self.uri else self.path

    @property
    def below(self) -> str:
        """Its path below the deepest folder that holds all inputs, for remarks."""
        return self.name if self.kind == "parquet" else self.name.removesuffix(".parquet")

    def open(self) -> pa.NativeFile:
        """A random-access stream of its bytes.

        Raises:
            OSError: it cannot be opened.
        """
        self._check()
        return _system(self.uri)[0].open_input_file(self.path)

    def identity(self) -> dict[str, Any]:
        """What tells this content from another: size, modification time in ns, and a hash of the last 64 KiB.

        For a Parquet file the tail holds the footer, so the hash plays the part an etag plays in an object store.

        Raises:
            OSError: it cannot be read.
        """
        self._check()
        info = _system(self.uri)[0].get_file_info(self.path)
        if info.type != pafs.FileType.File:
            raise FileNotFoundError(f"no such file: {self.label}")
        with self.open() as file:
            size = file.size()
            file.seek(max(0, size - _TAIL_BYTES))
            tail = hashlib.sha256(file.read(_TAIL_BYTES)).hexdigest()[:32]
        return {"size": size, "mtime_ns": info.mtime_ns, "tail": tail}

    def _check(self) -> None:
        if self.problem:
            raise OSError(self.problem)


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    uri: str
    base: str
    asked_for: bool
    problem: str = ""


def _system(uri: str) -> tuple[pafs.FileSystem, str]:
    if not uri:
        return pafs.LocalFileSystem(), ""
    try:
        return pafs.FileSystem.from_uri(uri)  # type: ignore[no-any-return]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError, ImportError, OSError) as error:
        raise DataError(uri, f"this URL cannot be opened: {str(error).splitlines()[0]}") from error


def discover(
    patterns: Iterable[str],
    output: Path,
    searched: set[str] | None = None,
    others: dict[str, list[str]] | None = None,
) -> list[Source]:
    """The files behind ``patterns``, in a stable order, each once; folders and globs leave out what a scan wrote, and
    folders the verdicts of other scans below them. A folder that cannot be listed is a source with a ``problem``.

    Names are paths below the deepest folder that holds all inputs, so files of one name in two folders stay apart.

    Args:
        searched: the local folders that were looked into are added to it.
        others: for each folder of ``patterns`` the files in it that are no input for their kind are added to it, by
            their paths below the folder; hidden ones and those whose name begins with ``_`` are not.

    Raises:
        DataError: a pattern matches nothing, a URL cannot be opened, two inputs would have the same output, or an
            output would replace an input.
    """
    here = os.path.realpath(output)
    searched = set() if searched is None else searched
    found: dict[tuple[str, str], _Found] = {}
    passed: dict[str, list[_Found]] = {}
    for pattern in patterns:
        over = passed.setdefault(pattern, [])
        matches = list(_remote(pattern, searched, over) if "://" in pattern else _local(pattern, searched, over))
        kept = [m for m in matches if m.asked_for or m.uri or not _is_output(os.path.realpath(m.path), here)]
        if not kept:
            raise DataError(pattern, "matches no file (folders are searched for " + ", ".join(SUFFIXES) + ")")
        for match in kept:
            found.setdefault(_key(match), match)
    sources = sorted(_named(list(found.values())), key=lambda source: (source.name, source.path))
    _check_outputs(sources, Path(here))
    if others is not None:
        for pattern, over in passed.items():
            if left := sorted(os.path.relpath(match.path, match.base) for match in over if _key(match) not in found):
                others[pattern] = left
    return sources


def left_out(folder: str, names: Sequence[str]) -> str:
    """That files in ``folder``, the others of `discover`, are no input for their kind."""
    many = f"{len(names):,} files in {folder} are of other kinds and were left out"
    said = many if len(names) > 1 else f"1 file in {folder} is of another kind and was left out"
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    return f"{said}: {shown} (read are {', '.join(SUFFIXES)})"


def _key(match: _Found) -> tuple[str, str]:
    return _scheme(match.uri), match.path if match.uri else os.path.realpath(match.path)


def _is_output(path: str, folder: str) -> bool:
    return path.startswith(folder + os.sep) and manifest.wrote(Path(folder), os.path.relpath(path, folder))


def _local(pattern: str, searched: set[str], over: list[_Found]) -> Iterator[_Found]:
    if os.path.isdir(pattern):
        root = os.path.abspath(pattern)
        shut: list[OSError] = []
        for folder, files in folders_below(root, _holds_logs, shut.append):
            searched.add(folder)
            for name in sorted(files):
                if name.startswith((".", "_")):
                    continue
                match = _Found(os.path.join(folder, name), "", root, False)
                if name.lower().endswith(SUFFIXES):
                    yield match
                else:
                    over.append(match)
        for name in manifest.outputs(Path(root)) if os.access(root, os.X_OK) else ():
            if os.path.isfile(path := os.path.join(root, name)):
                yield _Found(path, "", root, False)
        for error in shut:
            yield _Found(str(error.filename), "", root, False, error.strerror or str(error))
    elif os.path.exists(pattern):
        path = os.path.abspath(pattern)
        yield _Found(path, "", os.path.dirname(path), True)
    elif glob.has_magic(pattern):
        base = os.path.abspath(_fixed_part(pattern, "*?["))
        for hit in sorted(glob.glob(pattern, recursive=True)):
            if os.path.isfile(hit):
                yield _Found(os.path.abspath(hit), "", base, False)
        # One that this pattern only passes through may still keep its list to itself.
        searched.update(os.path.abspath(one) for one, _ in _looked_into(pattern) if os.access(one, os.R_OK | os.X_OK))
        for folder in locked(pattern):
            yield _Found(os.path.abspath(folder), "", base, False, os.strerror(errno.EACCES))
    else:
        raise DataError(pattern, _missing(pattern))


def folders_below(
    root: str, wanted: Callable[[str], bool], shut: Callable[[OSError], None]
) -> Iterator[tuple[str, list[str]]]:
    """``root`` and the ``wanted`` folders below it, also behind links, with the names of their files; each folder once.

    What is behind links comes last: a folder that has a path without a link is found by that.
    """
    seen: set[str] = set()
    tops = [root]
    for top in tops:
        for folder, folders, files in os.walk(top, onerror=shut):
            real = os.path.realpath(folder)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if wanted(os.path.join(folder, name)))
            tops += [path for name in folders if os.path.islink(path := os.path.join(folder, name))]
            yield folder, files


def _missing(path: str) -> str:
    try:
        os.stat(path)
    except PermissionError as error:
        return f"cannot be opened: {error.strerror}"
    except (OSError, ValueError):
        pass
    return "no such file or folder"


def locked(pattern: str) -> Iterator[str]:
    """The folders in which ``pattern``, with magic signs in it, would have looked for files, but may not."""
    return (folder for folder, needed in _looked_into(pattern) if not os.access(folder, needed))


def _looked_into(pattern: str) -> Iterator[tuple[str, int]]:
    """The folders in which ``pattern``, with magic signs in it, looks for files, and the access that it needs there."""
    above, name = os.path.split(pattern)
    if glob.has_magic(above):
        yield from _looked_into(above)
    needed = os.X_OK | (os.R_OK if glob.has_magic(name) or above.endswith("**") else 0)
    for folder in glob.glob(os.path.join(above, ""), recursive=True) if above else ["."]:
        yield folder, needed


def _holds_logs(folder: str) -> bool:
    return not os.path.basename(folder).startswith((".", "_")) and not os.path.isdir(
        os.path.join(folder, manifest.FOLDER)
    )


def _fixed_part(pattern: str, magic: str) -> str:
    first = min(pattern.index(char) for char in magic if char in pattern)
    return pattern[:first].rpartition("/")[0] or ("/" if pattern.startswith("/") else ".")


def _remote(pattern: str, searched: set[str], over: list[_Found]) -> Iterator[_Found]:
    address, mark, query = pattern.partition("?")
    magic = [char for char in "*[" if char in address]
    uri = (_fixed_part(address, "*[") if magic else address) + mark + query
    system, root = _system(uri)
    local = isinstance(system, pafs.LocalFileSystem)
    kept = "" if local else uri
    if local and not magic:
        yield from _local(root, searched, over)
        return
    info = system.get_file_info(root)
    if info.type == pafs.FileType.File:
        yield _Found(root, kept, root.rpartition("/")[0], True)
        return
    if info.type != pafs.FileType.Directory:
        raise DataError(pattern, "no such file or folder")
    wanted = root.rstrip("/") + address[len(uri) - len(mark + query) :] if magic else ""
    for entry in sorted(system.get_file_info(pafs.FileSelector(root, recursive=True)), key=lambda entry: entry.path):
        if entry.type != pafs.FileType.File:
            continue
        match = _Found(entry.path, kept, root.rstrip("/"), False)
        if _matches(entry.path, wanted) if magic else _plain_data(entry.path[len(root) :]):
            yield match
        elif not magic and not _hidden(entry.path[len(root) :]):
            over.append(match)


def _matches(path: str, wanted: str) -> bool:
    """Glob over whole paths in which ``*`` stays inside one folder and ``**`` spans any number."""
    parts, globs = path.split("/"), wanted.split("/")

    def match(i: int, j: int) -> bool:
        if j == len(globs):
            return i == len(parts)
        if globs[j] == "**":
            return any(match(k, j + 1) for k in range(i, len(parts) + 1))
        return i < len(parts) and fnmatch.fnmatchcase(parts[i], globs[j]) and match(i + 1, j + 1)

    return match(0, 0)


def _plain_data(path: str) -> bool:
    return path.lower().endswith(SUFFIXES) and not _hidden(path)


def _hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.split("/"))


def _scheme(uri: str) -> str:
    return uri.partition("://")[0] if uri else ""


def _named(found: list[_Found]) -> Iterator[Source]:
    groups: dict[str, list[_Found]] = {}
    for match in found:
        groups.setdefault(_scheme(match.uri), []).append(match)
    for group in groups.values():
        root = os.path.commonpath([match.base for match in group])
        for match in group:
            name = os.path.relpath(match.path, root)
            kind = KINDS.get(os.path.splitext(name)[1].lower(), "parquet")
            output = name if kind == "parquet" else name + ".parquet"
            yield Source(
                match.path, match.uri, output, kind, match.asked_for, match.problem or _unfit(match.path, output)
            )


def _unfit(path: str, output: str) -> str:
    """Why ``path`` cannot be read, or its ``output`` not be written, for the name alone; "" for neither."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; give it another one"
    long = len(os.path.basename(output).encode()) > _NAME_BYTES
    return f"its output's name would have more than {_NAME_BYTES} bytes" if long else ""


def _check_outputs(sources: list[Source], output: Path) -> None:
    seen: dict[str, Source] = {}
    inputs = {os.path.realpath(source.path) for source in sources if not source.uri}
    for source in sources:
        if source.problem:
            continue
        if source.name in seen:
            raise DataError(
                source.label, f"would be written to the same file as {seen[source.name].label}: {source.name}"
            )
        seen[source.name] = source
        target = os.path.realpath(output / source.name)
        if target in inputs:
            raise DataError(target, "the output would replace this input; choose another folder with -o")
