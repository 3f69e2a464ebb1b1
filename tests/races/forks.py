"""Several phones that answer one INVITE: behind a proxy that forks, or called by sipd at once."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from sipd.interfaces import Attempt, IRouter, Route, RoutingRequest
from sipd.sip.message import Request, Response
from sipd.sip.uri import parse_uri
from sipd.testing import builders
from sipd.testing.links import Address
from sipd.testing.wire import DatagramWire
from tests.phones.line import Line, State
from tests.phones.phone import Phone
from tests.races.flow import Flow, race, sweep
from tests.races.stage import Leg, Stage

FORK = "192.0.2.9"
_AROUND = sweep(-0.4, 0.4, 0.04)
#: On the leg of the caller there is one dialog, whatever happens on the other side.
_CALLEE = (Leg.CALLEE,)


@implementer(IRouter)
class Together:
    """Lets several places ring together, whoever is called."""

    def __init__(self, *hosts: str) -> None:
        self._hosts = hosts

    def needs_authentication(self, routing_request: RoutingRequest) -> bool:
        """See `IRouter`."""
        return False

    def route(self, routing_request: RoutingRequest) -> Deferred[Route]:
        """See `IRouter`."""
        attempts = tuple(Attempt(uri=parse_uri(f"sip:bob@{host}"), label=host) for host in self._hosts)
        return succeed(Route(name="together", rounds=(attempts,)))


class Fork:
    """A proxy that passes an INVITE and its CANCEL on to all phones, and all that they say but refusals back.

    What follows a 2xx goes past it. When all phones have refused it says so.
    """

    def __init__(self, stage: Stage, phones: tuple[Phone, ...]) -> None:
        self._phones = phones
        self._upstream: Address = (stage.server.host.address, 5060)
        self._wire = DatagramWire(stage.network.host(FORK), (FORK, 5060), self._received)
        self._invites: dict[str, Request] = {}
        self._refused: set[str] = set()

    def _received(self, message: Request | Response, source: Address) -> None:
        if isinstance(message, Response):
            self._back(message, source)
        elif message.method != "ACK":
            for number, phone in enumerate(self._phones):
                copy = message.copy()
                copy.headers.prepend("Via", f"SIP/2.0/UDP {FORK}:5060;branch={message.via.branch}-{number}")
                self._invites.setdefault(copy.via.branch, copy)
                self._wire.send(copy, (phone.host.address, 5060))

    def _back(self, response: Response, source: Address) -> None:
        branch, is_invite = response.via.branch, response.cseq.method == "INVITE"
        if is_invite and response.status >= 300:
            self._wire.send(builders.ack(self._invites[branch], response), source)
            self._refused.add(branch)
            if len(self._refused) < len(self._phones):
                return
        response.headers.replace_first("Via", ())
        self._wire.send(response, self._upstream)


def _called(stage: Stage, first: float, second: float, *, is_reliable: bool = False) -> None:
    """Say when the phones answer, the callee's and the third one."""

    def ring(line: Line) -> None:
        line.ring(183, has_media=True, is_reliable=is_reliable)

    for phone, seconds in ((stage.callee, first), (stage.third, second)):
        phone.has_reliable = is_reliable
        stage.when_called((0.0, ring), (seconds, Line.answer), phone=phone)


def _winner(stage: Stage) -> str:
    """See that one phone talks with the caller, and that the other one was let go; say which one talks."""
    stage.run(20.0)
    lines = [stage.callee.line, stage.third.line]
    up = [line for line in lines if line.is_up]
    stage.expect(stage.caller.line.is_up and len(up) == 1, f"not one is up: {stage.caller.line}, {lines}")
    stage.expect_agreement(up[0])
    stage.expect(all(line in up or line.ended_by == "them" for line in lines), f"{lines}")
    stage.hang_up()
    return f"{up[0].phone.user} talks"


@race(
    "5407, E; 3261, 13.2.2.4",
    "two 2xx of one INVITE",
    delays=_AROUND,
    outcomes=("bob talks", "carol talks"),
    legs=_CALLEE,
)
def two_answers(stage: Stage, delay: float) -> str:
    """The first one wins; the other dialog has its ACK, and then BYE."""
    stage.server.b2bua.router = Together(FORK)
    Fork(stage, (stage.callee, stage.third))
    _called(stage, 1.0, 1.0 + delay)
    stage.caller.call("bob")
    return _winner(stage)


@race(
    "5407, E; 3262, 4",
    "two reliable early dialogs, two 2xx",
    delays=_AROUND,
    outcomes=("bob talks", "carol talks"),
    legs=_CALLEE,
)
def two_reliable_answers(stage: Stage, delay: float) -> str:
    """Each early dialog has its PRACKs; the first 2xx wins, and the other one has its ACK, and then BYE."""
    stage.server.b2bua.router = Together(FORK)
    Fork(stage, (stage.callee, stage.third))
    _called(stage, 1.0, 1.0 + delay, is_reliable=True)
    stage.caller.call("bob")
    return _winner(stage)


@race(
    "5407, E; 3261, 13.2.1",
    "two 2xx with an offer each",
    delays=_AROUND,
    outcomes=("bob talks", "carol talks"),
    legs=_CALLEE,
)
def two_offers(stage: Stage, delay: float) -> str:
    """The first offer is the caller's to answer; the other one has its answer in the ACK, too, and then BYE."""
    stage.server.b2bua.router = Together(FORK)
    Fork(stage, (stage.callee, stage.third))
    for phone, seconds in ((stage.callee, 1.0), (stage.third, 1.0 + delay)):
        stage.when_called((0.0, Line.ring), (seconds, Line.answer), phone=phone)
    stage.caller.call("bob", has_offer=False)
    return _winner(stage)


@race("3261, 16.7", "two phones that sipd calls answer", delays=_AROUND, outcomes=("bob talks", "carol talks"))
def two_places(stage: Stage, delay: float) -> str:
    """The first one wins; the other one has CANCEL, or ACK and BYE if its 200 crosses that."""
    stage.server.b2bua.router = Together(stage.callee.host.address, stage.third.host.address)
    _called(stage, 1.0, 1.0 + delay)
    stage.caller.call("bob")
    return _winner(stage)


@race(
    "5407, C, E",
    "CANCEL meets two 2xx",
    delays=_AROUND,
    outcomes=("caller 200", "caller 487"),
)
def cancel_meets_two_answers(stage: Stage, delay: float) -> str:
    """All that answered are let go by ACK and BYE, all others by CANCEL."""
    stage.server.b2bua.router = Together(FORK)
    Fork(stage, (stage.callee, stage.third))
    _called(stage, 1.0, 1.1)
    line = stage.caller.call("bob")
    stage.at(1.0 + delay, line.cancel)
    stage.run(40.0)
    lines = [stage.callee.line, stage.third.line]
    stage.expect(all(one.state is State.OVER and one.ended_by == "them" for one in lines), f"{lines}")
    return f"caller {line.status}"


FLOWS: tuple[Flow, ...] = (
    two_answers,
    two_reliable_answers,
    two_offers,
    two_places,
    cancel_meets_two_answers,
)
