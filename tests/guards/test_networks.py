"""Tests of `sipd.guards.networks`."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.guards.networks import AccessList, Network, NetworkTable, source_of

ADDRESSES = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda number: ip_address(0x0A000000 | number & 0x0F0F)),
    st.integers(0, 2**16 - 1).map(lambda number: ip_address((0x20010DB8 << 96) | number << 56)),
)


def networks() -> st.SearchStrategy[Network]:
    """Give small and large networks that such addresses lie in, and some that they do not."""
    return ADDRESSES.flatmap(
        lambda address: st.integers(0, address.max_prefixlen).map(
            lambda length: (
                ip_network((int(address), length), strict=False)
                if address.version == 6
                else IPv4Network((int(address), length), strict=False)
            )
        )
    )


class TableTests(SynchronousTestCase):
    """The smallest network that an address lies in."""

    def test_longest_match(self) -> None:
        """A smaller network says more than the one around it."""
        table = NetworkTable(
            [(IPv4Network("10.0.0.0/8"), "all"), (IPv4Network("10.1.0.0/16"), "some"), (IPv4Network("10.1.2.3"), "one")]
        )
        found = [table.find(host) for host in ("10.9.9.9", "10.1.9.9", "10.1.2.3", "11.0.0.1", "2001:db8::1", "name")]
        self.assertEqual(found, ["all", "some", "one", None, None, None])

    def test_mapped_addresses(self) -> None:
        """An IPv4 address is the same one when it is written as IPv6, in the table and in the question."""
        for network in (IPv4Network("192.0.2.0/24"), IPv6Network("::ffff:192.0.2.0/120")):
            table = NetworkTable([(network, True)])
            for host in ("192.0.2.7", "::ffff:192.0.2.7", "::ffff:c000:207"):
                self.assertTrue(table.find(host), (network, host))
            self.assertIsNone(table.find("192.0.3.7"))
        everything = NetworkTable([(IPv6Network("::/0"), True)])
        self.assertIsNone(everything.find("::ffff:192.0.2.7"))

    @given(st.lists(networks(), max_size=8), ADDRESSES)
    @settings(deadline=None, max_examples=200)
    def test_like_looking_at_all(self, known: list[Network], address: object) -> None:
        """It finds what looking at every network finds."""
        table = NetworkTable((network, str(network)) for network in known)
        around = [network for network in known if address in network]
        best = max(around, key=lambda network: network.prefixlen, default=None)
        self.assertEqual(table.find(str(address)), None if best is None else str(best))


class AccessTests(SynchronousTestCase):
    """Who is turned away."""

    def test_smallest_decides(self) -> None:
        """Exceptions of exceptions work; who lies in no network is listened to."""
        access = AccessList(
            allow=[IPv4Network("10.1.0.0/16")], deny=[IPv4Network("10.0.0.0/8"), IPv4Network("10.1.2.0/24")]
        )
        denied = {host: access.denies(host) for host in ("10.9.9.9", "10.1.9.9", "10.1.2.9", "192.0.2.1", "::1")}
        self.assertEqual(
            denied, {"10.9.9.9": True, "10.1.9.9": False, "10.1.2.9": True, "192.0.2.1": False, "::1": False}
        )

    def test_both(self) -> None:
        """A network that is allowed and denied is denied."""
        network = IPv4Network("10.0.0.0/8")
        self.assertTrue(AccessList(allow=[network], deny=[network]).denies("10.0.0.1"))

    def test_nothing(self) -> None:
        """Without networks everybody is listened to."""
        self.assertFalse(AccessList().denies("192.0.2.1"))


class SourceTests(SynchronousTestCase):
    """Who counts as one."""

    def test_sources(self) -> None:
        """An IPv4 address is a source however it is written; of IPv6 a /64 is; other text is left as it is."""
        for host, source in (
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("a:b", "a:b"),
            ("", ""),
        ):
            self.assertEqual(source_of(host), source)
