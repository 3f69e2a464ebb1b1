"""Where calls go: static routes, then registered users, and never to strangers."""

from __future__ import annotations

import ipaddress
import re

from zope.interface.verify import verifyObject

from sipd.interfaces import Credentials, Dtmf, EarlyMedia, ILocationService, IRouter
from sipd.routing.rules import StaticRoute
from sipd.sip.locate import Target, Transport
from tests.routing.case import Location, PlanCase, asked, binding


class RouteTableTests(PlanCase):
    """The decision for one call."""

    def test_provides_its_interface(self) -> None:
        """It is an IRouter, and its location service an ILocationService."""
        verifyObject(IRouter, self.table())
        verifyObject(ILocationService, Location())

    def test_refuses_to_relay(self) -> None:
        """A call to a domain that is not ours is refused with 403: there is no open relay."""
        route = self.route(self.table(), asked("sip:bob@elsewhere.example"))
        self.assertEqual(route.refusal, (403, "No Relay To Other Domains"))
        self.assertEqual(route.rounds, ())
        self.assertEqual(len(route.considered), 1)

    def test_asks_for_authentication_by_default(self) -> None:
        """Only a static route that says so goes without."""
        opened = StaticRoute(name="in", user=re.compile("100"), to="sip:100@192.0.2.9", authenticate=False)
        self.assertTrue(self.table().needs_authentication(asked("sip:bob@example.com")))
        self.assertTrue(self.table(opened).needs_authentication(asked("sip:101@example.com")))
        self.assertFalse(self.table(opened).needs_authentication(asked("sip:100@example.com")))

    def test_first_matching_route_decides_on_authentication(self) -> None:
        """A later route cannot open what an earlier one takes."""
        closed = StaticRoute(name="closed", to="sip:a@192.0.2.9")
        opened = StaticRoute(name="open", to="sip:a@192.0.2.9", authenticate=False)
        self.assertTrue(self.table(closed, opened).needs_authentication(asked("sip:bob@example.com")))

    def test_a_route_to_a_user_of_ours(self) -> None:
        """A route into a domain served here rings the contacts of that user: a trunk's number becomes an extension."""
        inbound = StaticRoute(
            name="in",
            user=re.compile("49305550(?P<name>.*)"),
            to="sip:{name}@example.com",
            early_media=EarlyMedia.AS_180,
            codecs=("pcma",),
            dtmf=Dtmf.RTP,
            caller_dtmf=Dtmf.INFO,
        )
        table = self.table(inbound, bindings=[binding("sip:b@192.0.2.2")])
        route = self.route(table, asked("sip:49305550bob@trunk.example"))
        self.assertEqual([str(attempt.uri) for attempts in route.rounds for attempt in attempts], ["sip:b@192.0.2.2"])
        self.assertEqual(route.considered[0], "route in: taken")
        ((attempt,),) = route.rounds
        self.assertEqual((attempt.early_media, attempt.codecs), (EarlyMedia.AS_180, ("pcma",)))
        self.assertEqual((attempt.dtmf, route.caller_dtmf), (Dtmf.RTP, Dtmf.INFO))

    def test_digits(self) -> None:
        """A route out of here says how both sides want digits; without a word they stay what they are."""
        out = StaticRoute(name="out", user=re.compile("9"), to="sip:9@a.example", dtmf=Dtmf.INFO, caller_dtmf=Dtmf.RTP)
        other = StaticRoute(name="other", to="sip:8@a.example")
        for user, expected in (("9", (Dtmf.INFO, Dtmf.RTP)), ("8", (Dtmf.PASS, Dtmf.PASS))):
            route = self.route(self.table(out, other), asked(f"sip:{user}@elsewhere.example"))
            ((attempt,),) = route.rounds
            self.assertEqual((attempt.dtmf, route.caller_dtmf), expected)

    def test_rings_all_contacts_by_preference(self) -> None:
        """Contacts of the same q are one round, lower ones a later round."""
        bindings = [
            binding("sip:b1@192.0.2.2", q=0.5),
            binding("sip:b2@192.0.2.3"),
            binding("sip:b3@192.0.2.4", q=0.5),
        ]
        route = self.route(self.table(bindings=bindings), asked("sip:bob@example.com"))
        self.assertEqual(
            [[str(attempt.uri) for attempt in attempts] for attempts in route.rounds],
            [["sip:b2@192.0.2.3"], ["sip:b1@192.0.2.2", "sip:b3@192.0.2.4"]],
        )
        self.assertEqual({attempt.timeout for attempts in route.rounds for attempt in attempts}, {45})

    def test_user_is_found_by_the_canonical_address(self) -> None:
        """An escaped user, a port and parameters name the same AOR (section 10.3)."""
        table = self.table(bindings=[binding("sip:b@192.0.2.2")])
        self.assertEqual(len(self.route(table, asked("sip:%62ob@example.com:5060;user=phone")).rounds), 1)

    def test_tells_who_is_not_registered_from_who_is_not_there(self) -> None:
        """A known user without contacts gives 480, an unknown one 404, no user 404."""
        table = self.table()
        for uri, status in (("sip:bob@example.com", 480), ("sip:eve@example.com", 404), ("sip:example.com", 404)):
            refusal = self.route(table, asked(uri)).refusal
            assert refusal is not None
            self.assertEqual(refusal[0], status)

    def test_tel_uri_needs_a_route(self) -> None:
        """Without a static route there is nowhere to send a telephone number."""
        refusal = self.route(self.table(), asked("tel:+4930123")).refusal
        assert refusal is not None
        self.assertEqual(refusal[0], 403)

    def test_contact_behind_nat_is_called_where_it_came_from(self) -> None:
        """The source is kept for another address and for connections, and left for a reachable UDP contact."""
        udp, tls = Transport.UDP, Transport.TLS
        same = binding("sip:b@192.0.2.2:5062", source=Target(transport=udp, host="192.0.2.2", port=40000))
        behind = binding("sip:b@10.0.0.7:5062", source=Target(transport=udp, host="192.0.2.2", port=40000))
        stream = binding("sip:b@192.0.2.2:5062", source=Target(transport=tls, host="192.0.2.2", port=40000))
        sources = []
        for one in (same, behind, stream):
            route = self.route(self.table(bindings=[one]), asked("sip:bob@example.com"))
            sources.append(route.rounds[0][0].source)
        self.assertEqual(sources, [None, behind.source, stream.source])

    def test_path_becomes_the_route_set(self) -> None:
        """Requests to a contact go through the proxies that it registered through (RFC 3327)."""
        table = self.table(bindings=[binding("sip:b@10.0.0.7", path=("<sip:edge.example.com;lr>",))])
        route = self.route(table, asked("sip:bob@example.com"))
        self.assertEqual(route.rounds[0][0].route_set, ("<sip:edge.example.com;lr>",))

    def test_static_route_fills_its_template(self) -> None:
        """Groups of the pattern, by number and by name, and the whole user stand in the new URI."""
        rule = StaticRoute(
            name="pstn",
            user=re.compile(r"00(?P<country>\d\d)(\d+)"),
            to="sip:+{country}{2}@gw.example.net;x={0}",
            credentials=Credentials(username="us", password="secret"),
            timeout=20,
        )
        route = self.route(self.table(rule), asked("sip:0049301234@example.com"))
        attempt = route.rounds[0][0]
        self.assertEqual(str(attempt.uri), "sip:+49301234@gw.example.net;x=0049301234")
        self.assertEqual((attempt.timeout, attempt.credentials), (20, rule.credentials))
        self.assertEqual(route.considered, ("route pstn: taken",))

    def test_pattern_must_match_the_whole_user(self) -> None:
        """A pattern for 100 does not open 1000."""
        rule = StaticRoute(name="r", user=re.compile("100"), to="sip:x@192.0.2.9")
        self.assertEqual(self.route(self.table(rule), asked("sip:1000@example.com")).name, "registered")

    def test_every_condition_must_hold(self) -> None:
        """Host, caller and source are looked at, and the explanation says which one failed."""
        network = ipaddress.ip_network("192.0.2.0/28")
        rules = (
            StaticRoute(name="host", host=re.compile("gw"), to="sip:x@h"),
            StaticRoute(name="caller", caller=re.compile("sip:eve@.*"), to="sip:x@h"),
            StaticRoute(name="source", sources=(network,), to="sip:x@h"),
            StaticRoute(name="all", host=re.compile("example.com"), caller=re.compile("sip:alice@.*"), to="sip:x@h"),
        )
        route = self.route(self.table(*rules), asked("sip:1@example.com", source="192.0.2.77"))
        self.assertEqual(
            route.considered,
            (
                "route host: host example.com does not match",
                "route caller: the caller does not match",
                "route source: 192.0.2.77 is not among its sources",
                "route all: taken",
            ),
        )

    def test_route_may_refuse(self) -> None:
        """A rule with a refusal answers with it."""
        rule = StaticRoute(name="premium", user=re.compile("0900.*"), refusal=(603, "Not From Here"))
        self.assertEqual(self.route(self.table(rule), asked("sip:0900123@example.com")).refusal, (603, "Not From Here"))

    def test_unusable_template_is_an_incomplete_address(self) -> None:
        """What the template makes of a strange number is no URI: 484, and the explanation says so."""
        rule = StaticRoute(name="r", user=re.compile("(.*)"), to="sip:x@{1}")
        route = self.route(self.table(rule), asked("sip:a&b@example.com"))
        self.assertEqual(route.refusal, (484, "Address Incomplete"))
        self.assertIn("makes no usable URI", route.considered[-1])
