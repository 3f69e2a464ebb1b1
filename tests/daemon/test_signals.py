"""Tests of `sipd.daemon.signals` with real signals to this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipd.daemon.signals import StopSignals, on_change, on_rotation


@implementer(IReactorFromThreads)
class Caller:
    """The part of a reactor that leaves a signal handler: here, at once."""

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """See `IReactorFromThreads`."""
        callable(*args, **kwargs)


class StopSignalsTests(SynchronousTestCase):
    """First and second signal."""

    def setUp(self) -> None:
        self.log: list[str] = []
        self.is_stopping = False
        for number in (signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
            signal.signal(number, lambda number, frame: self.log.append(signal.Signals(number).name))
        self.signals = StopSignals(Caller(), lambda: self.is_stopping, lambda: self.log.append("hurry"))
        self.addCleanup(self.signals.uninstall)

    def send(self, number: int) -> None:
        """Send a signal to this process; Python handles it before the next line."""
        os.kill(os.getpid(), number)

    def test_the_first_goes_through(self) -> None:
        """The first signal reaches the handler that was there; each later one is a wish to hurry."""
        self.signals.install()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            self.send(number)
        self.assertEqual(self.log, ["SIGTERM", "hurry", "hurry"])

    def test_stopping_for_another_reason(self) -> None:
        """Where the service is stopping already, the first signal is a wish to hurry."""
        self.signals.install()
        self.is_stopping = True
        self.send(signal.SIGINT)
        self.assertEqual(self.log, ["hurry"])

    def test_an_ignored_signal_stays_ignored(self) -> None:
        """A process started with nohup or in the background goes on ignoring."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.signals.install()
        self.assertIs(signal.getsignal(signal.SIGINT), signal.SIG_IGN)

    def test_uninstall(self) -> None:
        """The handlers that were there are put back."""
        self.signals.install()
        self.signals.uninstall()
        self.send(signal.SIGTERM)
        self.send(signal.SIGTERM)
        self.assertEqual(self.log, ["SIGTERM", "SIGTERM"])


class ChangeTests(SynchronousTestCase):
    """SIGHUP and SIGUSR1."""

    def setUp(self) -> None:
        self.log: list[str] = []
        for number in (signal.SIGHUP, signal.SIGUSR1):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def test_each_has_its_own(self) -> None:
        """SIGHUP reads the configuration again, SIGUSR1 opens files anew, after what was there before."""
        signal.signal(signal.SIGUSR1, lambda number, frame: self.log.append("twistd"))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        on_rotation(Caller(), lambda: self.log.append("reopen"))
        on_change(Caller(), lambda: self.log.append("reload"))
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP):
            os.kill(os.getpid(), number)
        self.assertEqual(self.log, ["reload", "twistd", "reopen", "reload"])
