"""The screener that offline jobs use unless told otherwise, made from plain settings that can cross to a worker."""

from __future__ import annotations

from pathlib import Path

from aimds.respond.policy import Policy
from aimds.screener import Screener

TARGET = f"{__name__}:screener"


def screener(profile: str = "cascade", policy: str | None = None) -> Screener:
    """A single-threaded screener with the shipped artefacts and the policy file ``policy`` (default: the shipped one).

    Raises:
        ConfigError: there is no such profile, or the policy is not valid.
        ArtefactError: something that ships with the package is missing or damaged.
    """
    chosen = Policy.load(Path(policy)) if policy else None
    return Screener.default(profile=profile, policy=chosen, threads=1)
