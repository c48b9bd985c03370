"""Packets that are sent once the handshake is over, written whole: acknowledgements, credit and stream data.

aioquic comes by each stream for each packet; here only those are looked at that have something to send. Whatever is
rare (connection ids, path validation, closing) is left to aioquic. What is used of it is private to it; a test looks
whether all of it is still there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from aioquic.quic.congestion.base import K_GRANULARITY
from aioquic.quic.connection import QuicConnectionState
from aioquic.quic.packet import QuicFrameType
from aioquic.quic.packet_builder import QuicDeliveryState, QuicSentPacket
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

from aimds.gateway.packets.answer import Answer
from aimds.gateway.packets.carrying import ACKED, NUMBER, ONE_RTT, Carrying
from aimds.gateway.packets.pacing import LONGEST_PAUSE_S
from aimds.gateway.packets.probing import LEAST
from aimds.gateway.packets.sealing import TAG
from aimds.gateway.packets.wire import SMALL, acknowledgement, varint

LEAST_FRAME: Final = 32
"""Bytes of a packet below which no piece of a stream is put into it."""
PROBES: Final = 3
MOST_ACKED: Final = 64
"""Ranges of packets that one acknowledgement may tell of: each packet under way is looked for in all of them, and those
of long ago have been told before."""
MOST_LIGHT: Final = 64
"""Packets of acknowledgements alone that are remembered until they are acknowledged themselves, which nobody has to."""
CONNECTED = QuicConnectionState.CONNECTED


class Sending(Carrying, ABC):
    """A connection that writes its ordinary packets itself.

    Args:
        steered: makes of a random connection id the one that this end has.
    """

    def __init__(self, *, steered: Callable[[bytes], bytes] | None = None, **options: Any) -> None:
        self._unsaid = True
        """There may be connection ids that the other end has not been told."""
        self._waited_s = 0.0
        """What the other end says it waited before it acknowledged last."""
        super().__init__(**options)
        self._steered = steered
        if steered is not None:
            first = self._host_cids[0]
            first.cid = self.host_cid = self._local_initial_source_connection_id = steered(first.cid)
        lost = self._loss._on_packets_lost

        def on_packets_lost(*, now: float, packets: Iterable[QuicSentPacket], space: Any) -> None:
            some = tuple(packets)
            self._excuse(some, now)
            lost(now=now, packets=some, space=space)
            self._missed(some)
            if some:
                # Whatever was in them has to be said again.
                self._active.update(self._streams)
                self._owed.update(self._streams)
                self._unsaid = True

        self._loss._on_packets_lost = on_packets_lost  # type: ignore[method-assign]
        sent, light = self._sent, deque[int]()

        def on_packet_sent(*, packet: QuicSentPacket, space: QuicPacketSpace) -> None:
            sent(packet=packet, space=space)
            if not packet.in_flight and packet.epoch is ONE_RTT:
                light.append(packet.packet_number)
                if len(light) > MOST_LIGHT:
                    space.sent_packets.pop(light.popleft(), None)

        self._loss.on_packet_sent = on_packet_sent  # type: ignore[method-assign]
        acked = self._loss.on_ack_received

        def on_ack_received(*, ack_rangeset: RangeSet, ack_delay: float, **how: Any) -> None:
            while len(ack_rangeset) > MOST_ACKED:
                ack_rangeset.shift()
            self._waited_s = min(ack_delay, self._loss.max_ack_delay)
            acked(ack_rangeset=ack_rangeset, ack_delay=ack_delay, **how)

        self._loss.on_ack_received = on_ack_received  # type: ignore[method-assign]
        measured = self._loss._cc.on_rtt_measurement

        def on_rtt_measurement(*, now: float, rtt: float) -> None:
            # Or a path is taken for full where the other end waits; with nothing left, each would grow by a quarter.
            measured(now=now, rtt=max(rtt - self._waited_s, K_GRANULARITY))

        self._loss._cc.on_rtt_measurement = on_rtt_measurement  # type: ignore[method-assign]

    def is_silent(self, since: float) -> bool:
        """Whether no packet has come ``since`` then, and the last `PROBES` were not answered (RFC 9002, 6.2)."""
        heard_at = self._ordinary()[0].largest_received_time
        return (heard_at is None or heard_at < since) and self._loss._pto_count >= PROBES

    def _replenish_connection_ids(self) -> None:
        known = len(self._host_cids)
        super()._replenish_connection_ids()
        if self._steered is not None:
            for one in self._host_cids[known:]:
                one.cid = self._steered(one.cid)
        self._unsaid = True

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        """As in aioquic."""
        if self._later:
            later, self._later = self._later, {}
            for stream_id, some in later.items():
                self.send_stream_data(stream_id, bytes(some))
        if self._leaving:
            for stream in list(self._leaving.values()):
                self._discard(stream)
        if not self._handshake_confirmed or self._state is not CONNECTED:
            return super().datagrams_to_send(now)
        if self._ordinary()[1].recv.before is not None:
            self._drop_keys(now)
        if self._is_unusual():
            return super().datagrams_to_send(now)
        return self._written(now)

    def _is_unusual(self) -> bool:
        path = self._network_paths[0]
        if self._unsaid:
            self._unsaid = not all(one.was_sent for one in self._host_cids)
        return bool(
            self._unsaid
            or self._close_pending
            or self._handshake_done_pending
            or self._datagrams_pending
            or self._ping_pending
            or self._retire_connection_ids
            or self._streams_blocked_pending
            or not path.is_validated
            or path.remote_challenges
            or not self._crypto_streams[ONE_RTT].sender.buffer_is_empty
            or self._ordinary()[1]._update_key_requested
            or self._quic_logger is not None
        )

    def _written(self, now: float) -> list[tuple[bytes, Any]]:
        loss, (space, pair) = self._loss, self._ordinary()
        first = bytes([0x41 | self._spin_bit << 5 | pair.key_phase << 2]) + self._peer_cid.cid
        more = len(first) + NUMBER + TAG
        out: list[tuple[bytes, Any]] = []
        pacer, granting = loss._pacer, True
        # All of these packets are sent at one time, so the pacer's bucket is filled once.
        every = pacer.packet_time
        if every is not None:
            pacer.update_bucket(now=now)
        room = loss.congestion_window - loss.bytes_in_flight
        if self.datagram_bytes > LEAST:
            room -= self._probed(out, first, room, now)
        if self._probe_pending:
            room = max(room, LEAST)
        size = self._probing.size
        while True:
            if space.ack_at is None or space.ack_at >= now:
                self._pacing_at = None
                if every is not None and pacer.bucket_time <= 0:
                    # Some packets at a time: one for each would wake both ends as often.
                    self._pacing_at = now + max(every, min(pacer.bucket_max / 2, LONGEST_PAUSE_S))
                    break
            frames: list[bytes] = []
            handlers: list[tuple[Any, Any]] = []
            # What is to be answered in any case may not be too large for the path.
            flight = min(LEAST if self._probe_pending else size, room) - more
            if space.ack_at is not None and (space.ack_at <= now or (self._active and flight >= LEAST_FRAME)):
                flight -= self._acknowledge(frames, handlers, space, now)
            acks = len(frames)
            if flight >= LEAST_FRAME:
                if granting or self._owed:
                    flight, granting = self._grant(frames, handlers, flight), False
                if self._active:
                    self._stream_frames(frames, handlers, flight)
            if self._probe_pending and flight > 0:
                self._probe_pending = False
                frames.append(SMALL[QuicFrameType.PING])
            if not frames:
                break
            content = b"".join(frames)
            eliciting = in_flight = len(frames) > acks
            if len(content) < 2:
                # The sample for header protection begins four bytes behind the packet number's first.
                content, in_flight = content + b"\0", True
            if len(content) + more > LEAST:
                handlers.append((self._on_large_delivery, ()))
            taken = self._put(out, first, content, QuicSentPacket, in_flight, eliciting, now, handlers)
            if in_flight:
                room -= taken
        return out

    def _acknowledge(self, frames: list[bytes], handlers: list[tuple[Any, Any]], space: Any, now: float) -> int:
        delay = int((now - space.largest_received_time) * 1e6) >> self._local_ack_delay_exponent
        queue = space.ack_queue
        frame = acknowledgement(queue, delay)
        space.ack_at = None
        frames.append(frame)
        handlers.append((self._on_ack_delivery, (space, space.largest_received_packet)))
        if len(queue) > 1 and not self._packet_number % 8:
            # Until an acknowledgement is acknowledged itself, its ranges are kept and sent.
            self._probe_pending = True
        return len(frame)

    def _grant(self, frames: list[bytes], handlers: list[tuple[Any, Any]], flight: int) -> int:
        """Raise limits that have to be; what is left of ``flight`` bytes."""
        self._raise_limits()
        for limit in (self._local_max_data, self._local_max_streams_bidi, self._local_max_streams_uni):
            if limit.value != limit.sent:
                frames.append(varint(limit.frame_type) + varint(limit.value))
                handlers.append((self._on_connection_limit_delivery, (limit,)))
                limit.sent = limit.value
                flight -= len(frames[-1])
        while self._owed and flight >= LEAST_FRAME:
            stream_id, stream = self._owed.popitem()
            if stream_id in self._streams and self._raise_limit(stream):
                most = stream.max_stream_data_local_sent = stream.max_stream_data_local
                frames.append(b"\x11" + varint(stream_id) + varint(most))
                handlers.append((self._on_max_stream_data_delivery, (stream,)))
                flight -= len(frames[-1])
        return flight

    @abstractmethod
    def _raise_limits(self) -> None:
        """Set the limits of the connection."""

    @abstractmethod
    def _raise_limit(self, stream: QuicStream) -> bool:
        """Set the limit of ``stream``; whether the other end has to be told."""

    def _stream_frames(self, frames: list[bytes], handlers: list[tuple[Any, Any]], flight: int) -> None:
        for stream in list(self._active.values()):
            if flight < LEAST_FRAME:
                break
            stream_id, sender = stream.stream_id, stream.sender
            assert stream_id is not None
            del self._active[stream_id]
            if stream.is_blocked:
                self._active[stream_id] = stream
                continue
            name = varint(stream_id)
            if stream.receiver.stop_pending:
                stop = stream.receiver.get_stop_frame()
                frames.append(b"\x05" + name + varint(stop.error_code))
                handlers.append((stream.receiver.on_stop_sending_delivery, ()))
                flight -= len(frames[-1])
            if sender.reset_pending:
                reset = sender.get_reset_frame()
                frames.append(b"\x04" + name + varint(reset.error_code) + varint(reset.final_size))
                handlers.append((sender.on_reset_delivery, ()))
                flight -= len(frames[-1])
                continue
            if sender.buffer_is_empty or sender._reset_error_code is not None:
                continue
            before = sender.highest_offset
            most = min(before + self._remote_max_data - self._remote_max_data_used, stream.max_stream_data_remote)
            frame = sender.get_frame(flight - 11 - len(name), most)
            if frame is not None:
                start, data = frame.offset, frame.data
                kind = 0x0A | (4 if start else 0) | frame.fin
                head = SMALL[kind] + name + (varint(start) if start else b"") + varint(len(data))
                frames.append(head + data)
                handlers.append((self._on_delivery, (stream, start, start + len(data), frame.fin)))
                flight -= len(head) + len(data)
                self._remote_max_data_used += sender.highest_offset - before
            if sender.is_waiting if type(sender) is Answer else len(sender._pending) or sender._pending_eof:
                self._active[stream_id] = stream
            else:
                sender.buffer_is_empty = True

    def _on_delivery(self, delivery: QuicDeliveryState, stream: QuicStream, start: int, stop: int, fin: bool) -> None:
        stream.sender.on_data_delivery(delivery, start, stop, fin)
        if delivery is ACKED and stream.sender.is_finished:
            self._discard(stream)

    def _write_path_challenge_frame(self, builder: Any, challenge: bytes) -> None:
        # Aioquic asks a client that moved once: were that lost, little could be sent to its new address for good.
        super()._write_path_challenge_frame(builder, challenge)
        builder._packet.delivery_handlers.append((self._on_challenge_delivery, (self._network_paths[0],)))

    def _on_challenge_delivery(self, delivery: QuicDeliveryState, path: Any) -> None:
        if delivery is not ACKED:
            path.local_challenge_sent = False

    def _write_stream_frame(self, builder: Any, space: Any, stream: Any, max_offset: int) -> int:
        # Where a packet is full, aioquic tries all the other streams all the same.
        if builder.remaining_flight_space < LEAST_FRAME:
            return 0
        handlers = builder._packet.delivery_handlers
        before = len(handlers)
        used = int(super()._write_stream_frame(builder, space, stream, max_offset))
        if len(handlers) > before:
            handlers[-1] = (self._on_delivery, (stream, *handlers[-1][1]))
        return used
