"""Tests of `sipd.sdp.offer_answer`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import SdpError
from sipd.sdp.description import Direction, SessionDescription, parse_description
from sipd.sdp.offer_answer import (
    LocalOrigin,
    active_streams,
    answer_direction,
    check_answer,
    decline,
    is_hold,
    reject_stream,
    reverse,
)

BOTH, SEND, RECEIVE, NONE = Direction.SENDRECV, Direction.SENDONLY, Direction.RECVONLY, Direction.INACTIVE


def describe(*lines: str, origin: str = "o=alice 7 7 IN IP4 192.0.2.1") -> SessionDescription:
    """Make a description with an address and those lines."""
    return parse_description("\r\n".join(("v=0", origin, "s=-", "c=IN IP4 192.0.2.1", "t=0 0", *lines)))


class LocalOriginTests(SynchronousTestCase):
    """One `o=` line per leg: RFC 8866 section 5.2, RFC 3264 section 8."""

    def setUp(self) -> None:
        """Make the origin of a leg."""
        self.origin = LocalOrigin(session_id=42, host="198.51.100.1")

    def stamp(self, description: SessionDescription) -> str:
        """Give what `o=` says when the leg sends that."""
        stamped = self.origin.stamp(description)
        self.assertEqual(stamped.without_origin(), description.without_origin())
        assert stamped.origin is not None
        return stamped.origin

    def test_has_its_own_user_identifier_and_address(self) -> None:
        """Nothing of the other party's origin is left."""
        self.assertEqual(self.stamp(describe("m=audio 1 RTP/AVP 0")), "- 42 1 IN IP4 198.51.100.1")

    def test_address_of_the_other_version(self) -> None:
        """The address type is that of the address."""
        origin = LocalOrigin(session_id=1, host="2001:db8::1").stamp(describe()).origin
        self.assertEqual(origin, "- 1 1 IN IP6 2001:db8::1")

    def test_version_counts_changes_and_nothing_else(self) -> None:
        """The version grows by one with each change against what was sent last, and stays when nothing changed."""
        first = describe("m=audio 1 RTP/AVP 0")
        hold = describe("m=audio 1 RTP/AVP 0", "a=sendonly")
        versions = [self.stamp(each).split()[2] for each in (first, first, hold, hold, first, hold)]
        self.assertEqual(versions, ["1", "1", "2", "2", "3", "4"])

    def test_other_partys_version_does_not_count(self) -> None:
        """A description that differs in its `o=` line only is the same."""
        one = self.stamp(describe("m=audio 1 RTP/AVP 0"))
        other = self.stamp(describe("m=audio 1 RTP/AVP 0", origin="o=bob 9 9 IN IP4 192.0.2.200"))
        self.assertEqual(one, other)

    def test_copy_counts_by_itself(self) -> None:
        """A copy has the same identifier, and goes on from the version there was."""
        first, hold = describe("m=audio 1 RTP/AVP 0"), describe("m=audio 1 RTP/AVP 0", "a=sendonly")
        self.stamp(first)
        copy = self.origin.copy()
        self.stamp(hold)
        self.assertEqual(copy.stamp(first).origin, "- 42 1 IN IP4 198.51.100.1")
        self.assertEqual(copy.stamp(hold).origin, "- 42 2 IN IP4 198.51.100.1")

    def test_adds_a_missing_origin(self) -> None:
        """A description without an origin gets one after `v=`."""
        stamped = self.origin.stamp(parse_description("v=0\r\ns=-\r\n"))
        self.assertEqual(stamped.lines, ("v=0", "o=- 42 1 IN IP4 198.51.100.1", "s=-"))


class DirectionTests(SynchronousTestCase):
    """RFC 3264 section 6.1, and hold in all dialects."""

    def test_reverse(self) -> None:
        """What one side sends the other receives."""
        self.assertEqual([reverse(each) for each in (BOTH, SEND, RECEIVE, NONE)], [BOTH, RECEIVE, SEND, NONE])

    def test_answer_direction(self) -> None:
        """The answer takes what it wants, as far as the offer gives it: the whole table."""
        wanted = (BOTH, SEND, RECEIVE, NONE)
        table = {
            BOTH: (BOTH, SEND, RECEIVE, NONE),
            SEND: (RECEIVE, NONE, RECEIVE, NONE),
            RECEIVE: (SEND, SEND, NONE, NONE),
            NONE: (NONE, NONE, NONE, NONE),
        }
        for offered, expected in table.items():
            self.assertEqual(tuple(answer_direction(offered, each) for each in wanted), expected, offered)
            self.assertIs(answer_direction(offered), expected[0])

    def test_hold_in_all_dialects(self) -> None:
        """Hold is sendonly, inactive or 0.0.0.0, at the stream or the session, and of all streams that are not off."""
        audio = "m=audio 4000 RTP/AVP 0"
        for lines, expected in (
            ((audio,), False),
            ((audio, "a=sendrecv"), False),
            ((audio, "a=recvonly"), False),
            ((audio, "a=sendonly"), True),
            ((audio, "a=inactive"), True),
            (("a=sendonly", audio), True),
            (("a=sendonly", audio, "a=sendrecv"), False),
            ((audio, "c=IN IP4 0.0.0.0"), True),
            ((audio, "c=IN IP6 ::"), True),
            ((audio, "a=sendonly", "m=video 4002 RTP/AVP 96"), False),
            ((audio, "a=sendonly", "m=video 0 RTP/AVP 96"), True),
            (("m=audio 0 RTP/AVP 0", "a=sendonly"), False),
            ((), False),
        ):
            self.assertEqual(is_hold(describe(*lines)), expected, lines)


class AnswerTests(SynchronousTestCase):
    """What fits an offer."""

    offer = describe("m=audio 4000 RTP/AVP 0", "m=video 4002 RTP/AVP 96", "m=image 0 udptl t38")

    def test_accepts_a_matching_answer(self) -> None:
        """An answer with the same kinds in the same order fits, refused streams included."""
        answer = describe("m=audio 5000 RTP/AVP 8", "m=VIDEO 0 RTP/AVP 96", "m=image 5002 udptl t38")
        check_answer(self.offer, answer)
        self.assertEqual(active_streams(self.offer, answer), [0])

    def test_refuses_another_number_of_streams(self) -> None:
        """Too few and too many media lines do not fit."""
        lines = ["m=audio 5000 RTP/AVP 0", "m=video 0 RTP/AVP 96", "m=image 0 udptl t38", "m=audio 1 RTP/AVP 0"]
        for count in (0, 1, 2, 4):
            with self.assertRaisesRegex(SdpError, f"{count} media lines to an offer with 3"):
                check_answer(self.offer, describe(*lines[:count]))

    def test_refuses_another_kind(self) -> None:
        """A stream of another kind does not fit."""
        answer = describe("m=video 5000 RTP/AVP 96", "m=audio 5002 RTP/AVP 0", "m=image 0 udptl t38")
        with self.assertRaisesRegex(SdpError, "video to the audio of media line 1"):
            check_answer(self.offer, answer)

    def test_reject_stream(self) -> None:
        """A refused stream is its line with port 0."""
        rejected = reject_stream(describe("m=audio 4000/2 RTP/AVP 0 8", "a=rtpmap:0 PCMU/8000").media[0])
        self.assertEqual(rejected.lines, ("m=audio 0 RTP/AVP 0 8",))

    def test_decline(self) -> None:
        """An answer that refuses everything has each line with port 0, and all that a description must have."""
        offer = describe("m=audio 4000 RTP/AVP 0", "a=sendrecv", "m=video 4002 RTP/AVP 96", "c=IN IP4 192.0.2.2")
        text = str(LocalOrigin(session_id=5, host="192.0.2.9").stamp(decline(offer)))
        lines = ["v=0", "o=- 5 1 IN IP4 192.0.2.9", "s=-", "c=IN IP4 0.0.0.0", "t=0 0"]
        self.assertEqual(text.split("\r\n")[:-1], [*lines, "m=audio 0 RTP/AVP 0", "m=video 0 RTP/AVP 96"])
