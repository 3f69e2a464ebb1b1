"""Messages that meet a BYE: RFC 5407 section 3.2 and appendices B and D."""

from __future__ import annotations

from tests.races.flow import Flow, race, sweep
from tests.races.stage import Stage

_AROUND = sweep(-0.4, 0.4, 0.04)


def _last(results: list[str], method: str) -> str:
    """Give the last final response to a request of a method; `none` where it was not sent."""
    return next((result for result in reversed(results) if result.startswith(method)), f"no {method}")


@race("5407, 3.2.1", "BYE meets BYE", delays=_AROUND, outcomes=("both said BYE", "one said BYE"))
def byes(stage: Stage, delay: float) -> str:
    """Each gets 200, on the leg that it was sent on."""
    stage.talk()
    stage.cross(delay, stage.actor.line.bye, stage.other.line.bye)
    results = [*stage.actor.line.results, *stage.other.line.results]
    stage.expect(set(results) == {"BYE 200"}, f"{results}")
    return "both said BYE" if len(results) == 2 else "one said BYE"


def _change_meets_bye(stage: Stage, delay: float, method: str) -> str:
    """Let the actor change the session while the other end hangs up."""
    stage.talk()
    stage.other.thinks = 0.1
    stage.cross(delay, stage.other.line.bye, lambda: stage.actor.line.change(method, is_holding=True))
    stage.expect(stage.other.line.results == ["BYE 200"], f"BYE got {stage.other.line.results}")
    stage.expect(stage.actor.line.ended_by in ("us", "them"), "the call is not over")
    return _last(stage.actor.line.results, method)


@race(
    "5407, 3.2.2",
    "re-INVITE meets BYE",
    delays=_AROUND,
    outcomes=("INVITE 200", "INVITE 481", "INVITE 487", "no INVITE"),
)
def reinvite_meets_bye(stage: Stage, delay: float) -> str:
    """BYE gets 200. Of the re-INVITE what came before it is answered with 487, and what comes later with 481."""
    return _change_meets_bye(stage, delay, "INVITE")


@race(
    "5407, 3.2.2",
    "UPDATE meets BYE",
    delays=_AROUND,
    outcomes=("UPDATE 200", "UPDATE 481", "UPDATE 487", "no UPDATE"),
)
def update_meets_bye(stage: Stage, delay: float) -> str:
    """BYE gets 200. Of the UPDATE what came before it is answered with 487, and what comes later with 481."""
    return _change_meets_bye(stage, delay, "UPDATE")


def _change_meets_mortal(stage: Stage, delay: float, method: str) -> str:
    """Let the actor hang up while the other end changes the session."""
    stage.talk()
    stage.cross(delay, stage.actor.line.bye, lambda: stage.other.line.change(method, is_holding=True))
    stage.expect(stage.actor.line.results == ["BYE 200"], f"BYE got {stage.actor.line.results}")
    return _last(stage.other.line.results, method)


@race(
    "5407, 3.2.2",
    "BYE meets a re-INVITE of sipd",
    delays=_AROUND,
    outcomes=("INVITE 200", "INVITE 487", "no INVITE"),
)
def bye_meets_reinvite(stage: Stage, delay: float) -> str:
    """The phone that hung up refuses the re-INVITE with 481; the call ends by its BYE, and only by that."""
    return _change_meets_mortal(stage, delay, "INVITE")


@race(
    "5407, 3.2.2",
    "BYE meets an UPDATE of sipd",
    delays=_AROUND,
    outcomes=("UPDATE 200", "UPDATE 487", "no UPDATE"),
)
def bye_meets_update(stage: Stage, delay: float) -> str:
    """The phone that hung up refuses the UPDATE with 481; the call ends by its BYE, and only by that."""
    return _change_meets_mortal(stage, delay, "UPDATE")


@race("5407, 3.2.3, B", "BYE while the own re-INVITE is answered", delays=sweep(0.0, 1.0, 0.05), outcomes=(
    "INVITE 200", "INVITE 487"
))  # fmt: skip
def bye_after_reinvite(stage: Stage, delay: float) -> str:
    """The re-INVITE gets 487, or the 200 that was under way, which is acknowledged though the call is over."""
    stage.talk()
    stage.other.thinks = 0.3
    stage.cross(delay, lambda: stage.actor.line.change(is_holding=True), stage.actor.line.bye)
    line = stage.actor.line
    stage.expect("BYE 200" in line.results and stage.other.line.ended_by == "them", "BYE did not end the call")
    return _last(line.results, "INVITE")


@race("5407, 3.2.3, B", "BYE after the 200 to a re-INVITE", delays=sweep(0.0, 0.6, 0.04), outcomes=("INVITE 200",))
def bye_after_answer_to_reinvite(stage: Stage, delay: float) -> str:
    """Who answered hangs up while its 200 is under way: that is taken and acknowledged, and BYE ends the call."""
    stage.talk()
    answered = stage.actor.line
    stage.other.line.change(is_holding=True)
    stage.until(lambda: "INVITE 200" in answered.answers[1 if answered is stage.callee.line else 0 :])
    stage.at(delay, answered.bye)
    stage.run(20.0)
    stage.expect(answered.results == ["BYE 200"], f"BYE got {answered.results}")
    return _last(stage.other.line.results, "INVITE")


@race("6086, 4.2", "INFO meets BYE", delays=_AROUND, outcomes=("INFO 200", "INFO 481", "no INFO"))
def info_meets_bye(stage: Stage, delay: float) -> str:
    """INFO has a final response in any case, and BYE gets 200."""
    stage.talk()
    stage.cross(delay, stage.other.line.bye, stage.actor.line.info)
    stage.expect(stage.other.line.results == ["BYE 200"], f"BYE got {stage.other.line.results}")
    return _last(stage.actor.line.results, "INFO")


FLOWS: tuple[Flow, ...] = (
    byes,
    reinvite_meets_bye,
    update_meets_bye,
    bye_meets_reinvite,
    bye_meets_update,
    bye_after_reinvite,
    bye_after_answer_to_reinvite,
    info_meets_bye,
)
