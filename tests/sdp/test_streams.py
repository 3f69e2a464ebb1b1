"""Tests of `sipd.sdp.streams`: directions, hold, and media lines of two legs."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.sdp.description import Direction, SessionDescription
from sipd.sdp.offer_answer import check_answer
from sipd.sdp.streams import Slots, agreed_streams, align, cross_offer, fit_answer, hold, keep_slots, resume
from tests.sdp.test_offer_answer import describe

KINDS = ("audio", "video", "image")


def session(*streams: str) -> SessionDescription:
    """Make a description of streams such as `audio 4000`, or `audio 4000 sendonly`."""
    lines = []
    for stream in streams:
        kind, port, *direction = stream.split()
        lines.append(f"m={kind} {port} RTP/AVP 0")
        lines += [f"a={each}" for each in direction]
    return describe(*lines)


def shown(description: SessionDescription) -> list[str]:
    """Give what `session` was given."""
    return [
        " ".join((media.media, str(media.port), *((media.direction.value,) if media.direction is not None else ())))
        for media in description.media
    ]


class StreamTests(SynchronousTestCase):
    """What was agreed on."""

    def test_directions(self) -> None:
        """Media flows where one side sends and the other receives; nothing is received at 0.0.0.0."""
        for local, remote, expected in (
            ("sendrecv", "sendrecv", Direction.SENDRECV),
            ("recvonly", "sendonly", Direction.RECVONLY),
            ("sendonly", "recvonly", Direction.SENDONLY),
            ("sendrecv", "sendonly", Direction.RECVONLY),
            ("sendonly", "sendonly", Direction.INACTIVE),
            ("inactive", "sendrecv", Direction.INACTIVE),
        ):
            (stream,) = agreed_streams(session(f"audio 1 {local}"), session(f"audio 2 {remote}"))
            self.assertIs(stream.direction, expected, (local, remote))
        black_hole = describe("m=audio 2 RTP/AVP 0", "c=IN IP4 0.0.0.0")
        (stream,) = agreed_streams(session("audio 1"), black_hole)
        self.assertEqual((stream.direction, stream.is_held, stream.holds), (Direction.RECVONLY, True, False))
        (stream,) = agreed_streams(black_hole, session("audio 1"))
        self.assertEqual((stream.direction, stream.is_held, stream.holds), (Direction.SENDONLY, False, True))

    def test_stream_that_is_off(self) -> None:
        """Port 0 on either side switches it off; nobody looks at its address."""
        off = describe("m=audio 0 RTP/AVP 0", "c=IN IP4")
        for local, remote in ((off, session("audio 1")), (session("audio 1"), off)):
            (stream,) = agreed_streams(local, remote)
            self.assertEqual((stream.is_active, stream.direction), (False, Direction.INACTIVE))
            self.assertEqual((stream.is_held, stream.codecs), (False, ()))

    def test_answer_that_claims_too_much(self) -> None:
        """Directions and ports are taken back to what the offer allows; what is right is left alone."""
        offer = session("audio 1 sendonly", "audio 2 inactive", "audio 3", "audio 0", "audio 5 recvonly")
        answer = session("audio 11", "audio 12 recvonly", "audio 13 sendonly", "audio 14", "audio 0")
        fitted = fit_answer(offer, answer)
        self.assertEqual(
            shown(fitted), ["audio 11 recvonly", "audio 12 inactive", "audio 13 sendonly", "audio 0", "audio 0"]
        )
        self.assertIs(fit_answer(offer, fitted), fitted)

    def test_direction_of_the_session(self) -> None:
        """What the session says counts for its streams, in offers and in answers."""
        offer = describe("a=sendonly", "m=audio 1 RTP/AVP 0")
        answer = describe("a=recvonly", "m=audio 2 RTP/AVP 0")
        self.assertIs(fit_answer(offer, answer), answer)
        self.assertEqual(shown(fit_answer(offer, session("audio 2"))), ["audio 2 recvonly"])

    def test_hold_and_resume(self) -> None:
        """Hold lets go of what would be received; resuming asks for both ways."""
        description = session("audio 1", "audio 2 recvonly", "audio 3 sendonly", "audio 0", "audio 5 inactive")
        held = hold(description)
        self.assertEqual(
            shown(held), ["audio 1 sendonly", "audio 2 inactive", "audio 3 sendonly", "audio 0", "audio 5 inactive"]
        )
        self.assertEqual(
            shown(resume(held)),
            ["audio 1 sendrecv", "audio 2 sendrecv", "audio 3 sendrecv", "audio 0", "audio 5 sendrecv"],
        )
        whole = describe("a=inactive", "m=audio 1 RTP/AVP 0")
        self.assertEqual(shown(resume(whole)), ["audio 1 sendrecv"])

    def test_list_does_not_shrink(self) -> None:
        """Lines that are missing are there with port 0; a longer list is right as it is."""
        current = session("audio 1", "video 2")
        self.assertEqual(shown(keep_slots(session("audio 3"), current)), ["audio 3", "video 0"])
        longer = session("audio 3", "video 4", "image 5")
        self.assertIs(keep_slots(longer, current), longer)
        self.assertIs(keep_slots(longer, None), longer)


class CrossingTests(SynchronousTestCase):
    """An offer of one leg on its way to the other."""

    def check(
        self, offer: list[str], current: list[str], slots: Slots, expected: list[str], expected_slots: Slots
    ) -> None:
        """Let an offer cross, and see what comes out."""
        crossing = cross_offer(session(*offer), session(*current), slots)
        self.assertEqual(shown(crossing.description), expected)
        self.assertEqual(crossing.slots, expected_slots)

    def test_first_offer_crosses_as_it_is(self) -> None:
        """Line by line, disabled ones too."""
        offer = session("audio 1", "video 0")
        crossing = cross_offer(offer, None)
        self.assertIs(crossing.description, offer)
        self.assertEqual((crossing.slots, crossing.reverse_slots), ((0, 1), (0, 1)))

    def test_lines_keep_their_slots(self) -> None:
        """Where a line went before it goes again, also when it is disabled or becomes something else."""
        self.check(["audio 1", "video 2"], ["video 9", "audio 8"], (1, 0), ["video 2", "audio 1"], (1, 0))
        self.check(["audio 1", "video 0"], ["video 9", "audio 8"], (1, 0), ["video 0", "audio 1"], (1, 0))
        self.check(["image 1"], ["audio 9"], (0,), ["image 1"], (0,))

    def test_added_lines(self) -> None:
        """A new line takes a slot of its kind, then a disabled one, then one at the end."""
        self.check(["audio 1", "video 2"], ["audio 9"], (0,), ["audio 1", "video 2"], (0, 1))
        self.check(["audio 1", "video 2"], ["audio 9", "image 0"], (0,), ["audio 1", "video 2"], (0, 1))
        self.check(
            ["audio 1", "video 2"], ["audio 9", "image 0", "video 0"], (0,), ["audio 1", "image 0", "video 2"], (0, 2)
        )
        self.check(["audio 1", "video 2"], ["audio 9", "image 5"], (0,), ["audio 1", "image 0", "video 2"], (0, 2))

    def test_strangers_are_matched_by_kind(self) -> None:
        """Two legs that never talked before: what one has and the other has not is disabled."""
        self.check(["audio 1"], ["video 9", "audio 8"], (), ["video 0", "audio 1"], (1,))
        self.check(["audio 1", "audio 2"], ["audio 8"], (), ["audio 1", "audio 2"], (0, 1))

    def test_disabled_lines_need_no_slot(self) -> None:
        """What is disabled on one leg and unknown on the other stays where it is."""
        self.check(["video 0", "audio 1"], ["audio 9"], (), ["audio 1"], (None, 0))
        self.check(["video 0", "audio 1"], ["audio 9"], (None, 0), ["audio 1"], (None, 0))
        self.check(["video 2", "audio 1"], ["audio 9"], (None, 0), ["audio 1", "video 2"], (1, 0))

    def test_slots_that_cannot_be(self) -> None:
        """Slots beyond the list count for nothing, as do those of more lines than there are."""
        self.check(["audio 1"], ["audio 9"], (7, 0), ["audio 1"], (0,))

    def test_answer_finds_its_way_back(self) -> None:
        """Each line of the offer gets the answer of its slot; one without a slot is refused."""
        offer = session("video 0", "audio 1", "image 2")
        crossing = cross_offer(offer, session("audio 9", "video 8"))
        self.assertEqual(shown(crossing.description), ["audio 1", "video 0", "image 2"])
        self.assertEqual((crossing.slots, crossing.reverse_slots), ((None, 0, 2), (1, None, 2)))
        answer = describe(
            "b=AS:64", "m=audio 11 RTP/AVP 0", "a=recvonly", "m=video 0 RTP/AVP 0", "m=image 13 RTP/AVP 0"
        )
        crossed = crossing.answer(answer)
        self.assertEqual(shown(crossed), ["video 0", "audio 11 recvonly", "image 13"])
        self.assertEqual(crossed.lines, answer.lines)

    def test_full_offer_in_the_slots_of_the_session(self) -> None:
        """An end point that offers all it can keeps its slots (RFC 3261 section 14.2)."""
        everything = session("audio 1", "video 2")
        self.assertEqual(shown(align(everything, session("image 0", "audio 9"))), ["video 2", "audio 1"])
        self.assertIs(align(everything, None), everything)

    streams = st.lists(
        st.tuples(st.sampled_from(KINDS), st.integers(0, 1)).map(lambda pair: f"{pair[0]} {pair[1]}"), max_size=6
    )

    @settings(deadline=None, max_examples=300)
    @given(st.lists(st.tuples(st.booleans(), streams), min_size=1, max_size=6))
    def test_any_two_lists_go_together(self, changes: list[tuple[bool, list[str]]]) -> None:
        """Whatever the legs offer in turn: lists never shrink, answers fit, each active line has a slot of its own."""
        currents: list[SessionDescription | None] = [None, None]
        slots: list[Slots] = [(), ()]
        for is_first, wanted in changes:
            source, target = (0, 1) if is_first else (1, 0)
            offer = keep_slots(session(*wanted), currents[source])
            crossing = cross_offer(offer, currents[target], slots[source])
            description, target_current = crossing.description, currents[target]
            self.assertGreaterEqual(len(description.media), len(target_current.media) if target_current else 0)
            used = [slot for slot in crossing.slots if slot is not None]
            self.assertEqual(len(set(used)), len(used))
            for media, slot in zip(offer.media, crossing.slots, strict=True):
                self.assertTrue(media.is_disabled if slot is None else description.media[slot] == media)
            check_answer(offer, crossing.answer(description))
            for back, place in enumerate(crossing.reverse_slots):
                self.assertTrue(place is None or crossing.slots[place] == back)
            currents[source], currents[target] = offer, description
            slots[source], slots[target] = crossing.slots, crossing.reverse_slots
