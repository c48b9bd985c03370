"""`aimds` in this process, a stub that sleeps as the screener: `python -m benchmarks.paced ROW_MS serve -c aimds.toml`.

A batch takes BATCH_S and ROW_MS a row, and next to no processor, so that the gateway reaches what it can while both
cores have room: what it does beyond that is then the doing of its queue alone.
"""

from __future__ import annotations

import functools
import sys
import time

import pyarrow as pa

from aimds import app
from aimds.__main__ import main
from benchmarks.gateway_servers import Stub

BATCH_S = 2e-3


class Paced(Stub):
    """Verdicts as of `Stub`, after as long as they are said to take."""

    def __init__(self, row_s: float) -> None:
        super().__init__()
        self._row_s = row_s

    def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Verdicts of ``batch``."""
        begun = time.perf_counter()
        made = super().screen_batch(batch)
        time.sleep(max(0.0, BATCH_S + self._row_s * batch.num_rows - (time.perf_counter() - begun)))
        return made

    def screen(self, texts: list[str]) -> None:
        """There is nothing to warm up."""


if __name__ == "__main__":
    stub = Paced(float(sys.argv[1]) / 1e3)
    app.Gateway = functools.partial(app.Gateway, build=lambda _: stub)  # type: ignore[misc, assignment]
    sys.argv = ["aimds", *sys.argv[2:]]
    main()
