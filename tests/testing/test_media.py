"""The fake media relay keeps the contract of `IMediaRelay`."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.errors import InvalidStateError, ResourcesExhaustedError, SdpError
from sipd.interfaces import IMediaRelay, IMediaSession, IMediaStudio
from sipd.sdp.description import AddressType, SessionDescription, parse_description
from sipd.testing.builders import sdp, sdp_answer
from sipd.testing.media import FakeMediaRelay

OFFER = parse_description(sdp(media=("audio", "video")))
ANSWER = parse_description(sdp_answer(OFFER.to_bytes()))


class FakeMediaTests(SynchronousTestCase):
    """Ports and addresses."""

    def setUp(self) -> None:
        """Open a session."""
        self.relay = FakeMediaRelay()
        self.events: list[str] = []
        self.session = self.relay.open_session("call", lambda kind, text: self.events.append(f"{kind} {text}"))

    def ports(self, described: Deferred[SessionDescription]) -> list[int]:
        """Give the ports in a description that the session has written."""
        return [media.port for media in self.successResultOf(described).media]

    def test_interfaces(self) -> None:
        """Relay and session provide their interfaces."""
        verifyObject(IMediaRelay, self.relay)
        verifyObject(IMediaSession, self.session)

    def test_offer_and_answer(self) -> None:
        """Each leg is told its own ports, of each stream, at the relay's address; then the legs are connected."""
        offered = self.successResultOf(self.session.offer("a", "b1", OFFER))
        self.assertEqual([media.port for media in offered.media], [20004, 20006])
        self.assertEqual(str(offered.connection), "IN IP4 192.0.2.100")
        self.assertEqual(offered.origin, OFFER.origin)
        self.assertEqual(self.session.connected, set())
        self.assertEqual(self.ports(self.session.answer("b1", "a", ANSWER)), [20000, 20002])
        self.assertEqual(self.session.connected, {("a", "b1")})
        self.assertEqual(self.events[0], "port-taken a/0 port 20000")
        self.assertEqual(len(self.session.statistics()), 4)

    def test_offer_again(self) -> None:
        """A later offer keeps the ports; a stream that ends gives its pair back, a new one takes one."""
        self.session.offer("a", "b1", OFFER)
        self.session.answer("b1", "a", ANSWER)
        audio = parse_description(sdp(media=("audio",)))
        self.assertEqual(self.ports(self.session.offer("b1", "a", audio)), [20000])
        self.session.answer("a", "b1", parse_description(sdp_answer(audio.to_bytes())))
        self.assertEqual(set(self.session.ports), {("a", 0), ("b1", 0)})
        self.assertEqual((len(self.relay.taken), self.relay.released), (2, 2))

    def test_forks_have_ports_of_their_own(self) -> None:
        """Two receivers of one offer are told different ports; when one ends, its pairs are given back."""
        one, other = (self.ports(self.session.offer("a", leg, OFFER)) for leg in ("b1", "b2"))
        self.assertTrue(set(one).isdisjoint(other))
        self.session.leg_ended("b2")
        self.assertEqual(len(self.relay.taken), 4)
        self.session.answer("b1", "a", ANSWER)
        self.assertEqual(self.session.connected, {("a", "b1")})

    def test_rejected_offer(self) -> None:
        """A rejected offer leaves the session as it was."""
        self.session.offer("a", "b1", parse_description(sdp()))
        self.session.answer("b1", "a", parse_description(sdp_answer(sdp())))
        before = self.session.ports
        self.session.offer("a", "b1", OFFER)
        self.assertEqual(len(self.relay.taken), 4)
        self.session.offer_rejected("a", "b1")
        self.assertEqual(self.session.ports, before)
        self.assertEqual(self.session.connected, {("a", "b1")})

    def test_answer_again(self) -> None:
        """Early media of one callee and the answer of another: the last one is connected."""
        for leg in ("b1", "b2"):
            self.session.offer("a", leg, OFFER)
            self.session.answer(leg, "a", ANSWER)
        self.assertEqual(self.session.connected, {("a", "b2")})
        self.assertEqual(self.ports(self.session.answer("b1", "a", ANSWER)), [20000, 20002])

    def test_family(self) -> None:
        """A leg is told an address of the version that it prefers."""
        self.session.prefer_family("b1", AddressType.IP6)
        offered = self.successResultOf(self.session.offer("a", "b1", OFFER))
        self.assertEqual(str(offered.connection), "IN IP6 2001:db8::100")

    def test_disabled_stream(self) -> None:
        """A stream with port 0 keeps it, and holds nothing."""
        disabled = SessionDescription(lines=OFFER.lines, media=(OFFER.media[0], OFFER.media[1].with_port(0)))
        self.assertEqual(self.ports(self.session.offer("a", "b1", disabled))[1], 0)
        self.assertEqual(len(self.relay.taken), 2)

    def test_exhaustion(self) -> None:
        """Without enough pairs an offer fails, and holds nothing."""
        session = FakeMediaRelay(max_pairs=3).open_session("call", lambda kind, text: None)
        self.failureResultOf(session.offer("a", "b1", OFFER), ResourcesExhaustedError)
        self.assertEqual(session.ports, {})

    def test_misuse(self) -> None:
        """An answer to nothing, or of another shape, fails."""
        self.failureResultOf(self.session.answer("b1", "a", ANSWER), InvalidStateError)
        self.session.offer("a", "b1", OFFER)
        self.failureResultOf(self.session.answer("b1", "a", parse_description(sdp())), SdpError)

    def test_studio(self) -> None:
        """If the relay plays, who is greeted can be played to, until the greeter has ended; then its pair is free."""
        self.assertIsNone(self.session.studio)
        self.relay.plays = True
        session = self.relay.open_session("call", lambda kind, text: None)
        studio = session.studio
        assert studio is not None
        verifyObject(IMediaStudio, studio)
        self.failureResultOf(studio.play("a", "tone"), InvalidStateError)
        self.assertEqual(self.ports(studio.greet("a", OFFER)), [20000, 0])
        played = studio.play("a", "tone")
        self.assertEqual(studio.playing, {"a": "tone"})
        studio.stop_playing("a")
        self.assertEqual(self.successResultOf(played), "tone")
        session.leg_ended("~a")
        self.assertEqual((session.connected, self.relay.taken), (set(), set()))

    def test_close(self) -> None:
        """A close gives everything back, once; afterwards nothing works."""
        self.session.offer("a", "b1", OFFER)
        self.session.close()
        self.session.close()
        self.assertEqual((self.relay.taken, self.relay.sessions, self.relay.released), (set(), [], 4))
        self.assertEqual(len([event for event in self.events if event.startswith("port-released")]), 4)
        self.failureResultOf(self.session.offer("a", "b1", OFFER), InvalidStateError)
