"""What is ours of a QUIC connection: credit that returns on consumption, and streams that are over cost nothing.

What is overridden of aioquic is private to it; a test looks whether all of it is still there.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from aimds.gateway.packets.receiving import Receiving

STREAM_WINDOW = 256 << 10
CONNECTION_WINDOW = 4 << 20
"""Bytes that may be under way to a server and in its hands, of a stream and of all of a connection."""
STREAMS = 128
"""Requests that a connection to a server may have open at once."""
HANDSHAKE_S = 10.0
"""Without a packet, after which a server forgets a client whose handshake is not complete."""


class Finished:
    """Ids of streams that are over, as aioquic keeps them: in ranges, so that there is an entry for each gap and not
    for each request a client ever made. A gap is of streams that may still be opened, of which there are few."""

    def __init__(self) -> None:
        self._starts: tuple[list[int], ...] = ([], [], [], [])
        self._stops: tuple[list[int], ...] = ([], [], [], [])
        """Of each kind of streams (RFC 9000, section 2.1): the ranges of their numbers, rising."""
        self._counts = [0, 0, 0, 0]

    def __contains__(self, stream_id: int) -> bool:
        number, kind = stream_id >> 2, stream_id & 3
        stops = self._stops[kind]
        if not stops or number >= stops[-1]:
            return False
        at = bisect_right(self._starts[kind], number)
        return at > 0 and number < stops[at - 1]

    def __len__(self) -> int:
        return sum(map(len, self._starts))

    def count(self, kind: int) -> int:
        """Streams of ``kind`` that are over."""
        return self._counts[kind]

    def add(self, stream_id: int) -> None:
        """``stream_id`` is over."""
        number, kind = stream_id >> 2, stream_id & 3
        starts, stops = self._starts[kind], self._stops[kind]
        if stops and number == stops[-1]:
            stops[-1], self._counts[kind] = number + 1, self._counts[kind] + 1
            return
        at = bisect_right(starts, number)
        if at and number < stops[at - 1]:
            return
        self._counts[kind] += 1
        after = at < len(starts) and starts[at] == number + 1
        if at and stops[at - 1] == number:
            stops[at - 1] = stops.pop(at) if after else number + 1
            if after:
                del starts[at]
        elif after:
            starts[at] = number
        else:
            starts.insert(at, number)
            stops.insert(at, number + 1)


class Quic(Receiving):
    """A connection that grants credit for what was consumed, not for what was received: see `hold`."""

    stream_window, connection_window = STREAM_WINDOW, CONNECTION_WINDOW

    def __init__(self, *, ask_certificate: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._ask = ask_certificate
        self.held: dict[int, int] = {}
        """Bytes received and not consumed, by stream."""
        self._held = 0
        self.done = 0
        """Requests that are over."""
        self._forgotten = Finished()
        self._streams_finished = Finished()  # type: ignore[assignment]

    @property
    def over(self) -> int:
        """Requests of which both directions are over."""
        finished: Finished = self._streams_finished  # type: ignore[assignment]
        return finished.count(0)

    @property
    def is_full(self) -> bool:
        """Whether so much is held that who has used up the credit of the connection is given no more."""
        return self._held > self.connection_window - self.connection_window // 4

    def hold(self, stream_id: int, size: int) -> None:
        """``size`` bytes of a stream are kept until they are wanted; below 0, so many were consumed, and with 0 as many
        as came."""
        self.held[stream_id] = self.held.get(stream_id, 0) + size
        self._held += size
        stream = self._streams.get(stream_id)
        if stream is not None and size <= 0 and not stream.receiver.is_finished:
            self._owed[stream_id] = stream

    def forget(self, stream_id: int) -> bool:
        """The request of a stream is over; False where that was known."""
        if stream_id in self._forgotten:
            return False
        self._forgotten.add(stream_id)
        self._held -= self.held.pop(stream_id, 0)
        self.done += 1
        return True

    def is_forgotten(self, stream_id: int) -> bool:
        """Whether the request of a stream is over, so that what comes of it late is of no use."""
        return stream_id in self._forgotten

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        if not self._is_client:
            self.tls._request_client_certificate = self._ask

    def _idle_timeout(self) -> float:
        found = super()._idle_timeout()
        return found if self._is_client or self._handshake_complete else min(found, HANDSHAKE_S)

    def _raise_limit(self, stream: Any) -> bool:
        receiver, limit = stream.receiver, stream.max_stream_data_local
        if receiver.is_finished or not limit:
            return False
        # What came behind a gap is not consumed either.
        wanted = receiver._buffer_start - self.held.get(stream.stream_id, 0) + self.stream_window
        if wanted - limit >= self.stream_window // 4:
            stream.max_stream_data_local = wanted
        return bool(stream.max_stream_data_local != stream.max_stream_data_local_sent)

    def _raise_limits(self) -> None:
        data, streams = self._local_max_data, self._local_max_streams_bidi
        wanted = data.used - self._held + self.connection_window
        if wanted - data.value >= self.connection_window // 4:
            wanted -= sum(len(stream.receiver._buffer) for stream in self._streams.values())
        if wanted - data.value >= self.connection_window // 4:
            data.value = wanted
        if self._is_client:
            return
        # A request is over when it is answered; its stream stays until that was acknowledged and all of it has come.
        wanted = min(self.done, self.over + STREAMS) + STREAMS
        if wanted - streams.value >= STREAMS // 4:
            streams.value = wanted
        # Of one-way streams HTTP/3 has three, so none come to those that aioquic grants at the beginning.

    def _write_stream_limits(self, builder: Any, space: Any, stream: Any) -> None:
        if not self._raise_limit(stream):
            return
        # With nothing seen, aioquic does not double the limit by itself.
        receiver = stream.receiver
        seen, receiver.highest_offset = receiver.highest_offset, 0
        try:
            super()._write_stream_limits(builder, space, stream)
        finally:
            receiver.highest_offset = seen

    def _write_connection_limits(self, builder: Any, space: Any) -> None:
        self._raise_limits()
        limits = self._local_max_data, self._local_max_streams_bidi, self._local_max_streams_uni
        used = [limit.used for limit in limits]
        for limit in limits:
            limit.used = 0
        try:
            super()._write_connection_limits(builder, space)
        finally:
            for limit, one in zip(limits, used, strict=True):
                limit.used = one

    def unsent(self, stream_id: int) -> int:
        """Bytes that wait to be sent or acknowledged."""
        stream = self._streams.get(stream_id)
        return len(stream.sender._buffer) if stream is not None else 0
