"""How many packets may leave at once: a burst of what goes in a millisecond, as far as one system call takes it."""

from __future__ import annotations

from typing import Final

from aioquic.quic.recovery import QuicPacketPacer

LONGEST_PAUSE_S: Final = 1e-3
"""Between packets that are sent at a pace."""
MOST_PACKETS: Final = 64
"""Of a burst: as many as leave with one system call."""


class Pacer(QuicPacketPacer):
    """As in aioquic, whose bursts have 16 packets at any rate: at a high one that is a wake-up of both ends for each
    16 packets. A burst stays within a quarter of the congestion window."""

    def update_rate(self, congestion_window: int, smoothed_rtt: float) -> None:
        """As in aioquic."""
        super().update_rate(congestion_window, smoothed_rtt)
        every = self.packet_time
        assert every is not None
        most = min(MOST_PACKETS, congestion_window // 4 // self._max_datagram_size)
        self.bucket_max = max(self.bucket_max, min(LONGEST_PAUSE_S, most * every))

    def spend(self, size: int) -> None:
        """A packet of ``size`` bytes leaves; the bucket was filled for this moment."""
        if self.packet_time is not None:
            self.bucket_time = max(0.0, self.bucket_time - self.packet_time * size / self._max_datagram_size)
