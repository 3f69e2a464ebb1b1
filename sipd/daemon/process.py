"""What a process of its own needs around the service: its log, its signals, its commands, its exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile

from sipd import garbage
from sipd.daemon.control import Answer, ControlPort, Question
from sipd.daemon.control_socket import control_socket
from sipd.daemon.logs import LogWriter, open_log
from sipd.daemon.reloader import Reloader
from sipd.daemon.sections import Config
from sipd.daemon.service import SipService
from sipd.daemon.signals import StopSignals, on_change, on_rotation
from sipd.daemon.stack import make_state_directory
from sipd.daemon.status import answer_on_trunks, status_of
from sipd.errors import LocalError
from sipd.registrar.database import Database


class Process(MultiService):
    """Runs a `SipService` as a daemon. To embed one in another application, use `SipService` itself.

    Args:
        config: what to run.
        command: the options of ``twistd`` or ``python -m twisted``, of which ``sipd`` is a subcommand.
        reactor: the one that the command has chosen.
        load: reads the configuration again; called in another thread.

    Raises:
        ConfigurationError: the log cannot be written.
    """

    _log = Logger()

    def __init__(
        self,
        config: Config,
        command: MutableMapping[str, Any] | None,
        reactor: Any,
        load: Callable[[], Config],
    ) -> None:
        super().__init__()
        self._config = config
        self._command: MutableMapping[str, Any] = {} if command is None else command
        self._reactor = reactor
        self._service = SipService(config, reactor)
        self._service.setServiceParent(self)
        self._signals = StopSignals(reactor, self._is_stopping, self._service.end_now)
        path = config.logging.file
        self._file = None if path is None else open_log(path)
        stream = self._log_stream()
        self._observer = None if stream is None else LogWriter(stream, config.logging)
        self._reloader = Reloader(self._service, load, in_thread=deferToThread, applied=self._take_logging)
        commands = {"reload": self._reload, "status": self._status, "trunks": self._trunks}
        self._control = ControlPort(reactor, control_socket(config.state_directory), commands)
        if self._observer is not None and "fileLogObserverFactory" in self._command:
            # `python -m twisted` asks this for its observer; JSON is its default where the output is no terminal.
            self._command["fileLogObserverFactory"] = lambda _: self._observer

    def setServiceParent(self, parent: Any) -> None:
        """Take the place below the application, and give it the log observer, which ``twistd`` asks it for."""
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Bind what needs privileges. ``python -m twisted`` does not call this, so `startService` binds as well."""
        try:
            super().privilegedStartService()
        except LocalError as error:
            self._give_up(error)

    def startService(self) -> None:
        """Start, then move what was made so far out of the garbage collector's sight.

        The database is opened here once for a moment: what is wrong with it then ends the start, and its library, which
        takes a fifth of a second to import, is there when the first phone comes.
        """
        try:
            make_state_directory(self._config)
            Database(self._config.database.text).close()
            super().startService()
        except LocalError as error:
            self._give_up(error)
        self._service.when_ready().addErrback(lambda _: self._reactor.callWhenRunning(self._reactor.stop))
        self._reactor.callWhenRunning(self._signals.install)
        self._reactor.callWhenRunning(on_rotation, self._reactor, self._reopen)
        self._reactor.callWhenRunning(on_change, self._reactor, self._reloader.signalled)
        self._control.open()
        garbage.settle()

    def stopService(self) -> Deferred[Any]:
        """Stop. Commands are answered until everything is over."""
        stopping: Deferred[Any] = super().stopService()
        return stopping.addCallback(lambda _: self._control.close())

    def _reload(self, question: Question) -> Deferred[Answer]:
        return self._reloader.reload().addCallback(lambda outcome: {"ok": True, "lines": list(outcome.lines())})

    def _status(self, question: Question) -> Deferred[Answer]:
        return succeed({"ok": True, **status_of(self._service, self._reloader.pending)})

    def _trunks(self, question: Question) -> Deferred[Answer]:
        return execute(answer_on_trunks, self._service, question)

    def _take_logging(self, config: Config) -> None:
        if self._observer is not None:
            self._observer.configure(config.logging)

    def _reopen(self) -> None:
        self._service.reopen()
        if self._file is not None:
            self._file.reopen()

    def _is_stopping(self) -> bool:
        return not self.running

    def _give_up(self, error: Exception) -> None:
        """End a start that failed: one line in the log, no traceback, exit status 1.

        ``twistd`` cleans up after an ordinary exception only, and prints a traceback for it; so the file with the
        process identifier is removed here.
        """
        self._log.critical("sipd cannot start: {error}", error=str(error))
        pid_file = self._command.get("pidfile")
        if pid_file:
            with suppress(OSError, ValueError):
                path = Path(pid_file)
                if int(path.read_text()) == os.getpid():
                    path.unlink()
        raise SystemExit(1)

    def _log_stream(self) -> IO[str] | LogFile | None:
        """Choose where the log goes; ``None`` leaves it to the command: a log file or syslog of its own."""
        if self._command.get("logger") or self._command.get("syslog"):
            return None
        if self._file is not None:
            return self._file
        if "fileLogObserverFactory" in self._command:
            stream: IO[str] = self._command["logFile"]
            return stream
        if self._command.get("nodaemon") and self._command.get("logfile") in (None, "-"):
            return sys.stdout
        return None
