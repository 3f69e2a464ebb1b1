"""The streams that a worker holds for its controllers."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from itertools import islice
from typing import Any

from twisted.logger import Logger

from sipd.errors import MediaEngineError
from sipd.interfaces import StreamStatistics
from sipd.media.counting import export_counters
from sipd.media.engine import Engine
from sipd.media.latch import Latch
from sipd.media.poller import MediaReactor
from sipd.media.ports import MediaAddress, PortPair
from sipd.media.stream import RelayStream
from sipd.media.terms import ToldTerms, export_terms

#: Streams that are listed at a time: so many fit into a box of AMP.
_LISTED = 24

#: Tells who controls a stream what happened: its number, a short fixed word, a line for a person, the two sources.
Tell = Callable[[int, str, str, list[object]], None]


def export_stream(stream: RelayStream, now: float) -> dict[str, Any]:
    """Give all that another process has to know of a stream beside its sockets, as values for JSON."""
    return {
        "call_id": stream.call_id,
        "leg": stream.leg,
        "index": stream.index,
        "media": stream.statistics.media,
        "host": stream.address.host,
        "advertised_host": stream.address.advertised_host,
        "port": stream.pair.port,
        "is_muxed": stream.is_muxed,
        "latch": stream.latch.export(now),
        "rtcp_latch": stream.rtcp_latch.export(now),
        "terms": None if stream.terms is None else export_terms(stream.terms),
    }


class HeldStreams:
    """The streams of one worker.

    Args:
        engine: forwards.
        reactor: for the time.
    """

    _log = Logger()

    def __init__(self, engine: Engine, reactor: MediaReactor) -> None:
        self._engine = engine
        self._reactor = reactor
        self._streams: dict[int, RelayStream] = {}
        self._tell: dict[int, Tell] = {}
        #: To whom each is connected.
        self._peers: dict[int, int] = {}

    def __len__(self) -> int:
        """Count them."""
        return len(self._streams)

    @property
    def packets(self) -> int:
        """How many packets came so far in all that are open."""
        return sum(stream.statistics.packets + stream.statistics.rtcp_packets for stream in self._streams.values())

    def open(self, number: int, rtp: int, rtcp: int, state: dict[str, Any], tell: Tell) -> None:
        """Begin with a stream; the descriptors are this object's from now on."""
        now = self._reactor.seconds()
        latch = Latch()
        rtcp_latch = Latch(latch)
        latch.restore(state["latch"], now)
        rtcp_latch.restore(state["rtcp_latch"], now)
        self._tell[number] = tell
        self._streams[number] = stream = RelayStream(
            call_id=state["call_id"],
            leg=state["leg"],
            index=state["index"],
            address=MediaAddress(host=state["host"], advertised_host=state["advertised_host"]),
            pair=PortPair(state["host"], state["port"], _socket(rtp), _socket(rtcp)),
            statistics=StreamStatistics(leg=state["leg"], stream=state["index"], media=state["media"]),
            engine=self._engine,
            report=lambda kind, text: self._report(number, kind, text),
            latch=latch,
            rtcp_latch=rtcp_latch,
            terms=None if state["terms"] is None else ToldTerms.of(state["terms"]),
        )
        stream.is_muxed = state["is_muxed"]

    def do(self, operations: list[list[Any]]) -> list[list[Any]]:
        """Carry operations out, in order; give the results of those that have one. See `commands`."""
        results = []
        for name, number, *rest in operations:
            stream = self._streams.get(number)
            if stream is None:
                continue
            match name:
                case "signal":
                    rtp, rtcp, window = rest
                    stream.forwarder.signal(_address(rtp), _address(rtcp), window)
                case "connect":
                    self._connect(number, rest[0])
                case "adapt":
                    stream.adapt(stream.statistics, ToldTerms.of(rest[1]), is_muxed=rest[0])
                case "count":
                    stream.count()
                    results.append(self._result(number, stream))
                case "close":
                    results.append(self._close(number))
                case _:
                    self._log.warn("an operation that nobody knows: {name}", name=name)
        return results

    def list_after(self, after: int) -> list[list[Any]]:
        """Give number, state, and number of the peer of some of the streams after that number, in order."""
        now = self._reactor.seconds()
        numbers = islice((number for number in sorted(self._streams) if number > after), _LISTED)
        return [[number, export_stream(self._streams[number], now), self._peers.get(number)] for number in numbers]

    def adopt(self, number: int, tell: Tell) -> tuple[int, int, dict[str, Any]]:
        """Let somebody else control a stream; give copies of its descriptors, which are the caller's, and its state.

        Raises:
            MediaEngineError: there is none of that number.
        """
        stream = self._streams.get(number)
        if stream is None:
            raise MediaEngineError(f"no stream {number}")
        self._tell[number] = tell
        state = export_stream(stream, self._reactor.seconds())
        return os.dup(stream.pair.rtp.fileno()), os.dup(stream.pair.rtcp.fileno()), state

    def close(self) -> None:
        """Close all of them."""
        for number in list(self._streams):
            self._close(number)

    def _connect(self, number: int, other: int | None) -> None:
        peer = None if other is None else self._streams.get(other)
        self._streams[number].forwarder.connect_to(None if peer is None else peer.forwarder)
        if other is None or peer is None:
            self._peers.pop(number, None)
        else:
            self._peers[number] = other

    def _close(self, number: int) -> list[Any]:
        stream = self._streams.pop(number)
        # Whoever was connected with it is told by its controller; until then it must not send to closed sockets.
        for other in [one for one, peer in self._peers.items() if peer == number]:
            self._connect(other, None)
        self._peers.pop(number, None)
        del self._tell[number]
        stream.close()
        stream.pair.rtp.close()
        stream.pair.rtcp.close()
        return self._result(number, stream)

    def _result(self, number: int, stream: RelayStream) -> list[Any]:
        return [number, export_counters(stream.statistics), _sources(stream), stream.statistics.engine]

    def _report(self, number: int, kind: str, text: str) -> None:
        self._tell[number](number, kind, text, _sources(self._streams[number]))


def _sources(stream: RelayStream) -> list[object]:
    return [stream.latch.source, stream.rtcp_latch.source]


def _socket(descriptor: int) -> socket.socket:
    made = socket.socket(fileno=descriptor)
    made.setblocking(False)
    return made


def _address(values: list[Any] | None) -> tuple[str, int] | None:
    return None if values is None else (values[0], values[1])
