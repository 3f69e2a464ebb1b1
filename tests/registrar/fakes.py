"""What the tests of the registrar have in common: requests, a flow, a transaction, a store that behaves."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipd.errors import LocalError
from sipd.interfaces import (
    Binding,
    IFlow,
    IRegistrationObserver,
    IServerTransaction,
    IServerTransactionUser,
    ListeningPoint,
)
from sipd.registrar.interfaces import IBindingStore
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Headers
from sipd.sip.locate import Target, Transport
from sipd.sip.message import Request, Response

P = ParamSpec("P")
T = TypeVar("T")

POINT = ListeningPoint(
    name="udp", transport=Transport.UDP, host="127.0.0.1", port=5060, advertised_host="192.0.2.1", advertised_port=5060
)
SOURCE = Target(transport=Transport.UDP, host="127.0.0.1", port=5062)


def seeded(seed: int = 1) -> Callable[[int], bytes]:
    """Give a source of randomness that is the same in each run."""
    return random.Random(seed).randbytes


def request(
    *contacts: str,
    call_id: str = "c1",
    cseq: int = 1,
    uri: str = "sip:example.com",
    to: str = "<sip:alice@example.com>",
    headers: Sequence[tuple[str, str]] = (),
    method: str = "REGISTER",
) -> Request:
    """Build a REGISTER as the transport layer hands it over."""
    return Request(
        method,
        uri,
        Headers(
            [
                ("Via", "SIP/2.0/UDP 10.0.0.7:5062;branch=z9hG4bK1;received=127.0.0.1;rport=5062"),
                ("From", f"{to};tag=f"),
                ("To", to),
                ("Call-ID", call_id),
                ("CSeq", f"{cseq} {method}"),
                *(("Contact", contact) for contact in contacts),
                *headers,
            ]
        ),
    )


def binding(
    contact: str = "<sip:alice@127.0.0.1:5062>", *, aor: str = "sip:alice@example.com", **changes: object
) -> Binding:
    """Make a binding."""
    values: dict[str, object] = {
        "q": 1.0,
        "expires_at": 1000.0,
        "call_id": "c1",
        "cseq": 1,
        "source": SOURCE,
        "point": "udp",
        **changes,
    }
    return Binding(aor=aor, contact=contact, uri=NameAddr.parse(contact).uri, **values)  # type: ignore[arg-type]


@implementer(ILogObserver)
class LogLines:
    """Keeps what is logged while a test runs."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self)
        case.addCleanup(globalLogPublisher.removeObserver, self)

    def __call__(self, event: LogEvent) -> None:
        """See `ILogObserver`."""
        self.events.append(event)

    @property
    def lines(self) -> list[str]:
        """The text of each event."""
        return [formatEvent(event) for event in self.events]


@implementer(IFlow)
class FakeFlow:
    """A UDP flow that nothing is sent on."""

    transport = Transport.UDP
    point = POINT
    host = "127.0.0.1"
    port = 5062
    is_open = True
    peer_names: tuple[str, ...] = ()

    def send(self, data: bytes) -> None:
        """See `IFlow`."""
        raise AssertionError("the registrar answers through its transaction")

    def close(self) -> None:
        """See `IFlow`."""


@implementer(IServerTransaction)
class FakeTransaction:
    """A server transaction that keeps the responses."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.flow: IFlow = FakeFlow()
        self.user: IServerTransactionUser | None = None
        self.standing: Sequence[tuple[str, str]] = ()
        self.responses: list[Response] = []

    @property
    def is_answered(self) -> bool:
        """See `IServerTransaction`."""
        return any(not response.is_provisional for response in self.responses)

    def respond(self, response: Response) -> None:
        """See `IServerTransaction`."""
        self.responses.append(response)


@implementer(IRegistrationObserver)
class Diary:
    """An observer that writes down what it is told, in short."""

    def __init__(self) -> None:
        self.entries: list[tuple[object, ...]] = []

    def binding_made(self, binding: Binding, expires: int) -> None:
        """See `IRegistrationObserver`."""
        self.entries.append(("made", str(binding.uri), expires))

    def binding_refreshed(self, binding: Binding, expires: int) -> None:
        """See `IRegistrationObserver`."""
        self.entries.append(("refreshed", str(binding.uri), expires))

    def binding_removed(self, binding: Binding) -> None:
        """See `IRegistrationObserver`."""
        self.entries.append(("removed", str(binding.uri)))

    def binding_expired(self, binding: Binding) -> None:
        """See `IRegistrationObserver`."""
        self.entries.append(("expired", str(binding.uri)))

    def registration_refused(self, aor: str, source: Target, status: int, reason: str) -> None:
        """See `IRegistrationObserver`."""
        self.entries.append(("refused", aor, source, status, reason))


@implementer(IBindingStore)
class MemoryStore:
    """A store that keeps everything in a dictionary, which outlives it."""

    def __init__(self, kept: dict[str, tuple[Binding, ...]]) -> None:
        self.kept = kept
        self.is_closed = False
        self.error: LocalError | None = None

    def load(self, now: float) -> Deferred[Sequence[Binding]]:
        """See `IBindingStore`."""
        if self.error is not None:
            return fail(self.error)
        return succeed([one for bindings in self.kept.values() for one in bindings if one.expires_at > now])

    def save(self, aor: str, bindings: Sequence[Binding]) -> None:
        """See `IBindingStore`."""
        self.kept[aor] = tuple(bindings)

    def close(self) -> Deferred[None]:
        """See `IBindingStore`."""
        self.is_closed = True
        return succeed(None)


class DirectWorker:
    """Runs the store's work at once, in this thread, so that a test needs no real time."""

    def __init__(self) -> None:
        self.is_stopped = False
        self.runs = 0

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """See `Worker`."""
        assert not self.is_stopped
        self.runs += 1
        return execute(function, *args, **kwargs)

    def stop(self) -> None:
        """See `Worker`."""
        assert not self.is_stopped
        self.is_stopped = True


class SlowWorker(DirectWorker):
    """Runs the store's work when it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.is_slow = False
        self.waiting: list[Deferred[None]] = []

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """See `Worker`."""
        if not self.is_slow:
            return super().run(function, *args, **kwargs)
        turn: Deferred[None] = Deferred()
        self.waiting.append(turn)
        return turn.addCallback(lambda _: function(*args, **kwargs))

    def go_on(self) -> None:
        """Do what waits now."""
        turns, self.waiting = self.waiting, []
        for turn in turns:
            turn.callback(None)
