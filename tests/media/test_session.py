"""Tests of `sipd.media.session`: offers, answers and what they do to ports and streams."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from sipd.errors import InvalidStateError, ResourcesExhaustedError, SdpError
from sipd.interfaces import IMediaRelay, IMediaSession
from sipd.sdp.description import AddressType, SessionDescription
from tests.media.support import IP4, IP6, RelayTestCase, describe, place_of

RTP = b"\x80\x00" + b"r" * 170


class NegotiationTests(RelayTestCase):
    """Two legs: what an offer plans, an answer puts into force and a refusal takes back."""

    def setUp(self) -> None:
        """Make the parties."""
        super().setUp()
        self.alice = self.party()
        self.bob = self.party()

    def call(self) -> tuple[SessionDescription, SessionDescription]:
        """Let `a` offer audio and `b1` answer; give what `b1` was offered and what `a` was answered."""
        offered = self.offer("a", "b1", describe(("audio", self.alice.port)))
        return offered, self.answer("b1", "a", describe(("audio", self.bob.port)))

    def check_flows(self, offered: SessionDescription, answered: SessionDescription) -> None:
        """Check that media goes both ways over these ports."""
        self.alice.send(RTP, place_of(answered))
        self.bob.expect(RTP, source=place_of(offered))
        self.bob.send(b"back", place_of(offered))
        self.alice.expect(b"back", source=place_of(answered))

    def test_provides_the_interfaces(self) -> None:
        """The relay and its sessions have what the interfaces say."""
        verifyObject(IMediaRelay, self.relay)
        verifyObject(IMediaSession, self.session)

    def test_relays_both_ways(self) -> None:
        """After offer and answer RTP goes from each party to the other, out of the port the other knows."""
        self.check_flows(*self.call())

    def test_changes_addresses_and_ports_only(self) -> None:
        """Everything but `c=` and the port is as it came, `o=` included."""
        description = describe(("audio", self.alice.port), address="10.0.0.1", extra=("a=ptime:20", "x=unknown"))
        offered = self.offer("a", "b1", description)
        host, port = place_of(offered)
        expected = [
            line.replace(f"m=audio {self.alice.port}", f"m=audio {port}").replace(
                "c=IN IP4 10.0.0.1", f"c=IN IP4 {host}"
            )
            for line in str(description).splitlines()
        ]
        self.assertEqual(str(offered).splitlines(), expected)
        self.assertEqual((host, offered.origin), ("127.0.0.1", "- 1 1 IN IP4 10.0.0.1"))

    def test_offer_alone_lets_nothing_flow(self) -> None:
        """Before the answer datagrams of either side go nowhere, are counted, and latch nothing."""
        offered = self.offer("a", "b1", describe(("audio", self.alice.port)))
        foreign = self.party()
        foreign.send(RTP, place_of(offered))
        self.bob.send(RTP, place_of(offered))
        self.assertEqual(self.alice.received(), [])
        self.assertEqual([entry.dropped for entry in self.statistics() if entry.leg == "b1"], [2])
        answered = self.answer("b1", "a", describe(("audio", self.bob.port)))
        self.check_flows(offered, answered)
        self.assertEqual(self.kinds("foreign-source"), [])

    def test_late_offer(self) -> None:
        """The leg that was called may be the one that offers (RFC 3261 section 13.2.1)."""
        offered = self.offer("b1", "a", describe(("audio", self.bob.port)))
        answered = self.answer("a", "b1", describe(("audio", self.alice.port)))
        self.check_flows(answered, offered)

    def test_first_offer_rejected(self) -> None:
        """A refusal of the first offer gives all ports back; a new offer can follow."""
        self.offer("a", "b1", describe(("audio", self.alice.port), ("video", 4002)))
        self.assertEqual(len(self.allocator), 4)
        self.session.offer_rejected("a", "b1")
        self.assertEqual(len(self.allocator), 0)
        self.check_flows(*self.call())

    def test_rejecting_what_was_not_offered(self) -> None:
        """A refusal without an offer, or after the answer, changes nothing."""
        self.session.offer_rejected("a", "b1")
        offered, answered = self.call()
        self.session.offer_rejected("a", "b1")
        self.check_flows(offered, answered)

    def test_renegotiation_keeps_ports(self) -> None:
        """In mid-call each stream keeps its ports, in either direction of the offer, and a new one gets some."""
        offered, answered = self.call()
        again = self.offer("b1", "a", describe(("audio", self.bob.port), ("video", 4002)))
        self.assertEqual(place_of(again), place_of(answered))
        back = self.answer("a", "b1", describe(("audio", self.alice.port), ("video", 4004)))
        self.assertEqual(place_of(back), place_of(offered))
        self.assertEqual(len(self.allocator), 4)
        self.assertEqual(len({place_of(again, 1), place_of(back, 1), place_of(again), place_of(back)}), 4)
        self.check_flows(offered, answered)

    def test_rejected_renegotiation_changes_nothing(self) -> None:
        """A refused offer in mid-call gives back what it took, and nothing that flows was touched."""
        offered, answered = self.call()
        before = list(self.events)
        elsewhere = self.party()
        self.offer("a", "b1", describe(("audio", elsewhere.port), ("video", 4002)))
        self.check_flows(offered, answered)
        self.assertEqual(len(self.allocator), 4)
        self.session.offer_rejected("a", "b1")
        self.assertEqual(len(self.allocator), 2)
        new = [text for kind, text in self.events[len(before) :] if kind.startswith("port-")]
        self.assertEqual(len(new), 4)
        self.assertEqual(sorted(new[:2]), sorted(new[2:]))
        self.check_flows(offered, answered)
        self.assertEqual(elsewhere.received(), [])

    def test_new_offer_replaces_one_without_an_answer(self) -> None:
        """Of two offers of a leg to the same leg the second counts; what only the first needed is given back."""
        self.offer("a", "b1", describe(("audio", 4000), ("video", 4002)))
        offered = self.offer("a", "b1", describe(("audio", self.alice.port)))
        self.assertEqual(len(self.allocator), 2)
        self.check_flows(offered, self.answer("b1", "a", describe(("audio", self.bob.port))))

    def test_stream_refused_by_the_answer(self) -> None:
        """A stream that the answer refuses is refused to who offered it, and its ports are given back."""
        self.offer("a", "b1", describe(("audio", self.alice.port), ("video", 4002)))
        answered = self.answer("b1", "a", describe(("audio", self.bob.port), ("video", 0)))
        self.assertEqual([media.port > 0 for media in answered.media], [True, False])
        self.assertEqual(len(self.allocator), 2)

    def test_stream_off_in_the_offer(self) -> None:
        """A stream that is offered with port 0 takes no ports, and stays off whatever the answer says."""
        offered = self.offer("a", "b1", describe(("video", 0), ("audio", self.alice.port)))
        self.assertEqual(offered.media[0].port, 0)
        answered = self.answer("b1", "a", describe(("video", 4002), ("audio", self.bob.port)))
        self.assertEqual(answered.media[0].port, 0)
        self.assertEqual(len(self.allocator), 2)
        self.alice.send(RTP, place_of(answered, 1))
        self.bob.expect(RTP, source=place_of(offered, 1))

    def test_stream_ended_and_begun_again(self) -> None:
        """A stream switched off in mid-call gives its ports back, and gets new ones when it returns."""
        self.call()
        self.offer("a", "b1", describe(("audio", 0)))
        self.answer("b1", "a", describe(("audio", 0)))
        self.assertEqual(len(self.allocator), 0)
        self.check_flows(*self.call())

    def test_stream_ended_by_the_other_side(self) -> None:
        """A stream that one side offered and the other ends gives its ports back, too."""
        self.offer("a", "b1", describe(("audio", self.alice.port), ("video", 4002)))
        self.answer("b1", "a", describe(("audio", self.bob.port), ("video", 4004)))
        self.assertEqual(len(self.allocator), 4)
        self.offer("b1", "a", describe(("audio", self.bob.port), ("video", 0)))
        self.answer("a", "b1", describe(("audio", self.alice.port), ("video", 0)))
        self.assertEqual(len(self.allocator), 2)

    def test_media_line_that_becomes_another_kind(self) -> None:
        """A media line turned from voice to fax keeps its ports, and is counted anew."""
        offered, answered = self.call()
        self.check_flows(offered, answered)
        fax = self.offer("b1", "a", describe(f"m=image {self.bob.port} udptl t38"))
        self.answer("a", "b1", describe(f"m=image {self.alice.port} udptl t38"))
        self.assertEqual(place_of(fax), place_of(answered))
        self.check_flows(offered, answered)
        counts = {(entry.leg, entry.media): entry.packets for entry in self.statistics()}
        self.assertEqual(counts, {("a", "audio"): 1, ("b1", "audio"): 1, ("a", "image"): 1, ("b1", "image"): 1})

    def test_repeated_answer(self) -> None:
        """The same answer again, with another `o=` line too, gives the same and disturbs nothing."""
        offered, answered = self.call()
        self.check_flows(offered, answered)
        events = list(self.events)
        again = describe(("audio", self.bob.port))
        self.assertEqual(self.answer("b1", "a", again), answered)
        self.assertFalse(self.answer("b1", "a", again.with_origin("- 9 9 IN IP4 127.0.0.1")).differs_from(answered))
        self.assertEqual(self.events, events)
        self.check_flows(offered, answered)

    def test_repeated_answer_with_other_address(self) -> None:
        """An answer that differs from the one before is put into force in its place."""
        offered, answered = self.call()
        self.check_flows(offered, answered)
        self.bob = self.party()
        self.assertEqual(place_of(self.answer("b1", "a", describe(("audio", self.bob.port)))), place_of(answered))
        self.check_flows(offered, answered)

    def test_answer_without_an_offer(self) -> None:
        """An answer to nothing fails with `InvalidStateError`."""
        self.failureResultOf(self.session.answer("b1", "a", describe(("audio", 4000))), InvalidStateError)
        self.offer("a", "b1", describe(("audio", 4000)))
        self.failureResultOf(self.session.answer("b2", "a", describe(("audio", 4000))), InvalidStateError)
        self.failureResultOf(self.session.answer("a", "b1", describe(("audio", 4000))), InvalidStateError)

    def test_answer_that_does_not_fit(self) -> None:
        """An answer with other media lines fails with `SdpError`; the offer can still be answered."""
        offered = self.offer("a", "b1", describe(("audio", self.alice.port)))
        for wrong in (
            describe(),
            describe(("audio", 4000), ("video", 4002)),
            describe(("video", 4000)),
            describe(("audio", 4000), address="224.0.0.1"),
        ):
            self.failureResultOf(self.session.answer("b1", "a", wrong), SdpError)
        self.check_flows(offered, self.answer("b1", "a", describe(("audio", self.bob.port))))

    def test_offers_that_cannot_be_relayed(self) -> None:
        """Without an address, with a malformed one or a multicast one an offer fails, and nothing is taken."""
        for wrong in (
            describe(("audio", 4000), address="224.0.0.1"),
            describe(("audio", 4000), address="ff02::1"),
            describe("m=audio 4000 RTP/AVP 0\r\nc=IN IP9 x"),
            describe("m=audio 4000 RTP/AVP 0\r\na=rtcp:x"),
            SessionDescription("v=0\r\n", describe(("audio", 4000)).media),
        ):
            self.failureResultOf(self.session.offer("a", "b1", wrong), SdpError)
        self.assertEqual(self.events, [])

    def test_stream_that_is_not_datagrams(self) -> None:
        """A stream over TCP is offered as refused, with a word of explanation."""
        offered = self.offer("a", "b1", describe(("audio", self.alice.port), "m=message 7394 TCP/MSRP *"))
        self.assertEqual(offered.media[1].port, 0)
        self.assertEqual(self.kinds("not-relayed"), ["a/1 message over TCP/MSRP refused"])
        answered = self.answer("b1", "a", describe(("audio", self.bob.port), "m=message 0 TCP/MSRP *"))
        self.check_flows(offered, answered)

    def test_events_of_ports(self) -> None:
        """Each pair that is taken and released is told by leg, stream and ports."""
        offered, answered = self.call()
        names = [f"a/0 {answered.media[0].port}-{answered.media[0].port + 1}"]
        names.append(f"b1/0 {offered.media[0].port}-{offered.media[0].port + 1}")
        self.assertEqual(self.kinds("port-taken"), names)
        self.session.close()
        self.assertEqual(self.kinds("port-released"), names)

    def test_close(self) -> None:
        """Closing gives everything back, once; afterwards nothing can be negotiated, and the counters can be read."""
        offered, answered = self.call()
        self.check_flows(offered, answered)
        self.session.close()
        self.assertEqual((len(self.allocator), len(self.relay)), (0, 0))
        events = list(self.events)
        self.session.close()
        self.session.leg_ended("a")
        self.session.offer_rejected("a", "b1")
        self.assertEqual(self.events, events)
        self.failureResultOf(self.session.offer("a", "b1", describe(("audio", 4000))), InvalidStateError)
        self.failureResultOf(self.session.answer("b1", "a", describe(("audio", 4000))), InvalidStateError)
        self.assertEqual([entry.packets for entry in self.statistics()], [1, 1])

    def test_transfer(self) -> None:
        """When one leg of a call ends the other keeps its ports, and can be connected with a third."""
        offered, _ = self.call()
        self.session.leg_ended("a")
        self.assertEqual(len(self.allocator), 1)
        self.bob.send(b"to nobody", place_of(offered))
        carol = self.party()
        to_carol = self.offer("b1", "c", describe(("audio", self.bob.port)))
        to_bob = self.answer("c", "b1", describe(("audio", carol.port)))
        self.assertEqual(place_of(to_bob), place_of(offered))
        carol.send(RTP, place_of(to_carol))
        self.bob.expect(RTP)
        self.bob.send(b"back", place_of(to_bob))
        carol.expect(b"back")
        self.assertEqual(self.alice.received(), [])

    def test_media_lines_in_other_places(self) -> None:
        """Where two legs have different media lines each keeps its own: the ports are those of its line."""
        self.offer("a", "b1", describe(("audio", self.alice.port), ("video", 4002)))
        before = self.answer("b1", "a", describe(("audio", self.bob.port), ("video", 4004)))
        self.session.leg_ended("b1")
        carol = self.party()
        # Carol's only line is the second of Alice: her first one is disabled.
        description = describe(("audio", 0), ("video", carol.port))
        to_alice = self.result(self.session.offer("c", "a", description, (None, 0)))
        self.assertEqual(place_of(to_alice, 1), place_of(before, 1))
        to_carol = self.answer("a", "c", describe(("audio", 0), ("video", self.alice.port)))
        self.assertEqual(to_carol.media[0].port, 0)
        self.alice.send(RTP, place_of(to_alice, 1))
        carol.expect(RTP, source=place_of(to_carol, 1))
        self.assertEqual({(entry.leg, entry.stream) for entry in self.statistics() if entry.packets}, {("a", 1)})
        # Her offer, a second time and the other way round, uses the same ports.
        again = self.result(self.session.offer("a", "c", describe(("video", self.alice.port)), (1,)))
        self.assertEqual(place_of(again), place_of(to_carol, 1))


class LimitTests(RelayTestCase):
    """A range of two pairs, and two streams at most."""

    stream_limit = 2
    ports = (30500, 30503)
    addresses = (IP4,)

    def test_exhaustion_builds_nothing_half(self) -> None:
        """An offer for which the ports do not suffice fails and gives back what it had; a smaller one succeeds."""
        error = self.failureResultOf(
            self.session.offer("a", "b1", describe(("audio", 4000), ("video", 4002))), ResourcesExhaustedError
        )
        self.assertIn("30500-30503", str(error.value))
        self.assertEqual(len(self.allocator), 0)
        self.reactor.advance(31)
        self.offer("a", "b1", describe(("audio", 4000)))
        self.assertEqual(len(self.allocator), 2)

    def test_exhaustion_in_mid_call_leaves_the_call_alone(self) -> None:
        """A further stream for which there are no ports is refused; the stream there is goes on."""
        alice, bob = self.party(), self.party()
        offered = self.offer("a", "b1", describe(("audio", alice.port)))
        answered = self.answer("b1", "a", describe(("audio", bob.port)))
        wanted = describe(("audio", alice.port), ("video", 4002))
        self.failureResultOf(self.session.offer("a", "b1", wanted), ResourcesExhaustedError)
        alice.send(RTP, place_of(answered))
        bob.expect(RTP, source=place_of(offered))

    def test_too_many_streams(self) -> None:
        """More streams than the limit are refused before any port is taken; those that are off do not count."""
        many = [("audio", 4000)] * 3
        error = self.failureResultOf(self.session.offer("a", "b1", describe(*many)), SdpError)
        self.assertEqual(str(error.value), "offer of 3 streams, more than 2")
        self.assertEqual(self.events, [])
        self.offer("a", "b1", describe(("audio", 4000), *[("audio", 0)] * 3))


class ForkTests(RelayTestCase):
    """One offer to two branches."""

    def setUp(self) -> None:
        """Offer to both branches."""
        super().setUp()
        self.alice, self.bob, self.carol = self.party(), self.party(), self.party()
        description = describe(("audio", self.alice.port), ("video", 4002))
        self.to_bob = self.offer("a", "b1", description)
        self.to_carol = self.offer("a", "b2", description)

    def early(self) -> SessionDescription:
        """Let the first branch answer."""
        return self.answer("b1", "a", describe(("audio", self.bob.port), ("video", 0)))

    def test_each_branch_has_ports_of_its_own(self) -> None:
        """Two streams take two pairs for the caller and two for each branch."""
        self.assertEqual(len(self.allocator), 6)
        self.assertNotEqual(place_of(self.to_bob), place_of(self.to_carol))

    def test_early_media_then_another_answer(self) -> None:
        """Media follows the branch that answered last, the caller's ports stay, and the other branch is cut off."""
        early = self.early()
        self.bob.send(b"ringing", place_of(self.to_bob))
        self.alice.expect(b"ringing", source=place_of(early))
        final = self.answer("b2", "a", describe(("audio", self.carol.port), ("video", 4004)))
        self.assertEqual(place_of(final), place_of(early))
        self.assertGreater(final.media[1].port, 0)
        self.bob.send(b"still ringing", place_of(self.to_bob))
        self.assertEqual(self.alice.received(), [])
        self.carol.send(RTP, place_of(self.to_carol))
        self.alice.expect(RTP)
        self.alice.send(b"back", place_of(final))
        self.carol.expect(b"back")
        self.assertEqual(self.bob.received(), [])

    def test_branch_that_ended_frees_its_ports(self) -> None:
        """What only the lost branch held is given back; the call goes on, whichever order these come in."""
        self.early()
        final = self.answer("b2", "a", describe(("audio", self.carol.port), ("video", 0)))
        self.assertEqual(len(self.allocator), 3)
        self.session.leg_ended("b1")
        self.assertEqual(len(self.allocator), 2)
        self.alice.send(RTP, place_of(final))
        self.carol.expect(RTP)

    def test_branch_that_never_answered(self) -> None:
        """A branch that ends without an answer takes its ports along, and those the caller had for it alone."""
        self.session.leg_ended("b2")
        self.assertEqual(len(self.allocator), 4)
        self.early()
        self.assertEqual(len(self.allocator), 2)

    def test_caller_keeps_its_ports_from_branch_to_branch(self) -> None:
        """A caller that was told ports by early media keeps them when that branch fails and another is tried."""
        self.session.leg_ended("b2")
        early = self.early()
        self.session.leg_ended("b1")
        self.offer("a", "b3", describe(("audio", self.alice.port), ("video", 4002)))
        final = self.answer("b3", "a", describe(("audio", self.carol.port), ("video", 0)))
        self.assertEqual(place_of(final), place_of(early))

    def test_first_branch_answers_again(self) -> None:
        """The same answer of a branch that was cut off connects it again, with the ports it was told."""
        early = self.early()
        self.answer("b2", "a", describe(("audio", self.carol.port), ("video", 0)))
        self.assertEqual(self.early(), early)
        self.bob.send(RTP, place_of(self.to_bob))
        self.alice.expect(RTP, source=place_of(early))
        self.carol.send(RTP, place_of(self.to_carol))
        self.assertEqual(self.alice.received(), [])

    def test_stream_of_the_other_branch_is_cut_off(self) -> None:
        """A stream that only the first branch took carries nothing once the second has answered."""
        self.answer("b1", "a", describe(("audio", self.bob.port), ("video", 4006)))
        self.answer("b2", "a", describe(("audio", self.carol.port), ("video", 0)))
        video = self.party()
        video.send(RTP, place_of(self.to_bob, 1))
        counts = {(entry.leg, entry.stream): entry.packets for entry in self.statistics()}
        self.assertEqual(counts["b1", 1], 0)

    def test_refused_by_one_branch(self) -> None:
        """A refusal of one branch takes nothing from the other."""
        self.session.offer_rejected("a", "b1")
        self.assertEqual(len(self.allocator), 4)
        final = self.answer("b2", "a", describe(("audio", self.carol.port), ("video", 0)))
        self.alice.send(RTP, place_of(final))
        self.carol.expect(RTP)


class FamilyTests(RelayTestCase):
    """IPv4 and IPv6."""

    def setUp(self) -> None:
        """Make parties on both."""
        super().setUp()
        self.alice = self.party("127.0.0.1")
        self.bob = self.party("::1")

    def call(self) -> tuple[SessionDescription, SessionDescription]:
        """Connect IPv4 with IPv6, as the signalling of the called leg says."""
        self.session.prefer_family("b1", AddressType.IP6)
        offered = self.offer("a", "b1", describe(("audio", self.alice.port)))
        answered = self.answer("b1", "a", describe(("audio", self.bob.port), address="::1"))
        return offered, answered

    def test_between_versions(self) -> None:
        """Each leg is given an address of its own version, and media goes through."""
        offered, answered = self.call()
        self.assertEqual((place_of(offered)[0], place_of(answered)[0]), ("::1", "127.0.0.1"))
        self.alice.send(RTP, place_of(answered))
        self.bob.expect(RTP, source=place_of(offered))
        self.bob.send(b"back", place_of(offered))
        self.alice.expect(b"back", source=place_of(answered))
        self.assertIn(f"b1/0 RTP comes from [::1]:{self.bob.port} as signalled", self.kinds("latched"))

    def test_version_is_kept_in_mid_call(self) -> None:
        """Offers and holds in mid-call change no leg's version, not even a hold that names 0.0.0.0 for IPv6."""
        offered, answered = self.call()
        taken = self.kinds("port-taken")
        self.assertEqual(place_of(self.offer("b1", "a", describe(("audio", 4000), address="::1"))), place_of(answered))
        self.session.offer_rejected("b1", "a")
        held = self.offer("b1", "a", describe(("audio", self.bob.port), address="0.0.0.0"))
        self.assertEqual(place_of(held), ("0.0.0.0", answered.media[0].port))
        back = self.answer("a", "b1", describe(("audio", self.alice.port)))
        self.assertEqual(place_of(back), place_of(offered))
        self.assertEqual(self.kinds("port-taken"), taken)

    def test_leg_that_moves_to_the_other_version(self) -> None:
        """A leg that offers an address of the other version gets ports of that version, and gives the old ones back."""
        offered, _ = self.call()
        moved = self.party("::1")
        self.assertEqual(
            place_of(self.offer("a", "b1", describe(("audio", moved.port), address="::1"))), place_of(offered)
        )
        back = self.answer("b1", "a", describe(("audio", self.bob.port), address="::1"))
        self.assertEqual(place_of(back)[0], "::1")
        self.assertEqual(len(self.allocator), 2)
        moved.send(RTP, place_of(back))
        self.bob.expect(RTP, source=place_of(offered))

    def test_without_a_preference(self) -> None:
        """A leg of which nothing is known is offered the version of the offer; a new stream that of its others."""
        self.assertEqual(place_of(self.offer("a", "b1", describe(("audio", 4000), address="::1")))[0], "::1")
        self.answer("b1", "a", describe(("audio", 4000), address="::1"))
        more = describe(("audio", 4000), "m=video 4002 RTP/AVP 96\r\nc=IN IP4 127.0.0.1", address="::1")
        self.assertEqual(place_of(self.offer("a", "b1", more), 1)[0], "::1")


class SingleFamilyTests(RelayTestCase):
    """A relay without IPv6."""

    addresses = (IP4,)

    def test_offers_what_it_has(self) -> None:
        """Legs of the other version are offered IPv4 all the same; that they cannot be reached is said."""
        self.session.prefer_family("b1", AddressType.IP6)
        offered = self.offer("a", "b1", describe(("audio", 4000), address="::1"))
        self.assertEqual(str(offered.connection), "IN IP4 127.0.0.1")
        self.answer("b1", "a", describe(("audio", 4000)))
        expected = "a/0 wants media at ::1, which 127.0.0.1 cannot reach"
        self.assertEqual(self.kinds("unreachable"), [expected])


class HistoryTests(RelayTestCase):
    """Any sequence of offers, answers, refusals and endings."""

    addresses = (IP4, IP6)

    @settings(deadline=None, max_examples=150)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["offer", "answer", "reject", "end", "prefer"]),
                st.sampled_from([("a", "b1"), ("b1", "a"), ("a", "b2"), ("b2", "a"), ("b1", "b2")]),
                st.lists(st.sampled_from([0, 4000, 4002]), max_size=3),
                st.sampled_from(["127.0.0.1", "::1", "0.0.0.0", "224.0.0.1"]),
            ),
            max_size=12,
        )
    )
    def test_holds_what_it_says_and_no_more(self, steps: list[tuple[str, tuple[str, str], list[int], str]]) -> None:
        """At each moment the ports in use are those that were told as taken; in the end none are."""
        session = self.open_session()
        self.events.clear()
        for step, (sender, receiver), ports, address in steps:
            description = describe(*(("audio", port) for port in ports), address=address)
            if step == "offer":
                session.offer(sender, receiver, description).addErrback(lambda why: why.trap(SdpError))
            elif step == "answer":
                answered = session.answer(sender, receiver, description)
                answered.addErrback(lambda why: why.trap(SdpError, InvalidStateError))
            elif step == "reject":
                session.offer_rejected(sender, receiver)
            elif step == "end":
                session.leg_ended(sender)
            else:
                session.prefer_family(sender, AddressType.of(address))
            self.assertEqual(len(self.kinds("port-taken")) - len(self.kinds("port-released")), len(self.allocator))
        session.close()
        self.assertEqual(len(self.allocator), 0)
        self.assertEqual(self.reactor.readers, set())
