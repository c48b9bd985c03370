"""What must agree word for word before two alike prompts are taken for the same question.

"book a table for three" and "book a table for seven" are nearly the same to any measure of likeness and want different
answers. Figures, negations, directions, days and the like therefore have to be the same, in the same order.
"""

from __future__ import annotations

import hashlib

import numpy as np

from aimds.kernels.words import FOLD

_SIGNS = (
    "not no never without t nor neither none nothing true false and or but if unless except only "
    "on off up down in out left right more less most least before after first second third last next previous "
    "highest lowest largest smallest biggest oldest newest best worst high low open close start stop buy sell "
    "zero one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred thousand "
    "million half double thirties forties fourties fifties sixties seventies eighties nineties "
    "monday tuesday wednesday thursday friday saturday sunday weekend january february march april may june july "
    "august september october november december today tomorrow yesterday am pm morning evening night "
    "nicht kein keine keinen nie ohne und oder nur eins zwei drei vier fünf sechs sieben acht neun zehn "
    "ne pas jamais sans et ou seulement un deux trois quatre cinq sept huit neuf dix "
    "nunca sin ni y o solo dos tres cuatro cinco seis siete ocho nueve diez "
)
SIGNS = frozenset(word.encode() for word in _SIGNS.split())
_TABLE = FOLD.tobytes()
_DIGITS = b"0123456789"


def signature(text: bytes) -> bytes:
    """8 bytes that agree where the words of ``text`` that decide agree, in their order: those of SIGNS and all with a
    digit in them. Characters that stand for no word, such as + or %, decide too."""
    words = text.translate(_TABLE).split()
    kept = [word for word in words if word in SIGNS or word.translate(None, _DIGITS) != word]
    marks = text.translate(None, _NO_MARKS)
    return hashlib.blake2b(b" ".join(kept) + b"\0" + marks, digest_size=8).digest()


_MARKS = b"+*/<>=%$^&|~#@{}[]\\"
_NO_MARKS = bytes(np.setdiff1d(np.arange(256), list(_MARKS)).astype(np.uint8))
