"""A ring of the last messages on the wire, and how to get those of one call out of it, both legs together."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from zope.interface import implementer

from sipd.interfaces import CallRecord, Decision, ICallObserver, IFlow, IMessageObserver

Address = tuple[str, int]

_CALL_ID = re.compile(rb"^(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
#: What must not be shown: digest responses and other credentials, SRTP keys, passwords in URIs. Group 1 stays.
_SECRETS = tuple(
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        rb"(^(?:proxy-)?authorization[ \t]*:[ \t]*(?!digest)[^ \t\r\n]+[ \t]+)([^\r\n]+)",
        rb"(^(?:proxy-)?authorization[ \t]*:(?:[^\r\n]|\r?\n[ \t])*?\bresponse[ \t]*=[ \t]*\"?)([0-9a-f]+)",
        rb"(^a=crypto:[^\r\n]*?inline:)([^|\r\n \t;]+)",
        # A line may have several keys; and those of MIKEY (RFC 4567).
        rb"(;[ \t]*inline:)([^|\r\n \t;]+)",
        rb"(^a=key-mgmt:[^ \t\r\n]*[ \t]+)([^\r\n]+)",
        rb"(^k=[a-z0-9]+:)([^\r\n]+)",
        rb"(\bsips?:[^\s:@<>\"]+:)([^\s@<>\"]+)(?=@)",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedMessage:
    """One message as it was on the wire.

    Args:
        at: seconds of the wall clock, or of a simulation.
        data: its octets.
        sent: by us, else received.
        transport: `UDP`, `TCP`, ``TLS``, ...
        local: our address.
        remote: the peer's.
        note: what else is known of it, such as ``lost`` in a simulation.
    """

    at: float
    data: bytes
    sent: bool
    transport: str
    local: Address
    remote: Address
    note: str = ""

    @property
    def source(self) -> Address:
        """Where it came from."""
        return self.local if self.sent else self.remote

    @property
    def destination(self) -> Address:
        """Where it went to."""
        return self.remote if self.sent else self.local

    @property
    def call_id(self) -> str:
        """Its Call-ID, or an empty text."""
        match = _CALL_ID.search(self.data)
        return match[1].decode("utf-8", "surrogateescape") if match else ""


@implementer(IMessageObserver, ICallObserver)
class Capture:
    """Keeps the last messages, and knows which Call-IDs belong to which call.

    It sees the Call-IDs of a call in its record: the incoming leg's, and `call_id` of each attempt. Others are added
    by `associate`.

    Args:
        seconds: tells the wall clock's time.
        max_messages: how many messages are kept; the oldest go first.
        max_size_octets: how large they may be together.
        max_calls: of how many calls the Call-IDs are kept.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        *,
        max_messages: int = 10_000,
        max_size_octets: int = 32 * 1024 * 1024,
        max_calls: int = 1000,
    ) -> None:
        self._seconds = seconds
        self._max_messages = max_messages
        self._max_size_octets = max_size_octets
        self._max_calls = max_calls
        self._messages: deque[CapturedMessage] = deque()
        self._size_octets = 0
        self._records: dict[str, CallRecord] = {}
        self._associated: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def messages(self) -> list[CapturedMessage]:
        """Give all that is kept, oldest first."""
        return list(self._messages)

    def messages_of(self, call: str) -> list[CapturedMessage]:
        """Give the messages of a call, all legs, oldest first."""
        return self.messages_with(self.call_ids_of(call))

    def messages_with(self, call_ids: Collection[str]) -> list[CapturedMessage]:
        """Give the messages with one of these Call-IDs, oldest first."""
        return [message for message in self._messages if message.call_id in call_ids]

    def call_ids_of(self, call: str) -> set[str]:
        """Give the Call-IDs of a call's legs; none if the call is not known."""
        call_ids = set(self._associated.get(call, ()))
        record = self._records.get(call)
        if record is not None:
            call_ids.add(record.call_id)
            call_ids.update(attempt.call_id for attempt in record.attempts if attempt.call_id)
        return call_ids

    def associate(self, call: str, call_id: str) -> None:
        """Take note that a leg of a call has that Call-ID."""
        self._associated.setdefault(call, set()).add(call_id)
        _bound(self._associated, self._max_calls)

    def message_seen(self, data: bytes, flow: IFlow, *, sent: bool) -> None:
        """See `IMessageObserver`."""
        point = flow.point
        host = point.advertised_host if point.host in ("0.0.0.0", "::") else point.host
        message = CapturedMessage(
            at=self._seconds(),
            data=data,
            sent=sent,
            transport=flow.transport.value,
            local=(host, point.port),
            remote=(flow.host, flow.port),
        )
        self._messages.append(message)
        self._size_octets += len(data)
        while len(self._messages) > self._max_messages or self._size_octets > self._max_size_octets:
            self._size_octets -= len(self._messages.popleft().data)

    def call_started(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        self._records[call] = record
        _bound(self._records, self._max_calls)

    def call_decided(self, call: str, decision: Decision) -> None:
        """See `ICallObserver`. Decisions are the explain log's."""

    def call_resource_taken(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`. Resources are the ledger's."""

    def call_resource_released(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`. Resources are the ledger's."""

    def call_ended(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`. The record stays, so that the call can still be looked up."""


def redact(data: bytes) -> bytes:
    """Cover the secrets in a message with as many ``x``: credentials, SRTP keys, passwords in URIs.

    The length stays the same, so Content-Length stays true.
    """
    for pattern in _SECRETS:
        data = pattern.sub(lambda match: match[1] + b"x" * len(match[2]), data)
    return data


def dump(messages: Iterable[CapturedMessage]) -> str:
    """Give messages as text for a person, secrets covered."""
    blocks = []
    for message in messages:
        at = datetime.fromtimestamp(message.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        source, destination = (f"{host}:{port}" for host, port in (message.source, message.destination))
        note = f" ({message.note})" if message.note else ""
        text = redact(message.data).decode("utf-8", "backslashreplace").replace("\r\n", "\n")
        blocks.append(f"--- {at} {message.transport} {source} -> {destination}{note}\n{text}")
    return "\n".join(blocks)


def _bound(entries: dict[str, object] | dict[str, set[str]] | dict[str, CallRecord], maximum: int) -> None:
    while len(entries) > maximum:
        del entries[next(iter(entries))]
