"""The streams of a connection: which of them have something to send, and which are over.

aioquic has one list of them all and comes by each for each packet. What is used of it is private to it; a test looks
whether all of it is still there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from aioquic.quic.connection import QuicConnection, QuicConnectionError
from aioquic.quic.packet import QuicErrorCode
from aioquic.quic.stream import QuicStream, QuicStreamReceiver

from aimds.gateway.packets.answer import Answer

MOST_GAPS: Final = 256
"""In what has come of a stream: aioquic comes by all of them for each frame, and a byte can make one."""


def checked(receiver: QuicStreamReceiver, kind: int, code: int = QuicErrorCode.INTERNAL_ERROR) -> None:
    """Whether what has come to ``receiver`` with a frame of ``kind`` has few gaps.

    Raises:
        QuicConnectionError: it has more than packets that are lost and overtaken leave.
    """
    if len(receiver._ranges) > MOST_GAPS:
        raise QuicConnectionError(code, kind, "Too many gaps in a stream")


class Streams(QuicConnection):
    """A connection that knows which of its streams want something."""

    def __init__(self, **options: Any) -> None:
        self._active: dict[int, QuicStream] = {}
        """Streams with something to send, in turn."""
        self._owed: dict[int, QuicStream] = {}
        """Streams whose credit may have to be raised."""
        self._leaving: dict[int, QuicStream] = {}
        """Streams that were broken off and may be over."""
        self._later: dict[int, bytearray] = {}
        """What goes out with the next packets, by stream."""
        super().__init__(**options)

    @property
    def _streams_queue(self) -> list[QuicStream]:
        # What aioquic goes by where it writes itself.
        return list(self._streams.values())

    @_streams_queue.setter
    def _streams_queue(self, queue: list[QuicStream]) -> None:
        """The order is that of ``_active``."""

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """As in aioquic, but that nothing is nothing."""
        if not data and not end_stream:
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._get_or_create_stream_for_send(stream_id)
            if not stream_id & 3:
                stream.sender = Answer(stream_id)
        stream.sender.write(data, end_stream)
        self._active[stream_id] = stream

    def send_later(self, stream_id: int, data: bytes) -> None:
        """Send ``data`` together with what else is sent so, once packets are written."""
        some = self._later.get(stream_id)
        if some is None:
            self._later[stream_id] = bytearray(data)
        else:
            some += data

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """As in aioquic."""
        super().reset_stream(stream_id, error_code)
        self._broken(stream_id)

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        """As in aioquic."""
        super().stop_stream(stream_id, error_code)
        self._broken(stream_id)

    def _handle_stop_sending_frame(self, context: Any, frame_type: int, buf: Any) -> None:
        super()._handle_stop_sending_frame(context, frame_type, buf)
        self._broken(self._events[-1].stream_id)  # type: ignore[attr-defined]

    def _handle_reset_stream_frame(self, context: Any, frame_type: int, buf: Any) -> None:
        super()._handle_reset_stream_frame(context, frame_type, buf)
        self._broken(self._events[-1].stream_id)  # type: ignore[attr-defined]

    def _handle_stream_frame(self, context: Any, frame_type: int, buf: Any) -> None:
        start = buf.tell()
        stream_id = buf.pull_uint_var()
        buf.seek(start)
        super()._handle_stream_frame(context, frame_type, buf)
        if stream_id in self._streams:
            checked(self._streams[stream_id].receiver, frame_type)

    def _handle_crypto_frame(self, context: Any, frame_type: int, buf: Any) -> None:
        super()._handle_crypto_frame(context, frame_type, buf)
        checked(self._crypto_streams[context.epoch].receiver, frame_type, QuicErrorCode.CRYPTO_BUFFER_EXCEEDED)

    def takes_more(self, stream_id: int) -> bool:
        """Whether a stream is there, its end was not written, and nobody has broken it off."""
        stream = self._streams.get(stream_id)
        return stream is not None and stream.sender._buffer_fin is None and stream.sender._reset_error_code is None

    def owing(self) -> Iterator[tuple[int, int]]:
        """Streams of requests of whose answers something is not acknowledged, and how many bytes of each are."""
        for stream_id, stream in self._streams.items():
            sender = stream.sender
            if stream_id & 3 or sender._reset_error_code is not None:
                continue
            if type(sender) is Answer:
                if sender.unacknowledged:
                    yield stream_id, sender.acknowledged
            elif sender._buffer:
                yield stream_id, sender._buffer_start

    def let_go(self) -> None:
        """The connection is over: nothing of its streams is wanted, and it may itself wait long for the collector."""
        for some in (self._streams, self._active, self._owed, self._leaving):
            some.clear()

    def cancel(self, stream_id: int, error_code: int) -> None:
        """Break off both directions of a stream, as far as they are not over."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.sender.is_finished:
            self.reset_stream(stream_id, error_code)
        if stream is not None and not stream.receiver.is_finished:
            self.stop_stream(stream_id, error_code)

    def _write_reset_stream_frame(self, builder: Any, stream: QuicStream) -> None:
        # Aioquic would break off what may not even begin yet, and the other end closes the connection for that.
        if not stream.is_blocked:
            super()._write_reset_stream_frame(builder, stream)

    def _write_stop_sending_frame(self, builder: Any, stream: QuicStream) -> None:
        if not stream.is_blocked:
            super()._write_stop_sending_frame(builder, stream)

    def _broken(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._active[stream_id] = self._leaving[stream_id] = stream

    def _discard(self, stream: QuicStream) -> None:
        """Forget ``stream`` where it is over."""
        stream_id = stream.stream_id
        assert stream_id is not None
        if stream_id not in self._streams:
            self._leaving.pop(stream_id, None)
        elif stream.sender.is_finished and stream.receiver.is_finished:
            del self._streams[stream_id]
            self._streams_finished.add(stream_id)
            for some in (self._leaving, self._active, self._owed):
                some.pop(stream_id, None)
