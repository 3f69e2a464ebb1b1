"""Tests of `sipd.media.traversal.servers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.errors import ConfigurationError
from sipd.media.traversal.errors import TraversalError
from sipd.media.traversal.servers import ServerKind, TraversalServer, find_address


@implementer(IHostResolution)
class Resolution:
    """A resolution that is over."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """See ``IHostResolution``."""


@implementer(IHostnameResolver)
class Names:
    """Knows one name."""

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803 (the interface's name)
        hostName: str,  # noqa: N803 (the interface's name)
        portNumber: int = 0,  # noqa: N803 (the interface's name)
        addressTypes: Sequence[type[IAddress]] | None = None,  # noqa: N803 (the interface's name)
        transportSemantics: str = "TCP",  # noqa: N803 (the interface's name)
    ) -> IHostResolution:
        """See ``IHostnameResolver``."""
        receiver = resolutionReceiver
        resolution = Resolution(hostName)
        receiver.resolutionBegan(resolution)
        if hostName == "turn.example.org":
            receiver.addressResolved(IPv6Address("TCP", "2001:db8::10", 0))
            receiver.addressResolved(IPv4Address("TCP", "192.0.2.10", 0))
        receiver.resolutionComplete()
        return resolution


class Reactor:
    """The part of a reactor that has it."""

    def __init__(self) -> None:
        self.nameResolver = Names()


class UriTests(SynchronousTestCase):
    """RFC 7064, RFC 7065."""

    def test_read(self) -> None:
        """Host, port and transport are read; the port is 3478 by default."""
        for text, server in (
            ("stun:stun.example.org", TraversalServer(ServerKind.STUN, "stun.example.org", 3478)),
            ("STUN:192.0.2.1:19302", TraversalServer(ServerKind.STUN, "192.0.2.1", 19302)),
            ("stun:[2001:DB8::1]:5000", TraversalServer(ServerKind.STUN, "2001:db8::1", 5000)),
            ("turn:turn.example.org", TraversalServer(ServerKind.TURN, "turn.example.org", 3478)),
            ("turn:turn.example.org:5000?transport=udp", TraversalServer(ServerKind.TURN, "turn.example.org", 5000)),
            ("turn:[2001:db8::1]?transport=UDP", TraversalServer(ServerKind.TURN, "2001:db8::1", 3478)),
        ):
            self.assertEqual(TraversalServer.parse(text), server)

    def test_written(self) -> None:
        """A server is written as its URI."""
        for text in ("stun:stun.example.org:3478", "turn:[2001:db8::1]:5000"):
            self.assertEqual(str(TraversalServer.parse(text)), text)

    def test_refused(self) -> None:
        """What is no such URI, or is of TLS or TCP, is a mistake in the configuration."""
        for text in (
            "",
            "stun.example.org",
            "stun:",
            "http:example.org",
            "stun://example.org",
            "stun:alice@example.org",
            "stun:example.org:0",
            "stun:example.org:65536",
            "stun:example.org:x",
            "stun:example.org?transport=udp",
            "stun:[::1",
            "stun:[::zz]",
            "stun:[1.2.3]",
            "stuns:example.org",
            "turns:example.org",
            "turn:example.org?transport=tcp",
            "turn:example.org?x=y",
            "stun:example.org\n",
            "stun:" + "x" * 300,
        ):
            self.assertRaises(ConfigurationError, TraversalServer.parse, text)


class AddressTests(SynchronousTestCase):
    """From a name to an address."""

    def setUp(self) -> None:
        """Make the names."""
        self.reactor = cast(IReactorPluggableNameResolver, Reactor())

    def test_fakes(self) -> None:
        """The names of this test, and what they give, are what Twisted says."""
        verifyObject(IHostnameResolver, self.reactor.nameResolver)
        verifyObject(IHostResolution, Resolution("x"))

    def test_found(self) -> None:
        """A name has its first address of the version of IP that is wanted; a numeric host is one."""
        server = TraversalServer(ServerKind.TURN, "turn.example.org", 5000)
        self.assertEqual(self.successResultOf(find_address(self.reactor, server)), ("192.0.2.10", 5000))
        found = find_address(self.reactor, server, version=6)
        self.assertEqual(self.successResultOf(found), ("2001:db8::10", 5000))
        numeric = TraversalServer(ServerKind.STUN, "192.0.2.1")
        self.assertEqual(self.successResultOf(find_address(self.reactor, numeric)), ("192.0.2.1", 3478))

    def test_not_found(self) -> None:
        """A name without an address of that version is a failure."""
        for host, version in (("nowhere.example.org", 4), ("192.0.2.1", 6)):
            deferred = find_address(self.reactor, TraversalServer(ServerKind.STUN, host), version=version)
            self.assertIn(host, str(self.failureResultOf(deferred, TraversalError).value))
