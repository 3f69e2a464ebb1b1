"""A running server whose phones come over WebSocket, over real sockets."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as real_reactor  # noqa: TID251 - real sockets

from sipd.daemon.service import SipService
from sipd.phone.account import Account
from sipd.phone.phone import Phone
from sipd.sip.locate import Transport
from sipd.testing.calls import CallState
from tests.daemon.test_service import PASSWORDS, ServiceCase
from tests.ports import HOST

LISTEN = [
    {"name": "udp", "transport": "udp", "address": HOST, "port": 0},
    {"name": "ws", "transport": "ws", "address": HOST, "port": 0, "path": "/sip"},
    {"name": "wss", "transport": "wss", "address": HOST, "port": 0, "path": "/sip", "self_signed": True},
]


class WebSocketTests(ServiceCase):
    """A phone of WebSocket, and one of UDP."""

    def table(self, **sections: Any) -> dict[str, Any]:
        """Listen on UDP, WS and WSS."""
        return super().table(listen=LISTEN, **sections)

    async def browser(self, service: SipService, transport: Transport) -> Phone:
        """Give a phone of bob's that is registered, and answers; of `wss` it trusts the server's certificate."""
        assert service.stack is not None
        (point,) = (one for one in service.stack.transport.points if one.transport is transport)
        listen = f"{transport.uri_parameter}:{HOST}:0:path=/sip"
        if transport.is_secure:
            folder = self.directory / "state" / "tls"
            listen += f":cert={folder}/certificate.pem:key={folder}/key.pem:ca={folder}/certificate.pem"
        proxy = f"sip:{HOST}:{point.port};transport={transport.uri_parameter}"
        account = Account(f"sip:bob@{HOST}", PASSWORDS["bob"], proxy=proxy, register=True)
        phone = Phone(real_reactor, listen=listen, account=account)
        phone.startService()
        self.addCleanup(phone.stopService)
        await phone.when_ready()
        return phone

    async def check(self, transport: Transport) -> None:
        """Let a phone of UDP call one of WebSocket."""
        service = await self.start()
        bob = await self.browser(service, transport)
        alice = await self.register(service, "alice")
        calling = alice.call("bob")
        incoming = await anext(bob.incoming())
        await incoming.answer()
        call = await calling.when_answered()
        self.assertEqual((call.state, call.status), (CallState.ANSWERED, 200))
        incoming.hang_up()
        await call.when_ended()
        await incoming.ended
        assert service.stack is not None
        self.assertEqual(service.stack.transport.counters.received[transport]["INVITE"], 0)
        self.assertEqual(service.stack.transport.counters.sent[transport]["INVITE"], 1)

    async def test_plain(self) -> None:
        """Without TLS."""
        await self.check(Transport.WS)

    async def test_secure(self) -> None:
        """Inside of TLS, with the certificate that the server has made for itself."""
        await self.check(Transport.WSS)
