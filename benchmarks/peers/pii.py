"""Personal data: spans that ours and Presidio find on a labelled file, for the entities that both name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aimds.detect.normalize import normalize
from aimds.detect.pii import Pii
from aimds.detect.texts import Texts
from aimds.jobs.intervals import clopper_pearson
from aimds.jobs.pii_evaluation import ENTITIES, NAMES
from benchmarks.peers.judging import Row

Span = tuple[int, int, str]

PRESIDIO = {
    "EMAIL_ADDRESS": "EMAIL",
    "PHONE_NUMBER": "PHONE",
    "CREDIT_CARD": "CREDIT_CARD",
    "IBAN_CODE": "IBAN",
    "US_BANK_NUMBER": "BANK_ACCOUNT",
    "US_SSN": "SSN",
    "US_ITIN": "SSN",
    "IP_ADDRESS": "IP_ADDRESS",
    "MAC_ADDRESS": "MAC_ADDRESS",
    "US_PASSPORT": "PASSPORT",
    "US_DRIVER_LICENSE": "DRIVER_LICENSE",
}
"""Presidio's names of the entities that are compared; what only one side names is left out of both."""
SHARES = (("share of labels found", "found", "labels"), ("share of spans that are right", "right", "spans"))
COMMON = frozenset(PRESIDIO.values())
_OURS = {kind: entity for entity, kinds in ENTITIES.items() for kind in kinds if entity in COMMON}


def read(path: Path, rows: int, seed: int) -> tuple[list[str], list[list[Span]]]:
    """``rows`` texts drawn at random and their labels in characters; "" names an entity that is not compared."""
    table = pq.read_table(path, columns=["text", "spans_json"])
    chosen = np.sort(np.random.default_rng(seed).permutation(table.num_rows)[:rows])
    table = table.take(pa.array(chosen))
    labels = []
    for raw in table["spans_json"].to_pylist():
        spans = ((one["start"], one["end"], NAMES.get(one["type"], "")) for one in json.loads(raw or "[]"))
        labels.append([(start, end, name if name in COMMON else "") for start, end, name in spans])
    return [text or "" for text in table["text"].to_pylist()], labels


def ours(texts: Sequence[str]) -> list[list[Span]]:
    """What our stage finds, in characters."""
    pii = Pii.load()
    whole = Texts.from_arrow(pa.array(texts, pa.large_string()))
    out: list[list[Span]] = [[] for _ in texts]
    found: list[list[tuple[int, int, str]]] = [[] for _ in texts]
    pair = (whole.values, whole.offsets)
    for span in pii.scan(pair, normalize(*pair)):
        if span.kind in _OURS:
            found[span.row].append((span.start, span.end, _OURS[span.kind]))
    for row, spans in enumerate(found):
        if spans:
            ends = np.cumsum([0, *(len(char.encode("utf-8", "surrogatepass")) for char in texts[row])])
            out[row] = [(*np.searchsorted(ends, (start, end)).tolist(), name) for start, end, name in spans]
    return out


def theirs(answers: Sequence[dict[str, Any]], least: float) -> list[list[Span]]:
    """What Presidio found with a score of at least ``least``."""
    return [
        [(one["start"], one["end"], PRESIDIO[one["type"]]) for one in answer["spans"]
         if one["type"] in PRESIDIO and one["score"] >= least]
        for answer in answers
    ]  # fmt: skip


def compare(
    name: str,
    labels: Sequence[Sequence[Span]],
    mine: Sequence[Sequence[Span]],
    its: Sequence[Sequence[Span]],
    peer_id: str,
    peer_name: str,
) -> Iterator[Row]:
    """Recall and precision of every common entity that is labelled, and of all together.

    A label is found when a span of its entity overlaps it; a span is right when it overlaps any label of its text.
    """
    counts = [_count(labels, spans) for spans in (mine, its)]
    entities = sorted({entity for row in labels for _, _, entity in row if entity})
    for entity in (*entities, "all"):
        chosen = entities if entity == "all" else [entity]
        for unit, hits, of in (
            ("share of labels found", "found", "labels"),
            ("share of spans that are right", "right", "spans"),
        ):
            shares, intervals, sizes = [], [], []
            for count in counts:
                h, n = (sum(count[key].get(one, 0) for one in chosen) for key in (hits, of))
                shares.append(h / n if n else 0.0)
                intervals.append(clopper_pearson(h, n) if n else (0.0, 1.0))
                sizes.append(n)
            ratio = shares[0] / shares[1] if shares[1] else None
            yield Row(
                f"{name}.{entity}.{peer_id}", shares[0], shares[1], peer_name, ratio, unit, True, *sizes, *intervals
            )


def _count(labels: Sequence[Sequence[Span]], spans: Sequence[Sequence[Span]]) -> dict[str, dict[str, int]]:
    out: dict[str, dict[str, int]] = {"labels": {}, "found": {}, "spans": {}, "right": {}}

    def add(key: str, entity: str, more: bool) -> None:
        out[key][entity] = out[key].get(entity, 0) + more

    for truth, found in zip(labels, spans, strict=True):
        for start, end, entity in truth:
            if entity:
                add("labels", entity, True)
                add("found", entity, any(s[2] == entity and s[0] < end and s[1] > start for s in found))
        for start, end, entity in found:
            add("spans", entity, True)
            add("right", entity, any(label[0] < end and label[1] > start for label in truth))
    return out
