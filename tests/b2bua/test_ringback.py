"""What a caller hears while it rings: a tone by route, until somebody is heard, answers, or it is over."""

from __future__ import annotations

import re
from collections.abc import Sequence

from twisted.internet.defer import succeed

from sipd.interfaces import Attempt, EarlyMedia, MediaPolicy, Route
from sipd.media.announcement import Announcer
from sipd.media.pacer import Pacer
from sipd.media.ports import PortAllocator
from sipd.media.reactor import ReactorEngine
from sipd.media.relay import MediaRelay
from sipd.media.sounds import SoundLibrary
from sipd.routing.rules import StaticRoute
from sipd.rtp.g711 import tone_level
from sipd.sdp.description import parse_description
from sipd.sip.message import Response
from sipd.sip.uri import parse_uri
from sipd.testing import builders
from sipd.testing.media import FakeMediaSession
from tests.b2bua.support import SIPD
from tests.b2bua.test_early import CALLER, METHODS, RELIABLE, EarlyCase
from tests.b2bua.test_gateway import GATEWAY
from tests.media.support import HIGH, IP4, LOW, Party, PumpedReactor, place_of
from tests.media.test_announcement import OtherThread
from tests.media.test_studio import Talker
from tests.ua.support import Wire

OTHER = "192.0.2.10"
TONE = "tone:de:ringback"
RINGS = MediaPolicy(ringback=TONE)
G729 = builders.sdp(CALLER).replace(b"RTP/AVP 0 8 101", b"RTP/AVP 18")


class RingbackCase(EarlyCase):
    """A caller and a gateway, to which a route with a tone leads."""

    routes: Sequence[StaticRoute] = (
        StaticRoute(name="rings", user=re.compile("999"), to=f"sip:{{0}}@{GATEWAY}", authenticate=False, media=RINGS),
    )

    def setUp(self) -> None:
        """Let the relay be one that plays."""
        super().setUp()
        self.server.relay.plays = True

    @property
    def media(self) -> FakeMediaSession:
        """The media of the only call."""
        (session,) = self.server.relay.sessions
        return session

    @property
    def playing(self) -> dict[str, str]:
        """Who hears what."""
        studio = self.media.studio
        assert studio is not None
        return studio.playing

    def told(self) -> list[tuple[int, str]]:
        """Give what the caller was answered: each status, and the direction and version of its description."""
        found = []
        for one in self.caller.messages:
            if isinstance(one, Response) and one.cseq.method == "INVITE" and one.status > 100:
                found.append((one.status, _said(one.body)))
        return found

    def over(self) -> None:
        """Check that nothing is played any more, and end the call."""
        self.assertEqual(self.playing, {})
        self.assertEqual({leg for leg, _ in self.media.ports}, {"a", "b1"})
        super().over()


class PreviewTests(RingbackCase):
    """A caller that knows nothing of 100rel."""

    def test_until_the_answer(self) -> None:
        """Ringing becomes progress with an answer of our own; the 200 has the real one, as another version of it."""
        self.invited()
        self.say(180)
        self.assertEqual(self.playing, {"a": TONE})
        early = parse_description(self.caller.response(183).body)
        self.assertEqual(early.media[0].formats, ("0",))
        self.say(200, port=41000)
        self.assertEqual(self.told(), [(183, "sendrecv 1"), (200, "sendrecv 2")])
        answered = parse_description(self.caller.response(200).body)
        self.assertEqual(answered.media[0].formats, ("0", "8", "101"))
        self.assertEqual(place_of(answered), place_of(early))
        self.over()

    def test_rings_on(self) -> None:
        """What is said again is the same."""
        self.invited()
        self.say(183)
        self.say(180)
        self.say(181)
        self.say(180)
        self.say(200, port=41000)
        self.assertEqual(
            self.told(),
            [(183, "sendrecv 1"), (183, "sendrecv 1"), (181, ""), (183, "sendrecv 1"), (200, "sendrecv 2")],
        )
        self.over()

    def test_early_media_follows(self) -> None:
        """The tone ends with the media of the callee; its ringing is passed on as it is from then on."""
        self.invited()
        self.say(180)
        self.say(183, port=41000)
        self.assertEqual((self.playing, self.media.connected), ({}, {("a", "b1")}))
        self.say(180)
        self.say(200, port=41000)
        self.assertEqual(self.told(), [(183, "sendrecv 1"), (183, "sendrecv 2"), (180, ""), (200, "sendrecv 2")])
        self.over()

    def test_early_media_comes_first(self) -> None:
        """Who hears a callee hears no tone."""
        self.invited()
        self.say(183, port=41000)
        self.say(180)
        self.assertEqual(self.playing, {})
        self.say(200, port=41000)
        self.assertEqual(self.told(), [(183, "sendrecv 1"), (180, ""), (200, "sendrecv 1")])
        self.over()

    def test_refused(self) -> None:
        """The tone ends before the caller is refused."""
        self.invited()
        self.say(180)
        session = self.media
        self.say(486)
        assert session.studio is not None
        self.assertEqual(session.studio.playing, {})
        self.caller.send(builders.ack(self.invite, self.caller.response(486)), (SIPD, 5060))
        self.finish()

    def test_cancelled(self) -> None:
        """A caller that gives up hears it no more."""
        self.invited()
        self.say(180)
        self.caller.send(builders.cancel(self.invite), (SIPD, 5060))
        self.clock.advance(0.5)
        self.gateway.send(builders.response(self.gateway.request("CANCEL"), 200))
        self.say(487)
        self.caller.send(builders.ack(self.invite, self.caller.response(487)), (SIPD, 5060))
        self.assertEqual(self.finish().cause, "cancel")

    def test_stopped(self) -> None:
        """So it is when somebody stops the call."""
        self.invited()
        self.say(180)
        self.server.b2bua.stop_calls("enough")
        self.clock.advance(0.5)
        self.gateway.send(builders.response(self.gateway.request("CANCEL"), 200))
        self.say(487)
        self.caller.send(builders.ack(self.invite, self.caller.response(503)), (SIPD, 5060))
        self.finish()

    def test_answer_of_no_use(self) -> None:
        """An answer that cannot be used ends the attempt, and the tone."""
        self.invited()
        self.say(180)
        self.say(200)
        self.gateway.send(builders.response(self.gateway.request("BYE"), 200))
        self.caller.send(builders.ack(self.invite, self.caller.response(488)), (SIPD, 5060))
        self.finish()

    def test_bad_early_media(self) -> None:
        """Early media that is of no use is not heard; the tone goes on."""
        self.invited()
        self.say(180)
        self.say(183, body=builders.sdp(GATEWAY, 41000, media=("audio", "video")))
        self.assertEqual(self.playing, {"a": TONE})
        self.say(200, port=41000)
        self.assertEqual(self.told()[1:], [(183, "sendrecv 1"), (200, "sendrecv 2")])
        self.over()


class WithoutTests(RingbackCase):
    """Callers that hear no tone."""

    def check_plain(self, *headers: tuple[str, str], body: bytes | None = None) -> None:
        """Check that ringing crosses as it is."""
        self.invited(*headers, body=body)
        self.say(180)
        self.assertEqual(self.told(), [(180, "")])
        self.say(486)
        self.caller.send(builders.ack(self.invite, self.caller.response(486)), (SIPD, 5060))
        self.finish()

    def test_without_an_offer(self) -> None:
        """A caller whose INVITE has no offer cannot be given an answer."""
        self.check_plain(body=b"")

    def test_media_elsewhere(self) -> None:
        """Where there is nothing that plays."""
        self.server.relay.plays = False
        self.check_plain()

    def test_no_codec(self) -> None:
        """A caller with codecs that are not played; the explanation says so."""
        self.check_plain(body=G729)
        self.assertIn("nothing in the offer that could be played", self.explanation())

    def test_sound_that_cannot_be_played(self) -> None:
        """A sound that is broken is no reason to tell the caller of media."""
        self.invited()
        studio = self.media.studio
        assert studio is not None
        studio.broken.add(TONE)
        self.say(180)
        self.say(200, port=41000)
        self.assertEqual(self.told(), [(180, ""), (200, "sendrecv 1")])
        self.over()


class ReliableTests(RingbackCase):
    """Callers with 100rel: what they are told early counts."""

    def begin(self, wish: str) -> None:
        """Let it ring, and the caller acknowledge what it is told."""
        self.invited((wish, "100rel"))
        self.say(180)
        response = self.caller.response(183)
        self.assertEqual(response.headers.get("Require"), "100rel")
        self.prack(response)
        self.assertEqual(self.playing, {"a": TONE})

    def answer(self) -> None:
        """Answer the call; the caller has to be told what was agreed on."""
        self.say(200, port=41000)
        ok = self.caller.response(200)
        self.assertEqual((ok.cseq.method, ok.body), ("INVITE", b""))
        self.caller.send(builders.ack(self.invite, ok), (SIPD, 5060))
        self.clock.advance(0.5)
        told = self.caller.request("UPDATE")
        self.assertEqual(_said(told.body), "sendrecv 2")
        self.assertIn(b"RTP/AVP 0 8 101", told.body)
        answer = builders.sdp_answer(told.body, CALLER, 40000, version=2)
        self.caller.send(builders.response(told, 200, contact=f"<sip:alice@{CALLER}>", body=answer))
        self.clock.advance(0.1)
        self.assertEqual(self.media.connected & {("a", "b1"), ("b1", "a")}, self.media.connected)
        self.over()

    def test_supported(self) -> None:
        """Who supports it is told of the real session after the answer."""
        self.begin("Supported")
        self.answer()

    def test_required(self) -> None:
        """Who requires it, too."""
        self.begin("Require")
        self.answer()

    def test_rings_on(self) -> None:
        """It is told once."""
        self.begin("Supported")
        self.caller.take()
        self.say(180)
        self.assertEqual(self.told(), [(183, "")])
        self.answer()

    def test_early_media_follows(self) -> None:
        """The caller hears the callee's media, but cannot be told of it before the answer."""
        self.begin("Supported")
        self.say(183, port=41000)
        self.assertEqual((self.playing, self.media.connected), ({}, {("a", "b1")}))
        self.answer()

    def test_reliable_early_media_follows(self) -> None:
        """So it is if the callee has agreed on it for good, and says nothing more in its answer."""
        self.begin("Supported")
        self.say(183, port=41000, headers=[RELIABLE, METHODS, ("RSeq", "7")])
        self.gateway.send(builders.response(self.gateway.request("PRACK"), 200))
        self.clock.advance(0.1)
        self.answer()

    def test_refused(self) -> None:
        """Nothing is left."""
        self.begin("Supported")
        self.say(486)
        self.caller.send(builders.ack(self.invite, self.caller.response(486)), (SIPD, 5060))
        self.finish()


class SeveralTests(RingbackCase):
    """Two callees, at the same time or one after the other."""

    def setUp(self) -> None:
        """Add the other gateway."""
        super().setUp()
        self.other = Wire(self.network, OTHER)
        self.attempts = [
            Attempt(uri=parse_uri(f"sip:999@{host}"), label=host, media=RINGS) for host in (GATEWAY, OTHER)
        ]

    def route(self, *rounds: tuple[Attempt, ...], headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Call so."""
        route = Route(name="two", rounds=rounds)
        self.server.b2bua.router.route = lambda asked: succeed(route)  # type: ignore[method-assign,assignment]
        self.invited(*headers)

    def other_says(self, status: int, port: int = 0) -> None:
        """Let the other one answer."""
        body = builders.sdp(OTHER, port) if port else b""
        invite = self.other.request("INVITE")
        self.other.send(builders.response(invite, status, to_tag="o", contact=f"<sip:o@{OTHER}>", body=body))
        self.clock.advance(0.5)

    def answered_by_other(self) -> None:
        """Let the other one answer, and the caller hang up."""
        self.other_says(200, port=42000)
        self.assertEqual(self.playing, {})
        ok = self.caller.response(200)
        self.caller.send(builders.ack(self.invite, ok), (SIPD, 5060))
        self.clock.advance(0.5)
        self.assertEqual({leg for leg, _ in self.media.ports}, {"a", "b2"})
        self.caller.send(builders.bye(self.invite, ok, cseq=90), (SIPD, 5060))
        self.clock.advance(0.5)
        self.other.send(builders.response(self.other.request("BYE"), 200))
        self.finish()

    def test_one_has_media(self) -> None:
        """Both ring: the tone ends with the media of one, and does not come back while that is heard."""
        self.route(tuple(self.attempts))
        self.say(180)
        self.other_says(183, port=42000)
        self.say(180)
        self.assertEqual((self.playing, self.media.connected), ({}, {("a", "b2")}))
        self.assertEqual(self.told(), [(183, "sendrecv 1"), (183, "sendrecv 2"), (180, "")])
        self.other_says(200, port=42000)
        self.gateway.send(builders.response(self.gateway.request("CANCEL"), 200))
        self.say(487)
        self.answered_by_other()

    def test_one_after_the_other(self) -> None:
        """The tone goes on while the next one is called."""
        self.route(*[(attempt,) for attempt in self.attempts])
        self.say(180)
        self.say(486)
        self.assertEqual(self.playing, {"a": TONE})
        self.other_says(180)
        self.assertEqual(self.told(), [(183, "sendrecv 1"), (183, "sendrecv 1")])
        self.answered_by_other()

    def test_media_is_lost(self) -> None:
        """When one who was heard refuses, the caller hears a tone while the next one rings."""
        self.route(*[(attempt,) for attempt in self.attempts])
        self.say(183, port=41000)
        self.say(486)
        self.other_says(180)
        self.assertEqual(self.playing, {"a": TONE})
        self.assertEqual(self.told(), [(183, "sendrecv 1"), (183, "sendrecv 2")])
        self.answered_by_other()

    def test_media_that_counts_is_lost(self) -> None:
        """A caller that was told, for good, what the one who refuses has said, cannot be told of a tone."""
        self.route(*[(attempt,) for attempt in self.attempts], headers=(("Supported", "100rel"),))
        self.say(183, port=41000)
        self.prack(self.caller.response(183))
        self.say(486)
        self.caller.take()
        self.other_says(180)
        self.assertEqual((self.playing, self.told()), ({}, [(180, "")]))
        self.other_says(486)
        self.caller.send(builders.ack(self.invite, self.caller.response(486)), (SIPD, 5060))
        self.finish()

    def test_only_one_is_silent(self) -> None:
        """What the caller hears is a matter of who rings."""
        silent = Attempt(uri=self.attempts[0].uri, label="silent")
        self.route((silent,), (self.attempts[1],))
        self.say(180)
        self.say(486)
        self.other_says(180)
        self.assertEqual(self.told(), [(180, ""), (183, "sendrecv 1")])
        self.answered_by_other()


class LeftOutTests(RingbackCase):
    """A route whose callees' early media is not to be heard."""

    routes = (
        StaticRoute(
            name="own", user=re.compile("999"), to=f"sip:{{0}}@{GATEWAY}", authenticate=False, media=RINGS,
            early_media=EarlyMedia.AS_180,
        ),
    )  # fmt: skip

    def test_instead(self) -> None:
        """The caller hears the tone instead of it."""
        self.invited()
        self.say(183, port=41000)
        self.assertEqual(self.playing, {"a": TONE})
        self.say(200, port=41000)
        self.assertEqual(self.told(), [(183, "sendrecv 1"), (200, "sendrecv 2")])
        self.over()


class HeardTests(RingbackCase):
    """The same with a relay that has sockets: what is at the caller's."""

    def setUp(self) -> None:
        """Make the relay and two phones."""
        super().setUp()
        self.reactor = PumpedReactor()
        self.allocator = PortAllocator(clock=self.reactor, low=LOW, high=HIGH)
        self.relay = MediaRelay(
            engine=ReactorEngine(self.reactor, pause=0),
            addresses=(IP4,),
            ports=self.allocator,
            seconds=self.reactor.seconds,
            announcer=Announcer(SoundLibrary(in_thread=OtherThread()), Pacer(self.reactor), lambda count: bytes(count)),
        )
        self.server.b2bua.media = self.relay
        self.phones = [Talker(Party(self.reactor), frequency, frequency) for frequency in (1000, 2000)]
        for phone in self.phones:
            self.addCleanup(phone.party.close)

    def hears(self, frequency: int) -> None:
        """Check what the caller hears for a while."""
        caller, callee = self.phones
        caller.heard()
        for _ in range(25):
            if callee.to[0]:
                callee.talk()
            self.reactor.advance(0.02)
        self.assertGreater(tone_level(caller.heard(), frequency), 0.9)

    def test_tone_then_the_callee(self) -> None:
        """The caller hears the tone while it rings, and the callee when it has answered; no port is left."""
        caller, callee = self.phones
        self.invited(body=builders.sdp("127.0.0.1", caller.party.port))
        self.say(180)
        self.hears(425)
        self.say(200, body=builders.sdp("127.0.0.1", callee.party.port))
        callee.to = place_of(parse_description(self.gateway.request("INVITE").body))
        self.reactor.advance(0.1)
        self.hears(2000)
        self.assertEqual(len(self.allocator), 2)
        EarlyCase.over(self)
        self.assertEqual((len(self.allocator), len(self.relay)), (0, 0))
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), (set(), []))

    def test_cancelled_while_it_plays(self) -> None:
        """A caller that gives up leaves no port, no timer and no stream."""
        caller, _ = self.phones
        self.invited(body=builders.sdp("127.0.0.1", caller.party.port))
        self.say(180)
        self.hears(425)
        self.caller.send(builders.cancel(self.invite), (SIPD, 5060))
        self.clock.advance(0.5)
        self.gateway.send(builders.response(self.gateway.request("CANCEL"), 200))
        self.say(487)
        self.caller.send(builders.ack(self.invite, self.caller.response(487)), (SIPD, 5060))
        record = self.finish()
        self.assertNotIn("~a", {entry.leg for entry in record.media})
        self.assertEqual((len(self.allocator), len(self.relay)), (0, 0))
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), (set(), []))


def _said(body: bytes) -> str:
    """Give the direction of the audio in a description, and its version."""
    if not body:
        return ""
    description = parse_description(body)
    version = re.search(r"o=- \d+ (\d+) ", description.text)
    assert version is not None
    return f"{description.direction_of(description.media[0]).value} {version[1]}"
