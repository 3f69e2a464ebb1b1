"""Phones that ask servers for addresses before they describe their media."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import DatagramProtocol

from sipd.errors import CallFailedError
from sipd.media.endpoint.settings import EndpointSettings, Ice, IceServer, Security
from sipd.phone.dialing import OutgoingCall
from sipd.phone.errors import DialError
from sipd.phone.incoming import IncomingCall
from sipd.phone.phone import Phone
from sipd.sdp.candidates import CandidateKind, read_candidates
from sipd.sdp.description import parse_description
from sipd.sip.message import Request, Response
from tests.media.traversal.server import SERVER, FakeServer
from tests.phone.support import ALICE, BOB, Ear, PhoneCase, answering, forever

_SERVERS = (IceServer(uri=f"stun:{SERVER[0]}"),)


class _Server(DatagramProtocol):
    """A STUN server that may be silent."""

    def __init__(self) -> None:
        self.fake = FakeServer()
        self.is_silent = False

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """See `DatagramProtocol`."""
        if not self.is_silent and self.transport is not None:
            for answer in self.fake.receive(datagram):
                self.transport.write(answer, addr)


class WayTests(PhoneCase):
    """Alice's phone and bob's both have a server."""

    def setUp(self) -> None:
        """Make all three."""
        super().setUp()
        self.server = _Server()
        port = self.network.host(SERVER[0]).listenUDP(SERVER[1], self.server, SERVER[0])
        self.addCleanup(port.stopListening)
        self.alice, self.bob = self.with_server(ALICE, "alice"), self.with_server(BOB, "bob")

    def with_server(self, address: str, user: str) -> Phone:
        """Make a phone."""
        audio = EndpointSettings(rtcp_interval=0.0, security=Security.DTLS, ice=Ice.OFFERED, ice_servers=_SERVERS)
        return self.phone(address, user, audio=audio)

    def kinds(self, message: Request | Response | None) -> set[CandidateKind]:
        """Give the kinds of candidates that a message names."""
        assert message is not None
        return {candidate.kind for candidate in read_candidates(parse_description(message.body).media[0])}

    def test_talk(self) -> None:
        """Offer and answer have what the server has seen, and both hear each other."""
        taken = answering(self.bob)
        dialling = self.alice.dial(f"bob@{BOB}")
        self.clock.advance(2.0)
        call = self.successResultOf(dialling)
        for message in (taken[0].invite, call.answer):
            self.assertIn(CandidateKind.SERVER_REFLEXIVE, self.kinds(message))
        ear = Ear()
        call.connect(None, ear)
        forever(taken[0].play("tone:440", times=None))
        self.clock.advance(2.0)
        self.assertTrue(ear.hears(440))
        call.hang_up()
        self.clock.advance(1.0)

    def test_silent_server(self) -> None:
        """Where the server is silent, calling and answering take three seconds each, and no more."""
        self.server.is_silent = True
        taken = answering(self.bob)
        dialling = self.alice.dial(f"bob@{BOB}")
        self.clock.advance(2.9)
        self.assertEqual(taken, [])
        self.clock.advance(0.2)
        self.assertEqual(len(taken), 1)
        self.assertNoResult(dialling)
        self.clock.advance(3.0)
        call = self.successResultOf(dialling)
        self.assertEqual(self.kinds(taken[0].invite), {CandidateKind.HOST})
        call.hang_up()
        self.clock.advance(1.0)

    def test_given_up_meanwhile(self) -> None:
        """Who gives up before the server has answered calls nobody."""
        self.server.is_silent = True
        taken = answering(self.bob)
        dialling = self.alice.dial(f"bob@{BOB}")
        self.clock.advance(1.0)
        dialling.cancel()
        self.failureResultOf(dialling, CancelledError)
        self.clock.advance(5.0)
        self.assertEqual(taken, [])

    def answer_slowly(self) -> tuple[Deferred[OutgoingCall], IncomingCall, Deferred[None]]:
        """Let Bob answer Alice while the server is silent: what she dials, the call, and what he answers with."""
        taken: list[IncomingCall] = []
        self.bob.on_call = taken.append
        dialling = self.alice.dial(f"bob@{BOB}")
        self.clock.advance(0.5)
        self.server.is_silent = True
        (incoming,) = taken
        answering = incoming.answer()
        self.clock.advance(1.0)
        return dialling, incoming, answering

    def test_the_caller_gives_up_meanwhile(self) -> None:
        """A caller who gives up before the answer could be described is not answered."""
        dialling, incoming, answering = self.answer_slowly()
        dialling.cancel()
        self.failureResultOf(dialling, CancelledError)
        self.clock.advance(5.0)
        self.failureResultOf(answering, CallFailedError)
        self.assertTrue(incoming.is_over)

    def test_not_answered_after_all(self) -> None:
        """An answer that is taken back before it could be described refuses the call."""
        dialling, incoming, answering = self.answer_slowly()
        answering.cancel()
        self.failureResultOf(answering, CancelledError)
        self.clock.advance(5.0)
        self.failureResultOf(dialling, DialError)
        self.assertTrue(incoming.is_over)
