"""Offers and answers between two legs whose media lines are not the same (RFC 3264 section 8)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sipd.b2bua.agreement import Agreement
from sipd.b2bua.leg import Leg
from sipd.routing.rules import StaticRoute
from sipd.sdp.description import SessionDescription, parse_description
from sipd.sdp.negotiation import Carrier, Negotiation
from sipd.sdp.offer_answer import LocalOrigin
from sipd.testing import builders
from sipd.testing.media import FakeMediaRelay
from tests.b2bua.support import SIPD
from tests.b2bua.test_gateway import GATEWAY, GatewayCase


def _leg(name: str) -> Leg:
    return Leg(name, Negotiation(LocalOrigin(session_id=1, host="192.0.2.1"), bytes))


def _says(*media: str, port: int = 40000) -> SessionDescription:
    """Make a description; a kind in front of which is a minus sign is switched off."""
    text = builders.sdp("192.0.2.9", port, media=[kind.strip("-") for kind in media])
    description = parse_description(text)
    streams = [
        stream.with_port(0) if kind.startswith("-") else stream
        for kind, stream in zip(media, description.media, strict=True)
    ]
    return SessionDescription(description.text, tuple(streams))


def _lines(description: SessionDescription) -> list[str]:
    return [("-" if media.is_disabled else "") + media.media for media in description.media]


class AgreementTests(SynchronousTestCase):
    """Alice, who has talked with others before, and Carol, who is new."""

    def setUp(self) -> None:
        """Make the legs and a relay."""
        self.relay = FakeMediaRelay()
        self.media = self.relay.open_session("c", lambda kind, text: None)
        self.alice, self.carol = _leg("a"), _leg("c")
        self.agreement = Agreement(self.media, self.alice, self.carol)

    def result(self, coroutine: object) -> SessionDescription:
        """Give what a coroutine gives at once."""
        given: SessionDescription = self.successResultOf(Deferred.fromCoroutine(coroutine))  # type: ignore[arg-type]
        return given

    def was(self, leg: Leg, *media: str) -> None:
        """Let a leg have agreed on that before."""
        leg.negotiation.send(Carrier.INVITE, _says(*media))
        leg.negotiation.receive(Carrier.SUCCESS, _says(*media))
        leg.negotiation.send(Carrier.ACK)

    def test_new_leg_says_less(self) -> None:
        """Carol's only line becomes Alice's second, her first stays switched off; the answer comes back as one line."""
        self.was(self.alice, "video", "audio")
        offered = self.result(self.agreement.offer(self.carol, _says("audio")))
        self.assertEqual(_lines(offered), ["-video", "audio"])
        self.alice.negotiation.send(Carrier.INVITE, offered)
        self.alice.negotiation.receive(Carrier.SUCCESS, _says("-video", "audio"))
        answered = self.result(self.agreement.answer(self.alice, _says("-video", "audio")))
        self.assertEqual(_lines(answered), ["audio"])
        # Each leg has its ports for the line that it knows.
        self.assertEqual(set(self.media.ports), {("a", 1), ("c", 0)})
        self.assertEqual(answered.media[0].port, self.media.ports["c", 0])

    def test_lines_keep_their_places(self) -> None:
        """What Alice offers later goes to the same line of Carol's, whatever their order; a new one goes to the end."""
        self.was(self.alice, "video", "audio")
        self.was(self.carol, "audio")
        offered = self.result(self.agreement.offer(self.carol, _says("audio")))
        self.alice.negotiation.send(Carrier.INVITE, offered)
        self.alice.negotiation.receive(Carrier.SUCCESS, _says("-video", "audio"))
        self.alice.negotiation.send(Carrier.ACK)
        self.result(self.agreement.answer(self.alice, _says("-video", "audio")))
        offered = self.result(self.agreement.offer(self.alice, _says("video", "audio")))
        self.assertEqual(_lines(offered), ["audio", "video"])
        answered = self.result(self.agreement.answer(self.carol, _says("audio", "-video")))
        self.assertEqual(_lines(answered), ["-video", "audio"])

    def test_rejected(self) -> None:
        """A refusal gives back what the offer took."""
        self.result(self.agreement.offer(self.carol, _says("audio", "video")))
        self.agreement.reject(self.carol)
        self.assertEqual(self.relay.taken, set())

    def test_offers_that_meet(self) -> None:
        """An offer that meets one of the other side, and is refused, changes nothing of that one."""
        self.was(self.alice, "audio")
        self.was(self.carol, "audio")
        self.result(self.agreement.offer(self.alice, _says("audio", "video")))
        self.result(self.agreement.offer(self.carol, _says("audio")))
        self.agreement.reject(self.carol)
        answered = self.result(self.agreement.answer(self.carol, _says("audio", "video")))
        self.assertEqual(_lines(answered), ["audio", "video"])
        offered = self.result(self.agreement.offer(self.carol, _says("-audio", "video")))
        self.assertEqual(_lines(offered), ["-audio", "video"])

    def test_restored(self) -> None:
        """Two legs are connected again as they were, after one of them was connected with somebody else."""
        self.result(self.agreement.offer(self.alice, _says("audio")))
        self.result(self.agreement.answer(self.carol, _says("audio")))
        other = _leg("d")
        away = Agreement(self.media, self.alice, other)
        self.result(away.offer(self.alice, _says("audio")))
        self.result(away.answer(other, _says("audio")))
        self.assertEqual(self.media.connected, {("a", "d")})
        self.successResultOf(Deferred.fromCoroutine(self.agreement.restore()))
        self.assertEqual(self.media.connected, {("a", "c")})


class CodecTests(GatewayCase):
    """A route that lets some codecs through only."""

    routes: Sequence[StaticRoute] = (
        StaticRoute(name="gw", user=re.compile("1.*"), to=f"sip:{{0}}@{GATEWAY}", codecs=("pcma",)),
        StaticRoute(name="none", user=re.compile("2.*"), to=f"sip:{{0}}@{GATEWAY}", codecs=("g729",)),
    )

    def test_taken_out(self) -> None:
        """The other side is offered what is left, with telephone events, and the caller hears of that."""
        call = self.calling("123")
        offer = self.gateway.request("INVITE").body
        self.assertIn(b"RTP/AVP 8 101\r\n", offer)
        self.assertNotIn(b"PCMU", offer)
        self.say(200, body=builders.sdp(GATEWAY, 41000).replace(b"RTP/AVP 0 8 101", b"RTP/AVP 8 101"))
        self.assertIn(b"RTP/AVP 8 101\r\n", call.remote_body)
        self.end(call)
        self.finish()

    def test_nothing_left(self) -> None:
        """A call without a codec that may be used is refused with 488, and nobody is called."""
        call = self.calling("223")
        self.assertEqual(call.status, 488)
        self.assertEqual(self.gateway.kinds(), [])
        self.finish()
        self.assertEqual(self.server.host.address, SIPD)
