"""Packets that come once the handshake is over: the usual frames are read here, the others by aioquic.

What is used of aioquic is private to it; a test looks whether all of it is still there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aioquic._crypto import CryptoError
from aioquic.quic.connection import END_STATES, QuicConnectionError, QuicReceiveContext
from aioquic.quic.events import QuicEvent, StreamDataReceived
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicStreamFrame
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.stream import FinalSizeError, QuicStream

from aimds.gateway.packets.answer import Asked
from aimds.gateway.packets.carrying import ONE_RTT
from aimds.gateway.packets.probing import MOST as MOST_BYTES
from aimds.gateway.packets.sending import CONNECTED, Sending
from aimds.gateway.packets.streams import checked
from aimds.gateway.packets.wire import MOST, pulled

ACK, PING, STREAM, STREAM_END = 0x02, 0x01, 0x08, 0x10
MAX_DATA, MAX_STREAM_DATA = 0x10, 0x11
MOST_PATHS = 8
"""Addresses of the other end that are remembered, the one in use among them."""
LONE_S = 0.02
"""After which a packet in order is acknowledged where no other follows: within the 25 ms that aioquic names (RFC 9000,
section 13.2.1), and by then what goes the other way may have taken the acknowledgement along. The second is soon."""
MOST_RANGES = 64
"""Ranges of packets that are remembered to be acknowledged (RFC 9000, section 13.2.3); they fit into one packet."""


class Arrived(QuicEvent):
    """All that came in order on the stream of a request since it was looked at last; ``over`` with its end."""

    __slots__ = ("over", "parts", "stream_id")

    def __init__(self, stream_id: int, content: bytes, over: bool) -> None:
        self.stream_id, self.parts, self.over = stream_id, [content], over


class Receiving(Sending):
    """A connection that reads its ordinary packets itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.arrived: Callable[[Arrived], None] | None = None
        """Takes what came on the streams of requests; without it they have aioquic's events."""
        self._heard_at = -1.0
        self._latest: dict[int, Arrived] = {}
        """Those that nobody has seen yet."""

    def next_event(self) -> QuicEvent | None:
        """As in aioquic; what came for requests goes to `arrived`."""
        events = self._events
        while events:
            event = events.popleft()
            if type(event) is not Arrived:
                return event
            self._latest.pop(event.stream_id, None)
            if self.arrived is not None:
                self.arrived(event)
        return None

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        """As in aioquic; what is empty is nothing, and so is what is larger than the other end was told."""
        if not data or len(data) > MOST_BYTES:
            return
        begun = self._network_paths and not (self._is_client or self._handshake_confirmed)
        if begun and self._network_paths[0].addr != addr:
            # Nobody moves before that (RFC 9000, section 9): a packet of the handshake would prove another's address.
            return
        cid = self.host_cid
        start = 1 + len(cid)
        if (
            not self._handshake_confirmed
            or self.arrived is None
            or data[0] & 0xC0 != 0x40
            or data[1:start] != cid
            or self._state is not CONNECTED
            or self._close_pending
            or not self._network_paths[0].is_validated
            or self._network_paths[0].addr != addr
            or self._quic_logger is not None
        ):
            super().receive_datagram(data, addr, now)
            self._elsewhere()
            return
        space, pair = self._ordinary()
        if pair.recv.before is not None:
            self._drop_keys(now)
        try:
            header, content, number, changed = pair.recv.decrypt_packet(data, start, space.expected_packet_number)
        except CryptoError:
            # Not of this connection, or damaged on the way.
            return
        if changed:
            pair._update_key("remote_update")
        if header[0] & 0x18:
            self._wrong(QuicErrorCode.PROTOCOL_VIOLATION, "Reserved bits must be zero")
            return
        if number > space.expected_packet_number:
            space.expected_packet_number = number + 1
        if number > self._spin_highest_pn:
            self._spin_bit, self._spin_highest_pn = bool(header[0] & 0x20) is not self._is_client, number
        eliciting = False
        try:
            eliciting = self._frames(content, cid, now)
        except QuicConnectionError as error:
            self.close(error_code=error.error_code, frame_type=error.frame_type, reason_phrase=error.reason_phrase)
        except IndexError:
            self._wrong(QuicErrorCode.FRAME_ENCODING_ERROR, "Failed to parse frame")
        if self._close_pending or self._state in END_STATES:
            return
        if now != self._heard_at:
            # The same for all that was read together.
            self._heard_at, self._close_at = now, now + self._idle_timeout()
        alone = space.ack_at is None and number == space.largest_received_packet + 1
        if number > space.largest_received_packet:
            space.largest_received_packet, space.largest_received_time = number, now
        space.ack_queue.add(number)
        if len(space.ack_queue) > MOST_RANGES:
            space.ack_queue.shift()
        if eliciting and alone:
            space.ack_at = now + LONE_S
        elif eliciting:
            soon = now + self._ack_delay
            space.ack_at = soon if space.ack_at is None else min(space.ack_at, soon)

    def _elsewhere(self) -> None:
        """Aioquic has read frames: its events keep their place, and streams may be over that nobody has looked at."""
        self._latest.clear()
        del self._network_paths[MOST_PATHS:]
        for space in self._loss.spaces:
            while len(space.ack_queue) > MOST_RANGES:
                space.ack_queue.shift()
        self._leaving.update((name, stream) for name, stream in self._streams.items() if stream.is_finished)

    def _wrong(self, code: int, reason: str) -> None:
        self.close(error_code=code, frame_type=QuicFrameType.PADDING, reason_phrase=reason)

    def _frames(self, content: bytes, cid: bytes, now: float) -> bool:
        """Take in the frames of a packet; whether it wants to be acknowledged soon."""
        at, size, eliciting = 0, len(content), False
        if not size:
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION, QuicFrameType.PADDING, "Packet contains no frames"
            )
        while at < size:
            kind = content[at]
            if STREAM <= kind < STREAM_END:
                at = self._stream_frame(content, at)
                eliciting = True
            elif kind == ACK:
                at = self._ack_frame(content, at + 1, now)
            elif kind == PING:
                at += 1
                eliciting = True
            elif kind == MAX_STREAM_DATA:
                at = self._stream_limit(content, at + 1)
                eliciting = True
            elif kind == MAX_DATA:
                most, at = pulled(content, at + 1)
                self._remote_max_data = max(self._remote_max_data, most)
                eliciting = True
            elif kind == 0:
                at += 1
            else:
                path = self._network_paths[0]
                context = QuicReceiveContext(ONE_RTT, cid, path, None, now, None)
                found, _ = self._payload_received(context, content[at:])
                self._elsewhere()
                return eliciting or found
        return eliciting

    def _ack_frame(self, content: bytes, at: int, now: float) -> int:
        end, at = pulled(content, at)
        delay, at = pulled(content, at)
        more, at = pulled(content, at)
        first, at = pulled(content, at)
        ranges = RangeSet([range(end - first, end + 1)])
        end -= first
        for _ in range(more):
            gap, at = pulled(content, at)
            count, at = pulled(content, at)
            end -= gap + 2
            ranges.add(end - count, end + 1)
            end -= count
        self._loss.peer_completed_address_validation = True
        self._loss.on_ack_received(
            ack_rangeset=ranges,
            ack_delay=(delay << self._remote_ack_delay_exponent) / 1e6,
            now=now,
            space=self._ordinary()[0],
        )
        return at

    def _stream_limit(self, content: bytes, at: int) -> int:
        stream_id, at = pulled(content, at)
        most, at = pulled(content, at)
        self._assert_stream_can_send(MAX_STREAM_DATA, stream_id)
        if stream_id not in self._streams_finished:
            stream = self._get_or_create_stream(MAX_STREAM_DATA, stream_id)
            stream.max_stream_data_remote = max(stream.max_stream_data_remote, most)
        return at

    def _stream_frame(self, content: bytes, at: int) -> int:
        kind, stream_id = content[at], content[at + 1]
        if stream_id < 64:
            at += 2
        else:
            stream_id, at = pulled(content, at + 1)
        offset = 0
        if kind & 4:
            offset, at = pulled(content, at)
        if kind & 2:
            length, at = pulled(content, at)
            stop = at + length
            if stop > len(content):
                raise IndexError(stop)
        else:
            stop = len(content)
            length = stop - at
        if offset + length > MOST:
            reason = "offset + length cannot exceed 2^62 - 1"
            raise QuicConnectionError(QuicErrorCode.FRAME_ENCODING_ERROR, kind, reason)
        stream = self._streams.get(stream_id)
        if stream is None:
            if stream_id in self._streams_finished:
                # What is sent again of a stream that is over.
                return stop
            if stream_id & 3:
                self._assert_stream_can_receive(kind, stream_id)
                stream = self._get_or_create_stream(kind, stream_id)
            else:
                stream = self._begun(kind, stream_id)
        elif stream_id & 3:
            self._assert_stream_can_receive(kind, stream_id)
        data = self._local_max_data
        newly = offset + length - stream.receiver.highest_offset
        if offset + length > stream.max_stream_data_local:
            raise QuicConnectionError(QuicErrorCode.FLOW_CONTROL_ERROR, kind, "Over stream data limit")
        if newly > 0:
            if data.used + newly > data.value:
                raise QuicConnectionError(QuicErrorCode.FLOW_CONTROL_ERROR, kind, "Over connection data limit")
            data.used += newly
        receiver, over = stream.receiver, bool(kind & 1)
        if length and offset == receiver._buffer_start and not receiver._buffer and receiver._final_size is None:
            # In order, and nothing behind it came before.
            receiver._buffer_start = end = offset + length
            receiver.highest_offset = max(receiver.highest_offset, end)
            if over:
                receiver._final_size, receiver.is_finished = end, True
            self._take(stream, stream_id, content[at:stop], over)
            return stop
        try:
            event = receiver.handle_frame(QuicStreamFrame(content[at:stop], over, offset))
        except FinalSizeError as error:
            raise QuicConnectionError(QuicErrorCode.FINAL_SIZE_ERROR, kind, str(error)) from None
        checked(receiver, kind)
        if event is not None:
            self._take(stream, stream_id, event.data, event.end_stream)
        return stop

    def _begun(self, kind: int, stream_id: int) -> QuicStream:
        """The stream of a new request."""
        if self._is_client:
            # Only a client begins those: refused as aioquic does.
            return self._get_or_create_stream(kind, stream_id)
        limit, number = self._local_max_streams_bidi, (stream_id >> 2) + 1
        if number > limit.value:
            raise QuicConnectionError(QuicErrorCode.STREAM_LIMIT_ERROR, kind, "Too many streams open")
        limit.used = max(limit.used, number)
        stream = self._streams[stream_id] = Asked(
            stream_id, self._local_max_stream_data_bidi_remote, self._remote_max_stream_data_bidi_local
        )
        return stream

    def _take(self, stream: QuicStream, stream_id: int, data: bytes, over: bool) -> None:
        if stream.receiver.is_finished:
            if stream.sender.is_finished:
                self._leaving[stream_id] = stream
        else:
            self._owed[stream_id] = stream
        if stream_id & 3:
            self._events.append(StreamDataReceived(data, over, stream_id))
            return
        one = self._latest.get(stream_id)
        if one is None:
            one = self._latest[stream_id] = Arrived(stream_id, data, over)
            self._events.append(one)
            return
        one.parts.append(data)
        one.over = one.over or over
