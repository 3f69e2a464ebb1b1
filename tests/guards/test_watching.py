"""Tests of `sipd.guards.authenticator` and `sipd.guards.handler`."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.errors import RemoteError, RequestRefusedError
from sipd.guards.door import ScannerAction
from sipd.guards.scanners import SuspicionSettings
from sipd.interfaces import IAuthenticator, IRequestHandler, IServerTransaction
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.transport.via import stamp_source
from tests.guards.support import HOST, GuardCase


@implementer(IAuthenticator)
class FakeAuthenticator:
    """Decides as it is told.

    Attributes:
        outcome: a user, or why not.
    """

    def __init__(self) -> None:
        self.outcome: str | RemoteError = "alice"

    def authenticate(self, request: Request, realm: str, *, proxy: bool) -> Deferred[str]:
        """See `IAuthenticator`."""
        return succeed(self.outcome) if isinstance(self.outcome, str) else fail(self.outcome)


def challenge(status: int = 401, *, stale: bool = False) -> RequestRefusedError:
    """Give a refusal that asks for a password."""
    value = 'Digest realm="example.com", nonce="x"' + (", stale=true" if stale else "")
    return RequestRefusedError("Unauthorized", status=status, headers=(("WWW-Authenticate", value),))


def register(user: str = "alice", *, header: str = "") -> Request:
    """Give a REGISTER that came from the stranger, with credentials in that header."""
    headers = ((header, 'Digest username="alice"'),) if header else ()
    request = builders.register(f"sip:{user}@example.com", via="10.0.0.1:5060", headers=headers)
    stamp_source(request, HOST, 5062)
    return request


class AuthenticatorTests(GuardCase):
    """Who fails too often."""

    def setUp(self) -> None:
        super().setUp()
        self.guard(scanners=ScannerAction.BAN, suspicion=SuspicionSettings(failures=3, challenges=5, users=4))
        self.inner = FakeAuthenticator()
        self.watched = self.guards.watch(self.inner)

    def ask(self, request: Request, *, proxy: bool = False) -> str | None:
        """Authenticate; give the user, or `None` for a refusal, which must be that of who decides."""
        asking = self.watched.authenticate(request, "example.com", proxy=proxy)
        if isinstance(self.inner.outcome, str):
            return self.successResultOf(asking)
        self.assertIs(self.failureResultOf(asking).value, self.inner.outcome)
        return None

    def test_passes_on(self) -> None:
        """It decides what the other one decides."""
        verifyObject(IAuthenticator, self.watched)
        self.assertEqual(self.ask(register()), "alice")
        self.inner.outcome = RequestRefusedError("Bad Request", status=400)
        for _ in range(20):
            self.assertIsNone(self.ask(register()))
        self.assertEqual(len(self.guards.bans), 0)

    def test_wrong_passwords(self) -> None:
        """So many wrong passwords, and the source is told of and banned, by the address that Via was stamped with."""
        self.inner.outcome = challenge()
        for _ in range(2):
            self.ask(register(header="Authorization"))
        self.assertEqual(len(self.guards.bans), 0)
        self.ask(register(header="Authorization"))
        self.assertEqual([ban.source for ban in self.guards.bans], [HOST])
        expected = f'security: scanner src={HOST} port=5062 reason="3 wrong passwords within 60 s"'
        self.assertEqual(self.lines[0], expected)

    def test_old_nonces(self) -> None:
        """A nonce that is too old is no wrong password."""
        self.inner.outcome = challenge(stale=True)
        for _ in range(20):
            self.ask(register(header="Authorization"))
        self.assertEqual(len(self.guards.bans), 0)

    def test_the_header_that_counts(self) -> None:
        """Credentials for a proxy are none for a registrar."""
        self.inner.outcome = challenge(407)
        for _ in range(3):
            self.ask(register(header="Proxy-Authorization"), proxy=True)
        self.assertEqual(len(self.guards.bans), 1)

    def test_without_passwords(self) -> None:
        """Requests that nothing follows are told of; those of phones that go on are not."""
        for _ in range(20):
            self.inner.outcome = challenge()
            self.ask(register())
            self.inner.outcome = "alice"
            self.ask(register(header="Authorization"))
        self.assertEqual(len(self.guards.bans), 0)
        self.inner.outcome = challenge()
        for _ in range(5):
            self.ask(register())
        self.assertEqual(len(self.guards.bans), 1)

    def test_many_users(self) -> None:
        """Who asks for one user after the other is told of."""
        self.inner.outcome = challenge()
        for number in range(4):
            self.ask(register(f"{100 + number}"))
        self.assertIn("4 users within 60 s", self.lines[0])


@implementer(IRequestHandler)
class FakeHandler:
    """Takes requests."""

    extensions = frozenset(("path",))

    def __init__(self) -> None:
        self.taken: list[Request] = []

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IRequestHandler`."""
        self.taken.append(transaction.request)


class FakeTransaction:
    """A request that waits for its answer."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.responses: list[Response] = []

    def respond(self, response: Response) -> None:
        """See `IServerTransaction`."""
        self.responses.append(response)


class HandlerTests(GuardCase):
    """Requests under overload."""

    def setUp(self) -> None:
        super().setUp()
        self.inner = FakeHandler()
        self.handlers: dict[str, IRequestHandler] = {"REGISTER": self.inner}
        methods = ("REGISTER", "MESSAGE")
        self.guards.weigh(self.handlers, methods, lambda request: "known" in str(request.to.uri))

    def ask(self, user: str) -> list[int]:
        """Send a REGISTER; give the statuses that it is answered with at once."""
        transaction: object = FakeTransaction(register(user))
        self.handlers["REGISTER"].request_received(transaction)  # type: ignore[arg-type]
        return [response.status for response in transaction.responses]  # type: ignore[attr-defined]

    def test_passes_on(self) -> None:
        """Without load it is the handler that it stands before; methods without one have none."""
        verifyObject(IRequestHandler, self.handlers["REGISTER"])
        self.assertEqual(self.handlers["REGISTER"].extensions, {"path"})
        self.assertEqual(list(self.handlers), ["REGISTER"])
        self.assertEqual((self.ask("new"), len(self.inner.taken)), ([], 1))

    def test_overload(self) -> None:
        """What is new is refused with 503 and Retry-After; what refreshes is served, until the last step."""
        self.guards.overload.share = 0.01
        self.assertEqual((self.ask("new"), self.ask("known")), ([503], []))
        self.assertEqual(self.guards.handlers["REGISTER"].refused, 1)
        self.guards.overload.is_last = True
        self.assertEqual(self.ask("known"), [503])

    def test_says_why(self) -> None:
        """The response says when to come again, and what is measured."""
        self.guards.overload.is_last = True
        transaction: object = FakeTransaction(register("new"))
        self.handlers["REGISTER"].request_received(transaction)  # type: ignore[arg-type]
        (response,) = transaction.responses  # type: ignore[attr-defined]
        self.assertEqual(response.headers.get("Retry-After"), "10")
        self.assertEqual(response.reason, "Overloaded: lag 0.00 s of 1; 0% of new calls taken")
