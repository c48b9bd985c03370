"""What a gateway's metrics say between two readings: increases, rates, quantiles, as Prometheus reckons them."""

from __future__ import annotations

import math
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from aimds.errors import AimdsError

PREFIX = "aimds_"
STARTED = "aimds_threats_detected_created"
"""Has no label, so it is there from the start, and another value means another process."""
Labels = tuple[tuple[str, str], ...]


class MetricsError(AimdsError):
    """What came from ``url`` are no metrics of a gateway: ``problem`` says why."""

    def __init__(self, url: str, problem: str) -> None:
        self.url, self.problem = url, problem
        super().__init__(f"{url}/metrics: {problem}")


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading, taken ``at`` (monotonic seconds): values by name and labels, these sorted by their names."""

    at: float
    values: dict[str, dict[Labels, float]]

    def sums(self, name: str, label: str = "", where: tuple[str, str] | None = None) -> dict[str, float]:
        """Values of the series ``name`` by ``label``, summed over the other labels; under "" where it has none.

        ``where`` takes only those whose label, its first, has the value that is its second.
        """
        found: dict[str, float] = defaultdict(float)
        for labels, value in self.values.get(name, {}).items():
            if where is None or where in labels:
                found[dict(labels).get(label, "")] += value
        return dict(found)

    def total(self, name: str) -> float:
        """The sum of all series ``name``; 0 where there are none."""
        return sum(self.values.get(name, {}).values())


def read(content: bytes, at: float, url: str) -> Sample:
    """The sample in ``content``, Prometheus' text format, as `/metrics` at ``url`` gave it ``at``.

    Raises:
        MetricsError: it is not that format, or holds no series of a gateway.
    """
    from prometheus_client.parser import text_string_to_metric_families

    values: dict[str, dict[Labels, float]] = {}
    try:
        for family in text_string_to_metric_families(content.decode("utf-8", "replace")):
            for one in family.samples if family.name.startswith(PREFIX) else ():
                if math.isfinite(one.value):
                    values.setdefault(one.name, {})[tuple(sorted(one.labels.items()))] = float(one.value)
    except (ValueError, LookupError, TypeError, AttributeError):
        # The parser has no error of its own: what it cannot read makes it fail where it happens to be.
        raise MetricsError(url, "not in Prometheus' text format") from None
    if not values:
        raise MetricsError(url, "no series of a gateway; is this the address of `aimds serve`?")
    return Sample(at, values)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations by bucket: upper ``bounds`` in rising order, without the infinite one, and how many ``counts`` fell
    into each, with one more for what lies above all bounds; ``sum`` of all observed."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    sum: float

    @property
    def count(self) -> float:
        """Observations in all."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """The mean; None of nothing."""
        return self.sum / self.count if self.count else None

    def quantile(self, q: float) -> float | None:
        """The ``q`` quantile, linear within its bucket, the highest bound where it lies above that; None of nothing."""
        place = self._place(q)
        if place is None:
            return None
        i, rank = place
        if i == len(self.bounds):
            return self.bounds[-1] if self.bounds else None
        low = self.bounds[i - 1] if i else 0.0
        return low + (self.bounds[i] - low) * (rank / self.counts[i] if self.counts[i] else 0.0)

    def at_most(self, q: float) -> float | None:
        """The upper bound of the bucket that holds the ``q`` quantile; None of nothing, or where it lies above all."""
        place = self._place(q)
        return None if place is None or place[0] == len(self.bounds) else self.bounds[place[0]]

    def above(self, bound: float) -> float | None:
        """The share of observations above ``bound``, which is one of the bounds; None of nothing, or if it is none."""
        if not self.count or bound not in self.bounds:
            return None
        return sum(self.counts[self.bounds.index(bound) + 1 :]) / self.count

    def _place(self, q: float) -> tuple[int, float] | None:
        rank = q * self.count
        if not self.count:
            return None
        for i, n in enumerate(self.counts):
            if n and rank <= n:
                return i, rank
            rank -= n
        return len(self.counts) - 1, 0.0


@dataclass(frozen=True, slots=True)
class Window:
    """From the reading ``first`` to ``last``. Where the gateway was started anew between them, it counts from 0."""

    first: Sample
    last: Sample

    @property
    def seconds(self) -> float:
        """How long it is."""
        return max(self.last.at - self.first.at, 1e-9)

    @property
    def restarted(self) -> bool:
        """Whether another process answered: it began at another time, or what only rises has fallen."""
        before, after = self.first.values.get(STARTED), self.last.values.get(STARTED)
        if before and after:
            return before != after
        return any(
            self.last.values.get(name, {}).get(labels, 0.0) < value
            for name, series in self.first.values.items()
            if name.endswith(("_total", "_bucket", "_count"))
            for labels, value in series.items()
        )

    def increases(self, name: str, label: str = "", where: tuple[str, str] | None = None) -> dict[str, float]:
        """By how much the series ``name`` rose, as `Sample.sums` groups them; what fell rose by 0."""
        before = {} if self.restarted else self.first.sums(name, label, where)
        after = self.last.sums(name, label, where)
        return {key: max(0.0, value - before.get(key, 0.0)) for key, value in after.items()}

    def rates(self, name: str, label: str = "") -> dict[str, float]:
        """`increases` a second."""
        return {key: value / self.seconds for key, value in self.increases(name, label).items()}

    def rate(self, name: str) -> float:
        """All series ``name`` together, a second."""
        return sum(self.rates(name).values())

    def histogram(self, name: str, where: tuple[str, str] | None = None) -> Histogram:
        """What the histograms ``name`` observed."""
        rising: list[tuple[float, float]] = []
        for bound, n in self.increases(f"{name}_bucket", "le", where).items():
            with suppress(ValueError):
                rising.append((float(bound), n))
        rising.sort()
        counts = [max(0.0, after - before) for (_, before), (_, after) in pairwise([(0.0, 0.0), *rising])]
        bounds = tuple(bound for bound, _ in rising if math.isfinite(bound))
        counts = (counts + [0.0] * (len(bounds) + 1))[: len(bounds) + 1]
        return Histogram(bounds, tuple(counts), sum(self.increases(f"{name}_sum", where=where).values()))
