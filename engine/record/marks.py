"""What attacks are told to be alike by: keyed hashes of session, words and evidence, so that a store holds no text.

The words of a text give one mark for all of them and `BANDS` for overlapping threes of words (MinHash; Broder 1997,
doi:10.1109/SEQUEN.1997.666900): two texts that share most of their wording share most of these.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from aimds.errors import ConfigError

SALT_BYTES = 32
SESSION, SAME_WORDS, EXEMPLAR, BAND, PATTERN = 3, 4, 2, 1, 1
"""Weights: how much it says that two attacks share one."""
KIN = 3
"""Attacks that share this much weight are taken for variants of one another."""
BANDS, ROWS = 8, 2
SHINGLE = 3
MAX_WORDS = 4000
_MASK = (1 << 63) - 1
_MULTIPLIERS = np.array(
    [int.from_bytes(hashlib.blake2b(b"%d" % k, digest_size=8).digest(), "big") | 1 for k in range(BANDS * ROWS)],
    np.uint64,
)


class Marks:
    """Marks under ``salt``, random bytes of one graph: without it nobody can tell what a mark stands for.

    Raises:
        ConfigError: a salt of another length.
    """

    def __init__(self, salt: bytes) -> None:
        if len(salt) != SALT_BYTES:
            raise ConfigError("salt", f"{len(salt)} bytes", f"{SALT_BYTES} random bytes")
        self._salt = salt

    def of(
        self,
        *,
        session: str | None,
        tenant: str | None = None,
        text: bytes | None = None,
        evidence: Iterable[tuple[str, str]] = (),
    ) -> tuple[tuple[int, int], ...]:
        """(mark, weight) pairs, no mark twice. ``evidence``: detector and id of the pattern, exemplar or rule met.
        Clients choose session ids, so that the same one of two ``tenant`` is two sessions."""
        found: dict[int, int] = {}
        if session is not None:
            whose = session if not tenant else f"{session}\0{tenant}"
            found[self._hash("session", whose.encode("utf-8", "surrogatepass"))] = SESSION
        words = [] if text is None else text.decode("utf-8", "replace").casefold().split()[:MAX_WORDS]
        if words:
            found[self._hash("words", " ".join(words).encode())] = SAME_WORDS
        if len(words) >= SHINGLE:
            for band, values in enumerate(_minima(words).reshape(BANDS, ROWS)):
                found[self._hash(f"band {band}", values.tobytes())] = BAND
        for detector, name in evidence:
            if name and detector not in ("classifier", "deep", "pii"):
                found[self._hash("met", name.encode())] = EXEMPLAR if name.startswith("exemplar.") else PATTERN
        return tuple(sorted(found.items()))

    def _hash(self, kind: str, content: bytes) -> int:
        digest = hashlib.blake2b(kind.encode() + b"\0" + content, digest_size=8, key=self._salt).digest()
        return int.from_bytes(digest, "big") & _MASK


def _minima(words: list[str]) -> npt.NDArray[np.uint64]:
    """The smallest hash of the threes of ``words`` under each of BANDS * ROWS functions."""
    threes = {" ".join(words[k : k + SHINGLE]) for k in range(len(words) - SHINGLE + 1)}
    codes = np.array([zlib.crc32(three.encode("utf-8", "replace")) for three in sorted(threes)], np.uint64)
    mixed = (codes[None, :] + np.uint64(1)) * _MULTIPLIERS[:, None]
    mixed ^= mixed >> np.uint64(29)
    return np.asarray(mixed.min(1), np.uint64)
