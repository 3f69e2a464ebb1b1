"""Tests of `sipd.daemon.routing`: what the sections about where calls go say is what the router is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from random import Random

from sipd.daemon.config import load
from sipd.daemon.routing import make_router, static_route
from sipd.interfaces import Dtmf, EarlyMedia, Route
from sipd.routing.numbers import (
    Form,
    Normalise,
    Numbering,
    Prepend,
    StripDigits,
    StripPrefix,
    Substitute,
    Write,
    rewrite,
)
from sipd.routing.rules import StaticRoute
from sipd.testing.trunks import FakeTrunks
from tests.daemon.case import MINIMAL, ConfigCase
from tests.routing.case import Location, asked, binding

TAPFILES = Path(__file__).resolve().parents[2] / "tapfiles"


class RuleTests(ConfigCase):
    """One rule."""

    def rules(self, text: str) -> list[StaticRoute]:
        """Give the rules of a configuration."""
        config = self.load(MINIMAL + text)
        return [static_route(rule, config) for rule in config.routes]

    def test_routes(self) -> None:
        """Every condition and every consequence of a route reaches the router."""
        text = """
        [[routes]]
        name = "r"
        user = "1.*"
        host = "a.example"
        from = "sip:x@.*"
        sources = ["10.0.0.0/8"]
        to = "sip:{0}@b.example"
        authenticate = false
        timeout = 7
        trusted = true
        next_hop = "sip:c.example"
        credentials = { username = "u", password = "p", realm = "b" }
        caller_credentials = { username = "v", password = "q" }
        [[routes]]
        name = "s"
        refuse = [603, "No"]
        """
        route, refusal = self.rules(text)
        assert route.user and route.host and route.caller and route.credentials
        self.assertEqual(
            (route.user.pattern, route.host.pattern, route.caller.pattern), ("1.*", "a.example", "sip:x@.*")
        )
        self.assertEqual([str(network) for network in route.sources], ["10.0.0.0/8"])
        self.assertEqual((route.to, route.authenticate, route.timeout), ("sip:{0}@b.example", False, 7.0))
        self.assertEqual((route.trusted, refusal.trusted), (True, False))
        self.assertEqual(str(route.next_hop), "sip:c.example")
        credentials = route.credentials
        self.assertEqual((credentials.username, credentials.password, credentials.realm), ("u", "p", "b"))
        back = route.caller_credentials
        assert back is not None
        self.assertEqual((back.username, back.password, back.realm), ("v", "q", ""))
        self.assertIsNone(refusal.caller_credentials)
        self.assertEqual((refusal.refusal, refusal.to, refusal.authenticate), ((603, "No"), None, True))

    def test_digits(self) -> None:
        """How each side wants digits reaches the router; as they come, if nothing is said."""
        text = """
        [[routes]]
        name = "r"
        to = "sip:b@b.example"
        dtmf = "info"
        caller_dtmf = "rtp"
        [[routes]]
        name = "s"
        to = "sip:b@b.example"
        """
        self.assertEqual(
            [(route.dtmf, route.caller_dtmf) for route in self.rules(text)],
            [(Dtmf.INFO, Dtmf.RTP), (None, Dtmf.PASS)],
        )

    def test_conditions(self) -> None:
        """Every further condition reaches the router."""
        text = """
        [routing]
        emergency = ["112"]
        [[routing.opening_hours]]
        name = "office"
        zone = "Europe/Berlin"
        times = ["mon-fri 08:00-18:00"]
        holidays = ["12-24"]
        [[routes]]
        name = "r"
        to = "sip:a@b"
        callers = ["alice"]
        headers = { X-Line = "[0-9]+" }
        hours = "office"
        points = ["udp"]
        emergency = true
        """
        (route,) = self.rules(text)
        self.assertEqual((route.users, route.points, route.is_emergency), ({"alice"}, {"udp"}, True))
        self.assertEqual({name: pattern.pattern for name, pattern in route.headers.items()}, {"X-Line": "[0-9]+"})
        hours = route.hours
        assert hours is not None
        for moment, expected in (("2026-11-20T12:00", True), ("2026-11-20T19:00", False), ("2026-12-24T12:00", False)):
            at = datetime.fromisoformat(moment).replace(tzinfo=hours.zone).timestamp()
            self.assertIs(hours.include(at), expected)

    def test_rewriting(self) -> None:
        """Each step of a rewriting reaches the router, in order, with the numbering of the place."""
        text = """
        [routing]
        country_code = "49"
        international_prefixes = ["00", "010"]
        national_prefix = "0"
        area_code = "30"
        local_length = [4, 8]
        [[routes]]
        name = "r"
        next = true
        called = [{ strip = 1 }, { strip = "0" }, { prepend = "+49" }, { match = "0(.*)", to = "{1}" }]
        calling = [{ normalise = "dialled" }, { normalise = "e164" }, { write = "national" }]
        """
        (route,) = self.rules(text)
        numbering = Numbering(
            country_code="49", international_prefixes=("00", "010"), area_code="30", local_length=(4, 8)
        )
        self.assertTrue(route.goes_on)
        self.assertEqual(route.called[:3], (StripDigits(1), StripPrefix("0"), Prepend("+49")))
        assert isinstance(route.called[3], Substitute)
        self.assertEqual(rewrite("012", route.called[3:]), "12")
        self.assertEqual(
            route.calling, (Normalise(numbering), Normalise(numbering, Form.E164), Write(numbering, Form.NATIONAL))
        )

    def test_bounds(self) -> None:
        """Times, stops and sounds reach the router; what is not said stays open for a trunk to say."""
        text = """
        [[routes]]
        name = "r"
        to = "sip:a@b"
        response_timeout = 5
        stops = [486, 603]
        redirects = 2
        setup_timeout = 90
        duration = 3600
        warning = 30
        warning_sound = "tone:de:busy"
        early_media = "180->183"
        [[routes]]
        name = "s"
        to = "sip:a@b"
        """
        route, silent = self.rules(text)
        self.assertEqual((route.response_timeout, route.stops, route.redirects), (5.0, {486, 603}, 2))
        self.assertEqual((route.setup_timeout, route.duration, route.warning), (90.0, 3600.0, 30.0))
        self.assertEqual((route.warning_sound, route.early_media), ("tone:de:busy", EarlyMedia.AS_183))
        self.assertEqual(
            (silent.timeout, silent.response_timeout, silent.stops, silent.redirects, silent.early_media), (None,) * 5
        )
        self.assertEqual((silent.setup_timeout, silent.duration, silent.warning), (None, None, 0.0))

    def test_other_destinations(self) -> None:
        """Users and Sippy's routes are destinations, too; a secret may stand in a variable."""
        text = """
        [[routes]]
        name = "r"
        user = "1.*"
        registered = true
        [[routes]]
        name = "s"
        sippy = { env = "ROUTING" }
        """
        config = self.load(MINIMAL + text, ROUTING="Routing:h;auth=u:hunter2")
        route, sippy = (static_route(rule, config) for rule in config.routes)
        self.assertTrue(route.is_registered)
        self.assertEqual([one.host for one in sippy.sippy], ["h"])
        self.assertNotIn("hunter2", repr(config))
        self.assertNotIn("hunter2", repr(sippy))


class OfficeTests(ConfigCase):
    """`tapfiles/trunks.toml`."""

    def test_where_calls_go(self) -> None:
        """Each kind of call goes where the configuration says, by the trunk and from the number that it says."""
        config = load(TAPFILES / "trunks.toml", {})
        router = make_router(
            config,
            Location(binding("sip:b@192.0.2.2", aor="sip:100@office.example.com")),
            domains=frozenset(config.domains),
            users=frozenset(user.name for user in config.users),
            trunks=FakeTrunks({"carrier-a": "198.51.100.10", "carrier-b": "gw.carrier-b.example"}),
        )
        berlin = config.routing.opening_hours[0].zone
        noon, night = (datetime(2026, 11, 20, hour, tzinfo=berlin).timestamp() for hour in (12, 23))
        office, a, b = "10.0.0.7", "198.51.100.10", "gw.carrier-b.example"
        inward = "sip:49305550100@10.0.0.2"
        for request, name, uris, caller, is_asked in (
            (asked("sip:112@office.example.com", source=office), "emergency",
             [f"sip:112@{a}", f"sip:112@{b}"], None, False),
            (asked(inward, trunk="carrier-a", at=noon, caller="sip:44201@h"), "registered",
             ["sip:b@192.0.2.2"], "+44201", False),
            (asked(inward, trunk="carrier-a", at=night), "registered", [], None, False),
            (asked("sip:+4930555@10.0.0.2", trunk="carrier-b"), "nothing-else-from-carriers", [], None, False),
            (asked("sip:0900123@office.example.com", user="100"), "premium", [], None, True),
            (asked("sip:123456@office.example.com", user="100", caller="sip:100@office.example.com"), "world",
             [f"sip:+4930123456@{a}", f"sip:+4930123456@{b}"], "+49305550100", True),
            (asked("sip:100@office.example.com", user="101"), "registered", ["sip:b@192.0.2.2"], None, True),
        ):  # fmt: skip
            with self.subTest(str(request.request.uri)):
                route = self.successResultOf(router.route(request))
                attempts = [attempt for attempts in route.rounds for attempt in attempts]
                self.assertEqual((route.name, [str(one.uri) for one in attempts]), (name, uris))
                self.assertEqual({one.caller for one in attempts}, {caller} if uris else set())
                self.assertIs(router.needs_authentication(replace(request, user=None)), is_asked)


class RouterTests(ConfigCase):
    """The whole."""

    def route(self, text: str, uri: str) -> Route:
        """Give where a call goes, with bob registered and two trunks."""
        router = make_router(
            self.load(MINIMAL + text),
            Location(binding("sip:b@192.0.2.2")),
            domains=frozenset(("example.com",)),
            users=frozenset(("bob",)),
            trunks=FakeTrunks({"a": "192.0.2.10", "b": "192.0.2.20"}),
            entropy=Random(1).randbytes,
        )
        return self.successResultOf(router.route(asked(uri)))

    def test_a_small_plan(self) -> None:
        """Emergency numbers, extensions, and the world, each where it belongs."""
        text = """
        [routing]
        emergency = ["112"]
        country_code = "49"
        [timers]
        ring = 20
        [[routes]]
        name = "normal"
        user = "0.*"
        called = [{ normalise = "dialled" }]
        next = true
        [[routes]]
        name = "world"
        user = "\\\\+.*"
        to = "sip:{called}@gw.example"
        [[routes]]
        name = "help"
        emergency = true
        to = "sip:112@help.example"
        """
        for uri, name, expected, is_emergency, timeout in (
            ("sip:112@example.com", "help", "sip:112@help.example", True, 60.0),
            ("sip:030123@example.com", "world", "sip:+4930123@gw.example", False, 60.0),
            ("sip:bob@example.com", "registered", "sip:b@192.0.2.2", False, 20.0),
        ):
            route = self.route(text, uri)
            self.assertEqual((route.name, route.is_emergency), (name, is_emergency))
            ((attempt,),) = route.rounds
            self.assertEqual((str(attempt.uri), attempt.timeout), (expected, timeout))
