"""Which shard keeps a conversation: rendezvous hashing, so that a shard more or less moves as little as can be.

Sessions fall into a fixed number of slots, slots to shards; a slot is what moves.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

from aimds.errors import ConfigError

SLOTS: Final = 256


def owners(shards: int, slots: int = SLOTS) -> npt.NDArray[np.int64]:
    """The shard of each slot, int64 (slots,), where there are shards 0 to ``shards`` - 1; the same everywhere.

    A slot moves only to a new shard or from one that is gone (highest random weight, doi:10.1109/90.663936).

    Raises:
        ConfigError: no shard, or no slot.
    """
    for name, value in (("shards", shards), ("slots", slots)):
        if value < 1:
            raise ConfigError(name, value, "at least 1")
    weights = np.array([[_weight(slot, shard) for shard in range(shards)] for slot in range(slots)], np.uint64)
    return np.asarray(weights.argmax(axis=1), np.int64)


def _weight(slot: int, shard: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{slot}:{shard}".encode(), digest_size=8).digest(), "big")
