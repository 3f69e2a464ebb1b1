"""How numbers are written, and what is made of them."""

from __future__ import annotations

import re

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.routing.numbers import (
    Form,
    Normalise,
    Numbering,
    Prepend,
    Step,
    StripDigits,
    StripPrefix,
    Substitute,
    Write,
    is_number,
    rewrite,
)

BERLIN = Numbering(country_code="49", area_code="30", local_length=(4, 8))
NEW_YORK = Numbering(
    country_code="1", international_prefixes=("011",), national_prefix="1", area_code="212", local_length=(7, 7)
)
COPENHAGEN = Numbering(country_code="45", national_prefix="", local_length=(8, 8))
SYDNEY = Numbering(country_code="61", international_prefixes=("0011", "0015"), area_code="2", local_length=(8, 8))
#: Where a longer prefix chooses a carrier.
CARRIERS = Numbering(country_code="61", international_prefixes=("00", "0011"))

_digits = st.text("0123456789", max_size=6)
NUMBERINGS = st.one_of(
    st.sampled_from((BERLIN, NEW_YORK, COPENHAGEN, SYDNEY)),
    st.builds(
        Numbering,
        country_code=st.from_regex(r"[1-9][0-9]{0,2}", fullmatch=True),
        international_prefixes=st.lists(st.sampled_from(("0", "00", "011", "1", "0011")), max_size=3).map(tuple),
        national_prefix=st.sampled_from(("", "0", "1", "00")),
        area_code=st.sampled_from(("", "3", "30", "212")),
        local_length=st.sampled_from(((0, 0), (3, 8), (7, 7), (0, 15))),
    ),
)
GLOBAL = st.from_regex(r"\+[1-9][0-9]{1,14}", fullmatch=True)
ANY = st.one_of(GLOBAL, _digits, st.text("+0123456789*#-() ", max_size=18), st.text(max_size=6))


class NumberingTests(SynchronousTestCase):
    """What is dialled somewhere."""

    def test_normalise(self) -> None:
        """What was dialled becomes + and digits, by the rules of the place; anything else stays as it is."""
        for numbering, dialled, expected in (
            (BERLIN, "+4930123456", "+4930123456"),
            (BERLIN, "+49 (30) 123-456", "+4930123456"),
            (BERLIN, "004930123456", "+4930123456"),
            (BERLIN, "030123456", "+4930123456"),
            (BERLIN, "0893456", "+49893456"),
            (BERLIN, "123456", "+4930123456"),
            (BERLIN, "0012125550100", "+12125550100"),
            (BERLIN, "110", "110"),
            (BERLIN, "123456789", "123456789"),
            (BERLIN, "*21#", "*21#"),
            (BERLIN, "alice", "alice"),
            (BERLIN, "", ""),
            (BERLIN, "+", "+"),
            (BERLIN, "+0123", "+0123"),
            (BERLIN, "+1234567890123456", "+1234567890123456"),
            (BERLIN, "00", "00"),
            (BERLIN, "٠٣٠١٢٣", "٠٣٠١٢٣"),
            (NEW_YORK, "5550100", "+12125550100"),
            (NEW_YORK, "13105550100", "+13105550100"),
            (NEW_YORK, "0114930123456", "+4930123456"),
            (NEW_YORK, "911", "911"),
            (COPENHAGEN, "33123456", "+4533123456"),
            (COPENHAGEN, "004930123456", "+4930123456"),
            (SYDNEY, "001149301234", "+49301234"),
            (SYDNEY, "001549301234", "+49301234"),
            (SYDNEY, "0312345678", "+61312345678"),
            (CARRIERS, "001149301234", "+49301234"),
            (CARRIERS, "0049301234", "+49301234"),
            (SYDNEY, "12345678", "+61212345678"),
        ):
            self.assertEqual(numbering.normalise(dialled), expected, dialled)

    def test_write(self) -> None:
        """A number is written as a trunk wants it."""
        for numbering, number, form, expected in (
            (BERLIN, "+4930123456", Form.PLUS, "+4930123456"),
            (BERLIN, "+4930123456", Form.E164, "4930123456"),
            (BERLIN, "+4930123456", Form.NATIONAL, "030123456"),
            (BERLIN, "+4930123456", Form.INTERNATIONAL, "004930123456"),
            (BERLIN, "+12125550100", Form.NATIONAL, "0012125550100"),
            (NEW_YORK, "+12125550100", Form.NATIONAL, "12125550100"),
            (NEW_YORK, "+4930123456", Form.NATIONAL, "0114930123456"),
            (COPENHAGEN, "+4533123456", Form.NATIONAL, "33123456"),
            (SYDNEY, "+4930123456", Form.INTERNATIONAL, "00114930123456"),
            (BERLIN, "110", Form.NATIONAL, "110"),
            (BERLIN, "alice", Form.E164, "alice"),
        ):
            self.assertEqual(numbering.write(number, form), expected, f"{number} {form}")

    def test_what_would_be_misread_is_written_otherwise(self) -> None:
        """A national number that begins with the national prefix would look international; so it is written so."""
        self.assertEqual(BERLIN.write("+490123", Form.NATIONAL), "00490123")
        closed = Numbering(country_code="39", international_prefixes=(), national_prefix="")
        self.assertEqual(closed.write("+3906123", Form.NATIONAL), "+3906123")

    def test_read_what_others_write(self) -> None:
        """A carrier that leaves out the + is understood where the form says so."""
        self.assertEqual(BERLIN.read("4930123456", Form.E164), "+4930123456")
        self.assertEqual(BERLIN.read("+4930123456", Form.E164), "+4930123456")
        self.assertEqual(BERLIN.read("anonymous", Form.E164), "anonymous")
        self.assertEqual(BERLIN.read("030123456", Form.NATIONAL), "+4930123456")

    @given(NUMBERINGS, ANY)
    @settings(deadline=None, max_examples=400)
    def test_normalise_is_idempotent(self, numbering: Numbering, number: str) -> None:
        """What was normalised stays as it is."""
        once = numbering.normalise(number)
        self.assertEqual(numbering.normalise(once), once)

    @given(NUMBERINGS, GLOBAL, st.sampled_from(Form))
    @settings(deadline=None, max_examples=600)
    def test_round_trip(self, numbering: Numbering, number: str, form: Form) -> None:
        """Whatever the place, the number and the form: what is written is read as the same number."""
        self.assertEqual(numbering.read(numbering.write(number, form), form), number)

    @given(NUMBERINGS, ANY, st.sampled_from(Form))
    @settings(deadline=None, max_examples=300)
    def test_write_after_normalise_is_stable(self, numbering: Numbering, number: str, form: Form) -> None:
        """To normalise and write once more changes nothing, but in the form without a +, which is not dialled."""
        assume(form is not Form.E164)
        written = numbering.write(numbering.normalise(number), form)
        self.assertEqual(numbering.write(numbering.normalise(written), form), written)


class StepTests(SynchronousTestCase):
    """Steps of a rewriting."""

    def test_each(self) -> None:
        """Each kind of step changes what it is about, and leaves the rest."""
        table: tuple[tuple[Step, str, str], ...] = (
            (StripDigits(1), "0301", "301"),
            (StripDigits(2), "+4930", "30"),
            (StripDigits(3), "110", "110"),
            (StripDigits(1), "alice", "alice"),
            (StripPrefix("0"), "0301", "301"),
            (StripPrefix("00"), "0301", "0301"),
            (StripPrefix("+"), "+49", "49"),
            (StripPrefix("0"), "0", "0"),
            (StripPrefix("al"), "alice", "alice"),
            (Prepend("0"), "301", "0301"),
            (Prepend("+49"), "301", "+49301"),
            (Prepend("00"), "+49301", "0049301"),
            (Prepend("9"), "alice", "alice"),
            (Substitute(re.compile(r"0(?P<rest>\d+)"), "+49{rest}"), "030", "+4930"),
            (Substitute(re.compile(r"(\d)(\d)?"), "{2}x{1}{0}"), "7", "x77"),
            (Substitute(re.compile("al.*"), "100"), "alice", "100"),
            (Substitute(re.compile("al"), "100"), "alice", "alice"),
            (Normalise(BERLIN), "0301234", "+49301234"),
            (Normalise(BERLIN, Form.E164), "49301234", "+49301234"),
            (Write(BERLIN, Form.NATIONAL), "+49301234", "0301234"),
        )
        for step, number, expected in table:
            self.assertEqual(step.apply(number), expected, f"{step} {number}")

    def test_in_order(self) -> None:
        """Steps follow each other; without any, the number stays."""
        steps = (StripPrefix("9"), Normalise(BERLIN), Write(BERLIN, Form.E164))
        self.assertEqual(rewrite("90301234", steps), "49301234")
        self.assertEqual(rewrite("90301234", ()), "90301234")

    def test_what_a_number_is(self) -> None:
        """Digits, * and #, with a leading +; nothing else."""
        for text, expected in (("110", True), ("+49", True), ("*21#", True), ("", False), ("4+9", False), ("a", False)):
            self.assertIs(is_number(text), expected, text)

    @given(st.one_of(st.builds(StripDigits, st.integers(1, 5)), st.builds(StripPrefix, _digits)), ANY)
    @settings(deadline=None, max_examples=200)
    def test_strip_leaves_something(self, step: Step, number: str) -> None:
        """A number never becomes empty by what is taken away, and what is left is its end."""
        left = step.apply(number)
        self.assertTrue(left or not number)
        self.assertTrue(number.endswith(left))
