"""Parts of addresses, as people type them, made whole."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.phone.account import Account
from sipd.phone.addresses import complete
from sipd.phone.placing import find_next_hop
from sipd.sip.locate import Transport
from sipd.sip.uri import SipUri, parse_sip_uri, parse_uri

DOMAIN = parse_sip_uri("sip:alice@example.org:5070;transport=tcp")


class CompletionTests(SynchronousTestCase):
    """`complete`."""

    def test_rows(self) -> None:
        """Each row: what is typed, and the address that it means to somebody at example.org."""
        for text, meant in (
            ("bob", "<sip:bob@example.org:5070;transport=tcp>"),
            ("+49 30 (12) 34-5", "<sip:+493012345@example.org:5070;transport=tcp>"),
            ("*21#", "<sip:*21%23@example.org:5070;transport=tcp>"),
            ("bob@example.net", "<sip:bob@example.net>"),
            ("192.0.2.7:5080", "<sip:192.0.2.7:5080>"),
            ("[2001:db8::1]", "<sip:[2001:db8::1]>"),
            ("pbx.example.net;transport=tls", "<sip:pbx.example.net;transport=tls>"),
            ("localhost:5062", "<sip:localhost:5062>"),
            ("sips:bob@example.net", "<sips:bob@example.net>"),
            ("tel:+4930", "<tel:+4930>"),
            ("Bob <sip:bob@example.net>", "Bob <sip:bob@example.net>"),
        ):
            self.assertEqual(str(complete(text, DOMAIN)), meant, text)

    def test_nobody_in_particular(self) -> None:
        """Without a domain a number of the world is one, and a name alone means nobody."""
        self.assertEqual(str(complete("+49 30 1234")), "<tel:+49301234>")
        for text in ("bob", "110", "", "<", "sip:", "@"):
            self.assertRaises(ParseError, complete, text)
        self.assertRaises(ParseError, complete, "  ", DOMAIN)


class NextHopTests(SynchronousTestCase):
    """`find_next_hop`: what is asked for, and what counts more."""

    def test_rows(self) -> None:
        """The URI's transport counts most, then the one that is asked for; a proxy comes before the account's."""
        plain = Account("sip:alice@example.org")
        behind = Account("sip:alice@example.org", proxy="sip:edge.example.org;transport=tls")
        for account, proxy, callee, transport, expected in (
            (None, "", "sip:bob@example.net", None, None),
            (None, "", "sip:bob@example.net", Transport.TCP, "sip:bob@example.net;transport=tcp"),
            (None, "", "sip:bob@example.net;transport=udp", Transport.TCP, None),
            (None, "", "sips:bob@example.net", Transport.TCP, None),
            (plain, "", "tel:+4930", None, "sip:example.org"),
            (plain, "", "tel:+4930", Transport.TCP, "sip:example.org;transport=tcp"),
            (behind, "", "sip:bob@example.net", Transport.UDP, "sip:edge.example.org;transport=tls"),
            (behind, "sip:192.0.2.9", "sip:bob@example.net", None, "sip:192.0.2.9"),
            (behind, "sip:192.0.2.9", "sip:bob@example.net", Transport.TLS, "sip:192.0.2.9;transport=tls"),
        ):
            place: SipUri | None = parse_sip_uri(proxy) if proxy else None
            found = find_next_hop(account, place, parse_uri(callee), transport)
            self.assertEqual(None if found is None else str(found), expected, callee)
