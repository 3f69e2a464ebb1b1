"""Tests of `sipd.sip.locate`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import UnresolvableError
from sipd.sip.locate import (
    Lookup,
    Target,
    Transport,
    find_destination,
    is_numeric,
    select_transport,
    targets_for_size,
)
from sipd.sip.uri import parse_sip_uri, parse_uri


class TransportTests(SynchronousTestCase):
    """The table of transports."""

    def test_properties(self) -> None:
        """Each transport knows its default port, and whether it is reliable and secure."""
        table = {t: (t.default_port, t.is_reliable, t.is_secure, t.uri_parameter) for t in Transport}
        self.assertEqual(
            table,
            {
                Transport.UDP: (5060, False, False, "udp"),
                Transport.TCP: (5060, True, False, "tcp"),
                Transport.TLS: (5061, True, True, "tls"),
                Transport.WS: (80, True, False, "ws"),
                Transport.WSS: (443, True, True, "wss"),
            },
        )


class SelectTransportTests(SynchronousTestCase):
    """RFC 3263 section 4.1 without DNS."""

    def test_choice(self) -> None:
        """The parameter decides; without it UDP for sip and TLS for sips."""
        for text, transport in (
            ("sip:a@example.com", Transport.UDP),
            ("sip:a@192.0.2.1:5080", Transport.UDP),
            ("sip:a@example.com;transport=TCP", Transport.TCP),
            ("sip:a@example.com;transport=tls", Transport.TLS),
            ("sip:a@example.com;transport=ws", Transport.WS),
            ("sips:a@example.com", Transport.TLS),
            ("sips:a@example.com;transport=tcp", Transport.TLS),
            ("sips:a@example.com;transport=tls", Transport.TLS),
            ("sips:a@example.com;transport=ws", Transport.WSS),
            ("sip:a@example.com;transport", Transport.UDP),
        ):
            self.assertIs(select_transport(parse_sip_uri(text)), transport, text)

    def test_refused(self) -> None:
        """A sips URI is never downgraded to UDP, and an unknown transport is said to be unknown (lesson 8)."""
        for text, reason in (
            ("sips:a@example.com;transport=udp", "cannot be reached over udp"),
            ("sip:a@example.com;transport=sctp", "sctp is not spoken"),
        ):
            with self.assertRaises(UnresolvableError) as caught:
                select_transport(parse_sip_uri(text))
            self.assertIn(reason, caught.exception.reason)


class DestinationTests(SynchronousTestCase):
    """Host, port and the name that a certificate must have."""

    def test_host_and_port(self) -> None:
        """Port and transport have defaults; maddr replaces the host but not the name to verify."""
        for text, expected in (
            ("sip:a@Example.com", (Transport.UDP, "example.com", 5060, "example.com")),
            ("sips:example.com", (Transport.TLS, "example.com", 5061, "example.com")),
            ("sip:a@[2001:db8::1]:5070;transport=tcp", (Transport.TCP, "2001:db8::1", 5070, "2001:db8::1")),
            ("sips:example.com;maddr=192.0.2.9", (Transport.TLS, "192.0.2.9", 5061, "example.com")),
            ("sip:example.com;maddr=[2001:db8::2]", (Transport.UDP, "2001:db8::2", 5060, "example.com")),
        ):
            found = find_destination(parse_uri(text))
            self.assertEqual((found.transport, found.host, found.port, found.server_name), expected, text)

    def test_lookup(self) -> None:
        """Port, transport and numeric hosts decide what is asked (RFC 3263 sections 4.1 and 4.2)."""
        for text, expected in (
            ("sip:192.0.2.1", Lookup.NOTHING),
            ("sip:example.com;maddr=192.0.2.1", Lookup.NOTHING),
            ("sip:192.0.2.1;maddr=example.com", Lookup.POINTERS),
            ("sip:[2001:db8::1]:5070;transport=tcp", Lookup.NOTHING),
            ("sip:example.com", Lookup.POINTERS),
            ("sips:example.com", Lookup.POINTERS),
            ("sip:example.com:5060", Lookup.ADDRESSES),
            ("sip:example.com:5060;transport=tcp", Lookup.ADDRESSES),
            ("sip:example.com;transport=tcp", Lookup.SERVICES),
            ("sips:example.com;transport=tcp", Lookup.SERVICES),
            ("sip:example.com;transport=ws", Lookup.ADDRESSES),
            ("sips:example.com;transport=ws", Lookup.ADDRESSES),
        ):
            found = find_destination(parse_uri(text))
            self.assertEqual((found.lookup, found.is_secure), (expected, text.startswith("sips")), text)

    def test_text_of_a_target(self) -> None:
        """A target says where it is, an IPv6 address in brackets."""
        target = Target(transport=Transport.TLS, host="2001:db8::1", port=5061)
        self.assertEqual(str(target), "TLS [2001:db8::1]:5061")
        self.assertEqual(str(Target(transport=Transport.UDP, host="192.0.2.1", port=5060)), "UDP 192.0.2.1:5060")

    def test_target(self) -> None:
        """A target keeps everything but the name, which is looked up."""
        self.assertEqual(
            find_destination(parse_uri("sips:example.com")).at("192.0.2.1"),
            Target(transport=Transport.TLS, host="192.0.2.1", port=5061, server_name="example.com"),
        )

    def test_not_resolvable(self) -> None:
        """A tel URI, another scheme and port 0 name no server, and the reason says so."""
        for text, reason in (
            ("tel:+49301234", "A tel URI"),
            ("mailto:a@example.com", "A mailto URI"),
            ("sip:example.com:0", "port 0"),
        ):
            with self.assertRaises(UnresolvableError) as caught:
                find_destination(parse_uri(text))
            self.assertIn(reason, caught.exception.reason)

    def test_numeric_hosts(self) -> None:
        """Only real addresses count as numeric."""
        for host in ("192.0.2.1", "::1", "2001:db8::1", "fe80::1"):
            self.assertTrue(is_numeric(host), host)
        for host in ("example.com", "1.2.3", "256.1.1.1", "", "a1", "4", "192.0.2.1.example", "host-1", "x:y"):
            self.assertFalse(is_numeric(host), host)


class TargetsForSizeTests(SynchronousTestCase):
    """RFC 3261 section 18.1.1."""

    UDP = Target(transport=Transport.UDP, host="192.0.2.1", port=5060, server_name="example.com")
    TCP = Target(transport=Transport.TCP, host="192.0.2.1", port=5060, server_name="example.com")
    TLS = Target(transport=Transport.TLS, host="192.0.2.2", port=5061, server_name="example.com")

    def test_small_requests_go_as_they_are(self) -> None:
        """Up to 1300 octets nothing changes."""
        self.assertEqual(targets_for_size([self.UDP, self.TLS], 1300), (self.UDP, self.TLS))

    def test_large_requests_try_tcp_first(self) -> None:
        """Above it TCP stands before UDP, which stays as the fallback (lesson 23); others are not touched."""
        self.assertEqual(targets_for_size([self.UDP, self.TLS], 1301), (self.TCP, self.UDP, self.TLS))

    def test_no_fallback_beyond_a_datagram(self) -> None:
        """What fits into no datagram has no UDP target left."""
        self.assertEqual(targets_for_size([self.UDP], 65507), (self.TCP, self.UDP))
        self.assertEqual(targets_for_size([self.UDP], 65508), (self.TCP,))
