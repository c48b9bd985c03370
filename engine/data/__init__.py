"""Shipped artefacts: taxonomy, signatures, patterns, weights, default policy. Each has a card or a note beside it.

Learnt artefacts (``*.npz``) are named with their SHA-256 in ``manifest.json``; one whose hash differs is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aimds.errors import ArtefactError

MANIFEST = "manifest.json"
UNREADABLE = (
    ValueError, OSError, KeyError, EOFError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error
)  # fmt: skip
"""What numpy raises on a damaged ``.npz`` file."""


def path(name: str) -> Path:
    """The file or folder ``name`` of this package on disk.

    Raises:
        ArtefactError: it does not exist in this installation.
    """
    with as_file(files(__name__).joinpath(name)) as found:
        if not found.exists():
            raise ArtefactError(name, "this artefact is not in the installation; reinstall aimds")
        return found


def read_bytes(name: str) -> bytes:
    """The bytes of the artefact ``name``, checked against the manifest where it is listed there.

    Raises:
        ArtefactError: missing, or its SHA-256 is not the one in the manifest.
    """
    content = path(name).read_bytes()
    expected = manifest().get(name)
    if expected is not None and hashlib.sha256(content).hexdigest() != expected:
        raise ArtefactError(name, f"its SHA-256 is not {expected}, the one in {MANIFEST}; reinstall aimds")
    return content


def read_file(file: Path) -> bytes:
    """The bytes of ``file``, checked against the manifest in its folder where there is one.

    Raises:
        ArtefactError: it cannot be read, the manifest does not name it, or its SHA-256 is not the one there.
    """
    try:
        content = file.read_bytes()
        beside = file.parent / MANIFEST
        entries = json.loads(beside.read_bytes()) if beside.is_file() else None
    except (OSError, ValueError) as error:
        raise ArtefactError(file, f"cannot be read: {error}; name a folder that aimds wrote") from error
    if entries is not None and hashlib.sha256(content).hexdigest() != dict(entries).get(file.name):
        raise ArtefactError(file, f"its SHA-256 is not the one in {MANIFEST} beside it; make the folder anew")
    return content


def read_arrays(name: str) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays of the ``.npz`` artefact ``name``, checked like `read_bytes`; object arrays are refused."""
    return unpack(name, read_bytes(name))


def unpack(name: object, content: bytes) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays in the bytes of an ``.npz`` file; ``name`` is for the error text.

    Raises:
        ArtefactError: not an ``.npz`` file, damaged, or holding object arrays.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except UNREADABLE as error:
        raise ArtefactError(name, f"cannot be read as an .npz file: {error}") from error


def pack(arrays: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """The bytes of an ``.npz`` file of ``arrays``; they depend on its content alone, no time of day is inside."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    return out.getvalue()


@cache
def manifest() -> dict[str, str]:
    """SHA-256 by artefact name."""
    entries: dict[str, str] = json.loads(path(MANIFEST).read_bytes())
    return entries


def write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the files ``contents`` into ``folder``, made where it is missing, and the manifest last.

    Each file appears whole or not; while they are replaced, the old manifest keeps readers from a mixture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.partial").write_bytes(content)
    for name in contents:
        (folder / f"{name}.partial").replace(folder / name)
    seal(folder)


def seal(folder: Path) -> None:
    """Write the manifest of every ``.npz`` file in ``folder``."""
    entries = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.glob("*.npz"))}
    partial = folder / f"{MANIFEST}.partial"
    partial.write_text(json.dumps(entries, indent=1) + "\n")
    partial.replace(folder / MANIFEST)
    manifest.cache_clear()
