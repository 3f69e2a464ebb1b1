"""Contacts behind NAT are pinged by a running server, over real sockets and over a restart."""

from __future__ import annotations

from sipd.daemon.service import SipService
from sipd.registrar.keepalive import KeepAliveSettings
from sipd.testing.peer import Peer
from tests.daemon.test_service import ServiceCase

#: What a phone behind NAT says of itself.
INSIDE = "<sip:alice@10.0.0.5:5060>"


class KeepAliveTests(ServiceCase):
    """A phone whose Contact is not where it is."""

    async def serve(self) -> SipService:
        """Start a service that does not wait for long."""
        service = self.make(self.table())
        service.startService()
        self.addCleanup(self.stop, service)
        stack = service.stack
        assert stack is not None and stack.keep_alive is not None
        stack.keep_alive._settings = KeepAliveSettings(interval=0.3)
        await service.when_ready()
        return service

    async def asked(self, phone: Peer) -> None:
        """Wait for two questions, one after the other."""
        first = await phone.expect("OPTIONS")
        second = await phone.expect("OPTIONS")
        self.assertEqual(first.uri_text, INSIDE.strip("<>"))
        self.assertNotEqual(first.call_id, second.call_id)

    async def test_pinged(self) -> None:
        """It is asked again and again; after a restart, too, though it has not registered again."""
        service = await self.serve()
        phone = self.phone(service, "alice")
        phone.contact = INSIDE
        response = await phone.register()
        assert response is not None
        self.assertEqual(response.status, 200)
        await self.asked(phone)
        service.end_now()
        await service.stopService()
        phone._inbox.clear()
        await self.serve()
        await self.asked(phone)

    async def test_switched_off(self) -> None:
        """Nothing is there that could ask."""
        service = await self.start(self.table(nat={"keepalive": "off"}))
        assert service.stack is not None
        self.assertIsNone(service.stack.keep_alive)
