"""Words that were pulled apart or respelt, put right: the steps after folding, in their order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aimds.detect.normalize.emoji import blank_signs, part_words
from aimds.detect.normalize.fold import Folded
from aimds.detect.normalize.leetspeak import undo_leetspeak
from aimds.detect.normalize.slips import Slips, undo_slips
from aimds.detect.normalize.spacing import join_letters
from aimds.detect.normalize.vocabulary import Vocabulary
from aimds.detect.rowwise import any_bit

_EVERY_FLAG = 0xFFFFFFFF


def respell(
    folded: Folded,
    values: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    vocabulary: Vocabulary,
    *,
    slips: bool = True,
) -> Folded:
    """``folded`` with spaced-out letters joined, emoji out of the way, leetspeak and slips undone; its arrays are
    overwritten.

    Args:
        values: uint8 (N,), the bytes that were folded.
        offsets: int64 (B+1,).
        slips: put mistyped words right too; a fragment is not made to read like text by it.
    """
    # ASCII without anything hidden in it has no emoji.
    plain = not any_bit(folded.flags, _EVERY_FLAG)
    spelt = join_letters(folded if plain else blank_signs(folded, values, offsets), vocabulary)
    read = undo_leetspeak(spelt if plain else part_words(spelt, vocabulary), vocabulary)
    return undo_slips(read, vocabulary, Slips.load()) if slips else read
