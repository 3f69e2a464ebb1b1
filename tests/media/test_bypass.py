"""Media that go directly between the parties."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.interfaces import IMediaRelay, IMediaSession, MediaPolicy
from sipd.media.bypass import Bypass
from sipd.sdp.description import AddressType, parse_description
from sipd.testing import builders
from tests.media.support import RelayTestCase, describe, place_of


class BypassTests(SynchronousTestCase):
    """The engine that is none."""

    def setUp(self) -> None:
        """Begin a session whose events must not come."""
        self.session = Bypass().open_session("call", lambda kind, text: self.fail(text))

    def test_interfaces(self) -> None:
        """It is a relay like any other to whoever uses it."""
        verifyObject(IMediaRelay, Bypass())
        verifyObject(IMediaSession, self.session)

    def test_descriptions_cross_as_they_are(self) -> None:
        """Offer and answer keep their addresses; nothing is held and nothing counted."""
        description = parse_description(builders.sdp())
        self.session.prefer_family("b1", AddressType.IP6)
        self.assertEqual(self.successResultOf(self.session.offer("a", "b1", description)), description)
        self.assertEqual(self.successResultOf(self.session.answer("b1", "a", description)), description)
        self.session.offer_rejected("a", "b1")
        self.session.leg_ended("b1")
        self.assertEqual(list(self.session.statistics()), [])
        self.session.close()


class PolicyTests(RelayTestCase):
    """A leg whose media does not go through the relay that the others use."""

    def test_past_the_relay(self) -> None:
        """Descriptions of that leg cross as they are, and take no ports."""
        self.session.set_policy("b1", MediaPolicy(is_bypassed=True))
        offer, answer = describe(("audio", 4000)), describe(("audio", 4002), address="192.0.2.7")
        self.assertEqual(self.offer("a", "b1", offer), offer)
        self.assertEqual(self.answer("b1", "a", answer), answer)
        self.assertEqual(len(self.allocator), 0)

    def test_another_fork(self) -> None:
        """Of two that ring one may be relayed and the other one not; whoever answers last counts."""
        self.session.set_policy("b2", MediaPolicy(is_bypassed=True))
        alice, bob = self.party(), self.party()
        offer = describe(("audio", alice.port))
        self.offer("a", "b1", offer)
        self.assertEqual(self.offer("a", "b2", offer), offer)
        answered = self.answer("b1", "a", describe(("audio", bob.port)))
        alice.send(b"hello", place_of(answered))
        bob.expect(b"hello")
        answer = describe(("audio", 4002), address="192.0.2.7")
        self.assertEqual(self.answer("b2", "a", answer), answer)
        self.session.leg_ended("b1")
        self.assertEqual(len(self.allocator), 0)
