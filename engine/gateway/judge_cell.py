"""What an actor of a cluster judges with: the messages of a process that judges, without the pipes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from aimds.actors.cell import found
from aimds.errors import DeviceLost
from aimds.gateway.frames import Asked, Setup, unpacked
from aimds.gateway.judge_process import decoded, judged

BUILD = "aimds.gateway.judge_process:screener_of"


class Judge:
    """A screener in an actor.

    Args:
        setup: a `Setup` in MessagePack.
        build: makes the screener of its settings; another one in tests.

    Raises:
        AimdsError: the screener cannot be made.
    """

    def __init__(self, setup: bytes, build: str = BUILD) -> None:
        asked = decoded(setup)
        self._screener = found(build)(asked.screening)
        if asked.warm:
            self._screener.screen(list(asked.warm))
        self._batches = 0

    def about(self) -> dict[str, str]:
        """Versions of all that the verdicts depend on."""
        return dict(getattr(self._screener, "versions", {}))

    def pulse(self) -> int:
        """Batches so far."""
        return self._batches

    def judge(self, asked: bytes, batch: Any) -> tuple[bytes, pa.Buffer]:
        """Verdicts of ``batch`` (Arrow IPC) as head and body of the answer; ends the process if the device is lost."""
        table = unpacked(batch)
        assert table is not None
        self._batches += 1
        try:
            _, head, *body = judged(self._screener, msgspec.msgpack.decode(asked, type=Asked), table)
        except DeviceLost as error:
            print(f"aimds: {error}", file=sys.stderr, flush=True)
            # An actor that ends is replaced; one that raises is asked again.
            os._exit(1)
        return head, pa.py_buffer(body[0]) if body else pa.py_buffer(b"")


def arguments(setup: Setup, build: str = BUILD) -> dict[str, Any]:
    """What a `Judge` for ``setup`` is made with."""
    return {"setup": msgspec.msgpack.encode(setup, enc_hook=_absolute), "build": build}


def _absolute(value: Any) -> str:
    return str(value.absolute()) if isinstance(value, Path) else str(value)
