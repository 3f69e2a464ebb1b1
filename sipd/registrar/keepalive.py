"""Keeps the way to registered phones behind NAT open, and finds out which of them are gone.

A NAT forgets a pinhole that nothing leaves through (RFC 4787 section 4.3). OPTIONS makes the phone say something
(RFC 3261 section 11); empty lines (RFC 5626 sections 3.5.1 and 4.4.1, there for connections) cost less, and only help
with NATs that count what comes in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from heapq import heappop, heappush
from math import ceil
from typing import TYPE_CHECKING

from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import LocalError, RemoteError
from sipd.interfaces import Binding, Entropy, IRegistrationObserver, ITransactionLayer, ITransportLayer
from sipd.sip.framing import PING
from sipd.sip.grammar import printable
from sipd.sip.headers import Headers
from sipd.sip.identifiers import new_call_id, new_tag
from sipd.sip.locate import Target
from sipd.sip.message import Request
from sipd.sip.uri import SipUri
from sipd.ua.flows import is_of_another_network

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from sipd.registrar.location import LocationService
    from sipd.sip.message import Response

#: Which part of the interval is left to chance: nothing that began together stays together.
JITTER = 0.2
#: Seconds between two looks at what is due.
TICK = 0.1
#: How much faster than on average pings may go out, where many are due at once.
HASTE = 2.0


class Ping(Enum):
    """What is sent."""

    OPTIONS = "options"
    CRLF = "crlf"

    __hash__ = object.__hash__


class Silence(Enum):
    """What is done with a contact that does not answer any more."""

    SKIP = "skip"
    UNREGISTER = "unregister"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepAliveSettings:
    """How bindings are kept alive.

    Args:
        ping: what is sent.
        interval: seconds, of which up to a fifth is left out by chance; less than the NATs' patience, often 30.
        misses: so many unanswered OPTIONS in a row, each repeated for 64*T1, mean that the phone is gone.
        silence: what is done then.
    """

    ping: Ping = Ping.OPTIONS
    interval: float = 25.0
    misses: int = 3
    silence: Silence = Silence.SKIP


class _Watched:
    """One binding that is kept alive."""

    __slots__ = ("binding", "has_answered", "is_left", "is_silent", "misses")

    def __init__(self, binding: Binding, *, has_answered: bool) -> None:
        self.binding = binding
        self.misses = 0
        self.has_answered = has_answered
        self.is_silent = False
        self.is_left = False


@implementer(IRegistrationObserver)
class KeepAlive:
    """Pings the contacts that are reached over a connection, or at another address than the one they name.

    Pings are spread over the interval, and never more than `HASTE` times as many go out as on average: after a start
    with 10,000 bindings, or a standstill, they do not come in a burst. One ping of a contact is under way at a time.
    A contact that has never answered OPTIONS is not taken to be gone. One that names a private address, and whose
    connection has ended, is.

    Args:
        clock: for when they are due.
        location: whose bindings; `start` watches it.
        transport: for their flows.
        transactions: sends OPTIONS.
        entropy: for tags and jitter.
        host: the domain that stands in From.
        settings: what is sent, and how often.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        location: LocationService,
        transport: ITransportLayer,
        transactions: ITransactionLayer,
        entropy: Entropy,
        host: str,
        settings: KeepAliveSettings | None = None,
    ) -> None:
        self._clock = clock
        self._location = location
        self._transport = transport
        self._transactions = transactions
        self._entropy = entropy
        self._ourselves = SipUri(host)
        self._settings = settings or KeepAliveSettings()
        self._watched: dict[tuple[str, str], _Watched] = {}
        self._due: list[tuple[float, int, _Watched]] = []
        self._number = 0
        self._timer: IDelayedCall | None = None
        self._is_stopped = False

    def __len__(self) -> int:
        """How many contacts are kept alive."""
        return len(self._watched)

    def start(self) -> None:
        """Begin, with what is registered already."""
        self._location.add_observer(self)
        for aor in self._location.addresses_of_record():
            for binding in self._location.lookup(aor):
                self._watch(binding, self._settings.interval * self._chance())

    def stop(self) -> None:
        """Send nothing more. Idempotent."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- IRegistrationObserver ------------------------------------------------------------------------------

    def binding_made(self, binding: Binding, expires: int) -> None:
        """See `IRegistrationObserver`."""
        self._watch(binding, self._wait())

    def binding_refreshed(self, binding: Binding, expires: int) -> None:
        """See `IRegistrationObserver`. From another place: what is under way to the old one is void."""
        watched = self._watched.get(_key(binding))
        if watched is None or watched.binding.source != binding.source:
            self._leave(binding)
            self._watch(binding, self._wait(), has_answered=watched is not None and watched.has_answered)
        else:
            watched.binding = binding
            watched.misses = 0
            watched.is_silent = False

    def binding_removed(self, binding: Binding) -> None:
        """See `IRegistrationObserver`."""
        self._leave(binding)

    def binding_expired(self, binding: Binding) -> None:
        """See `IRegistrationObserver`."""
        self._leave(binding)

    def registration_refused(self, aor: str, source: Target, status: int, reason: str) -> None:
        """See `IRegistrationObserver`."""

    # --- when -----------------------------------------------------------------------------------------------

    def _watch(self, binding: Binding, wait: float, *, has_answered: bool = False) -> None:
        if needs_keep_alive(binding) and not self._is_stopped:
            watched = self._watched[_key(binding)] = _Watched(binding, has_answered=has_answered)
            self._push(watched, wait)

    def _leave(self, binding: Binding) -> None:
        watched = self._watched.pop(_key(binding), None)
        if watched is not None:
            watched.is_left = True

    def _push(self, watched: _Watched, wait: float) -> None:
        """Ping it so many seconds from now."""
        self._number += 1
        heappush(self._due, (self._clock.seconds() + wait, self._number, watched))
        self._arm()

    def _wait(self) -> float:
        return self._settings.interval * (1 - JITTER * self._chance())

    def _chance(self) -> float:
        return int.from_bytes(self._entropy(4), "big") / 2**32

    def _arm(self) -> None:
        if self._due and not self._is_stopped:
            delay = max(TICK, self._due[0][0] - self._clock.seconds())
            if self._timer is None:
                self._timer = self._clock.callLater(delay, self._tick)
            elif self._clock.seconds() + delay < self._timer.getTime():
                self._timer.reset(delay)

    def _tick(self) -> None:
        """Ping what is due, but not too many at once."""
        self._timer = None
        now = self._clock.seconds()
        room = ceil(HASTE * len(self._watched) * TICK / self._settings.interval)
        while room and self._due and self._due[0][0] <= now:
            _, _, watched = heappop(self._due)
            if not watched.is_left:
                self._ping(watched)
                room -= 1
        self._arm()

    # --- what -----------------------------------------------------------------------------------------------

    def _ping(self, watched: _Watched) -> None:
        source = watched.binding.source
        assert source is not None
        flow = self._transport.find_flow(source)
        if flow is None:
            # The connection has ended: whoever is behind NAT makes a new one, and registers on it.
            self._leave(watched.binding)
            if is_of_another_network(watched.binding.uri, source.host):
                self._tell(watched.binding, "has no connection any more, and is not called")
                self._location.leave_out(watched.binding)
        elif self._settings.ping is Ping.CRLF:
            flow.send(PING)
            self._push(watched, self._wait())
        else:
            asked = self._transactions.request(self._options(watched.binding), flow)
            asked.addCallbacks(
                self._answered, self._unanswered, callbackArgs=(watched,), errbackArgs=(watched,)
            ).addBoth(self._again, watched, self._clock.seconds() + self._wait())

    def _again(self, _: None, watched: _Watched, due: float) -> None:
        """Ping it again when its time comes, or at once if the silence took longer."""
        if not watched.is_left:
            self._push(watched, max(0.0, due - self._clock.seconds()))

    def _options(self, binding: Binding) -> Request:
        uri = binding.uri.without_headers() if isinstance(binding.uri, SipUri) else binding.uri
        fields = Headers(
            (
                ("Max-Forwards", "70"),
                ("From", f"<{self._ourselves}>;tag={new_tag(self._entropy)}"),
                ("To", f"<{binding.aor}>"),
                ("Call-ID", new_call_id(self._entropy)),
                ("CSeq", "1 OPTIONS"),
            )
        )
        return Request("OPTIONS", uri, fields)

    def _answered(self, _: Response, watched: _Watched) -> None:
        """Whatever it says, somebody is there."""
        watched.misses = 0
        watched.has_answered = True
        if watched.is_silent and not watched.is_left:
            watched.is_silent = False
            self._location.take_in(watched.binding)
            self._tell(watched.binding, "answers again")

    def _unanswered(self, failure: Failure, watched: _Watched) -> None:
        failure.trap(RemoteError, LocalError)
        if watched.is_left or self._is_stopped or failure.check(LocalError):
            return
        watched.misses += 1
        if watched.is_silent or not watched.has_answered or watched.misses < self._settings.misses:
            return
        watched.is_silent = True
        if self._settings.silence is Silence.UNREGISTER:
            self._tell(watched.binding, "does not answer, and is unregistered")
            self._location.remove(watched.binding)
        else:
            self._tell(watched.binding, "does not answer, and is not called")
            self._location.leave_out(watched.binding)

    def _tell(self, binding: Binding, what: str) -> None:
        user = printable(binding.aor.removeprefix("sip:").partition("@")[0])
        self._log.info("{contact} of {user} {what}", contact=printable(str(binding.uri)), user=user, what=what)


def needs_keep_alive(binding: Binding) -> bool:
    """Say whether a contact is reached where its REGISTER came from, and not where its URI says.

    So it is over connections, and where the address is another one. What came through a proxy (RFC 3327) is the proxy's
    business.
    """
    source, uri = binding.source, binding.uri
    if source is None or binding.path:
        return False
    return source.transport.is_reliable or not (isinstance(uri, SipUri) and uri.host == source.host)


def _key(binding: Binding) -> tuple[str, str]:
    return binding.aor, str(binding.uri)
