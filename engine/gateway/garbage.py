"""The collector of a process that serves: what was made before the first request is looked at no more."""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 10_000
"""New objects until the collector looks at them: requests leave no cycles, and by default it would look every few."""
OLDER: Final = (20, 50)


def settle() -> None:
    """Leave all that there is now, models and libraries, out of every collection to come: a full one takes a tenth of a
    second with them, in which nobody is answered. For the process as a whole, so for its owner to call."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *OLDER)
