"""From which trunk something comes."""

from __future__ import annotations

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.interfaces import ITrunks
from sipd.sip.uri import SipUri, parse_uri
from sipd.trunks.identification import CertificateNames, Networks
from sipd.trunks.settings import OperatorState
from tests.trunks.support import SECOND, TrunksCase, network, registering, source, static
from tests.ua.support import THEM, US


class NetworksTests(SynchronousTestCase):
    """The longest network that an address is in."""

    def test_longest(self) -> None:
        """A network inside of another one counts, whichever stands first."""
        entries = [
            (network("192.0.2.0/24"), "wide"),
            (network("192.0.2.128/25"), "half"),
            (network("192.0.2.200/32"), "one"),
            (network("0.0.0.0/0"), "all"),
            (network("2001:db8::/32"), "six"),
        ]
        for order in (entries, entries[::-1]):
            networks = Networks(order)
            for host, expected in (
                ("192.0.2.200", ["one"]),
                ("192.0.2.201", ["half"]),
                ("192.0.2.1", ["wide"]),
                ("198.51.100.1", ["all"]),
                ("2001:db8::1", ["six"]),
                ("::ffff:192.0.2.200", ["one"]),
                ("2001:db9::1", []),
                ("example.com", []),
                ("", []),
            ):
                self.assertEqual(list(networks.find(host)), expected, host)

    def test_of_several(self) -> None:
        """One network of two trunks gives both, each once."""
        both = [(network("192.0.2.0/24"), "a"), (network("192.0.2.0/24"), "b"), (network("192.0.2.0/24"), "a")]
        self.assertEqual(list(Networks(both).find("192.0.2.9")), ["a", "b"])

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), max_size=20),
        st.integers(0, 2**32 - 1),
    )
    def test_as_a_naive_search(self, prefixes: list[tuple[int, int]], address: int) -> None:
        """It finds what a look at every network finds."""
        entries = [
            (ipaddress.IPv4Network((first >> (32 - length) << (32 - length), length)), str(number))
            for number, (first, length) in enumerate(prefixes)
        ]
        host = ipaddress.IPv4Address(address)
        longest = max((net.prefixlen for net, _ in entries if host in net), default=None)
        expected = [name for net, name in entries if host in net and net.prefixlen == longest]
        self.assertEqual(list(Networks(entries).find(str(host))), expected)


class CertificateNamesTests(SynchronousTestCase):
    """The names that a certificate proves."""

    def test_found(self) -> None:
        """A name counts in any case, as a whole, and without wildcards."""
        names = CertificateNames([("Sip.Carrier.example", "a"), ("*.example", "b"), ("sip.carrier.example", "c")])
        self.assertEqual(names.find(["other", "SIP.carrier.EXAMPLE"]), ("a", "c"))
        self.assertEqual(names.find(["x.example"]), ())
        self.assertEqual(names.find([]), ())


class IdentifyTests(TrunksCase):
    """`Trunks.identify`."""

    def test_provides_the_interface(self) -> None:
        """It is what the B2BUA asks."""
        verifyObject(ITrunks, self.trunks())

    def test_by_network_and_certificate(self) -> None:
        """Each alone is enough; what a certificate proves comes before any address."""
        trunks = self.trunks(
            static("address", networks=(network("192.0.2.0/24"),)),
            static("tls", certificate_names=("sip.carrier.example",)),
        )
        self.assertEqual(trunks.identify(source("192.0.2.7"), ()), "address")
        self.assertEqual(trunks.identify(source("192.0.2.7"), ("sip.carrier.example",)), "tls")
        self.assertEqual(trunks.identify(source("198.51.100.1"), ("sip.carrier.example",)), "tls")
        self.assertIsNone(trunks.identify(source("198.51.100.1"), ("sip.other.example",)))

    def test_by_the_contact_of_a_registration(self) -> None:
        """Who knows the user part that only the registrar was told comes by that trunk, from wherever."""
        trunks = self.trunks(registering("a"), registering("b", SECOND))
        users = [self.register(wire).contacts[0].uri for wire in (self.them, self.other)]
        for name, uri in zip(("a", "b"), users, strict=True):
            self.assertEqual(trunks.identify(source("198.51.100.1"), (), uri), name)
        for other in (parse_uri("sip:nobody@192.0.2.1"), parse_uri("sip:192.0.2.1"), parse_uri("tel:+4930123"), None):
            self.assertIsNone(trunks.identify(source("198.51.100.1"), (), other))

    def test_not_by_the_registrar(self) -> None:
        """The address of the registrar is none that somebody has named: it proves nothing, but is not banned."""
        trunks = self.trunks(registering("a"))
        self.assertFalse(trunks.has_address(THEM))
        self.grant()
        self.assertIsNone(trunks.identify(source(THEM), ()))
        self.assertTrue(trunks.has_address(THEM))

    def test_by_user(self) -> None:
        """Who has proved to be a user of a trunk calls from there; one who only says so proves nothing."""
        trunks = self.trunks(static("a", users=("carrier", "other")), static("b"))
        self.assertEqual(trunks.identify(source("198.51.100.1"), (), None, "carrier"), "a")
        self.assertIsNone(trunks.identify(source("198.51.100.1"), (), None, "alice"))
        self.assertIsNone(trunks.identify(source("198.51.100.1"), (), SipUri(US, "carrier"), None))

    def test_what_may_be_of_two_is_of_none(self) -> None:
        """Two accounts at one registrar are told apart by their contacts, and by nothing else."""
        trunks = self.trunks(registering("a", contact_user="for-a"), registering("b", contact_user="for-b"))
        for request in self.them.take():
            self.them.messages.append(request)
            self.grant()
        self.assertIsNone(trunks.identify(source(THEM), ()))
        self.assertEqual(trunks.identify(source(THEM), (), SipUri(US, "for-b")), "b")
        same = network("203.0.113.0/24")
        trunks.configure((static("c", networks=(same,)), static("d", networks=(same,))))
        self.assertIsNone(trunks.identify(source("203.0.113.1"), ()))

    def test_one_that_is_down(self) -> None:
        """What comes from a trunk that the operator has set to down is as what comes from strangers; drained is not."""
        trunks = self.trunks(
            static("a", networks=(network("192.0.2.0/24"),)), registering("b", SECOND, contact_user="u")
        )
        for state, expected in (
            (OperatorState.DRAIN, ("a", "b")),
            (OperatorState.DOWN, (None, None)),
            (OperatorState.UP, ("a", "b")),
        ):
            trunks.set_state("a", state)
            trunks.set_state("b", state)
            by_contact = trunks.identify(source("198.51.100.1"), (), SipUri(US, "u"))
            self.assertEqual((trunks.identify(source("192.0.2.7"), ()), by_contact), expected, state)
