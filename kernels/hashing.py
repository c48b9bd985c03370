"""The constants of the hashes that several kernels take of bytes: FNV-1a of 64 bits (draft-eastlake-fnv), and a step
that mixes it, with a multiplier of MurmurHash3, so that its upper bits are as good as the lower."""

from __future__ import annotations

from typing import Final

import numpy as np

FNV_BASIS: Final = np.uint64(0xCBF29CE484222325)
FNV_PRIME: Final = np.uint64(0x100000001B3)
MIX: Final = np.uint64(0xFF51AFD7ED558CCD)
HALF: Final = np.uint64(32)
"""A word is mixed as ``word ^ (word >> HALF)``, times MIX, and once more ``word ^ (word >> HALF)``."""
