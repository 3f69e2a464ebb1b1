"""Call records by RADIUS (RFC 2866), with Cisco's attributes as Sippy sends them.

A call that was answered gives Start then, Interim-Update every so often, and every call gives Stop when it is over.
Start and Interim-Update say what goes on now: they are sent, repeated, and if nobody answers forgotten. Stop is the
record: it is delivered like any other record, from the spool, until a server has answered.

An attempt, where attempts are wanted, is a session of its own: ``h323-call-origin=originate`` instead of ``answer``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import cast

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.cdr.addresses import host_of, number_of
from sipd.cdr.interfaces import IRecordSink, SinkError
from sipd.cdr.radius_client import RadiusClient
from sipd.cdr.record import ATTEMPT, Record, records_of
from sipd.interfaces import CallObserver, CallRecord, Decision

_START, _STOP, _INTERIM = 1, 2, 3
#: Values of Acct-Terminate-Cause (RFC 2866 section 5.10).
_USER_REQUEST, _LOST_CARRIER, _SESSION_TIMEOUT, _ADMIN_RESET, _NAS_ERROR = 1, 2, 5, 6, 9
_RELEASE_SOURCES = {"caller": "2", "callee": "4"}
_RELEASED_HERE = "8"

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@implementer(IRecordSink)
class RadiusSink:
    """Sends Stop for each record.

    Args:
        client: of the servers; closed with this.
        identifier: NAS-Identifier.
        now: seconds of the wall clock.
    """

    def __init__(self, client: RadiusClient, *, identifier: str, now: Callable[[], float]) -> None:
        self._client = client
        self._identifier = identifier
        self._now = now

    def deliver(self, records: Sequence[Record]) -> Deferred[None]:
        """See `IRecordSink`."""
        now = self._now()
        sent = [self._client.account(stop(record, now, self._identifier)) for record in records]
        return gatherResults(sent, consumeErrors=True).addCallbacks(lambda _: None, _first)

    def close(self) -> Deferred[None]:
        """See `IRecordSink`."""
        return self._client.close()


def _first(failure: Failure) -> None:
    """Give what ``gatherResults`` has wrapped."""
    failure.trap(FirstError)
    cast(FirstError, failure.value).subFailure.raiseException()


class RadiusProgress(CallObserver):
    """Sends Start when a call is answered, and Interim-Update while it goes on.

    Args:
        client: of the servers; not closed with this.
        identifier: NAS-Identifier.
        clock: for the timers.
        now: seconds of the wall clock.
        interim: seconds between two updates; ``None`` for none.
        starts: whether to send Start.
    """

    _log = Logger()

    def __init__(
        self,
        client: RadiusClient,
        *,
        identifier: str,
        clock: IReactorTime,
        now: Callable[[], float],
        interim: float | None,
        starts: bool = True,
    ) -> None:
        self._client = client
        self._identifier = identifier
        self._clock = clock
        self._now = now
        self._interim = interim
        self._starts = starts
        #: Calls that are not answered yet, and those that are, with what updates them next.
        self._waiting: dict[str, CallRecord] = {}
        self._timers: dict[str, IDelayedCall | None] = {}
        self._is_failing = False

    def call_started(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        self._waiting[call] = record

    def call_decided(self, call: str, decision: Decision) -> None:
        """See `ICallObserver`. The first decision after the answer tells of it."""
        record = self._waiting.get(call)
        if record is not None and record.answered_at is not None:
            del self._waiting[call]
            self._timers[call] = None
            if self._starts:
                self._send(_START, record)
            self._send_later(call, record)

    def call_ended(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        self._waiting.pop(call, None)
        timer = self._timers.pop(call, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """Send no more. Idempotent."""
        for timer in self._timers.values():
            if timer is not None:
                timer.cancel()
        self._timers.clear()
        self._waiting.clear()

    def _send(self, status: int, record: CallRecord) -> None:
        attributes = progress(next(records_of(record)), status, self._now(), self._identifier)
        self._client.account(attributes).addCallbacks(self._sent, self._lost)

    def _send_later(self, call: str, record: CallRecord) -> None:
        if self._interim is not None:
            self._timers[call] = self._clock.callLater(self._interim, self._update, call, record)

    def _update(self, call: str, record: CallRecord) -> None:
        self._send(_INTERIM, record)
        self._send_later(call, record)

    def _sent(self, _: None) -> None:
        if self._is_failing:
            self._is_failing = False
            self._log.info("RADIUS accounting goes on")

    def _lost(self, failure: Failure) -> None:
        failure.trap(SinkError)
        if not self._is_failing:
            self._is_failing = True
            self._log.error("RADIUS accounting of calls that go on: {error}", error=failure.value)


def progress(record: Record, status: int, now: float, identifier: str) -> list[tuple[str, str | int]]:
    """Give the attributes of Start or Interim-Update for a call that was answered."""
    attributes = _common(record, status, identifier)
    attributes.append(("h323-connect-time", f"h323-connect-time={cisco_time(record['answered_at'])}"))
    if status == _INTERIM:
        attributes.append(("Acct-Session-Time", round(now - record["answered_at"])))
    attributes.append(("Event-Timestamp", int(now)))
    return attributes


def stop(record: Record, now: float, identifier: str) -> list[tuple[str, str | int]]:
    """Give the attributes of Stop. Sippy has what was never answered connected when it ended, and for no time."""
    ended_at = record["ended_at"] if record["ended_at"] is not None else now
    answered_at = record["answered_at"] if record["answered_at"] is not None else ended_at
    attributes = _common(record, _STOP, identifier)
    attributes += [
        ("h323-connect-time", f"h323-connect-time={cisco_time(answered_at)}"),
        ("h323-disconnect-time", f"h323-disconnect-time={cisco_time(ended_at)}"),
        ("h323-disconnect-cause", f"h323-disconnect-cause={record['hangup_cause']:x}"),
        ("h323-voice-quality", "h323-voice-quality=0"),
        ("Cisco-AVPair", f"release-source={_RELEASE_SOURCES.get(record.get('ended_by', ''), _RELEASED_HERE)}"),
        ("Acct-Session-Time", round(record["duration"])),
        ("Acct-Terminate-Cause", _terminate_cause(record)),
        ("Event-Timestamp", int(ended_at)),
        ("Acct-Delay-Time", max(0, int(now - ended_at))),
    ]
    return attributes


def _common(record: Record, status: int, identifier: str) -> list[tuple[str, str | int]]:
    is_attempt = record["kind"] == ATTEMPT
    caller = number_of(record["caller"])
    remote = host_of(record["callee_uri"]) if is_attempt else _address(record["source"])
    conference = hashlib.sha256(record["call"].encode()).hexdigest()[:32].upper()
    groups = " ".join(conference[start : start + 8] for start in range(0, 32, 8))
    return [
        ("Acct-Status-Type", status),
        ("NAS-Identifier", identifier),
        ("User-Name", record["user"] or record["trunk"] or caller),
        ("Calling-Station-Id", caller),
        ("Called-Station-Id", number_of(record["callee_uri"] if is_attempt else record["callee"])),
        ("Acct-Session-Id", record["call_id"] or record["id"]),
        ("Acct-Multi-Session-Id", record["call"]),
        ("h323-call-origin", f"h323-call-origin={'originate' if is_attempt else 'answer'}"),
        ("h323-call-type", "h323-call-type=VoIP"),
        ("h323-remote-address", f"h323-remote-address={remote}"),
        ("h323-conf-id", f"h323-conf-id={groups}"),
        ("h323-setup-time", f"h323-setup-time={cisco_time(record['started_at'] or 0.0)}"),
        ("Cisco-AVPair", "h323-session-protocol=sipv2"),
        ("Cisco-AVPair", f"call-id={record['call_id']}"),
    ]


def _terminate_cause(record: Record) -> int:
    cause = str(record["cause"])
    if record["answered_at"] is None:
        return _USER_REQUEST if cause == "cancel" else _NAS_ERROR
    if cause == "duration":
        return _SESSION_TIMEOUT
    if cause == "stopped":
        return _ADMIN_RESET
    return _LOST_CARRIER if cause.endswith("-lost") else _USER_REQUEST


def cisco_time(seconds: float) -> str:
    """Print a time as Cisco's gateways do: ``12:01:03.250 GMT Sun Nov 22 2026``."""
    when = datetime.fromtimestamp(round(seconds, 3), UTC)
    return (
        f"{when:%H:%M:%S}.{when.microsecond // 1000:03d} GMT {_DAYS[when.weekday()]} {_MONTHS[when.month - 1]} "
        f"{when.day} {when.year}"
    )


def _address(source: str) -> str:
    """Give the address in ``udp:192.0.2.1:5060``."""
    return source.partition(":")[2].rpartition(":")[0].strip("[]")
