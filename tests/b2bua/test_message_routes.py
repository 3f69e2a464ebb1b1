"""Where messages outside of calls go: several phones, gateways, loops."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sipd.interfaces import Credentials
from sipd.routing.rules import StaticRoute
from sipd.sip.locate import Transport
from sipd.sip.message import Request
from sipd.sip.uri import parse_uri
from sipd.testing import builders
from sipd.testing.stack import SimulatedServer
from tests.b2bua.support import SIPD, USERS
from tests.b2bua.writing import MessageCase, answering, silent
from tests.ua.support import Wire

DESK, MOBILE, GATEWAY, SPARE = "192.0.2.5", "192.0.2.6", "192.0.2.7", "192.0.2.8"


class ForkTests(MessageCase):
    """Bob has two more phones."""

    def setUp(self) -> None:
        """They are not registered yet."""
        super().setUp()
        self.desk = self.phone(DESK, "bob", register=False)
        self.mobile = self.phone(MOBILE, "bob", register=False)

    def prefer(self, *qs: str) -> None:
        """Register the desk phone, the mobile and the first phone with these preferences."""
        self.bob.unregister()
        self.clock.advance(1.0)
        for peer, q in zip((self.desk, self.mobile, self.bob), qs, strict=True):
            self.register(peer, q)

    def counts(self) -> list[int]:
        """Say how many messages each phone has."""
        return [len(peer.messages) for peer in (self.desk, self.mobile, self.bob)]

    def test_first_2xx_wins(self) -> None:
        """Phones of equal preference get it together, and one that takes it is enough; the silent one had it, too."""
        self.prefer("0.5", "0.5", "0.5")
        self.desk.on_message = silent
        self.mobile.on_message = answering(480)
        self.bob.on_message = answering(202)
        self.assertEqual(self.answer(self.alice.message("bob"), 0.5).status, 202)
        self.assertEqual(self.counts(), [1, 1, 1])

    def test_is_one_message_for_all(self) -> None:
        """Call-ID, From tag and CSeq are the same for all phones: one that is reached twice can tell (8.2.2.2)."""
        self.prefer("0.5", "0.5", "0.5")
        self.answer(self.alice.message("bob"))
        messages = [peer.messages[0] for peer in (self.desk, self.mobile, self.bob)]
        self.assertEqual(len({(one.call_id, one.from_.tag, one.cseq) for one in messages}), 1)
        self.assertEqual(len({one.via.branch for one in messages}), 3)

    def test_best_refusal(self) -> None:
        """When all refuse, the sender gets the refusal that helps most, as for calls (16.7)."""
        self.prefer("0.5", "0.5", "0.5")
        for peer, status in ((self.desk, 500), (self.mobile, 404), (self.bob, 415)):
            peer.on_message = answering(status)
        self.assertEqual(self.answer(self.alice.message("bob")).status, 415)
        for text in ("500 ", "404 ", "415 "):
            self.assertIn(f":5060: {text}", self.lines[0])

    def test_next_after_refusals(self) -> None:
        """A phone of lower preference gets it when those before have refused it, and not if one took it."""
        self.prefer("0.9", "0.5", "0.1")
        self.desk.on_message = answering(486)
        self.assertEqual(self.answer(self.alice.message("bob"), 0.5).status, 200)
        self.assertEqual(self.counts(), [1, 1, 0])

    def test_next_after_silence(self) -> None:
        """A silent phone delays those of lower preference by four seconds; its late 2xx still counts."""
        self.prefer("0.9", "0.5", "0.1")
        late: list[Request] = []
        self.desk.on_message = lambda message: late.append(message)
        self.mobile.on_message = answering(480)
        self.bob.on_message = silent
        waiting = self.alice.message("bob")
        self.clock.advance(3.9)
        self.assertEqual(self.counts(), [1, 0, 0])
        self.clock.advance(0.3)
        self.assertEqual(self.counts(), [1, 1, 0])
        self.clock.advance(4.0)
        self.assertEqual(self.counts(), [1, 1, 1])
        self.desk.exchanges.send(builders.response(late[0], 202), (SIPD, 5060))
        self.assertEqual(self.answer(waiting, 0.5).status, 202)
        self.bob.close()

    def test_each_round_has_its_time(self) -> None:
        """The four seconds begin anew with each round."""
        self.prefer("0.9", "0.5", "0.1")
        late: list[Request] = []
        self.desk.on_message = lambda message: late.append(message)
        self.mobile.on_message = silent
        waiting = self.alice.message("bob")
        self.clock.advance(2.0)
        self.desk.exchanges.send(builders.response(late[0], 486), (SIPD, 5060))
        self.clock.advance(3.5)
        self.assertEqual(self.counts(), [1, 1, 0])
        self.assertEqual(self.answer(waiting).status, 200)
        self.assertEqual(self.counts(), [1, 1, 1])

    def test_declined_for_all(self) -> None:
        """After a 6xx no further phone gets it; a 2xx of one that has it already is still better (16.7 step 5)."""
        self.prefer("0.9", "0.9", "0.1")
        self.desk.on_message = answering(603)
        late: list[Request] = []
        self.mobile.on_message = lambda message: late.append(message)
        waiting = self.alice.message("bob")
        self.clock.advance(10.0)
        self.assertNoResult(waiting)
        self.mobile.exchanges.send(builders.response(late[0], 200), (SIPD, 5060))
        self.assertEqual(self.answer(waiting).status, 200)
        self.mobile.on_message = answering(486)
        self.assertEqual(self.answer(self.alice.message("bob")).status, 603)
        self.assertEqual(self.counts(), [2, 2, 0])

    def test_late_challenge(self) -> None:
        """What phones say after the sender has its answer changes nothing."""
        self.prefer("0.5", "0.5", "0.5")
        late: list[Request] = []
        self.desk.on_message = lambda message: late.append(message)
        self.assertEqual(self.answer(self.alice.message("bob")).status, 200)
        self.desk.exchanges.send(builders.response(late[0], 407), (SIPD, 5060))
        self.clock.advance(1.0)
        self.assertEqual(len(self.seen(self.alice, 200)), 2)

    def test_contacts_that_lead_back(self) -> None:
        """Ten contacts at this very server are ten requests, not ten for each of ten: 482 (RFC 5393 section 3)."""
        self.bob.unregister()
        gone = self.phone(GATEWAY, "bob", transport=Transport.TCP, register=False)
        gone.contact = ", ".join(f"<sip:bob@{SIPD};x={number}>" for number in range(10))
        gone.register()
        self.clock.advance(1.0)
        gone.close()
        self.clock.advance(1.0)
        self.assertEqual(len(self.server.location.lookup(self.bob.aor)), 10)
        before = len(self.network.log)
        self.assertEqual(self.answer(self.alice.message("bob")).status, 482)
        self.assertLess(len(self.network.log) - before, 100)

    def test_path(self) -> None:
        """The Path of a registration is its Route (RFC 3327)."""
        self.bob.unregister()
        self.clock.advance(1.0)
        path = [("Path", f"<sip:{GATEWAY};lr>")]
        self.bob.ask(builders.register(self.bob.aor, "<sip:bob@10.0.0.9>", via=None, headers=path))
        self.clock.advance(1.0)
        self.assertEqual(self.answer(self.alice.message("bob")).status, 200)
        self.assertEqual(self.bob.messages[0].uri_text, "sip:bob@10.0.0.9")
        self.assertEqual(self.bob.messages[0].headers.get_all("Route"), [f"<sip:{GATEWAY};lr>"])


class RouteTests(MessageCase):
    """Static routes."""

    routes: Sequence[StaticRoute] = (
        StaticRoute(
            name="short",
            user=re.compile("gw(.*)"),
            to="sip:{1}@carrier.example",
            next_hop=parse_uri(f"sip:{GATEWAY}"),
            credentials=Credentials(username="office", password="secret"),
        ),
        StaticRoute(name="open", user=re.compile("help"), to="sip:bob@example.com", authenticate=False),
        StaticRoute(name="barred", user=re.compile("0900.*"), refusal=(403, "Barred")),
        StaticRoute(name="dead", user=re.compile("dead"), to=f"sip:dead@{GATEWAY}:5999;transport=tcp"),
        StaticRoute(name="self", user=re.compile("self"), to=f"sip:self@{SIPD}:5060", authenticate=False),
        StaticRoute(name="strange", user=re.compile("fax"), to="fax:1"),
    )

    def setUp(self) -> None:
        """Add the gateway."""
        super().setUp()
        self.gateway = Wire(self.network, GATEWAY)

    def test_next_hop(self) -> None:
        """It goes to the next hop with the URI that the route makes, and the answer comes back."""
        waiting = self.alice.message("gw123")
        self.clock.advance(0.2)
        message = self.gateway.request("MESSAGE")
        self.assertEqual((message.uri_text, message.body), ("sip:123@carrier.example", b"hello"))
        self.gateway.send(builders.response(message, 202))
        self.assertEqual(self.answer(waiting, 0.2).status, 202)
        self.assertIn("route short: taken; route short: 202 Accepted", self.lines[0])

    def test_challenge(self) -> None:
        """A challenge of the other side is answered with the route's credentials, in a request with the next CSeq."""
        waiting = self.alice.message("gw123")
        self.clock.advance(0.2)
        first = self.gateway.request("MESSAGE")
        challenge = [("WWW-Authenticate", 'Digest realm="carrier", nonce="n", algorithm=MD5, qop="auth"')]
        self.gateway.send(builders.response(first, 401, headers=challenge))
        self.clock.advance(0.2)
        second = self.gateway.request("MESSAGE")
        self.assertEqual((second.call_id, second.cseq.number), (first.call_id, 2))
        self.assertIn('username="office"', second.headers.get("Authorization") or "")
        self.gateway.send(builders.response(second, 200))
        self.assertEqual(self.answer(waiting, 0.2).status, 200)

    def test_rejected_credentials(self) -> None:
        """When they are wrong the sender is told 502: it is not the sender's password that is asked for."""
        waiting = self.alice.message("gw123")
        challenge = [("WWW-Authenticate", 'Digest realm="carrier", nonce="n", algorithm=MD5, qop="auth"')]
        for _ in range(2):
            self.clock.advance(0.2)
            message = self.gateway.request("MESSAGE")
            self.gateway.send(builders.response(message, 401, headers=challenge))
        response = self.answer(waiting, 0.2)
        self.assertEqual(response.status, 502)
        self.assertNotIn("WWW-Authenticate", response.headers)

    def test_open_route_to_a_user(self) -> None:
        """A route that asks for no proof leads to a user of ours."""
        self.carol._password = None
        self.assertEqual(self.answer(self.carol.message("help")).status, 200)
        self.assertEqual(len(self.bob.messages), 1)

    def test_refused_by_a_route(self) -> None:
        """A route may refuse."""
        response = self.answer(self.alice.message("0900555"))
        self.assertEqual((response.status, response.reason), (403, "Barred"))

    def test_connection_refused(self) -> None:
        """Where nobody listens the sender is told 502 at once."""
        self.assertEqual(self.answer(self.alice.message("dead"), 0.5).status, 502)

    def test_no_way_there(self) -> None:
        """A URI that names no server gives 502."""
        self.assertEqual(self.answer(self.alice.message("fax"), 0.5).status, 502)

    def test_loop(self) -> None:
        """A route that leads back is refused at its first hop with 482."""
        before = len(self.network.log)
        self.assertEqual(self.answer(self.alice.message("self"), 0.5).status, 482)
        self.assertLess(len(self.network.log) - before, 20)

    def test_two_servers(self) -> None:
        """Two servers that send it to each other spend its hops: 483."""
        there = StaticRoute(name="there", user=re.compile("ring"), to="sip:{0}@" + SPARE + ":5060", authenticate=False)
        back = StaticRoute(name="back", user=re.compile("ring"), to="sip:{0}@" + SIPD + ":5060", authenticate=False)
        self.server.b2bua.router._routes = (there,)  # type: ignore[attr-defined]
        SimulatedServer(self.network.host(SPARE), USERS, routes=(back,))
        self.assertEqual(self.answer(self.alice.message("ring"), 5.0).status, 483)
