"""How `aimds.kernels.concept_pairs` numbers its features: 256 times a concept, plus the second one or LONE."""

from __future__ import annotations

from typing import Final

LONE: Final = 255
"""Stands for the second concept in the feature of a concept alone, so no concept has this number."""
FEATURES: Final = 1 << 16
"""Numbers there are."""
