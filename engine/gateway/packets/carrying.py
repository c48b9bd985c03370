"""Packets sealed and sent, and how large they may be: what was asked for, where the path is found to carry it.

What is used of aioquic is private to it; a test looks whether all of it is still there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.packet import QuicFrameType, QuicPacketType, pull_quic_transport_parameters
from aioquic.quic.packet_builder import QuicDeliveryState, QuicSentPacket
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.tls import Epoch

from aimds.gateway.packets.pacing import Pacer
from aimds.gateway.packets.probing import LEAST, MOST, Probing
from aimds.gateway.packets.sealing import TAG, Keys, Pair
from aimds.gateway.packets.streams import Streams
from aimds.gateway.packets.wire import SMALL, varint

NUMBER: Final = 2
"""Bytes of a packet number, as aioquic writes it."""
MAX_UDP_PAYLOAD_SIZE: Final = 3
"""The transport parameter (RFC 9000, section 18.2)."""
MOST_SEALED: Final = 1 << 22
"""Packets under the same keys, half as many as AES-GCM may seal (RFC 9001, section 6.6)."""
LATE: Final = 3
"""Probe timeouts after a change within which packets under the keys before it are opened (RFC 9001, section 6.5)."""
ONE_RTT, ACKED = Epoch.ONE_RTT, QuicDeliveryState.ACKED


class Probe(QuicSentPacket):
    """A packet that is sent to see whether the path carries it."""

    probing: Probing


class Carrying(Streams):
    """A connection that knows how large its datagrams may be.

    Args:
        datagram_bytes: of them where path and other end take so many; what aioquic writes has 1,200 at most.
    """

    def __init__(self, *, datagram_bytes: int = LEAST, **options: Any) -> None:
        self.datagram_bytes = datagram_bytes
        self._path: Any = None
        self._probing = Probing(LEAST)
        """Of the path in use, which is ``_path``."""
        self._found: tuple[QuicPacketSpace, Pair] | None = None
        super().__init__(**options)
        self._pacer = self._loss._pacer = Pacer(max_datagram_size=self._max_datagram_size)
        self._sent = self._loss.on_packet_sent
        """Told of packets that are in flight."""

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        for pair in {*self._cryptos_initial.values(), *self._cryptos.values()}:
            pair.send, pair.recv = Keys(pair.send), Keys(pair.recv)
        self._cryptos[ONE_RTT] = Pair(self._cryptos[ONE_RTT])

    def _serialize_transport_parameters(self) -> bytes:
        most = varint(MOST)
        return super()._serialize_transport_parameters() + varint(MAX_UDP_PAYLOAD_SIZE) + varint(len(most)) + most

    def _parse_transport_parameters(self, data: bytes, from_session_ticket: bool = False) -> None:
        super()._parse_transport_parameters(data, from_session_ticket)
        if self.datagram_bytes > LEAST:
            most = pull_quic_transport_parameters(Buffer(data=data)).max_udp_payload_size
            if most is not None:
                self.datagram_bytes = min(self.datagram_bytes, most)

    def _ordinary(self) -> tuple[QuicPacketSpace, Pair]:
        """Packet numbers and keys of ordinary packets."""
        if self._found is None:
            pair = self._cryptos[ONE_RTT]
            assert isinstance(pair, Pair)
            self._found = self._spaces[ONE_RTT], pair
        return self._found

    def _drop_keys(self, now: float) -> None:
        """Those before the ones in use, once nothing under them is to be expected."""
        self._ordinary()[1].recv.drop(now, LATE * self._loss.get_probe_timeout())

    def _put(
        self,
        out: list[tuple[bytes, Any]],
        first: bytes,
        content: bytes,
        kind: type[QuicSentPacket],
        in_flight: bool,
        eliciting: bool,
        now: float,
        handlers: list[tuple[Any, Any]],
    ) -> int:
        """Seal ``content`` as the next packet; its bytes."""
        path, loss, (space, pair) = self._network_paths[0], self._loss, self._ordinary()
        number = self._packet_number
        self._packet_number += 1
        if pair.since is None:
            pair.since = number
        elif (
            number - pair.since >= MOST_SEALED
            # Only once both ends have surely followed so far (RFC 9001, sections 6.1 and 6.5).
            and space.largest_acked_packet >= pair.since
            and pair.recv.before is None
        ):
            # With the next packets: these belong to those in use.
            pair.update_key()
        header = first + (number & 0xFFFF).to_bytes(NUMBER, "big")
        data = pair.send.encrypt_packet(header, content, number)
        size = len(data)
        packet = kind(ONE_RTT, in_flight, eliciting, False, number, QuicPacketType.ONE_RTT, now, size, handlers)
        if type(packet) is Probe:
            packet.probing = self._probing
        if in_flight:
            self._sent(packet=packet, space=space)
        else:
            loss.on_packet_sent(packet=packet, space=space)
        path.bytes_sent += size
        out.append((data, path.addr))
        self._pacer.spend(size)
        return size

    def _probed(self, out: list[tuple[bytes, Any]], first: bytes, room: int, now: float) -> int:
        """Begin with a probe where one is due; what it takes of ``room``: all, where it waits for more."""
        path = self._network_paths[0]
        if path is not self._path:
            # What the one before carried says nothing about this one (RFC 9000, section 14.3).
            self._path, self._probing = path, Probing(self.datagram_bytes)
            self._sized()
        probing = self._probing
        size = probing.wanted
        if not probing.is_due(now) or self._loss.congestion_window < size:
            return 0
        if room < size:
            # What is under way will be acknowledged, or lost.
            return room if self._ordinary()[0].ack_eliciting_in_flight else 0
        probing.sent()
        content = SMALL[QuicFrameType.PING] + bytes(size - len(first) - NUMBER - TAG - 1)
        return self._put(out, first, content, Probe, True, True, now, [(self._on_probe_delivery, (probing,))])

    def _on_probe_delivery(self, delivery: QuicDeliveryState, probing: Probing) -> None:
        if delivery is ACKED:
            probing.arrived()
            self._sized()

    def _on_large_delivery(self, delivery: QuicDeliveryState) -> None:
        if delivery is ACKED:
            self._probing.large_arrived()

    def _sized(self) -> None:
        """Window and pace go by the size of the datagrams that are sent."""
        size, loss = self._probing.size, self._loss
        loss._cc._max_datagram_size = self._pacer._max_datagram_size = size  # type: ignore[attr-defined]
        if loss._rtt_initialized:
            self._pacer.update_rate(loss.congestion_window, loss._rtt_smoothed)

    def _excuse(self, packets: Iterable[QuicSentPacket], now: float) -> None:
        """Probes that are lost are no sign of a network that is full (RFC 9000, section 14.4)."""
        for packet in packets:
            if type(packet) is Probe:
                self._loss._cc.on_packets_expired(packets=(packet,))
                packet.in_flight = False
                packet.probing.lost(now)

    def _missed(self, packets: Iterable[QuicSentPacket]) -> None:
        """Those ``packets`` were lost."""
        if any(packet.sent_bytes > LEAST and type(packet) is not Probe for packet in packets):
            self._probing.large_lost()
            self._sized()
