"""Records and messages for the tests of observers."""

from __future__ import annotations

from sipd.interfaces import CallRecord, Decision
from sipd.observe.capture import Address, CapturedMessage


def record(call_id: str = "a1", **changes: object) -> CallRecord:
    """Make the record of a call that began at 1000.0."""
    values: dict[str, object] = {
        "id": "1",
        "call_id": call_id,
        "caller": "sip:alice@example.com",
        "callee": "sip:bob@example.com",
        "user": "alice",
        "source": "192.0.2.1:5060",
        "point": "udp",
        "started_at": 1000.0,
    }
    return CallRecord(**{**values, **changes})  # type: ignore[arg-type]


def decision(text: str, kind: str = "routed", leg: str = "", at: float = 1000.5) -> Decision:
    """Make a decision."""
    return Decision(at=at, kind=kind, text=text, leg=leg)


def message(
    data: bytes,
    *,
    at: float = 0.0,
    source: Address = ("192.0.2.1", 5060),
    destination: Address = ("192.0.2.9", 5060),
    note: str = "",
) -> CapturedMessage:
    """Make a captured message that was sent."""
    return CapturedMessage(at=at, data=data, sent=True, transport="UDP", local=source, remote=destination, note=note)
