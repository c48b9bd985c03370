"""Windows in other shapes, for the encoder to learn that a shape alone says nothing.

What comes out of a cipher that knows letters alone has no signs and no capitals, be it an attack or not; and ordinary
text turned round or encoded is no attack, however strange its pieces. What such a text means its decoded view says.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

THIN = 0.04
"""Share of all windows that are seen once more without their signs."""
ODD = 0.04
"""Share of the harmless windows that are seen once more turned round or encoded."""


def thinned(text: str) -> str:
    """``text`` with its letters and digits alone, a blank for whatever was between them."""
    return " ".join("".join(sign if sign.isalnum() else " " for sign in text).split())


def _lines(text: str) -> str:
    raw = text.encode()
    return "\n".join(binascii.b2a_uu(raw[at : at + 45]).decode().rstrip() for at in range(0, len(raw), 45))


_ODD: tuple[Callable[[str], str], ...] = (
    lambda text: text[::-1],
    lambda text: " ".join(word[::-1] for word in text.split()),
    _lines,
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: base64.b32encode(text.encode()).decode(),
    lambda text: text.encode().hex(" "),
    lambda text: " ".join(format(byte, "08b") for byte in text.encode()),
)


def odd(text: str, rng: np.random.Generator) -> str:
    """``text`` turned round or encoded in one of several ways, folded as windows are."""
    return _ODD[int(rng.integers(len(_ODD)))](text).casefold()


def more(
    texts: Sequence[str], harmless: npt.NDArray[np.bool_], rng: np.random.Generator
) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Windows in other shapes, and for each the place int64 of the one among ``texts`` that it is made of.

    Args:
        harmless: bool (W,), which of ``texts`` are.
    """
    thin = np.flatnonzero(rng.random(len(texts)) < THIN)
    strange = np.flatnonzero(harmless & (rng.random(len(texts)) < ODD))
    made = [thinned(texts[place]) for place in thin.tolist()]
    made += [odd(texts[place], rng) for place in strange.tolist()]
    return made, np.concatenate([thin, strange])
