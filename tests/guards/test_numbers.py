"""Tests of `sipd.guards.numbers`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.guards.numbers import called_number, country_code
from sipd.sip.uri import parse_uri


class NumberTests(SynchronousTestCase):
    """What is called."""

    def test_forms(self) -> None:
        """The same number has one form, however it is written; what is no number has none."""
        for text, number in (
            ("tel:+49-30-1234", "+49301234"),
            ("tel:0900(1)23;phone-context=+49", "0900123"),
            ("sip:+49301234@carrier.example", "+49301234"),
            ("sip:%2B4930%31234@carrier.example", "+49301234"),
            ("sip:+49301234;npdi;rn=1@carrier.example;user=phone", "+49301234"),
            ("sip:0049301234@carrier.example", "+49301234"),
            ("sip:*31%23049@carrier.example", "*31#049"),
            ("sip:+882123x@carrier.example", "+882123"),
            ("sip:+882123%2F1@carrier.example", "+882123"),
            ("sip:0049+30@carrier.example", "+49"),
            ("sip:bob@carrier.example", ""),
            ("sip:add@carrier.example", ""),
            ("sip:carrier.example", ""),
            ("urn:service:sos", ""),
        ):
            self.assertEqual(called_number(parse_uri(text), ("00",)), number, text)

    def test_without_an_international_prefix(self) -> None:
        """Where none is set, digits are left as they are dialled."""
        self.assertEqual(called_number(parse_uri("sip:0049301234@carrier.example")), "0049301234")

    def test_country_codes(self) -> None:
        """Country codes have one, two or three digits, and only numbers with + have one."""
        for number, code in (
            ("+12125550100", "+1"),
            ("+7495", "+7"),
            ("+49301234", "+49"),
            ("+881612", "+881"),
            ("+37255", "+372"),
            ("0301234", ""),
            ("+", ""),
            ("", ""),
            ("+*", ""),
        ):
            self.assertEqual(country_code(number), code, number)
