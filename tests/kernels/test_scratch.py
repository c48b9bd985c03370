"""Working memory begins at a cache line and shares none."""

import numpy as np
import pytest

from aimds.kernels.cpu.scratch import LINE_BYTES, scratch


@pytest.mark.parametrize("shape", [1, 31, 32, (3, 5), (2, 64), (7, 3, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.uint64])
def test_an_array_has_its_lines_for_itself(shape, dtype):
    made = [scratch(shape, dtype) for _ in range(20)]
    lines = set()
    for array in made:
        assert array.shape == (shape if isinstance(shape, tuple) else (shape,))
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert array.flags.writeable
        first = array.ctypes.data
        assert first % LINE_BYTES == 0
        own = set(range(first // LINE_BYTES, -(-(first + array.nbytes) // LINE_BYTES)))
        room = array.base if array.base is not None else array
        while room.base is not None:
            room = room.base
        assert first + len(own) * LINE_BYTES <= room.ctypes.data + room.nbytes
        assert not own & lines
        lines |= own
