"""The steps from a request that came to the copy that leaves (RFC 3261 sections 16.3 to 16.6), without its Via.

They ask nobody and remember nothing. What is not named here leaves octet for octet as it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2s

from sipd.errors import ParseError, RequestRefusedError
from sipd.interfaces import IFlow, ITransportLayer
from sipd.proxy.interfaces import ProxyTarget
from sipd.proxy.record_routes import RecordRoutes
from sipd.proxy.settings import ProxySettings
from sipd.sip.fields import NameAddr
from sipd.sip.grammar import is_token, split_commas
from sipd.sip.message import Request
from sipd.sip.uri import SipUri, Uri
from sipd.sip.validation import find_spent_hops, find_unsupported_scheme

#: What a request gets that came without (section 16.6, step 3).
_MAX_FORWARDS = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request after the steps of section 16.4.

    Args:
        original: as it came.
        request: with this proxy's own Route values removed; not to be changed.
        flow: what it came on.
        is_known: whether its Route proves that it is in a dialog that this proxy has Record-Routed.
        known_flow: what the other side of that dialog is reached on, if it is open still.
        loop_key: equal for a request that comes again on its way round, and different for one that was sent
            elsewhere in between (a spiral).
    """

    original: Request
    request: Request
    flow: IFlow
    is_known: bool
    known_flow: IFlow | None
    loop_key: str

    @property
    def own_target(self) -> ProxyTarget | None:
        """Where a request goes that is known: to its Route, or to its Request-URI; ``None`` for another one."""
        if not self.is_known:
            return None
        return ProxyTarget(uri=self.request.uri, follows_routes=True, flow=self.known_flow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A copy of a request for one target.

    Args:
        request: without Via and Record-Route of this proxy.
        next_hop: where it goes.
        target: that it is for.
    """

    request: Request
    next_hop: Uri
    target: ProxyTarget


class Forwarding:
    """Sections 16.3 to 16.6.

    Args:
        transport: has the listening points.
        settings: of the proxy.
        key: of the hashes in Record-Route and in loop keys, 16 to 32 octets.

    Raises:
        ValueError: the key is too short or too long.
    """

    def __init__(self, transport: ITransportLayer, settings: ProxySettings, key: bytes) -> None:
        if not 16 <= len(key) <= 32:
            raise ValueError("The key has to have 16 to 32 octets")
        self.record_routes = RecordRoutes(transport, settings.names, key)
        self._settings = settings
        self._key = key

    def receive(self, request: Request, flow: IFlow) -> Received:
        """Validate a request, and preprocess its route information (sections 16.3 and 16.4).

        Loops are not looked for here: `Received.loop_key` is what to look for.

        Raises:
            RequestRefusedError: 400, 416, 420 or 483; nobody asks an ACK for Proxy-Require.
        """
        fault = find_unsupported_scheme(request) or find_spent_hops(request)
        if fault is None and request.method not in ("ACK", "CANCEL"):
            fault = self._find_unsupported_extension(request)
        if fault is not None:
            raise fault
        try:
            return self._preprocess(request, flow)
        except ParseError as error:
            raise RequestRefusedError(error.reason, status=400) from error

    def forward(self, received: Received, target: ProxyTarget) -> Outgoing:
        """Make the copy for a target: Request-URI, Max-Forwards, Route (section 16.6, steps 1 to 3, 6 and 7).

        Raises:
            RequestRefusedError: 403, the request has Route values of its own that the target does not follow.
        """
        request = received.request
        routes = request.headers.values("Route")
        if routes and not target.follows_routes:
            raise RequestRefusedError("This Route is not served", status=403)
        routes = [*target.route_set, *routes]
        uri = _for_request_line(target.uri)
        next_hop = NameAddr.parse(routes[0]).uri if routes else uri
        if routes and not _is_loose(next_hop):
            # Step 6: a strict router wants itself in the Request-URI, and the Request-URI at the end of the Route.
            routes = [*routes[1:], f"<{uri}>"]
            uri = _for_request_line(next_hop)
        copy = _with_uri(request, uri)
        _set_routes(copy, routes)
        hops = request.max_forwards
        copy.headers.set("Max-Forwards", str(_MAX_FORWARDS if hops is None else hops - 1))
        return Outgoing(request=copy, next_hop=target.next_hop or next_hop, target=target)

    def record(self, outgoing: Request, received: Received, leaves_on: IFlow, target: ProxyTarget) -> None:
        """Put this proxy into the Record-Route of a copy, now that it is known where it leaves (step 4)."""
        if self._settings.record_routes:
            self.record_routes.add(outgoing, received.original, received.flow, leaves_on, target.flow)

    def _find_unsupported_extension(self, request: Request) -> RequestRefusedError | None:
        """Section 16.3, step 5."""
        if "Proxy-Require" not in request.headers:
            return None
        try:
            tags = request.headers.values("Proxy-Require")
        except ParseError as error:
            return RequestRefusedError(error.reason, status=400)
        missing = [tag for tag in tags if tag.lower() not in self._settings.supported]
        if not missing:
            return None
        if not all(is_token(tag) for tag in missing):
            return RequestRefusedError("Malformed Proxy-Require", status=400)
        return RequestRefusedError("Bad Extension", status=420, headers=(("Unsupported", ", ".join(missing)),))

    def _preprocess(self, original: Request, flow: IFlow) -> Received:
        request = original.copy()
        own = self.record_routes
        ours: list[Uri] = []
        if own.is_placed(request.uri):
            # A strict router has put the Record-Route of this proxy there, and the real URI last into the Route.
            routes = request.headers.values("Route")
            if routes:
                ours.append(request.uri)
                request = _with_uri(request, NameAddr.parse(routes[-1]).uri)
                _set_routes(request, routes[:-1])
        request = self._without_maddr(request, flow)
        while request.routes and own.is_own(request.routes[0].uri):
            ours.append(request.routes[0].uri)
            _drop_first_route(request)
        known = [uri for uri in ours if own.proves(uri, original)]
        return Received(
            original=original,
            request=request,
            flow=flow,
            is_known=bool(known),
            # The last one is for the side where the request leaves.
            known_flow=own.find_flow(known[-1]) if known else None,
            loop_key=self._loop_key(request),
        )

    def _without_maddr(self, request: Request, flow: IFlow) -> Request:
        """Give the request without a ``maddr`` that means this proxy (section 16.4)."""
        uri = request.uri
        maddr = uri.parameters.get("maddr") if isinstance(uri, SipUri) else None
        if not maddr or not isinstance(uri, SipUri) or not self.record_routes.is_own_host(maddr.strip("[]")):
            return request
        transport = flow.point.transport
        port = transport.default_port if uri.port is None else uri.port
        named = uri.transport or transport.uri_parameter
        if port not in (flow.point.port, flow.point.advertised_port) or named != transport.uri_parameter:
            return request
        parameters = {name: value for name, value in uri.parameters.items() if name not in ("maddr", "transport")}
        return _with_uri(request, uri.replace(port=None, parameters=parameters))

    def _loop_key(self, request: Request) -> str:
        """Hash what decides where a request goes (section 16.6, step 8; RFC 5393 section 4.2).

        The method, the To tag and credentials stay out of it: they differ between an INVITE, its CANCEL and its ACK.
        """
        parts = [request.uri_text, request.call_id, request.from_.tag or "", str(request.cseq.number)]
        parts += request.headers.values("Route")
        text = "\n".join(parts).encode("utf-8", "surrogateescape")
        return blake2s(text, key=self._key, digest_size=8, person=b"loop").hexdigest()


def _for_request_line(uri: Uri) -> Uri:
    return uri.without_headers() if isinstance(uri, SipUri) else uri


def _is_loose(uri: Uri) -> bool:
    return isinstance(uri, SipUri) and "lr" in uri.parameters


def _with_uri(request: Request, uri: Uri) -> Request:
    """Give a copy with another Request-URI; the same one stays as it was written."""
    if str(uri) == request.uri_text:
        return request.copy()
    return Request(request.method, uri, request.headers.copy(), request.body, request.version)


def _set_routes(request: Request, routes: Sequence[str]) -> None:
    """Let the Route be these values; the lines that say the last of them already stay as they are."""
    known = request.headers.values("Route")
    if known and list(routes[-len(known) :]) == known:
        for value in reversed(routes[: -len(known)]):
            request.headers.prepend("Route", value)
        return
    request.headers.remove("Route")
    for value in routes:
        request.headers.add("Route", value)


def _drop_first_route(request: Request) -> None:
    """Remove the topmost value of the Route; the other lines stay as they are."""
    line = request.headers.get("Route") or ""
    values = [value for value in split_commas(line) if value]
    request.headers.replace_first("Route", values[1:])
