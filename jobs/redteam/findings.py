"""What a red team found, as plain values: all that the terminal, the page and ``--json`` show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aimds.jobs.campaigns.findings import Draft
from aimds.jobs.intervals import clopper_pearson
from aimds.jobs.plain import plain
from aimds.jobs.redteam.wire import OUTCOMES, THROUGH, Turn
from aimds.taxonomy import get


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attack: ``outcome`` is one of OUTCOMES. ``works``: whether the tool's own detector takes the answer that came
    back for a success, ``works_bare`` the same for the answer of the stub without AIMDS; None where it cannot say."""

    tool: str
    probe: str
    turns: tuple[Turn, ...]
    outcome: str
    action: str
    why: str
    works: bool | None
    works_bare: bool | None

    @property
    def text(self) -> str:
        """What the user said last."""
        return next((text for role, text in reversed(self.turns) if role == "user"), "")

    @property
    def got_through(self) -> bool:
        """Whether it was forwarded as it was."""
        return self.outcome in THROUGH

    @classmethod
    def read(cls, tool: str, line: dict[str, Any]) -> Attempt:
        """From a line of a tool's half."""
        turns = tuple((str(role), str(text)) for role, text in line["turns"])
        said = {name: line[name] for name in ("outcome", "action", "why", "works", "works_bare")}
        return cls(tool, str(line["probe"]), turns, **said)


@dataclass(frozen=True, slots=True)
class Told:
    """What a tool says of one of its probes."""

    tool: str
    probe: str
    tags: tuple[str, ...]
    goal: str
    detector: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Share:
    """``hits`` of ``n`` with the 95 % interval of Clopper and Pearson, 0 to 1 where ``n`` is 0."""

    hits: int
    n: int
    low: float
    high: float

    @classmethod
    def count(cls, hits: int, n: int) -> Share:
        """With its interval."""
        return cls(hits, n, *(clopper_pearson(hits, n) if n else (0.0, 1.0)))


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe. ``n`` attempts with a verdict, ``counts`` of all by OUTCOMES · ``through``: forwarded as they were ·
    ``bare``: successes of ``judged`` at the stub alone, ``works``: the same behind AIMDS · ``examples``: of what got
    through, masked, None for one that could not be searched for personal data · ``draft``: patterns that no earlier
    draft has, or None · ``covered_by``: the earlier drafts that have the rest."""

    tool: str
    name: str
    threat: str
    owasp: tuple[str, ...]
    goal: str
    detector: str
    seconds: float | None
    n: int
    counts: dict[str, int]
    held: Share
    through: Share
    judged: int
    bare: int
    works: int
    examples: list[str | None] = field(default_factory=list)
    draft: Draft | None = None
    covered_by: tuple[str, ...] = ()

    @property
    def rank(self) -> tuple[float, ...]:
        """Lowest first: what surely gets through, weighed by how bad the threat is, before what may."""
        return (-self.through.low * get(self.threat).impact, -self.through.hits, -self.works)


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that took part. ``seconds`` of its run, ``refused``: hosts it would have asked, and how often."""

    name: str
    version: str
    tested: bool
    seconds: float
    refused: dict[str, int]
    problem: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A probe that was not run, or not to its end."""

    tool: str
    probe: str
    why: str


@dataclass(frozen=True, slots=True)
class Findings:
    """All of it. ``probes`` by rank; ``target`` in words; ``stopped``: it was interrupted, this is what was done."""

    target: str
    tools: list[Tool]
    probes: list[Probe]
    left_out: list[LeftOut]
    spared: int
    stopped: bool
    seconds: float

    @property
    def n(self) -> int:
        """Attempts with a verdict."""
        return sum(probe.n for probe in self.probes)

    @property
    def failed(self) -> int:
        """Attempts without one."""
        return sum(probe.counts["failed"] for probe in self.probes)

    def of(self, tool: str) -> list[Probe]:
        """Probes of ``tool``, by rank."""
        return [probe for probe in self.probes if probe.tool == tool]

    def share(self, outcome: str, tool: str = "") -> Share:
        """Attempts with this outcome, of all or of those of one tool; ``through`` stands for both of THROUGH."""
        some = self.of(tool) if tool else self.probes
        names = THROUGH if outcome == "through" else (outcome,)
        return Share.count(sum(probe.counts[name] for probe in some for name in names), sum(probe.n for probe in some))

    def as_dict(self) -> dict[str, Any]:
        """JSON types only."""
        found: dict[str, Any] = plain(asdict(self))
        for name in ("held", "changed", "flagged", "passed", "through"):
            found.setdefault("shares", {})[name] = plain(asdict(self.share(name)))
        return found


def tallied(attempts: Sequence[Attempt], told: Sequence[Told], threats: dict[tuple[str, str], str]) -> list[Probe]:
    """Attempts counted by probe, by rank; without examples and drafts. ``threats`` by (tool, probe)."""
    from aimds.jobs.redteam.owasp import of_tags

    of: dict[tuple[str, str], list[Attempt]] = {}
    for one in attempts:
        of.setdefault((one.tool, one.probe), []).append(one)
    words = {(one.tool, one.probe): one for one in told}
    out = []
    for (tool, name), rows in of.items():
        said = words.get((tool, name))
        counts = dict.fromkeys(OUTCOMES, 0) | Counter(row.outcome for row in rows)
        n = len(rows) - counts["failed"]
        through = sum(counts[name] for name in THROUGH)
        both = [row for row in rows if row.works is not None and row.works_bare is not None]
        threat = threats[tool, name]
        out.append(
            Probe(
                tool=tool,
                name=name,
                threat=threat,
                owasp=of_tags(said.tags if said else ()) or get(threat).owasp_llm,
                goal=said.goal if said else "",
                detector=said.detector if said else "",
                seconds=said.seconds if said else None,
                n=n,
                counts=counts,
                held=Share.count(counts["held"], n),
                through=Share.count(through, n),
                judged=len(both),
                bare=sum(bool(row.works_bare) for row in both),
                works=sum(bool(row.works) for row in both),
            )
        )
    return sorted(out, key=lambda probe: (*probe.rank, probe.tool, probe.name))
