"""Average linkage over a sparse graph: the pair of groups with the highest mean likeness is joined, again and again."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


def average(
    count: int,
    first: Sequence[int],
    second: Sequence[int],
    likeness: Sequence[float],
    *,
    cut: float,
    unknown: float,
    joined: Callable[[], None] | None = None,
) -> I64:
    """The group of each of ``count`` items, int64 (count,), named by its lowest item.

    Groups are joined while the mean likeness of their items, pair by pair, is at least ``cut``. Single linkage, a union
    of all links, would chain two families together over one text that is like both.

    Args:
        first, second, likeness: the known links, each pair once, ``first`` below ``second``.
        unknown: what a pair without a link counts.
        joined: hears of every join.

    Source: Sokal & Michener 1958 (UPGMA); equal means are joined in order of their lowest items.
    """
    # By group, to each it has a link with: sum of the links' likeness beyond `unknown`.
    excess: list[dict[int, float]] = [{} for _ in range(count)]
    for a, b, value in zip(first, second, likeness, strict=True):
        excess[a][b] = excess[b][a] = value - unknown
    size, parent = [1] * count, list(range(count))

    def mean(a: int, b: int) -> float:
        return unknown + excess[a].get(b, -1.0) / (size[a] * size[b])

    heap = [(-mean(a, b), a, b) for a, b in zip(first, second, strict=True) if mean(a, b) >= cut]
    heapq.heapify(heap)
    while heap:
        negative, keep, gone = heapq.heappop(heap)
        if parent[keep] != keep or parent[gone] != gone or -negative != mean(keep, gone):
            continue  # one of them has grown since
        links, moved = excess[keep], excess[gone]
        del links[gone], moved[keep]
        for other, value in moved.items():
            links[other] = links.get(other, 0.0) + value
            del excess[other][gone]
        parent[gone], size[keep], excess[gone] = keep, size[keep] + size[gone], {}
        for other in links:
            excess[other][keep] = links[other]
            if mean(keep, other) >= cut:
                heapq.heappush(heap, (-mean(keep, other), min(keep, other), max(keep, other)))
        if joined is not None:
            joined()
    out = np.array(parent, np.int64)
    for item in range(count):  # a name is lower than what it names
        out[item] = out[out[item]]
    return out
