"""Which response is the best, and what becomes of Via."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.proxy.responses import choose_best, pop_via
from sipd.sip.message import Response
from sipd.testing import builders

#: What the branches said, in order, and which of it goes back.
ROWS = (
    ("404", "404"),
    ("486 404", "486"),
    ("404 486", "404"),
    ("500 404", "404"),
    ("404 302", "302"),
    ("302 301", "302"),
    ("404 302 603", "603"),
    ("603 600", "603"),
    ("486 401", "401"),
    ("486 407", "407"),
    ("486 415", "415"),
    ("486 420", "420"),
    ("486 484", "484"),
    ("415 401", "401"),
    ("484 415", "484"),
    ("408 486", "486"),
    ("408 487", "487"),
    ("487 480", "480"),
    ("408 500", "408"),
    ("503 500", "500"),
    ("503 504", "504"),
    ("503 503", "503"),
    ("503 404", "404"),
    ("503 603", "603"),
)


def responses(text: str) -> list[Response]:
    """Give responses with these statuses, each with a To tag of its own."""
    invite = builders.invite()
    return [builders.response(invite, int(word), to_tag=f"t{n}") for n, word in enumerate(text.split())]


class BestTests(SynchronousTestCase):
    """Section 16.7, steps 6 and 7."""

    def test_rows(self) -> None:
        """The best response is that of the row."""
        for came, best in ROWS:
            self.assertEqual(str(choose_best(responses(came)).status), best, came)

    def test_earliest(self) -> None:
        """Of equal ones the first one counts, as it came."""
        for text in ("486 486", "603 603", "302 300", "500 501"):
            came = responses(text)
            self.assertIs(choose_best(came), came[0])

    def test_challenges(self) -> None:
        """A challenge gets those of the others, in order; the others stay as they are."""
        came = responses("407 401 486 401")
        for response, name in ((0, "Proxy-Authenticate"), (1, "WWW-Authenticate"), (3, "WWW-Authenticate")):
            came[response].headers.add(name, f'Digest realm="{response}"')
        best = choose_best(came)
        self.assertEqual(best.status, 407)
        self.assertEqual(best.headers.get_all("Proxy-Authenticate"), ['Digest realm="0"'])
        self.assertEqual(best.headers.get_all("WWW-Authenticate"), ['Digest realm="1"', 'Digest realm="3"'])
        self.assertNotIn("WWW-Authenticate", came[0].headers)


class ViaTests(SynchronousTestCase):
    """The proxy's own Via is removed, whatever the others look like."""

    def pop(self, *lines: str) -> list[str] | None:
        """Give the Via lines that are left, or `None` if the response was for the proxy."""
        response = builders.response(builders.invite(via=None), 200)
        for line in lines:
            response.headers.add("Via", line)
        via = pop_via(response)
        if via is not None:
            self.assertEqual(str(via), str(response.vias[0]))
        return None if via is None else response.headers.get_all("Via")

    def test_lines(self) -> None:
        """Values stand in one line, or in several."""
        a, b, c = (f"SIP/2.0/UDP {name}.invalid;branch=z9hG4bK{name}" for name in "abc")
        self.assertEqual(self.pop(a, b, c), [b, c])
        self.assertEqual(self.pop(f"{a}, {b}", c), [b, c])
        self.assertEqual(self.pop(f"{a} ,{b},{c}"), [b, c])
        self.assertEqual(self.pop(f" {a},", b), [b])
        self.assertEqual(self.pop(a, " ", b), [b])

    def test_none_left(self) -> None:
        """A response without another one was for the proxy itself."""
        a = "SIP/2.0/UDP a.invalid;branch=z9hG4bKa"
        self.assertIsNone(self.pop(a))
        self.assertIsNone(self.pop(a, ","))

    def test_malformed(self) -> None:
        """A next one that nobody can read goes nowhere."""
        self.assertRaises(ParseError, self.pop, "SIP/2.0/UDP a.invalid", "SIP/2.0")
