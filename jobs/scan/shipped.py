"""The screener that offline jobs use unless told otherwise, made from plain settings that can cross to a worker."""

from __future__ import annotations

from pathlib import Path

from aimds.detect.gray import GRAY
from aimds.respond.policy import Policy
from aimds.screener import Screener

TARGET = f"{__name__}:screener"


def screener(
    profile: str = "cascade",
    policy: str | None = None,
    gray: float = GRAY,
    calibration: str | None = None,
    patterns: str | None = None,
    learned: str | None = None,
    backend: str = "auto",
) -> Screener:
    """A single-threaded screener with the shipped artefacts.

    Args:
        policy: policy file, instead of the shipped one.
        gray: p-value at which the gray zone of ``cascade`` begins.
        calibration: a folder that `aimds calibrate` wrote.
        patterns: a folder of patterns that `aimds patterns` keeps.
        learned: a folder that `aimds learn` keeps.
        backend: as `Screener.default` has it.

    Raises:
        ConfigError: there is no such profile, or the policy is not valid.
        BackendError: cuda is asked for and cannot run here.
        ArtefactError: an artefact is missing or damaged.
    """
    return Screener.default(
        profile=profile,
        gray=gray,
        policy=Policy.load(Path(policy)) if policy else None,
        calibration=Path(calibration) if calibration else None,
        patterns=Path(patterns) if patterns else None,
        learned=Path(learned) if learned else None,
        backend=backend,
        threads=1,
    )
