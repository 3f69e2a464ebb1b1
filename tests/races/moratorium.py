"""Messages that meet a 200 whose ACK has not come: RFC 5407 section 3.1, and CANCEL against everything."""

from __future__ import annotations

from tests.phones.line import Line
from tests.races.flow import Flow, race, sweep
from tests.races.stage import Stage

_AROUND = sweep(-0.4, 0.4, 0.04)
_AFTER = sweep(0.0, 0.8, 0.04)


def _statuses(stage: Stage) -> str:
    return f"caller {stage.caller.line.status}, callee {stage.callee.line.status}"


@race("5407, 3.1.1", "INVITE again after the 200", delays=sweep(0.0, 2.0, 0.1), outcomes=("one call",))
def invite_again(stage: Stage, delay: float) -> str:
    """It is the same INVITE: there is one call, whichever copy of the 200 arrives."""
    stage.lose("1xx INVITE", stage.actor, times=20)
    stage.hold_back("200 INVITE", stage.actor, delay, times=20)
    stage.callee.on_call = Line.answer
    stage.caller.call("bob")
    stage.run(10.0)
    stage.expect_agreement()
    stage.expect(len(stage.callee.lines) == 1, "the callee was called twice")
    stage.hang_up()
    return "one call"


@race(
    "5407, 3.1.2, C",
    "CANCEL meets 200",
    delays=_AROUND,
    outcomes=("caller 200, callee 200", "caller 487, callee 200", "caller 487, callee 487"),
)
def cancel_meets_answer(stage: Stage, delay: float) -> str:
    """What was answered stays answered, and is ended by BYE; on each leg the 200 to INVITE has its ACK."""
    stage.ring()
    stage.cross(delay, stage.callee.line.answer, stage.caller.line.cancel)
    return _statuses(stage)


@race(
    "6337, 2.1; 3261, 13.2.2.4",
    "CANCEL meets a 200 with an offer",
    delays=_AROUND,
    outcomes=("caller 200, callee 200", "caller 487, callee 200", "caller 487, callee 487"),
)
def cancel_meets_late_offer(stage: Stage, delay: float) -> str:
    """The ACK answers the offer, though the call is over: with an answer that takes nothing, and then there is BYE."""
    stage.ring(has_offer=False)
    stage.cross(delay, stage.callee.line.answer, stage.caller.line.cancel)
    return _statuses(stage)


@race(
    "5407, 3.1.3, A",
    "early BYE meets 200",
    delays=_AROUND,
    outcomes=("caller 200, callee 200", "caller 487, callee 200", "caller 487, callee 487"),
)
def early_bye_meets_answer(stage: Stage, delay: float) -> str:
    """BYE gets 200 in either state; the INVITE 487, unless it has a 200 already, which gets its ACK."""
    stage.ring()
    stage.cross(delay, stage.callee.line.answer, stage.caller.line.bye)
    stage.expect(stage.caller.line.results == ["BYE 200"], f"BYE got {stage.caller.line.results}")
    return _statuses(stage)


@race(
    "5407, C",
    "CANCEL meets a refusal",
    delays=_AROUND,
    outcomes=(
        "caller 486, callee 486",
        "caller 487, callee 486",
        "caller 487, callee 487",
    ),
)
def cancel_meets_refusal(stage: Stage, delay: float) -> str:
    """Each leg has one final response, acknowledged; CANCEL gets 200 all the same."""
    stage.ring()
    stage.cross(delay, stage.callee.line.refuse, stage.caller.line.cancel)
    return _statuses(stage)


@race("3261, 9.1", "CANCEL before and after the first 1xx", delays=sweep(0.0, 1.2, 0.05), outcomes=("caller 487",))
def cancel_meets_ringing(stage: Stage, delay: float) -> str:
    """It waits for a provisional response on each leg, and the phone that rings stops."""
    stage.when_called((0.6, Line.ring))
    stage.caller.call("bob")
    stage.at(delay, stage.caller.line.cancel)
    stage.run(10.0)
    return f"caller {stage.caller.line.status}"


@race("5407, 3.1.4", "re-INVITE overtakes the ACK", delays=_AFTER, outcomes=("changed",))
def reinvite_overtakes_ack(stage: Stage, delay: float) -> str:
    """It proves that the 200 arrived: it is taken, or asked for again, and changes the session on both legs."""
    stage.hold_back("ACK", stage.actor, 0.5)
    stage.callee.on_call = Line.answer
    line = stage.caller.call("bob")
    stage.until(lambda: line.is_up)
    stage.at(delay, line.change, is_holding=True)
    stage.run(30.0)
    stage.expect_agreement()
    stage.expect(line.wish.is_holding, f"the change was not made: {line.results}")
    stage.hang_up()
    return "changed"


@race("5407, 3.1.5", "re-INVITE overtakes an ACK with an answer", delays=_AFTER, outcomes=("changed",))
def reinvite_overtakes_late_answer(stage: Stage, delay: float) -> str:
    """The offer of the 200 has no answer yet: 491, and the change is made when it is asked for again."""
    stage.hold_back("ACK", stage.actor, 0.5)
    stage.callee.on_call = Line.answer
    line = stage.caller.call("bob", has_offer=False)
    stage.until(lambda: line.is_up)
    stage.at(delay, line.change, is_holding=True)
    stage.run(30.0)
    stage.expect_agreement()
    stage.expect(line.wish.is_holding, f"the change was not made: {line.results}")
    stage.hang_up()
    return "changed"


@race("5407, 3.1.4", "UPDATE overtakes the ACK", delays=_AFTER, outcomes=("changed",))
def update_overtakes_ack(stage: Stage, delay: float) -> str:
    """As a re-INVITE that does: it changes the session on both legs, at once or when it is asked for again."""
    stage.hold_back("ACK", stage.actor, 0.5)
    stage.callee.on_call = Line.answer
    line = stage.caller.call("bob")
    stage.until(lambda: line.is_up)
    stage.at(delay, line.change, "UPDATE", is_holding=True)
    stage.run(30.0)
    stage.expect_agreement()
    stage.expect(line.wish.is_holding, f"the change was not made: {line.results}")
    stage.hang_up()
    return "changed"


@race("3261, 12.1.2", "UPDATE of the callee overtakes its 200", delays=sweep(0.0, 1.5, 0.1), outcomes=("changed",))
def update_overtakes_answer(stage: Stage, delay: float) -> str:
    """Its 180 has made a dialog, so that is not 481: it is made, at once or when it is asked for again."""
    stage.hold_back("200 INVITE", stage.callee, delay, times=20)
    stage.when_called((0.0, Line.ring), (0.5, Line.answer), (0.6, lambda line: line.change("UPDATE", port=42000)))
    stage.caller.call("bob")
    stage.run(30.0)
    stage.expect_agreement()
    stage.expect(stage.callee.line.wish.port == 42000, f"the change was not made: {stage.callee.line.results}")
    stage.hang_up()
    return "changed"


@race("5407, 3.1.6", "BYE, and the ACK is lost", delays=_AFTER, outcomes=("ended",))
def bye_and_lost_ack(stage: Stage, delay: float) -> str:
    """BYE gets 200 and ends both legs; the 200 to INVITE is not sent for ever."""
    stage.lose("ACK", stage.actor)
    return _bye_after_answer(stage, delay)


@race("5407, 3.2.4", "BYE overtakes the ACK", delays=_AFTER, outcomes=("ended",))
def bye_overtakes_ack(stage: Stage, delay: float) -> str:
    """BYE gets 200 and ends both legs; the ACK that comes later changes nothing."""
    stage.hold_back("ACK", stage.actor, 0.5)
    return _bye_after_answer(stage, delay)


def _bye_after_answer(stage: Stage, delay: float) -> str:
    stage.callee.on_call = Line.answer
    line = stage.caller.call("bob")
    stage.until(lambda: line.is_up)
    stage.at(delay, line.bye)
    stage.run(10.0)
    stage.expect(line.results == ["BYE 200"], f"BYE got {line.results}")
    stage.expect(stage.callee.line.ended_by == "them", "the callee was not told")
    return "ended"


@race("5407, 3.2.1", "the callee hangs up before the ACK", delays=_AFTER, outcomes=("ended",))
def callee_hangs_up_before_ack(stage: Stage, delay: float) -> str:
    """The callee waits for its ACK, and so does sipd on the leg of the caller; then BYE ends both legs."""
    stage.hold_back("ACK", stage.actor, delay)
    stage.when_called((0.0, Line.answer), (0.0, Line.bye))
    line = stage.caller.call("bob")
    stage.run(10.0)
    stage.expect(line.ended_by == "them", "the caller was not told")
    return "ended"


FLOWS: tuple[Flow, ...] = (
    invite_again,
    cancel_meets_answer,
    cancel_meets_late_offer,
    early_bye_meets_answer,
    reinvite_overtakes_ack,
    reinvite_overtakes_late_answer,
    update_overtakes_ack,
    update_overtakes_answer,
    bye_and_lost_ack,
    bye_overtakes_ack,
    callee_hangs_up_before_ack,
    cancel_meets_refusal,
    cancel_meets_ringing,
)
