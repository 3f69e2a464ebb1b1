"""Call records by syslog (RFC 5424): over UDP (RFC 5426), TCP (RFC 6587 section 3.4.1) or a socket of this machine.

    <134>1 2026-11-22T12:01:03.250Z host sipd 4711 call - {"version":1,"kind":"call",...}

The message is JSON, of the fields that are one value: what a line of a log can carry. Syslog has no acknowledgement: a
record counts as delivered when this machine has taken it, for TCP with a connection that is up. What is lost behind
that nobody can know; who needs every record takes another place.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.cdr.interfaces import IRecordSink, RecordsRefusedError, SinkError
from sipd.cdr.record import SCALARS, Record, to_json

#: Facilities by their names (RFC 5424 table 1).
FACILITIES = {
    "kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8, "cron": 9,
    "authpriv": 10, "ftp": 11, "local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21,
    "local6": 22, "local7": 23,
}  # fmt: skip
_INFORMATIONAL = 6
_NAMES = tuple(field.name for field in SCALARS)
#: Bounds of RFC 5424 section 6.
_MAX_HOST = 255
_CONNECT_TIMEOUT = 5.0
#: Seconds that a connection may take to take a batch, or a socket to take a datagram.
_WRITE_TIMEOUT = 10.0
#: Seconds until a socket that took no datagram is given it again.
_PAUSE = 0.05


class Formatter:
    """Prints a record as a syslog message.

    Args:
        host: the name of this machine.
        process: its number.
        facility: one of `FACILITIES`.
        max_octets: of a message; a record that is larger is refused.
    """

    def __init__(self, *, host: str, process: int, facility: str = "local0", max_octets: int = 8192) -> None:
        name = "".join(character for character in host if "!" <= character <= "~")[:_MAX_HOST] or "-"
        self._start = f"<{FACILITIES[facility] * 8 + _INFORMATIONAL}>1"
        self._middle = f"{name} sipd {process}"
        self._max_octets = max_octets

    def __call__(self, record: Record) -> bytes:
        """Print one.

        Raises:
            RecordsRefusedError: it is larger than a message may be.
        """
        when = record["ended_at"] if record["ended_at"] is not None else record["started_at"]
        stamp = datetime.fromtimestamp(when or 0.0, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        body = to_json({name: record[name] for name in _NAMES if name in record})
        message = f"{self._start} {stamp}Z {self._middle} {record['kind']} - ".encode("ascii") + body
        if len(message) > self._max_octets:
            raise RecordsRefusedError(f"{len(message)} octets are more than a message may have")
        return message


@implementer(IRecordSink)
class SyslogDatagrams:
    """Sends each record as a datagram.

    A socket of this machine takes few at a time, often ten: the rest of a batch waits until it takes more. If all of
    it was given again instead, the first few would come over and over, and the last ones never.

    Args:
        address: a path, or an address in numbers and a port.
        formatter: prints records.
        clock: bounds what it waits for.
    """

    def __init__(self, address: str | tuple[str, int], formatter: Formatter, *, clock: Any) -> None:
        self._address = address
        self._format = formatter
        self._clock = clock
        self._socket: socket.socket | None = None
        self._sending: Deferred[None] = succeed(None)

    def deliver(self, records: Sequence[Record]) -> Deferred[None]:
        """See `IRecordSink`."""
        self._sending = Deferred.fromCoroutine(self._send_all(records)).addErrback(self._explain)
        return self._sending

    def close(self) -> Deferred[None]:
        """See `IRecordSink`."""
        self._sending.cancel()
        self._drop()
        return succeed(None)

    async def _send_all(self, records: Sequence[Record]) -> None:
        for message in [self._format(record) for record in records]:
            deadline = self._clock.seconds() + _WRITE_TIMEOUT
            while True:
                try:
                    self._send(message)
                    break
                except BlockingIOError:
                    if self._clock.seconds() >= deadline:
                        raise
                await deferLater(self._clock, _PAUSE)

    def _explain(self, failure: Failure) -> Failure:
        if failure.check(RecordsRefusedError):
            return failure
        self._drop()
        if failure.check(CancelledError):
            return Failure(SinkError("given up"))
        failure.trap(OSError)
        error: Any = failure.value
        if error.errno == errno.EMSGSIZE:
            return Failure(RecordsRefusedError("larger than a datagram may be"))
        return Failure(SinkError(str(error.strerror or error)))

    def _send(self, message: bytes) -> None:
        if self._socket is None:
            if isinstance(self._address, str):
                family = socket.AF_UNIX
            else:
                family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
            self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            self._socket.connect(self._address)
        self._socket.send(message)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Connection(Protocol):
    """One connection to a server, which says nothing."""

    def __init__(self) -> None:
        self.is_up = True
        #: Fires when all that was written is with the kernel.
        self.written: Deferred[None] = succeed(None)

    def write(self, data: bytes) -> Deferred[None]:
        """Write, and say when the kernel has it; fails with `SinkError` if it never will."""
        transport: Any = self.transport
        self.written = Deferred()
        # A producer is asked for more at once, and then as soon as nothing waits any more.
        transport.write(data)
        transport.registerProducer(_Drained(transport, self.written), False)
        return self.written

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Nothing more goes there."""
        self.is_up = False
        if not self.written.called:
            self.written.errback(SinkError(f"connection lost: {reason.getErrorMessage()}"))


class _Drained:
    """A producer that produces nothing: to be asked says that all was written."""

    def __init__(self, transport: Any, done: Deferred[None]) -> None:
        self._transport = transport
        self._done = done
        self._is_registered = False

    def resumeProducing(self) -> None:
        """All was written; but the first time it is only registered."""
        if not self._is_registered:
            self._is_registered = True
            return
        self._transport.unregisterProducer()
        if not self._done.called:
            self._done.callback(None)

    def stopProducing(self) -> None:
        """The connection says so itself."""


@implementer(IRecordSink)
class SyslogStream:
    """Sends records over one connection, with their lengths in front.

    Args:
        endpoint: makes the connection.
        formatter: prints records.
        clock: bounds what it waits for.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, formatter: Formatter, *, clock: Any) -> None:
        self._endpoint = endpoint
        self._format = formatter
        self._clock = clock
        self._connection: _Connection | None = None
        self._sending: Deferred[None] = succeed(None)

    def deliver(self, records: Sequence[Record]) -> Deferred[None]:
        """See `IRecordSink`."""
        self._sending = Deferred.fromCoroutine(self._send(records)).addErrback(self._explain)
        return self._sending

    def close(self) -> Deferred[None]:
        """See `IRecordSink`."""
        self._sending.cancel()
        self._drop()
        return succeed(None)

    async def _send(self, records: Sequence[Record]) -> None:
        messages = [self._format(record) for record in records]
        connection = self._connection
        if connection is None or not connection.is_up:
            connecting: Deferred[Any] = self._endpoint.connect(Factory.forProtocol(_Connection))
            made: _Connection = await connecting.addTimeout(_CONNECT_TIMEOUT, self._clock)
            connection = self._connection = made
        data = b"".join(b"%d %b" % (len(message), message) for message in messages)
        await connection.write(data).addTimeout(_WRITE_TIMEOUT, self._clock)

    def _explain(self, failure: Failure) -> Failure:
        if failure.check(SinkError, RecordsRefusedError):
            return failure
        self._drop()
        failure.trap(ConnectError, ConnectingCancelledError, DNSLookupError, TimeoutError, CancelledError)
        return Failure(SinkError(failure.getErrorMessage() or type(failure.value).__name__))

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.is_up:
            transport: Any = connection.transport
            transport.abortConnection()
