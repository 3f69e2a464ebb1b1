"""Routes as Sippy takes them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.interfaces import Attempt, Credentials, MediaPolicy
from sipd.routing.sippy import MAX_ENTRIES, SippyError, SippyRoute, least_duration, parse_routing
from sipd.sip.uri import parse_uri

SECRET = "hunter2"


class SippyTests(SynchronousTestCase):
    """What becomes of each part."""

    def one(self, text: str) -> SippyRoute:
        """Read what is one route."""
        (route,) = parse_routing(text)
        return route

    def attempt(self, text: str, number: str = "123") -> Attempt:
        """Give the attempt of what is one route."""
        return self.one(text).attempt(number, "route r")

    def test_targets(self) -> None:
        """Host, port and called number; no number before the @ is none at all."""
        for text, expected in (
            ("192.0.2.1", "sip:123@192.0.2.1"),
            ("gw.example.com:5070", "sip:123@gw.example.com:5070"),
            ("[2001:db8::1]:5070", "sip:123@[2001:db8::1]:5070"),
            ("+49301@192.0.2.1", "sip:+49301@192.0.2.1"),
            ("@192.0.2.1", "sip:192.0.2.1"),
            ("4#9 9@192.0.2.1", "sip:4%239%209@192.0.2.1"),
            ("Routing:7@192.0.2.1", "sip:7@192.0.2.1"),
            (" h323-ivr-in = Routing:7@192.0.2.1 ", "sip:7@192.0.2.1"),
        ):
            self.assertEqual(str(self.attempt(text).uri), expected, text)

    def test_parameters(self) -> None:
        """Each parameter becomes what the table says; without any, everything is as usual."""
        self.assertEqual(self.attempt("h"), Attempt(uri=self.attempt("h").uri, label="route r"))
        text = (
            f"h;credit-time=60;expires=30;np_expires=5;auth=us:{SECRET}:x;cli=49#1;cnam=J%C3%BCrgen;hs_scodes=486,603;"
            "op=192.0.2.9:5070;rtpp=0;"
        )
        attempt = self.attempt(text)
        self.assertEqual((attempt.timeout, attempt.response_timeout), (30.0, 5.0))
        self.assertEqual(attempt.credentials, Credentials(username="us", password=f"{SECRET}:x"))
        self.assertEqual((attempt.caller, attempt.caller_name), ("49%231", "Jürgen"))
        self.assertEqual(attempt.stops, {486, 603})
        self.assertEqual(str(attempt.next_hop), "sip:192.0.2.9:5070")
        self.assertEqual(attempt.media, MediaPolicy(is_bypassed=True))
        self.assertEqual(self.one(text).duration, 60.0)
        self.assertNotIn(SECRET, repr(self.one(text)))

    def test_other_values(self) -> None:
        """Negative times are no bounds, `nopass` is no password, both names of stop codes count, rtpp=1 is as usual."""
        route = self.one("h;credit-time=-1;expires=-1;np_expires=-1;auth=nopass;hs_scodes=;rtpp=1")
        self.assertEqual(route, SippyRoute(host="h"))
        self.assertEqual(self.one("h;hs_scodes=486;huntstop_scodes=,600").stops, {486, 600})

    def test_several(self) -> None:
        """Several stand on lines of their own, or are joined as RADIUS logs show them; another ^ separates nothing."""
        joined = "h323-ivr-in=Routing:a;auth=u:p^h^x^h323-ivr-in=Routing:b;expires=9^Routing:c"
        for text in (joined, "a;auth=u:p^h^x\n\nRouting:b;expires=9\nc\n"):
            routes = parse_routing(text)
            self.assertEqual([route.host for route in routes], ["a", "b", "c"])
            credentials = routes[0].credentials
            assert credentials is not None
            self.assertEqual(credentials.password, "p^h^x")

    def test_left_out(self) -> None:
        """An entry without credit or time is left out; if that leaves none, it is a mistake."""
        self.assertEqual([route.host for route in parse_routing("a;credit-time=0\nb\nc;expires=0")], ["b"])
        error = self.assertRaises(SippyError, parse_routing, "a;expires=0")
        self.assertEqual(error.problems, ["an entry whose credit-time and expires are not 0 expected"])

    def test_least_duration(self) -> None:
        """The bound of a call is the least of those that its routes have."""
        self.assertEqual(least_duration(parse_routing("a\nb;credit-time=60\nc;credit-time=30")), 30.0)
        self.assertIsNone(least_duration(parse_routing("a\nb;credit-time=-1")))

    def test_mistakes(self) -> None:
        """Each mistake is named with its entry; what a password may be in is not shown."""
        known = "credit-time, expires, np_expires, auth, cli, cnam, hs_scodes, huntstop_scodes, op, rtpp"
        text = "\n".join(
            (
                "a b",
                "h;ash=X%3A1;gt=5,1",
                "h;expires=soon;np_expires=0;credit-time=1.5",
                f"h;auth={SECRET};cli=;cnam=%FF",
                "h;hs_scodes=486,x;op=a@b;rtpp=2",
                "h;expires;expires=1;expires=2",
                "sip:h@h@h;x\x1b=1",
            )
        )
        error = self.assertRaises(SippyError, parse_routing, text)
        self.assertEqual(
            error.problems,
            [
                "entry 1: [CLD@]HOST[:PORT] expected",
                f'entry 2: "ash" is none of the parameters that there are ({known})',
                f'entry 2: "gt" is none of the parameters that there are ({known})',
                "entry 3: expires: whole seconds expected",
                "entry 3: np_expires: 1 second or more expected",
                "entry 3: credit-time: whole seconds expected",
                "entry 4: auth: USER:PASSWORD or nopass expected",
                "entry 4: cli: a number expected; none at all is not possible",
                "entry 4: cnam: UTF-8 expected",
                "entry 5: hs_scodes: statuses from 300 to 699 expected",
                "entry 5: op: HOST[:PORT] expected",
                "entry 5: rtpp: 0 or 1 expected",
                "entry 6: expires: a value expected",
                "entry 6: expires: one value expected",
                f'entry 7: "x?" is none of the parameters that there are ({known})',
            ],
        )
        self.assertNotIn(SECRET, str(error))

    def test_how_many(self) -> None:
        """No entry, and more than there may be, are refused."""
        for text, count in (("", 0), (" \n", 0), ("h\n" * (MAX_ENTRIES + 1), MAX_ENTRIES + 1)):
            error = self.assertRaises(SippyError, parse_routing, text)
            self.assertEqual(error.problems, [f"1 to {MAX_ENTRIES} entries expected (got {count})"])

    @given(st.text(st.sampled_from("hs@:;=[]1^,\n%\x00é Rr"), max_size=40), st.sampled_from(("", "h;auth=u:p;cli=")))
    @settings(deadline=None, max_examples=400)
    def test_any_text(self, text: str, start: str) -> None:
        """Any text gives routes whose attempts can be printed, or a SippyError."""
        try:
            routes = parse_routing(start + text)
        except SippyError as error:
            self.assertTrue(error.problems)
        else:
            for route in routes:
                uri = route.attempt("1", "x").uri
                self.assertEqual(str(parse_uri(str(uri))), str(uri))
