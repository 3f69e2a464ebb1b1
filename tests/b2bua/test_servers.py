"""Calls to a carrier by its name: the explanation says which servers were found, tried and left (RFC 3263)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sipd.routing.rules import StaticRoute
from sipd.sip.locate import Transport
from sipd.testing import builders
from sipd.testing.calls import PeerCall
from sipd.testing.nameserver import NameServer, address, pointer, service
from sipd.transport.cache import NameCache
from sipd.transport.dns import NameClient
from sipd.transport.names import DomainNames
from sipd.transport.resolver import Resolver
from tests.b2bua.support import BridgeCase
from tests.ua.support import Wire

NAMES, FIRST, SECOND = "192.0.2.53", "192.0.2.61", "192.0.2.62"


class CarrierTests(BridgeCase):
    """A carrier with two servers, the first of which fails."""

    routes: Sequence[StaticRoute] = (
        StaticRoute(name="carrier", user=re.compile(r"\d+"), to="sip:{0}@carrier.example"),
        StaticRoute(name="secure", user=re.compile("secure"), to="sips:secure@carrier.example"),
    )

    def setUp(self) -> None:
        """Add the carrier and its name server."""
        super().setUp()
        self.names = NameServer(self.network.host(NAMES), NAMES)
        self.names.records["carrier.example"] = [
            pointer("SIPS+D2T", "_sips._tcp.carrier.example", order=1),
            pointer("SIP+D2U", "_sip._udp.carrier.example", order=2),
        ]
        self.names.records["_sip._udp.carrier.example"] = [
            service("first.carrier.example", 5060, priority=1),
            service("second.carrier.example", 5060, priority=2),
        ]
        self.names.records["first.carrier.example"] = [address(FIRST), address("2001:db8::61")]
        self.names.records["second.carrier.example"] = [address(SECOND)]
        host: Any = self.server.host
        cache = NameCache(NameClient(host, lambda: [(NAMES, 53)]), host)
        self.server.agent.resolver = Resolver(
            host,
            names=DomainNames(cache),
            points=lambda: self.server.transport.points,
            entropy=self.network.entropy,
        )
        self.first, self.second = Wire(self.network, FIRST), Wire(self.network, SECOND)

    def calling(self) -> PeerCall:
        """Let Alice call."""
        call = self.alice.call("123")
        self.clock.advance(0.5)
        return call

    def answered(self, call: PeerCall, wire: Wire, host: str) -> None:
        """Let a server answer, and Alice hang up."""
        invite = wire.request("INVITE")
        wire.send(
            builders.response(
                invite, 200, to_tag="t", contact=f"<sip:c@{host}>", body=builders.sdp_answer(invite.body, host)
            )
        )
        self.clock.advance(0.5)
        self.assertTrue(call.is_answered)
        call.hang_up()
        self.clock.advance(0.5)
        wire.send(builders.response(wire.request("BYE"), 200))

    def test_overloaded(self) -> None:
        """503 leads to the next server, with a new branch; the explanation names both and the reason."""
        call = self.calling()
        refused = self.first.request("INVITE")
        self.first.send(builders.response(refused, 503, "Too Busy"))
        self.clock.advance(0.5)
        invite = self.second.request("INVITE")
        self.assertNotEqual(invite.via.branch, refused.via.branch)
        self.assertEqual((invite.call_id, invite.cseq.number), (refused.call_id, refused.cseq.number))
        self.answered(call, self.second, SECOND)
        record = self.finish()
        self.assertEqual((record.status, len(record.attempts)), (200, 1))
        text = self.explanation()
        self.assertIn(f"targets: UDP {FIRST}:5060, UDP {SECOND}:5060", text)
        self.assertIn(f"UDP {FIRST}:5060: 503 Too Busy; trying the next target, UDP {SECOND}:5060", text)

    def test_silent(self) -> None:
        """A server that says nothing costs four seconds, once; the next call goes to the other one at once."""
        call = self.calling()
        self.clock.advance(3.6)
        self.answered(call, self.second, SECOND)
        self.second.take()
        call = self.calling()
        self.answered(call, self.second, SECOND)
        self.settle()
        self.assertEqual(len({message.call_id for message in self.first.take()}), 1)
        first, second = (self.server.explanations.explain(record.id) for record in self.server.records.records)
        self.assertIn(f"UDP {FIRST}:5060: nothing heard within 4 s; trying the next target", "\n".join(first))
        self.assertIn(f"targets: UDP {SECOND}:5060, UDP {FIRST}:5060", "\n".join(second))

    def test_all_fail(self) -> None:
        """When no server takes the call its last 503 is the cause, for which the caller gets 500 (section 16.7)."""
        self.calling()
        for wire in (self.first, self.second):
            wire.send(builders.response(wire.request("INVITE"), 503))
            self.clock.advance(0.5)
        record = self.finish()
        self.assertEqual((record.status, record.cause), (500, "sip:503"))

    def test_secure(self) -> None:
        """A `sips` route does not fall back to what is not secure: nothing here speaks TLS, so nothing is sent."""
        self.alice.call("secure")
        self.clock.advance(2.0)
        record = self.finish()
        self.assertEqual((self.first.kinds(), self.second.kinds()), ([], []))
        self.assertEqual(record.status, 502)
        self.assertNotIn(Transport.TLS, {point.transport for point in self.server.transport.points})

    def test_caller_gives_up_meanwhile(self) -> None:
        """A caller that gives up while the first server is silent is not called for at the second."""
        call = self.calling()
        call.hang_up()
        self.clock.advance(10.0)
        self.assertEqual(self.second.kinds(), [])
        self.assertEqual(self.finish().status, 487)

    def test_name_server_is_gone(self) -> None:
        """Without an answer about the name the call fails after five seconds, and the phrase says why."""
        self.names.is_silent = True
        self.calling()
        self.clock.advance(5.0)
        record = self.finish()
        self.assertEqual((record.status, record.cause), (502, "UnresolvableError"))
        self.assertIn("from DNS within 5 s", record.reason)
