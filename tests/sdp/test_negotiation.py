"""Tests of `sipd.sdp.negotiation` and `sipd.sdp.exchange`: who may offer when, in which message, and what it means."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import InvalidStateError, RequestRefusedError, SdpError
from sipd.sdp.codecs import allow_codecs
from sipd.sdp.description import Direction, SessionDescription
from sipd.sdp.exchange import State
from sipd.sdp.negotiation import Carrier, Meaning, Negotiation
from sipd.sdp.offer_answer import LocalOrigin
from tests.sdp.test_offer_answer import describe

AUDIO = describe("m=audio 4000 RTP/AVP 0 8")
OTHER = describe("m=audio 5000 RTP/AVP 0")
THIRD = describe("m=audio 6000 RTP/AVP 8")
VIDEO = describe("m=audio 4000 RTP/AVP 0 8", "m=video 4002 RTP/AVP 96")


def make(**options: object) -> Negotiation:
    """Make one side; its Retry-After is 7."""
    return Negotiation(LocalOrigin(session_id=42, host="198.51.100.1"), lambda count: b"\x12" * count, **options)  # type: ignore[arg-type]


def established() -> Negotiation:
    """Make a caller whose first INVITE was answered."""
    negotiation = make()
    negotiation.send(Carrier.INVITE, AUDIO)
    negotiation.receive(Carrier.SUCCESS, OTHER)
    negotiation.send(Carrier.ACK)
    return negotiation


class Case(SynchronousTestCase):
    """Looks at a negotiation."""

    def assert_agreed(
        self, negotiation: Negotiation, local: SessionDescription | None, remote: SessionDescription | None
    ) -> None:
        """See what is in force, and that nothing else is under way."""
        self.assertIs(negotiation.state, State.STABLE)
        self.assertIsNone(negotiation.offer)
        found = None if negotiation.local is None else negotiation.local.without_origin()
        self.assertEqual(found, None if local is None else local.without_origin())
        self.assertEqual(negotiation.remote, remote)

    def assert_refused(self, negotiation: Negotiation, carrier: Carrier, status: int) -> None:
        """See that an offer in a request is refused, and changes nothing."""
        before = (negotiation.state, negotiation.offer, negotiation.local, negotiation.remote)
        with self.assertRaises(RequestRefusedError) as caught:
            negotiation.receive(carrier, THIRD)
        self.assertEqual(caught.exception.status, status)
        self.assertEqual(caught.exception.headers, (("Retry-After", "7"),) if status == 500 else ())
        self.assertEqual((negotiation.state, negotiation.offer, negotiation.local, negotiation.remote), before)


class PatternTests(Case):
    """The six patterns of RFC 6337 section 2, from both sides."""

    def test_invite_and_2xx(self) -> None:
        """The offer is in the INVITE, the answer in its 2xx; it is in force at once on both sides."""
        caller, callee = make(), make()
        offer = caller.send(Carrier.INVITE, AUDIO)
        self.assertIs(callee.receive(Carrier.INVITE, offer), Meaning.OFFER)
        self.assertEqual(callee.offer, offer)
        self.assertIs(caller.state, State.LOCAL_OFFER)
        self.assertIs(callee.state, State.REMOTE_OFFER)
        answer = callee.send(Carrier.SUCCESS, OTHER)
        assert offer is not None
        assert answer is not None
        self.assertEqual(answer.origin, "- 42 1 IN IP4 198.51.100.1")
        self.assert_agreed(callee, OTHER, offer)
        self.assertIs(caller.receive(Carrier.SUCCESS, answer), Meaning.ANSWER)
        self.assert_agreed(caller, AUDIO, answer)

    def test_2xx_and_ack(self) -> None:
        """Without an offer in the INVITE the 2xx makes one, and the ACK answers it."""
        caller, callee = make(), make()
        self.assertIsNone(caller.send(Carrier.INVITE))
        self.assertIs(callee.receive(Carrier.INVITE), Meaning.NOTHING)
        offer = callee.send(Carrier.SUCCESS, AUDIO)
        self.assertIs(caller.receive(Carrier.SUCCESS, offer), Meaning.OFFER)
        answer = caller.send(Carrier.ACK, OTHER)
        self.assertIs(callee.receive(Carrier.ACK, answer), Meaning.ANSWER)
        self.assert_agreed(callee, AUDIO, answer)
        self.assert_agreed(caller, OTHER, offer)

    def test_invite_and_reliable_1xx(self) -> None:
        """The answer may be in a reliable 1xx; what later responses of the INVITE say means nothing."""
        caller, callee = make(), make()
        callee.receive(Carrier.INVITE, caller.send(Carrier.INVITE, AUDIO))
        answer = callee.send(Carrier.RELIABLE, OTHER)
        self.assertIs(caller.receive(Carrier.RELIABLE, answer), Meaning.ANSWER)
        self.assertIs(callee.receive(Carrier.PRACK, caller.send(Carrier.PRACK)), Meaning.NOTHING)
        self.assertIsNone(callee.send(Carrier.PRACK_SUCCESS))
        for carrier in (Carrier.RELIABLE, Carrier.PROVISIONAL, Carrier.SUCCESS):
            self.assertIsNone(callee.send(carrier, THIRD))
            self.assertIs(caller.receive(carrier, THIRD), Meaning.NOTHING)
        self.assert_agreed(caller, AUDIO, answer)
        self.assert_agreed(callee, OTHER, caller.local)

    def test_reliable_1xx_and_prack(self) -> None:
        """Without an offer in the INVITE a reliable 1xx may make one, and the PRACK answers it."""
        caller, callee = make(), make()
        callee.receive(Carrier.INVITE, caller.send(Carrier.INVITE))
        offer = callee.send(Carrier.RELIABLE, AUDIO)
        self.assertIs(caller.receive(Carrier.RELIABLE, offer), Meaning.OFFER)
        answer = caller.send(Carrier.PRACK, OTHER)
        self.assertIs(callee.receive(Carrier.PRACK, answer), Meaning.ANSWER)
        self.assertIsNone(callee.send(Carrier.PRACK_SUCCESS))
        self.assertIsNone(callee.send(Carrier.SUCCESS, THIRD))
        self.assertIs(caller.receive(Carrier.SUCCESS, THIRD), Meaning.NOTHING)
        self.assertIsNone(caller.send(Carrier.ACK, THIRD))
        self.assertIs(callee.receive(Carrier.ACK), Meaning.NOTHING)
        self.assert_agreed(caller, OTHER, offer)
        self.assert_agreed(callee, AUDIO, answer)

    def test_prack_and_its_2xx(self) -> None:
        """A PRACK for an answer may make another offer, which its 2xx answers (RFC 3262 section 5)."""
        caller, callee = make(), make()
        callee.receive(Carrier.INVITE, caller.send(Carrier.INVITE, AUDIO))
        caller.receive(Carrier.RELIABLE, callee.send(Carrier.RELIABLE, OTHER))
        offer = caller.send(Carrier.PRACK, VIDEO)
        self.assertIs(callee.receive(Carrier.PRACK, offer), Meaning.OFFER)
        answer = callee.send(Carrier.PRACK_SUCCESS, VIDEO)
        self.assertIs(caller.receive(Carrier.PRACK_SUCCESS, answer), Meaning.ANSWER)
        self.assert_agreed(caller, VIDEO, answer)
        self.assert_agreed(callee, VIDEO, offer)

    def test_update_and_its_2xx(self) -> None:
        """UPDATE offers in the early and in the established dialog, from either side (RFC 3311)."""
        caller, callee = make(), make()
        callee.receive(Carrier.INVITE, caller.send(Carrier.INVITE, AUDIO))
        caller.receive(Carrier.RELIABLE, callee.send(Carrier.RELIABLE, OTHER))
        callee.receive(Carrier.PRACK, caller.send(Carrier.PRACK))
        for one, other in ((caller, callee), (callee, caller)):
            offer = one.send(Carrier.UPDATE, THIRD)
            self.assertIs(other.receive(Carrier.UPDATE, offer), Meaning.OFFER)
            answer = other.send(Carrier.UPDATE_SUCCESS, AUDIO)
            self.assertIs(one.receive(Carrier.UPDATE_SUCCESS, answer), Meaning.ANSWER)
            self.assert_agreed(one, THIRD, answer)
            self.assert_agreed(other, AUDIO, offer)
        self.assertIs(caller.receive(Carrier.SUCCESS), Meaning.NOTHING)

    def test_unreliable_1xx_is_a_preview(self) -> None:
        """It can be used for early media, but the 2xx decides, even if it says something else."""
        caller, callee = make(), make()
        callee.receive(Carrier.INVITE, caller.send(Carrier.INVITE, AUDIO))
        preview = callee.send(Carrier.PROVISIONAL, OTHER)
        self.assertIs(caller.receive(Carrier.PROVISIONAL, preview), Meaning.PREVIEW)
        self.assertEqual(caller.preview, preview)
        self.assertIs(caller.state, State.LOCAL_OFFER)
        self.assertIsNone(caller.remote)
        self.assertEqual(callee.send(Carrier.SUCCESS, OTHER), preview)
        self.assertIs(caller.receive(Carrier.SUCCESS, THIRD), Meaning.ANSWER)
        self.assert_agreed(caller, AUDIO, THIRD)
        self.assertIsNone(caller.preview)

    def test_what_no_offer_asks_for_is_no_preview(self) -> None:
        """An unreliable 1xx can neither make an offer nor spoil one."""
        late, early = make(), make()
        late.send(Carrier.INVITE)
        self.assertIs(late.receive(Carrier.PROVISIONAL, OTHER), Meaning.NOTHING)
        early.send(Carrier.INVITE, AUDIO)
        self.assertIs(early.receive(Carrier.PROVISIONAL), Meaning.NOTHING)
        self.assertIs(early.receive(Carrier.PROVISIONAL, VIDEO), Meaning.NOTHING)
        self.assertIs(early.receive(Carrier.SUCCESS, OTHER), Meaning.ANSWER)
        self.assertIsNone(make().send(Carrier.PROVISIONAL, OTHER))

    def test_bare_requests(self) -> None:
        """UPDATE and PRACK without a description change nothing (RFC 4028 section 7.4)."""
        one, other = established(), established()
        local, remote = one.local, one.remote
        self.assertIsNone(one.send(Carrier.UPDATE))
        self.assertIs(other.receive(Carrier.UPDATE), Meaning.NOTHING)
        self.assertIsNone(other.send(Carrier.UPDATE_SUCCESS))
        self.assertIs(one.receive(Carrier.UPDATE_SUCCESS), Meaning.NOTHING)
        self.assertEqual((one.local, one.remote), (local, remote))
        self.assertTrue(one.can_send(Carrier.UPDATE) and other.can_send(Carrier.INVITE))


class GlareTests(Case):
    """One offer at a time: RFC 3261 section 14, RFC 3311 section 5."""

    def test_offers_that_cross_get_491(self) -> None:
        """While an offer of this side waits, in whatever request, the peer's is refused with 491."""
        for carrier in (Carrier.INVITE, Carrier.UPDATE):
            negotiation = established()
            negotiation.send(carrier, THIRD)
            self.assert_refused(negotiation, Carrier.INVITE, 491)
            self.assert_refused(negotiation, Carrier.UPDATE, 491)

    def test_second_offer_gets_500(self) -> None:
        """While an offer of the peer waits, a second one is refused with 500 and Retry-After of 0 to 10 s."""
        for carrier in (Carrier.INVITE, Carrier.UPDATE):
            negotiation = established()
            negotiation.receive(carrier, THIRD)
            self.assert_refused(negotiation, Carrier.INVITE, 500)
            self.assert_refused(negotiation, Carrier.UPDATE, 500)
            self.assert_refused(negotiation, Carrier.PRACK, 500)

    def test_invites_that_cross_without_offers(self) -> None:
        """Glare is a matter of the INVITE, not of its offer; who asked for an offer takes none in UPDATE."""
        negotiation = established()
        negotiation.send(Carrier.INVITE)
        self.assert_refused(negotiation, Carrier.INVITE, 491)
        self.assert_refused(negotiation, Carrier.UPDATE, 491)
        negotiation = established()
        negotiation.receive(Carrier.INVITE)
        self.assert_refused(negotiation, Carrier.INVITE, 500)
        self.assert_refused(negotiation, Carrier.UPDATE, 500)
        self.assertIs(negotiation.receive(Carrier.UPDATE), Meaning.NOTHING)
        with self.assertRaises(RequestRefusedError):
            negotiation.receive(Carrier.UPDATE)

    def test_update_before_the_answer_to_another(self) -> None:
        """Even without an offer a second UPDATE is refused with 500 until the first is answered."""
        negotiation = established()
        negotiation.receive(Carrier.UPDATE)
        self.assert_refused(negotiation, Carrier.UPDATE, 500)
        negotiation.refuse(Carrier.UPDATE)
        self.assertIs(negotiation.receive(Carrier.UPDATE, THIRD), Meaning.OFFER)

    def test_invite_while_an_offer_waits_for_its_ack(self) -> None:
        """A late offer that nobody has answered is refused company; an answer that is not acknowledged is no offer."""
        negotiation = established()
        negotiation.receive(Carrier.INVITE)
        negotiation.send(Carrier.SUCCESS, AUDIO)
        self.assert_refused(negotiation, Carrier.INVITE, 491)
        negotiation = established()
        negotiation.receive(Carrier.INVITE, THIRD)
        negotiation.send(Carrier.SUCCESS, AUDIO)
        self.assertIs(negotiation.receive(Carrier.INVITE, OTHER), Meaning.OFFER)

    def test_when_an_offer_may_be_sent(self) -> None:
        """By INVITE while no INVITE is open and none waits for its ACK; by UPDATE also within an INVITE with answer."""

        def may(negotiation: Negotiation) -> tuple[bool, bool]:
            return negotiation.can_send(Carrier.INVITE), negotiation.can_send(Carrier.UPDATE)

        caller, callee = make(), make()
        self.assertEqual(may(caller), (True, True))
        callee.receive(Carrier.INVITE, caller.send(Carrier.INVITE, AUDIO))
        self.assertEqual((may(caller), may(callee)), ((False, False), (False, False)))
        caller.receive(Carrier.RELIABLE, callee.send(Carrier.RELIABLE, OTHER))
        self.assertEqual((may(caller), may(callee)), ((False, True), (False, False)))
        callee.receive(Carrier.PRACK, caller.send(Carrier.PRACK))
        self.assertEqual((may(caller), may(callee)), ((False, True), (False, True)))
        caller.receive(Carrier.SUCCESS, callee.send(Carrier.SUCCESS))
        self.assertEqual((may(caller), may(callee)), ((True, True), (False, False)))
        callee.receive(Carrier.ACK, caller.send(Carrier.ACK))
        self.assertEqual(may(callee), (True, True))
        callee.receive(Carrier.UPDATE, caller.send(Carrier.UPDATE))
        self.assertEqual((may(caller), may(callee)), ((False, False), (False, True)))
        caller.receive(Carrier.UPDATE_SUCCESS, callee.send(Carrier.UPDATE_SUCCESS))
        self.assertEqual((may(caller), may(callee)), ((True, True), (True, True)))

    def test_what_may_not_be_sent(self) -> None:
        """It raises, and changes nothing."""
        negotiation = established()
        negotiation.send(Carrier.INVITE, THIRD)
        for carrier in (Carrier.INVITE, Carrier.UPDATE):
            with self.assertRaises(InvalidStateError):
                negotiation.send(carrier, AUDIO)
        with self.assertRaises(InvalidStateError):
            negotiation.send(Carrier.PRACK, AUDIO)
        self.assertIs(negotiation.state, State.LOCAL_OFFER)
        self.assertIs(negotiation.receive(Carrier.SUCCESS, OTHER), Meaning.ANSWER)
        with self.assertRaises(InvalidStateError):
            negotiation.send(Carrier.PRACK, AUDIO)

    def test_answers_that_are_due(self) -> None:
        """A message that has to answer cannot leave without a description."""
        for offered_in, answered_in in (
            (Carrier.INVITE, Carrier.SUCCESS),
            (Carrier.UPDATE, Carrier.UPDATE_SUCCESS),
        ):
            negotiation = established()
            negotiation.receive(offered_in, THIRD)
            with self.assertRaises(InvalidStateError):
                negotiation.send(answered_in)
            self.assertIsNotNone(negotiation.send(answered_in, AUDIO))
        negotiation = established()
        negotiation.receive(Carrier.INVITE)
        with self.assertRaises(InvalidStateError):
            negotiation.send(Carrier.SUCCESS)
        negotiation.send(Carrier.RELIABLE, AUDIO)
        with self.assertRaisesRegex(InvalidStateError, "reliable"):
            negotiation.send(Carrier.SUCCESS, AUDIO)


class FailureTests(Case):
    """What a refusal leaves behind: RFC 3261 section 14.1, RFC 6141 section 3.4."""

    def test_refused_offers_leave_everything_as_it_was(self) -> None:
        """Whatever carried the offer, and whoever refuses it."""
        for carrier in (Carrier.INVITE, Carrier.UPDATE):
            negotiation = established()
            local, remote = negotiation.local, negotiation.remote
            negotiation.send(carrier, VIDEO)
            negotiation.refused(carrier)
            negotiation.receive(carrier, VIDEO)
            negotiation.refuse(carrier)
            assert local is not None
            self.assert_agreed(negotiation, local, remote)
            self.assertFalse(negotiation.is_doubtful)
            self.assertTrue(negotiation.can_send(Carrier.INVITE))

    def test_refused_prack(self) -> None:
        """Its offer is given up, the INVITE goes on."""
        negotiation = make()
        negotiation.send(Carrier.INVITE, AUDIO)
        negotiation.receive(Carrier.RELIABLE, OTHER)
        negotiation.send(Carrier.PRACK, THIRD)
        negotiation.refused(Carrier.PRACK)
        self.assert_agreed(negotiation, AUDIO, OTHER)
        self.assertFalse(negotiation.can_send(Carrier.INVITE))

    def test_failed_invite_with_a_late_offer_on_its_way(self) -> None:
        """An offer in a reliable 1xx goes with its INVITE, on both sides; a PRACK that still comes answers nothing."""
        caller, callee = established(), established()
        callee.receive(Carrier.INVITE, caller.send(Carrier.INVITE))
        caller.receive(Carrier.RELIABLE, callee.send(Carrier.RELIABLE, THIRD))
        callee.refuse(Carrier.INVITE)
        self.assert_agreed(callee, AUDIO, OTHER)
        answer = caller.send(Carrier.PRACK, THIRD)
        self.assertIs(callee.receive(Carrier.PRACK, answer), Meaning.NOTHING)
        self.assert_agreed(callee, AUDIO, OTHER)
        caller.refused(Carrier.INVITE)
        self.assertTrue(caller.is_doubtful)
        unanswered = established()
        unanswered.send(Carrier.INVITE)
        unanswered.receive(Carrier.RELIABLE, THIRD)
        unanswered.refused(Carrier.INVITE)
        self.assert_agreed(unanswered, AUDIO, OTHER)
        self.assertFalse(unanswered.is_doubtful)

    def test_prack_of_another_invite(self) -> None:
        """A withdrawn offer whose 1xx was lost does not spoil the PRACK of the next INVITE."""
        negotiation = established()
        negotiation.receive(Carrier.INVITE)
        negotiation.send(Carrier.RELIABLE, THIRD)
        negotiation.refuse(Carrier.INVITE)
        negotiation.receive(Carrier.INVITE, OTHER)
        negotiation.send(Carrier.RELIABLE, AUDIO)
        self.assertIs(negotiation.receive(Carrier.PRACK, THIRD), Meaning.OFFER)

    def test_failure_of_an_invite_that_is_not_there(self) -> None:
        """It changes nothing of the one that is."""
        negotiation = established()
        negotiation.receive(Carrier.INVITE, THIRD)
        negotiation.refused(Carrier.INVITE)
        self.assertIs(negotiation.state, State.REMOTE_OFFER)
        negotiation.refuse(Carrier.INVITE)
        negotiation.send(Carrier.INVITE, AUDIO)
        negotiation.refuse(Carrier.INVITE)
        self.assertIs(negotiation.state, State.LOCAL_OFFER)

    def test_failed_invite_after_an_answer_nobody_acknowledged(self) -> None:
        """The callee goes back to what was; so does a caller who never saw the answer."""
        caller, callee = established(), established()
        callee.receive(Carrier.INVITE, caller.send(Carrier.INVITE, THIRD))
        callee.send(Carrier.RELIABLE, THIRD)
        callee.refuse(Carrier.INVITE)
        caller.refused(Carrier.INVITE)
        for negotiation in (caller, callee):
            self.assert_agreed(negotiation, AUDIO, OTHER)
            self.assertFalse(negotiation.is_doubtful)

    def test_failed_invite_after_an_agreement(self) -> None:
        """What was agreed on stays, and the caller makes sure by a new offer (RFC 6141 section 3.4)."""
        caller, callee = established(), established()
        callee.receive(Carrier.INVITE, caller.send(Carrier.INVITE, THIRD))
        caller.receive(Carrier.RELIABLE, callee.send(Carrier.RELIABLE, THIRD))
        callee.receive(Carrier.PRACK, caller.send(Carrier.PRACK))
        callee.refuse(Carrier.INVITE)
        caller.refused(Carrier.INVITE)
        self.assert_agreed(caller, THIRD, callee.local)
        self.assert_agreed(callee, THIRD, caller.local)
        self.assertEqual((caller.is_doubtful, callee.is_doubtful), (True, False))
        before = caller.refresh().origin
        offer = caller.send(Carrier.UPDATE, caller.refresh())
        assert offer is not None
        self.assertEqual(offer.origin, before)
        callee.receive(Carrier.UPDATE, offer)
        caller.receive(Carrier.UPDATE_SUCCESS, callee.send(Carrier.UPDATE_SUCCESS, callee.refresh()))
        self.assertFalse(caller.is_doubtful)

    def test_answers_of_no_use(self) -> None:
        """One that is missing, or has other streams, is an error: the offer is given up, and nobody knows for sure."""
        for answer in (None, VIDEO):
            for offered_in, answered_in in (
                (Carrier.INVITE, Carrier.SUCCESS),
                (Carrier.UPDATE, Carrier.UPDATE_SUCCESS),
            ):
                negotiation = established()
                negotiation.send(offered_in, THIRD)
                with self.assertRaises(SdpError):
                    negotiation.receive(answered_in, answer)
                self.assert_agreed(negotiation, AUDIO, OTHER)
                self.assertTrue(negotiation.is_doubtful)
                self.assertTrue(negotiation.can_send(Carrier.INVITE))

    def test_late_offers_that_fail(self) -> None:
        """A 2xx without the offer, an ACK without the answer, on either side."""
        negotiation = established()
        negotiation.send(Carrier.INVITE)
        with self.assertRaises(SdpError):
            negotiation.receive(Carrier.SUCCESS)
        self.assertTrue(negotiation.can_send(Carrier.INVITE))
        negotiation.receive(Carrier.INVITE)
        negotiation.send(Carrier.SUCCESS, THIRD)
        with self.assertRaises(SdpError):
            negotiation.receive(Carrier.ACK)
        self.assertTrue(negotiation.is_doubtful)
        negotiation = established()
        negotiation.send(Carrier.INVITE)
        negotiation.receive(Carrier.SUCCESS, THIRD)
        self.assertIsNone(negotiation.send(Carrier.ACK))
        self.assertTrue(negotiation.is_doubtful)
        self.assert_agreed(negotiation, AUDIO, OTHER)

    def test_answer_that_does_not_fit_is_not_sent(self) -> None:
        """The offer goes on waiting: it can be refused, or answered better."""
        negotiation = established()
        negotiation.receive(Carrier.UPDATE, THIRD)
        with self.assertRaises(SdpError):
            negotiation.send(Carrier.UPDATE_SUCCESS, VIDEO)
        self.assertIs(negotiation.state, State.REMOTE_OFFER)
        self.assertIsNotNone(negotiation.send(Carrier.UPDATE_SUCCESS, AUDIO))


class DescriptionTests(Case):
    """What is said, and what is known of it."""

    def test_versions_count_what_was_sent(self) -> None:
        """Each change is one version more, a refused one too; what is the same has the same (RFC 3264 section 8)."""
        negotiation = make()
        versions = []

        def offer(description: SessionDescription) -> None:
            sent = negotiation.send(Carrier.INVITE, description)
            assert sent is not None
            assert sent.origin is not None
            versions.append(sent.origin.split()[2])

        offer(AUDIO)
        negotiation.receive(Carrier.SUCCESS, OTHER)
        offer(THIRD)
        negotiation.refused(Carrier.INVITE)
        offer(negotiation.refresh())
        negotiation.refused(Carrier.INVITE)
        offer(negotiation.refresh())
        self.assertEqual(versions, ["1", "2", "3", "3"])

    def test_nothing_to_refresh(self) -> None:
        """Before the first agreement there is nothing to offer again, and no stream."""
        negotiation = make()
        with self.assertRaises(InvalidStateError):
            negotiation.refresh()
        self.assertEqual(negotiation.streams, ())
        self.assertFalse(negotiation.is_held)

    def test_list_of_streams_never_shrinks(self) -> None:
        """An offer that lacks lines of the session gets them with port 0 (RFC 3264 section 8.2)."""
        negotiation = established()
        negotiation.send(Carrier.UPDATE, VIDEO)
        negotiation.receive(Carrier.UPDATE_SUCCESS, VIDEO)
        offer = negotiation.send(Carrier.UPDATE, THIRD)
        assert offer is not None
        self.assertEqual([(each.media, each.port) for each in offer.media], [("audio", 6000), ("video", 0)])

    def test_answer_claims_no_more_than_the_offer_allows(self) -> None:
        """A stream on hold is not answered `sendrecv`, nor one with port 0 with a port."""
        negotiation = established()
        negotiation.receive(Carrier.UPDATE, describe("m=audio 5000 RTP/AVP 0", "a=sendonly", "m=video 0 RTP/AVP 96"))
        answer = negotiation.send(Carrier.UPDATE_SUCCESS, VIDEO)
        assert answer is not None
        self.assertIs(answer.direction_of(answer.media[0]), Direction.RECVONLY)
        self.assertTrue(answer.media[1].is_disabled)
        self.assertTrue(negotiation.is_held)
        self.assertEqual([stream.is_active for stream in negotiation.streams], [True, False])

    def test_streams(self) -> None:
        """Direction and codecs are what both sides let pass."""
        negotiation = established()
        (stream,) = negotiation.streams
        self.assertEqual((stream.media, stream.is_active, stream.direction), ("audio", True, Direction.SENDRECV))
        self.assertEqual([codec.encoding for codec in stream.codecs], ["pcmu/8000"])
        self.assertFalse(negotiation.is_held)

    def test_codec_filter(self) -> None:
        """It works on what is sent, and on offers that come in; one of which nothing is left is refused with 488."""
        negotiation = make(codec_filter=allow_codecs(["pcma"]))
        offer = negotiation.send(Carrier.INVITE, AUDIO)
        assert offer is not None
        self.assertEqual(offer.media[0].formats, ("8",))
        negotiation.receive(Carrier.SUCCESS, THIRD)
        negotiation.send(Carrier.ACK)
        negotiation.receive(Carrier.UPDATE, AUDIO)
        assert negotiation.offer is not None
        self.assertEqual(negotiation.offer.media[0].formats, ("8",))
        negotiation.send(Carrier.UPDATE_SUCCESS, AUDIO)
        with self.assertRaises(SdpError) as caught:
            negotiation.receive(Carrier.UPDATE, OTHER)
        self.assertEqual(caught.exception.status, 488)
        self.assertIs(negotiation.state, State.STABLE)
        self.assertIs(negotiation.receive(Carrier.UPDATE, THIRD), Meaning.OFFER)


class ForkTests(Case):
    """One INVITE, several callees: each early dialog has a negotiation of its own."""

    def test_forks_go_on_by_themselves(self) -> None:
        """Each takes its own answer to the one offer, and counts its own versions."""
        first = make()
        first.send(Carrier.INVITE, AUDIO)
        second = first.fork()
        self.assertIs(first.receive(Carrier.RELIABLE, OTHER), Meaning.ANSWER)
        self.assertIs(second.state, State.LOCAL_OFFER)
        self.assertIs(second.receive(Carrier.SUCCESS, THIRD), Meaning.ANSWER)
        self.assert_agreed(first, AUDIO, OTHER)
        self.assert_agreed(second, AUDIO, THIRD)
        for negotiation in (first, second):
            offer = negotiation.send(Carrier.UPDATE, VIDEO)
            assert offer is not None
            self.assertEqual(offer.origin, "- 42 2 IN IP4 198.51.100.1")
        first.refused(Carrier.UPDATE)
        self.assertIs(second.state, State.LOCAL_OFFER)
        self.assertFalse(second.can_send(Carrier.UPDATE))

    def test_fork_knows_what_was_answered(self) -> None:
        """A copy is a copy in everything."""
        first = make()
        first.send(Carrier.INVITE, AUDIO)
        first.receive(Carrier.RELIABLE, OTHER)
        second = first.fork()
        self.assertIs(second.receive(Carrier.SUCCESS, THIRD), Meaning.NOTHING)
        self.assert_agreed(second, AUDIO, OTHER)
