"""Benign tails measured on a tenant's own traffic, by group, and the classifier that judges by them.

A group is a channel (trusted, untrusted) or a script within one. A row is judged by the tails of the smallest group
that has some of its own, and by those of all traffic where there is none.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.detect import fusion
from aimds.detect.classifier import Classifier
from aimds.detect.fusion import Fused, StageScores
from aimds.detect.script import SCRIPTS, Codes
from aimds.detect.tail import Tail
from aimds.errors import ArtefactError, ConfigError

F32 = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

CALIBRATION = "calibration.npz"
FORMAT = 1
CHANNELS = ("trusted", "untrusted")
CELLS = tuple(f"{channel}.{script}" for channel in CHANNELS for script in SCRIPTS)
"""The smallest groups, in the order of `cells`."""
GROUPS = (*CHANNELS, *CELLS)
AT = "@"
"""Parts the name of a tail from the group it is for; a tail without it is for all traffic."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """``tails`` by name, those of a group as ``name@group``; ``card``: what was measured, and on how much."""

    tails: dict[str, Tail]
    card: dict[str, Any]
    version: str

    @classmethod
    def load(cls, folder: Path) -> Calibration:
        """The calibration that `aimds calibrate` wrote into ``folder``.

        Raises:
            ArtefactError: missing, damaged, of another format, or not the one its manifest names.
        """
        file, listing = folder / CALIBRATION, folder / data.MANIFEST
        for path in (file, listing):
            if not path.is_file():
                raise ArtefactError(path, "no such file; name a folder that `aimds calibrate` wrote")
        content = file.read_bytes()
        try:
            expected = json.loads(listing.read_bytes())[CALIBRATION]
        except (ValueError, KeyError, TypeError) as error:
            raise ArtefactError(listing, f"does not name {CALIBRATION}; run `aimds calibrate` again") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise ArtefactError(file, f"its SHA-256 is not {expected}, the one in {data.MANIFEST}; calibrate again")
        return cls.unpack(file, content)

    @classmethod
    def unpack(cls, name: object, content: bytes) -> Calibration:
        """The calibration in the bytes of an ``.npz`` file; ``name`` is for the error text."""
        arrays = data.unpack(name, content)
        try:
            card = json.loads(arrays["card"].tobytes())
            form, fits = card["calibration_format"], isinstance(card["model"], str) and isinstance(card["profile"], str)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(name, "has no card of a calibration; run `aimds calibrate` again") from error
        if form != FORMAT or not fits:
            raise ArtefactError(name, f"is of format {form!r}, this version reads format {FORMAT}")
        try:
            ends = ".tail"
            prefixes = [key.removesuffix(ends) for key in arrays if key.endswith(ends)]
            tails = {prefix: Tail.from_arrays(arrays, prefix) for prefix in prefixes}
        except (KeyError, ValueError) as error:
            raise ArtefactError(name, f"holds an incomplete tail: {error!r}") from error
        for prefix, tail in tails.items():
            group = prefix.partition(AT)[2]
            if not tail.is_sound() or (AT in prefix and group not in GROUPS):
                raise ArtefactError(name, f"holds a tail that cannot be: {prefix!r}")
        return cls(tails, card, hashlib.sha256(content).hexdigest()[:12])

    def pack(self) -> dict[str, npt.NDArray[np.generic]]:
        """As named arrays for an ``.npz`` file; `unpack` is the reverse."""
        card = {**self.card, "calibration_format": FORMAT}
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "card": np.frombuffer(json.dumps(card, indent=1, sort_keys=True).encode(), np.uint8)
        }
        for prefix, tail in sorted(self.tails.items()):
            arrays.update(tail.arrays(prefix))
        return arrays

    def apply(self, model: Classifier, *, profile: str | None = None, gray: float | None = None) -> Classifier:
        """``model`` with these tails, under a version of its own; a tail that is not here stays as it was.

        Raises:
            ConfigError: made for another model; in another profile, where ``profile`` is given; or, where ``gray`` is
                given too, for another gray zone of ``cascade`` with a model that has an encoder.
        """
        if self.card["model"] != model.version:
            raise ConfigError(
                "calibration", self.version, f"one made for model {model.version}, not {self.card['model']}"
            )
        if profile not in (None, self.card["profile"]):
            raise ConfigError("calibration", self.version, f"one made in profile {profile}, not {self.card['profile']}")
        made_for = self.card.get("gray")
        if gray is not None and profile == "cascade" and model.judges_deep and gray != made_for:
            # Which texts the encoder sees, and so its benign tail, follows from where the gray zone begins.
            raise ConfigError(
                "calibration",
                self.version,
                f"one made for the gray zone from p = {gray}, not {made_for}; screen with gray = {made_for}, or run "
                f"`aimds calibrate --gray {gray}`",
            )
        version = f"{model.version}+{self.version}"
        return dataclasses.replace(model, tails={**model.tails, **self.tails}, version=version)


def fuse(model: Classifier, stages: StageScores, script: Codes) -> Fused:
    """`fusion.fuse` of B rows, each by the tails of its group; ``script`` int8 (B,) into `aimds.detect.script.SCRIPTS`.

    The same as `fusion.fuse` where ``model`` has no tails for groups.
    """
    groups = groups_of(model.tails)
    if not groups:
        return fusion.fuse(model, stages)
    owner = owners(groups, stages.untrusted, script)
    whole: Fused | None = None
    for index in np.unique(owner):
        rows = np.flatnonzero(owner == index)
        part = fusion.fuse(for_group(model, groups[index] if index >= 0 else ""), take(stages, rows))
        if whole is None:
            whole = Fused(**{name: _room(array, len(owner)) for name, array in _arrays(part).items()})
        for name, array in _arrays(part).items():
            getattr(whole, name)[rows] = array
    return fusion.fuse(model, stages) if whole is None else whole


def groups_of(tails: Mapping[str, Tail]) -> tuple[str, ...]:
    """Names of the groups that have tails of their own, in the order of GROUPS."""
    return _groups(tuple(tails))


@functools.lru_cache(maxsize=64)
def _groups(names: tuple[str, ...]) -> tuple[str, ...]:
    found = {name.partition(AT)[2] for name in names}
    return tuple(group for group in GROUPS if group in found)


def owners(groups: tuple[str, ...], untrusted: Flags, script: Codes) -> Rows:
    """Index into ``groups`` of the group that judges each of B rows, int64 (B,); -1 for all traffic."""
    out = np.full(len(GROUPS), -1, np.int64)
    for place, name in enumerate(GROUPS):
        channel = name.partition(".")[0]
        out[place] = groups.index(name) if name in groups else groups.index(channel) if channel in groups else -1
    return np.asarray(out[len(CHANNELS) + cells(untrusted, script)], np.int64)


def cells(untrusted: Flags, script: Codes) -> Rows:
    """Index into CELLS of each of B rows, int64 (B,)."""
    return np.asarray(untrusted.astype(np.int64) * len(SCRIPTS) + script, np.int64)


def for_group(model: Classifier, group: str) -> Classifier:
    """``model`` with the tails that judge ``group``, "" for all traffic, and no others."""
    plain = {name: tail for name, tail in model.tails.items() if AT not in name}
    return dataclasses.replace(
        model, tails={name: model.tails.get(f"{name}{AT}{group}", tail) for name, tail in plain.items()}
    )


def score_columns(stages: StageScores) -> dict[str, F32]:
    """The score of each stage, float32 (B,), by the stem of its tail's name; the one place that knows their fields."""
    names = {"margin": "patterns"}
    out = {}
    for name, array in _arrays(stages).items():
        if array.dtype == np.float32:
            out[names.get(name, name)] = array if array.ndim == 1 else array.max(axis=1)
    return out


def take(stages: StageScores, rows: Rows) -> StageScores:
    """The rows ``rows`` of ``stages``, in that order."""
    return dataclasses.replace(stages, **{name: array[rows] for name, array in _arrays(stages).items()})


def join(parts: list[StageScores]) -> StageScores:
    """The rows of all ``parts``, at least one, one after the other."""
    columns = [_arrays(part) for part in parts]
    return dataclasses.replace(
        parts[0], **{name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    )


def _arrays(record: Any) -> dict[str, npt.NDArray[Any]]:
    # A stage that did not run has None in place of its scores.
    fields = ((field.name, getattr(record, field.name)) for field in dataclasses.fields(record))
    return {name: value for name, value in fields if value is not None}


def _room(array: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    return np.empty((rows, *array.shape[1:]), array.dtype)
