"""Any request that this side sends may be challenged (RFC 3261 section 22, RFC 7616, RFC 8760; lesson 55).

What the peer checks is worked out here, apart from `sipd.sip.digest`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred

from sipd.interfaces import Credentials
from sipd.sip.fields import AuthParameters
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.ua.events import Answered, Ended, Progressed, Refused
from sipd.ua.settings import AgentSettings
from tests.ua.support import OTHER, THEM, US, Wire
from tests.ua.test_session import SDP_TYPE, SessionCase

US_CREDENTIALS = Credentials(username="us", password="secret")
WRONG = Credentials(username="us", password="wrong")
HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
ANSWERS = {"WWW-Authenticate": "Authorization", "Proxy-Authenticate": "Proxy-Authorization"}
OFFER = builders.sdp(US)
RELIABLE = (("Require", "100rel"), ("RSeq", "1"))


def www(realm: str = "server", nonce: str = "n1", *more: str) -> tuple[str, str]:
    """Give a challenge of a server."""
    return "WWW-Authenticate", ", ".join((f'Digest realm="{realm}"', f'nonce="{nonce}"', 'qop="auth"', *more))


def proxy(realm: str = "proxy", nonce: str = "p1", *more: str) -> tuple[str, str]:
    """Give a challenge of a proxy."""
    return "Proxy-Authenticate", www(realm, nonce, *more)[1]


def counts_of(request: Request, password: str = "secret") -> dict[str, int]:
    """Give the nonces in a request with their counts, after a look at the digest of each."""
    counts = {}
    for name in ANSWERS.values():
        for line in request.headers.get_all(name):
            values = AuthParameters.parse(line).parameters

            def digest(*parts: str, algorithm: str = values.get("algorithm", "MD5")) -> str:
                return hashlib.new(HASHES[algorithm], ":".join(parts).encode()).hexdigest()

            secret = digest(values["username"], values["realm"], password)
            what = digest(request.method, request.uri_text)
            used = (values["nc"], values["cnonce"], values["qop"])
            assert values["response"] == digest(secret, values["nonce"], *used, what), line
            assert values["uri"] == request.uri_text
            counts[values["nonce"]] = int(values["nc"], 16)
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a request is challenged: a refusal for each time that it comes, and the nonces that it has in the end."""

    refusals: Sequence[tuple[int, Sequence[tuple[str, str]]]]
    nonces: frozenset[str]


WAYS = {
    "server": Way(refusals=[(401, [www()])], nonces=frozenset({"n1"})),
    "proxy": Way(refusals=[(407, [proxy()])], nonces=frozenset({"p1"})),
    "proxy, then server": Way(refusals=[(407, [proxy()]), (401, [www()])], nonces=frozenset({"p1", "n1"})),
    "proxies in a row": Way(
        refusals=[(407, [proxy("a", "p1")]), (407, [proxy("b", "p2")]), (407, [proxy("c", "p3")])],
        nonces=frozenset({"p1", "p2", "p3"}),
    ),
    "both at once": Way(refusals=[(401, [www(), proxy()])], nonces=frozenset({"p1", "n1"})),
    "the realm changes": Way(
        refusals=[(401, [www("one", "n1")]), (401, [www("two", "n2")])], nonces=frozenset({"n1", "n2"})
    ),
    "algorithms to choose from": Way(
        refusals=[
            (
                401,
                [
                    www("server", "n0", "algorithm=SHA-3"),
                    www("server", "n1", "algorithm=SHA-256"),
                    www("server", "n2", "algorithm=MD5"),
                ],
            )
        ],
        nonces=frozenset({"n1"}),
    ),
    "another scheme before it": Way(
        refusals=[(407, [("Proxy-Authenticate", 'Bearer realm="proxy"'), proxy()])], nonces=frozenset({"p1"})
    ),
}


class ChallengeCase(SessionCase):
    """Every request that a user agent sends."""

    #: Within a session that is up: what sends it, by its name here.
    WITHIN = ("INVITE", "UPDATE", "BYE", "INFO", "MESSAGE", "OPTIONS", "REFER", "NOTIFY", "SUBSCRIBE")
    OUTSIDE = ("OPTIONS", "MESSAGE", "REGISTER", "SUBSCRIBE", "PUBLISH")

    def setUp(self) -> None:
        """Keep the outcomes."""
        super().setUp()
        self.outcomes: list[int] = []

    def heard(self, answer: Deferred[Response]) -> None:
        """Keep the final response of a request."""
        answer.addCallback(lambda response: self.outcomes.append(response.status))

    def send_within(self, method: str, credentials: Credentials | None) -> None:
        """Send a request in a session that is up."""
        call = self.outgoing(credentials=credentials)
        if method == "INVITE":
            call.reinvite(SDP_TYPE, OFFER)
        elif method == "UPDATE":
            call.update(SDP_TYPE, OFFER)
        elif method == "BYE":
            call.hang_up()
        else:
            self.heard(call.request(method))
        self.clock.advance(0.1)

    def send_outside(self, method: str, credentials: Credentials | None) -> None:
        """Send a request outside of any dialog."""
        request = builders.request(method, f"sip:bob@{THEM}", via=None, contact=None, call_id=f"{method}@us")
        self.heard(self.agent.request(request, credentials))
        self.clock.advance(0.1)

    def send_invite(self, credentials: Credentials | None) -> None:
        """Send the first INVITE of a call."""
        self.calling(body=OFFER, credentials=credentials)

    def send_prack(self, credentials: Credentials | None) -> None:
        """Let a ringing that is to be acknowledged come."""
        self.calling(body=OFFER, credentials=credentials)
        self.answer(180, headers=RELIABLE)

    def everything(self, credentials: Credentials | None) -> list[tuple[str, Callable[[], object]]]:
        """Give each request with what sends it."""
        within = [(one, lambda one=one: self.send_within(one, credentials)) for one in self.WITHIN]
        outside = [(one, lambda one=one: self.send_outside(one, credentials)) for one in self.OUTSIDE]
        return [
            *within,
            *outside,
            ("INVITE", lambda: self.send_invite(credentials)),
            ("PRACK", lambda: self.send_prack(credentials)),
        ]

    def sent(self, method: str) -> list[Request]:
        """Give all requests of a method that came to the peer."""
        return [one for one in self.them.messages if isinstance(one, Request) and one.method == method]

    def reply(self, method: str, status: int, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Let the peer answer the last request of a method."""
        request = self.them.request(method)
        contact = f"<sip:bob@{THEM}>"
        self.them.send(builders.response(request, status, to_tag="t1", contact=contact, headers=headers))
        self.clock.advance(0.1)

    def leave(self) -> None:
        """End what is there, and forget it."""
        for session in list(self.agent._sessions):
            session.hang_up()
        self.clock.advance(0.1)
        for method, status in (("CANCEL", 200), ("PRACK", 200), ("INVITE", 487), ("BYE", 200)):
            if self.sent(method):
                self.reply(method, status)
        self.settle()
        self.them.take()
        self.user.events.clear()
        self.outcomes.clear()


class MatrixTests(ChallengeCase):
    """Every request, challenged in every way."""

    def _passes(self, way: Way, credentials: Credentials | None = US_CREDENTIALS) -> None:
        for method, send in self.everything(credentials):
            send()
            for status, headers in way.refusals:
                self.reply(method, status, headers)
            requests = self.sent(method)
            self.assertEqual(len(requests), 1 + len(way.refusals), method)
            numbers = [request.cseq.number for request in requests]
            self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(numbers))), method)
            self.assertEqual(len({request.via.branch for request in requests}), len(requests), method)
            self.assertEqual({len(request.vias) for request in requests}, {1}, method)
            self.assertEqual(len({(one.call_id, one.from_.tag, one.body) for one in requests}), 1, method)
            for request, nonces in zip(requests, range(len(requests)), strict=True):
                self.assertEqual(bool(counts_of(request)), nonces > 0, method)
            self.assertEqual(frozenset(counts_of(requests[-1])), way.nonces, method)
            self.assertEqual((self.outcomes, [one for one in self.user.events if isinstance(one, Refused)]), ([], []))
            self.reply(method, 200)
            if method not in ("INVITE", "UPDATE", "BYE", "PRACK"):
                self.assertEqual(self.outcomes, [200], method)
            elif method in ("INVITE", "UPDATE"):
                self.user.last(Answered)
            self.leave()

    def test_server(self) -> None:
        """A 401 is answered with Authorization."""
        self._passes(WAYS["server"])

    def test_proxy(self) -> None:
        """A 407 is answered with Proxy-Authorization."""
        self._passes(WAYS["proxy"])

    def test_proxy_then_server(self) -> None:
        """The request that answers the server still answers the proxy."""
        self._passes(WAYS["proxy, then server"])

    def test_proxies_in_a_row(self) -> None:
        """Every proxy on the way may ask for itself."""
        self._passes(WAYS["proxies in a row"])

    def test_both_at_once(self) -> None:
        """A forking proxy may gather both kinds in one response (section 16.7)."""
        self._passes(WAYS["both at once"])

    def test_realm_changes(self) -> None:
        """A challenge for another realm is another question, not a refusal."""
        self._passes(WAYS["the realm changes"])

    def test_credentials_for_all(self) -> None:
        """What the user agent knows for a realm answers for it, beside what a request brings along, or alone."""
        of_server, of_proxy = (replace(US_CREDENTIALS, realm=realm) for realm in ("server", "proxy"))
        self.agent.settings = replace(self.agent.settings, credentials=(of_server, of_proxy))
        self._passes(WAYS["proxy, then server"], None)
        self.agent.settings = replace(self.agent.settings, credentials=(of_server,))
        self._passes(WAYS["proxy, then server"], of_proxy)

    def test_algorithms(self) -> None:
        """Of several challenges the first that is understood is answered (RFC 8760 section 2.4)."""
        self._passes(WAYS["algorithms to choose from"])

    def test_schemes(self) -> None:
        """A challenge of another scheme is passed over."""
        self._passes(WAYS["another scheme before it"])

    def _ends(self, credentials: Credentials | None, most: int) -> None:
        for method, send in self.everything(credentials):
            send()
            for number in range(10):
                count = len(self.sent(method))
                self.reply(method, 401, [www(nonce=f"n{number}")])
                if len(self.sent(method)) == count:
                    break
            self.assertEqual(len(self.sent(method)), most, method)
            if method in ("INVITE", "UPDATE"):
                self.assertEqual(self.user.last(Refused).response.status, 401, method)
            elif method not in ("BYE", "PRACK"):
                self.assertEqual(self.outcomes, [401], method)
            self.leave()

    def test_wrong_password(self) -> None:
        """It is tried once, and then the challenge is the outcome, whatever nonce comes with it."""
        self._ends(WRONG, 2)

    def test_no_credentials(self) -> None:
        """Without credentials the challenge is the outcome at once."""
        self._ends(None, 1)


class AheadTests(ChallengeCase):
    """Later requests of a dialog carry what was right before (section 22.3), and what becomes of that."""

    def challenged(self, *headers: tuple[str, str], status: int = 407, ok: Sequence[tuple[str, str]] = ()) -> None:
        """Let a call be challenged, and take it."""
        self.call = self.calling(body=OFFER, credentials=US_CREDENTIALS)
        self.answer(status, headers=headers)
        self.answer(200, headers=ok)
        self.call.acknowledge()
        self.clock.advance(0.1)

    def test_every_later_request(self) -> None:
        """Each carries the credentials of proxy and server with the next count, and is challenged no more."""
        self.challenged(proxy(), www())
        self.assertEqual(counts_of(self.them.request("INVITE")), {"p1": 1, "n1": 1})
        for number, method in enumerate(("INFO", "MESSAGE", "OPTIONS", "REFER", "NOTIFY"), 2):
            self.heard(self.call.request(method))
            self.clock.advance(0.1)
            self.reply(method, 200)
            self.assertEqual(counts_of(self.them.request(method)), {"p1": number, "n1": number}, method)
        self.call.update(SDP_TYPE, OFFER)
        self.clock.advance(0.1)
        self.assertEqual(counts_of(self.them.request("UPDATE")), {"p1": 7, "n1": 7})
        self.reply("UPDATE", 200)
        self.call.reinvite(SDP_TYPE, OFFER)
        self.clock.advance(0.1)
        self.assertEqual(counts_of(self.them.request("INVITE")), {"p1": 8, "n1": 8})
        self.reply("INVITE", 200)
        self.call.acknowledge()
        self.clock.advance(0.1)
        self.assertEqual(self.outcomes, [200] * 5)
        self.call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(counts_of(self.them.request("BYE")), {"p1": 9, "n1": 9})
        self.assertEqual(len(self.sent("BYE")), 1)
        self.reply("BYE", 200)
        self.settle()

    def test_not_before_a_challenge(self) -> None:
        """A peer that asks for nothing is told nothing."""
        call = self.outgoing(credentials=US_CREDENTIALS)
        self.heard(call.request("INFO"))
        self.clock.advance(0.1)
        self.assertEqual(counts_of(self.them.request("INFO")), {})
        self.reply("INFO", 200)
        self.end(call)

    def test_not_in_another_dialog(self) -> None:
        """A call does not begin with what was right in the last one."""
        self.challenged(proxy())
        self.leave()
        self.calling(body=OFFER, credentials=US_CREDENTIALS)
        self.assertEqual(counts_of(self.them.request("INVITE")), {})
        self.leave()

    def test_ack(self) -> None:
        """The ACK of a 2xx has the credentials of its INVITE as they are (section 22.1), also of a later INVITE."""
        self.challenged(proxy(), www())
        for _ in range(2):
            ack, invite = self.them.request("ACK"), self.them.request("INVITE")
            for name in ANSWERS.values():
                self.assertEqual(ack.headers.get_all(name), invite.headers.get_all(name))
            self.assertEqual(ack.cseq.number, invite.cseq.number)
            self.call.reinvite(SDP_TYPE, OFFER)
            self.clock.advance(0.1)
            self.reply("INVITE", 200)
            self.call.acknowledge()
            self.clock.advance(0.1)
        self.leave()

    def test_prack(self) -> None:
        """The PRACK of an INVITE that was challenged carries its credentials already, in the early dialog."""
        self.calling(body=OFFER, credentials=US_CREDENTIALS)
        self.answer(407, headers=[proxy()])
        self.answer(183, headers=RELIABLE)
        self.user.last(Progressed)
        self.assertEqual(counts_of(self.them.request("PRACK")), {"p1": 2})
        self.leave()

    def test_second_callee(self) -> None:
        """The BYE to a callee that answered too late carries them, too."""
        self.challenged(proxy())
        self.answer(200, tag="t2")
        bye = self.them.request("BYE")
        self.assertEqual((bye.to.tag, counts_of(bye)), ("t2", {"p1": 2}))
        self.reply("BYE", 200)
        self.leave()

    def test_nonce_has_grown_old(self) -> None:
        """A request that is refused for its nonce goes again with the new one, whether or not that is called stale."""
        for stale in ((), ("stale=true",), ("stale=false",)):
            self.challenged(proxy())
            self.call.hang_up()
            self.clock.advance(0.1)
            self.reply("BYE", 407, [proxy("proxy", "p2", *stale)])
            first, again = self.sent("BYE")
            self.assertEqual((counts_of(first), counts_of(again)), ({"p1": 2}, {"p2": 1}))
            self.assertEqual((again.cseq.number, len(self.agent)), (first.cseq.number + 1, 1))
            self.reply("BYE", 200)
            self.assertEqual(len(self.agent), 0)
            self.leave()

    def test_new_nonce_stays(self) -> None:
        """The new nonce takes the place of the old one for what follows."""
        self.challenged(proxy())
        self.heard(self.call.request("INFO"))
        self.clock.advance(0.1)
        self.reply("INFO", 407, [proxy("proxy", "p2", "stale=true")])
        self.reply("INFO", 200)
        self.call.reinvite(SDP_TYPE, OFFER)
        self.clock.advance(0.1)
        self.assertEqual(counts_of(self.them.request("INVITE")), {"p2": 2})
        self.reply("INVITE", 407, [proxy("proxy", "p3", "stale=true")])
        self.assertEqual(counts_of(self.them.request("INVITE")), {"p3": 1})
        self.reply("INVITE", 491)
        self.assertEqual(self.user.last(Refused).response.status, 491)
        self.call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(counts_of(self.them.request("BYE")), {"p3": 2})
        self.leave()

    def test_always_stale(self) -> None:
        """A peer that calls every nonce stale is believed once."""
        self.challenged(proxy())
        self.heard(self.call.request("INFO"))
        self.clock.advance(0.1)
        for number in range(2, 10):
            self.reply("INFO", 407, [proxy("proxy", f"p{number}", "stale=true")])
        self.assertEqual((len(self.sent("INFO")), self.outcomes), (2, [407]))
        self.leave()

    def test_next_nonce(self) -> None:
        """A server names the nonce of the next request in Authentication-Info (RFC 7616 section 3.5)."""
        self.challenged(www(), status=401, ok=[("Authentication-Info", 'nextnonce="n2", qop=auth, nc=00000001')])
        self.heard(self.call.request("INFO"))
        self.clock.advance(0.1)
        self.assertEqual(counts_of(self.them.request("INFO")), {"n2": 1})
        self.reply("INFO", 200, [("Authentication-Info", 'nextnonce="n3"')])
        self.call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(counts_of(self.them.request("BYE")), {"n3": 1})
        self.leave()

    def test_unreadable_next_nonce(self) -> None:
        """One that does not parse, or that could be for several realms, is passed over."""
        for challenges, line in (([www()], "nextnonce"), ([www("a", "n1"), www("b", "n9")], 'nextnonce="n2"')):
            self.challenged(*challenges, status=401, ok=[("Authentication-Info", line)])
            self.call.hang_up()
            self.clock.advance(0.1)
            self.assertEqual(counts_of(self.them.request("BYE"))["n1"], 2)
            self.leave()

    def test_longer_interval(self) -> None:
        """An INVITE that goes again for another reason has the next count: the same one would be a replay."""
        self.calling(body=OFFER, credentials=US_CREDENTIALS)
        self.answer(407, headers=[proxy()])
        self.answer(422, headers=[("Min-SE", "3600")])
        invites = self.sent("INVITE")
        self.assertEqual([counts_of(invite) for invite in invites], [{}, {"p1": 1}, {"p1": 2}])
        self.assertEqual([invite.cseq.number for invite in invites], [1, 2, 3])
        self.leave()

    def test_next_target(self) -> None:
        """The next server of a name asks for itself: a nonce of the first one is nothing to it."""
        other = Wire(self.network, OTHER)
        self.network.names["gw.example.net"] = (OTHER, THEM)
        self.calling("sip:bob@gw.example.net", body=OFFER, credentials=US_CREDENTIALS)
        other.send(builders.response(other.request("INVITE"), 407, headers=[proxy()]))
        self.clock.advance(0.1)
        other.send(builders.response(other.request("INVITE"), 503))
        self.clock.advance(0.1)
        self.assertEqual(counts_of(self.them.request("INVITE")), {})
        self.answer(407, headers=[proxy("proxy", "p2")])
        again = self.them.request("INVITE")
        self.assertEqual((counts_of(again), again.cseq.number), ({"p2": 1}, 3))
        self.leave()

    def test_next_target_within_a_dialog(self) -> None:
        """There, too, and what was challenged by the first has a number that the second has not seen."""
        first, second = Wire(self.network, OTHER), Wire(self.network, "192.0.2.5")
        self.network.names["gw.example.net"] = (OTHER, "192.0.2.5")
        call = self.outgoing(credentials=US_CREDENTIALS, contact="<sip:bob@gw.example.net>")
        first.take()
        self.heard(call.request("INFO"))
        self.clock.advance(0.1)
        first.send(builders.response(first.request("INFO"), 401, headers=[www()]))
        self.clock.advance(0.1)
        first.send(builders.response(first.request("INFO"), 503))
        self.clock.advance(0.1)
        info = second.request("INFO")
        self.assertEqual(info.cseq.number, 4)
        second.send(builders.response(info, 401, headers=[www(nonce="n2")]))
        self.clock.advance(0.1)
        again = second.request("INFO")
        self.assertEqual((again.cseq.number, counts_of(again)), (5, {"n2": 1}))
        second.send(builders.response(again, 200))
        self.clock.advance(0.1)
        self.assertEqual(self.outcomes, [200])
        call.close()
        self.agent.forget(call)
        self.settle()


class EndTests(ChallengeCase):
    """A session is over when the outcome of its BYE is known, and not before (lesson 55)."""

    def _hang_up(self) -> None:
        self.call = self.outgoing(credentials=US_CREDENTIALS)
        self.call.hang_up()
        self.clock.advance(0.1)

    def test_challenged_twice(self) -> None:
        """While the BYE is challenged the dialog is there, and answers what still comes with 481."""
        self._hang_up()
        for status, header in ((407, proxy()), (401, www())):
            self.reply("BYE", status, [header])
            self.assertEqual(len(self.agent), 1)
        self.assertEqual([bye.cseq.number for bye in self.sent("BYE")], [2, 3, 4])
        self.reply("BYE", 200)
        self.assertEqual(len(self.agent), 0)
        self.settle()

    def test_refused_in_the_end(self) -> None:
        """A BYE that is refused for good ends the dialog as well: nobody can do more."""
        self._hang_up()
        self.reply("BYE", 401, [www()])
        self.reply("BYE", 401, [www(nonce="n2")])
        self.assertEqual((len(self.sent("BYE")), len(self.agent)), (2, 0))
        self.settle()

    def test_silence_in_the_end(self) -> None:
        """A BYE that was challenged and then is not answered ends the dialog when timer F fires."""
        self._hang_up()
        self.reply("BYE", 401, [www()])
        self.clock.advance(31.0)
        self.assertEqual(len(self.agent), 1)
        self.clock.advance(2.0)
        self.assertEqual(len(self.agent), 0)
        self.settle()

    def test_bye_of_a_call_that_came_in(self) -> None:
        """A peer that called and asks who hangs up is told, if credentials for it are known."""
        call = self.incoming()
        call.credentials = US_CREDENTIALS
        call.hang_up()
        self.clock.advance(0.1)
        self.reply("BYE", 407, [proxy()])
        self.assertEqual(counts_of(self.them.request("BYE")), {"p1": 1})
        self.reply("BYE", 200)
        self.settle()

    def test_cancel(self) -> None:
        """CANCEL cannot be challenged (section 22.1): a 401 to it changes nothing, and it is not sent again."""
        call = self.calling(body=OFFER, credentials=US_CREDENTIALS)
        self.answer(407, headers=[proxy()])
        self.answer(180)
        call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(self.them.request("CANCEL").cseq.number, self.them.request("INVITE").cseq.number)
        self.reply("CANCEL", 401, [www()])
        self.assertEqual((len(self.sent("CANCEL")), len(self.agent)), (1, 1))
        self.answer(487)
        self.assertEqual(len(self.agent), 0)
        self.settle()

    def test_ping(self) -> None:
        """A ping that is challenged goes again with credentials; without any, the challenge shows that somebody is."""
        self.agent.settings = AgentSettings(ping_interval=60.0)
        for credentials, count in ((US_CREDENTIALS, 2), (None, 1)):
            call = self.outgoing(credentials=credentials)
            self.clock.advance(60.0)
            self.reply("OPTIONS", 401, [www()])
            self.assertEqual((len(self.sent("OPTIONS")), call.is_established), (count, True))
            self.reply("OPTIONS", 200)
            self.assertEqual([one for one in self.user.events if isinstance(one, Ended)], [])
            self.leave()
