"""How a command talks to the sipd that runs: one line of JSON each way, over a Unix socket in the state directory.

Whoever may open the socket may ask; that is the owner of the process, and root. A question is
``{"command": "status"}``, with whatever else the command wants to know, an answer ``{"ok": true, ...}`` or
``{"ok": false, "problems": ["...", ...]}``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from sipd.daemon.control_socket import MAX_SOCKET_PATH_OCTETS
from sipd.errors import ConfigurationError, LocalError

#: Octets of the longest question.
MAX_QUESTION_OCTETS = 4096
#: Seconds that a question may take to come, and an answer to be read. To answer may take longer.
_PATIENCE = 10.0
#: Questions at a time; further connections are closed at once.
_MAX_CONNECTIONS = 16

Answer = dict[str, Any]
Question = dict[str, Any]
Command = Callable[[Question], "Deferred[Answer]"]


class ControlPort:
    """Listens for questions.

    Args:
        reactor: gives the socket.
        path: where.
        commands: what can be asked for, by name. What one fails with is answered if it is a `LocalError`.
    """

    _log = Logger()

    def __init__(self, reactor: Any, path: Path, commands: Mapping[str, Command]) -> None:
        self._reactor = reactor
        self._path = path
        self._factory = _Factory(commands)
        self._listening: IListeningPort | None = None

    def open(self) -> None:
        """Listen. Where that cannot be, sipd runs without, and the log says so."""
        if len(os.fsencode(self._path)) > MAX_SOCKET_PATH_OCTETS:
            self._log.warn("commands cannot reach this sipd: the path {path} is too long", path=str(self._path))
            return
        mask = os.umask(0o177)
        try:
            self._listening = self._reactor.listenUNIX(str(self._path), self._factory, mode=0o600, wantPID=True)
        except CannotListenError as error:
            self._log.warn(
                "commands cannot reach this sipd by {path}: {error}", path=str(self._path), error=error.socketError
            )
        finally:
            os.umask(mask)

    def close(self) -> Deferred[None]:
        """Listen no more; answers that are due are still given."""
        listening, self._listening = self._listening, None
        return succeed(None) if listening is None else succeed(None).addCallback(lambda _: listening.stopListening())


class _Factory(ServerFactory):
    noisy = False

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self.commands = commands
        self.count = 0

    def buildProtocol(self, addr: IAddress | None) -> _Conversation | None:  # type: ignore[override]
        """See ``IProtocolFactory``."""
        if self.count >= _MAX_CONNECTIONS:
            return None
        conversation = _Conversation()
        conversation.factory = self
        return conversation


class _Conversation(LineOnlyReceiver, TimeoutMixin):
    """One question and its answer."""

    _log = Logger()

    factory: _Factory
    delimiter = b"\n"
    MAX_LENGTH = MAX_QUESTION_OCTETS

    def connectionMade(self) -> None:
        """See ``IProtocol``."""
        self.factory.count += 1
        self._is_open, self._is_asked = True, False
        self.setTimeout(_PATIENCE)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """See ``IProtocol``."""
        self.factory.count -= 1
        self._is_open = False
        self.setTimeout(None)

    def lineReceived(self, line: bytes) -> None:
        """Take the question."""
        if self._is_asked:
            return
        self._is_asked = True
        self.setTimeout(None)
        try:
            question = json.loads(line)
        except (ValueError, RecursionError):
            question = None
        if not isinstance(question, dict):
            question = {}
        name = str(question.get("command"))
        command = self.factory.commands.get(name)
        if command is None:
            self._answer(refuse("this sipd does not know that command"))
            return
        command(question).addErrback(self._failed, name).addCallback(self._answer)

    def _failed(self, failure: Failure, name: str) -> Answer:
        error = failure.value
        if isinstance(error, ConfigurationError):
            return refuse(*error.problems)
        if isinstance(error, LocalError):
            return refuse(str(error))
        self._log.failure("the command {name} failed", failure, name=name)
        return refuse("there is a mistake in sipd: its log has the traceback")

    def _answer(self, answer: Answer) -> None:
        if self._is_open:
            self.setTimeout(_PATIENCE)
            self.sendLine(json.dumps(answer).encode("ascii"))
            assert self.transport is not None
            self.transport.loseConnection()


def refuse(*problems: str) -> Answer:
    """Give the answer that something cannot be done."""
    return {"ok": False, "problems": list(problems)}
