"""A process that judges: `python -m aimds.gateway.judge_process`, batches in, verdicts out, until its input ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import pyarrow as pa

from aimds.errors import AimdsError, DeviceLost
from aimds.gateway.frames import SIZES, Asked, Found, Ready, Setup, packed, unpacked
from aimds.gateway.garbage import settle
from aimds.gateway.identity import LOCAL
from aimds.gateway.judging import judge_batch
from aimds.gateway.pieces import Piece
from aimds.gateway.problem import Problem
from aimds.gateway.settings import Screening

if TYPE_CHECKING:
    from aimds.screener import Screener


def screener_of(screening: Screening) -> Screener:
    """The screener that ``screening`` asks for.

    Raises:
        AimdsError: as `Screener.default`.
    """
    from aimds.respond.policy import Policy
    from aimds.screener import Screener

    made = Screener.default(
        profile=screening.profile,
        policy=None if screening.policy is None else Policy.load(screening.policy),
        patterns=screening.patterns,
        calibration=screening.calibration,
        learned=screening.learned,
        threads=screening.threads,
        cache_bytes=screening.cache_bytes,
        backend=screening.backend,
    )
    made.detector.ready(made.place)
    return made


def serve(incoming: BinaryIO, outgoing: BinaryIO, build: Callable[[Screening], Any] = screener_of) -> None:
    """Judge what comes until ``incoming`` ends, or the device is lost: another process may find it well."""
    setup = decoded(_message(incoming)[0])
    try:
        screener = build(setup.screening)
        if setup.warm:
            screener.screen(list(setup.warm))
    except AimdsError as error:
        _write(outgoing, packed(Ready(str(error))))
        return
    settle()
    _write(outgoing, packed(Ready()))
    while (message := _message(incoming))[0]:
        asked, batch = msgspec.msgpack.decode(message[0], type=Asked), unpacked(message[1])
        if batch is None:
            _write(outgoing, packed(Found([], [], [], 0)))
            continue
        try:
            found = judged(screener, asked, batch)
        except DeviceLost as error:
            print(f"aimds: {error}", file=sys.stderr, flush=True)
            return
        _write(outgoing, found)


def decoded(setup: bytes) -> Setup:
    """The inverse of `packed` for the first message."""
    return msgspec.msgpack.decode(setup, type=Setup, dec_hook=_path)


def judged(screener: Any, asked: Asked, batch: pa.RecordBatch) -> list[Any]:
    """The message with the verdicts of ``batch``.

    Raises:
        DeviceLost: as `judge_batch`.
    """
    pieces, start = [], 0
    for count, form in zip(asked.counts, asked.forms, strict=True):
        pieces.append(Piece("", LOCAL, form, _nobody, _nobody, table=batch.slice(start, count)))
        start += count
    kept: list[pa.RecordBatch] = []
    found = judge_batch(
        screener.screen_batch, screener.unjudged, batch, pieces, lambda _asked, verdicts, _pieces: kept.append(verdicts)
    )
    answers = [None if isinstance(one, (pa.RecordBatch, Problem)) else one for one in found.answers]
    whole = asked.whole or None in answers
    head = Found(answers, found.actions, found.threats, found.unjudged)
    return packed(head, kept[0] if whole else None)


def _nobody(_found: Any, _now: float) -> None:
    """The gateway hands answers on."""


def _message(incoming: BinaryIO) -> tuple[bytes, bytes]:
    sizes = incoming.read(SIZES.size)
    if len(sizes) < SIZES.size:
        return b"", b""
    head, body = SIZES.unpack(sizes)
    return incoming.read(head), incoming.read(body)


def _write(outgoing: BinaryIO, parts: list[Any]) -> None:
    outgoing.writelines(parts)
    outgoing.flush()


def _path(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else value


def main(build: Callable[[Screening], Any] = screener_of) -> None:
    """Serve on standard input and output; what else is printed goes to standard error."""
    outgoing = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, outgoing, build)


if __name__ == "__main__":
    main()
