"""Where else a response may go when its request's source cannot be reached (RFC 3263 section 5)."""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sipd.errors import ParseError, RemoteError, TransportError
from sipd.interfaces import IFlow
from sipd.sip.fields import Via
from sipd.sip.locate import Target, Transport, is_numeric
from sipd.sip.parser import parse_message
from sipd.transport.limits import RateLimit

#: Gives the servers of a Via's sent-by for a transport.
LocateSender = Callable[[Via, Transport], Deferred[Sequence[Target]]]


class FlowSource(typing.Protocol):
    """What gives flows: the transport layer."""

    def flow_to(self, target: Target) -> IFlow:
        """See `ITransportLayer`."""


class _Rerouted(bytes):
    """A response on its way to one of several places; the others are tried if it does not get there."""

    others: tuple[Target, ...] = ()


class ResponseRouter:
    """Sends responses that could not be sent to where their Via says that the sender's servers are.

    Only a name is looked up: an address that is not the request's source has no more to say for itself than a stranger.

    Args:
        flows: gives flows.
        locate: finds the servers of a sent-by.
        rate: of responses that are looked after; others are lost.
    """

    _log = Logger()

    def __init__(self, flows: FlowSource, locate: LocateSender, rate: RateLimit) -> None:
        self._flows = flows
        self._locate = locate
        self._rate = rate

    def not_sent(self, data: bytes, flow: IFlow) -> None:
        """Take a message that a flow could not send; a request is left to its transaction."""
        if isinstance(data, _Rerouted):
            self._send(data.others, data)
            return
        if not data.startswith(b"SIP/2.0 ") or not self._rate.allow():
            return
        try:
            via = parse_message(data).via
        except ParseError:
            return
        if is_numeric(via.host):
            return
        located = self._locate(via, flow.transport).addCallback(_without, flow)
        located.addCallback(self._send, data).addErrback(self._lost, via)

    def _send(self, targets: Sequence[Target], data: bytes) -> None:
        for index, target in enumerate(targets):
            try:
                flow = self._flows.flow_to(target)
            except TransportError:
                continue
            rerouted = _Rerouted(data)
            rerouted.others = tuple(targets[index + 1 :])
            flow.send(rerouted)
            return

    def _lost(self, failure: Failure, via: Via) -> None:
        """It cannot be found out: the response is lost, as on the way."""
        if not failure.check(RemoteError):
            self._log.failure("{sent_by} could not be located", failure, sent_by=via.sent_by)


def _without(targets: Sequence[Target], flow: IFlow) -> tuple[Target, ...]:
    """Leave off where the response could not be sent to."""
    return tuple(target for target in targets if (target.host, target.port) != (flow.host, flow.port))
