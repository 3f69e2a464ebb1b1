"""Rules of RFC 3261 that can be seen on the wire, checked on everything a server sent and received over UDP.

What it sent over connections is looked at, too, for addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.testing.links import Fate
from sipd.testing.network import Network

_IPV4 = re.compile(rb"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.])")

#: Addresses that may stand anywhere: "nowhere", of SDP.
_NOBODY = {"0.0.0.0"}


def broken_rules(network: Network, server: str, private: dict[str, str]) -> list[tuple[str, str]]:
    """Give what a server did that it must not do, as (Call-ID, text).

    Args:
        network: its log is what is looked at.
        server: the address of the server.
        private: public address of a phone to its own.
    """
    return list(_Watch(server, private).watch(network))


class _Watch:
    """Follows the log in order."""

    def __init__(self, server: str, private: dict[str, str]) -> None:
        self._server = server
        self._private = private
        self._sent: dict[tuple[str, str], bytes] = {}
        self._sequence: dict[tuple[str, str, str], int] = {}
        #: INVITEs of the server by branch: the statuses that came.
        self._statuses: dict[str, set[int]] = {}
        #: Calls that came to the server, by Call-ID: how it answered their INVITEs.
        self._answers: dict[str, set[int]] = {}

    def watch(self, network: Network) -> Iterator[tuple[str, str]]:
        for event in network.log:
            if not event.data:
                continue
            if event.transport != "UDP":
                if event.source[0] == self._server and b"REGISTER" not in event.data:
                    for problem in self._named(event.data, event.destination[0]):
                        yield "", f"over {event.transport} to {event.destination[0]}: {problem}"
                continue
            if event.fate is Fate.DELIVERED and event.destination[0] == self._server:
                self._came(parse_datagram(event.data))
            elif event.fate.is_departure and event.source[0] == self._server:
                message = parse_datagram(event.data)
                seconds = event.at - network.log[0].at
                for problem in (
                    *self._left(message, event.data),
                    *self._shown(message, event.data, event.destination[0]),
                ):
                    yield (
                        message.call_id,
                        f"at {seconds:.3f} s to {event.destination[0]}: {message.start_line}: {problem}",
                    )

    def _came(self, message: Request | Response) -> None:
        if isinstance(message, Response):
            if message.cseq.method == "INVITE":
                self._statuses.setdefault(message.via.branch, set()).add(message.status)
        elif message.method == "INVITE" and message.to.tag is None:
            self._answers.setdefault(message.call_id, set())

    def _left(self, message: Request | Response, data: bytes) -> Iterator[str]:
        if isinstance(message, Response):
            if message.cseq.method == "INVITE" and message.call_id in self._answers:
                self._answers[message.call_id].add(message.status)
            return
        branch, method = message.via.branch, message.method
        before = self._sent.setdefault((branch, method), data)
        if before != data:
            yield "a request was changed when it was sent again (section 17.1.1.2)"
        if before is not data:
            return
        tag = message.from_.tag or ""
        number = message.cseq.number
        if method == "CANCEL":
            yield from self._cancel(branch)
        if method in ("ACK", "CANCEL"):
            return
        last = self._sequence.get((message.call_id, tag, message.to.tag or ""), 0)
        if number <= last:
            yield f"CSeq {number} after {last} (section 12.2.1.1)"
        self._sequence[message.call_id, tag, message.to.tag or ""] = number
        if method == "BYE":
            yield from self._bye(message)

    def _cancel(self, branch: str) -> Iterator[str]:
        statuses = self._statuses.get(branch, set())
        if not statuses:
            yield "before a provisional response (section 9.1)"
        if any(status >= 200 for status in statuses):
            yield "after the final response (section 9.1)"

    def _bye(self, bye: Request) -> Iterator[str]:
        """Who was called hangs up: not without having answered."""
        statuses = self._answers.get(bye.call_id)
        if statuses is not None and not any(200 <= status < 300 for status in statuses):
            yield "without a 2xx (section 15)"

    def _shown(self, message: Request | Response, data: bytes, public: str) -> Iterator[str]:
        """Neither party is shown an address of the other."""
        if message.cseq.method != "REGISTER":
            yield from self._named(data, public)

    def _named(self, data: bytes, public: str) -> Iterator[str]:
        allowed = _NOBODY | {self._server, public, self._private.get(public, public)}
        shown = {address.decode() for address in _IPV4.findall(data)} - allowed
        if shown:
            yield f"shows {sorted(shown)}"
