"""Text that pretends to be more than it is: nothing that one leg says becomes a line of its own on the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sipd.b2bua.headers import STAYS
from sipd.routing.rules import StaticRoute
from sipd.sip.headers import canonical_name
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.testing import builders
from tests.hostile.support import BOB, STRANGER, Arena, HostileCase
from tests.hostile.test_callee import RudePhone, answer

TO_THE_PHONE = StaticRoute(name="all", to=f"sip:callee@{BOB}:5060", authenticate=False)
EVIL = "X-Evil"
#: What means a line break to somebody. Those that mean one to everybody make a line that is nobody's injection.
BREAKS = ("\r", "\r\n ", "\r\n\t", "\n ", "%0d%0a", "%0A", "\\\r\\\n", "\x0b", "\x0c", "\x85", "\u2028", "\0")
#: What this server writes into a request or response of its own, in the order in which it does.
OWN = frozenset(
    ("via", "max-forwards", "from", "to", "call-id", "cseq", "contact", "allow", "user-agent", "supported",
     "session-expires", "content-type", "content-length")
)  # fmt: skip
#: What goes with a body that crosses.
OF_THE_BODY = frozenset(("content-disposition", "content-encoding", "content-language", "mime-version"))
NAMES = st.one_of(st.sampled_from(sorted(STAYS)), st.from_regex(r"[A-Za-z0-9.!%*_+`'~-]{1,20}", fullmatch=True))
VALUES = st.text(st.characters(blacklist_characters="\r\n", codec="utf-8"), max_size=40)


class Crossing:
    """One INVITE through a server to a phone, and what the phone says, through it, back.

    Args:
        invite: what the stranger sends.
        says: what the phone answers.
    """

    def __init__(self, invite: bytes, says: Sequence[bytes] | None = None) -> None:
        self.arena = Arena(routes=(TO_THE_PHONE,))
        self.phone = RudePhone(self.arena.network.host(BOB), self._says)
        self._answers = says
        self.arena.mark()
        self.arena.send(invite)
        self.arena.clock.advance(1.0)

    @property
    def forwarded(self) -> list[bytes]:
        """The INVITEs that the phone got."""
        sent = self.arena.datagrams_sent()
        return [data for (host, _), data in sent if host == BOB and data.startswith(b"INVITE")]

    @property
    def returned(self) -> list[bytes]:
        """What the stranger got."""
        return [data for (host, _), data in self.arena.datagrams_sent() if host == STRANGER]

    def _says(self, invite: Request) -> list[Response]:
        if self._answers is None:
            return [answer(invite)]
        good = builders.response(invite, 180).to_bytes()
        rest = good.partition(b"\r\n")[2]
        for octets in self._answers:
            self.phone.send(octets + b"\r\n" + rest)
        return []


def invite(**options: Any) -> bytes:
    """Give an INVITE from the stranger."""
    return builders.invite(via=f"{STRANGER}:5060", **options).to_bytes()


def names_in(data: bytes) -> set[str]:
    """Give the names of the header lines of a printed message, read as simply as can be: line by line."""
    head = data.partition(b"\r\n\r\n")[0].decode("utf-8", "surrogateescape")
    lines = head.replace("\r\n", "\n").replace("\r", "\n").split("\n")[1:]
    return {canonical_name(line.partition(":")[0]) for line in lines if line[:1] not in (" ", "\t")}


class LineTests(HostileCase):
    """Line breaks, and what somebody may take for one."""

    def assert_clean(self, crossing: Crossing) -> None:
        """Say that no message that left has a line that was injected."""
        for data in (*crossing.forwarded, *crossing.returned):
            self.assertNotIn(EVIL.lower(), names_in(data), data)
        crossing.arena.server.b2bua.stop_calls("the test is over")
        self.assert_unharmed(crossing.arena)

    def test_display_names(self) -> None:
        """A display name, quoted or not, stays in its header line."""
        for text in ("\r\n", "\n", *BREAKS):
            for name in (f'"a{text}{EVIL}: 1"', f'"a\\"{text}{EVIL}: 1"', f"a{text}{EVIL}: 1"):
                octets = invite().replace(b"From: ", f"From: {name} ".encode())
                self.assert_clean(Crossing(octets))
                self.assert_clean(Crossing(invite().replace(b"To: ", f"To: {name} ".encode())))

    def test_uris(self) -> None:
        """So does whatever stands in a URI, escaped or not."""
        for text in BREAKS:
            for old, new in (
                (b"sip:bob@", f"sip:bob{text}{EVIL}:1@"),
                (b"sip:bob@example.com", f"sip:bob@example.com;p={text}{EVIL}:1"),
                (b"sip:bob@example.com", f"sip:bob@example.com?{EVIL}=1{text}"),
                (b"sip:alice@", f"sip:alice{text}{EVIL}:1@"),
                (b"tag=from-tag", f"tag=from-tag{text}{EVIL}: 1"),
            ):
                self.assert_clean(Crossing(invite().replace(old, new.encode())))

    def test_reason_phrases(self) -> None:
        """And in a reason phrase of the callee."""
        for text in BREAKS:
            for status in (b"183", b"200", b"302", b"486", b"603"):
                says = b"SIP/2.0 %s Busy%s%s: 1" % (status, text.encode(), EVIL.encode())
                self.assert_clean(Crossing(invite(), [says]))

    def test_unknown_header_fields(self) -> None:
        """What crosses does so as the one line that it was."""
        for text in BREAKS:
            octets = invite(headers=[("X-Good", "value")]).replace(b"value", f"v{text}{EVIL}: 1".encode())
            self.assert_clean(Crossing(octets))

    def test_session_descriptions(self) -> None:
        """A line break of any kind in a description is one for the relay too: every address is the relay's."""
        for text in ("\r", "\n", "\r\n", "\n\n", "\r\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\0"):
            body = builders.sdp(STRANGER).decode().replace("s=-", f"s=-{text}c=IN IP4 198.51.100.7{text}a=x")
            for line in ("m=audio", "a=sendrecv"):
                crossing = Crossing(invite(body=body.replace(line, f"a=y{text}{line}").encode()))
                for data in crossing.forwarded:
                    lines = data.partition(b"\r\n\r\n")[2].decode().splitlines()
                    self.assertNotIn("c=IN IP4 198.51.100.7", lines if text not in "\x0b\x0c\x85\u2028\0" else [])
                    self.assertNotIn(f"c=IN IP4 {STRANGER}", lines)
                self.assert_clean(crossing)

    def test_the_head_ends_once(self) -> None:
        """An empty line in the middle of a head ends it for both sides: what follows is the body."""
        octets = invite().replace(b"Max-Forwards", f"{EVIL}: 1\r\n\r\nMax-Forwards".encode())
        crossing = Crossing(octets)
        self.assertEqual(crossing.forwarded, [])
        self.assert_clean(crossing)


class FieldTests(HostileCase):
    """What crosses from one leg to the other."""

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.tuples(NAMES, VALUES), max_size=5))
    def test_no_field_that_stays_crosses(self, fields: list[tuple[str, str]]) -> None:
        """Whatever fields an INVITE has, those that belong to a leg do not cross, and the others do unchanged."""
        octets = invite(headers=fields)
        crossing = Crossing(octets)
        for data in crossing.forwarded:
            original, passed = parse_datagram(octets), parse_datagram(data)
            self.assertLessEqual(set(passed.headers.names()) & STAYS.keys(), OWN | OF_THE_BODY)
            if isinstance(passed, Request) and passed.method == "INVITE":
                ours = [passed.headers.get_all(name) for name in ("Supported", "Session-Expires")]
                self.assertEqual(ours, [["100rel, norefersub, nosub, replaces, timer"], ["1800"]])
            before, after = (
                [line for name, line in zip(headers.names(), headers.lines(), strict=True) if name not in STAYS]
                for headers in (original.headers, passed.headers)
            )
            self.assertEqual(before, after)
            self.assertNotIn(b"203.0.113.9", data.partition(b"\r\n\r\n")[0].replace(_unknown(before), b""))
        crossing.arena.server.b2bua.stop_calls("the test is over")
        self.assert_unharmed(crossing.arena)

    def test_topology(self) -> None:
        """Neither leg sees an address of the other's signalling or media."""
        crossing = Crossing(invite(contact="<sip:x@203.0.113.9>", body=builders.sdp(STRANGER)))
        (forwarded,) = crossing.forwarded
        self.assertNotIn(STRANGER.encode(), forwarded)
        for data in crossing.returned:
            self.assertNotIn(BOB.encode(), data)
        crossing.arena.server.b2bua.stop_calls("the test is over")
        self.assert_unharmed(crossing.arena)


def _unknown(lines: list[str]) -> bytes:
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")
