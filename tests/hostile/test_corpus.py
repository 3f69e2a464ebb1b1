"""The torture messages of RFC 4475, sent to a running registrar and B2BUA.

Whoever calls reaches a phone that answers every call, and whoever registers knows the password: so each message gets as
far as it can.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sipd.routing.rules import StaticRoute
from sipd.sip.grammar import unescape
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.sip.uri import SipUri
from sipd.testing import builders
from sipd.testing.credentials import authorize
from sipd.testing.peer import Peer
from tests.hostile.support import BOB, SERVER, HostileCase, RawStream

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "corpora" / "rfc4475"
#: All callers are connected to this phone, and need not say who they are.
TO_THE_PHONE = StaticRoute(name="all", to=f"sip:callee@{BOB}:5060", authenticate=False)
#: Those who register, as they stand in To.
USERS = dict.fromkeys(("null-\0-null", "j.user", "user", "watson", "callee"), "secret")

_CALL_ID = re.compile(rb"^(?:Call-ID|I):[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)

#: On a stream, what ends the connection: nobody can tell where the message ends.
ENDS_THE_STREAM = {
    "ncl": "a negative Content-Length",
    "mcl01": "two values of Content-Length",
    "inv2543": "no Content-Length",
}
#: On a stream, what is never whole.
NEVER_WHOLE = {"clerr": "a Content-Length that is larger than the body", "baddn": "no end of the head"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Torture:
    """One message of the corpus.

    Args:
        name: as in the RFC.
        rule: which statuses may answer it: `400`, `4xx`, `any`, `!400`, `none`, with white space between them.
        may_be_dropped: whether no answer is right, too.
        data: the message.
    """

    name: str
    rule: str
    may_be_dropped: bool
    data: bytes

    def allows(self, statuses: list[int]) -> bool:
        """Say whether these final statuses, all of one request, are right."""
        words = self.rule.split()
        if not statuses:
            return "none" in words or self.may_be_dropped
        if len(set(statuses)) > 1 or "none" in words:
            return False
        patterns = {word.replace("x", ".").replace("any", "...") for word in words if not word.startswith("!")}
        refused = {word[1:] for word in words if word.startswith("!")}
        status = str(statuses[0])
        return status not in refused and any(re.fullmatch(pattern, status) for pattern in patterns)


class CorpusCase(HostileCase):
    """Sends messages of the corpus."""

    users = USERS
    routes: Sequence[StaticRoute] = (TO_THE_PHONE,)

    def setUp(self) -> None:
        if not FOLDER.is_dir():
            self.skipTest(f"{FOLDER} is not there")
        index: list[dict[str, Any]] = json.loads((FOLDER / "index.json").read_text())["messages"]
        self.corpus = {
            entry["name"]: Torture(
                name=entry["name"],
                rule=entry["udp_answer"],
                may_be_dropped=entry["no_answer_ok"],
                data=(FOLDER / entry["file"]).read_bytes(),
            )
            for entry in index
        }
        self.begin()

    def begin(self) -> None:
        """Make an arena with a phone that answers."""
        super().setUp()
        self.phone = Peer(
            self.arena.network.host(BOB), "callee", BOB, proxy=(SERVER, 5060), entropy=self.arena.network.entropy
        )
        self.phone.auto_answer(0.2)

    def send(self, name: str) -> list[Response]:
        """Send a message; give all final responses to it that came within two seconds."""
        self.arena.mark()
        self.arena.send(self.corpus[name].data)
        self.arena.clock.advance(2.0)
        return self.answers(name)

    def answers(self, name: str) -> list[Response]:
        """Give the final responses to a message since the mark."""
        call_id = _call_id(self.corpus[name].data)
        return [answer for answer in self.arena.answers() if answer.headers.get("Call-ID") == call_id]

    def register(self, name: str) -> Response:
        """Send a REGISTER, and again with credentials; give the answer to that."""
        (challenge,) = self.send(name)
        self.assertEqual(challenge.status, 401, name)
        self.arena.clock.advance(60.0)  # until its transaction is over, since the copy has the same branch
        again = parse_datagram(self.corpus[name].data)
        assert isinstance(again, Request)
        assert isinstance(again.to.uri, SipUri)
        user = unescape(again.to.uri.user or "")
        self.assertTrue(authorize(again, challenge, user, "secret", "cnonce"))
        self.arena.mark()
        self.arena.send(again.to_bytes())
        (answer,) = self.answers(name)
        return answer

    def invites(self) -> list[Request]:
        """Give each INVITE that the phone got, once."""
        found = [message for message in self.phone.seen if isinstance(message, Request) and message.method == "INVITE"]
        return list({message.via.branch: message for message in found}.values())


class DatagramTests(CorpusCase):
    """Over UDP."""

    def test_each_is_answered_as_it_should_be(self) -> None:
        """Each message is answered as the index says, the server goes on serving, and nothing is left behind."""
        wrong = {}
        for torture in self.corpus.values():
            self.begin()
            statuses = [answer.status for answer in self.send(torture.name)]
            if not torture.allows(statuses):
                wrong[torture.name] = (torture.rule, statuses)
            self.assert_unharmed()
        self.assertEqual(wrong, {})
        self.assertGreater(len(self.corpus), 45)

    def test_a_repetition_is_no_other_request(self) -> None:
        """A message that comes three times is answered with the same To tag each time, and makes one call at most."""
        wrong = {}
        for torture in self.corpus.values():
            self.begin()
            answers = [answer for _ in range(3) for answer in self.send(torture.name)]
            self.arena.clock.advance(2.0)
            tags = {answer.headers.get("To") for answer in answers}
            if len(tags) > 1 or len(self.invites()) > 1:
                wrong[torture.name] = (tags, self.invites())
        self.assertEqual(wrong, {})

    def test_nothing_goes_anywhere_else(self) -> None:
        """Responses go to who sent the request and requests to the phone: never to an address in a message."""
        allowed = {self.arena.stranger.address, BOB}
        for torture in self.corpus.values():
            self.begin()
            self.send(torture.name)
            self.assertLessEqual({host for (host, _), _ in self.arena.datagrams_sent()}, allowed, torture.name)

    def test_what_reaches_the_phone(self) -> None:
        """The INVITEs that can be understood are calls, and those that cannot are never passed on."""
        reached = set()
        for torture in self.corpus.values():
            self.begin()
            self.send(torture.name)
            if self.invites():
                reached.add(torture.name)
        self.assertEqual(reached, {"esc01", "longreq", "baddate", "sdp01"})

    def test_trailing_octets(self) -> None:
        """What follows the body in a datagram is no second request: one answer, no call (dblreq)."""
        self.assertEqual([answer.cseq.method for answer in self.send("dblreq")], ["REGISTER"])
        self.arena.clock.advance(60.0)
        self.assertEqual((self.invites(), self.arena.server.records.records), ([], []))
        self.assertEqual(len(self.arena.statuses()), 1)

    def test_headers_in_a_request_uri(self) -> None:
        """Escaped header fields of a request URI go nowhere (escruri)."""
        (answer,) = self.send("escruri")
        self.assertEqual(answer.status, 400)
        self.assertNotIn("Route", answer.headers)
        self.assertEqual(self.phone.seen, [])

    def test_a_response_for_others(self) -> None:
        """Responses that are not ours are forwarded to nobody, and to no broadcast address (bcast, unreason, ...)."""
        for name in ("bcast", "unreason", "noreason", "bigcode", "scalarlg"):
            self.send(name)
            self.assertEqual(self.arena.datagrams_sent(), [], name)

    def test_long_values_cross(self) -> None:
        """Header fields that nobody here knows reach the other leg octet for octet, however long (longreq)."""
        self.send("longreq")
        (invite,) = self.invites()
        original = parse_datagram(self.corpus["longreq"].data)
        unknown = [line for line in original.headers.lines() if line.startswith("Unknown-Long")]
        self.assertTrue(unknown)
        self.assertEqual([line for line in invite.headers.lines() if line.startswith("Unknown-Long")], unknown)
        self.assertEqual(invite.headers.count("Via"), 1)

    def test_refusals_say_what_is_missing(self) -> None:
        """420 lists the extensions, 415 the types that are taken (bext01, invut)."""
        (answer,) = self.send("bext01")
        self.assertEqual(answer.headers.values("Unsupported"), ["nothingSupportsThis", "nothingSupportsThisEither"])
        self.begin()
        answer = self.send("invut")[0]
        self.assertIn("application/sdp", answer.headers.values("Accept"))

    def test_contact_parameters(self) -> None:
        """A parameter without brackets belongs to the Contact, one within to the URI, and stays (cparam01, 02)."""
        self.assertEqual(self.register("cparam01").status, 200)
        (binding,) = self.arena.server.location.lookup("sip:watson@example.com")
        self.assertEqual(str(binding.uri), "sip:+19725552222@gw1.example.net")
        self.begin()
        answer = self.register("cparam02")
        (binding,) = self.arena.server.location.lookup("sip:watson@example.com")
        self.assertEqual(str(binding.uri), "sip:+19725552222@gw1.example.net;unknownparam")
        self.assertEqual(str(answer.contacts[0].uri), "sip:+19725552222@gw1.example.net;unknownparam")

    def test_escaped_nulls(self) -> None:
        """A user part with %00 in it is not cut short: two bindings of a user of that name (escnull)."""
        answer = self.register("escnull")
        self.assertEqual(answer.status, 200)
        bindings = self.arena.server.location.lookup("sip:null-%00-null@example.com")
        expected = {"sip:%00@host5.example.com", "sip:%00%00@host5.example.com"}
        self.assertEqual({str(binding.uri) for binding in bindings}, expected)
        self.assertEqual({str(contact.uri) for contact in answer.contacts}, expected)
        self.assert_unharmed()

    def test_a_route_in_a_contact(self) -> None:
        """An escaped Route in a registered Contact is kept, and put into no request (regescrt)."""
        self.routes = ()
        self.begin()
        self.assertEqual(self.register("regescrt").status, 200)
        (binding,) = self.arena.server.location.lookup("sip:user@example.com")
        self.assertEqual(str(binding.uri), "sip:user@example.com?Route=%3Csip:sip.example.com%3E")
        caller = self.arena.peer("watson", "192.0.2.3")
        self.arena.mark()
        caller.call("user")
        self.arena.clock.advance(0.5)
        (invite,) = [message for message in self.arena.sent() if isinstance(message, Request)]
        self.assertEqual((invite.uri_text, "Route" in invite.headers), ("sip:user@example.com", False))

    def test_one_registration_of_two_requests(self) -> None:
        """The REGISTER before the trailing octets is served (dblreq)."""
        self.assertEqual(self.register("dblreq").status, 200)
        (binding,) = self.arena.server.location.lookup("sip:j.user@example.com")
        self.assertEqual(str(binding.uri), "sip:j.user@host.example.com")


class StreamTests(CorpusCase):
    """Over TCP."""

    def send_on(self, stream: RawStream, data: bytes) -> None:
        """Send octets, and wait two seconds."""
        stream.wire.write(data)
        self.arena.clock.advance(2.0)

    def test_each_is_answered_as_it_should_be(self) -> None:
        """Whole messages are answered as over UDP, and the connection goes on with the next one."""
        wrong: dict[str, tuple[str, list[int], str]] = {}
        for torture in self.corpus.values():
            if torture.name in ENDS_THE_STREAM or torture.name in NEVER_WHOLE or torture.name == "dblreq":
                continue
            self.begin()
            stream = self.arena.connect()
            self.send_on(stream, torture.data)
            statuses = stream.statuses()
            if not torture.allows(statuses) or stream.is_lost:
                wrong[torture.name] = (torture.rule, statuses, "")
            before = len(stream.data)
            self.send_on(stream, builders.options("sip:example.com", transport="TCP", branch="z9hG4bKnext").to_bytes())
            if not stream.data[before:].startswith(b"SIP/2.0 200 OK"):
                wrong[torture.name] = (torture.rule, statuses, "deaf")
            stream.wire.loseConnection()
            self.assert_unharmed()
        self.assertEqual(wrong, {})

    def test_lost_borders(self) -> None:
        """Where nobody can tell what the next message is, the request is answered with 400 and the connection ends."""
        for name, why in ENDS_THE_STREAM.items():
            self.begin()
            stream = self.arena.connect()
            self.send_on(stream, self.corpus[name].data)
            self.assertEqual((stream.statuses(), stream.is_lost), ([400], True), why)
            self.assertEqual(self.invites(), [])
            self.assert_unharmed()

    def test_never_whole(self) -> None:
        """A message that never ends is waited for, and then the connection is closed without an answer."""
        for name, why in NEVER_WHOLE.items():
            self.begin()
            stream = self.arena.connect()
            self.send_on(stream, self.corpus[name].data)
            self.assertEqual((stream.data, stream.is_lost), (b"", False), why)
            self.arena.clock.advance(self.arena.server.transport.limits.message_timeout)
            self.assertEqual((stream.data, stream.is_lost), (b"", True), why)
            self.assert_unharmed()

    def test_two_requests_are_two(self) -> None:
        """What are trailing octets in a datagram is the next request on a stream (dblreq)."""
        stream = self.arena.connect()
        self.send_on(stream, self.corpus["dblreq"].data)
        self.assertEqual(stream.statuses(), [401, 400])
        stream.wire.loseConnection()
        self.assert_unharmed()

    def test_octet_by_octet(self) -> None:
        """A message that comes an octet at a time is answered as if it came at once."""
        for name in ("wsinv", "intmeth", "esc02", "scalar02", "unkscm"):
            self.begin()
            whole = self.arena.connect()
            self.send_on(whole, self.corpus[name].data)
            self.arena.clock.advance(60.0)
            pieces = self.arena.connect()
            for octet in self.corpus[name].data:
                pieces.wire.write(bytes((octet,)))
            self.arena.clock.advance(2.0)
            self.assertEqual(pieces.statuses()[:1], whole.statuses()[:1], name)
            self.assertTrue(whole.statuses(), name)


def _call_id(data: bytes) -> str | None:
    match = _CALL_ID.search(data)
    return match[1].decode() if match else None
