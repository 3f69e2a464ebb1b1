"""Watching SIP from the command line: packets of an interface or of a saved capture, to lines on standard output."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from twisted.internet import task
from twisted.internet.defer import Deferred

from sipd.errors import LocalError
from sipd.observe.capture import redact
from sipd.observe.sniffing.display import Display, Wanted
from sipd.observe.sniffing.errors import CaptureFileError, SniffingError
from sipd.observe.sniffing.files import SavedCapture, read_packets
from sipd.observe.sniffing.filters import Filter
from sipd.observe.sniffing.packets import Link
from sipd.observe.sniffing.ports import Ports
from sipd.observe.sniffing.sightings import Address, uncovered
from sipd.observe.sniffing.sniffer import Sniffer
from sipd.observe.sniffing.wire import Wire

#: The largest capture that is written.
MAX_SAVED_OCTETS = 2**30
#: The name that stands for standard input.
STANDARD_INPUT = "-"

#: In seconds: how often it is looked what is over.
_LOOK = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is watched, and how it is shown.

    Args:
        ports: which packets are looked at.
        chosen: which messages are shown.
        wanted: how.
        shows_secrets: whether credentials and keys are, too.
        save: where to write what is shown, or ``None``.
        duration: in seconds, until it ends; ``None`` for no end.
    """

    ports: Ports
    chosen: Filter
    wanted: Wanted
    shows_secrets: bool = False
    save: Path | None = None
    duration: float | None = None


class Output:
    """Standard output, line by line. When nobody reads it any more, that is the end, and no error.

    Attributes:
        is_closed: whether nothing can be written any more.
        problem: why, if it is an error.
    """

    def __init__(self) -> None:
        self.is_closed = False
        self.problem = ""
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> None:
        """Write a line, without its end, at once."""
        if self.is_closed:
            return
        try:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        except OSError as error:
            self.is_closed = True
            if not isinstance(error, BrokenPipeError):
                self.problem = f"standard output: {error.strerror}"
            # What is still in the buffer is written when the process ends, and nobody wants to hear of it.
            with suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, sys.stdout.fileno())
                os.close(nowhere)


class Watch:
    """One run of the command.

    Args:
        wanted: what to do.

    Raises:
        CaptureFileError: the file to write cannot be made.
    """

    def __init__(self, wanted: Task) -> None:
        self._task = wanted
        self._output = Output()
        self._saved = SavedCapture(wanted.save, size_octets=MAX_SAVED_OCTETS) if wanted.save is not None else None
        self._sniffer = Sniffer(wanted.ports, uncovered if wanted.shows_secrets else redact)
        self._display = Display(
            wanted.chosen, wanted.wanted, self._output.write, self._save if self._saved is not None else None
        )

    @property
    def _is_done(self) -> bool:
        return self._output.is_closed or self._display.is_done

    def read(self, name: str) -> None:
        """Show what is in a saved capture.

        Args:
            name: of a file, or `STANDARD_INPUT`.

        Raises:
            CaptureFileError: it cannot be read, or not to its end; what stands before that is shown.
            LocalError: nothing can be written any more.
        """
        with self._closed(), self._finished(), _interruptible():
            try:
                if name == STANDARD_INPUT:
                    self._read(sys.stdin.buffer)
                else:
                    with Path(name).open("rb") as file:
                        self._read(file)
            except OSError as error:
                raise CaptureFileError(f"{name}: cannot be read: {error.strerror}") from None
            except CaptureFileError as error:
                raise CaptureFileError(f"{name}: {error}") from None

    def _read(self, file: BinaryIO) -> None:
        first = looked = None
        for packet in read_packets(file):
            first = packet.at if first is None else first
            if self._task.duration is not None and packet.at - first > self._task.duration:
                return
            if looked is None or abs(packet.at - looked) >= _LOOK:
                looked = packet.at
                self._display.pass_time(packet.at)
            self._display.show(self._sniffer.feed(packet.at, packet.link, packet.data))
            if self._is_done:
                return

    def live(self, interface: str) -> None:
        """Show what passes an interface, until that is enough or a signal ends it. It runs the reactor.

        Args:
            interface: its name, or ``any``.

        Raises:
            SniffingError: it cannot be watched, or not any longer.
            LocalError: nothing can be written any more.
        """
        done: Deferred[None] = Deferred()
        failures: list[SniffingError] = []

        def end() -> None:
            if not done.called:
                done.callback(None)

        def receive(at: float, link: Link, data: bytes) -> None:
            self._display.show(self._sniffer.feed(at, link, data))
            if self._is_done:
                end()

        def ended(error: SniffingError) -> None:
            failures.append(error)
            end()

        with self._closed():
            wire = Wire(interface, self._task.ports, seconds=time.time, receive=receive, ended=ended)
            try:
                with self._finished():
                    _run(lambda reactor: self._watch(reactor, wire, done, end))
                lost = wire.lost() if not failures else 0
            finally:
                wire.close()
        if lost:
            sys.stderr.write(f"{lost} packets came faster than they could be read, and are missing\n")
        if failures:
            raise failures[0]

    def _watch(self, reactor: Any, wire: Wire, done: Deferred[None], end: Callable[[], None]) -> Deferred[None]:
        wire.start(reactor)
        sys.stderr.write(f"watching {wire.interface}; Ctrl-C ends it\n")
        sys.stderr.flush()

        def look() -> None:
            self._display.pass_time(time.time())
            if self._is_done:
                end()

        looking = task.LoopingCall(look)
        looking.clock = reactor
        looking.start(_LOOK, now=False).addErrback(done.errback)
        if self._task.duration is not None:
            reactor.callLater(self._task.duration, end)
        return done

    @contextmanager
    def _finished(self) -> Iterator[None]:
        """Show what is shown at the end, however it comes."""
        try:
            yield
        finally:
            self._display.show(self._sniffer.finish())
            self._display.finish(self._sniffer.rest)

    @contextmanager
    def _closed(self) -> Iterator[None]:
        """Close the file that is written, however it ends; say if standard output could not be written.

        Raises:
            LocalError: it could not.
        """
        try:
            yield
        finally:
            if self._saved is not None:
                self._saved.close()
        if self._output.problem:
            raise LocalError(self._output.problem)

    def _save(self, at: float, source: Address, destination: Address, data: bytes) -> None:
        if self._saved is None:
            return
        try:
            self._saved.add(at, source, destination, data)
        except CaptureFileError as error:
            sys.stderr.write(f"{error}\n")


def _run(main: Callable[[Any], Deferred[None]]) -> None:
    """Run the reactor until that is done, or SIGINT or SIGTERM comes."""
    try:
        task.react(main)
    except SystemExit as ending:
        if ending.code:
            raise


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGINT and SIGTERM end what is done here, and no more than that."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)
