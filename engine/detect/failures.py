"""Which detectors could not judge a row, as bits: read from the status and the error of its verdict."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt

from aimds.errors import AimdsError, ArtefactError, BackendError
from aimds.ids import LONG_ID
from aimds.schema import STATUSES, UNFOLLOWED

DETECTORS = ("normalize", "rules", "pii", "patterns", "exemplars", "classifier", "deep")
EVERY = np.uint8((1 << len(DETECTORS)) - 1)
"""No detector could judge."""
OPTIONAL = ("rules", "pii", "patterns", "exemplars", "deep")
"""Detectors without which the others still judge a row."""
NORMALIZE = np.uint8(1 << DETECTORS.index("normalize"))
TRUNCATED = "too many or too large encoded parts; the rest was screened undecoded"
INVALID = "invalid UTF-8; the bad bytes were screened as U+FFFD"
UNKNOWN_CHANNEL = "unknown channel "
"""A remark of a scan, made after the policy has decided: it is no failure of a detector."""
_REMARKS = (UNKNOWN_CHANNEL, UNFOLLOWED, LONG_ID)
_BY_NORMALIZE = frozenset(message.partition("; ")[0] for message in (TRUNCATED, INVALID))
_OK, _PARTIAL = STATUSES.index("ok"), STATUSES.index("partial")


class StageError(AimdsError):
    """A ``detector`` broke on a text; ``reason`` says how."""

    def __init__(self, detector: str, reason: str) -> None:
        self.detector, self.reason = detector, reason
        super().__init__(f"detector {detector}: {reason}")


class _Named:
    __slots__ = ("_detector",)

    def __init__(self, detector: str) -> None:
        self._detector = detector

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, ArtefactError | BackendError):
            raise StageError(self._detector, f"{type(error).__name__}: {error}") from error


@functools.cache
def named(detector: str) -> AbstractContextManager[None]:
    """What breaks inside is a `StageError` of ``detector``; what makes it unfit for every text passes as it is."""
    return _Named(detector)


def broke(error: str | None) -> bool:
    """Whether ``error`` of a verdict says that a detector broke, which it may not do again."""
    return error is not None and error.startswith("detector ")


def of_error(error: str | None) -> np.uint8:
    """Bits of the detectors that a row with status partial and this ``error`` was not judged by, uint8.

    An ``error`` of which no part is known counts as a failure of all.
    """
    bits, known = np.uint8(0), False
    for part in (error or "").split("; "):
        name = part.removeprefix("detector ").partition(":")[0] if part.startswith("detector ") else ""
        if name in DETECTORS:
            bits |= np.uint8(1 << DETECTORS.index(name))
        elif part in _BY_NORMALIZE:
            bits |= NORMALIZE
        elif not part.startswith(_REMARKS):
            continue
        known = True
    return bits if known else EVERY


def failed(status: npt.NDArray[np.integer], errors: Mapping[int, str | None]) -> npt.NDArray[np.uint8]:
    """Bits per row, uint8 (B,), from status codes (B,) and the errors of the rows whose status is not ok."""
    if not errors and not np.count_nonzero(status):
        return np.zeros(len(status), np.uint8)
    out = np.where(status == _OK, np.uint8(0), EVERY).astype(np.uint8)
    for row in np.flatnonzero(status == _PARTIAL).tolist():
        out[row] = of_error(errors.get(row))
    return out
