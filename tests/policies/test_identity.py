"""How addresses are written."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.policies.identity import AddressPolicy, NumberRule
from sipd.policies.text import Template
from sipd.sip.fields import NameAddr
from sipd.sip.identity import ANONYMOUS
from sipd.sip.uri import parse_uri


def number(pattern: str, value: str) -> NumberRule:
    """Make a rule."""
    return NumberRule(pattern=re.compile(pattern), value=Template(value))


GERMANY = (number("00([1-9][0-9]+)", "+{1}"), number("0([1-9][0-9]+)", "+49{1}"))


class WriteTests(SynchronousTestCase):
    """Addresses of who calls."""

    def test_table(self) -> None:
        """Numbers, hosts, names and `user=phone`, each by itself and together."""
        phone = {"is_phone": True}
        domain = {"domain": "pbx.example"}
        cases: tuple[tuple[dict[str, Any], str, str], ...] = (
            ({}, '"A" <sip:030123@h;x=1>', '"A" <sip:030123@h;x=1>'),
            ({"numbers": GERMANY}, "<sip:030123@h>", "<sip:+4930123@h>"),
            ({"numbers": GERMANY}, "<sip:0033123@h>", "<sip:+33123@h>"),
            ({"numbers": GERMANY}, "<sip:+33123@h>", "<sip:+33123@h>"),
            ({"numbers": GERMANY}, "<sip:030-12.3@h>", "<sip:+4930123@h>"),
            ({"numbers": GERMANY}, "<sip:alice@h>", "<sip:alice@h>"),
            ({"numbers": GERMANY}, "<sip:h>", "<sip:h>"),
            ({"numbers": (number("alice", "b o\\b"),)}, "<sip:alice@h>", "<sip:b%20o%5Cb@h>"),
            ({"numbers": (number("alice", ""),)}, "<sip:alice@h>", "<sip:alice@h>"),
            (phone, "<sip:+49301@h>", "<sip:+49301@h;user=phone>"),
            (phone, "<sip:alice@h>", "<sip:alice@h>"),
            (domain, "<sip:alice@192.0.2.1:5070>", "<sip:alice@pbx.example>"),
            (domain, "<sip:192.0.2.1>", "<sip:pbx.example>"),
            (domain, "<tel:+49301>", "<sip:+49301@pbx.example;user=phone>"),
            (domain, "<urn:service:sos>", "<urn:service:sos>"),
            ({"numbers": GERMANY}, "<tel:030123;phone-context=+49>", "<tel:+4930123>"),
            ({"numbers": (number("1", "2"),)}, "<tel:1;phone-context=+49>", "<tel:1;phone-context=+49>"),
            ({"has_name": False}, '"A" <sip:1@h>', "<sip:1@h>"),
            ({"has_name": False, **domain}, "<sip:anonymous@anonymous.invalid>", "<sip:anonymous@anonymous.invalid>"),
            ({"numbers": GERMANY, **phone, **domain}, "<sip:030123@h>", "<sip:+4930123@pbx.example;user=phone>"),
        )
        for options, address, expected in cases:
            self.assertEqual(str(AddressPolicy(**options).write(NameAddr.parse(address))), expected, (options, address))

    def test_what_changes_nothing(self) -> None:
        """An address that is right already is the same object; nobody's stays nobody's."""
        address = NameAddr.parse('"A" <sip:+49301@pbx.example>')
        self.assertIs(AddressPolicy(domain="pbx.example", numbers=GERMANY).write(address), address)
        self.assertIs(AddressPolicy(domain="x", has_name=False, is_phone=True).write(ANONYMOUS), ANONYMOUS)

    def test_own_domain(self) -> None:
        """The first domain is written only where that is wanted, and no other."""
        self.assertEqual(AddressPolicy(has_own_domain=True).at("a").domain, "a")
        self.assertEqual(AddressPolicy(has_own_domain=True, domain="b").at("a").domain, "b")
        self.assertEqual(AddressPolicy().at("a").domain, "")

    def test_target(self) -> None:
        """To of a request URI says nothing of its way."""
        uri = parse_uri("sip:+49301@192.0.2.1:5070;transport=tcp;user=phone;lr")
        self.assertEqual(str(AddressPolicy.target(uri)), "<sip:+49301@192.0.2.1;user=phone>")
        self.assertEqual(str(AddressPolicy.target(parse_uri("tel:+49301"))), "<tel:+49301>")

    def test_unknown_group(self) -> None:
        """A rule can only write what its pattern matches."""
        self.assertRaises(ValueError, number, "a", "{1}")

    @settings(deadline=None, max_examples=200)
    @given(
        st.text(min_size=1, max_size=10),
        st.sampled_from(("+{1}", "{0}", "a b", "{1}@evil", "<{1}>", '"', "%", ";x=1", "ä", "?a=b")),
        st.booleans(),
    )
    def test_addresses_stay_addresses(self, user: str, value: str, is_phone: bool) -> None:
        """Whatever rules make of whatever a caller calls itself, it can be parsed, and the host is not theirs."""
        try:
            address = NameAddr.parse(f"<sip:{user}@h.example>")
        except ParseError:
            return
        policy = AddressPolicy(numbers=(number("(?s)(.*)", value),), is_phone=is_phone)
        written = NameAddr.parse(str(policy.write(address)))
        self.assertEqual(written.uri.host, getattr(address.uri, "host", None))  # type: ignore[union-attr]
