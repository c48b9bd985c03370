"""OWASP ids of garak's probes, which are those of 2023, as ids of the OWASP Top 10 for LLM Applications 2025."""

from __future__ import annotations

from collections.abc import Iterable

FROM_2023 = {
    "llm01": "LLM01:2025",
    "llm02": "LLM05:2025",
    "llm03": "LLM04:2025",
    "llm04": "LLM10:2025",
    "llm05": "LLM03:2025",
    "llm06": "LLM02:2025",
    "llm07": "LLM06:2025",
    "llm08": "LLM06:2025",
    "llm09": "LLM09:2025",
    "llm10": "LLM10:2025",
}
"""Insecure plugins (07) became a part of excessive agency, model theft (10) one of unbounded consumption. System prompt
leakage and weaknesses of embeddings, 07 and 08 of 2025, were nowhere in 2023."""
PREFIX = "owasp:"


def of_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """The ids of 2025 in ``tags`` of a probe, each once, in order; other tags are left out."""
    names = [tag[len(PREFIX) :].lower() for tag in tags if tag.lower().startswith(PREFIX)]
    return tuple(sorted({FROM_2023[name] for name in names if name in FROM_2023}))
