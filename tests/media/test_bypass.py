"""Media that go directly between the parties."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.interfaces import IMediaRelay, IMediaSession
from sipd.media.bypass import Bypass
from sipd.sdp.description import AddressType, parse_description
from sipd.testing import builders


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
