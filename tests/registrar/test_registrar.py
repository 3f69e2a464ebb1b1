"""REGISTER as a phone sends it, answered as section 10.3 says."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.errors import LocalError, RequestRefusedError
from sipd.interfaces import Credentials, IAuthenticator, IFlow, IRequestHandler, IServerTransaction
from sipd.registrar.authentication import ConfiguredCredentials, DigestAuthenticator
from sipd.registrar.bindings import RegistrarSettings
from sipd.registrar.location import LocationService
from sipd.registrar.registrar import Registrar
from sipd.sip.digest import answer_challenges, set_credentials
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from tests.registrar.fakes import SOURCE, Diary, FakeFlow, FakeTransaction, request, seeded

A = "<sip:alice@10.0.0.1>"


@implementer(IAuthenticator)
class Trusting:
    """Takes everybody for alice, or fails with what it is told to."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.user = "alice"

    def authenticate(self, request: Request, realm: str, *, proxy: bool) -> Deferred[str]:
        """See `IAuthenticator`."""
        assert realm == "example.com" and not proxy
        return succeed(self.user) if self.error is None else fail(self.error)


class RegistrarCase(SynchronousTestCase):
    """A registrar for two domains."""

    def setUp(self) -> None:
        """Make it, at noon on 1 December 2026."""
        self.clock = Clock()
        self.clock.advance(1796126400)
        self.diary = Diary()
        self.location = LocationService(clock=self.clock, observer=self.diary)
        self.trusting = Trusting()
        self.registrar = self.make(self.trusting)

    def make(self, authenticator: IAuthenticator) -> Registrar:
        """Make a registrar."""
        return Registrar(
            domains=["example.com", "Example.NET", "2001:db8::1"],
            realm="example.com",
            authenticator=authenticator,
            location=self.location,
            settings=RegistrarSettings(min_expires=60, max_expires=600, default_expires=300, max_contacts=2),
            clock=self.clock,
            entropy=seeded(),
            observer=self.diary,
        )

    def answer(self, message: Request) -> Response:
        """Give the one response to a request."""
        transaction = FakeTransaction(message)
        self.registrar.request_received(transaction)
        (response,) = transaction.responses
        return response


class AnswerTests(RegistrarCase):
    """What is answered."""

    def test_interfaces(self) -> None:
        """The registrar and the fakes are what they say."""
        verifyObject(IRequestHandler, self.registrar)
        verifyObject(IAuthenticator, self.trusting)
        verifyObject(IServerTransaction, FakeTransaction(request()))
        verifyObject(IFlow, FakeFlow())

    def test_ok(self) -> None:
        """A 200 has all bindings with the seconds that are left, a To tag, and the date."""
        self.answer(request(A, "<sip:alice@10.0.0.2>;q=0.5;expires=100", cseq=1))
        self.clock.advance(40)
        response = self.answer(request(A, cseq=2))
        self.assertEqual((response.status, response.reason), (200, "OK"))
        self.assertEqual(
            response.headers.get_all("Contact"), [f"{A};expires=300", "<sip:alice@10.0.0.2>;q=0.5;expires=60"]
        )
        self.assertEqual(response.headers.get("Date"), "Tue, 01 Dec 2026 12:00:40 GMT")
        self.assertTrue(response.to.tag)
        parsed = parse_datagram(response.to_bytes())
        self.assertEqual(parsed.contacts[0].expires, 300)

    def test_query(self) -> None:
        """Without a Contact the bindings are given, and none where there are none."""
        self.assertEqual(self.answer(request()).headers.get_all("Contact"), [])
        self.answer(request(A))
        self.assertEqual(self.answer(request(cseq=2)).headers.get_all("Contact"), [f"{A};expires=300"])

    def test_remove_all(self) -> None:
        """After `*` the answer has no Contact."""
        self.answer(request(A))
        response = self.answer(request("*", cseq=2, headers=[("Expires", "0")]))
        self.assertEqual((response.status, response.headers.get_all("Contact")), (200, []))

    def test_path(self) -> None:
        """Path is kept with the binding and given back (RFC 3327 section 5.3)."""
        response = self.answer(request(A, headers=[("Path", "<sip:p1;lr>,<sip:p2;lr>"), ("Supported", "path")]))
        self.assertEqual(response.headers.values("Path"), ["<sip:p1;lr>", "<sip:p2;lr>"])
        (bound,) = self.location.lookup("sip:alice@example.com")
        self.assertEqual(bound.path, ("<sip:p1;lr>", "<sip:p2;lr>"))

    def test_where_it_came_from(self) -> None:
        """A binding has the address that the REGISTER came from, and the listening point."""
        self.answer(request(A))
        (bound,) = self.location.lookup("sip:alice@example.com")
        self.assertEqual((bound.source, bound.point), (SOURCE, "udp"))

    def test_too_brief(self) -> None:
        """A short expiry gets 423 with Min-Expires."""
        response = self.answer(request(f"{A};expires=10"))
        self.assertEqual((response.status, response.headers.get("Min-Expires")), (423, "60"))
        self.assertTrue(response.to.tag)

    def test_overtaken(self) -> None:
        """An old CSeq gets 500, and nothing changes."""
        self.answer(request(A, cseq=2))
        response = self.answer(request("<sip:alice@10.0.0.2>", A, cseq=2))
        self.assertEqual(response.status, 500)
        self.assertEqual(len(self.location.lookup("sip:alice@example.com")), 1)

    def test_too_many(self) -> None:
        """A contact too many gets 403."""
        self.assertEqual(self.answer(request(A, "<sip:b@x>", "<sip:c@x>")).status, 403)

    def test_malformed(self) -> None:
        """A Contact that breaks the grammar gets 400 and says what was wrong."""
        response = self.answer(request("<sip:>"))
        self.assertEqual((response.status, response.reason), (400, "Malformed sip URI"))


class AddressTests(RegistrarCase):
    """Whose address of record it is."""

    cseq = 0

    def status(self, to: str, uri: str = "sip:example.com") -> int:
        """Give the status of registering a contact for that To."""
        self.cseq += 1
        return self.answer(request(A, to=to, uri=uri, cseq=self.cseq)).status

    def test_domains(self) -> None:
        """Every domain that is served is, however it is written; the port is no part of it."""
        for to, uri in (
            ("<sip:alice@EXAMPLE.com>", "sip:example.com"),
            ("<sip:alice@example.net>", "sip:example.com:5070"),
            ("<sip:alice@example.com:5070;transport=tcp>", "sips:example.net"),
            ("<sip:alice@[2001:db8:0::1]>", "sip:[2001:DB8::1]"),
        ):
            self.assertEqual(self.status(to, uri), 200, to)
        self.assertEqual(
            sorted(self.location.addresses_of_record()),
            ["sip:alice@[2001:db8::1]", "sip:alice@example.com", "sip:alice@example.net"],
        )

    def test_address_of_the_listening_point(self) -> None:
        """A request URI may name the address that the request came to, or the advertised one."""
        for uri in ("sip:127.0.0.1", "sip:192.0.2.1:5060;transport=udp"):
            self.assertEqual(self.status("<sip:alice@example.com>", uri), 200)

    def test_not_served(self) -> None:
        """Another domain in To or in the request URI, a To without a user, or one of another scheme, gets 404."""
        for to, uri in (
            ("<sip:alice@example.org>", "sip:example.com"),
            ("<sip:alice@127.0.0.1>", "sip:127.0.0.1"),
            ("<sip:alice@example.com>", "sip:example.org"),
            ("<sip:alice@example.com>", "tel:+1"),
            ("<sip:example.com>", "sip:example.com"),
            ("<tel:+1900555>", "sip:example.com"),
            (f"<sip:{'a' * 300}@example.com>", "sip:example.com"),
        ):
            self.assertEqual(self.status(to, uri), 404, to)
        self.assertEqual(len(self.location), 0)

    def test_other_user(self) -> None:
        """An address of record that belongs to another user gets 403; case counts in user names."""
        for to in ("<sip:bob@example.com>", "<sip:Alice@example.com>", "<sip:alice%00@example.com>"):
            self.assertEqual(self.status(to), 403, to)

    def test_escaped_user(self) -> None:
        """A user name is compared without its escapes, and the AOR is the canonical one."""
        self.assertEqual(self.status("<sip:%61lice@example.com>"), 200)
        self.assertEqual(list(self.location.addresses_of_record()), ["sip:alice@example.com"])
        self.trusting.user = "bob smith"
        self.assertEqual(self.status("<sip:bob%20smith@example.com>"), 200)


class ObserverTests(RegistrarCase):
    """What is told of refusals."""

    def test_refused(self) -> None:
        """A refusal is told with address of record, source and reason."""
        self.answer(request(A, to="<sip:bob@example.com>"))
        self.assertEqual(
            self.diary.entries,
            [("refused", "sip:bob@example.com", SOURCE, 403, "This address of record belongs to somebody else")],
        )

    def test_challenge(self) -> None:
        """A challenge is no refusal."""
        self.trusting.error = RequestRefusedError("Unauthorized", status=401)
        self.answer(request(A))
        self.assertEqual(self.diary.entries, [])


class FailureTests(RegistrarCase):
    """What is not the phone's doing."""

    def test_users_out_of_reach(self) -> None:
        """Without the credential store the answer is 500, without a traceback."""
        self.trusting.error = LocalError("no connection to the users")
        self.assertEqual(self.answer(request(A)).status, 500)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_bug(self) -> None:
        """A bug is answered with 500 and logged with its traceback."""
        self.trusting.error = ZeroDivisionError()
        self.assertEqual(self.answer(request(A)).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class DigestTests(RegistrarCase):
    """The whole exchange with real digest."""

    def setUp(self) -> None:
        """Let alice have a password."""
        super().setUp()
        store = ConfiguredCredentials([Credentials(username="alice", password="secret")])
        self.registrar = self.make(DigestAuthenticator(store, clock=self.clock, entropy=seeded(3)))

    def register(self, password: str) -> Response:
        """Send a REGISTER, answer its challenge, give the last response."""
        message = request(A)
        response = self.answer(message)
        self.assertEqual((response.status, len(response.headers.get_all("WWW-Authenticate"))), (401, 3))
        user = Credentials(username="alice", password=password)
        again = request(A, cseq=2)
        set_credentials(again, answer_challenges(response, message, [user], seeded(4), {}))
        return self.answer(again)

    def test_right(self) -> None:
        """With the right password the contact is bound."""
        self.assertEqual(self.register("secret").status, 200)
        self.assertEqual(self.diary.entries, [("made", "sip:alice@10.0.0.1", 300)])

    def test_wrong(self) -> None:
        """With a wrong one it is not."""
        self.assertEqual(self.register("guess").status, 401)
        self.assertEqual(len(self.location), 0)
