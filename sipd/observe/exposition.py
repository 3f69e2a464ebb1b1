"""Tells Prometheus the metrics by HTTP, and whoever asks whether sipd takes calls.

Two pages, GET and HEAD, no body in a request, few connections, and only for whom that is meant: everybody else's
connection is closed before anything is read from it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Connections at a time; one more is closed.
MAX_CONNECTIONS = 16
#: Seconds without an octet after which a connection is closed.
IDLE_TIMEOUT = 60.0
#: Seconds for which metrics are told again as they are: so nobody keeps sipd busy with asking.
FRESH = 0.5

#: The text format, which every Prometheus reads.
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_PLAIN = b"text/plain; charset=utf-8"


class Pages(Resource):
    """``/metrics``, and ``/health`` or ``/healthz``.

    Args:
        registry: what is told.
        clock: says how old that is.
        state: says what sipd does: ``serving``, or why it takes no calls, which is told with status 503.
    """

    isLeaf = True

    def __init__(self, registry: Collector, clock: IReactorTime, state: Callable[[], str]) -> None:
        super().__init__()
        self._registry = registry
        self._clock = clock
        self._state = state
        self._told = b""
        self._told_at: float | None = None
        self._pages: dict[bytes, Callable[[], tuple[int, bytes, bytes]]] = {
            b"/metrics": self._metrics,
            b"/health": self._health,
            b"/healthz": self._health,
        }

    def render(self, request: Request) -> int:
        """See ``IResource``."""
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            status, kind, body = 405, _PLAIN, b"only GET and HEAD\n"
        else:
            status, kind, body = self._pages.get(request.path, _nothing)()
        request.responseHeaders.removeHeader(b"Server")
        request.setResponseCode(status)
        request.setHeader(b"Content-Type", kind)
        request.setHeader(b"Content-Length", b"%d" % len(body))
        request.setHeader(b"Cache-Control", b"no-store")
        request.write(body)
        request.finish()
        return NOT_DONE_YET

    def _metrics(self) -> tuple[int, bytes, bytes]:
        now = self._clock.seconds()
        if self._told_at is None or not 0 <= now - self._told_at < FRESH:
            self._told = generate_latest(self._registry)
            self._told_at = now
        return 200, CONTENT_TYPE, self._told

    def _health(self) -> tuple[int, bytes, bytes]:
        state = self._state()
        return (200 if state == "serving" else 503), _PLAIN, f"{state}\n".encode()


class _BodilessRequest(Request):
    """A request whose body, if it has one, ends the connection: nothing of it is kept."""

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 (Twisted's name)
        """See ``IRequest``."""
        self.channel.loseConnection()


class _QuietSite(Site):
    """A site without an access log, and without the clock that it would need."""

    requestFactory = _BodilessRequest  # noqa: N815 (Twisted's name)

    def startFactory(self) -> None:
        """See ``Factory``."""

    def log(self, request: object) -> None:
        """See ``HTTPFactory``."""


class Exposition(WrappingFactory[ProtocolWrapper]):
    """Takes connections from some networks.

    Args:
        pages: what is told.
        reactor: for time limits.
        allow: who may ask.
    """

    noisy = False
    _log = Logger()

    def __init__(self, pages: Pages, reactor: Any, allow: Sequence[Network]) -> None:
        super().__init__(_QuietSite(pages, reactor=reactor, timeout=IDLE_TIMEOUT))
        self._allow = tuple(allow)
        self._refused: set[str] = set()
        self._emptied: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> ProtocolWrapper | None:  # type: ignore[override]
        """See ``IProtocolFactory``. ``None`` closes the connection."""
        host = str(getattr(addr, "host", ""))
        if not self._is_allowed(host):
            self._say_once(host)
            return None
        if len(self.protocols) >= MAX_CONNECTIONS:
            return None
        return super().buildProtocol(addr)

    def close(self) -> Deferred[None]:
        """End all connections; fires when there are none."""
        if not self.protocols:
            return succeed(None)
        emptied: Deferred[None] = Deferred()
        self._emptied = emptied
        for protocol in list(self.protocols):
            protocol.transport.abortConnection()
        return emptied

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:  # noqa: N802 (Twisted's name)
        """See ``WrappingFactory``: a connection has ended."""
        super().unregisterProtocol(p)
        if not self.protocols and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def _is_allowed(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._allow)

    def _say_once(self, host: str) -> None:
        """Let the operator know who wanted to ask; each of the first hundred once."""
        if host not in self._refused and len(self._refused) < 100:
            self._refused.add(host)
            self._log.warn("metrics are not told to {host}: it is in no network of metrics.allow", host=host)


def _nothing() -> tuple[int, bytes, bytes]:
    return 404, _PLAIN, b"there are /metrics and /health\n"
