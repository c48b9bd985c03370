"""The suite `removal`: whether the evidence of a verdict carries it, by cutting it out of the text and screening again.

An explanation that names the wrong bytes leaves the score where it was. What falls anyway, because a shorter text says
less, is told by a control: as many bytes cut out elsewhere in the same text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds.detect.texts import Texts
from aimds.jobs.evaluate.judging import Advance, Judged, Outcomes, Screens, request, screen
from aimds.jobs.evaluate.points import Points, rate
from aimds.jobs.evaluate.sample import drawn

Span = tuple[int, int]
WAYS = ("all", "strongest", "control")
"""All evidence; that of the stage with the highest score; as much as all evidence, elsewhere."""
COVERED = 0.9


@dataclass(frozen=True, slots=True)
class Cut:
    """One flagged attack: ``text``, the evidence of its verdict as merged spans of bytes, and that of the strongest
    stage."""

    text: bytes
    spans: tuple[Span, ...]
    strongest: tuple[Span, ...]

    @property
    def covered(self) -> float:
        """The share of the text that is evidence."""
        return sum(end - start for start, end in self.spans) / max(1, len(self.text))


def suite(
    screener: Screens, judged: Sequence[Judged], *, most: int = 0, seed: int = 0, advance: Advance = lambda rows: None
) -> dict[str, Any]:
    """What becomes of flagged attacks without their evidence, over all files and by file.

    Args:
        judged: files already judged by ``screener``; their attacks count that were flagged or blocked as shipped.
        most: at most so many of each file; 0 for all.
        seed: of the lot that picks them, and of where the control cuts.
        advance: told the texts screened.

    Returns:
        n (flagged attacks whose verdict names evidence), unexplained (those that name none), covered (rate of those
        that are evidence almost from end to end), score_falls and below_flag (rates without all evidence), strongest
        and control (dicts with the same two rates), files (a list of such dicts, each with its file).
    """
    rng = np.random.default_rng(seed)
    by_file: list[tuple[str, int, npt.NDArray[np.bool_], dict[str, npt.NDArray[np.bool_]]]] = []
    for item in judged:
        flagged = item.attacks & Points({}).hits(item.outcomes, "flag")
        rows = drawn(np.flatnonzero(flagged), most, seed)
        if not len(rows):
            continue
        cuts = explained(screener, item.corpus.texts.take(rows), item.corpus.channel[rows])
        kept = np.flatnonzero([bool(cut.spans) for cut in cuts])
        chosen, places = [cuts[k] for k in kept], rows[kept]
        found = _without(screener, chosen, item.corpus.channel[places], item.outcomes.take(places), rng)
        covered = np.array([cut.covered >= COVERED for cut in chosen], np.bool_)
        by_file.append((item.corpus.name, len(rows) - len(kept), covered, found))
        advance(len(rows))
    files = [{"file": name, **_summary([part])} for name, *part in by_file]
    return {**_summary([part for _, *part in by_file]), "files": files}


def explained(screener: Screens, texts: Texts, channel: npt.NDArray[np.int8]) -> list[Cut]:
    """The evidence that verdicts on ``texts`` name; a row without any has no spans."""
    out = []
    evidence = screener.screen(request(texts, channel)).table.column("evidence").to_pylist()
    for row, items in enumerate(evidence):
        best = max((item["score"] for item in items), default=0.0)
        first = next((item["detector"] for item in items if item["score"] == best), "")
        of_first = (item for item in items if item["detector"] == first)
        out.append(Cut(texts.raw(row), merged(_spans(items)), merged(_spans(of_first))))
    return out


def _spans(items: Iterable[dict[str, Any]]) -> Iterable[Span]:
    return ((item["start"], item["end"]) for item in items)


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """``spans`` in order, those that touch joined, empty ones left out."""
    out: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if out and start <= out[-1][1]:
            out[-1] = out[-1][0], max(end, out[-1][1])
        else:
            out.append((start, end))
    return tuple(out)


def without(text: bytes, spans: Iterable[Span]) -> bytes:
    """``text`` with a blank for each of ``spans``, which are in order and do not overlap."""
    parts, position = [], 0
    for start, end in spans:
        parts.append(text[position:start])
        position = end
    parts.append(text[position:])
    return b" ".join(parts).decode("utf-8", "ignore").encode()


def elsewhere(cut: Cut, rng: np.random.Generator) -> tuple[Span, ...]:
    """As many bytes as the evidence has, in one go over what is not evidence, from a place by lot; empty where there
    are not as many."""
    size = sum(end - start for start, end in cut.spans)
    free = np.ones(len(cut.text), np.bool_)
    for start, end in cut.spans:
        free[start:end] = False
    places = np.flatnonzero(free)
    if len(places) < size:
        return ()
    first = int(rng.integers(0, len(places) - size + 1))
    return merged((place, place + 1) for place in places[first : first + size].tolist())


def _without(
    screener: Screens, cuts: Sequence[Cut], channel: npt.NDArray[np.int8], before: Outcomes, rng: np.random.Generator
) -> dict[str, npt.NDArray[np.bool_]]:
    out = {}
    chosen = {"all": [cut.spans for cut in cuts], "strongest": [cut.strongest for cut in cuts]}
    chosen["control"] = [elsewhere(cut, rng) for cut in cuts]
    for way in WAYS:
        able = np.flatnonzero([bool(spans) for spans in chosen[way]])
        texts = _packed([without(cuts[k].text, chosen[way][k]) for k in able.tolist()])
        after = screen(screener, texts, channel[able])
        out[f"{way} falls"] = np.asarray(after.danger < before.danger[able])
        out[f"{way} below"] = ~Points({}).hits(after, "flag")
    return out


def _packed(texts: Sequence[bytes]) -> Texts:
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    return Texts(np.frombuffer(b"".join(texts), np.uint8), offsets, np.ones(len(texts), np.bool_))


def _summary(parts: Sequence[Sequence[Any]]) -> dict[str, Any]:
    none = np.zeros(0, np.bool_)
    found = {name: np.concatenate([none, *(part[2][name] for part in parts)]) for name in _NAMES}
    shares = {
        way: {"score_falls": rate(found[f"{way} falls"]), "below_flag": rate(found[f"{way} below"])} for way in WAYS
    }
    return {
        "n": len(found["all falls"]),
        "unexplained": sum(part[0] for part in parts),
        "covered": rate(np.concatenate([none, *(part[1] for part in parts)])),
        **shares.pop("all"),
        **shares,
    }


_NAMES = tuple(f"{way} {what}" for way in WAYS for what in ("falls", "below"))
