"""The server's side of digest, against our own client and against what an attacker may send."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.errors import LocalError, RequestRefusedError
from sipd.interfaces import Credentials, IAuthenticator, ICredentialStore
from sipd.registrar.authentication import ConfiguredCredentials, DigestAuthenticator
from sipd.sip.digest import answer_challenges, compute_ha1, set_credentials
from sipd.sip.fields import AuthParameters
from sipd.sip.message import Request, Response
from tests.registrar.fakes import LogLines, request, seeded

ALICE = Credentials(username="alice", password="secret")
REALM = "example.com"


class AuthenticatorCase(SynchronousTestCase):
    """An authenticator with one user, and a client that has answered its first challenge."""

    algorithms: Sequence[str] = ("SHA-512-256", "SHA-256", "MD5")
    users: Sequence[Credentials] = (ALICE,)

    def setUp(self) -> None:
        """Make them, and listen to the log."""
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.counts: dict[str, int] = {}
        self.authenticator = self.make()
        self.log = LogLines(self)

    def make(self, max_nonces: int = 1000) -> DigestAuthenticator:
        """Make an authenticator."""
        return DigestAuthenticator(
            ConfiguredCredentials(self.users),
            clock=self.clock,
            entropy=seeded(),
            algorithms=self.algorithms,
            nonce_lifetime=300.0,
            max_nonces=max_nonces,
        )

    def authenticate(self, message: Request, *, proxy: bool = False) -> str:
        """Give the user's name, or raise."""
        return self.successResultOf(self.authenticator.authenticate(message, REALM, proxy=proxy))

    def refusal(self, message: Request, *, proxy: bool = False) -> RequestRefusedError:
        """Give the refusal."""
        failure = self.failureResultOf(
            self.authenticator.authenticate(message, REALM, proxy=proxy), RequestRefusedError
        )
        error: RequestRefusedError = failure.value
        return error

    def answer(self, message: Request, user: Credentials = ALICE, *, proxy: bool = False) -> Request:
        """Be challenged, and answer in a copy."""
        refused = self.refusal(message, proxy=proxy)
        response = Response(refused.status, refused.reason, message.response(refused.status).headers)
        for name, value in refused.headers:
            response.headers.add(name, value)
        copy = message.copy()
        set_credentials(copy, answer_challenges(response, message, [user], seeded(2), self.counts))
        return copy

    def change(self, message: Request, **changes: str | None) -> Request:
        """Change parameters of the credentials, or remove those that are `None`."""
        parameters = AuthParameters.parse(message.headers.get("Authorization") or "")
        for name, value in changes.items():
            parameters.parameters.pop(name, None)
            if value is not None:
                parameters.parameters[name] = value
        copy = message.copy()
        copy.headers.set("Authorization", str(parameters))
        return copy


class ChallengeTests(AuthenticatorCase):
    """How a request is challenged."""

    def test_interface(self) -> None:
        """It is what it says."""
        verifyObject(IAuthenticator, self.authenticator)
        verifyObject(ICredentialStore, ConfiguredCredentials([]))

    def test_one_line_for_each_algorithm(self) -> None:
        """The challenges stand in order of preference, a line each, with one nonce, and tokens as RFC 8760 has them."""
        refused = self.refusal(request())
        self.assertEqual(refused.status, 401)
        nonces = set()
        for (name, value), algorithm in zip(refused.headers, self.algorithms, strict=True):
            self.assertEqual(name, "WWW-Authenticate")
            self.assertTrue(value.startswith('Digest realm="example.com", nonce="'), value)
            self.assertTrue(value.endswith(f', qop="auth", algorithm={algorithm}'), value)
            nonces.add(AuthParameters.parse(value).parameters["nonce"])
        self.assertEqual(len(nonces), 1)

    def test_proxy(self) -> None:
        """As a proxy it says 407 and Proxy-Authenticate, and looks for Proxy-Authorization only."""
        refused = self.refusal(request(), proxy=True)
        self.assertEqual((refused.status, refused.headers[0][0]), (407, "Proxy-Authenticate"))
        answered = self.answer(request(), proxy=True)
        self.assertEqual(self.refusal(answered).status, 401)
        self.assertEqual(self.authenticate(answered, proxy=True), "alice")

    def test_first_request_is_no_failure(self) -> None:
        """Being asked who one is leaves no line in the log."""
        self.refusal(request())
        self.assertEqual(self.log.lines, [])

    def test_what_counts_as_no_credentials(self) -> None:
        """Another scheme, another realm or another algorithm is challenged as if nothing were there."""
        answered = self.answer(request())
        for line in (
            "Bearer abc",
            str(self.change(answered, realm="elsewhere").headers.get("Authorization")),
            str(self.change(answered, algorithm="MD4").headers.get("Authorization")),
        ):
            refused = self.refusal(request(headers=[("Authorization", line)]))
            self.assertEqual(refused.status, 401)
            self.assertNotIn("stale", refused.headers[0][1])
        self.assertEqual(self.log.lines, [])

    def test_credentials_for_several_realms(self) -> None:
        """Ours are found among those for others."""
        answered = self.answer(request())
        answered.headers.prepend("Authorization", 'Digest realm="other", username="x"')
        self.assertEqual(self.authenticate(answered), "alice")


class UnknownAlgorithmTests(SynchronousTestCase):
    """Mistakes of the configuration show at the start."""

    def test_refused(self) -> None:
        """An algorithm that cannot be computed is a LocalError."""
        for name in ("SHA256", "MD5-sess"):
            self.assertRaises(
                LocalError,
                DigestAuthenticator,
                ConfiguredCredentials([]),
                clock=Clock(),
                entropy=seeded(),
                algorithms=[name],
            )


class CheckTests(AuthenticatorCase):
    """What happens to an answer."""

    def test_right(self) -> None:
        """Each algorithm lets the right password in, and logs nothing."""
        for algorithm in ("SHA-512-256", "SHA-256", "MD5"):
            self.algorithms = [algorithm]
            self.authenticator = self.make()
            self.assertEqual(self.authenticate(self.answer(request())), "alice")
        self.assertEqual(self.log.lines, [])

    def test_wrong_password(self) -> None:
        """A wrong password is challenged again, not stale, and is one line with the address first."""
        answered = self.answer(request(), Credentials(username="alice", password="guess"))
        refused = self.refusal(answered)
        self.assertEqual(refused.status, 401)
        self.assertNotIn("stale", refused.headers[0][1])
        self.assertEqual(
            self.log.lines,
            [
                'security: auth-failed src=127.0.0.1 port=5062 user="alice" realm="example.com" method="REGISTER"',
            ],
        )

    def test_unknown_user(self) -> None:
        """A user who does not exist is answered exactly as a wrong password is."""
        refused = self.refusal(self.answer(request(), Credentials(username="mallory", password="secret")))
        self.assertEqual((refused.status, len(refused.headers)), (401, 3))
        self.assertIn('user="mallory"', self.log.lines[0])

    def test_log_cannot_be_forged(self) -> None:
        """A name with quotes, line breaks, foreign octets and great length stays one short line of ASCII."""
        for name in ('x" src=10.0.0.1', "x\udcff\u2028\u0085", "a" * 5000):
            self.log.events.clear()
            self.refusal(self.answer(request(), Credentials(username=name, password="p")))
            (line,) = self.log.lines
            self.assertTrue(line.startswith("security: auth-failed src=127.0.0.1 port=5062 user="), line)
            self.assertTrue(line.isascii() and line.isprintable() and len(line) < 300, line)
            self.assertNotIn('user="x" src', line)

    def test_source_without_received(self) -> None:
        """Where the transport had nothing to add, the Via itself says where the request came from."""
        message = request()
        message.headers.set("Via", "SIP/2.0/TCP [2001:db8::7]:5070;branch=z9hG4bK1")
        self.refusal(self.answer(message, Credentials(username="alice", password="x")))
        self.assertIn("src=2001:db8::7 port=5070 ", self.log.lines[0])

    def test_other_request(self) -> None:
        """Credentials are good for the method and the URI that they were made for."""
        answered = self.answer(request(method="INVITE", uri="sip:bob@example.com"))
        answered.method = "BYE"
        self.assertEqual(self.refusal(answered).status, 401)
        redirected = request(
            method="INVITE",
            uri="sip:+19005551234@example.com",
            headers=[("Authorization", answered.headers.get("Authorization") or "")],
        )
        self.assertEqual(self.refusal(redirected).status, 400)

    def test_lenient_uri(self) -> None:
        """A digest URI that differs in port, parameters or spelling from the request URI is accepted."""
        for uri in ("sip:example.com;transport=udp", "sip:EXAMPLE.com:5060", "sips:example.com"):
            answered = self.answer(request())
            changed = request(uri=uri, headers=[("Authorization", answered.headers.get("Authorization") or "")])
            self.assertEqual(self.authenticate(changed), "alice")

    def test_uri_of_another_scheme(self) -> None:
        """`tel` URIs are compared by their own rules."""
        answered = self.answer(request(method="INVITE", uri="tel:+1-900-555"))
        authorization = answered.headers.get("Authorization") or ""
        same = request(method="INVITE", uri="tel:+1900555", headers=[("Authorization", authorization)])
        self.assertEqual(self.authenticate(same), "alice")
        other = request(method="INVITE", uri="tel:+1900556", headers=[("Authorization", authorization)])
        self.assertEqual(self.refusal(other).status, 400)

    def test_replay(self) -> None:
        """The same credentials a second time are stale, which is no failed attempt; the next count is good."""
        answered = self.answer(request())
        self.assertEqual(self.authenticate(answered), "alice")
        refused = self.refusal(answered)
        self.assertEqual(refused.status, 401)
        self.assertTrue(refused.headers[0][1].endswith(", stale=true"), refused.headers[0][1])
        self.assertEqual(self.log.lines, [])

    def test_wrong_password_uses_nothing_up(self) -> None:
        """Somebody who does not know the password cannot use up a nonce that he saw."""
        answered = self.answer(request())
        self.refusal(self.change(answered, response="0" * 64))
        self.assertEqual(self.authenticate(answered), "alice")

    def test_expired_nonce(self) -> None:
        """A right answer to an old nonce is challenged with stale, and our client answers that."""
        answered = self.answer(request())
        self.authenticate(answered)
        ((nonce, _),) = self.counts.items()
        self.counts[nonce] = 2
        self.clock.advance(301)
        again = self.answer(answered)
        self.assertEqual(self.authenticate(again), "alice")

    def test_wrong_password_with_an_old_nonce(self) -> None:
        """A wrong answer to an old nonce is wrong, not stale: nobody learns from a nonce whether a guess was right."""
        answered = self.answer(request(), Credentials(username="alice", password="x"))
        self.clock.advance(301)
        self.assertNotIn("stale", self.refusal(answered).headers[0][1])

    def test_nonce_of_before_a_restart(self) -> None:
        """A right answer to a nonce of another key is challenged with stale."""
        answered = self.answer(request())
        self.authenticator = DigestAuthenticator(
            ConfiguredCredentials([ALICE]), clock=self.clock, entropy=seeded(9), algorithms=self.algorithms
        )
        self.assertIn("stale=true", self.refusal(answered).headers[0][1])

    def test_memory_is_bounded(self) -> None:
        """With more clients than the memory holds, each still gets in, and an old nonce is asked for again."""
        self.authenticator = self.make(max_nonces=2)
        first = self.answer(request())
        self.authenticate(first)
        for _ in range(3):
            self.clock.advance(1)
            self.assertEqual(self.authenticate(self.answer(request())), "alice")
        self.assertIn("stale=true", self.refusal(first).headers[0][1])

    def test_without_qop(self) -> None:
        """A client that knows no qop gets in once for each nonce: a replay could not be told otherwise."""
        refused = self.refusal(request())
        line = refused.headers[2][1].replace('qop="auth", ', "")
        response = Response(401, "")
        response.headers.add("WWW-Authenticate", line)
        message = request()
        set_credentials(message, answer_challenges(response, message, [ALICE], seeded(3), {}))
        self.assertNotIn("qop", message.headers.get("Authorization") or "")
        self.assertEqual(self.authenticate(message), "alice")
        self.assertIn("stale=true", self.refusal(message).headers[0][1])
        response.headers.set("WWW-Authenticate", refused.headers[2][1])
        counted = request()
        set_credentials(counted, answer_challenges(response, counted, [ALICE], seeded(3), {}))
        self.assertIn("stale=true", self.refusal(counted).headers[0][1])

    def test_response_in_capitals(self) -> None:
        """Hexadecimal digits count in either case."""
        answered = self.answer(request())
        response = AuthParameters.parse(answered.headers.get("Authorization") or "").parameters["response"]
        self.assertEqual(self.authenticate(self.change(answered, response=response.upper())), "alice")

    def test_malformed(self) -> None:
        """Credentials that lack something, or break the grammar, are answered with 400."""
        answered = self.answer(request())
        for changes in (
            {"username": None},
            {"nonce": None},
            {"uri": None},
            {"response": None},
            {"nc": None},
            {"nc": "1"},
            {"nc": "0000000g"},
            {"cnonce": None},
            {"cnonce": ""},
            {"qop": "auth-int"},
            {"uri": "<>"},
            {"uri": "sip:else.example.org"},
        ):
            self.assertEqual(self.refusal(self.change(answered, **changes)).status, 400, changes)
        for line in ('Digest realm="example.com', 'Digest realm="example.com", realm="x"', ""):
            self.assertEqual(self.refusal(request(headers=[("Authorization", line)])).status, 400, line)

    def test_foreign_octets(self) -> None:
        """A response that is no ASCII is wrong, and nothing worse."""
        answered = self.answer(request())
        for text in ("\udcff", "\u00e9" * 64):
            self.assertEqual(self.refusal(self.change(answered, response=text)).status, 401)


class HashTests(AuthenticatorCase):
    """Users of whom only hashes are known."""

    users = (Credentials(username="alice", ha1={"SHA-256": compute_ha1("SHA-256", "alice", REALM, "secret")}),)

    def test_known_hash(self) -> None:
        """The algorithm whose hash is known lets the user in."""
        self.algorithms = ("SHA-256", "MD5")
        self.authenticator = self.make()
        self.assertEqual(self.authenticate(self.answer(request())), "alice")

    def test_unknown_hash(self) -> None:
        """Any other algorithm fails as a wrong password does, and the log tells the operator why."""
        refused = self.refusal(self.answer(request()))
        self.assertEqual(refused.status, 401)
        self.assertTrue(self.log.lines[0].endswith("(no SHA-512-256 hash of this user is configured)"), self.log.lines)


class StoreTests(SynchronousTestCase):
    """Where users come from."""

    def test_configured(self) -> None:
        """A password becomes hashes, once; a given hash is kept; nobody else is known."""
        store = ConfiguredCredentials([Credentials(username="alice", password="secret", ha1={"MD5": "given"})])
        found = self.successResultOf(store.credentials("alice", REALM))
        assert found is not None
        self.assertIsNone(found.password)
        self.assertEqual(found.ha1["MD5"], "given")
        self.assertEqual(found.ha1["SHA-256"], compute_ha1("SHA-256", "alice", REALM, "secret"))
        self.assertIs(self.successResultOf(store.credentials("alice", REALM)), found)
        self.assertIsNone(self.successResultOf(store.credentials("Alice", REALM)))

    def test_realm_of_a_user(self) -> None:
        """A user of one realm is nobody in another; hashes differ between realms."""
        store = ConfiguredCredentials([Credentials(username="a", password="p", realm="one"), ALICE])
        self.assertIsNone(self.successResultOf(store.credentials("a", "two")))
        one = self.successResultOf(store.credentials("alice", "one"))
        two = self.successResultOf(store.credentials("alice", "two"))
        assert one is not None and two is not None
        self.assertNotEqual(one.ha1, two.ha1)

    def test_password_from_another_store(self) -> None:
        """A store that gives the password itself serves as well."""
        clock = Clock()
        authenticator = DigestAuthenticator(PlainStore(), clock=clock, entropy=seeded())
        refused = self.failureResultOf(authenticator.authenticate(request(), REALM, proxy=False)).value
        response = Response(401, "")
        for name, value in refused.headers:
            response.headers.add(name, value)
        message = request()
        set_credentials(message, answer_challenges(response, message, [ALICE], seeded(2), {}))
        self.assertEqual(self.successResultOf(authenticator.authenticate(message, REALM, proxy=False)), "alice")

    def test_store_out_of_reach(self) -> None:
        """A store that fails is not a wrong password: the failure comes through."""
        authenticator = DigestAuthenticator(BrokenStore(), clock=Clock(), entropy=seeded())
        line = (
            'Digest username="a", realm="example.com", nonce="n", uri="sip:example.com", response="r", qop=auth, '
            'nc=00000001, cnonce="c"'
        )
        message = request(headers=[("Authorization", line)])
        self.failureResultOf(authenticator.authenticate(message, REALM, proxy=False), LocalError)


@implementer(ICredentialStore)
class PlainStore:
    """Knows alice's password."""

    def credentials(self, username: str, realm: str) -> Deferred[Credentials | None]:
        """See `ICredentialStore`."""
        found: Deferred[Credentials | None] = Deferred()
        found.callback(ALICE if username == "alice" else None)
        return found


@implementer(ICredentialStore)
class BrokenStore:
    """Is out of reach."""

    def credentials(self, username: str, realm: str) -> Deferred[Credentials | None]:
        """See `ICredentialStore`."""
        return fail(LocalError("no connection to the users"))
