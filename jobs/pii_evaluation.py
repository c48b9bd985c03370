"""How exactly PII is found: precision and recall per source and entity on a labelled Parquet file.

The file has the columns ``text``, ``spans_json`` (a list of {start, end, type} in characters) and ``source``. Entity
names of known corpora are mapped onto our kinds; what has no kind here (names, addresses, organisations) is counted
apart as not covered and left out of both sides.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aimds.detect.normalize import normalize
from aimds.detect.pii import KINDS, Pii
from aimds.detect.texts import Texts
from aimds.errors import DataError, SchemaError
from aimds.jobs.intervals import clopper_pearson

BATCH_ROWS = 4096

_SECRETS = frozenset(name for name, kind in KINDS.items() if kind.secret)

ENTITIES: dict[str, frozenset[str]] = {
    "EMAIL": frozenset({"EMAIL"}),
    "PHONE": frozenset({"PHONE"}),
    "CREDIT_CARD": frozenset({"CREDIT_CARD"}),
    "IBAN": frozenset({"IBAN"}),
    "SWIFT_BIC": frozenset({"SWIFT_BIC"}),
    "BANK_ACCOUNT": frozenset({"BANK_ACCOUNT", "US_ROUTING_NUMBER"}),
    "SSN": frozenset({"US_SSN", "US_ITIN"}),
    "TAX_ID": frozenset({"US_EIN"}),
    "IP_ADDRESS": frozenset({"IP_ADDRESS"}),
    "MAC_ADDRESS": frozenset({"MAC_ADDRESS"}),
    "DATE_OF_BIRTH": frozenset({"DATE_OF_BIRTH"}),
    "PASSPORT": frozenset({"PASSPORT", "US_PASSPORT"}),
    "DRIVER_LICENSE": frozenset({"DRIVER_LICENSE"}),
    "NATIONAL_ID": frozenset({"NATIONAL_ID"}),
    "MEDICAL_RECORD_NUMBER": frozenset({"MEDICAL_RECORD_NUMBER"}),
    "API_KEY": _SECRETS - {"PASSWORD"},
    "PASSWORD": frozenset({"PASSWORD"}),
}
"""Entities that can be compared, and our kinds that answer to each."""

NAMES: dict[str, str] = {
    "EMAIL_ADDRESS": "EMAIL",
    "PHONE_NUMBER": "PHONE",
    "CREDIT_CARD_NUMBER": "CREDIT_CARD",
    "IBAN_CODE": "IBAN",
    "SWIFT_BIC_CODE": "SWIFT_BIC",
    "BANK_ACCOUNT_NUMBER": "BANK_ACCOUNT",
    "US_BANK_NUMBER": "BANK_ACCOUNT",
    "US_SSN": "SSN",
    "SOCIAL_SECURITY_NUMBER": "SSN",
    "PASSPORT_NUMBER": "PASSPORT",
    "US_PASSPORT": "PASSPORT",
    "US_DRIVER_LICENSE": "DRIVER_LICENSE",
    "DRIVER_LICENSE_NUMBER": "DRIVER_LICENSE",
    "NATIONAL_ID_NUMBER": "NATIONAL_ID",
} | {name: name for name in ENTITIES}
"""Entity names of labelled corpora → names of ENTITIES; a name that is not here is not covered, so it is not scored."""

ANY = "ANY"
"""Entity of the row on a source without labels: any span there is a false alarm."""

_ENTITY_OF = {kind: entity for entity, kinds in ENTITIES.items() for kind in kinds}


def evaluate_pii(path: str | Path) -> list[dict[str, Any]]:
    """One row per source × entity of the labelled file ``path``, those that are not covered last.

    A label is found when a span of its entity overlaps it (``recall``), exactly when the ends agree too (``exact``). A
    span is ``correct`` when it overlaps any label of its text, ``typed`` when that label is of its entity. Spans of an
    entity that their source never labels are not scored, but all spans in a source without labels are, and such a
    source has a row `ANY` with their sum.

    Returns:
        dicts with source, texts (of that source), entity, covered, n (labels), found, recall, recall_low, recall_high,
        exact, predicted, correct, precision, precision_low, precision_high, typed; shares in [0, 1], None where there
        is nothing to divide by. An entity that is not covered has its name in the corpus, n and otherwise nothing.

    Raises:
        DataError: the file cannot be read. SchemaError: a column is missing.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(path, str(error)) from error
    for column in ("text", "spans_json"):
        if column not in table.column_names:
            raise SchemaError(column, "missing; a PII file has text and spans_json")
    sources = table["source"].to_pylist() if "source" in table.column_names else [Path(path).name] * table.num_rows
    raw = [json.loads(one or "[]") for one in table["spans_json"].to_pylist()]
    labels = [_labels(text or "", spans) for text, spans in zip(table["text"].to_pylist(), raw, strict=True)]
    rows = _table(list(zip(sources, labels, _scan(table["text"]), strict=True))) + _not_covered(sources, raw)
    texts = Counter(sources)
    return [{"source": row["source"], "texts": texts[row["source"]], **row} for row in rows]


Interval = tuple[int, int, str]


def _labels(text: str, spans: list[dict[str, Any]]) -> list[Interval]:
    # Labels are in characters; spans are in bytes.
    ends = np.cumsum([0, *(len(c.encode("utf-8", "replace")) for c in text)])
    last = len(ends) - 1
    return [(int(ends[min(s["start"], last)]), int(ends[min(s["end"], last)]), NAMES.get(s["type"], "")) for s in spans]


def _scan(column: pa.ChunkedArray) -> list[list[Interval]]:
    pii = Pii.load()
    out: list[list[Interval]] = [[] for _ in range(len(column))]
    whole = column.cast(pa.large_string()).combine_chunks()
    for first in range(0, len(whole), BATCH_ROWS):
        texts = Texts.from_arrow(whole.slice(first, BATCH_ROWS))
        pair = (texts.values, texts.offsets)
        for span in pii.scan(pair, normalize(*pair)):
            if span.kind in _ENTITY_OF:
                out[first + span.row].append((span.start, span.end, _ENTITY_OF[span.kind]))
    return out


def _table(rows: list[tuple[str, list[Interval], list[Interval]]]) -> list[dict[str, Any]]:
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(
        lambda: dict.fromkeys(("n", "found", "exact", "predicted", "correct", "typed"), 0)
    )
    labelled = {(source, entity) for source, labels, _ in rows for _, _, entity in labels if entity}
    known = {source for source, _ in labelled}
    for source, labels, spans in rows:
        for start, end, entity in labels:
            if not entity:
                continue
            same = [s for s in spans if s[2] == entity and s[0] < end and s[1] > start]
            cell = counts[source, entity]
            cell["n"] += 1
            cell["found"] += bool(same)
            cell["exact"] += (start, end, entity) in same
        for start, end, entity in spans:
            if (source, entity) not in labelled and source in known:
                continue
            cell = counts[source, entity]
            over = [label for label in labels if label[0] < end and label[1] > start]
            cell["predicted"] += 1
            cell["correct"] += bool(over)
            cell["typed"] += any(label[2] == entity for label in over)
    for source in {source for source, labels, _ in rows} - {source for source, labels, _ in rows if labels}:
        counts[source, ANY]["predicted"] = sum(cell["predicted"] for (of, _), cell in counts.items() if of == source)
    return [_row(source, entity, cell) for (source, entity), cell in sorted(counts.items())]


def _not_covered(sources: list[str], labels: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    other = Counter(
        (source, str(span["type"]))
        for source, spans in zip(sources, labels, strict=True)
        for span in spans
        if span["type"] not in NAMES
    )
    nothing = dict.fromkeys(("found", "exact", "predicted", "correct", "typed"), 0)
    return [
        _row(source, entity, {**nothing, "n": n}) | {"covered": False, "recall": None, "exact": None}
        for (source, entity), n in sorted(other.items())
    ]


def _row(source: str, entity: str, cell: dict[str, int]) -> dict[str, Any]:
    recall = clopper_pearson(cell["found"], cell["n"])
    precision = clopper_pearson(cell["correct"], cell["predicted"])
    return {
        "source": source,
        "entity": entity,
        "covered": True,
        "n": cell["n"],
        "found": cell["found"],
        "recall": cell["found"] / cell["n"] if cell["n"] else None,
        "recall_low": recall[0],
        "recall_high": recall[1],
        "exact": cell["exact"] / cell["n"] if cell["n"] else None,
        "predicted": cell["predicted"],
        "correct": cell["correct"],
        "precision": cell["correct"] / cell["predicted"] if cell["predicted"] else None,
        "precision_low": precision[0],
        "precision_high": precision[1],
        "typed": cell["typed"] / cell["predicted"] if cell["predicted"] else None,
    }
