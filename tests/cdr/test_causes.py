"""Why calls end: what Reason fields say, and what statuses mean to the telephone network."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.cdr.causes import Hangup, Reason, cause_of_status, hangup_of, parse_reasons


class ReasonTests(SynchronousTestCase):
    """Reason fields (RFC 3326)."""

    def test_values(self) -> None:
        """The examples of RFC 3326 section 2, alone and in one line."""
        self.assertEqual(
            list(
                parse_reasons(
                    (
                        'SIP ;cause=200 ;text="Call completed elsewhere"',
                        'Q.850 ;cause=16 ;text="Terminated", SIP ;cause=580 ;text="Precondition Failure"',
                        "preemption",
                    )
                )
            ),
            [
                Reason("SIP", 200, "Call completed elsewhere"),
                Reason("Q.850", 16, "Terminated"),
                Reason("SIP", 580, "Precondition Failure"),
                Reason("PREEMPTION", None, ""),
            ],
        )

    def test_rubbish(self) -> None:
        """What is no reason is passed over, what has a strange number has none, and there is a bound."""
        self.assertEqual(
            list(parse_reasons(("", ";cause=3", "Q.850;cause=abc", 'SIP;text="x', "Q.850;cause=99999"))),
            [Reason("Q.850", None, ""), Reason("Q.850", None, "")],
        )
        self.assertEqual(list(parse_reasons(('SIP;text="a,b', "<,", "Q.850;cause=16"))), [Reason("Q.850", 16, "")])
        self.assertEqual(len(list(parse_reasons(["SIP;cause=1"] * 1000))), 10)

    @given(st.lists(st.text(max_size=60), max_size=4), st.integers(0, 700), st.booleans())
    def test_anything(self, values: list[str], status: int, is_answered: bool) -> None:
        """Whatever a peer says, there is a cause of Q.850, and text of bounded length."""
        hangup = hangup_of(values, status, is_answered=is_answered)
        self.assertTrue(0 < hangup.cause < 128)
        self.assertLessEqual(len(hangup.text), 200)


class HangupTests(SynchronousTestCase):
    """What becomes of them."""

    def test_default(self) -> None:
        """A call that was answered and hung up without a word was cleared normally."""
        self.assertEqual(hangup_of((), 200, is_answered=True), Hangup(16, "NORMAL_CLEARING", "normal", ""))

    def test_the_network_knows_better(self) -> None:
        """Q.850 in a Reason counts more than the status of SIP, there and in the response."""
        said = ("SIP;cause=503", 'Q.850;cause=27;text="Out of order"')
        expected = Hangup(27, "DESTINATION_OUT_OF_ORDER", "unreachable", "Out of order")
        self.assertEqual(hangup_of(said, 503, is_answered=False), expected)
        self.assertEqual(hangup_of(("SIP;cause=486",), 200, is_answered=True).reason, "busy")
        self.assertEqual(hangup_of(("SIP;cause=200",), 200, is_answered=True).reason, "normal")

    def test_caller_gave_up(self) -> None:
        """A cancelled call is that, whatever the CANCEL says."""
        hangup = hangup_of(('SIP;cause=487;text="gone"',), 487, is_answered=False)
        self.assertEqual(hangup, Hangup(16, "ORIGINATOR_CANCEL", "cancelled", "gone"))

    def test_statuses(self) -> None:
        """Statuses are what RFC 3398 section 8.2.6.1 makes of them; those that it does not know are interworking."""
        table = {403: 21, 404: 1, 408: 102, 410: 22, 480: 18, 484: 28, 486: 17, 500: 41, 503: 41, 600: 17, 603: 21}
        self.assertEqual({status: cause_of_status(status) for status in table}, table)
        self.assertEqual((cause_of_status(302), cause_of_status(499), cause_of_status(0)), (23, 127, 127))

    def test_unknown_cause(self) -> None:
        """A cause that has no name here keeps its number."""
        self.assertEqual(hangup_of(("Q.850;cause=99",), 500, is_answered=False), Hangup(99, "CAUSE_99", "other", ""))
