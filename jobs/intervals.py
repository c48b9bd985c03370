"""Exact confidence intervals for shares."""

from __future__ import annotations

from aimds.errors import ConfigError


def clopper_pearson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Clopper–Pearson interval of ``hits`` out of ``n`` (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404).

    Raises:
        ConfigError: ``hits`` is not between 0 and ``n``.
    """
    from scipy.stats import beta

    if not 0 <= hits <= n:
        raise ConfigError("hits", hits, f"0 to n = {n}")
    tail = (1.0 - confidence) / 2.0
    low = float(beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1.0 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return low, high
