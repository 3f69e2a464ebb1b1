"""Tests of `sipd.transport.resolver`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.errors import UnresolvableError
from sipd.interfaces import IResolver
from sipd.sip.locate import Target
from sipd.sip.uri import parse_uri
from sipd.transport.resolver import MAX_TARGETS, Resolver, ResolverReactor
from tests.transport.support import TCP, TLS, UDP, reactor


@implementer(IHostResolution)
class Resolution:
    """One question."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Nothing is under way."""


@implementer(IHostnameResolver)
class Names:
    """Knows some names, and answers at once or when told to."""

    def __init__(self) -> None:
        self.hosts: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.waiting: list[Callable[[], None]] = []
        self.is_slow = False

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803 - the interface's name
        hostName: str,  # noqa: N803 - the interface's name
        portNumber: int = 0,  # noqa: N803 - the interface's name
        addressTypes: Sequence[object] | None = None,  # noqa: N803 - the interface's name
        transportSemantics: str = "TCP",  # noqa: N803 - the interface's name
    ) -> IHostResolution:
        """See `IHostnameResolver`."""
        self.asked.append(hostName)
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)

        def answer() -> None:
            for host in self.hosts.get(hostName, []):
                kind = IPv6Address if ":" in host else IPv4Address
                resolutionReceiver.addressResolved(kind("TCP", host, portNumber))
            resolutionReceiver.addressResolved(UNIXAddress(b"/x"))
            resolutionReceiver.resolutionComplete()

        if self.is_slow:
            self.waiting.append(answer)
        else:
            answer()
        return resolution


class Reactor(Clock):
    """Time and names."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = Names()


class ResolverTests(SynchronousTestCase):
    """From URIs to targets."""

    def setUp(self) -> None:
        """Make a resolver."""
        self.reactor = Reactor()
        self.names = self.reactor.nameResolver
        self.resolver = Resolver(cast(ResolverReactor, self.reactor), timeout=5)

    def locate(self, text: str) -> Sequence[Target]:
        """Give the targets of a URI that is known at once."""
        targets: Sequence[Target] = self.successResultOf(self.resolver.locate(parse_uri(text)))
        return targets

    def reason(self, text: str) -> str:
        """Give why a URI cannot be resolved."""
        failure = self.failureResultOf(self.resolver.locate(parse_uri(text)), UnresolvableError)
        reason: str = failure.value.reason
        return reason

    def test_provides_the_interface(self) -> None:
        """It is a resolver, and what it asks here is one that Twisted has."""
        verifyObject(IResolver, self.resolver)
        verifyObject(IHostnameResolver, self.names)

    def test_numeric(self) -> None:
        """A numeric host needs nobody; an IPv6 address is written as the kernel writes it."""
        self.assertEqual(
            self.locate("sip:a@192.0.2.1;transport=tcp"),
            (Target(transport=TCP, host="192.0.2.1", port=5060, server_name="192.0.2.1"),),
        )
        self.assertEqual(
            self.locate("sips:[2001:DB8:0::1]:5071"),
            (Target(transport=TLS, host="2001:db8::1", port=5071, server_name="2001:db8:0::1"),),
        )
        self.assertEqual(self.names.asked, [])

    def test_name(self) -> None:
        """Each address of a name, IPv4 or IPv6, is a target in the order of the answer, with the name to verify."""
        self.names.hosts["example.com"] = ["2001:db8::1", "192.0.2.1", "192.0.2.1"]
        self.assertEqual(
            self.locate("sips:a@Example.com"),
            tuple(
                Target(transport=TLS, host=host, port=5061, server_name="example.com")
                for host in ("2001:db8::1", "192.0.2.1")
            ),
        )

    def test_maddr(self) -> None:
        """`maddr` is where to go; what to verify stays the host."""
        self.names.hosts["edge.example.com"] = ["192.0.2.5"]
        self.assertEqual(
            self.locate("sip:a@example.com;maddr=edge.example.com"),
            (Target(transport=UDP, host="192.0.2.5", port=5060, server_name="example.com"),),
        )

    def test_unresolvable(self) -> None:
        """Each reason is told at once, and apart from others (lesson 12)."""
        self.assertEqual(self.reason("sip:nobody.example.com"), "nobody.example.com has no address")
        self.assertIn("names no server", self.reason("tel:+4930123"))
        self.assertIn("is not spoken", self.reason("sip:example.com;transport=sctp"))
        self.assertIn("cannot be reached over udp", self.reason("sips:example.com;transport=udp"))
        asked = len(self.names.asked)
        self.assertIn("is no host name", self.reason("sip:" + "a" * 64 + ".example.com"))
        self.assertIn("is no host name", self.reason("sip:" + "a." * 200 + "example"))
        self.assertIn("is no host name", self.reason("sip:a..example"))
        self.assertEqual(len(self.names.asked), asked)

    def test_no_answer(self) -> None:
        """A name server that says nothing costs a few seconds, and its late answer nothing."""
        self.names.is_slow = True
        found = self.resolver.locate(parse_uri("sip:example.com"))
        self.reactor.advance(4.9)
        self.assertNoResult(found)
        self.reactor.advance(0.1)
        reason = self.failureResultOf(found, UnresolvableError).value.reason
        self.assertEqual(reason, "No answer about example.com from DNS within 5 s")
        self.names.waiting[0]()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_bounded(self) -> None:
        """A name with very many addresses gives as many targets as are worth trying."""
        self.names.hosts["many.example.com"] = [f"192.0.2.{last}" for last in range(200)]
        self.assertEqual(len(self.locate("sip:many.example.com")), MAX_TARGETS)


class ReactorTests(TestCase):
    """The same with the reactor's own name resolver."""

    async def test_name_of_this_machine(self) -> None:
        """A name from the hosts file gives its addresses."""
        targets = await Resolver(reactor).locate(parse_uri("sip:localhost:5070"))
        self.assertTrue({target.host for target in targets} <= {"127.0.0.1", "::1"})
        self.assertEqual({target.port for target in targets}, {5070})
