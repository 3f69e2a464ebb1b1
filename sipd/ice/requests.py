"""Requests to a STUN server over UDP: repetition (RFC 8489 section 6.2.1), responses (6.3) and credentials (9.2)."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeAlias

from sipd.rtp.stun import TRANSACTION_SIZE, Attribute, Kind, StunMessage, long_term_key, xor_address

#: An IP address as text, and a port.
Address: TypeAlias = tuple[str, int]

#: Octets that REALM and NONCE may have (RFC 8489 sections 14.9 and 14.10).
_TEXT_LIMIT = 763
_USER_LIMIT = 508
_UNAUTHENTICATED = 401
_STALE_NONCE = 438


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often, and how long, a request is repeated. The default is that of RFC 8489 section 6.2.1: 39.5 s.

    Args:
        first: seconds until it is sent again (RTO); doubled each time.
        attempts: how often it is sent at most (Rc).
        last: how many times `first` an answer to the last one is waited for (Rm).
    """

    first: float = 0.5
    attempts: int = 7
    last: float = 16.0


DEFAULT_PACE = Pace()


@dataclass(frozen=True, slots=True)
class Credentials:
    """A long-term credential (RFC 8489 section 9.2).

    Args:
        user: the name, of 1 to 508 octets in UTF-8.
        password: never in the text of this object.

    Raises:
        ValueError: the name is empty or too long, or one of them cannot be written in UTF-8.
    """

    user: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        """Check the bounds (RFC 8489 section 14.3)."""
        try:
            self.password.encode()
            size = len(self.username)
        except UnicodeEncodeError:
            # Without its cause, which has the password.
            raise ValueError("a STUN user name or password is no text") from None
        if not 1 <= size <= _USER_LIMIT:
            raise ValueError("a STUN user name has 1 to 508 octets")

    @property
    def username(self) -> bytes:
        """The value of USERNAME."""
        return unicodedata.normalize("NFC", self.user).encode()


@dataclass(slots=True)
class Send:
    """An effect: send a datagram."""

    octets: bytes
    to: Address


@dataclass(slots=True)
class StartTimer:
    """An effect: call `timer_fired` with this timer in `duration` seconds; one of the same name starts anew."""

    timer: Hashable
    duration: float


@dataclass(slots=True)
class StopTimer:
    """An effect: stop this timer, if it runs."""

    timer: Hashable


@dataclass(slots=True)
class Answered:
    """An effect: a success response came.

    Args:
        name: the request's.
        message: the response; signed, if the request was.
    """

    name: Hashable
    message: StunMessage


@dataclass(slots=True)
class Refused:
    """An effect: the request failed, and is over.

    Args:
        name: the request's.
        code: that of the error response; 0 if none came, or one that cannot be used.
        text: why, in one line for a person.
        message: the error response.
    """

    name: Hashable
    code: int
    text: str
    message: StunMessage | None = None


Effect: TypeAlias = Send | StartTimer | StopTimer | Answered | Refused
Effects: TypeAlias = tuple[Effect, ...]


@dataclass(slots=True)
class _Request:
    """One request that is under way."""

    method: int
    attributes: tuple[tuple[int, bytes], ...]
    peer: Address | None
    pace: Pace
    transaction: bytes = b""
    octets: bytes = b""
    #: What it was signed with.
    key: bytes | None = None
    sent: int = 0
    #: Error codes that it was sent anew for.
    repeated_for: set[int] = field(default_factory=set)
    #: What came instead of a response that can be believed.
    doubtful: str = ""


class Requests:
    """All requests to one server from one socket.

    The first one goes without credentials. A 401 with realm and nonce has it sent again with them, and so do all that
    follow begin; a 438 has it sent again with the new nonce. For one request each of these is done once.

    Args:
        server: whom to ask; a response counts only if it comes from there.
        entropy: gives random octets, for transaction ids.
        credentials: what a challenge is answered with.
    """

    def __init__(
        self, server: Address, *, entropy: Callable[[int], bytes], credentials: Credentials | None = None
    ) -> None:
        self.server = server
        self._entropy = entropy
        self._credentials = credentials
        self._realm = b""
        self._nonce = b""
        self._key: bytes | None = None
        self._is_answering = True
        self._running: dict[Hashable, _Request] = {}

    def __len__(self) -> int:
        """Give the number of requests under way."""
        return len(self._running)

    def __contains__(self, name: Hashable) -> bool:
        """Say whether a request of that name is under way."""
        return name in self._running

    def names(self) -> tuple[Hashable, ...]:
        """Give the names of the requests under way."""
        return tuple(self._running)

    def start(
        self,
        name: Hashable,
        method: int,
        attributes: tuple[tuple[int, bytes], ...] = (),
        *,
        peer: Address | None = None,
        pace: Pace = DEFAULT_PACE,
    ) -> Effects:
        """Send a request. One of the same name that is under way is forgotten.

        Args:
            name: of the request in `Answered` and `Refused`, and of its timer.
            method: which.
            attributes: without those of the credentials.
            peer: for an XOR-PEER-ADDRESS, which depends on the transaction id.
            pace: how it is repeated.

        Raises:
            ValueError: `peer` is no numeric address and port.
        """
        request = _Request(method, attributes, peer, pace)
        self._running[name] = request
        return self._begin(name, request)

    def forget(self, name: Hashable) -> Effects:
        """Do not wait for the answer any more."""
        return (StopTimer(name),) if self._running.pop(name, None) is not None else ()

    def answer_no_challenge(self) -> None:
        """Let a request that is challenged from now on be refused."""
        self._is_answering = False

    def move(self, server: Address) -> None:
        """Ask another server from now on; it has a realm of its own. Nothing may be under way."""
        self.server = server
        self._realm, self._nonce, self._key = b"", b"", None

    def timer_fired(self, name: Hashable) -> Effects:
        """Send the request again, or give up."""
        request = self._running.get(name)
        if request is None:
            return ()
        if request.sent >= request.pace.attempts:
            return self._refuse(name, 0, f"no answer from {shown(self.server)}{request.doubtful}")
        return self._send(name, request)

    def message_received(self, message: StunMessage, source: Address) -> Effects:
        """Take a message. What answers no request, or is not signed although the request was, is passed over."""
        if source != self.server or message.kind not in (Kind.SUCCESS, Kind.ERROR):
            return ()
        for name, request in self._running.items():
            if request.transaction == message.transaction and request.method == message.method:
                return self._take(name, request, message)
        return ()

    def _take(self, name: Hashable, request: _Request, message: StunMessage) -> Effects:
        """Take the response to a request."""
        error = message.error_code if message.kind is Kind.ERROR else None
        if error is not None and error[0] in (_UNAUTHENTICATED, _STALE_NONCE):
            # These are not signed (RFC 8489 section 9.2.4).
            return self._challenged(name, request, message, error)
        if request.key is not None and not message.is_signed_with(request.key):
            what = f"{error[0]} {error[1]}" if error is not None else message.kind.name.lower()
            request.doubtful = f", but for one that is not signed with the password ({what})"
            return ()
        if message.unknown_required:
            return self._refuse(name, 0, "the answer has attributes that are not known", message)
        if message.kind is Kind.SUCCESS:
            del self._running[name]
            return (StopTimer(name), Answered(name, message))
        if error is None:
            return self._refuse(name, 0, "an error without a code", message)
        return self._refuse(name, error[0], f"{error[0]} {error[1]}".rstrip(), message)

    def _challenged(self, name: Hashable, request: _Request, message: StunMessage, error: tuple[int, str]) -> Effects:
        """Answer a 401 or a 438, once each (RFC 8489 section 9.2.5)."""
        code, reason = error
        text = f"{code} {reason}".rstrip()
        if not self._is_answering:
            return self._refuse(name, code, text, message)
        if self._credentials is None:
            return self._refuse(name, code, f"{text}: the server wants a user and a password", message)
        realm = message.get(Attribute.REALM)
        nonce = message.get(Attribute.NONCE)
        if code == _STALE_NONCE and realm is None:
            realm = self._realm
        if not realm or not nonce or len(realm) > _TEXT_LIMIT or len(nonce) > _TEXT_LIMIT:
            return self._refuse(name, code, f"{text}, without a realm and a nonce that can be used", message)
        if code in request.repeated_for or (
            code == _UNAUTHENTICATED and request.key is not None and realm == self._realm
        ):
            return self._refuse(name, code, f"{text}: the server does not take these credentials", message)
        try:
            self._key = long_term_key(self._credentials.user, realm.decode(), self._credentials.password)
        except UnicodeDecodeError:
            return self._refuse(name, code, f"{text}, with a realm that is no text", message)
        self._realm, self._nonce = realm, nonce
        request.repeated_for.add(code)
        return self._begin(name, request)

    def _begin(self, name: Hashable, request: _Request) -> Effects:
        """Send it for the first time, or anew, as another transaction."""
        transaction = self._entropy(TRANSACTION_SIZE)
        attributes = request.attributes
        if request.peer is not None:
            attributes = (*attributes, (Attribute.XOR_PEER_ADDRESS, xor_address(request.peer, transaction)))
        if self._key is not None and self._credentials is not None:
            attributes = (
                *attributes,
                (Attribute.USERNAME, self._credentials.username),
                (Attribute.REALM, self._realm),
                (Attribute.NONCE, self._nonce),
            )
        request.transaction = transaction
        request.key = self._key
        request.sent = 0
        message = StunMessage(request.method, Kind.REQUEST, request.transaction, attributes)
        request.octets = message.to_bytes(key=self._key, with_fingerprint=True)
        return self._send(name, request)

    def _send(self, name: Hashable, request: _Request) -> Effects:
        request.sent += 1
        pace = request.pace
        factor = pace.last if request.sent >= pace.attempts else 2 ** (request.sent - 1)
        # The timer first: the answer may come while its owner sends.
        return (StartTimer(name, pace.first * factor), Send(request.octets, self.server))

    def _refuse(self, name: Hashable, code: int, text: str, message: StunMessage | None = None) -> Effects:
        del self._running[name]
        return (StopTimer(name), Refused(name, code, text, message))


def shown(address: Address) -> str:
    """Give an address as text."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
