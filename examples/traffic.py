"""Writes realistic sample traffic: sessions of several tenants over days, mostly benign, 3–5 % attacks of every type.

    python examples/traffic.py --rows 20000 --files 3 --seed 7 -o demo/logs

Parquet with the columns of REQUESTS and ``expected``: the threat type that a text was written to be, or none. The same
arguments give the same rows. All texts are our own; hosts, accounts, cards and people do not exist.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from phrases import Phrases, load

from aimds.jobs.evaluate.disguise import CHARACTERS, ENCODINGS

START = datetime(2025, 3, 3, tzinfo=UTC)
ROW_GROUP_ROWS = 16384
SCHEMA = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("session_id", pa.string(), nullable=False),
        pa.field("turn", pa.int64(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("ts", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("channel", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("expected", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer: share of the sessions, hours that its clock is ahead of UTC, and what its sessions are made of."""

    name: str
    weight: float
    utc_offset_h: int
    english: float
    documents: float
    tools: float


TENANTS = (
    Tenant("copper-kettle-bank", 5, 0, 0.75, 0.04, 0.05),
    Tenant("paper-lantern-travel", 4, 1, 0.55, 0.03, 0.12),
    Tenant("mossgate-clinic", 2, 0, 0.80, 0.12, 0.02),
    Tenant("lowtide-software", 4, -5, 0.90, 0.06, 0.22),
    Tenant("northwind-orchard", 3, 8, 0.45, 0.05, 0.06),
)
DISGUISES = {one.name: one for one in (*ENCODINGS, *CHARACTERS)}
CODECS = (
    *("base64", "base32", "hex", "URL encoding", "HTML entities", "ROT13", "reversed text", "Morse code", "binary"),
    *("Unicode escapes", "leetspeak", "spaced letters", "zero-width characters", "full-width letters"),
    *("Cyrillic letters", "invisible tags"),
)
"""Disguises whose name a writer could give with the text."""
_WAVE_TENANT = TENANTS[0].name
_WAVE_HOURS = range(13, 17)
_SINGLE, _BURST, _RAMP = 0.062, 0.006, 0.0075
"""Share of the sessions with one attack, with an attacker who tries again and again, and that turn step by step."""


class Turn(NamedTuple):
    """One row before it has a time."""

    channel: str
    text: str
    expected: str


class Writer:
    """Writes the texts of sessions; knows no time."""

    def __init__(self, random: Random) -> None:
        self.random, self.phrases = random, Phrases()
        self.material = load("material")
        attacks = load("attacks")
        self.attacks, self.ramps = attacks["set"], attacks["ramp"]
        sets = load("benign")["set"]
        self._english = [one for one in sets if one["lang"] == "en"]
        self._other = [one for one in sets if one["lang"] != "en"]
        self._lookalikes = [
            (one.get("channel", "user"), text) for one in load("lookalikes")["set"] for text in one["texts"]
        ]
        self._due = self._one_of_each()

    def _one_of_each(self) -> list[dict[str, Any]]:
        by_threat = {one["threat"]: one for one in self.random.sample(self.attacks, len(self.attacks))}
        return self.random.sample(list(by_threat.values()), len(by_threat))

    def _pick(self, sets: list[dict[str, Any]]) -> dict[str, Any]:
        return self.random.choices(sets, [one["weight"] for one in sets])[0]

    def _say(self, template: str, lang: str = "en", **given: str) -> str:
        return self.phrases.fill(template, self.random, lang, **given)

    def document(self, sentences: int) -> str:
        """A document of about ``sentences`` sentences on one topic, in paragraphs."""
        pool = self.random.choice(list(self.material["documents"].values()))
        parts = [self._say(pool[0] if i == 0 else self.random.choice(pool)) for i in range(sentences)]
        parts = [text[:1].upper() + text[1:] for text in parts]
        breaks = [self.random.choices((" ", "\n\n"), (3, 1))[0] for _ in parts]
        return "".join(text + gap for text, gap in zip(parts, breaks, strict=True)).strip()

    def benign(self, tenant: Tenant, first: bool) -> Turn:
        """One harmless turn; ``first`` opens a conversation."""
        random, roll = self.random, self.random.random()
        if roll < 0.03:
            channel, template = random.choice(self._lookalikes)
            return Turn(channel, self._say(template), "none")
        if roll < 0.03 + tenant.documents:
            return Turn("document", self.document(random.choice((3, 4, 5, 6, 8, 30))), "none")
        if roll < 0.03 + tenant.documents + tenant.tools:
            return Turn("tool", self._say(random.choice(self.material["tool"]["texts"])), "none")
        if not first and roll > 0.82:
            return Turn("assistant", self._say(random.choice(self.material["assistant"]["texts"])), "none")
        if not first and roll > 0.55:
            template = random.choice(self.material["follow_up"]["texts"])
            return Turn("user", self._say("{aside}" + template + "{closer}"), "none")
        chosen = self._pick(self._english if random.random() < tenant.english else self._other)
        return Turn("user", self._say(random.choice(chosen["texts"]), chosen["lang"]), "none")

    def attack(self) -> Turn:
        """One attack; the first ones cover every threat type once."""
        chosen = self._due.pop() if self._due else self._pick(self.attacks)
        given = {}
        if chosen["threat"] == "obfuscation":
            plain = [
                one
                for one in self.attacks
                if one["threat"] in ("direct_injection", "prompt_leak") and "lang" not in one
            ]
            sentence = self._say(self.random.choice(self.random.choice(plain)["texts"]))
            given["codec"] = self.random.choice(CODECS)
            given["payload"] = DISGUISES[given["codec"]].hide(sentence, self.random)
        if chosen["threat"] == "indirect_injection":
            given["document"] = self.document(self.random.choice((2, 3, 4, 20)))
        template = self.random.choice(chosen["texts"])
        return Turn(chosen.get("channel", "user"), self._say(template, **given), chosen["threat"])

    def session(self, tenant: Tenant, hostility: float) -> list[Turn]:
        """The turns of one conversation; ``hostility`` multiplies the share of attacks."""
        random, roll = self.random, self.random.random() / hostility
        length = min(12, 1 + int(random.expovariate(1 / 2.6)))
        turns = [self.benign(tenant, i == 0) for i in range(length)]
        if random.random() < 0.03:
            turns.insert(0, Turn("system", self._say(random.choice(self.material["system"]["texts"])), "none"))
        if roll < _RAMP:
            ramp = random.choice(self.ramps)
            steps = [Turn("user", self._say("{aside}" + text), "none") for text in ramp["turns"]]
            return [step._replace(expected="multi_turn") if i >= ramp["from"] else step for i, step in enumerate(steps)]
        if roll < _RAMP + _BURST:
            tries = [self.attack() for _ in range(random.randrange(3, 7))]
            return [
                turns[0],
                *itertools.chain.from_iterable(zip(tries, turns[1:], strict=False)),
                *tries[len(turns) - 1 :],
            ]
        if roll < _RAMP + _BURST + _SINGLE:
            turns[random.randrange(len(turns))] = self.attack()
        return turns


class Calendar:
    """When sessions begin: more by day than by night, fewer at weekends, by each tenant's own clock."""

    def __init__(self, days: int) -> None:
        self._hours = [(START + timedelta(hours=i), tenant) for i in range(24 * days) for tenant in TENANTS]
        self._sums = list(itertools.accumulate(self._busy(at, tenant) for at, tenant in self._hours))
        self.wave_day = (START + timedelta(days=days // 2)).date()

    @staticmethod
    def _busy(at: datetime, tenant: Tenant) -> float:
        local = at + timedelta(hours=tenant.utc_offset_h)
        by_day = math.exp(-(((local.hour - 10.5) / 3) ** 2)) + 0.9 * math.exp(-(((local.hour - 15.5) / 3.2) ** 2))
        return tenant.weight * (0.08 + by_day) * (0.4 if local.weekday() >= 5 else 1.0)

    def draw(self, share: float, random: Random) -> tuple[datetime, Tenant]:
        """A moment and a tenant; ``share`` in [0, 1) is how much of all traffic lies before it."""
        at, tenant = self._hours[bisect.bisect_right(self._sums, share * self._sums[-1])]
        return at + timedelta(seconds=random.uniform(0, 3600)), tenant

    def hostility(self, at: datetime, tenant: Tenant) -> float:
        """How many times more attacks than usual: one tenant sees a wave in the middle of the period."""
        wave = tenant.name == _WAVE_TENANT and at.date() == self.wave_day and at.hour in _WAVE_HOURS
        return 6.0 if wave else 1.0


def rows(n: int, part: int, parts: int, seed: int, days: int, first_id: int) -> Iterator[tuple[Any, ...]]:
    """``n`` rows in the order of SCHEMA, sorted by time: stretch ``part`` of ``parts`` of the whole period."""
    random = Random(f"aimds traffic {seed} {part} {parts}")
    writer, calendar = Writer(random), Calendar(days)
    made: list[tuple[datetime, int, str, str, Turn]] = []
    while len(made) < n:
        at, tenant = calendar.draw((part + random.random()) / parts, random)
        session = f"s-{random.getrandbits(48):012x}"
        for i, turn in enumerate(writer.session(tenant, calendar.hostility(at, tenant))[: n - len(made)]):
            made.append((at, i, session, tenant.name, turn))
            at += timedelta(seconds=random.uniform(12, 240))
    made.sort(key=lambda row: (row[0], row[2], row[1]))
    for i, (at, turn_number, session, tenant_name, turn) in enumerate(made):
        yield f"r-{first_id + i:09d}", session, turn_number, tenant_name, at, turn.channel, turn.text, turn.expected


def write(out: Path, n: int, files: int, seed: int, days: int) -> list[Path]:
    """``n`` rows in ``files`` files in the folder ``out``; existing files of the same names are replaced, but for those
    that hold the same: a scan takes a file that was written anew for a changed input."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for part in range(files):
        first, last = n * part // files, n * (part + 1) // files
        columns = list(zip(*rows(last - first, part, files, seed, days, first), strict=True)) or [()] * len(SCHEMA)
        table = pa.table([pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)], SCHEMA)
        paths.append(out / f"requests-{part + 1:03d}.parquet")
        made = pa.BufferOutputStream()
        pq.write_table(table, made, row_group_size=ROW_GROUP_ROWS, compression="zstd")
        content = made.getvalue().to_pybytes()
        if not paths[-1].is_file() or paths[-1].read_bytes() != content:
            paths[-1].write_bytes(content)
    return paths


def size(path: Path) -> str:
    """How large a file is, for a reader."""
    n = path.stat().st_size
    return f"{n / 1e6:.1f} MB" if n >= 1e6 else f"{n / 1e3:.1f} KB"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write sample traffic as Parquet.")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--files", type=int, default=3)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("-o", "--out", type=Path, default=Path("demo/logs"))
    given = parser.parse_args()
    if given.rows < 0 or given.files < 1 or given.days < 1:
        parser.error("--rows must not be negative, --files and --days must be at least 1")
    for path in write(given.out, given.rows, given.files, given.seed, given.days):
        print(f"{path} ({size(path)})")


if __name__ == "__main__":
    main()
