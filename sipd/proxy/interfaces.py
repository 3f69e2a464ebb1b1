"""The joint of a proxy and of who decides where requests go, and the values that cross it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from sipd.interfaces import IFlow
    from sipd.sip.message import Request
    from sipd.sip.uri import Uri


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyTarget:
    """One place that a request is forwarded to (RFC 3261 section 16.5).

    Args:
        uri: the Request-URI of the copy that goes there.
        route_set: Route values that the copy gets before its own, topmost first (section 16.6, step 6).
        next_hop: where the copy is sent, whatever its Request-URI and its Route say (step 7); it is not changed by it.
        flow: what the copy leaves on while that is open, such as the connection that a phone registered on.
        follows_routes: whether the Route values that the request came with beyond this proxy are followed. They lead
            wherever the sender likes: without this a request that has any is not sent to this target.
    """

    uri: Uri
    route_set: tuple[str, ...] = ()
    next_hop: Uri | None = None
    flow: IFlow | None = None
    follows_routes: bool = False


class IProxyRouter(Interface):
    """Decides where a stateful proxy forwards requests to."""

    def targets(request: Request, flow: IFlow) -> Deferred[Sequence[Sequence[ProxyTarget]]]:
        """Give the targets of a request: those of a round are tried together, the rounds one after the other.

        Asked about each request but those of dialogs that this proxy has Record-Routed itself. No targets is 480 (RFC
        3261 section 16.5). To refuse a request fail with a `RemoteError`, whose status and reason are answered; of a
        `RequestRefusedError` the header fields, too. Cancelled when the caller gives up.

        Args:
            request: after the steps of section 16.4, so that its own Route and Request-URI count. Not to be changed.
            flow: what it came on.
        """


class IStatelessRouter(Interface):
    """Decides where a stateless proxy forwards requests to."""

    def target(request: Request, flow: IFlow) -> ProxyTarget | None:
        """Give the target of a request, or ``None`` to refuse it with 404.

        Asked each time that a request comes, and again for its CANCEL and ACK: the answer may depend on nothing but
        the Request-URI, the Route and the topmost Via, and has to stay the same (RFC 3261 section 16.11). Asked about
        each request but those of dialogs that this proxy has Record-Routed itself. A `RemoteError` that it raises is
        answered.

        Args:
            request: as for `IProxyRouter`.
            flow: what it came on.
        """
