"""What the commands of `aimds patterns` share: options, where store and key lie, benign texts, writing one version."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from aimds.cli import secret_key

if TYPE_CHECKING:
    from aimds.detect.patterns import Bank, Pattern
    from aimds.detect.patterns.keys import SigningKey
    from aimds.detect.patterns.store import PatternStore
    from aimds.detect.patterns.version import Change

KEY_FILE = "pattern-key.pem"
LOOKALIKES = 4000
"""Samples drawn from the grammars; half of them are look-alikes."""

Store = Annotated[
    Path | None,
    typer.Option(
        "--store", metavar="DIR", help="The store.  \\[default: patterns in the user's data folder]", show_default=False
    ),
]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key", metavar="FILE", help="Secret key.  \\[default: pattern-key.pem beside the store]", show_default=False
    ),
]
Author = Annotated[str, typer.Option(help="Who makes the version; kept in it.")]
Message = Annotated[str, typer.Option("--message", "-m", help="Why the version is made; kept in it.")]
Benign = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Benign texts to learn thresholds from: Parquet with a column text, or one text a line."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


class Limits(NamedTuple):
    """Thresholds by pattern id, and in words what they were learnt from."""

    values: dict[str, float]
    source: str


def store_folder(asked: Path | None) -> Path:
    """The store ``asked`` for, by default the user's."""
    from aimds.detect.patterns.store import FOLDER, home

    return asked or home(os.environ) / FOLDER


def key_file(asked: Path | None) -> Path:
    """The secret key ``asked`` for, by default the user's; it lies outside the store."""
    return secret_key.key_file(asked, KEY_FILE)


def opened(asked: Path | None) -> PatternStore | None:
    """The store ``asked`` for; the user's own where there is one, else None.

    Raises:
        ArtefactError: the store asked for does not exist, or one is damaged.
    """
    from aimds.detect.patterns.store import PatternStore

    folder = store_folder(asked)
    return PatternStore.load(folder) if asked is not None or folder.exists() else None


def banks(store: Path | None) -> tuple[PatternStore | None, Bank, Bank]:
    """The store, the shipped bank, and the bank that the two make."""
    from aimds.cli.startup import notice
    from aimds.detect.patterns import Bank

    loaded = opened(store)
    with notice():
        base = Bank.load()
        return loaded, base, loaded.bank(base) if loaded else base


def signer(asked: Path | None) -> SigningKey:
    """The secret key ``asked`` for, by default the user's.

    Raises:
        ConfigError: there is none, or the file holds no key.
    """
    return secret_key.signer(asked, KEY_FILE, made_by="aimds patterns keygen")


def written(
    change: Change, base: Bank, *, store: Path | None, key: SigningKey, author: str, message: str
) -> PatternStore:
    """The store with one more version that does ``change``."""
    from aimds.detect.patterns import ledger

    now = datetime.now(UTC)
    return ledger.append(store_folder(store), change, base, key=key, now=now, author=author, note=message)


def read_texts(file: Path) -> list[str]:
    """The texts in ``file``: the column ``text`` of a Parquet file, else one text a line.

    Raises:
        DataError: it cannot be read, has no such column, or holds no text.
    """
    from aimds.errors import DataError

    try:
        if file.suffix in (".parquet", ".parq", ".pq"):
            texts = _column(file)
        else:
            texts = [line for line in file.read_text("utf-8", "replace").splitlines() if line.strip()]
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror or error}") from error
    if not texts:
        raise DataError(file, "holds no text")
    return texts


def _column(file: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from aimds.errors import DataError

    try:
        names = pq.read_schema(file).names
        if "text" not in names:
            raise DataError(file, f"has no column text, only {', '.join(names)}")
        column = pq.read_table(file, columns=["text"]).column("text")
        return [text for text in column.cast(pa.large_string()).to_pylist() if text]
    except pa.ArrowException as error:
        raise DataError(file, f"cannot be read as Parquet: {error}") from error


def thresholds(base: Bank, patterns: Sequence[Pattern], benign: Path | None) -> Limits:
    """Thresholds of ``patterns`` that benign texts keep from matching: those in ``benign``, else shipped look-alikes.

    Raises:
        ConfigError: a pattern does not fit the bank.
        DataError: ``benign`` cannot be read.
    """
    texts = lookalikes({pattern.lang for pattern in patterns}) if benign is None else read_texts(benign)
    named = "innocent look-alikes of our own" if benign is None else f"texts of {benign}"
    ids = {pattern.id for pattern in patterns}
    # Whether an id is free is for the store to say.
    bank = base.with_patterns(patterns, ids & {pattern.id for pattern in base.patterns}, benign=texts)
    limits = zip(bank.patterns, bank.limits.tolist(), strict=True)
    return Limits({pattern.id: limit for pattern, limit in limits if pattern.id in ids}, f"{len(texts):,} {named}")


def lookalikes(langs: set[str]) -> list[str]:
    """Innocent texts that look like attacks, drawn from the grammars of ``langs`` and of English; always the same."""
    import numpy as np

    from aimds.jobs.grammar import Grammar

    grammar = Grammar.load()
    known = [language.lang for language in grammar.languages if language.lang in {*langs, "en"}]
    samples = grammar.generate(np.random.default_rng(0), LOOKALIKES, langs=known)
    return [sample.text for sample in samples if not sample.label]
