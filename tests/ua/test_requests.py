"""Requests outside of dialogs: targets, challenges, handlers, and what becomes of answers that nobody waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sipd.errors import RemoteError, TransactionTimeoutError, TransportError, UnresolvableError
from sipd.interfaces import Credentials, IRequestHandler, IServerTransaction
from sipd.sip.headers import Headers
from sipd.sip.message import Request, Response
from sipd.sip.uri import parse_uri
from sipd.testing import builders
from sipd.ua import core
from sipd.ua.settings import AgentSettings
from tests.ua.support import OTHER, THEM, US, AgentCase, Wire

GATEWAY = "sip:gw.example.net"
CREDENTIALS = Credentials(username="us", password="secret")


class TargetTests(AgentCase):
    """Where `UserAgent.request` sends."""

    def setUp(self) -> None:
        """Add a second place."""
        super().setUp()
        self.other = Wire(self.network, OTHER)
        self.network.names["gw.example.net"] = (OTHER, THEM)

    def _ask(
        self, uri: str = GATEWAY, headers: Sequence[tuple[str, str]] = (), contact: str | None = None
    ) -> Deferred[Response]:
        answer = self.agent.request(builders.options(uri, via=None, contact=contact, headers=headers))
        self.clock.advance(0.1)
        return answer

    def test_route_comes_before_the_uri(self) -> None:
        """A request with a Route goes to its first hop (section 8.1.2)."""
        answer = self._ask("sip:far.example.org", [("Route", f"<sip:{THEM};lr>")])
        self.them.send(builders.response(self.them.request("OPTIONS"), 404))
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(answer).status, 404)
        self.settle()

    def test_contact_of_its_own(self) -> None:
        """A Contact that is there stays."""
        answer = self._ask(f"sip:{THEM}", contact="<sip:mine@192.0.2.77>")
        options = self.them.request("OPTIONS")
        self.assertEqual(options.headers.get_all("Contact"), ["<sip:mine@192.0.2.77>"])
        self.them.send(builders.response(options, 200))
        self.clock.advance(0.1)
        self.successResultOf(answer)
        self.settle()

    def test_next_target_after_503_and_after_silence(self) -> None:
        """Both move on to the next address, with a new branch (RFC 3263 section 4.3)."""
        for is_silent in (True, False):
            answer = self._ask()
            first = self.other.request("OPTIONS")
            if not is_silent:
                self.other.send(builders.response(first, 503))
            self.clock.advance(33.0 if is_silent else 0.1)
            second = self.them.request("OPTIONS")
            self.assertNotEqual(first.via.branch, second.via.branch)
            self.assertEqual(len(second.vias), 1)
            self.them.send(builders.response(second, 200))
            self.clock.advance(0.1)
            self.assertEqual(self.successResultOf(answer).status, 200)
            self.settle()

    def test_silent_target_is_left(self) -> None:
        """Four seconds of silence move on; what the first place answers after that is not taken."""
        answer = self._ask()
        self.clock.advance(4.0)
        self.other.send(builders.response(self.other.request("OPTIONS"), 200))
        self.clock.advance(0.1)
        self.assertNoResult(answer)
        self.them.send(builders.response(self.them.request("OPTIONS"), 404))
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(answer).status, 404)
        self.settle()

    def test_sign_of_life(self) -> None:
        """A target that says 100 is waited for."""
        answer = self._ask()
        first = self.other.request("OPTIONS")
        self.other.send(builders.response(first, 100))
        self.clock.advance(20.0)
        self.assertEqual(self.them.kinds(), [])
        self.other.send(builders.response(first, 200))
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(answer).status, 200)
        self.settle()

    def test_cancelled(self) -> None:
        """A request that nobody waits for any more is not tried elsewhere, and leaves no timer behind."""
        answer = self._ask()
        answer.addErrback(lambda _: None)
        answer.cancel()
        self.clock.advance(33.0)
        self.assertEqual(self.them.kinds(), [])
        self.settle()

    def test_overload_everywhere(self) -> None:
        """503 of the last address fails the request with that status."""
        answer = self._ask()
        self.other.send(builders.response(self.other.request("OPTIONS"), 503))
        self.clock.advance(0.1)
        self.them.send(builders.response(self.them.request("OPTIONS"), 503, "Too busy"))
        self.clock.advance(0.1)
        error = self.failureResultOf(answer, RemoteError).value
        self.assertEqual((error.status, error.reason), (503, "Too busy"))
        self.settle()

    def test_silence_everywhere(self) -> None:
        """The last failure is the one that is told."""
        answer = self._ask()
        self.clock.advance(66.0)
        self.failureResultOf(answer, TransactionTimeoutError)
        self.settle()

    def test_address_that_cannot_be_spoken_to(self) -> None:
        """An address of a version of IP without a listening point is passed over."""
        self.network.names["gw.example.net"] = ("2001:db8::5", THEM)
        answer = self._ask()
        self.them.send(builders.response(self.them.request("OPTIONS"), 200))
        self.clock.advance(0.1)
        self.successResultOf(answer)
        self.failureResultOf(self._ask("sip:[2001:db8::5]"), TransportError)
        self.settle()

    def test_unknown_name(self) -> None:
        """It fails at once."""
        answer = self._ask("sip:nowhere.example.net")
        self.clock.advance(1.0)
        self.failureResultOf(answer, UnresolvableError)

    def test_no_room_for_a_transaction(self) -> None:
        """What this side lacks is a transport error to who asked."""
        self.transactions._max_transactions = 0
        error = self.failureResultOf(self._ask(f"sip:{THEM}"), TransportError).value
        self.assertIn("transactions", error.reason)


class ChallengeTests(AgentCase):
    """Challenges to a request (section 22.2)."""

    def _ask(self, credentials: Credentials | None = CREDENTIALS) -> Deferred[Response]:
        answer = self.agent.request(builders.options(f"sip:{THEM}", via=None), credentials)
        self.clock.advance(0.1)
        return answer

    def _challenge(self, value: str) -> None:
        headers = [("WWW-Authenticate", value)]
        self.them.send(builders.response(self.them.request("OPTIONS"), 401, headers=headers))
        self.clock.advance(0.1)

    def test_without_credentials(self) -> None:
        """A challenge is the answer."""
        answer = self._ask(None)
        self._challenge('Digest realm="r", nonce="n"')
        self.assertEqual(self.successResultOf(answer).status, 401)
        self.settle()

    def test_challenge_that_cannot_be_answered(self) -> None:
        """One of an unknown kind is the answer."""
        answer = self._ask()
        self._challenge('Bearer realm="r"')
        self.assertEqual(self.successResultOf(answer).status, 401)
        self.settle()

    def test_challenge_that_cannot_be_read(self) -> None:
        """One that does not parse is the answer, too."""
        answer = self._ask()
        self._challenge("Digest realm")
        self.assertEqual(self.successResultOf(answer).status, 401)
        self.settle()

    def test_challenge_without_end(self) -> None:
        """Proxies without number that all want credentials are not asked for ever; each attempt has its own CSeq."""
        answer = self._ask()
        for round_ in range(5):
            self.assertNoResult(answer)
            self._challenge(f'Digest realm="r{round_}", nonce="n{round_}", qop="auth"')
        self.assertEqual(self.successResultOf(answer).status, 401)
        requests = [one for one in self.them.take() if isinstance(one, Request)]
        self.assertEqual([request.cseq.number for request in requests], [1, 2, 3, 4, 5])
        self.assertEqual([len(request.headers.get_all("Authorization")) for request in requests], [0, 1, 2, 3, 4])
        self.assertEqual([len(request.vias) for request in requests], [1] * 5)
        self.settle()


@implementer(IRequestHandler)
class Handler:
    """Answers 202 to whatever comes."""

    extensions: ClassVar[frozenset[str]] = frozenset(("path",))

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IRequestHandler`."""
        transaction.respond(transaction.request.response(202, to_tag="h"))


class HandlerTests(AgentCase):
    """Requests that come in."""

    def _status(self, method: str, **options: Any) -> Response:
        count = getattr(self, "_count", 0)
        self._count = count + 1
        self.them.take()
        options |= {"branch": f"z9hG4bK-{count}", "call_id": f"c{count}"}
        self.them.send(builders.request(method, f"sip:{US}", via=f"{THEM}:5060", **options))
        self.clock.advance(0.1)
        response = self.them.take()[0]
        assert isinstance(response, Response)
        return response

    def test_method_with_a_handler(self) -> None:
        """It gets the requests of its method, and those of the dialogs of others, never."""
        self.assertEqual(self._status("PUBLISH").status, 405)
        self.agent.handlers["PUBLISH"] = Handler()
        self.assertEqual(self._status("PUBLISH").status, 202)
        self.assertEqual(self._status("PUBLISH", to_tag="x").status, 481)
        allowed = self._status("OPTIONS").headers.get("Allow")
        self.assertEqual(allowed, "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, MESSAGE, PUBLISH")
        self.settle()

    def test_methods_of_a_call(self) -> None:
        """INFO outside of a dialog gets 481 (RFC 6086), and so does a MESSAGE that nobody takes there."""
        self.assertEqual([self._status(method).status for method in ("INFO", "MESSAGE")], [481, 481])
        self.agent.handlers["MESSAGE"] = Handler()
        self.assertEqual([self._status(method).status for method in ("INFO", "MESSAGE")], [481, 202])
        self.settle()

    def test_handler_of_options(self) -> None:
        """OPTIONS may have a handler, and stands in Allow once."""
        self.agent.handlers["OPTIONS"] = Handler()
        self.assertEqual(self._status("OPTIONS").status, 202)
        allowed = self._status("REFER").headers.get("Allow")
        self.assertEqual(allowed, "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, MESSAGE")
        self.settle()

    def test_extensions(self) -> None:
        """What a handler supports may be required of its method, and of no other (8.2.2.3)."""
        self.agent.handlers["MESSAGE"] = Handler()
        self.agent.settings = AgentSettings(supported=frozenset(("timer", "replaces")))
        for method, option, status in (
            ("MESSAGE", "path", 202),
            ("MESSAGE", "timer", 202),
            ("OPTIONS", "timer", 200),
            ("OPTIONS", "path", 420),
        ):
            self.assertEqual(self._status(method, headers=[("Require", option)]).status, status, (method, option))
        self.assertEqual(self._status("OPTIONS").headers.get("Supported"), "replaces, timer")
        self.settle()

    def test_who_this_is(self) -> None:
        """The name stands in what this side can do, unless it has none."""
        self.assertEqual(self._status("OPTIONS").headers.get("User-Agent"), "sipd")
        self.agent.settings = AgentSettings(name="", supported=frozenset())
        response = self._status("OPTIONS")
        self.assertNotIn("User-Agent", response.headers)
        self.assertNotIn("Supported", response.headers)
        self.assertEqual(response.headers.get("Accept"), "application/sdp, multipart/alternative, multipart/mixed")
        self.settle()

    def test_cancel_of_what_was_refused(self) -> None:
        """A CANCEL for an INVITE that nobody took gets its 200, and nothing else happens."""
        self.agent.call_handler = None
        invite = builders.invite(f"sip:bob@{US}", via=f"{THEM}:5060")
        self.them.send(invite)
        self.clock.advance(0.1)
        self.them.send(builders.cancel(invite))
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["480", "200"])
        self.them.send(builders.ack(invite, builders.response(invite, 480)))
        self.settle()


class ContactTests(AgentCase):
    """The Contact of this side."""

    def test_user_and_transport(self) -> None:
        """The user part of the address, the listening point's address, and the transport unless it is UDP."""
        wire = self.calling()
        flow = wire.flow
        assert flow is not None
        for uri, contact in (
            ("sip:alice@example.com", f"<sip:alice@{US}:5060>"),
            ("sip:example.com", f"<sip:{US}:5060>"),
            ("tel:+4930", f"<sip:{US}:5060>"),
        ):
            self.assertEqual(self.agent.contact(flow, parse_uri(uri)), contact)
        fields = Headers()
        self.agent.add_capabilities(fields)
        self.assertEqual([name for name, _ in fields.items()], ["Allow", "Supported", "User-Agent"])
        wire.hang_up()
        self.settle()


class GivenUpTests(AgentCase):
    """Answers to INVITEs that were given up (lesson 26)."""

    def _given_up(self) -> None:
        call = self.calling()
        self.answer(180)
        call.hang_up()
        self.clock.advance(100.0)
        self.invite = self.them.request("INVITE")
        self.them.messages = [self.invite]

    def test_only_a_2xx_to_the_invite_counts(self) -> None:
        """A late refusal, or an answer to something else, is dropped."""
        self._given_up()
        self.answer(486)
        other = self.answer(200)
        self.assertEqual(self.them.kinds()[1:], ["ACK", "BYE"])
        other.headers.set("CSeq", "1 OPTIONS")
        self.them.send(other)
        self.clock.advance(0.1)
        self.assertEqual([kind for kind in self.them.kinds() if kind != "BYE"], [])
        self.settle()

    def test_not_for_ever(self) -> None:
        """After three minutes it is forgotten."""
        self._given_up()
        self.clock.advance(170.0)
        self.answer(200)
        self.assertEqual(self.them.kinds(), ["INVITE"])
        self.settle()

    def test_bound(self) -> None:
        """Only so many are known; of the others a late 2xx is dropped."""
        self.patch(core, "MAX_GIVEN_UP", 1)
        self._given_up()
        first = self.invite
        self._given_up()
        self.answer(200)
        self.assertEqual(self.them.kinds(), ["INVITE"])
        self.them.messages = [first]
        self.answer(200)
        self.assertEqual(self.them.kinds(), ["INVITE", "ACK", "BYE"])
        self.settle()
