"""One end of a connection on the loop: what there is to send goes out together, and few timers are set."""

from __future__ import annotations

from aioquic.asyncio.protocol import QuicConnectionProtocol

from aimds.gateway.datagrams import Datagrams
from aimds.gateway.packets.credit import Quic


class End(QuicConnectionProtocol):
    """As in aioquic, over `Datagrams`."""

    def __init__(self, quic: Quic) -> None:
        super().__init__(quic)
        self.quic = quic

    def transmit(self) -> None:
        """Send, all datagrams together, and look again when it is time."""
        self._transmit_task = None
        quic, transport = self.quic, self._transport
        assert transport is not None
        found = quic.datagrams_to_send(now=self._loop.time())
        for data, address in found:
            transport.sendto(data, address)
        if found and isinstance(transport, Datagrams):
            transport.flush()
        at = quic.get_timer()
        # A timer that comes too early looks again: cheaper than one that is set anew for each packet.
        if self._timer is not None and (at is None or at < (self._timer_at or 0.0)):
            self._timer.cancel()
            self._timer = None
        if self._timer is None and at is not None:
            self._timer, self._timer_at = self._loop.call_at(at, self._handle_timer), at

    def _handle_timer(self) -> None:
        self._timer, now, at = None, self._loop.time(), self.quic.get_timer()
        if at is not None and at > max(now, self._timer_at or 0.0):
            self._timer, self._timer_at = self._loop.call_at(at, self._handle_timer), at
            return
        try:
            self.quic.handle_timer(now=max(now, self._timer_at or 0.0))
            self._process_events()
            self.transmit()
        finally:
            # Whatever went wrong, the connection is not to stay beyond its time.
            over_at = self.quic._close_at
            if self._timer is None and over_at is not None:
                self._timer_at = max(over_at, now + 1.0)
                self._timer = self._loop.call_at(self._timer_at, self._handle_timer)
