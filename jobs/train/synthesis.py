"""Training texts of our own: what the grammar makes, what is written out, stretches of documents, and the patterns of
the bank.

A pattern beside a benign text teaches that company does not make an attack harmless; two benign texts beside each other
teach that company does not make one either. Texts that carry a public text stay inside its fold, so nothing held out is
trained on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.detect.patterns import Bank
from aimds.detect.texts import Texts
from aimds.jobs.corpus import Corpus
from aimds.jobs.grammar import Grammar, Sample, documents, planted, prose, written
from aimds.jobs.train.config import TrainConfig
from aimds.schema import CHANNELS

OWN = "aimds "
"""Names of sources made here begin with this; they are trained on and never judged."""
SEPARATORS = (" ", "\n", ". ")
MAX_BYTES = 300
DOCUMENT_BYTES = (150, 1500)
SAMPLED = 600
"""Benign texts of one fold that the grammar may use as carriers, instructions or documents."""


ORDINARY = f"{OWN}ordinary "
"""Names of sources of ordinary text, which quotes no attack but for the look-alikes in stretches of documents."""
ORDINARY_DOCUMENTS = f"{ORDINARY}{documents.FAMILY} "
DOCUMENTS = f"{OWN}{documents.FAMILY} "
"""Names of sources of stretches of our own documents with an attack in them; those without are ordinary, or have a
look-alike in them."""
TASKS = f"{ORDINARY}{prose.TASKS} "
"""Names of sources of ordinary requests that bring their material."""
LOOK_ALIKE = " look-alike"
"""Names of sources of harmless texts that sound like attacks end with this."""
OTHERS = "other languages"
ENGLISH = "en"
NATIVE = 60
"""Ordinary texts of each other language that the grammar may use as carriers in one fold."""


def is_own(source: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Which rows come from here, bool (N,)."""
    return np.array([str(name).startswith(OWN) for name in source], np.bool_)


def is_ordinary(source: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Which rows are ordinary text made here, bool (N,)."""
    return np.array([str(name).startswith(ORDINARY) for name in source], np.bool_)


def is_document(source: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Which rows are stretches of documents made here, with or without an attack, bool (N,)."""
    return np.array([str(name).startswith((DOCUMENTS, ORDINARY_DOCUMENTS)) for name in source], np.bool_)


def is_task(source: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Which rows are ordinary requests that bring their material, made here, bool (N,)."""
    return np.array([str(name).startswith(TASKS) for name in source], np.bool_)


def is_foreign_look_alike(source: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Which rows are look-alikes of attacks that were written out in other languages than English, bool (N,)."""
    name = _named(written.FAMILY, OTHERS, 0)
    return np.array([str(one) == name for one in source], np.bool_)


def with_own(
    corpus: Corpus, fold: npt.NDArray[np.int64], bank: Bank, config: TrainConfig
) -> tuple[Corpus, npt.NDArray[np.int64]]:
    """``corpus`` and ``fold`` with the texts made here added.

    Every pattern of ``bank``, every text that is written out and ``config.documents`` stretches of documents stand
    alone once, in no fold (-1). The patterns stand ``config.pairs`` times beside a benign text of a fold; what the
    grammar makes and what varies the texts written out is dealt over the folds, whose texts it may carry.
    """
    rng = np.random.default_rng(config.seed)
    rows: list[Sample] = [
        Sample(pattern.text, 1, pattern.threat, "bank", pattern.lang, "user") for pattern in bank.patterns
    ]
    singles = [sample for family in written.load() for sample in family.samples()] if config.written else []
    rows += singles
    if config.documents:  # with draws of their own, so that all others are the same without them
        draws = np.random.default_rng(config.seed + 5)
        rows += documents.stretches(draws, config.documents, documents.load(), singles)
    folds = [-1] * len(rows)
    lengths = np.diff(corpus.texts.offsets)
    plain = (corpus.label == 0) & (corpus.category == "benign")
    short = np.flatnonzero(plain & (lengths > 0) & (lengths < MAX_BYTES))
    long = np.flatnonzero(plain & (lengths >= DOCUMENT_BYTES[0]) & (lengths < DOCUMENT_BYTES[1]))
    numbers = np.unique(fold)
    grammar, ordinary = Grammar.load(), prose.load()
    # English has public texts for carriers; its own ordinary text is there for the words it shares with attacks.
    english = tuple(one for one in ordinary if one.lang == ENGLISH)
    languages = tuple(one for one in ordinary if one.lang != ENGLISH)
    again = singles * (config.written - 1)
    for place, number in enumerate(numbers):
        brief, whole = (_texts(corpus, rows_of[fold[rows_of] == number], rng) for rows_of in (short, long))
        made = _pairs(bank, brief, config.pairs / len(numbers), rng) if len(brief) > 2 else []
        native = {one.lang: [one.text(rng) for _ in range(NATIVE)] for one in languages}
        made += grammar.generate(rng, config.grammar // len(numbers), carriers=brief, native=native)
        made += prose.ordinary(rng, config.ordinary // len(numbers), languages)
        made += prose.ordinary(rng, config.everyday // len(numbers), english)
        made += [written.varied(one, rng, brief) for one in again[place :: len(numbers)]]
        if brief and whole and config.planted:
            made += planted(rng, config.planted // len(numbers), whole, brief)
        rows += made
        folds += [int(number)] * len(made)
    source = [_source(row) for row in rows]
    own = Corpus(
        corpus.name,
        Texts.from_arrow(pa.array([row.text for row in rows], pa.large_string())),
        np.array([row.label for row in rows], np.int8),
        np.array([row.threat if row.label else "benign" for row in rows], object),
        np.array(source, object),
        np.array([row.threat for row in rows], object),
        np.array([CHANNELS.index(row.channel) for row in rows], np.int8),
        dict.fromkeys(source, "Apache-2.0 (this project)"),
    )
    return corpus.join(own), np.concatenate([fold, np.array(folds, np.int64)])


def _source(row: Sample) -> str:
    if row.family == prose.ORDINARY:
        return f"{ORDINARY}{row.lang}"
    # The other languages are one source: as twenty of them they would outweigh all public attacks.
    lang = row.lang if row.lang in ("en", "mixed") else OTHERS
    if row.family == prose.TASKS:
        return TASKS + lang
    if row.family == documents.FAMILY:
        return (DOCUMENTS if row.label else ORDINARY_DOCUMENTS) + lang
    kind = row.family if row.family in ("bank", "pairs", "planted", written.FAMILY, prose.SETUPS) else "grammar"
    return _named(kind, lang, row.label)


def _named(kind: str, lang: str, label: int) -> str:
    return f"{OWN}{kind} {lang}{'' if label else LOOK_ALIKE}"


def _texts(corpus: Corpus, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> list[str]:
    # A source gives by the square root of its size, so that the largest does not give nearly all.
    if not len(rows):
        return []
    _, inverse, counts = np.unique(corpus.source[rows].astype(str), return_inverse=True, return_counts=True)
    weight = 1.0 / np.sqrt(counts[inverse])
    chosen = rng.choice(rows, min(SAMPLED, len(rows)), replace=False, p=weight / weight.sum())
    return [corpus.texts.raw(int(row)).decode("utf-8", "replace") for row in chosen]


def _pairs(bank: Bank, benign: list[str], share: float, rng: np.random.Generator) -> list[Sample]:
    made = []
    for index in rng.integers(len(bank.patterns), size=round(len(bank.patterns) * share)).tolist():
        pattern = bank.patterns[index]
        beside, one, other = (benign[k] for k in rng.choice(len(benign), 3, replace=False).tolist())
        separator = SEPARATORS[rng.integers(len(SEPARATORS))]
        parts = (beside, pattern.text) if rng.random() < 0.6 else (pattern.text, beside)
        made.append(Sample(separator.join(parts), 1, pattern.threat, "pairs", "mixed", "user"))
        made.append(Sample(separator.join((one, other)), 0, "none", "pairs", "mixed", "user"))
    return made
