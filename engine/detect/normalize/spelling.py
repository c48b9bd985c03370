"""Words that were pulled apart or respelt, put right: both steps after folding, in their order."""

from __future__ import annotations

from aimds.detect.normalize.fold import Folded
from aimds.detect.normalize.leetspeak import undo_leetspeak
from aimds.detect.normalize.spacing import join_letters
from aimds.detect.normalize.vocabulary import Vocabulary


def respell(folded: Folded, vocabulary: Vocabulary) -> Folded:
    """``folded`` with spaced-out letters joined, then leetspeak undone; its arrays are overwritten."""
    return undo_leetspeak(join_letters(folded, vocabulary), vocabulary)
