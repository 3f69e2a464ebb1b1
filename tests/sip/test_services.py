"""Tests of `sipd.sip.services`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.sip.locate import Transport
from sipd.sip.services import NamingPointer, ServiceRecord, choose_pointers, order_services, service_name

UDP, TCP, TLS, WS, WSS = Transport.UDP, Transport.TCP, Transport.TLS, Transport.WS, Transport.WSS
SPOKEN = (UDP, TCP, TLS)


def server(host: str, priority: int = 1, weight: int = 0) -> ServiceRecord:
    """Give an SRV record."""
    return ServiceRecord(priority=priority, weight=weight, port=5060, host=host)


def pointer(order: int, preference: int, service: str, **fields: str) -> NamingPointer:
    """Give a NAPTR record."""
    values = {"flags": "s", "regexp": "", "replacement": f"{service.lower()}.example.com", **fields}
    return NamingPointer(order=order, preference=preference, service=service, **values)


def seeded(seed: int) -> Callable[[int], int]:
    """Give a source of numbers."""
    source = random.Random(seed)
    return lambda largest: source.randint(0, largest)


RECORDS = st.lists(
    st.builds(
        ServiceRecord,
        priority=st.integers(0, 3),
        weight=st.integers(0, 65535),
        port=st.integers(1, 65535),
        host=st.sampled_from(["a", "b", "c", "d"]),
    ),
    max_size=12,
    unique=True,
)


class OrderTests(SynchronousTestCase):
    """RFC 2782."""

    @settings(deadline=None, max_examples=200)
    @given(records=RECORDS, seed=st.integers(0, 2**32))
    def test_each_once_by_priority(self, records: list[ServiceRecord], seed: int) -> None:
        """Whatever chance says, every server is there once, and none before one of a lower priority number."""
        ordered = order_services(records, seeded(seed))
        self.assertEqual(Counter(ordered), Counter(records))
        self.assertEqual([one.priority for one in ordered], sorted(one.priority for one in records))

    @settings(deadline=None, max_examples=100)
    @given(records=RECORDS, number=st.integers(0, 2**20))
    def test_numbers_within_bounds(self, records: list[ServiceRecord], number: int) -> None:
        """Chance is asked for numbers up to the sum of the weights that are left, both ends included."""
        for pick in (lambda largest: 0, lambda largest: largest, lambda largest: number % (largest + 1)):
            self.assertEqual(Counter(order_services(records, pick)), Counter(records))

    def test_weights(self) -> None:
        """Servers come first as often as their weights say, within what chance allows."""
        records = [server("a", weight=10), server("b", weight=30), server("c", weight=60)]
        pick = seeded(1)
        first = Counter(order_services(records, pick)[0].host for _ in range(10_000))
        for host, share in (("a", 10), ("b", 30), ("c", 60)):
            self.assertLess(abs(first[host] / 100 - share), 2)

    def test_second_place(self) -> None:
        """The weights of those that are left decide about the second place: 0 and 1 of 0 to 4 are the lighter one's."""
        records = [server("a", weight=1), server("b", weight=3), server("c", weight=96)]
        pick = seeded(2)
        orders = Counter(tuple(one.host for one in order_services(records, pick)) for _ in range(10_000))
        after_c = {order: count for order, count in orders.items() if order[0] == "c"}
        self.assertLess(abs(after_c["c", "b", "a"] / sum(after_c.values()) - 0.6), 0.03)

    def test_without_weight(self) -> None:
        """A server of weight 0 beside others has a very small chance, and is not without one."""
        records = [server("none", weight=0), server("all", weight=99)]
        pick = seeded(3)
        first = Counter(order_services(records, pick)[0].host for _ in range(10_000))
        self.assertTrue(20 < first["none"] < 300, first)

    def test_no_weights_at_all(self) -> None:
        """Where nobody has a weight, each server has its turn."""
        pick = seeded(4)
        first = Counter(order_services([server("a"), server("b"), server("c")], pick)[0].host for _ in range(3000))
        for host in "abc":
            self.assertLess(abs(first[host] - 1000), 120)

    def test_nothing(self) -> None:
        """No records, no servers."""
        self.assertEqual(order_services([], seeded(1)), [])


class PointerTests(SynchronousTestCase):
    """RFC 3263 section 4.1."""

    def test_order(self) -> None:
        """Order comes before preference; the domain's wish counts, not ours."""
        pointers = [pointer(50, 90, "SIP+D2U"), pointer(50, 50, "SIPS+D2T"), pointer(10, 99, "SIP+D2T")]
        chosen = choose_pointers(pointers, spoken=SPOKEN, is_secure=False)
        self.assertEqual([transport for transport, _ in chosen], [TCP, TLS, UDP])
        self.assertEqual(chosen[0], (TCP, "sip+d2t.example.com"))

    def test_sips(self) -> None:
        """A `sips` URI goes nowhere but to secure services, whatever the domain prefers."""
        pointers = [pointer(1, 1, "SIP+D2U"), pointer(1, 2, "SIP+D2T"), pointer(1, 3, "SIPS+D2T")]
        self.assertEqual(choose_pointers(pointers, spoken=SPOKEN, is_secure=True), [(TLS, "sips+d2t.example.com")])

    def test_not_spoken(self) -> None:
        """Services that are not spoken here, or not known at all, are passed over."""
        pointers = [
            pointer(1, 1, "SIP+D2S"),
            pointer(1, 2, "SIP+D2W"),
            pointer(1, 3, "E2U+SIP"),
            pointer(1, 4, "SIP+D2T"),
        ]
        self.assertEqual(choose_pointers(pointers, spoken=(UDP, TLS), is_secure=False), [])
        self.assertEqual([one for one, _ in choose_pointers(pointers, spoken=SPOKEN, is_secure=False)], [TCP])

    def test_not_terminal(self) -> None:
        """A record that leads to no SRV records is passed over: other flags, a regular expression, no replacement."""
        for fields in ({"flags": "u"}, {"flags": ""}, {"regexp": "!.*!sip:a@b!"}, {"replacement": ""}):
            self.assertEqual(
                choose_pointers([pointer(1, 1, "SIP+D2U", **fields)], spoken=SPOKEN, is_secure=False), [], fields
            )

    def test_spelling(self) -> None:
        """Case does not matter, and the same record twice counts once."""
        pointers = [pointer(1, 1, "sip+d2u", flags="S", replacement="x"), pointer(1, 1, "SIP+D2U", replacement="x")]
        self.assertEqual(choose_pointers(pointers, spoken=SPOKEN, is_secure=False), [(UDP, "x")])


class NameTests(SynchronousTestCase):
    """Names of SRV records."""

    def test_names(self) -> None:
        """TLS is looked for as `_sips._tcp`; WebSocket has no SRV records."""
        self.assertEqual(service_name(UDP, "example.com"), "_sip._udp.example.com")
        self.assertEqual(service_name(TCP, "example.com"), "_sip._tcp.example.com")
        self.assertEqual(service_name(TLS, "example.com"), "_sips._tcp.example.com")
        self.assertEqual([service_name(transport, "example.com") for transport in (WS, WSS)], ["", ""])
