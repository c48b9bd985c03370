"""Texts to learn from, out of the replay buffer: the last word on each, contradictions left out, in folds."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.learn.feedback import REQUEST
from aimds.verdicts import named_by_session

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Lesson:
    """A confirmed text. ``threat`` is what it shows by itself · ``group`` tells what is kept on one side of a fold: its
    session, else the text itself."""

    text: str
    threat: str
    channel: str
    group: str


@dataclass(frozen=True, slots=True)
class Lessons:
    """Different ``attacks`` and ``benign`` texts, in the order they were decided; ``textless`` rows had no text, the
    label of ``disputed`` texts differs between people."""

    attacks: tuple[Lesson, ...]
    benign: tuple[Lesson, ...]
    textless: int
    disputed: int


def lessons(table: pa.Table) -> Lessons:
    """The lessons in ``table`` (FEEDBACK).

    Of several decisions about one request the last counts; those of two tenants, sessions, channels or texts are two,
    whatever their ids. A text that different requests label differently is left out until people agree; spaces and case
    make no difference.
    """
    # The bytes may hold invalid UTF-8, which Arrow hands over as bytes only.
    plain = table.set_column(table.schema.get_field_index("text"), "text", table.column("text").cast(pa.large_binary()))
    plain = plain.append_column("by_session", pa.array(named_by_session(plain)))
    rows = sorted(plain.to_pylist(), key=lambda row: (row["decided_at"], row["request_id"], row["reviewer"]))
    last = defaultdict[tuple[str | None, ...], dict[bytes | None, dict[str, Any]]](dict)
    for row in rows:
        texts = last[tuple(row[name] for name in REQUEST)]
        if row["text"] is not None:
            texts.pop(None, None)
            texts[row["text"]] = row
            continue
        # Its text was removed since. Whichever of the texts it speaks of: what it contradicts does not stand.
        for against in [known for known, one in texts.items() if one["label"] != row["label"]]:
            del texts[against]
        if not texts:
            texts[None] = row
    standing = (row for texts in last.values() for row in texts.values())
    kept = sorted(standing, key=lambda row: (row["decided_at"], row["request_id"]))
    labels: dict[str, set[str]] = {}
    first: dict[str, Lesson] = {}
    textless = 0
    for row in kept:
        text = (row["text"] or b"").decode("utf-8", "replace")
        if not text.strip():
            textless += 1
            continue
        key = _key(text)
        labels.setdefault(key, set()).add(row["label"])
        threat = "none" if row["by_session"] else row["threat_type"]
        first.setdefault(key, Lesson(text, threat, row["channel"], row["session_id"] or key))
    agreed = {key: next(iter(found)) for key, found in labels.items() if len(found) == 1}
    by_label = {
        label: tuple(first[key] for key, one in agreed.items() if one == label) for label in ("attack", "benign")
    }
    return Lessons(by_label["attack"], by_label["benign"], textless, len(labels) - len(agreed))


def folds(attacks: Sequence[Lesson], count: int = FOLDS) -> npt.NDArray[np.int64]:
    """Fold of each attack, int64 (A,) from 0: texts of one group share a fold, by a hash of the group.

    Groups are dealt out in the order of their hashes, so that folds are of equal size to one group; where there are
    fewer groups than ``count``, there are fewer folds.
    """
    groups = sorted({lesson.group for lesson in attacks}, key=lambda name: hashlib.sha256(name.encode()).digest())
    number = {name: place % count for place, name in enumerate(groups)}
    return np.array([number[lesson.group] for lesson in attacks], np.int64)


def _key(text: str) -> str:
    return hashlib.sha256(" ".join(text.casefold().split()).encode("utf-8", "replace")).hexdigest()
