"""Messages as large and as expensive as they can be: what one costs is bounded by its size."""

from __future__ import annotations

from functools import partial

from sipd.errors import ParseError
from sipd.media.rewrite import read_streams
from sipd.routing.rules import StaticRoute
from sipd.sdp.description import SessionDescription
from sipd.sip.parser import MAX_HEADER_LINES, parse_datagram
from sipd.testing import builders
from sipd.ua.bodies import find_description
from tests.hostile.bombs import BODIES, HEADS, MAX_OCTETS, Bomb
from tests.hostile.support import BOB, Arena, HostileCase, count_lines

#: Executed lines of Python for each octet of a message, at most; a usual INVITE through the whole server takes about 2.
LINES_PER_OCTET = 20
#: What the server may say beyond what it has to repeat of a request, which it may write with more white space.
OVERHEAD_OCTETS = 1500
SPACING = 1.25
TO_THE_PHONE = StaticRoute(name="all", to=f"sip:callee@{BOB}:5060", authenticate=False)


class DatagramTests(HostileCase):
    """One datagram of the largest size, alone in front of a server."""

    def check(self, bombs: dict[str, Bomb]) -> None:
        """Check what each bomb costs."""
        costs = {}
        for name, build in bombs.items():
            arena = Arena(routes=(TO_THE_PHONE,))
            data = build(MAX_OCTETS)
            self.assertLessEqual(len(data), MAX_OCTETS, name)
            self.assertGreater(len(data), MAX_OCTETS // 2, name)
            arena.mark()
            costs[name] = count_lines(partial(arena.send, data)) / len(data)
            self.assertLessEqual(len(arena.answers()), 1, name)
            back = sum(len(octets) for (host, _), octets in arena.datagrams_sent() if host == arena.stranger.address)
            self.assertLessEqual(back, SPACING * len(data) + OVERHEAD_OCTETS, name)
            self.assert_unharmed(arena)
        self.assertEqual({name: cost for name, cost in costs.items() if cost > LINES_PER_OCTET}, {})

    def test_heads(self) -> None:
        """Whatever a head is full of, the work is in proportion to its size, and so is the one answer."""
        self.check(HEADS)

    def test_bodies(self) -> None:
        """Whatever a session description or a multipart body is full of, the work is in proportion to its size."""
        self.check(BODIES)

    def test_reading_descriptions(self) -> None:
        """The relay with sockets, too, finds out where streams are to go in proportion to the size of a description."""
        costs = {}
        for name, build in BODIES.items():
            try:
                description = find_description(parse_datagram(build(MAX_OCTETS)))
            except ParseError:
                continue
            if description is not None:
                costs[name] = count_lines(partial(_read, description)) / MAX_OCTETS
        self.assertGreater(len(costs), 10)
        self.assertEqual({name: cost for name, cost in costs.items() if cost > LINES_PER_OCTET}, {})

    def test_noise(self) -> None:
        """64 KiB of octets that are no message at all are dropped; keep-alives are not even looked at."""
        for octet in (b"\0", b"\r", b"\n", b" ", b"\xff", b"A", b":", b"\r\n", b"\r\n\r\n", b"SIP/2.0 "):
            data = (octet * MAX_OCTETS)[:MAX_OCTETS]
            self.arena.mark()
            self.assertLess(count_lines(partial(self.arena.send, data)), 600)
            self.assertEqual(self.arena.datagrams_sent(), [], octet)
        self.assert_unharmed()

    def test_the_most_header_lines(self) -> None:
        """A request with as many header lines as are taken is answered; one more, and it is dropped."""
        few = builders.options("sip:example.com", via="203.0.113.9:5060")
        spare = MAX_HEADER_LINES - len(few.to_bytes().split(b"\r\n")[:-2])
        for more, statuses in ((spare, [200]), (spare + 1, [])):
            request = builders.options(
                "sip:example.com", via="203.0.113.9:5060", branch=f"z9hG4bK{more}", call_id=f"{more}",
                headers=[("A", "b")] * more,
            )  # fmt: skip
            self.arena.mark()
            self.arena.send(request.to_bytes())
            self.assertEqual(self.arena.statuses(), statuses, more)
        self.assert_unharmed()

    def test_an_answer_that_is_too_large(self) -> None:
        """A request whose answer fits into no datagram gets none, however often it comes, and costs no more."""
        empty = builders.options("sip:example.com", via="203.0.113.9:5060", call_id="").to_bytes()
        full = empty.replace(b"Call-ID: ", b"Call-ID: " + b"x" * (MAX_OCTETS - len(empty)))
        self.arena.mark()
        for _ in range(3):
            self.arena.send(full)
        self.assertEqual(self.arena.datagrams_sent(), [])
        self.assertEqual(self.arena.server.transport.incidents.counts, {"send-failed": 3})
        self.assertEqual(len(self.arena.server.transactions), 1)
        self.assert_unharmed()


def _read(description: SessionDescription) -> None:
    try:
        read_streams(description)
    except ParseError:
        return
