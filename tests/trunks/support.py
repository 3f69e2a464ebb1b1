"""Trunks of a user agent on a simulated network, with servers whose answers are the test's."""

from __future__ import annotations

import ipaddress
from typing import Any

from zope.interface import implementer

from sipd.interfaces import RoutingRequest
from sipd.sip.locate import Target, Transport
from sipd.sip.message import Request
from sipd.sip.registrant import RegistrationTiming
from sipd.sip.uri import SipUri
from sipd.testing import builders
from sipd.trunks.interfaces import ITrunkObserver
from sipd.trunks.settings import HealthSettings, OperatorState, TrunkServer, TrunkSettings
from sipd.trunks.trunks import Trunks
from sipd.ua.registering import RegistrationEvent, RegistrationSettings
from tests.ua.support import OTHER, THEM, US, AgentCase, Wire

FIRST, SECOND = SipUri(THEM), SipUri(OTHER)
AOR = SipUri("carrier.example", "4930123")
NO_OPTIONS = HealthSettings(interval=0.0)


@implementer(ITrunkObserver)
class Watcher:
    """Keeps what it is told, a line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def take(self) -> list[str]:
        """Give what came since the last time."""
        lines, self.lines = self.lines, []
        return lines

    def server_changed(self, trunk: str, server: SipUri, reason: str, *, is_up: bool) -> None:
        """See `ITrunkObserver`."""
        self.lines.append(f"{trunk} {server} {'up' if is_up else 'down'}: {reason}")

    def server_rests(self, trunk: str, server: SipUri, seconds: float) -> None:
        """See `ITrunkObserver`."""
        self.lines.append(f"{trunk} {server} rests {seconds:g}")

    def registration_changed(self, trunk: str, event: RegistrationEvent) -> None:
        """See `ITrunkObserver`."""
        self.lines.append(f"{trunk} {type(event).__name__}")

    def operator_set(self, trunk: str, state: OperatorState) -> None:
        """See `ITrunkObserver`."""
        self.lines.append(f"{trunk} {state.value}")


class TrunksCase(AgentCase):
    """Trunks, with servers at `THEM` and `OTHER`."""

    def setUp(self) -> None:
        super().setUp()
        self.other = Wire(self.network, OTHER)
        self.watcher = Watcher()

    def trunks(self, *settings: TrunkSettings, **options: Any) -> Trunks:
        """Make trunks, and start them."""
        trunks = Trunks(self.agent, settings, observers=(self.watcher,), **options)
        self.addCleanup(trunks.close)
        trunks.start()
        self.clock.advance(0.1)
        return trunks

    def register(self, wire: Wire | None = None) -> Request:
        """Give the last REGISTER that came."""
        return (wire or self.them).request("REGISTER")

    def respond(self, method: str, status: int, *, wire: Wire | None = None, **options: Any) -> None:
        """Answer the last request of a method."""
        where = wire or self.them
        where.send(builders.response(where.request(method), status, **options))
        self.clock.advance(0.1)

    def grant(self, *, wire: Wire | None = None, headers: Any = ()) -> None:
        """Grant what was asked for last."""
        contact = f"{self.register(wire).headers.get('Contact')};expires=600"
        self.respond("REGISTER", 200, wire=wire, headers=[("Contact", contact), *headers])

    def answer_options(self, status: int, *, times: int = 1, wire: Wire | None = None, **options: Any) -> None:
        """Answer so many OPTIONS, each when it comes."""
        where = wire or self.them
        for _ in range(times):
            where.take()
            self.assertTrue(self.clock.run_until(lambda: where.messages, limit=100.0), "no OPTIONS")
            self.respond("OPTIONS", status, wire=where, **options)

    def tearDown(self) -> None:
        for line in self.watcher.lines:
            self.assertNotIn("secret", line)


def static(name: str = "carrier", *servers: TrunkServer, **options: Any) -> TrunkSettings:
    """Give a trunk with servers, the first at `THEM`, that nobody asks whether they are there."""
    return TrunkSettings(name=name, servers=servers or (TrunkServer(FIRST),), **{"health": NO_OPTIONS, **options})


def registering(name: str = "carrier", *registrars: SipUri, **options: Any) -> TrunkSettings:
    """Give a trunk that registers, and is asked whether it is there by nobody."""
    wanted = RegistrationSettings(
        aor=AOR,
        registrars=registrars or (FIRST,),
        contact_user=options.pop("contact_user", ""),
        timing=RegistrationTiming(expires=600, retry_base=200.0, retry_limit=400.0),
        keepalive=0.0,
    )
    return TrunkSettings(name=name, registration=wanted, **{"health": NO_OPTIONS, **options})


def asked() -> RoutingRequest:
    """Give a call that looks for its way."""
    return RoutingRequest(request=builders.invite(), user="alice", source=source(US), point="p")


def source(host: str, port: int = 5060) -> Target:
    """Give where something comes from."""
    return Target(transport=Transport.UDP, host=host, port=port)


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Read a network."""
    return ipaddress.ip_network(text)
