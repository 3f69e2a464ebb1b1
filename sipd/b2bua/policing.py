"""What a policy makes of what a leg is told, says of itself, and is taken for (`sipd.policies`).

Functions on values; legs and sides call them only where there is a policy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sipd.b2bua.refusals import Refusal
from sipd.b2bua.trust import IdentityPolicy
from sipd.policies import LegPolicy, ReliablePolicy, StatusPolicy
from sipd.sip.headers import Headers
from sipd.sip.message import Request, Response
from sipd.sip.reliable import EXTENSION
from sipd.sip.uri import SipUri, TelUri
from sipd.ua.settings import AgentSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sipd.policies import HeaderPolicy
    from sipd.sip.headers import Fields
    from sipd.sip.uri import Uri

#: What ends a dialog, or asks to try again, in an answer to a request inside of it: no rule makes it, or another of it.
_OF_DIALOGS = frozenset((408, 481, 491))


def identity_policy(policy: LegPolicy, default: IdentityPolicy) -> IdentityPolicy:
    """Give who is believed, and what others are told, for one leg."""
    changes = {
        name: value
        for name in ("form", "anonymises", "tells_strangers", "history")
        if (value := getattr(policy, name)) is not None
    }
    return replace(default, **changes) if changes else default


def agent_settings(policy: LegPolicy, default: AgentSettings) -> AgentSettings:
    """Give how the user agent presents itself to one leg."""
    supported = default.supported
    if policy.reliable is ReliablePolicy.OFF:
        supported -= {EXTENSION}
    elif policy.reliable is ReliablePolicy.REQUIRED:
        supported |= {EXTENSION}
    return replace(
        default,
        name=default.name if policy.own_name is None else policy.own_name,
        supported=supported,
        require_reliable=default.require_reliable or policy.reliable is ReliablePolicy.REQUIRED,
        session_timer=policy.session_timer or default.session_timer,
    )


def apply_headers(
    policy: HeaderPolicy, fields: Headers, message: Request | Response, values: Mapping[str, str]
) -> None:
    """Do what a policy says to the fields that one leg gets of a message of another one."""
    is_request = isinstance(message, Request)
    method = message.method if isinstance(message, Request) else message.cseq.method
    policy.apply(fields, message.headers, method, values, is_request=is_request)


def values_of(message: Request | Response, user: str | None, source: str) -> dict[str, str]:
    """Give what the placeholders of rules stand for: see `sipd.policies.headers.PLACEHOLDERS`."""
    return {
        "user": user or "",
        "source": source,
        "call_id": message.call_id,
        "from": _user_of(message.from_.uri),
        "to": _user_of(message.to.uri),
        "method": message.method if isinstance(message, Request) else message.cseq.method,
    }


def hear(policy: LegPolicy, refusal: Refusal) -> Refusal:
    """Give what the refusal of a leg with that policy is taken for."""
    return refusal if policy.heard_statuses is None else _mapped(policy.heard_statuses, refusal)[0]


def tell(
    policy: LegPolicy, refusal: Refusal, fields: Fields, *, method: str, in_dialog: bool
) -> tuple[Refusal, Fields]:
    """Give what a leg with that policy is told of a refusal.

    Args:
        policy: of the leg.
        refusal: by the other one, or by this server.
        fields: what is said besides.
        method: of the request that is refused.
        in_dialog: that is one inside of the dialog: what has a meaning for the dialog itself stays what it is.
    """
    statuses = policy.statuses
    told, cause = refusal, None
    said = fields if isinstance(fields, Headers) else Headers(fields)
    if statuses is not None:
        told, cause = _mapped(statuses, refusal)
        if in_dialog and not _OF_DIALOGS.isdisjoint((refusal.status, told.status)):
            told, cause = refusal, None
    if refusal.response is None:
        make(policy, said, method, is_request=False)
    if statuses is not None:
        statuses.shape(said, told.status, cause)
    return told, said


def progress(sender: LegPolicy | None, receiver: LegPolicy | None, status: int, reason: str) -> tuple[int, str]:
    """Give what a caller is told of ringing and the like, as its policy and that of the callee have it."""
    if sender is not None and sender.heard_statuses is not None:
        outcome = sender.heard_statuses.map(status, reason)
        status, reason = outcome.status, outcome.reason
    if receiver is not None and receiver.statuses is not None:
        outcome = receiver.statuses.map(status, reason)
        status, reason = outcome.status, outcome.reason
    return status, reason


def ending(policy: LegPolicy, reasons: Fields, method: str) -> tuple[tuple[str, str], ...]:
    """Give what the BYE or CANCEL of a leg says, for reasons that are given."""
    fields = Headers(reasons)
    if policy.statuses is not None:
        policy.statuses.shape_end(fields)
    make(policy, fields, method)
    return tuple(fields.items())


def make(policy: LegPolicy, fields: Headers, method: str, *, is_request: bool = True) -> None:
    """Do what a policy says to the fields of a message that this server makes: it is nobody else's."""
    if policy.headers is not None:
        policy.headers.apply(fields, None, method, {"method": method}, is_request=is_request)


def _mapped(policy: StatusPolicy, refusal: Refusal) -> tuple[Refusal, int | None]:
    headers = None if refusal.response is None else refusal.response.headers
    outcome = policy.map(refusal.status, refusal.reason, headers)
    if (outcome.status, outcome.reason) == (refusal.status, refusal.reason):
        return refusal, outcome.cause
    return replace(refusal, status=outcome.status, reason=outcome.reason, detail=""), outcome.cause


def _user_of(uri: Uri) -> str:
    if isinstance(uri, SipUri):
        return uri.user or ""
    return uri.digits if isinstance(uri, TelUri) else ""
