"""Tests of the check of what must hold between two values about where calls go."""

from __future__ import annotations

from sipd.daemon.config import build
from sipd.daemon.values import Surroundings
from sipd.errors import ConfigurationError
from tests.daemon.case import HIDDEN, MINIMAL, ConfigCase

ROUTE = '[[routes]]\nname = "r"\n'


class RouteTests(ConfigCase):
    """One route with a mistake."""

    def assert_route(self, text: str, *expected: str) -> None:
        """Say that a route has exactly these mistakes."""
        with self.subTest(text):
            self.assert_problem(MINIMAL + ROUTE + text, *(f"routes[0].{line}" for line in expected))

    def test_destinations(self) -> None:
        """A route has one destination, and nothing that says nothing beside it."""
        strip = "called = [{ strip = 1 }]"
        none = "to: required (or refuse, registered, trunks, prefixes, sippy or next), and missing"
        for text, *expected in (
            ("", none),
            ("registered = false\nnext = false", none),
            ('to = "sip:a@b"\nregistered = true', "registered: not possible beside to"),
            ('to = "sip:a@b"\nsippy = "h"\nnext = true', "sippy: not possible beside to",
             "next: not possible beside to"),
            ('to = "sip:a@b"\nstrategy = "cost"\nhunt = "parallel"', "strategy: not possible beside to",
             "hunt: not possible beside to"),
            (f'refuse = [403, "No"]\n{strip}\nduration = 5', "duration: not possible beside refuse",
             "called: not possible beside refuse"),
            ('registered = true\nnext_hop = "sip:h"', "next_hop: not possible beside registered"),
            ('sippy = "h"\ntimeout = 5\nstops = [486]', "timeout: not possible beside sippy",
             "stops: not possible beside sippy"),
            (f"next = true\nauthenticate = false\n{strip}", "authenticate: not possible beside next"),
            ("next = true", "next: possible beside called or calling only: what is to be rewritten?"),
            ("trunks = []", "trunks: at least 1 entry expected"),
        ):  # fmt: skip
            self.assert_route(text, *expected)

    def test_names(self) -> None:
        """What a route names is there."""
        for text, *expected in (
            ('trunks = ["x", { name = "y", weight = 2 }]', 'trunks[0]: the name of a trunk expected (got "x")',
             'trunks[1]: the name of a trunk expected (got "y")'),
            ('registered = true\nfrom_trunks = ["x"]', 'from_trunks[0]: the name of a trunk expected (got "x")'),
            ('registered = true\npoints = ["udp", "tls"]',
             'points[1]: the name of a listening point expected (got "tls")'),
            ('registered = true\nhours = "office"', 'hours: the name of routing.opening_hours expected (got "office")'),
            ("registered = true\nemergency = true",
             "emergency: possible beside routing.emergency only: which numbers are meant?"),
            ('registered = true\ncallers = ["alice"]\nauthenticate = false',
             "authenticate: not possible beside callers: they have to prove who they are"),
        ):  # fmt: skip
            self.assert_route(text, *expected)

    def test_templates(self) -> None:
        """A template may use the rewritten number, whose name no group has."""
        self.load(f'{MINIMAL}{ROUTE}to = "sip:{{called}}@b"')
        self.assert_route(
            'user = "(?P<called>.*)"\nto = "sip:{called}@b"',
            "user: a group of another name than called expected: that is the rewritten number",
        )

    def test_rewriting(self) -> None:
        """Each step of a rewriting says one thing, and what it needs is there."""
        step = 'to = "sip:a@b"\ncalled = [{{ {} }}]'
        strip = 'a count of digits from 1 to 32, or what to take away such as "0", expected'
        kinds = "one of strip, prepend, match, normalise, write expected (got {})"
        for text, *expected in (
            ("", kinds.format("none")),
            ('strip = 1, prepend = "0"', kinds.format("strip and prepend")),
            ('match = "x"', "to: required beside match, and missing"),
            ('to = "x"', kinds.format("none"), "match: required beside to, and missing"),
            ('match = "(x)", to = "{1}{2}"', "to: {2} is no group of this route's called match pattern; "
             "there are: 0, 1"),
            ('match = "x", to = "{"', "to: a text with groups in braces expected: "
             "Single '{' encountered in format string"),
            ('normalise = "dialled"', "normalise: possible beside routing.country_code only"),
            ('write = "plus"', "write: possible beside routing.country_code only"),
            ("strip = 0", f"strip: {strip} (got 0)"),
            ('strip = "x"', f'strip: {strip} (got "x")'),
            ('prepend = "x"', 'prepend: digits, *, # and a leading + expected (got "x")'),
            ('write = "x"', "write: possible beside routing.country_code only",
             'write: "e164", "plus", "national" or "international" expected (got "x")'),
            ('skip = 1', kinds.format("none"), 'skip: unknown key; did you mean "strip"?'),
        ):  # fmt: skip
            lines = [f"called[0]{': ' if line.startswith('one of') else '.'}{line}" for line in expected]
            with self.subTest(text):
                found = self.problems(MINIMAL + ROUTE + step.format(text))
                self.assertEqual(sorted(found), sorted(f"routes[0].{line}" for line in lines))

    def test_warnings(self) -> None:
        """A warning needs a sound, and an end that it comes before."""
        sound = 'warning_sound = "tone:de:busy"'
        for text, *expected in (
            ("duration = 60\nwarning = 5", "warning_sound: required beside warning, and missing"),
            (f"duration = 60\n{sound}", "warning: required beside warning_sound, and missing"),
            (f"warning = 5\n{sound}", "duration: required beside warning, and missing"),
            (f"duration = 60\nwarning = 60\n{sound}", "warning: less than duration expected (got 60 and 60)"),
        ):
            self.assert_route(f'to = "sip:a@b"\n{text}', *expected)

    def test_values(self) -> None:
        """Values of a route are what they should be."""
        choice = 'the name of a trunk, or { name = "...", weight = 1, cost = 0.0 }, expected'
        for text, *expected in (
            ("redirects = 11", "redirects: 10 or less expected (got 11)"),
            ("stops = [200]", "stops[0]: 300 or more expected (got 200)"),
            ("headers = 5", "headers: a table of header field names and expressions expected (got a whole number)"),
            ('headers = { "a b" = "x", c = "(" }', 'headers: the name of a header field expected (got "a b")',
             'headers: "c": a regular expression expected: missing ), unterminated subpattern at position 0 (got "(")'),
        ):  # fmt: skip
            self.assert_route(f'to = "sip:a@b"\n{text}', *expected)
        for text, *expected in (
            ("trunks = [5]", f"trunks[0]: {choice} (got a whole number)"),
            ("trunks = [{ wait = 1 }]", f'trunks[0]: {choice} (got the key "wait")', f"trunks[0]: {choice}"),
            ('trunks = [{ name = "x", weight = -1, cost = "a" }]',
             "trunks[0]: a weight from 0 to 1000000 expected (got -1)",
             'trunks[0]: a cost of 0 or more expected (got "a")', 'trunks[0]: the name of a trunk expected (got "x")'),
        ):  # fmt: skip
            self.assert_route(text, *expected)

    def test_sippy(self) -> None:
        """Each mistake in Sippy's routes is a line, and what is written is not shown."""
        self.assert_route(
            f'sippy = "h;auth={HIDDEN}\\nh;zzz=1"',
            "sippy: entry 1: auth: USER:PASSWORD or nopass expected",
            'sippy: entry 2: "zzz" is none of the parameters that there are (credit-time, expires, np_expires, auth, '
            "cli, cnam, hs_scodes, huntstop_scodes, op, rtpp)",
        )


class RoutingTests(ConfigCase):
    """`[routing]`."""

    def test_values(self) -> None:
        """Numbers, prefixes, zones and times are what they should be, and hours have names of their own."""
        hours = '[[routing.opening_hours]]\nname = "o"\n{}'
        for text, *expected in (
            ('[routing]\nemergency = ["help"]',
             'routing.emergency[0]: digits, *, # and a leading + expected (got "help")'),
            ('[routing]\ncountry_code = "049"',
             'routing.country_code: a country code such as "49" expected (got "049")'),
            ('[routing]\narea_code = "30"', "routing.area_code: possible beside country_code only"),
            ('[routing]\ncountry_code = "49"\ninternational_prefixes = ["+"]\nlocal_length = [8, 3]',
             'routing.international_prefixes[0]: 1 to 8 digits expected (got "+")',
             "routing.local_length: a count of digits up to 15, or the least and the most such as [3, 8], expected"),
            (hours.format('zone = "Europe/Atlantis"\ntimes = ["mon"]'),
             'routing.opening_hours[0].zone: a time zone such as "Europe/Berlin" that this system knows expected '
             '(got "Europe/Atlantis")'),
            (hours.format('zone = "UTC"\ntimes = []'), "routing.opening_hours[0].times: at least 1 entry expected"),
            (hours.format('zone = "UTC"\ntimes = ["mon-fri 8-18"]\nholidays = ["02-30"]'),
             'routing.opening_hours[0].times[0]: times such as "mon-fri 08:00-18:00", "sat,sun", "22:00-06:00" or '
             '"2026-12-24 08:00-12:00" expected (got "mon-fri 8-18")',
             'routing.opening_hours[0].holidays[0]: a date that there is, such as "12-25" or "2026-04-03", expected '
             '(got "02-30")'),
            (hours.format('zone = "UTC"\ntimes = ["mon"]\n') * 2,
             'routing.opening_hours[1].name: a name of its own expected (routing.opening_hours[0] is "o" too)'),
        ):  # fmt: skip
            with self.subTest(text):
                self.assert_problem(MINIMAL + text, *expected)
        self.assertEqual(
            self.load(f'{MINIMAL}[routing]\ncountry_code = "45"\nlocal_length = 8').routing.local_length, (8, 8)
        )


class PrefixFileTests(ConfigCase):
    """The file of a route."""

    def build(self, content: str | bytes) -> list[str]:
        """Give the mistakes of a configuration with two trunks and this file."""
        data = content.encode() if isinstance(content, str) else content
        (self.directory / "p.csv").write_bytes(data)
        table = {
            "domains": ["example.com"],
            "state_directory": "s",
            "listen": [{"name": "udp", "transport": "udp", "address": "192.0.2.1"}],
            "trunks": [{"name": "a"}, {"name": "b"}],
            "routes": [{"name": "r", "prefixes": "p.csv", "timeout": -1}],
        }
        error = self.assertRaises(
            ConfigurationError, build, table, Surroundings(directory=self.directory, environment={}), "c"
        )
        return [line for line in error.problems if line.startswith("c: routes")]

    def test_every_mistake_is_a_line(self) -> None:
        """Each mistake of the file stands in the list, with the mistakes of the configuration, in one run."""
        more_than_nothing = "c: routes[0].timeout: more than 0 expected (got -1)"
        for content, *expected in (
            ("1,a\n2,b\n",),
            ("x,a\n1,c\n2,b,free\n",
             'p.csv:1: a prefix of 1 to 32 digits, with + in front or without, expected (got "x")',
             'p.csv:2: the name of a trunk expected (got "c")', 'p.csv:3: a cost such as 0.012 expected (got "free")'),
            ("", "p.csv: at least one prefix expected"),
        ):  # fmt: skip
            with self.subTest(content):
                lines = [f"c: routes[0].prefixes: {line}" for line in expected]
                self.assertEqual(self.build(content), [*lines, more_than_nothing])

    def test_files_that_are_none(self) -> None:
        """A file that is not text, or not there, is one mistake."""
        (line, _) = self.build(b"1,a\n\xff")
        self.assertRegex(line, r"prefixes: UTF-8 text expected \(.*, line 2\)$")
        (line,) = self.problems(f'{MINIMAL}{ROUTE}prefixes = "absent.csv"')
        self.assertRegex(line, r"^routes\[0\]\.prefixes: a file that can be read expected: No such file or directory")
        self.assert_problem(f"{MINIMAL}{ROUTE}prefixes = 5", "routes[0].prefixes: a path expected (got a whole number)")

    def test_twenty_mistakes(self) -> None:
        """A configuration with 20 mistakes about where calls go names all 20."""
        (self.directory / "p.csv").write_text("x,a\ny,a\nz,a\n")
        text = """
        [routing]
        emergency = ["help"]
        area_code = "x"
        [[routing.opening_hours]]
        name = "o"
        zone = "Nowhere"
        times = ["never", "mon 25:00-26:00"]
        [[routes]]
        name = "r"
        prefixes = "p.csv"
        strategy = "luck"
        hunt = "sideways"
        [[routes]]
        name = "r"
        to = "sip:{1}@b"
        hours = "p"
        points = ["q"]
        called = [{ strip = -1 }, {}]
        """
        found = self.problems(MINIMAL + text)
        places = [line.partition(": ")[0] for line in found]
        self.assertEqual(
            places,
            [
                *("routing.emergency[0]", "routing.area_code"),
                *("routing.opening_hours[0].zone", "routing.opening_hours[0].times[0]"),
                *("routing.opening_hours[0].times[1]", "routing.area_code"),
                *("routes[0].prefixes",) * 6,
                *("routes[0].strategy", "routes[0].hunt", "routes[1].called[0].strip", "routes[1].name"),
                *("routes[1].points[0]", "routes[1].hours", "routes[1].to", "routes[1].called[1]"),
            ],
        )
        self.assertEqual(len(found), 20)
