"""Tests of `sipd.media.rtpengine`: what a session tells its daemon, and what comes of it."""

from __future__ import annotations

from typing import Any, ClassVar

from zope.interface.verify import verifyObject

from sipd.errors import InvalidStateError, MediaEngineError, ResourcesExhaustedError, SdpError
from sipd.interfaces import CryptoPolicy, IMediaRelay, IMediaSession, MediaPolicy
from sipd.sdp.description import AddressType, SessionDescription, parse_description
from tests.media.fake_rtpengine import RtpengineTestCase, describe_leg
from tests.media.support import describe, place_of


class NegotiationTests(RtpengineTestCase):
    """Two legs."""

    def port(self, leg: str, line: int = 0) -> int:
        """Give the port that the daemon has for a leg's media line."""
        return self.call.parties[leg].medias[line].port

    def test_provides_the_interfaces(self) -> None:
        """The relay and its sessions have what the interfaces say."""
        verifyObject(IMediaRelay, self.relay)
        verifyObject(IMediaSession, self.session)

    def test_offer_and_answer(self) -> None:
        """Each leg is told of ports of its own at the daemon, and the daemon where each leg is."""
        offered, answered = self.connect()
        self.assertEqual(place_of(offered), ("198.51.100.9", self.port("b1")))
        self.assertEqual(place_of(answered), ("198.51.100.9", self.port("a")))
        endpoints = [self.call.parties[leg].medias[0].endpoint for leg in ("a", "b1")]
        self.assertEqual(endpoints, [("203.0.113.5", 4000), ("203.0.113.5", 4100)])
        self.session.established()
        self.assertEqual(self.events, [("media-engine", "rtpengine 192.0.2.10:2223 relays the media of this call")])

    def test_changes_addresses_and_ports_only(self) -> None:
        """Whatever the daemon adds or sorts, only `c=` and the port differ, and candidates of ICE are left out."""
        lines = (
            "v=0", "o=x 7 8 IN IP4 10.0.0.1", "s=-", "t=0 0", "m=audio 4000 RTP/AVP 0 8", "c=IN IP4 10.0.0.1",
            "a=sendonly", "a=ptime:20", "a=foo", "a=candidate:1 1 udp 1 10.0.0.1 4000 typ host", "x=unknown",
        )  # fmt: skip
        offered = self.offer("a", "b1", parse_description("\r\n".join(lines)))
        expected = [
            line.replace("4000", str(self.port("b1"))).replace("c=IN IP4 10.0.0.1", "c=IN IP4 198.51.100.9")
            for line in lines
            if "candidate" not in line
        ]
        self.assertEqual(str(offered).splitlines(), expected)

    def test_what_the_daemon_is_told(self) -> None:
        """`o=` is not its own, directions and ports stay, ICE goes, and the version of IP is that of the receiver."""
        self.connect()
        for request in self.daemon.requests[-2:]:
            self.assertEqual(request["flags"], ["trust-address", "port-latching", "original-sendrecv", "strict-source"])
            self.assertEqual((request["ICE"], request["replace"]), ("remove", ["session-connection"]))
            self.assertEqual(request["address family"], "IP4")
            self.assertEqual((request["from-tag"], request["to-tag"]), ("a", "b1"))
            self.assertNotIn("direction", request)
            self.assertNotIn("transport protocol", request)

    def test_names_are_unique(self) -> None:
        """Two calls of the same name have different ones for the daemon."""
        self.connect()
        other = self.open_session()
        self.result(other.offer("a", "b1", describe_leg("a")))
        self.assertEqual(len(self.daemon.calls), 2)
        self.assertTrue(all(name.startswith("call-") for name in self.daemon.calls))

    def test_family(self) -> None:
        """A new leg is offered the version of IP that it prefers, a known one that it has, and the caller keeps its."""
        self.session.prefer_family("b1", AddressType.IP6)
        offered = self.offer("a", "b1", describe_leg("a"))
        self.assertEqual(place_of(offered)[0], "2001:db8::9")
        answered = self.answer("b1", "a", describe(("audio", 4100), address="2001:db8::5"))
        self.assertEqual(place_of(answered)[0], "198.51.100.9")
        again = self.offer("b1", "a", describe(("audio", 4100), address="2001:db8::5"))
        self.assertEqual(place_of(again)[0], "198.51.100.9")
        self.assertEqual(place_of(self.answer("a", "b1", describe_leg("a")))[0], "2001:db8::9")

    def test_rtcp_mux(self) -> None:
        """RTCP on the port of RTP is accepted from who offers it, even if the other side does not do so."""
        offered = self.offer("a", "b1", describe(("audio", 4000), extra=("a=rtcp-mux", "a=rtcp:4000")))
        self.assertTrue(offered.media[0].has_rtcp_mux)
        answered = self.answer("b1", "a", describe_leg("b1"))
        self.assertTrue(answered.media[0].has_rtcp_mux)
        self.assertIsNone(answered.media[0].rtcp)

    def test_streams_that_are_not_relayed(self) -> None:
        """A stream over TCP is refused to both sides and the call is told; one that is off stays off."""
        offer = describe("m=message 5000 TCP/MSRP *", ("audio", 4000), ("video", 0), address="203.0.113.5")
        offered = self.offer("a", "b1", offer)
        self.assertEqual([media.port > 0 for media in offered.media], [False, True, False])
        self.assertIn(("not-relayed", "a/0 message over TCP/MSRP refused"), self.events)
        answer = describe("m=message 0 TCP/MSRP *", ("audio", 4100), ("video", 4102), address="203.0.113.5")
        answered = self.answer("b1", "a", answer)
        self.assertEqual([media.port > 0 for media in answered.media], [False, True, False])

    def test_hold_by_address(self) -> None:
        """A stream on hold by 0.0.0.0 stays so."""
        self.connect()
        held = self.offer("a", "b1", describe(("audio", 4000), address="0.0.0.0"))
        self.assertEqual(place_of(held), ("0.0.0.0", self.port("b1")))

    def test_renegotiation_keeps_ports(self) -> None:
        """In mid-call each stream keeps its ports, whoever offers, and a new one gets some."""
        offered, answered = self.connect()
        again = self.offer("b1", "a", describe_leg("b1", "audio", "video"))
        back = self.answer("a", "b1", describe_leg("a", "audio", "video"))
        self.assertEqual((place_of(again), place_of(back)), (place_of(answered), place_of(offered)))
        self.assertEqual(len({place_of(again, 1), place_of(back, 1), place_of(again), place_of(back)}), 4)

    def test_rejected_renegotiation(self) -> None:
        """After a refused offer the daemon has been told again what was agreed on, and nothing else differs."""
        offered, answered = self.connect()
        self.offer("b1", "a", describe(("audio", 9000), ("video", 9002), address="203.0.113.66"))
        self.assertEqual(self.call.parties["b1"].medias[0].endpoint, ("203.0.113.66", 9000))
        self.session.offer_rejected("b1", "a")
        self.settle()
        self.assertEqual(self.call.parties["b1"].medias[0].endpoint, ("203.0.113.5", 4100))
        self.assertEqual(self.call.parties["a"].medias[0].endpoint, ("203.0.113.5", 4000))
        again = self.offer("a", "b1", describe_leg("a"))
        self.assertEqual(place_of(again), place_of(offered))
        self.assertEqual(place_of(self.answer("b1", "a", describe_leg("b1"))), place_of(answered))

    def test_first_offer_rejected(self) -> None:
        """A new offer can follow a refused one; who refused it is somebody else then, and its ports are given back."""
        self.offer("a", "b1", describe_leg("a"))
        self.session.offer_rejected("a", "b1")
        self.settle()
        self.connect()
        self.assertEqual(self.call.parties["a"].peer, "b1.2")
        self.assertEqual(self.call.ports("b1"), [])
        statistics = self.result(self.session.ask_statistics())
        self.assertEqual([(entry.leg, entry.stream) for entry in statistics][::2], [("b1", 0), ("b1", 0)])

    def test_rejecting_what_was_not_offered(self) -> None:
        """A refusal without an offer, or after the answer, changes nothing and asks nothing."""
        self.session.offer_rejected("a", "b1")
        self.connect()
        self.session.offer_rejected("a", "b1")
        self.settle()
        self.assertEqual(self.daemon.commands(), ["offer", "answer"])

    def test_answers(self) -> None:
        """An answer may be repeated, and differ; without an offer, or of another shape, it is refused."""
        self.failure(self.session.answer("b1", "a", describe_leg("b1")), InvalidStateError)
        _, answered = self.connect()
        again = self.answer("b1", "a", describe(("audio", 5555), address="203.0.113.7"))
        self.assertEqual(place_of(again), place_of(answered))
        self.assertEqual(self.call.parties["b1"].medias[0].endpoint, ("203.0.113.7", 5555))
        self.failure(self.session.answer("b1", "a", describe_leg("b1", "audio", "video")), SdpError)
        self.failure(self.session.answer("a", "b1", describe_leg("a")), InvalidStateError)

    def test_descriptions_that_cannot_be_used(self) -> None:
        """No address, a multicast group or too many streams fail before any daemon is asked."""
        no_address = parse_description("v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n")
        for description in (
            no_address,
            describe(("audio", 4000), address="224.0.0.1"),
            describe(*[("audio", 4000 + 2 * line) for line in range(17)]),
        ):
            self.failure(self.session.offer("a", "b1", description), SdpError)
        self.assertEqual(self.daemon.commands(), [])

    def test_lines_in_another_order(self) -> None:
        """Where the lines of two legs differ in order and number the daemon sees one order, and each leg its own."""
        self.offer("a", "b1", describe_leg("a", "audio", "video"))
        self.answer("b1", "a", describe_leg("b1", "audio", "video"))
        # b2 has video first, then a line that means nothing to a, then audio.
        offer = describe(("video", 4002), ("text", 0), ("audio", 4000), address="203.0.113.5")
        offered = self.offer("a", "b2", offer, slots=(1, None, 0))
        self.assertEqual([media.media for media in offered.media], ["video", "text", "audio"])
        medias = self.call.parties["b2"].medias
        self.assertEqual([media.port for media in offered.media], [medias[1].port, 0, medias[0].port])
        answered = self.answer("b2", "a", describe(("video", 4200), ("text", 0), ("audio", 4204)))
        self.assertEqual([media.port for media in answered.media], [self.port("a", 1), 0, self.port("a", 0)])
        self.assertEqual([media.endpoint[1] for media in medias], [4204, 4200])
        # The other way round, with the lines of a: its own places are kept, and a line that a does not know is new.
        back = self.offer("b2", "a", describe(("audio", 4204), ("video", 4200), ("text", 4208)), slots=(2, 0, 1))
        expected = [self.port("a", 0), self.port("a", 1), self.port("a", 2)]
        self.assertEqual([media.port for media in back.media], expected)
        self.answer("a", "b2", describe_leg("a", "audio", "video", "text"))
        for leg, daemon_side in (("a", [10, 20, 30]), ("b2", [1, 2, 3])):
            for media, packets in zip(self.call.parties[leg].medias, daemon_side, strict=True):
                media.packets = packets
        counted = {
            (entry.leg, entry.stream): (entry.media, entry.packets)
            for entry in self.result(self.session.ask_statistics())
        }
        self.assertEqual([counted["a", line] for line in range(3)], [("audio", 10), ("video", 20), ("text", 30)])
        self.assertEqual([counted["b2", line] for line in range(3)], [("video", 2), ("text", 3), ("audio", 1)])


class ManyLegsTests(RtpengineTestCase):
    """Forks, transfers and legs that end."""

    def peers(self) -> dict[str, str]:
        """Give whom the daemon sends each party's media."""
        return {tag: party.peer for tag, party in self.call.parties.items() if not party.is_deleted}

    def test_forking(self) -> None:
        """Each receiver of an offer has ports of its own, any of them can win, and the caller's stay the same."""
        offered = [self.offer("a", leg, describe_leg("a")) for leg in ("b1", "b2", "b3")]
        self.assertEqual(len({place_of(description) for description in offered}), 3)
        self.assertEqual(self.daemon.commands(), ["offer"] * 3)
        early = self.answer("b1", "a", describe_leg("b1"))
        self.assertEqual(self.peers()["a"], "b1")
        answered = self.answer("b2", "a", describe_leg("b2"))
        self.assertEqual(place_of(early), place_of(answered))
        self.assertEqual((self.peers()["a"], self.peers()["b2"]), ("b2", "a"))
        for leg in ("b1", "b3"):
            self.session.leg_ended(leg)
        self.settle()
        self.assertEqual(self.peers(), {"a": "b2", "b2": "a"})

    def test_offers_at_the_same_time(self) -> None:
        """Offers that are made at once are told one after the other, and go to the same daemon."""
        waiting = [self.session.offer("a", leg, describe_leg("a")) for leg in ("b1", "b2", "b3")]
        places = [place_of(self.result(deferred)) for deferred in waiting]
        self.assertEqual(len(set(places)), 3)
        self.assertEqual([kind for kind, _ in self.events], ["media-engine"])

    def test_who_is_heard_stays_so(self) -> None:
        """An offer to somebody else does not take the caller away from who answered early."""
        self.connect()
        self.offer("a", "b2", describe_leg("a"))
        self.assertEqual((self.peers()["a"], self.peers()["b1"]), ("b1", "a"))
        self.answer("b2", "a", describe_leg("b2"))
        self.assertEqual((self.peers()["a"], self.peers()["b2"]), ("b2", "a"))

    def test_one_after_the_other(self) -> None:
        """The caller keeps its ports when the next one is called after the first one has ended."""
        _, early = self.connect()
        self.session.leg_ended("b1")
        self.settle()
        self.assertNotEqual(self.call.ports("b1"), [])
        _, answered = self.connect("a", "b2")
        self.assertEqual(place_of(early), place_of(answered))
        self.assertEqual(self.call.ports("b1"), [])

    def test_transfer(self) -> None:
        """While somebody new is called the two who talk go on, with what they have agreed on."""
        offered, _ = self.connect()
        elsewhere = describe(("audio", 7000), address="203.0.113.9")
        self.offer("b1", "b2", elsewhere)
        self.assertEqual((self.peers()["a"], self.peers()["b1"]), ("b1", "a"))
        self.assertEqual(self.call.parties["b1"].medias[0].endpoint, ("203.0.113.5", 4100))
        answered = self.answer("b2", "b1", describe_leg("b2"))
        self.assertEqual((self.peers()["b2"], self.peers()["b1"]), ("b1", "b2"))
        self.assertEqual(self.call.parties["b1"].medias[0].endpoint, ("203.0.113.9", 7000))
        self.assertEqual(place_of(answered), place_of(offered))
        self.session.leg_ended("a")
        self.settle()
        self.assertEqual(self.peers(), {"b1": "b2", "b2": "b1"})

    def test_transfer_that_fails(self) -> None:
        """Whoever refuses leaves the two who talk as they were; what they agreed on can be repeated, too."""
        self.connect()
        self.offer("b2", "a", describe_leg("b2"))
        self.session.offer_rejected("b2", "a")
        self.session.leg_ended("b2")
        self.settle()
        self.assertEqual(self.peers(), {"a": "b1", "b1": "a"})
        self.offer("b3", "a", describe_leg("b3"))
        self.answer("a", "b3", describe(("audio", 4444)))
        self.assertEqual(self.peers()["b3"], "a")
        self.answer("b1", "a", describe_leg("b1"))
        self.assertEqual((self.peers()["a"], self.peers()["b1"]), ("b1", "a"))
        self.assertEqual(self.call.parties["a"].medias[0].endpoint, ("203.0.113.5", 4000))

    def test_leg_ended(self) -> None:
        """A leg that has ended has no offers any more; one that nobody knows may end, too."""
        self.session.leg_ended("b9")
        self.offer("a", "b1", describe_leg("a"))
        self.offer("a", "b2", describe_leg("a"))
        self.session.leg_ended("b2")
        self.failure(self.session.answer("b2", "a", describe_leg("b2")), InvalidStateError)
        self.answer("b1", "a", describe_leg("b1"))
        self.assertEqual(self.peers()["a"], "b1")


class CountingTests(RtpengineTestCase):
    """Counters, and the end."""

    def test_close(self) -> None:
        """The end frees the call and gives the counters as they were then, every time it is asked for."""
        self.connect()
        media = self.call.parties["b1"].medias[0]
        media.packets, media.size_octets, media.rtcp_packets = 50, 8600, 2
        first, second = self.session.close(), self.session.close()
        statistics = {entry.leg: entry for entry in self.result(first)}
        self.assertEqual(self.result(second), list(statistics.values()))
        self.assertEqual(self.result(self.session.close()), list(statistics.values()))
        self.assertEqual(list(self.session.statistics()), list(statistics.values()))
        entry = statistics["b1"]
        self.assertEqual((entry.stream, entry.media, entry.packets, entry.size_octets), (0, "audio", 50, 8600))
        self.assertEqual((entry.rtcp_packets, entry.source, entry.ssrc), (2, "203.0.113.5:4100", 4711))
        self.assertEqual(entry.engine, "rtpengine 192.0.2.10:2223")
        self.assertEqual((statistics["a"].packets, statistics["a"].source), (0, ""))
        self.assertEqual(self.daemon.calls, {})

    def test_counters_stay(self) -> None:
        """What a leg has sent is known after it has ended, and is not forgotten with a daemon that starts again."""
        self.connect()
        self.call.parties["b1"].medias[0].packets = 7
        self.connect("a", "b2")
        self.session.leg_ended("b1")
        self.settle()
        self.assertEqual([(entry.leg, entry.packets) for entry in self.session.statistics()], [("b1", 7)])
        self.daemon.calls.clear()
        statistics = self.result(self.session.close())
        self.assertEqual([(entry.leg, entry.packets) for entry in statistics], [("b1", 7)])

    def test_close_of_nothing(self) -> None:
        """A session that was never used has nothing to free, and asks nobody."""
        self.assertEqual(self.successResultOf(self.session.close()), [])
        self.assertEqual(self.daemon.commands(), [])

    def test_after_the_end(self) -> None:
        """After the end offers and answers are refused, and everything else does nothing."""
        self.connect()
        closing = self.session.close()
        self.failure(self.session.offer("a", "b1", describe_leg("a")), InvalidStateError)
        self.failure(self.session.answer("b1", "a", describe_leg("b1")), InvalidStateError)
        self.session.offer_rejected("a", "b1")
        self.session.leg_ended("a")
        self.result(closing)
        self.assertEqual(self.daemon.commands(), ["offer", "answer", "query", "delete"])

    def test_close_during_an_offer(self) -> None:
        """An offer that is under way has its outcome, and is undone."""
        offering = self.session.offer("a", "b1", describe_leg("a"))
        closing = self.session.close()
        self.result(closing)
        self.successResultOf(offering)
        self.assertEqual(self.daemon.commands(), ["offer", "query", "delete"])
        self.assertEqual(self.daemon.calls, {})

    def test_relay_closes_its_sessions(self) -> None:
        """Closing the relay frees the calls at the daemons first."""
        self.connect()
        self.result(self.relay.close())
        self.assertEqual((self.daemon.calls, len(self.relay)), ({}, 0))
        self.result(self.relay.close())
        late = self.open_session().offer("a", "b1", describe_leg("a"))
        text = self.failure(late, ResourcesExhaustedError)
        self.assertIn("no rtpengine daemon takes this call", text)

    def test_bound_of_waiting_offers(self) -> None:
        """So many offers of one call wait for their turn, and no more."""
        waiting = [self.session.offer("a", f"b{number}", describe_leg("a")) for number in range(40)]
        self.failure(waiting[-1], ResourcesExhaustedError)
        self.assertEqual(sum(isinstance(self.result(one), SessionDescription) for one in waiting[:32]), 32)
        for one in waiting[32:-1]:
            self.failure(one, ResourcesExhaustedError)


class OptionTests(RtpengineTestCase):
    """What the settings ask for besides."""

    options: ClassVar[dict[str, Any]] = {
        "flags": ("record-call", "codec-transcode-opus"),
        "transport_protocol": "RTP/SAVP",
        "caller_interface": "outside",
        "callee_interface": "inside",
    }

    def test_options(self) -> None:
        """Flags are passed on, and each leg is on its interface whoever offers."""
        self.connect()
        self.assertEqual(self.daemon.requests[-1]["flags"][-2:], ["record-call", "codec-transcode-opus"])
        self.assertEqual(self.daemon.requests[-2]["direction"], ["outside", "inside"])
        self.offer("b1", "a", describe_leg("b1"))
        self.assertEqual(self.daemon.requests[-1]["direction"], ["inside", "outside"])

    def test_transport_protocol(self) -> None:
        """A leg that has not spoken is offered the transport of the settings with the daemon's keys, others theirs."""
        description = describe_leg("a")
        offered = self.offer("a", "b1", description)
        self.assertEqual(offered.media[0].protocol, "RTP/SAVP")
        self.assertIn("inline:daemon", offered.media[0].attribute("crypto") or "")
        self.assertEqual(offered.origin, description.origin)
        answer = describe("m=audio 4100 RTP/SAVP 0", address="203.0.113.5", extra=("a=crypto:1 x inline:phone",))
        self.answer("b1", "a", answer)
        self.offer("b1", "a", answer)
        self.assertEqual(self.daemon.requests[-1]["transport protocol"], "RTP/AVP")
        self.session.offer_rejected("b1", "a")
        self.offer("a", "b1", description)
        self.assertEqual(self.daemon.requests[-1]["transport protocol"], "RTP/SAVP")


class PolicyTests(RtpengineTestCase):
    """What legs do about SRTP, and those whose media goes past the daemon."""

    def protocol(self, crypto: CryptoPolicy) -> str:
        """Give what a leg of that policy is offered of a plain offer."""
        self.session.set_policy("b1", MediaPolicy(crypto=crypto))
        return self.offer("a", "b1", describe_leg("a")).media[0].protocol

    def test_encrypts(self) -> None:
        """A leg is offered what its policy says, whatever the other one offers."""
        self.assertEqual(self.protocol(CryptoPolicy.REQUIRED), "RTP/SAVP")
        self.assertEqual(self.protocol(CryptoPolicy.OFF), "RTP/AVP")
        self.protocol(CryptoPolicy.OPTIONAL)
        self.assertEqual(self.daemon.requests[-1]["OSRTP"], ["offer"])
        self.assertEqual(self.daemon.requests[-1]["transport protocol"], "RTP/AVP")

    def test_demands(self) -> None:
        """A leg that has to encrypt and does not is refused, and one that must not and does; no daemon is asked."""
        self.session.set_policy("a", MediaPolicy(crypto=CryptoPolicy.REQUIRED))
        self.failureResultOf(self.session.offer("a", "b1", describe_leg("a")), SdpError)
        self.session.set_policy("b2", MediaPolicy(crypto=CryptoPolicy.OFF))
        secure = describe("m=audio 4100 RTP/SAVP 0", address="203.0.113.5", extra=("a=crypto:1 x inline:phone",))
        self.failureResultOf(self.session.offer("b2", "b1", secure), SdpError)
        self.assertEqual([request for request in self.daemon.requests if request["command"] != "ping"], [])

    def test_past_the_daemon(self) -> None:
        """Descriptions of legs that send each other their media cross as they are."""
        self.session.set_policy("b1", MediaPolicy(is_bypassed=True))
        description = describe_leg("a")
        self.assertEqual(self.offer("a", "b1", description), description)
        self.assertEqual(self.answer("b1", "a", describe_leg("b1")), describe_leg("b1"))
        self.assertEqual([request for request in self.daemon.requests if request["command"] != "ping"], [])


class RubbishTests(RtpengineTestCase):
    """Daemons that answer, but not well."""

    def refuse(self, *results: str) -> None:
        """Let the daemon answer offers with these texts, one after the other, and well afterwards."""
        left = list(results)

        def meddle(cookie: str, request: dict[str, Any], data: bytes) -> list[bytes]:
            if request["command"] == "offer" and left:
                return [f"{cookie} {left.pop(0)}".encode()]
            return [data]

        self.daemon.hook = meddle

    def test_descriptions(self) -> None:
        """In mid-call a description that is none, or lacks a line, is `MediaEngineError`, and nothing has changed."""
        self.connect()
        for sdp in ("", "xxx", "v=0\\r\\n", "v=0\\r\\nm=audio x RTP/AVP 0", "v=0\\r\\nm=audio 4 RTP/AVP 0\\r\\n"):
            self.refuse(f'{{"result":"ok","sdp":"{sdp}"}}')
            self.failure(self.session.offer("a", "b1", describe(("audio", 7777))), MediaEngineError)
            self.settle()
            self.assertEqual(self.call.parties["a"].medias[0].endpoint, ("203.0.113.5", 4000))
        self.refuse('{"result":"ok"}', '{"result":"ok","sdp":5}')
        self.failure(self.session.offer("a", "b1", describe_leg("a")), MediaEngineError)

    def test_refusal(self) -> None:
        """What the daemon says of a refused offer or answer is in the error."""
        self.connect()
        self.daemon.refusal = "Ran out of ports"
        text = self.failure(self.session.offer("a", "b1", describe_leg("a")), MediaEngineError)
        self.assertEqual(text, "rtpengine 192.0.2.10:2223 refuses to offer: Ran out of ports")
        self.daemon.calls.clear()
        text = self.failure(self.session.answer("b1", "a", describe_leg("b1")), MediaEngineError)
        self.assertIn("Unknown call-id", text)
        self.settle()
        self.assertIn("may not be as agreed on", self.events[-1][1])
