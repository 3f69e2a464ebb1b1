"""Asks RADIUS servers whether the proof of a user is right: they have the passwords, sipd the nonces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer

from sipd.accounts.attributes import Question, QuestionMaker, QuestionSettings, UnfitProofError, Verdict
from sipd.accounts.interfaces import StoreUnavailableError
from sipd.accounts.reading import is_name
from sipd.errors import RequestRefusedError
from sipd.interfaces import DigestProof, Entropy, IDigestVerifier

#: Questions that one socket can have open: an identifier has eight bits (RFC 2865 section 3).
MAX_QUESTIONS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiusServer:
    """Where to ask.

    Args:
        host: a numeric address.
        port: 1812 as a rule.
        secret: shared with it. Never printed.
    """

    host: str
    port: int = 1812
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiusSettings:
    """How to ask.

    Args:
        questions: what they look like.
        timeout: seconds that one try waits for an answer.
        tries: at each server, before the next one is asked.
        rest: seconds for which a server that did not answer is asked after the others.
        retry_after: seconds that a user is told to wait when no server answers.
    """

    questions: QuestionSettings = field(default_factory=QuestionSettings)
    timeout: float = 1.0
    tries: int = 2
    rest: float = 30.0
    retry_after: int = 10


@dataclass(slots=True)
class _Open:
    """A question without an answer."""

    question: Question
    waiting: Deferred[Verdict]
    tries: int = 0
    timer: IDelayedCall | None = None


class RadiusSocket(DatagramProtocol):
    """Talks with one server: repeats what is not answered, and believes only what the server has signed.

    Args:
        server: which.
        settings: how.
        reactor: gives time and the socket.
        entropy: for request authenticators, and for where identifiers begin.
    """

    noisy = False
    transport: Any
    _log = Logger()

    def __init__(self, server: RadiusServer, settings: RadiusSettings, *, reactor: Any, entropy: Entropy) -> None:
        self.server = server
        #: Until when it is asked after the others.
        self.rests_until = 0.0
        self._settings = settings
        self._reactor = reactor
        self._maker = QuestionMaker(
            settings.questions, secret=server.secret.encode("utf-8", "surrogateescape"), entropy=entropy
        )
        self._open: dict[int, _Open] = {}
        self._next = entropy(1)[0]
        self._port: Any = None
        self._has_refused = False
        self._is_closed = False

    def __len__(self) -> int:
        """How many questions are open."""
        return len(self._open)

    def ask(self, proof: DigestProof) -> Deferred[Verdict]:
        """Ask about a proof.

        Fails with `StoreUnavailableError` if no answer comes, or with `UnfitProofError`.
        """
        try:
            self._bind()
            identifier = self._identifier()
            question = self._maker.make(proof, identifier)
        except (StoreUnavailableError, UnfitProofError) as error:
            return fail(error)
        self._open[identifier] = asked = _Open(question, Deferred(lambda _: self._forget(identifier)))
        self._send(identifier, asked)
        return asked.waiting

    def close(self) -> Deferred[None]:
        """Give up every question, and close the socket."""
        self._is_closed = True
        for identifier, asked in tuple(self._open.items()):
            self._forget(identifier)
            asked.waiting.errback(StoreUnavailableError("it is closed"))
        port, self._port = self._port, None
        closed: Deferred[None] = Deferred()
        if port is None or (stopping := port.stopListening()) is None:
            closed.callback(None)
        else:
            stopping.addBoth(lambda _: closed.callback(None))
        return closed

    def datagramReceived(self, datagram: bytes, addr: tuple[Any, ...]) -> None:
        """Take an answer; anything else is dropped."""
        if addr[:2] != (self.server.host, self.server.port) or len(datagram) < 20:
            return
        asked = self._open.get(datagram[1])
        if asked is None:
            return
        verdict = self._maker.read(datagram, asked.question)
        if verdict is None:
            if not self._has_refused:
                self._has_refused = True
                self._log.error(
                    "RADIUS server {host}:{port} sends what is not signed as it has to be: another secret? An old "
                    "server without Message-Authenticator?",
                    host=self.server.host,
                    port=self.server.port,
                )
            return
        self._forget(datagram[1])
        asked.waiting.callback(verdict)

    def _bind(self) -> None:
        if self._is_closed:
            raise StoreUnavailableError("it is closed")
        if self._port is not None:
            return
        interface = "::" if ":" in self.server.host else "0.0.0.0"
        try:
            # Not connected: Twisted closes a connected socket when its peer is refused once.
            self._port = self._reactor.listenUDP(0, self, interface=interface)
        except CannotListenError as error:
            raise StoreUnavailableError(f"no socket: {error}") from None

    def _identifier(self) -> int:
        for _ in range(MAX_QUESTIONS):
            self._next = (self._next + 1) % MAX_QUESTIONS
            if self._next not in self._open:
                return self._next
        raise StoreUnavailableError(f"{MAX_QUESTIONS} questions are open, and no more can be")

    def _send(self, identifier: int, asked: _Open) -> None:
        asked.timer = None
        if asked.tries >= self._settings.tries:
            self._forget(identifier)
            self.rests_until = self._reactor.seconds() + self._settings.rest
            asked.waiting.errback(StoreUnavailableError("no answer"))
            return
        asked.tries += 1
        asked.timer = self._reactor.callLater(self._settings.timeout, self._send, identifier, asked)
        try:
            self.transport.write(asked.question.data, (self.server.host, self.server.port))
        except OSError:
            return  # as if it were lost on the way

    def _forget(self, identifier: int) -> None:
        asked = self._open.pop(identifier, None)
        if asked is not None and asked.timer is not None:
            asked.timer.cancel()


@implementer(IDigestVerifier)
class RadiusVerifier:
    """Asks one server after another; the first that answers decides.

    That no server answers is no wrong password: who asks gets 503. There is one line in the log when that begins and
    one when it is over. A server's reject does not say whether there is such a user.

    Args:
        servers: in order.
        settings: how to ask.
        reactor: gives time and sockets.
        entropy: for request authenticators.
        domains: that may stand behind a name in the username of a digest, in lower case; of any other domain it would
            be somebody else's name.
        proved: told the name of each user whose proof is right.
    """

    _log = Logger()

    def __init__(
        self,
        servers: Sequence[RadiusServer],
        settings: RadiusSettings,
        *,
        reactor: Any,
        entropy: Entropy,
        domains: Iterable[str],
        proved: Callable[[str], None],
    ) -> None:
        self._sockets = [RadiusSocket(server, settings, reactor=reactor, entropy=entropy) for server in servers]
        self._settings = settings
        self._reactor = reactor
        self._domains = frozenset(domains)
        self._proved = proved
        self._is_away = False

    def verify(self, proof: DigestProof) -> Deferred[str | None]:
        """See `IDigestVerifier`."""
        return Deferred.fromCoroutine(self._verify(proof))

    async def close(self) -> None:
        """Close the sockets."""
        for socket in self._sockets:
            await socket.close()

    async def _verify(self, proof: DigestProof) -> str | None:
        name, at, domain = proof.username.partition("@")
        if not is_name(name) or (at and domain.lower() not in self._domains):
            return None
        now = self._reactor.seconds()
        reason = StoreUnavailableError("there is none")
        for socket in sorted(self._sockets, key=lambda socket: socket.rests_until > now):
            try:
                verdict = await socket.ask(proof)
            except UnfitProofError:
                return None
            except StoreUnavailableError as error:
                reason = error
                continue
            if self._is_away:
                self._is_away = False
                self._log.info("RADIUS answers again")
            if verdict is Verdict.WRONG:
                return None
            self._proved(name)
            return name
        if not self._is_away:
            self._is_away = True
            self._log.error("no RADIUS server answers ({reason}); nobody can prove to be its user", reason=reason)
        raise RequestRefusedError(
            "RADIUS Out Of Reach", status=503, headers=(("Retry-After", str(self._settings.retry_after)),)
        )
