"""The collector of a process that serves: what was made before the first request is looked at no more."""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 10_000
"""New objects until the collector looks at them: requests leave no cycles, and by default it would look every few."""
OLDER: Final = (10, 3)
"""Rounds of the young until the older, and of those until all, are looked at. A connection that has ended is a cycle of
some 360 objects and 150 KB, so that all are looked at for every 1,200 or so that came and went."""


def settle() -> None:
    """Leave all that there is now, models and libraries, out of every collection to come: a full one takes a tenth of a
    second with them, in which nobody is answered. For the process as a whole, so for its owner to call."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *OLDER)
