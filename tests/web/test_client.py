"""Tests of `sipd.web.client` with a server on the loopback address."""

from __future__ import annotations

import gzip
from typing import Any

from twisted.internet import reactor as real_reactor  # noqa: TID251 - real sockets
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from sipd.web.client import make_client

#: What it would become: a thousand times as much.
_LARGE = gzip.compress(bytes(10_000_000))


class Service(Resource):
    """Answers with a compressed body and a cookie, whether that was wanted or not."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Request] = []

    def render_GET(self, request: Request) -> bytes:
        """See `Resource`."""
        self.asked.append(request)
        request.setHeader(b"content-encoding", b"gzip")
        request.addCookie(b"user", b"alice")
        return _LARGE


class ClientTests(TestCase):
    """A client of a service that wishes it ill."""

    timeout = 30

    async def test_what_a_service_does_not_get(self) -> None:
        """Nothing is unpacked, no compression is asked for, and no cookie comes back."""
        reactor: Any = real_reactor
        service = Service()
        port = reactor.listenTCP(0, Site(service), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        pool = HTTPConnectionPool(reactor, persistent=False)
        client = make_client(Agent(reactor, pool=pool))
        for _ in range(2):
            response = await client.get(f"http://127.0.0.1:{port.getHost().port}/")
            self.assertEqual(await response.content(), _LARGE)
        for request in service.asked:
            self.assertEqual(request.requestHeaders.getRawHeaders(b"accept-encoding"), [b"identity"])
            self.assertIsNone(request.requestHeaders.getRawHeaders(b"cookie"))
