"""The sending half of a request's stream, for what is written whole, as most answers and bodies are: nothing is kept in
ranges.

A piece of it that is lost, or what is written in parts, goes the way of aioquic.
"""

from __future__ import annotations

from aioquic.quic.packet import QuicStreamFrame
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.quic.stream import QuicStream, QuicStreamReceiver, QuicStreamSender


class Answer(QuicStreamSender):
    """As in aioquic. While ``_whole`` is there, it is all that was and will be written, and none of it was lost."""

    def __init__(self, stream_id: int) -> None:
        super().__init__(stream_id, True)
        self._whole: bytes | None = None
        self._sent = self._arrived = 0
        self._parts: list[tuple[int, int, bool]] = []

    @property
    def next_offset(self) -> int:
        """Where the next frame begins."""
        return super().next_offset if self._whole is None else self._sent

    @property
    def is_waiting(self) -> bool:
        """Whether there is something to send."""
        if self._whole is None:
            return bool(len(self._pending) or self._pending_eof)
        return self._sent < len(self._whole)

    def write(self, data: bytes, end_stream: bool = False) -> None:
        """As in aioquic."""
        if (
            not end_stream
            or not data
            or self._buffer_stop
            or self._buffer_fin is not None
            or self._reset_error_code is not None
        ):
            super().write(data, end_stream)
            return
        self._whole, self._buffer_fin, self.buffer_is_empty = data, len(data), False

    @property
    def acknowledged(self) -> int:
        """Bytes of what was written that the other end is known to have."""
        return self._buffer_start if self._whole is None else self._arrived

    @property
    def unacknowledged(self) -> int:
        """Bytes of what was written that it may not have, sent or not."""
        return len(self._buffer) if self._whole is None else len(self._whole) - self._arrived

    def reset(self, error_code: int) -> None:
        """As in aioquic; nothing is kept that will not be sent again."""
        super().reset(error_code)
        self._whole = None
        self._buffer.clear()

    def get_frame(self, max_size: int, max_offset: int | None = None) -> QuicStreamFrame | None:
        """As in aioquic."""
        whole, start = self._whole, self._sent
        if whole is None:
            return super().get_frame(max_size, max_offset)
        size = len(whole)
        stop = min(size, start + max_size, size if max_offset is None else max_offset)
        if stop <= start:
            self.buffer_is_empty = start == size
            return None
        self._sent = self.highest_offset = stop
        return QuicStreamFrame(whole if stop - start == size else whole[start:stop], stop == size, start)

    def on_data_delivery(self, delivery: QuicDeliveryState, start: int, stop: int, fin: bool) -> None:
        """As in aioquic."""
        whole = self._whole
        if whole is not None and delivery is QuicDeliveryState.ACKED and self._reset_error_code is None:
            self._arrived += stop - start
            if self._arrived == len(whole):
                self.is_finished = True
            else:
                self._parts.append((start, stop, fin))
            return
        if whole is not None:
            self._part(whole)
        super().on_data_delivery(delivery, start, stop, fin)

    def _part(self, whole: bytes) -> None:
        """Go on as aioquic does."""
        size, self._whole = len(whole), None
        self._buffer, self._buffer_stop = bytearray(whole), size
        if self._sent < size:
            self._pending.add(self._sent, size)
            self._pending_eof = True
        for part in self._parts:
            super().on_data_delivery(QuicDeliveryState.ACKED, *part)


class Asked(QuicStream):
    """The stream of a request that came, with both its halves made once."""

    def __init__(self, stream_id: int, receive_most: int, send_most: int) -> None:
        self.is_blocked = False
        self.max_stream_data_local = self.max_stream_data_local_sent = receive_most
        self.max_stream_data_remote = send_most
        self.receiver = QuicStreamReceiver(stream_id, True)
        self.sender = Answer(stream_id)
        self.stream_id = stream_id
