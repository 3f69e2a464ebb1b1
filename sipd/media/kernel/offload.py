"""Which streams the kernel forwards: those whose sources are settled on both sides, and that nobody has to look into.

It is told by the sockets of the reactor engine (here or in a worker), which stay open underneath: as soon as anything
changes the kernel forwards that stream no more, and everything comes up again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.logger import Logger

from sipd.errors import MediaEngineError
from sipd.media.kernel.entries import UPWARD_LIMIT, Flow, FlowCounters
from sipd.media.kernel.forwarder import KernelForwarder

if TYPE_CHECKING:
    from sipd.media.ports import MediaAddress
    from sipd.media.rtp_socket import RtpSocket

_NANOSECONDS = 1_000_000_000
#: The longest unit of a timestamp that the kernel counts jitter in, in nanoseconds.
_LONGEST_TICK = 1_000_000


@dataclass(slots=True)
class _Offloaded:
    """A flow that the kernel forwards.

    Args:
        flow: the flow.
        counted: what was added to the statistics already.
        lost: how many of these packets were lost.
    """

    flow: Flow
    counted: FlowCounters | None = None
    lost: int = 0


class KernelOffload:
    """Gives streams to the kernel, and takes them back.

    Args:
        forwarder: the kernel's part. It is this object's from now on.
        addresses: those that media comes in on; their interfaces are attached to, as far as they can be.

    Raises:
        MediaEngineError: it can be done on no interface.
    """

    _log = Logger()

    def __init__(self, forwarder: KernelForwarder, addresses: tuple[MediaAddress, ...]) -> None:
        self._forwarder = forwarder
        self._flows: dict[RtpSocket, _Offloaded] = {}
        reasons = []
        is_attached = False
        for address in addresses:
            try:
                # What this machine sends to itself comes in by the loopback interface, whatever the address.
                for interface in dict.fromkeys((forwarder.interface_of(address.host), "lo")):
                    forwarder.attach(interface)
                is_attached = True
            except MediaEngineError as error:
                reasons.append(f"{address.host}: {error}")
        if not is_attached:
            forwarder.close()
            raise MediaEngineError("; ".join(reasons))
        for reason in reasons:
            self._log.warn("media is not forwarded by the kernel on {reason}", reason=reason)

    def __len__(self) -> int:
        """Count the flows, each direction one."""
        return len(self._flows)

    def __str__(self) -> str:
        return str(self._forwarder)

    def begin(self, socket: RtpSocket) -> None:
        """Take note that the source of a socket is settled: what can be forwarded now is."""
        peer = socket.rtp_peer
        if peer is None or not (socket.is_settled and peer.is_settled):
            return
        for one, other in ((socket, peer), (peer, socket)):
            if one not in self._flows:
                self._add(one, other)

    def end(self, socket: RtpSocket) -> None:
        """Take note that something about a socket changes: nothing is forwarded from it or to it."""
        self._remove(socket)
        for other in [one for one in (socket.rtp_peer,) if one is not None]:
            self._remove(other)

    def count(self, socket: RtpSocket) -> None:
        """Add what the kernel has counted to the statistics of a socket's stream."""
        offloaded = self._flows.get(socket)
        if offloaded is not None:
            self._update(socket, offloaded, self._forwarder.counters(offloaded.flow.key))

    def close(self) -> None:
        """Give everything back. Idempotent."""
        for socket in list(self._flows):
            self._remove(socket)
        self._forwarder.close()

    def _add(self, one: RtpSocket, other: RtpSocket) -> None:
        source, destination = one.latch.source, other.latch.source
        payloads = one.payloads
        if source is None or destination is None or payloads is None or len(payloads.events) > UPWARD_LIMIT:
            return
        rate = payloads.rates.get(one.watch.payload_type, 0)
        tick = _NANOSECONDS // rate if rate else 0
        flow = Flow(
            source=source,
            destination=one.local,
            new_source=other.local,
            new_destination=destination,
            upward_payload_types=tuple(sorted(payloads.events)),
            tick_nanoseconds=tick if tick <= _LONGEST_TICK else 0,
        )
        # What waits in the socket would be overtaken by what the kernel forwards.
        one.drain()
        if one.rtp_peer is not other or one in self._flows:
            return
        try:
            self._forwarder.add(flow)
        except MediaEngineError as error:
            one.report("kernel", f"does not forward {one}: {error}")
            return
        self._flows[one] = _Offloaded(flow)
        one.watch.offload(True)
        one.statistics.engine = "kernel"
        one.report("kernel", f"forwards {one}")

    def _remove(self, socket: RtpSocket) -> None:
        offloaded = self._flows.pop(socket, None)
        if offloaded is not None:
            self._update(socket, offloaded, self._forwarder.remove(offloaded.flow.key))
            socket.watch.offload(False)

    def _update(self, socket: RtpSocket, offloaded: _Offloaded, now: FlowCounters | None) -> None:
        if now is None:
            return
        before, statistics = offloaded.counted, socket.statistics
        offloaded.counted = now
        statistics.packets += now.packets - (before.packets if before else 0)
        statistics.size_octets += now.size_octets - (before.size_octets if before else 0)
        # What came up was not lost, though the kernel has not forwarded it.
        lost = max(0, now.lost - now.late - socket.watch.risen)
        statistics.lost += lost - offloaded.lost
        offloaded.lost = lost
        statistics.late += now.late - (before.late if before else 0)
        statistics.ssrc_changes += now.ssrc_changes - (before.ssrc_changes if before else 0)
        if now.ssrc is not None:
            statistics.ssrc = now.ssrc
            statistics.jitter = now.jitter
            statistics.jitter_max = max(statistics.jitter_max, now.jitter)


def make_offload(addresses: tuple[MediaAddress, ...], *, max_flows: int = 16384) -> KernelOffload:
    """Load the program, and attach it where media comes in.

    Raises:
        MediaEngineError: this machine cannot do that, or this process may not.
    """
    return KernelOffload(KernelForwarder(max_flows=max_flows), addresses)
