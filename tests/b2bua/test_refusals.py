"""What the caller is told when nobody answered."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.b2bua.refusals import Refusal, choose
from sipd.errors import ConnectionRefused, ParseError, TransactionTimeoutError, TransportError, UnresolvableError
from sipd.testing import builders

INVITE = builders.invite()


class RefusalTests(SynchronousTestCase):
    """One attempt's outcome, as the caller sees it."""

    def test_passes_code_and_phrase(self) -> None:
        """A refusal crosses with both."""
        refusal = Refusal.of_response(builders.response(INVITE, 486, "In a meeting"))
        self.assertEqual((refusal.status, refusal.reason, refusal.cause), (486, "In a meeting", "sip:486"))

    def test_keeps_challenges_to_itself(self) -> None:
        """A caller cannot answer a challenge of the callee's side: it is told 502, and the record says why."""
        for status in (401, 407):
            refusal = Refusal.of_response(builders.response(INVITE, status))
            self.assertEqual((refusal.status, refusal.cause), (502, f"sip:{status}"))
            self.assertIsNone(refusal.response)

    def test_overload_of_another_server(self) -> None:
        """A 503 of the other side is 500 from here, and the record has what came (section 16.7 step 6)."""
        refusal = Refusal.of_response(builders.response(INVITE, 503))
        self.assertEqual((refusal.status, refusal.cause), (500, "sip:503"))

    def test_unreadable_answer(self) -> None:
        """An answer that nobody can read is no mistake of the caller's: 502; a request of its own is: 400."""
        self.assertEqual(Refusal.of_error(ParseError("Malformed To")).status, 502)
        self.assertEqual(Refusal.of_own(ParseError("Malformed To")).status, 400)
        self.assertEqual(Refusal.of_own(TransportError("x")).status, 502)

    def test_causes_are_distinct(self) -> None:
        """Timeout, refused connection and unresolvable name are told apart (lesson 12)."""
        errors = (TransactionTimeoutError("t"), ConnectionRefused("r"), UnresolvableError("u"), TransportError("x"))
        self.assertEqual(
            [(refusal.status, refusal.cause) for refusal in map(Refusal.of_error, errors)],
            [(408, "timeout"), (502, "ConnectionRefused"), (502, "UnresolvableError"), (502, "TransportError")],
        )


class ChooseTests(SynchronousTestCase):
    """The best of several (section 16.7 step 6)."""

    def _chosen(self, *statuses: int) -> int:
        return choose([Refusal(status, "") for status in statuses]).status

    def test_a_6xx_speaks_for_all(self) -> None:
        """Busy everywhere wins over everything."""
        self.assertEqual(self._chosen(404, 603, 302, 500), 603)

    def test_lowest_class_wins(self) -> None:
        """4xx before 5xx, 3xx before 4xx."""
        self.assertEqual(self._chosen(500, 404), 404)
        self.assertEqual(self._chosen(404, 302), 302)

    def test_within_a_class_the_one_that_helps(self) -> None:
        """Busy says more than not found, and so do 415, 420, 484 and 488: the caller can mend those."""
        for status in (415, 420, 484, 486, 488):
            self.assertEqual(self._chosen(408, 404, status), status)
        for status in (416, 421, 485, 487, 489):
            self.assertEqual(self._chosen(408, status), 408)

    def test_no_attempt_at_all(self) -> None:
        """An empty route is temporarily unavailable."""
        self.assertEqual(self._chosen(), 480)
