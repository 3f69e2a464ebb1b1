"""Which flow a request inside a dialog takes (lessons 1, 2 and 8)."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.interfaces import IFlow, ListeningPoint
from sipd.sip.fields import Via
from sipd.sip.headers import Headers
from sipd.sip.locate import Transport
from sipd.sip.message import Request
from sipd.sip.uri import parse_uri
from sipd.ua.flows import is_behind_nat, is_secured, stays_on

POINT = ListeningPoint(
    name="p",
    transport=Transport.UDP,
    host="198.51.100.1",
    port=5060,
    advertised_host="198.51.100.1",
    advertised_port=5060,
)


@implementer(IFlow)
@dataclass
class Flow:
    """A flow that goes nowhere."""

    transport: Transport = Transport.UDP
    host: str = "203.0.113.7"
    port: int = 5060
    is_open: bool = True
    point: ListeningPoint = POINT
    peer_names: tuple[str, ...] = ()

    def send(self, data: bytes) -> None:
        """See `IFlow`."""

    def close(self) -> None:
        """See `IFlow`."""


class NatTests(SynchronousTestCase):
    """Whether a peer is where its Contact says."""

    def _is_behind(self, contact: str, via: str | None = None, host: str = "203.0.113.7") -> bool:
        return is_behind_nat(parse_uri(contact), None if via is None else Via.parse(via), Flow(host=host))

    def test_contact_at_the_source_is_reachable(self) -> None:
        """The same address, whatever the port, is where requests go."""
        self.assertFalse(self._is_behind("sip:b@203.0.113.7:5080"))

    def test_private_contact_from_a_public_source(self) -> None:
        """An RFC 1918 Contact that came from a public address cannot be reached (lesson 2)."""
        self.assertTrue(self._is_behind("sip:b@192.168.1.5"))
        self.assertTrue(self._is_behind("sip:b@10.0.0.1", host="2001:4860::1"))

    def test_networks_that_nobody_else_can_reach(self) -> None:
        """Loopback, link-local, carrier-grade NAT and unique local addresses are private, too; their neighbours not."""
        for host in (
            "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.255.1", "100.64.0.1", "100.127.255.255",
            "127.0.0.1", "169.254.1.1", "[::1]", "[fe80::1]", "[febf::1]", "[fc00::1]", "[fdff::1]",
        ):  # fmt: skip
            self.assertTrue(self._is_behind(f"sip:b@{host}"), host)
        for host in (
            "9.255.255.255", "11.0.0.0", "172.15.0.1", "172.32.0.1", "192.169.0.1", "192.167.0.1", "100.63.0.1",
            "100.128.0.1", "126.0.0.1", "128.0.0.1", "169.253.1.1", "[::2]", "[fec0::1]", "[fe00::1]", "[2001:db8::1]",
            "phone.example.com",
        ):  # fmt: skip
            self.assertFalse(self._is_behind(f"sip:b@{host}"), host)

    def test_contact_that_is_no_place(self) -> None:
        """A tel URI in a Contact says nothing of where the peer is."""
        self.assertFalse(self._is_behind("tel:+4930123"))

    def test_received_alone_says_nothing(self) -> None:
        """A proxy with another source address than its Via says, and a Contact beyond it: no NAT at this end."""
        via = "SIP/2.0/UDP 198.18.0.1;branch=z9hG4bKx;received=203.0.113.7"
        self.assertFalse(self._is_behind("sip:b@198.18.0.5", via))
        self.assertFalse(self._is_behind("sip:b@198.18.0.5", "SIP/2.0/UDP 198.18.0.5;branch=z9hG4bKx"))

    def test_private_contact_in_a_private_network(self) -> None:
        """Inside of one network private addresses are what they say."""
        self.assertFalse(self._is_behind("sip:b@192.168.1.5", host="192.168.1.9"))

    def test_via_and_contact_of_one_box_that_came_from_elsewhere(self) -> None:
        """A request whose Via and Contact agree, and whose source is another address, came through a NAT."""
        via = "SIP/2.0/UDP 198.18.0.5;branch=z9hG4bKx;received=203.0.113.7;rport=1024"
        self.assertTrue(self._is_behind("sip:b@198.18.0.5", via))

    def test_contact_beyond_a_proxy(self) -> None:
        """A public Contact of another box than the Via's is beyond a proxy, not behind a NAT."""
        self.assertFalse(self._is_behind("sip:b@198.18.0.5", "SIP/2.0/UDP 203.0.113.7;branch=z9hG4bKx"))


class StayTests(SynchronousTestCase):
    """Whether a request goes where the dialog came from."""

    def _stays(self, hop: str, flow: Flow, *, behind_nat: bool = False) -> bool:
        return stays_on(flow, parse_uri(hop), behind_nat=behind_nat)

    def test_flow_is_a_flow(self) -> None:
        """The fake keeps the contract."""
        verifyObject(IFlow, Flow())

    def test_connection_is_kept_while_it_lives(self) -> None:
        """A TLS connection is used whatever the Contact says, and left when it is gone (lesson 1)."""
        self.assertTrue(self._stays("sip:b@10.0.0.1", Flow(transport=Transport.TLS)))
        self.assertFalse(self._stays("sip:b@10.0.0.1", Flow(transport=Transport.TLS, is_open=False)))

    def test_nat_keeps_the_flow(self) -> None:
        """The pinhole is the only way in."""
        self.assertTrue(self._stays("sip:b@10.0.0.1", Flow(), behind_nat=True))

    def test_udp_goes_where_the_next_hop_says(self) -> None:
        """Another host or port, or a maddr, is another flow; a missing port is 5060."""
        self.assertTrue(self._stays("sip:b@203.0.113.7", Flow()))
        self.assertTrue(self._stays("sip:b@203.0.113.7:5060", Flow()))
        self.assertTrue(self._stays("sip:b@203.0.113.7;transport=UDP", Flow()))
        self.assertFalse(self._stays("sip:b@203.0.113.7;transport=tcp", Flow()))
        for hop in ("sip:b@203.0.113.7:5080", "sip:b@203.0.113.8", "sip:b@203.0.113.7;maddr=203.0.113.9"):
            self.assertFalse(self._stays(hop, Flow()), hop)

    def test_hop_that_cannot_be_resolved_keeps_the_flow(self) -> None:
        """A tel URI as remote target leads nowhere else."""
        self.assertTrue(self._stays("tel:+4930123", Flow()))


class SecuredTests(SynchronousTestCase):
    """`is_secured`."""

    def test_rows(self) -> None:
        """Each row: a request URI and fields, and whether that is to be kept secure."""
        for uri, headers, expected in (
            ("sip:bob@example.com", (), False),
            ("sips:bob@example.com", (), True),
            ("sip:bob@example.com;transport=tls", (), False),
            ("tel:+4930", (), False),
            ("sip:bob@example.com", [("Route", "<sips:edge.example.com;lr>")], True),
            ("sip:bob@example.com", [("Record-Route", "<sips:edge.example.com;lr>, <sip:b.example.com;lr>")], True),
            ("sip:bob@example.com", [("Record-Route", "<sip:b.example.com;lr>, <sips:edge.example.com;lr>")], False),
            ("sip:bob@example.com", [("Contact", "<sips:alice@example.com>")], True),
            ("sip:bob@example.com", [("Record-Route", "<sip:b.example.com;lr>"), ("Contact", "<sips:a@b>")], False),
            ("sips:example.com", [("Contact", "*")], True),
        ):
            self.assertEqual(is_secured(Request("INVITE", uri, Headers(headers))), expected, (uri, headers))
