"""Why a call ended, as a number that the telephone network knows (ITU-T Q.850): by Reason (RFC 3326), else by status.

What a peer says in Reason counts, since it knows better: a gateway passes on there what its own network said. Without
that a refusal is what RFC 3398 section 8.2.6.1 makes of its status, and a call that was answered was cleared normally.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sipd.errors import ParseError
from sipd.sip.grammar import parse_parameters, split_commas, unquote

#: So many values are looked at.
_MAX_REASONS = 10
_MAX_TEXT = 200

NORMAL_CLEARING = 16
_INTERWORKING = 127
_ORIGINATOR_CANCEL = 487

#: By cause: its name, as FreeSWITCH writes it, and a class.
_CAUSES = {
    1: ("UNALLOCATED_NUMBER", "unallocated"),
    2: ("NO_ROUTE_TRANSIT_NET", "unreachable"),
    3: ("NO_ROUTE_DESTINATION", "unreachable"),
    6: ("CHANNEL_UNACCEPTABLE", "failure"),
    7: ("CALL_AWARDED_DELIVERED", "normal"),
    16: ("NORMAL_CLEARING", "normal"),
    17: ("USER_BUSY", "busy"),
    18: ("NO_USER_RESPONSE", "no-answer"),
    19: ("NO_ANSWER", "no-answer"),
    20: ("SUBSCRIBER_ABSENT", "unreachable"),
    21: ("CALL_REJECTED", "rejected"),
    22: ("NUMBER_CHANGED", "unallocated"),
    23: ("REDIRECTION_TO_NEW_DESTINATION", "redirected"),
    25: ("EXCHANGE_ROUTING_ERROR", "failure"),
    26: ("NORMAL_CLEARING", "normal"),
    27: ("DESTINATION_OUT_OF_ORDER", "unreachable"),
    28: ("INVALID_NUMBER_FORMAT", "unallocated"),
    29: ("FACILITY_REJECTED", "rejected"),
    31: ("NORMAL_UNSPECIFIED", "normal"),
    34: ("NORMAL_CIRCUIT_CONGESTION", "congestion"),
    38: ("NETWORK_OUT_OF_ORDER", "failure"),
    41: ("NORMAL_TEMPORARY_FAILURE", "failure"),
    42: ("SWITCH_CONGESTION", "congestion"),
    44: ("REQUESTED_CHAN_UNAVAIL", "congestion"),
    47: ("RESOURCE_UNAVAILABLE", "congestion"),
    50: ("FACILITY_NOT_SUBSCRIBED", "rejected"),
    52: ("OUTGOING_CALL_BARRED", "rejected"),
    54: ("INCOMING_CALL_BARRED", "rejected"),
    55: ("INCOMING_CALL_BARRED", "rejected"),
    57: ("BEARERCAPABILITY_NOTAUTH", "rejected"),
    58: ("BEARERCAPABILITY_NOTAVAIL", "failure"),
    63: ("SERVICE_UNAVAILABLE", "failure"),
    65: ("BEARERCAPABILITY_NOTIMPL", "failure"),
    69: ("FACILITY_NOT_IMPLEMENTED", "failure"),
    79: ("SERVICE_NOT_IMPLEMENTED", "failure"),
    88: ("INCOMPATIBLE_DESTINATION", "failure"),
    95: ("INVALID_MSG_UNSPECIFIED", "failure"),
    102: ("RECOVERY_ON_TIMER_EXPIRE", "timeout"),
    111: ("PROTOCOL_ERROR", "failure"),
    127: ("INTERWORKING", "failure"),
}

#: By the status of a refusal (RFC 3398 section 8.2.6.1).
_BY_STATUS = {
    400: 41, 401: 21, 402: 21, 403: 21, 404: 1, 405: 63, 406: 79, 407: 21, 408: 102, 410: 22, 413: 127, 414: 127,
    415: 79, 416: 127, 420: 127, 421: 127, 423: 127, 480: 18, 481: 41, 482: 25, 483: 25, 484: 28, 485: 1, 486: 17,
    487: 16, 488: 88, 500: 41, 501: 79, 502: 38, 503: 41, 504: 102, 505: 127, 513: 127, 600: 17, 603: 21, 604: 1,
    606: 88,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reason:
    """One value of a Reason field.

    Args:
        protocol: in upper case: ``SIP``, ``Q.850``, ...
        cause: the number, or ``None``.
        text: what it says to a person; may be empty.
    """

    protocol: str
    cause: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Hangup:
    """Why a call, or an attempt, ended.

    Args:
        cause: of Q.850, 1 to 127.
        name: of the cause: `NORMAL_CLEARING`; ``ORIGINATOR_CANCEL`` where the caller gave up.
        reason: a class of causes: ``normal``, ``busy``, ``no-answer``, ``cancelled``, ...
        text: what the peer said; may be empty.
    """

    cause: int
    name: str
    reason: str
    text: str


def parse_reasons(values: Iterable[str]) -> Iterator[Reason]:
    """Give what Reason fields say (RFC 3326 section 2). What cannot be understood is passed over."""
    found = 0
    for value in values:
        try:
            parts = split_commas(value)
        except ParseError:
            continue
        for text in parts:
            protocol, _, rest = text.partition(";")
            try:
                parameters = parse_parameters(";" + rest if rest else "")
            except ParseError:
                continue
            number = parameters.get("cause") or ""
            if not protocol.strip():
                continue
            found += 1
            if found > _MAX_REASONS:
                return
            cause = int(number) if number.isascii() and number.isdigit() and len(number) <= 4 else None
            yield Reason(protocol.strip().upper(), cause, unquote(parameters.get("text") or "")[:_MAX_TEXT])


def hangup_of(reasons: Iterable[str], status: int, *, is_answered: bool) -> Hangup:
    """Say why something ended.

    Args:
        reasons: the Reason values of what ended it.
        status: the final status of it; of a call that was answered 200.
        is_answered: whether it was.
    """
    said = tuple(parse_reasons(reasons))
    text = next((reason.text for reason in said if reason.text), "")
    if not is_answered and status == _ORIGINATOR_CANCEL:
        return Hangup(NORMAL_CLEARING, "ORIGINATOR_CANCEL", "cancelled", text)
    for reason in said:
        if reason.protocol == "Q.850" and reason.cause is not None and 0 < reason.cause < 128:
            return _named(reason.cause, text)
    for reason in said:
        if reason.protocol == "SIP" and reason.cause is not None and 200 <= reason.cause < 700:
            return _named(cause_of_status(reason.cause), text)
    return _named(NORMAL_CLEARING if is_answered else cause_of_status(status), text)


def cause_of_status(status: int) -> int:
    """Give what a final status is in the telephone network; 200 is an end like any other."""
    if 200 <= status < 300:
        return NORMAL_CLEARING
    if 300 <= status < 400:
        return 23
    return _BY_STATUS.get(status, _INTERWORKING)


def _named(cause: int, text: str) -> Hangup:
    name, reason = _CAUSES.get(cause, (f"CAUSE_{cause}", "other"))
    return Hangup(cause, name, reason, text)
