"""Arrow columns of text from bytes, without a step that takes each value for a Python object of unknown kind."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import pyarrow as pa


def packed(items: Sequence[bytes], kind: pa.DataType) -> pa.Array:
    """A column of ``kind``, string or large_string, of ``items``; the bytes are not looked at."""
    offset = np.int32 if pa.types.is_string(kind) else np.int64
    offsets = np.fromiter(accumulate(map(len, items), initial=0), offset, len(items) + 1)
    return pa.Array.from_buffers(kind, len(items), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(items))])
