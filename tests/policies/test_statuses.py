"""What outcomes become, and how they are told in ISDN's terms."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.policies.statuses import Outcome, Phrases, ReasonForm, StatusPolicy, StatusRule, cause_of, causes_in
from sipd.sip.headers import Headers


def rule(*matches: str, **more: Any) -> StatusRule:
    """Make a rule."""
    return StatusRule(matches=matches, **more)


class RuleTests(SynchronousTestCase):
    """Statuses and phrases."""

    def test_table(self) -> None:
        """The first rule that matches says status and phrase; without one both stay."""
        policy = StatusPolicy(
            rules=(
                rule("503", status=486, reason="All Lines Busy", said_cause=17),
                rule("404", "410", status=480),
                rule("486", reason="Talking"),
                rule("5xx", cause=34, status=600),
                rule("5xx", status=480),
                rule("180", status=183),
                rule("3xx", status=404),
            )
        )
        congested = Headers([("Reason", 'Q.850;cause=34;text="No circuit"')])
        for status, reason, headers, expected in (
            (503, "x", None, (486, "All Lines Busy", 17)),
            (404, "x", None, (480, "Temporarily Unavailable", None)),
            (410, "x", None, (480, "Temporarily Unavailable", None)),
            (486, "x", None, (486, "Talking", None)),
            (487, "x", None, (487, "x", None)),
            (500, "x", congested, (600, "Busy Everywhere", None)),
            (500, "x", None, (480, "Temporarily Unavailable", None)),
            (180, "x", None, (183, "Session Progress", None)),
            (183, "x", None, (183, "x", None)),
            (302, "x", None, (404, "Not Found", None)),
        ):
            outcome = policy.map(status, reason, headers)
            self.assertEqual((outcome.status, outcome.reason, outcome.cause), expected, status)

    def test_phrases(self) -> None:
        """Phrases of others are kept, or replaced by those of the RFC; those of rules are said in any case."""
        policy = StatusPolicy(phrases=Phrases.STANDARD, rules=(rule("404", reason="Gone Fishing"),))
        self.assertEqual(policy.map(486, "gw7.inside.example is busy"), Outcome(status=486, reason="Busy Here"))
        self.assertEqual(policy.map(404, "x").reason, "Gone Fishing")

    def test_rules_that_make_no_sense(self) -> None:
        """A status keeps its kind, and becomes none that needs a header field which nobody has."""
        cases: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
            ((), {}),
            (("200",), {}),
            (("2xx",), {"status": 480}),
            (("100",), {"status": 180}),
            (("180", "480"), {"status": 486}),
            (("180",), {"status": 480}),
            (("180",), {"status": 100}),
            (("486",), {"status": 183}),
            (("486",), {"status": 200}),
            (("486",), {"status": 302}),
            (("486",), {"status": 401}),
            (("486",), {"status": 407}),
            (("486",), {"status": 422}),
            (("486",), {"status": 700}),
            (("4x",), {}),
            (("4XX",), {}),
            (("abc",), {}),
            (("486",), {"reason": "a\r\nb"}),
            (("486",), {"reason": "x" * 129}),
            (("486",), {"said_cause": 0}),
            (("486",), {"cause": 128}),
        )
        for matches, more in cases:
            self.assertRaises(ValueError, rule, *matches, **more)

    @settings(deadline=None, max_examples=200)
    @given(
        st.sampled_from(("183", "1xx", "4xx", "486", "5xx", "6xx", "3xx")),
        st.integers(100, 700),
        st.text(max_size=20),
        st.integers(101, 699).filter(lambda status: status // 100 != 2),
        st.text(max_size=20),
    )
    def test_kinds_are_kept(self, match: str, becomes: int, reason: str, status: int, phrase: str) -> None:
        """No rule makes an answer of a refusal, or a refusal of ringing."""
        try:
            policy = StatusPolicy(rules=(rule(match, status=becomes, reason=reason),))
        except ValueError:
            return
        outcome = policy.map(status, phrase)
        self.assertEqual(outcome.status < 200, status < 200)
        self.assertNotEqual(outcome.status // 100, 2)
        if outcome.status != status:
            self.assertNotIn("\n", outcome.reason)


class ReasonTests(SynchronousTestCase):
    """The field Reason."""

    def shaped(self, form: ReasonForm, *values: str, status: int | None = None, cause: int | None = None) -> list[str]:
        """Give what a form makes of values."""
        fields = Headers([("Reason", value) for value in values])
        StatusPolicy(reasons=form).shape(fields, status, cause)
        return fields.get_all("Reason")

    def test_table(self) -> None:
        """Each form does what it says."""
        said = 'SIP;cause=486;text="on gw7.example, line 3"'
        isdn = 'Q.850 ;cause=17;text="busy"'
        for form, values, status, cause, expected in (
            (ReasonForm.PASS, [said, isdn], 486, None, [said, isdn]),
            (ReasonForm.REMOVE, [said, isdn], 486, None, []),
            (ReasonForm.CAUSE, [said, isdn], 486, None, ["SIP;cause=486", "Q.850;cause=17"]),
            (ReasonForm.CAUSE, [f"{said}, {isdn}"], None, None, ["SIP;cause=486", "Q.850;cause=17"]),
            (ReasonForm.CAUSE, ["gw7.example", "SIP;text=x", "SIP;cause=abc", 'SIP;cause="5'], None, None, []),
            (ReasonForm.Q850, [], 486, None, ["Q.850;cause=17"]),
            (ReasonForm.Q850, [said], 486, None, [said, "Q.850;cause=17"]),
            (ReasonForm.Q850, [isdn], 503, None, [isdn]),
            (ReasonForm.Q850, [], None, None, []),
            (ReasonForm.PASS, [isdn], 503, 34, ["Q.850;cause=34"]),
            (ReasonForm.PASS, [said], 503, 34, ["SIP;cause=486", "Q.850;cause=34"]),
            (ReasonForm.REMOVE, [said], 503, 34, []),
        ):
            self.assertEqual(self.shaped(form, *values, status=status, cause=cause), expected, (form, values))

    def test_ends(self) -> None:
        """What ends a call says why in ISDN's terms: by its SIP cause, or that it was ended as calls are."""
        for form, values, expected in (
            (ReasonForm.Q850, [], ["Q.850;cause=16"]),
            (ReasonForm.Q850, ["SIP;cause=480"], ["SIP;cause=480", "Q.850;cause=18"]),
            (ReasonForm.Q850, ["SIP;cause=200"], ["SIP;cause=200", "Q.850;cause=16"]),
            (ReasonForm.Q850, ["Q.850;cause=31"], ["Q.850;cause=31"]),
            (ReasonForm.CAUSE, ['Q.850;cause=31;text="x"'], ["Q.850;cause=31"]),
            (ReasonForm.REMOVE, ["Q.850;cause=31"], []),
            (ReasonForm.PASS, [], []),
        ):
            fields = Headers([("Reason", value) for value in values])
            StatusPolicy(reasons=form).shape_end(fields)
            self.assertEqual(fields.get_all("Reason"), expected, (form, values))

    def test_causes(self) -> None:
        """Those of RFC 3398, and for the others what the class says."""
        for status, cause in ((404, 1), (486, 17), (480, 18), (503, 41), (603, 21), (499, 31), (599, 41), (699, 31)):
            self.assertEqual(cause_of(status), cause, status)

    def test_what_nobody_can_read(self) -> None:
        """A Reason that breaks the grammar names no cause, and costs the others nothing."""
        self.assertEqual(causes_in(Headers([("Reason", 'SIP;cause="'), ("Reason", "Q.850;cause=1")])), [("q.850", 1)])
        self.assertEqual(causes_in(Headers([("Reason", 'SIP;cause=1;text="a, b')])), [])
        self.assertEqual(causes_in(Headers([("Reason", "a b;cause=1"), ("Reason", "Q.850;cause=1")])), [("q.850", 1)])
