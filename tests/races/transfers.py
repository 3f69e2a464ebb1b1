"""Transfers that meet something else: RFC 5407 section 3.3.3, RFC 3515, RFC 5589."""

from __future__ import annotations

from tests.phones.line import Line
from tests.races.flow import Flow, race, sweep
from tests.races.stage import Stage

_AROUND = sweep(-0.4, 0.4, 0.04)
_DURING = sweep(0.0, 2.4, 0.12)


def _refer(line: Line) -> None:
    line.refer("carol")


def _referred(stage: Stage, rings: float = 0.5) -> None:
    """Let Alice and Bob talk, and Carol answer when she is called."""
    stage.talk()
    stage.when_called((0.0, Line.ring), (rings, Line.answer), phone=stage.third)


def _result(line: Line) -> str:
    return next((result for result in line.results if result.startswith("REFER")), "no REFER")


def _joined(stage: Stage) -> str:
    """See who talks in the end."""
    stage.run(60.0)
    third = stage.third.lines[-1] if stage.third.lines else None
    ends = [line for line in (stage.actor.line, stage.other.line, third) if line is not None and line.is_up]
    stage.expect(len(ends) in (0, 2), f"not two are up: {ends}")
    if ends:
        stage.expect_agreement(*ends)
    outcome = "nobody talks"
    if third in ends:
        outcome = "transferred" if stage.other.line in ends else "the wrong one was transferred"
    elif ends:
        outcome = "as before"
    for line in ends[:1]:
        line.bye()
    stage.run(5.0)
    return outcome


@race(
    "5407, 3.3.3",
    "REFER meets BYE",
    delays=_AROUND,
    outcomes=("REFER 202", "REFER 481", "no REFER"),
)
def refer_meets_bye(stage: Stage, delay: float) -> str:
    """What comes after the BYE gets 481; a transfer that was taken ends with the call, and nobody is left ringing."""
    _referred(stage)
    stage.cross(delay, stage.other.line.bye, lambda: _refer(stage.actor.line))
    stage.run(40.0)
    stage.expect(stage.other.line.results == ["BYE 200"], f"BYE got {stage.other.line.results}")
    return _result(stage.actor.line)


@race(
    "5589, 6.1",
    "the transferee hangs up while the target is called",
    delays=_DURING,
    outcomes=("nobody talks",),
)
def transferee_leaves(stage: Stage, delay: float) -> str:
    """Whatever the transfer has come to, all three are let go."""
    _referred(stage)
    _refer(stage.actor.line)
    stage.at(delay, stage.other.line.bye)
    return _joined(stage)


@race("5589, 6.1", "the transferor hangs up while the target is called", delays=_DURING, outcomes=("transferred",))
def transferor_leaves(stage: Stage, delay: float) -> str:
    """It may: the other two talk."""
    _referred(stage)
    _refer(stage.actor.line)
    stage.at(0.3 + delay, stage.actor.line.bye)
    return _joined(stage)


@race(
    "5589, 6.1",
    "the target hangs up as soon as it has answered",
    delays=sweep(0.0, 0.8, 0.05),
    outcomes=("as before", "nobody talks"),
)
def target_leaves(stage: Stage, delay: float) -> str:
    """Before it is joined the first two talk on, after that the call is over."""
    _referred(stage)
    stage.when_called((0.0, Line.ring), (0.5, Line.answer), (0.5 + delay, Line.bye), phone=stage.third)
    _refer(stage.actor.line)
    return _joined(stage)


@race("5589, 6.1; 3261, 14", "REFER meets a change of the transferee", delays=_DURING, outcomes=("transferred",))
def refer_meets_change(stage: Stage, delay: float) -> str:
    """The re-INVITE that joins waits for the other change, or that is asked for again; then the two agree."""
    _referred(stage)
    stage.at(0.5, lambda: _refer(stage.actor.line))
    stage.at(0.2 + delay, lambda: stage.other.line.change(codecs=("PCMA", "PCMU")))
    return _joined(stage)


@race("5589, 6.1; 3261, 14", "REFER meets a change of the transferor", delays=_AROUND, outcomes=("transferred",))
def refer_meets_own_change(stage: Stage, delay: float) -> str:
    """Hold and transfer at once, in either order: the transferee talks with the target in the end."""
    _referred(stage)
    stage.at(1.0, lambda: _refer(stage.actor.line))
    stage.at(1.0 + delay, lambda: stage.actor.line.change(is_holding=True))
    return _joined(stage)


@race(
    "5589, 6.1; 3261, 14.1",
    "REFER meets a withdrawn change of the transferee",
    delays=sweep(0.0, 2.0, 0.1),
    outcomes=("transferred",),
)
def refer_meets_withdrawn_change(stage: Stage, delay: float) -> str:
    """What takes the change back does not stand in the way of what joins; the session can be changed later."""
    _referred(stage, rings=0.3)
    stage.actor.thinks = stage.other.thinks = 0.6
    line = stage.other.line
    line.change(is_holding=True)
    stage.at(0.61, line.withdraw)
    stage.at(delay, lambda: _refer(stage.actor.line))
    stage.run(30.0)
    line.change(codecs=("PCMA", "PCMU"))
    outcome = _joined(stage)
    stage.expect(line.wish.codecs == ("PCMA", "PCMU"), f"the session cannot be changed: {line.results}")
    return outcome


@race("3515, 2.4", "both sides ask for a transfer", delays=_AROUND, outcomes=("one of the two",))
def two_refers(stage: Stage, delay: float) -> str:
    """One is carried out, and the other one is refused or comes to nothing; two talk in the end."""
    _referred(stage)
    stage.cross(delay, lambda: _refer(stage.actor.line), lambda: _refer(stage.other.line))
    stage.run(60.0)
    ends = [line for phone in stage.phones for line in phone.lines if line.is_up]
    stage.expect(len(ends) == 2, f"not two are up: {ends}")
    stage.expect_agreement(*ends)
    ends[0].bye()
    stage.run(5.0)
    return "one of the two"


def _consulted(stage: Stage) -> tuple[Line, Line]:
    """Let the actor talk with the other one, and ask Carol beside; give both ends of the second call."""
    stage.talk()
    stage.third.on_call = Line.answer
    asking = stage.actor.call("carol")
    stage.run(2.0)
    stage.expect(asking.is_up, "nobody is asked")
    return asking, stage.third.line


def _refer_in_place(stage: Stage, asking: Line) -> None:
    stage.actor.lines[0].refer("carol", replaces=asking)


def _left(stage: Stage) -> str:
    """See who talks after an attended transfer."""
    stage.run(60.0)
    ends = [line for phone in stage.phones for line in phone.lines if line.is_up]
    stage.expect(len(ends) in (0, 2, 4), f"an odd number is up: {ends}")
    if stage.other.lines[0] in ends and stage.third.line in ends and len(ends) == 2:
        stage.expect_agreement(*ends)
        outcome = "transferred"
    else:
        outcome = {0: "nobody talks", 2: "one call is left", 4: "as before"}[len(ends)]
    for line in ends:
        line.bye()
    stage.run(10.0)
    return outcome


@race("3891, 3; 5589, 7.1", "attended transfer meets a change", delays=_DURING, outcomes=("as before", "transferred"))
def attended_meets_change(stage: Stage, delay: float) -> str:
    """The two that are to talk change their sessions meanwhile: they agree in the end, or both calls go on."""
    asking, asked = _consulted(stage)
    stage.at(1.0, _refer_in_place, stage, asking)
    stage.at(0.6 + delay / 3, stage.other.line.change, codecs=("PCMA", "PCMU"))
    stage.at(0.8 + delay / 4, asked.change, "UPDATE", port=42000)
    return _left(stage)


@race(
    "3891, 3; 5589, 7.1",
    "attended transfer meets the BYE of the target",
    delays=_AROUND,
    outcomes=("nobody talks", "one call is left", "transferred"),
)
def attended_meets_bye(stage: Stage, delay: float) -> str:
    """Before it is joined the first call goes on, or its target is called anew; after that all is over."""
    asking, asked = _consulted(stage)
    stage.cross(delay, lambda: _refer_in_place(stage, asking), asked.bye)
    return _left(stage)


@race(
    "3891, 3; 5589, 7.1",
    "attended transfer meets the BYE of the transferee",
    delays=_AROUND,
    outcomes=("nobody talks", "one call is left"),
)
def attended_meets_bye_of_transferee(stage: Stage, delay: float) -> str:
    """Before it is joined the second call goes on; after that it is over. Nobody is left alone."""
    asking, _ = _consulted(stage)
    stage.cross(delay, lambda: _refer_in_place(stage, asking), stage.other.line.bye)
    return _left(stage)


@race(
    "3891, 3; 5589, 7.1",
    "attended transfer, and the transferor hangs up",
    delays=sweep(0.25, 1.5, 0.05),
    outcomes=("transferred",),
)
def attended_and_bye(stage: Stage, delay: float) -> str:
    """It may hang up both calls as soon as the REFER was taken: the other two talk."""
    asking, _ = _consulted(stage)
    _refer_in_place(stage, asking)
    stage.at(delay, stage.actor.lines[0].bye)
    stage.at(delay + 0.02, asking.bye)
    return _left(stage)


FLOWS: tuple[Flow, ...] = (
    refer_meets_bye,
    transferee_leaves,
    transferor_leaves,
    target_leaves,
    refer_meets_change,
    refer_meets_own_change,
    refer_meets_withdrawn_change,
    two_refers,
    attended_meets_change,
    attended_meets_bye,
    attended_meets_bye_of_transferee,
    attended_and_bye,
)
