"""Shows what a policy does: messages as somebody sends them, and as they leave sipd, by a whole call each.

Made for documents and tests: the messages are those of a real B2BUA on a simulated network. What differs from call to
call, and what every message has, is not shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sipd.b2bua.trust import IdentityPolicy
from sipd.policies import LegPolicy
from sipd.routing.rules import StaticRoute
from sipd.sip.message import Request, Response
from sipd.testing.clock import SimulatedClock
from sipd.testing.network import Network
from sipd.testing.peer import Peer
from sipd.testing.stack import SimulatedServer

SIPD, CALLER, CARRIER = "192.0.2.1", "192.0.2.2", "203.0.113.9"
DOMAIN = "pbx.example.com"

#: What every message has, or what is another one in each call.
_NOT_SHOWN = frozenset(
    (
        "via", "call-id", "cseq", "max-forwards", "contact", "content-length", "content-type", "allow", "supported",
        "session-expires", "min-se", "proxy-authorization", "record-route", "date",
    )
)  # fmt: skip
_TAG = re.compile(r";tag=[^;>]*")


def show_invite(policy: LegPolicy, invite: str) -> str:
    """Give the INVITE that a carrier with that policy gets, for one of a caller.

    Args:
        policy: of the carrier's leg.
        invite: as the caller sends it: the request line's URI, header fields, and after an empty line the description
            of the session. From is ``sip:NAME@pbx.example.com``; the caller has proved to be NAME.
    """
    head, _, body = invite.strip().partition("\n\n")
    first, *lines = [line.strip() for line in head.splitlines()]
    fields = [_field(line) for line in lines]
    caller = _user(next(value for name, value in fields if name == "From"))
    carrier = _Stage(policy, caller).call(first.split()[1], fields, body)
    return _shown(carrier.calls[-1].invite)


def show_refusal(policy: LegPolicy, refusal: str) -> str:
    """Give what a caller with that policy is told of a refusal.

    Args:
        policy: of the caller's leg.
        refusal: as the carrier sends it: the status line, and header fields.
    """
    first, *lines = [line.strip() for line in refusal.strip().splitlines()]
    _, status, reason = first.split(" ", 2)
    stage = _Stage(policy, "alice", for_caller=True)
    stage.carrier.on_call = lambda call: call.refuse(int(status), reason, headers=[_field(line) for line in lines])
    stage.call("sip:123@pbx.example.com", [], "")
    found = [one for one in stage.caller.seen if isinstance(one, Response) and one.status not in (100, 401, 407)]
    return _shown(found[-1])


class _Stage:
    """A caller, sipd, and a carrier."""

    def __init__(self, policy: LegPolicy, user: str, *, for_caller: bool = False) -> None:
        self.clock = SimulatedClock()
        network = Network(self.clock, 1)
        route = StaticRoute(
            name="carrier",
            user=re.compile(r"\+?[0-9]+"),
            to=f"sip:{{0}}@{CARRIER}",
            policy=None if for_caller else policy,
            caller_policy=policy if for_caller else None,
        )
        self.server = SimulatedServer(
            network.host(SIPD),
            {user: "secret"},
            domain=DOMAIN,
            routes=(route,),
            identity=IdentityPolicy(domains=(DOMAIN,)),
        )
        self.caller = self.server.peer(network.host(CALLER), user)
        self.carrier = self.server.peer(network.host(CARRIER), "carrier")
        self.carrier.auto_ring()

    def call(self, uri: str, fields: Iterable[tuple[str, str]], body: str) -> Peer:
        """Let the caller call; give the carrier."""
        said = [(name, value) for name, value in fields if name not in ("From", "To")]
        description = "\r\n".join(line.strip() for line in body.strip().splitlines()) + "\r\n" if body else None
        call = self.caller.call(uri, body=None if description is None else description.encode(), headers=said)
        self.clock.advance(3.0)
        if not call.is_answered:
            call.cancel()
        self.clock.advance(200.0)
        return self.carrier


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _user(address: str) -> str:
    found = re.search(r"sip:([^@>]+)@", address)
    if found is None:
        raise ValueError(f"{address} names no user")
    return found[1]


def _shown(message: Request | Response) -> str:
    first = (
        f"{message.method} {message.uri_text}"
        if isinstance(message, Request)
        else f"SIP/2.0 {message.status} {message.reason}"
    )
    lines = [
        _TAG.sub("", line.replace("\r\n", " "))
        for line, name in zip(message.headers.lines(), message.headers.names(), strict=True)
        if name not in _NOT_SHOWN
    ]
    if message.body:
        text = message.body.decode()
        text = re.sub(r"o=[^\r]*", "o=...", text)
        lines += ["", *text.strip().replace("\r\n", "\n").split("\n")]
    return "\n".join([first, *lines])
