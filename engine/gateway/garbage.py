"""A process that serves: what was made before the first request is looked at by the collector no more, and threads
take turns quickly."""

from __future__ import annotations

import gc
import sys
from typing import Final

YOUNG: Final = 10_000
"""New objects until the collector looks at them: requests leave no cycles, and by default it would look every few."""
OLDER: Final = (10, 3)
"""Rounds of the young until the older, and of those until all, are looked at. A connection that has ended is a cycle of
some 360 objects and 150 KB, so that all are looked at for every 1,200 or so that came and went."""
SWITCH_S: Final = 2e-4
"""After which a thread that wants the interpreter is given it. One that judges leaves it for each kernel, some hundred
times a batch, and by default waits 5 ms for it each time that the loop has something to do."""


def settle() -> None:
    """Leave all that there is now, models and libraries, out of every collection to come: a full one takes a tenth of a
    second with them, in which nobody is answered. And set SWITCH_S. For the process as a whole, so for its owner to
    call."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *OLDER)
