"""What a call wants of its media: by route, by user, for all; and what the media tells the call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from sipd.interfaces import CryptoPolicy, MediaPolicy
from sipd.routing.rules import StaticRoute
from sipd.testing.media import FakeMediaSession
from tests.b2bua.support import BridgeCase
from tests.b2bua.test_gateway import GATEWAY, GatewayCase

_SECURE = MediaPolicy(crypto=CryptoPolicy.REQUIRED, record="wave")
_PLAIN = MediaPolicy(crypto=CryptoPolicy.OFF)


class UserTests(BridgeCase):
    """Between two users."""

    def media(self) -> FakeMediaSession:
        """Give the media of the only call."""
        [session] = self.server.relay.sessions
        return session

    def test_nothing_said(self) -> None:
        """Where nothing is configured nothing is said; that the call is answered is."""
        call, _ = self.established()
        self.assertEqual(self.media().policies, {})
        self.assertTrue(self.media().is_established)
        call.hang_up()
        self.finish()

    def test_users(self) -> None:
        """Each leg has the policy of its user, or the common one."""
        b2bua = self.server.b2bua
        b2bua.settings = replace(b2bua.settings, media=_PLAIN, user_media={"alice": _SECURE})
        call, _ = self.established()
        self.assertEqual(self.media().policies, {"a": _SECURE, "b1": _PLAIN})
        call.hang_up()
        self.finish()

    def test_not_answered(self) -> None:
        """Media of a call that nobody has answered is not established."""
        self.bob.auto_ring()
        call = self.alice.call("bob")
        self.clock.advance(2.0)
        self.assertFalse(self.media().is_established)
        call.cancel()
        self.finish()

    def test_verdict(self) -> None:
        """Who heard whom is in the record, by the last word that was said."""
        call, _ = self.established()
        for text in ("no-media: nothing came", "ok: media flows both ways"):
            self.media()._event("media-verdict", text)
        call.hang_up()
        self.assertEqual(self.finish().media_verdict, "ok")
        self.assertIn("nothing came", self.explanation())

    def test_lost(self) -> None:
        """A call whose media is missing for too long is ended on both sides, for that reason."""
        call, answered = self.established()
        self.media()._event("media-lost", "leg b1 sends no media any more, 60 s")
        self.clock.advance(2.0)
        self.assertFalse(call.is_answered or answered.is_answered)
        record = self.finish()
        self.assertEqual((record.cause, record.ended_by), ("media-lost", "sipd"))


class RouteTests(GatewayCase):
    """To where a route leads."""

    routes: Sequence[StaticRoute] = (
        StaticRoute(
            name="gw",
            user=re.compile(r"\d+"),
            to=f"sip:{{0}}@{GATEWAY}",
            media=MediaPolicy(crypto=CryptoPolicy.OPTIONAL, is_asymmetric=True),
        ),
    )

    def test_route(self) -> None:
        """The leg that a route leads to has the route's policy."""
        call = self.calling()
        self.say(200, port=41000)
        [session] = self.server.relay.sessions
        self.assertEqual(session.policies, {"b1": MediaPolicy(crypto=CryptoPolicy.OPTIONAL, is_asymmetric=True)})
        self.end(call)
        self.finish()
