"""Phones that reach their registrar over WebSocket, as a browser does (RFC 7118)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sipd.interfaces import IMediaEndpoint, ListeningPoint
from sipd.media.endpoint.settings import EndpointSettings
from sipd.phone.account import Account
from sipd.phone.ended import EndedBy
from sipd.phone.errors import DialError
from sipd.phone.phone import Phone
from sipd.sip.locate import Transport
from sipd.sip.uri import SipUri
from tests.phone.support import ALICE, BOB, SERVER, answering
from tests.phone.test_registering import AccountCase

#: A client has no address that others could connect to, and says so (section 5.2.1).
NOWHERE = "df7jal23ls0d.invalid"


class Browser(Phone):
    """A phone whose media have an address, though its signalling has none."""

    def make_media(self, point: ListeningPoint, *arguments: Any, **options: Any) -> IMediaEndpoint:
        """See `Phone`."""
        return super().make_media(replace(point, advertised_host=point.host), *arguments, **options)


class WebSocketTests(AccountCase):
    """A phone of WebSocket, one of UDP, and a server between them."""

    def setUp(self) -> None:
        """Let the server listen, and register the phone of WebSocket."""
        super().setUp()
        point = ListeningPoint(
            name="ws", transport=Transport.WS, host=SERVER, port=80, advertised_host=SERVER, advertised_port=80
        )
        self.successResultOf(self.server.transport.listen(point))
        self.bob = self.browser(BOB, "bob", "hidden")
        self.alice = self.user(ALICE, "alice", "secret", register=True)
        self.clock.advance(1.0)
        for phone in (self.bob, self.alice):
            self.successResultOf(phone.when_ready())

    def browser(self, address: str, name: str, password: str) -> Phone:
        """Put a phone on the network that speaks WebSocket alone, from a name that leads nowhere."""
        account = Account(f"sip:{name}@example.com", password, proxy=f"sip:{SERVER};transport=ws", register=True)
        phone = Browser(
            self.network.host(address),
            listen=f"ws:{address}:0:advertise={NOWHERE}",
            account=account,
            audio=EndpointSettings(rtcp_interval=0.0),
            entropy=self.network.entropy,
        )
        phone.startService()
        self.phones.append(phone)
        return phone

    def talk(self, caller: Phone, callee: Phone, name: str) -> tuple[Any, Any]:
        """Let one phone call the other one; give both ends of the call."""
        taken = answering(callee)
        dialling = caller.dial(name)
        self.clock.advance(2.0)
        return self.successResultOf(dialling), taken[0]

    def connections(self) -> int:
        """Count the connections that the server has."""
        return self.server.transport.connection_count

    def test_registered(self) -> None:
        """The binding is the connection that the REGISTER came on, whatever the Contact says."""
        (binding,) = self.server.location.lookup("sip:bob@example.com")
        uri, source = binding.uri, binding.source
        assert isinstance(uri, SipUri) and source is not None
        self.assertEqual((uri.host, uri.transport), (NOWHERE, "ws"))
        self.assertEqual((source.transport, source.host), (Transport.WS, BOB))
        self.assertEqual(self.connections(), 1)

    def test_called(self) -> None:
        """A call comes on that connection, with everything that follows, in both directions."""
        ours, theirs = self.talk(self.alice, self.bob, "bob")
        holding = theirs.hold()
        self.clock.advance(1.0)
        self.successResultOf(holding)
        ours.hang_up()
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(theirs.ended).by, EndedBy.THEM)
        self.assertEqual(self.connections(), 1)

    def test_calls(self) -> None:
        """A call that it makes goes out on its connection, and is ended by either side."""
        ours, theirs = self.talk(self.bob, self.alice, "alice")
        theirs.hang_up()
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(ours.ended).by, EndedBy.THEM)
        self.assertEqual(self.connections(), 1)

    def test_two_browsers(self) -> None:
        """Two with the same name that leads nowhere are told apart by their connections."""
        self.phones.remove(self.alice)
        stopping = self.alice.stopService()
        self.clock.advance(40.0)
        self.assertIsNone(self.successResultOf(stopping))
        other = self.browser("192.0.2.4", "alice", "secret")
        self.clock.advance(1.0)
        self.successResultOf(other.when_ready())
        ours, theirs = self.talk(other, self.bob, "bob")
        self.assertEqual(str(theirs.remote.uri), "sip:alice@example.com")
        theirs.hang_up()
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(ours.ended).by, EndedBy.THEM)
        self.assertEqual(self.connections(), 2)

    def test_lost_connection(self) -> None:
        """While the connection is gone a call fails at once; the phone comes back by itself."""
        for flow in list(self.server.transport._connections):
            flow.close()
        dialling = self.alice.dial("bob")
        self.clock.advance(0.3)
        self.assertIsInstance(self.failureResultOf(dialling).value, DialError)
        self.clock.advance(120.0)
        self.assertEqual(self.connections(), 1)
        _, theirs = self.talk(self.alice, self.bob, "bob")
        theirs.hang_up()
        self.clock.advance(1.0)
