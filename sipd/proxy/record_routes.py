"""Who this proxy is in a Route, and how it gets into the Record-Route (RFC 3261 sections 16.4 and 16.6; RFC 5658)."""

from __future__ import annotations

import hmac
from hashlib import blake2s
from ipaddress import ip_address

from sipd.interfaces import IFlow, ITransportLayer, ListeningPoint
from sipd.sip.locate import Target, Transport
from sipd.sip.message import Request
from sipd.sip.uri import SipUri, Uri

#: Methods that make dialogs (sections 12.1 and 16.6; RFC 6665 section 4.4.1).
_DIALOG_METHODS = frozenset(("INVITE", "SUBSCRIBE", "REFER", "NOTIFY"))
#: The parameter of a Record-Route URI that proves that this proxy wrote it for this dialog.
_TOKEN = "dlg"
#: The parameter that names the flow on which the other side is reached.
_FLOW = "flow"


class RecordRoutes:
    """Writes Record-Routes that this proxy knows again.

    Each has a keyed hash of Call-ID and From tag. A request within a dialog that brings it along may go where its Route
    and its Request-URI say: this proxy has let the dialog begin. Any other would use the proxy as an open relay.

    Where the other side of the dialog is best reached on the flow that it is on (a connection, or a NAT), that flow's
    address stands there, too, and is a part of what is hashed (as in RFC 5626 section 5.2).

    Args:
        transport: has the listening points and the flows.
        names: host names that mean this proxy, too.
        key: of the hash, 16 to 32 octets; dialogs outlive a restart if it stays the same.
    """

    def __init__(self, transport: ITransportLayer, names: frozenset[str], key: bytes) -> None:
        self._transport = transport
        self._names = frozenset(name.lower() for name in names)
        self._key = key

    def is_own_host(self, host: str) -> bool:
        """Say whether a host, an IPv6 address without brackets, is this proxy's, whatever the port."""
        host = host.lower()
        return host in self._names or any(host in _hosts(point) for point in self._transport.points)

    def is_own(self, uri: Uri) -> bool:
        """Say whether a URI of a Route means this proxy: one of its names or addresses, with one of its ports."""
        if not isinstance(uri, SipUri):
            return False
        host = uri.host.lower()
        is_name = host in self._names
        for point in self._transport.points:
            if is_name and uri.port is None:
                return True
            if is_name or host in _hosts(point):
                port = point.transport.default_port if uri.port is None else uri.port
                if port in (point.port, point.advertised_port):
                    return True
        return False

    def is_placed(self, uri: Uri) -> bool:
        """Say whether a URI looks like one that this proxy puts into Record-Route."""
        return isinstance(uri, SipUri) and uri.user is None and _TOKEN in uri.parameters and self.is_own(uri)

    def proves(self, uri: Uri, message: Request) -> bool:
        """Say whether a URI of a Route is one that this proxy wrote for the dialog of a request, either way.

        A request without a To tag is in none: whoever had a dialog once may not begin another one by it.
        """
        if message.to.tag is None:
            return False
        call_id = message.call_id
        return self.is_recorded(call_id, message.from_.tag, uri) or self.is_recorded(call_id, message.to.tag, uri)

    def is_recorded(self, call_id: str, tag: str | None, uri: Uri) -> bool:
        """Say whether a Record-Route URI is one that this proxy wrote for a request with that Call-ID and From tag."""
        if not isinstance(uri, SipUri):
            return False
        token = (uri.parameters.get(_TOKEN) or "").lower().encode("utf-8", "surrogateescape")
        expected = self._token(call_id, tag, (uri.parameters.get(_FLOW) or "").lower())
        return hmac.compare_digest(token, expected.encode())

    def find_flow(self, uri: Uri) -> IFlow | None:
        """Give the flow that a Record-Route URI of this proxy's names; ``None`` if it names none that is open."""
        text = uri.parameters.get(_FLOW) if isinstance(uri, SipUri) else None
        if not text:
            return None
        try:
            name, host, port = text.split("-")
            address = str(ip_address(bytes.fromhex(host)))
            target = Target(transport=Transport(name.upper()), host=address, port=int(port))
        except ValueError:
            return None
        return self._transport.find_flow(target)

    def add(self, request: Request, received: Request, came_on: IFlow, leaves_on: IFlow, chosen: IFlow | None) -> None:
        """Put this proxy's Record-Route on top, if the request is of a kind that makes dialogs (section 16.6, step 4).

        Where the two sides differ (transport, address, scheme, flow) there are two, each for the side that sees it
        first (RFC 5658 section 3): that of the side where the request leaves is on top.

        Args:
            request: that leaves, Route and Request-URI done; changed.
            received: the same as it came.
            came_on: where from.
            leaves_on: where to.
            chosen: the flow that the router has chosen, if it has.
        """
        if request.method not in _DIALOG_METHODS:
            return
        is_pinned = leaves_on.transport.is_reliable or leaves_on is chosen
        inner = self._record_route(received, came_on, _name_of(came_on) if _needs_flow(received, came_on) else "")
        outer = self._record_route(request, leaves_on, _name_of(leaves_on) if is_pinned else "")
        for value in (inner,) if inner == outer else (inner, outer):
            if "Record-Route" in request.headers:
                request.headers.prepend("Record-Route", value)
            else:
                request.headers.add("Record-Route", value)

    def _record_route(self, request: Request, flow: IFlow, name: str) -> str:
        """Give the Record-Route for one side: ``sips`` on a secure one, for a request that asked for it."""
        point = flow.point
        token = self._token(request.call_id, request.from_.tag, name)
        proof = f"lr;{_FLOW}={name};{_TOKEN}={token}" if name else f"lr;{_TOKEN}={token}"
        if point.transport.is_secure and _is_secure(request):
            return f"<sips:{point.sent_by};{proof}>"
        transport = f"transport={point.transport.uri_parameter};" if point.transport.is_reliable else ""
        return f"<sip:{point.sent_by};{transport}{proof}>"

    def _token(self, call_id: str, tag: str | None, flow: str) -> str:
        text = f"{call_id}\n{tag or ''}\n{flow}".encode("utf-8", "surrogateescape")
        return blake2s(text, key=self._key, digest_size=8, person=b"dialog").hexdigest()


def _needs_flow(request: Request, flow: IFlow) -> bool:
    """Say whether a sender is best reached where it came from: on its connection, or through its NAT."""
    via = request.via
    return flow.transport.is_reliable or flow.host != via.host or flow.port != (via.port or 5060)


def _name_of(flow: IFlow) -> str:
    """Name a flow in a URI parameter, in characters that nobody takes for anything else."""
    return f"{flow.transport.value.lower()}-{ip_address(flow.host).packed.hex()}-{flow.port}"


def _hosts(point: ListeningPoint) -> tuple[str, str]:
    return point.host.lower(), point.advertised_host.lower()


def _is_secure(request: Request) -> bool:
    """Say whether a request is on its way to a ``sips`` URI (section 16.6, step 4)."""
    routes = request.routes
    uri = routes[0].uri if routes else request.uri
    return uri.scheme == "sips" or request.uri.scheme == "sips"
