"""A sample of a tenant's traffic: each different text once, with where it stood and how often it came."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.detect.texts import Texts
from aimds.errors import ConfigError, DataError
from aimds.jobs.scan.columns import Columns
from aimds.jobs.scan.convert import to_requests
from aimds.jobs.scan.inputs import Source, discover, left_out
from aimds.jobs.scan.lines import MAX_RECORD_BYTES
from aimds.jobs.scan.plan import Planned, plan
from aimds.jobs.scan.reading import ReadError, gather, open_table
from aimds.jobs.scan.settings import ScanConfig
from aimds.jobs.scan.tasks import Limits
from aimds.printable import counted
from aimds.schema import CHANNELS

UNIT_ROWS = 65_536
TEXT_SUFFIX = ".txt"
MAX_BYTES = 1 << 30
"""Text held at once; a sample ends here."""
MAX_TEXT_BYTES = Limits().max_text_bytes
"""A longer text is not screened by a scan, so no tail is fitted to it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read and how.

    ``inputs``: files, folders, globs and URLs as for a scan; files that end in .txt hold one text a line ·
    ``channel``: of rows whose input names none · ``max_rows``: more are sampled evenly · ``output``: outputs of an
    earlier scan in this folder are no inputs.
    """

    inputs: tuple[str, ...]
    output: Path
    columns: Columns = field(default_factory=Columns)
    channel: str = "user"
    max_rows: int = 200_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.channel not in CHANNELS:
            raise ConfigError("channel", self.channel, "one of " + ", ".join(CHANNELS))
        if self.max_rows < 1:
            raise ConfigError("max_rows", self.max_rows, "at least 1")


@dataclass(slots=True)
class Sample:
    """N different texts of one channel each.

    ``texts``; ``channel`` int8 (N,) into `aimds.schema.CHANNELS`; ``count`` int64 (N,), how often a text came;
    ``file`` int32 (N,) into ``files`` and ``row`` int64 (N,), where it came first. ``read`` rows were read of ``rows``
    that there are; ``notes`` say what was guessed and what could not be read.
    """

    texts: Texts
    channel: npt.NDArray[np.int8]
    count: npt.NDArray[np.int64]
    file: npt.NDArray[np.int32]
    row: npt.NDArray[np.int64]
    files: list[str]
    rows: int
    read: int
    notes: list[str]

    def __len__(self) -> int:
        return len(self.channel)

    def take(self, rows: npt.NDArray[np.int64]) -> Sample:
        """The texts ``rows``, in that order."""
        return replace(
            self,
            texts=self.texts.take(rows),
            channel=self.channel[rows],
            count=self.count[rows],
            file=self.file[rows],
            row=self.row[rows],
        )


def read(reading: Reading) -> Sample:
    """The sample that ``reading`` asks for; the same inputs and seed give the same one.

    Raises:
        DataError: an input matches nothing, none can be read, or they hold no text.
        SchemaError: a named column is not there or does not fit, or no text column can be guessed.
    """
    lines, tables = _split(reading.inputs)
    planned, notes = _planned(tables, lines, reading)
    sizes = [sum(group.rows for group in one.groups) for one in planned] + [_lines(path) for path in lines]
    rows = sum(sizes)
    gathered = _Gathered([one.source.label for one in planned] + [str(path) for path in lines])
    share = min(1.0, reading.max_rows / max(rows, 1))
    for index, one in enumerate(planned):
        try:
            for batch, numbers in _batches(one):
                if not gathered.add(index, *_columns(batch, reading.channel, one), numbers, share, reading.seed):
                    return gathered.sample(rows, notes)
        except (ReadError, OSError) as error:
            notes.append(f"left out from here on: {error}")
    for index, path in enumerate(lines, len(planned)):
        try:
            for texts, numbers in _texts(path):
                code = np.full(len(texts), CHANNELS.index(reading.channel), np.int8)
                if not gathered.add(index, texts, code, numbers, share, reading.seed):
                    return gathered.sample(rows, notes)
        except (ReadError, OSError) as error:
            notes.append(f"left out from here on: {error}")
    if not gathered.texts:
        raise DataError(", ".join(reading.inputs), "holds no text; " + ("; ".join(notes) or "its rows are empty"))
    return gathered.sample(rows, notes)


class _Gathered:
    """Different texts so far."""

    def __init__(self, files: list[str]) -> None:
        self.files = files
        self.texts: list[bytes] = []
        self._known: dict[bytes, int] = {}
        self._channel: list[int] = []
        self._count: list[int] = []
        self._file: list[int] = []
        self._row: list[int] = []
        self._bytes = self._read = self._too_long = 0
        self._ends_in = ""

    def add(
        self,
        file: int,
        texts: Sequence[bytes | None],
        channel: npt.NDArray[np.int8],
        numbers: npt.NDArray[np.int64],
        share: float,
        seed: int,
    ) -> bool:
        """Take a ``share`` of the rows, without texts too long to be screened; False once the room is used up."""
        if not len(texts):
            return True
        # The draw depends on where the rows stand, so it is the same however the reader cuts them.
        chosen = range(len(texts)) if share >= 1 else np.flatnonzero(_draws(seed, file, numbers) < share).tolist()
        for place in chosen:
            text, code = texts[place], int(channel[place])
            if not text:
                continue
            if len(text) > MAX_TEXT_BYTES:
                self._too_long += 1
                continue
            self._read += 1
            key = hashlib.blake2b(text, digest_size=16, salt=bytes([code])).digest()
            index = self._known.setdefault(key, len(self.texts))
            if index < len(self.texts):
                self._count[index] += 1
                continue
            self.texts.append(text)
            self._channel.append(code)
            self._count.append(1)
            self._file.append(file)
            self._row.append(int(numbers[place]))
            self._bytes += len(text)
            if self._bytes >= MAX_BYTES:
                self._ends_in = self.files[file]
                return False
        return True

    def sample(self, rows: int, notes: list[str]) -> Sample:
        """All that was gathered; ``notes`` and what was left out are its notes."""
        if self._too_long:
            notes = [
                *notes,
                f"{counted(self._too_long, 'text')} of more than {MAX_TEXT_BYTES:,} bytes left out: a scan screens "
                f"none",
            ]
        if self._ends_in:
            notes = [*notes, f"the sample ends in {self._ends_in} at {MAX_BYTES >> 20} MiB of text"]
        return Sample(
            Texts.from_arrow(pa.array(self.texts, pa.large_binary())),
            np.array(self._channel, np.int8),
            np.array(self._count, np.int64),
            np.array(self._file, np.int32),
            np.array(self._row, np.int64),
            self.files,
            rows,
            self._read,
            notes,
        )


def _draws(seed: int, file: int, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    # One number in [0, 1) for each row by its place: the mixing of SplitMix64 (doi:10.1145/2660193.2660195).
    x = numbers.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15 + file * 0xBF58476D1CE4E5B9) & (2**64 - 1))
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return np.asarray((x ^ x >> np.uint64(31)) / 2.0**64, np.float64)


def _split(inputs: Sequence[str]) -> tuple[list[Path], list[str]]:
    lines: list[Path] = []
    tables = []
    for pattern in inputs:
        if not pattern.endswith(TEXT_SUFFIX) or "://" in pattern:
            tables.append(pattern)
            continue
        found = sorted(Path(name) for name in glob.glob(pattern, recursive=True) if Path(name).is_file())
        if not found:
            raise DataError(pattern, "no such file")
        lines += found
    return lines, tables


def _planned(tables: list[str], lines: list[Path], reading: Reading) -> tuple[list[Planned], list[str]]:
    planned: list[Planned] = []
    notes, said = [], set()
    others: dict[str, list[str]] = {}
    sources: list[Source] = discover(tables, reading.output, others=others) if tables else []
    read = {path.resolve() for path in lines}
    for folder, names in others.items():
        if unread := [name for name in names if (Path(folder) / name).resolve() not in read]:
            way = f"; {TEXT_SUFFIX} where it is named" if any(name.endswith(TEXT_SUFFIX) for name in unread) else ""
            notes.append(left_out(folder, unread) + way)
    config = ScanConfig(tuple(tables), reading.output, reading.columns, unit_rows=UNIT_ROWS)
    for source in sources:
        try:
            planned.append(plan(source, config))
        except ReadError as error:
            notes.append(f"left out: {error}")
            continue
        guessed = ", ".join(planned[-1].notes)
        if guessed and guessed not in said:
            said.add(guessed)
            notes.append(f"{source.below}: columns guessed: {guessed}")
    return planned, notes


def _batches(one: Planned) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.int64]]]:
    limits, table = Limits(), open_table(one.source)
    names = list(dict.fromkeys(one.used.values()))
    for group in range(len(one.groups)):
        for unit in range(one.units(group, UNIT_ROWS)):
            chunks = table.chunks(one.where(group, unit, UNIT_ROWS), names, one.used["text"])
            for chunk in gather(chunks, limits.batch_rows, limits.batch_bytes):
                kept = np.setdiff1d(np.arange(chunk.batch.num_rows), np.array([*chunk.problems], np.int64))
                numbers = chunk.numbers.take(pa.array(kept))
                yield to_requests(chunk.batch.take(pa.array(kept)), one.used, numbers)[0], numbers.to_numpy()


def _columns(batch: pa.RecordBatch, channel: str, one: Planned) -> tuple[list[bytes | None], npt.NDArray[np.int8]]:
    texts = batch.column("text").cast(pa.large_binary()).to_pylist()
    if "channel" in one.used:
        return texts, batch.column("channel").indices.to_numpy(zero_copy_only=False).astype(np.int8)
    return texts, np.full(len(texts), CHANNELS.index(channel), np.int8)


def _texts(path: Path) -> Iterator[tuple[list[bytes], npt.NDArray[np.int64]]]:
    """The lines of ``path`` that are not blank, and their numbers among these, a few at a time.

    Raises:
        ReadError: a line is longer than a record of any other input may be.
    """
    limits, held, room, done = Limits(), list[bytes](), 0, 0
    with path.open("rb") as file:
        while line := file.readline(MAX_RECORD_BYTES + 1):
            if len(line) > MAX_RECORD_BYTES:
                yield held, np.arange(done, done + len(held))
                raise ReadError(str(path), f"has a line of more than {MAX_RECORD_BYTES} bytes")
            if not line.strip():
                continue
            held.append(line.rstrip(b"\r\n"))
            room += len(line)
            if len(held) == limits.batch_rows or room >= limits.batch_bytes:
                yield held, np.arange(done, done + len(held))
                held, room, done = [], 0, done + len(held)
    yield held, np.arange(done, done + len(held))


def _lines(path: Path) -> int:
    """About how many lines ``path`` has, in bounded memory."""
    with path.open("rb") as file:
        return sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b"")) + 1
