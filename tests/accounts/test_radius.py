"""RADIUS on a simulated network: what is asked, what is believed, and what happens when nobody answers."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.accounts.attributes import DigestForm, QuestionMaker, QuestionSettings
from sipd.accounts.radius import RadiusVerifier
from sipd.errors import RequestRefusedError
from sipd.interfaces import Credentials, DigestProof, IDigestVerifier
from sipd.radius.peer import RadiusServer, RadiusSettings
from sipd.radius.peers import RadiusPeers
from sipd.registrar.authentication import ConfiguredCredentials, DigestAuthenticator
from sipd.sip.digest import compute_ha1, compute_response
from sipd.sip.message import Request
from sipd.testing import builders
from sipd.testing.clock import SimulatedClock
from sipd.testing.credentials import authorize
from sipd.testing.network import Network
from tests.accounts.fakes import LogLines
from tests.accounts.radius_server import FakeRadius

REALM = "example.com"


def proof(
    username: str = "alice", password: str = "wonderland", *, algorithm: str = "MD5", qop: str = "auth", uri: str = ""
) -> DigestProof:
    """Give the answer to a challenge."""
    request = builders.register()
    uri = uri or request.uri_text
    counted = ("00000001", "c") if qop else ("", "")
    response = compute_response(
        algorithm,
        compute_ha1(algorithm, username, REALM, password),
        "REGISTER",
        uri,
        "n",
        qop=qop,
        nonce_count=counted[0],
        cnonce=counted[1],
    )
    return DigestProof(
        username=username,
        realm=REALM,
        nonce="n",
        uri=uri,
        response=response,
        algorithm=algorithm,
        qop=qop,
        nonce_count=counted[0],
        cnonce=counted[1],
        request=request,
    )


class RadiusCase(SynchronousTestCase):
    """Two servers that know alice, and a verifier that asks them."""

    def setUp(self) -> None:
        """Make them."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, seed=1)
        self.host = self.network.host("192.0.2.100")
        self.servers = []
        for address in ("192.0.2.1", "192.0.2.2"):
            server = FakeRadius({"alice": "wonderland"})
            self.network.host(address).listenUDP(1812, server)
            self.servers.append(server)
        self.first, self.second = self.servers
        self.proved: list[str] = []
        self.log = LogLines(self)
        self.verifier = self.make()

    def tearDown(self) -> None:
        """Nothing is pending."""
        self.successResultOf(self.verifier.close())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def make(self, *, needs_message_authenticator: bool = True, **questions: Any) -> RadiusVerifier:
        """Make a verifier."""
        peers = RadiusPeers(
            [RadiusServer(host=host, port=1812, secret=b"testing") for host in ("192.0.2.1", "192.0.2.2")],
            RadiusSettings(needs_message_authenticator=needs_message_authenticator),
            reactor=self.host,
        )
        return RadiusVerifier(
            peers,
            QuestionMaker(QuestionSettings(**questions), self.network.entropy),
            retry_after=10,
            domains=(REALM,),
            proved=self.proved.append,
        )

    def verify(self, asked: DigestProof, seconds: float = 0.5) -> str | None:
        """Ask, wait, and give the answer."""
        waiting = self.verifier.verify(asked)
        self.clock.advance(seconds)
        return self.successResultOf(waiting)

    def counts(self) -> tuple[int, int]:
        """How many datagrams each server got."""
        return len(self.first.requests), len(self.second.requests)


class VerdictTests(RadiusCase):
    """Who is believed."""

    def test_interface(self) -> None:
        """The verifier is what it says."""
        verifyObject(IDigestVerifier, self.verifier)

    def test_right_and_wrong(self) -> None:
        """The server's word counts: for the right password, and against the wrong one and against strangers."""
        self.assertEqual(self.verify(proof()), "alice")
        self.assertIsNone(self.verify(proof(password="wrong")))
        self.assertIsNone(self.verify(proof("bob")))
        self.assertEqual((self.proved, self.counts()), (["alice"], (3, 0)))

    def test_old_form(self) -> None:
        """By default the digest is in the attributes of the draft, which FreeRADIUS, Kamailio and Sippy have."""
        self.verify(proof())
        asked = proof()
        self.assertEqual(
            self.first.seen,
            {
                1: "alice",
                32: "sipd",
                206: asked.response,
                "realm": REALM,
                "nonce": "n",
                "method": "REGISTER",
                "uri": asked.uri,
                "qop": "auth",
                "algorithm": "MD5",
                "cnonce": "c",
                "nc": "00000001",
                "username": "alice",
            },
        )

    def test_new_form(self) -> None:
        """Or in those of RFC 5090."""
        self.verifier = self.make(form=DigestForm.RFC5090, nas_identifier="edge")
        self.assertEqual(self.verify(proof()), "alice")
        self.assertEqual((self.first.seen[32], self.first.seen[103]), ("edge", proof().response))
        self.assertIsNone(self.verify(proof(password="wrong")))

    def test_without_qop(self) -> None:
        """A client of RFC 2069 is asked about, too; what it does not say is not sent."""
        for form in DigestForm:
            self.verifier = self.make(form=form)
            self.assertEqual(self.verify(proof(qop="")), "alice")
            self.assertNotIn("cnonce", self.first.seen)

    def test_other_algorithm(self) -> None:
        """A server may know better algorithms."""
        self.assertEqual(self.verify(proof(algorithm="SHA-256")), "alice")

    def test_user_name_with_realm(self) -> None:
        """User-Name may have the realm behind it, as Kamailio sends it; the digest has what the phone wrote."""
        self.verifier = self.make(has_realm=True)
        self.verify(proof())
        self.assertEqual((self.first.seen[1], self.first.seen["username"]), ("alice@example.com", "alice"))
        self.assertEqual(self.verify(proof("alice@example.com")), "alice")
        self.assertEqual(self.first.seen[1], "alice@example.com")

    def test_foreign_domain(self) -> None:
        """Who is alice somewhere else is not our alice: nobody is asked."""
        self.assertIsNone(self.verify(proof("alice@evil.example")))
        self.assertIsNone(self.verify(proof("a b")))
        self.assertEqual(self.counts(), (0, 0))

    def test_does_not_fit(self) -> None:
        """A proof with a value that fits into no attribute is wrong."""
        for form in DigestForm:
            self.verifier = self.make(form=form)
            self.assertIsNone(self.verify(proof(uri="sip:" + "x" * 300)))
        self.assertEqual(self.counts(), (0, 0))

    def test_challenge(self) -> None:
        """A server that wants a nonce of its own does not say yes."""
        self.first.code = 11
        self.assertIsNone(self.verify(proof()))


class ForgeryTests(RadiusCase):
    """What is not believed."""

    def test_no_message_authenticator(self) -> None:
        """An answer without a Message-Authenticator could be forged, and is not taken, unless the operator says so."""
        self.first.signs = self.second.signs = False
        waiting = self.verifier.verify(proof())
        self.clock.advance(10)
        self.failureResultOf(waiting, RequestRefusedError)
        self.verifier = self.make(needs_message_authenticator=False)
        self.assertEqual(self.verify(proof()), "alice")


class SilenceTests(RadiusCase):
    """Servers that do not answer."""

    def test_nobody_answers(self) -> None:
        """If no server answers it is a 503 with Retry-After, with one line in the log then and one when it is over."""
        self.network.partition(["192.0.2.1", "192.0.2.2"])
        for _ in range(2):
            waiting = self.verifier.verify(proof())
            self.clock.advance(3.9)
            self.assertNoResult(waiting)
            self.clock.advance(0.2)
            error = self.failureResultOf(waiting, RequestRefusedError).value
            self.assertEqual((error.status, error.headers), (503, (("Retry-After", "10"),)))
        self.network.heal()
        self.assertEqual(self.verify(proof()), "alice")
        self.assertEqual(
            self.log.lines,
            [
                "no RADIUS server answers (no answer from 192.0.2.1:1812, no answer from 192.0.2.2:1812); "
                "nobody can prove to be its user",
                "RADIUS answers again",
            ],
        )

    def test_reject_is_an_answer(self) -> None:
        """A reject is not asked again elsewhere."""
        self.second.users["alice"] = "other"
        self.assertIsNone(self.verify(proof(password="other")))
        self.assertEqual(self.counts(), (1, 0))


class AuthenticatorTests(RadiusCase):
    """Behind the authenticator: nonces stay ours."""

    def setUp(self) -> None:
        """Bob is in the configuration, alice is not."""
        super().setUp()
        self.authenticator = DigestAuthenticator(
            ConfiguredCredentials([Credentials(username="bob", password="builder")]),
            clock=self.clock,
            entropy=self.network.entropy,
            algorithms=("MD5",),
            verifier=self.verifier,
        )

    def outcome(self, request: Request) -> str | RequestRefusedError:
        """Give who it is, or the refusal."""
        result: list[Any] = []
        self.authenticator.authenticate(request, REALM, proxy=False).addBoth(result.append)
        self.clock.advance(5)
        return result[0] if isinstance(result[0], str) else result[0].value

    def answered(self, user: str, password: str) -> Request:
        """Give a REGISTER with the answer to a challenge."""
        request = builders.register()
        refusal = self.outcome(request)
        assert isinstance(refusal, RequestRefusedError)
        response = request.response(401, headers=refusal.headers)
        assert authorize(request, response, user, password, "c")
        return request

    def test_users(self) -> None:
        """Who is configured is not asked about, everybody else is."""
        self.assertEqual(self.outcome(self.answered("bob", "builder")), "bob")
        self.assertEqual(self.counts(), (0, 0))
        self.assertEqual(self.outcome(self.answered("alice", "wonderland")), "alice")
        wrong = self.outcome(self.answered("alice", "wrong"))
        assert isinstance(wrong, RequestRefusedError)
        self.assertEqual(wrong.status, 401)
        self.assertTrue(any(line.startswith("security: auth-failed") for line in self.log.lines))

    def test_replay(self) -> None:
        """An answer that was used is stale, though the server says that it is right."""
        request = self.answered("alice", "wonderland")
        self.assertEqual(self.outcome(request), "alice")
        stale = self.outcome(request)
        assert isinstance(stale, RequestRefusedError)
        self.assertIn("stale=true", stale.headers[0][1])

    def test_away(self) -> None:
        """Without a server the refusal is 503, not a challenge."""
        self.network.partition(["192.0.2.1", "192.0.2.2"])
        refusal = self.outcome(self.answered("alice", "wonderland"))
        assert isinstance(refusal, RequestRefusedError)
        self.assertEqual((refusal.status, refusal.headers), (503, (("Retry-After", "10"),)))
