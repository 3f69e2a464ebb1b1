"""Joints of the transport layer (RFC 3261 section 18, RFC 3263)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

from sipd.sip.locate import Transport

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from sipd.errors import TransportError
    from sipd.sip.locate import Target
    from sipd.sip.message import Request, Response
    from sipd.sip.uri import Uri


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningPoint:
    """Where sipd listens, and what it tells others about it (RFC 3261 section 18.2.1).

    Args:
        name: as in the configuration; appears in logs and in a call's explanation.
        transport: of every flow that begins here.
        host: the numeric address that is bound, without brackets.
        port: the port that is bound.
        advertised_host: what Via, Contact and Record-Route say instead of `host` (behind NAT, in a container).
        advertised_port: the same for the port.
    """

    name: str
    transport: Transport
    host: str
    port: int
    advertised_host: str
    advertised_port: int

    @property
    def sent_by(self) -> str:
        """``host:port`` for Via and Contact; an IPv6 address in brackets (RFC 3261 section 18.1.1)."""
        host = self.advertised_host
        return f"[{host}]:{self.advertised_port}" if ":" in host else f"{host}:{self.advertised_port}"


class IFlow(Interface):
    """One UDP 5-tuple or one connection. A dialog is pinned to the flow that worked (lesson 1)."""

    transport: Transport = Attribute("How it carries messages.")
    point: ListeningPoint = Attribute("The listening point whose address stands in Via and Contact.")
    host: str = Attribute("The peer's numeric address, without brackets.")
    port: int = Attribute("The peer's port.")
    is_open: bool = Attribute("False once the connection has ended or failed; always true for UDP.")
    # Which certificate the peer proved to have, as DNS and SIP-URI names; empty without a verified one.
    peer_names: tuple[str, ...] = Attribute("Verified names of the peer.")

    def send(data: bytes) -> None:
        """Send one printed message. Never raises: a failure arrives later as `IMessageReceiver.flow_failed`."""

    def close() -> None:
        """End a connection in good order. Does nothing for UDP."""


class IMessageReceiver(Interface):
    """What stands above the transport layer: the transaction layer."""

    def message_received(message: Request | Response, flow: IFlow) -> None:
        """Take a message whose Via, From, To, Call-ID and CSeq are present and parse.

        For a request, ``received`` and ``rport`` are already in its topmost Via (RFC 3581).
        """

    def flow_failed(flow: IFlow, error: TransportError) -> None:
        """Take note that a connection ended or could not be made. Whatever waits on it has failed."""


class ITransportLayer(Interface):
    """Sends for the transaction layer; chooses and reuses flows (RFC 3261 section 18, RFC 5923)."""

    receiver: IMessageReceiver | None = Attribute("Who takes messages; set once, before anything is received.")
    points: Sequence[ListeningPoint] = Attribute("The listening points that are open, in configured order.")

    def flow_to(target: Target) -> IFlow:
        """Give a flow to that target: an open one, or a new one that connects by itself.

        Messages sent on a flow that is still connecting wait in its bounded queue.

        Raises:
            TransportError: no listening point speaks that transport and address family.
        """

    def find_flow(target: Target) -> IFlow | None:
        """Give the open flow to exactly that address, or ``None``. UDP always has one. Never connects.

        ``target.server_name`` is ignored: this is for sending back to who came here, not for reaching a name.
        """

    def send_response(response: Response, flow: IFlow) -> None:
        """Send a response to where RFC 3261 section 18.2.2 and RFC 3581 say, given the request's flow."""


class IMessageObserver(Interface):
    """A tap on the transport layer: sees every message, both ways, as it is on the wire."""

    def message_seen(data: bytes, flow: IFlow, *, sent: bool) -> None:
        """Take one message. Called before it is parsed (received) or just as it is written (sent)."""


class ISourceGuard(Interface):
    """Decides whom the transport layer listens to. Whoever is turned away hears nothing."""

    def drops(host: str) -> bool:
        """Say whether what came is dropped before it is read.

        Asked once for each datagram, and for each connection and message on one, which is closed then.

        Args:
            host: the numeric address that it came from, without brackets.
        """

    def takes(request: Request, flow: IFlow) -> bool:
        """Say whether a request is handled. Asked of each that is well formed, those in dialogs included."""


class IResolver(Interface):
    """RFC 3263: from a URI to places."""

    def locate(uri: Uri) -> Deferred[Sequence[Target]]:
        """Give the targets of a request URI or topmost Route, in the order to be tried; at least one.

        Fails with `UnresolvableError`.
        """

    def target_failed(target: Target, rest: float | None = None) -> None:
        """Take note that a target did not take a request: for a while it is given after all others.

        Args:
            target: that failed.
            rest: seconds for which it wishes to be spared; ``None`` where it did not say.
        """
