"""What is typed while the telephone runs: one command a line, so that a script can type as well."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.daemon.telephone.screen import Screen
from sipd.rtp.dtmf import DIGITS

if TYPE_CHECKING:
    from sipd.daemon.telephone.conversation import Conversation

HELP = (
    "h hang up, d123 or 123 digits, r hold and resume, m mute and unmute, i how the media fare, t TEXT message, "
    "s TEXT INFO, x ADDRESS transfer, q quit"
)
#: What may be in a line of digits; a comma is a pause.
DIGITS_AND_PAUSE = frozenset(f"{DIGITS},")
#: Octets of a line; what is longer is cut there.
_LONGEST = 4096


class Keys:
    """Carries out what is typed. It is for the call that was established last.

    Args:
        screen: says what cannot be done.

    Attributes:
        calls: those that are up, the oldest first.
        on_hang_up: called for ``h`` and ``q`` where no call is up: gives up one that rings.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._has_quit = False
        self._waiting: list[Deferred[None]] = []
        self.calls: list[Conversation] = []
        self.on_hang_up: Callable[[], object] | None = None

    @property
    def has_quit(self) -> bool:
        """Whether ``q`` was typed."""
        return self._has_quit

    def when_quit(self) -> Deferred[None]:
        """Give a Deferred that fires when ``q`` is typed, or was. It can be cancelled."""
        if self._has_quit:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def typed(self, line: str) -> None:
        """Carry out one line."""
        line = line.strip()
        word, rest = line[:1], line[1:].strip()
        if not line:
            return
        if line == "q":
            self._quit()
        elif line == "h":
            self._hang_up()
        elif not self.calls:
            self._screen.fail(f"no call is up ({HELP})")
        elif line in ("r", "m", "i"):
            call = self.calls[-1]
            {"r": call.toggle_hold, "m": call.toggle_mute, "i": call.inform}[line]()
        elif word == "t" and rest:
            self.calls[-1].say(rest)
        elif word == "s" and rest:
            self.calls[-1].send_info(rest)
        elif word == "x" and rest:
            self.calls[-1].transfer(rest)
        elif (digits := rest if word == "d" else line.replace(" ", "")) and set(digits) <= DIGITS_AND_PAUSE:
            self.calls[-1].dial_digits(digits)
        else:
            self._screen.fail(HELP)

    def _hang_up(self) -> None:
        if self.calls:
            self.calls[-1].hang_up()
        elif self.on_hang_up is not None:
            self.on_hang_up()
        else:
            self._screen.fail("no call is up")

    def _quit(self) -> None:
        self._has_quit = True
        for call in list(self.calls):
            call.hang_up()
        if self.on_hang_up is not None:
            self.on_hang_up()
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)


@implementer(IReadDescriptor)
class Keyboard:
    """Reads standard input, line by line, until its end.

    It is not made non-blocking: output may be the same terminal.

    Args:
        reactor: watches it.
        typed: takes each line, without its end.
    """

    def __init__(self, reactor: Any, typed: Callable[[str], object]) -> None:
        self._reactor = reactor
        self._typed = typed
        self._descriptor = sys.stdin.fileno()
        self._line = b""

    @classmethod
    def attach(cls, reactor: Any, typed: Callable[[str], object]) -> Keyboard | None:
        """Read from now on; ``None`` where there is nothing to read, or the terminal is another job's."""
        try:
            descriptor = sys.stdin.fileno()
            if os.isatty(descriptor) and os.tcgetpgrp(descriptor) != os.getpgrp():
                return None
        except (AttributeError, OSError, ValueError):
            return None
        keyboard = cls(reactor, typed)
        reactor.addReader(keyboard)
        return keyboard

    def fileno(self) -> int:
        """See ``IReadDescriptor``."""
        return self._descriptor

    def logPrefix(self) -> str:
        """See ``IReadDescriptor``."""
        return "keyboard"

    def doRead(self) -> None:
        """See ``IReadDescriptor``."""
        try:
            data = os.read(self._descriptor, _LONGEST)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.detach()
            data = b"\n" if self._line else b""
        *lines, self._line = (self._line + data).split(b"\n")
        self._line = self._line[:_LONGEST]
        for line in lines:
            self._typed(line.decode("utf-8", "replace"))

    def connectionLost(self, reason: Failure) -> None:
        """See ``IReadDescriptor``."""
        self.detach()

    def detach(self) -> None:
        """Read no more. Idempotent."""
        self._reactor.removeReader(self)
