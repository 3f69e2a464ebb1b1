"""Changes that meet: RFC 5407 section 3.3, RFC 6337 section 4, RFC 3261 section 14, RFC 3311 section 5."""

from __future__ import annotations

from tests.phones.line import Line
from tests.phones.phone import Phone
from tests.races.flow import Flow, race, sweep
from tests.races.stage import Stage

_AROUND = sweep(-0.4, 0.4, 0.04)
_THINKING = sweep(0.0, 1.2, 0.1)


def _both_change(stage: Stage, delay: float, method: str, other_method: str) -> str:
    """Let one end hold the other, which wants other codecs at that time; both get what they want in the end."""
    stage.talk()
    stage.cross(
        delay,
        lambda: stage.actor.line.change(method, is_holding=True),
        lambda: stage.other.line.change(other_method, codecs=("PCMA",)),
    )
    stage.run(20.0)
    stage.expect_agreement()
    results = [*stage.actor.line.results, *stage.other.line.results]
    stage.expect(stage.actor.line.wish.is_holding, f"the actor's change was not made: {results}")
    stage.expect(stage.other.line.wish.codecs == ("PCMA",), f"the other change was not made: {results}")
    stage.hang_up()
    return "both changes made"


@race("5407, 3.3.1; 6337, 4.2", "re-INVITE meets re-INVITE", delays=_AROUND, outcomes=("both changes made",))
def reinvites(stage: Stage, delay: float) -> str:
    """One or both get 491, and ask again after the time of RFC 3261 section 14.1; both legs follow both changes."""
    return _both_change(stage, delay, "INVITE", "INVITE")


@race("5407, 3.3.2; 6337, 4.2", "UPDATE meets re-INVITE", delays=_AROUND, outcomes=("both changes made",))
def update_meets_reinvite(stage: Stage, delay: float) -> str:
    """One or both get 491, and ask again; both legs follow both changes."""
    return _both_change(stage, delay, "UPDATE", "INVITE")


@race("5407, 3.3.2; 6337, 4.2", "re-INVITE meets UPDATE", delays=_AROUND, outcomes=("both changes made",))
def reinvite_meets_update(stage: Stage, delay: float) -> str:
    """One or both get 491, and ask again; both legs follow both changes."""
    return _both_change(stage, delay, "INVITE", "UPDATE")


@race("6337, 4.2", "UPDATE meets UPDATE", delays=_AROUND, outcomes=("both changes made",))
def updates(stage: Stage, delay: float) -> str:
    """One or both get 491, and ask again; both legs follow both changes."""
    return _both_change(stage, delay, "UPDATE", "UPDATE")


@race("6337, 4.2", "re-INVITE meets UPDATE of a phone without it", delays=_AROUND, outcomes=("both changes made",))
def reinvite_meets_translated_update(stage: Stage, delay: float) -> str:
    """The UPDATE leaves sipd as a re-INVITE, by whose rules it meets the other; both changes are made."""
    stage.actor.has_update = False
    return _both_change(stage, delay, "INVITE", "UPDATE")


@race("6337, 4.2", "re-INVITE without an offer meets re-INVITE", delays=_AROUND, outcomes=("both asked",))
def late_offer_meets_reinvite(stage: Stage, delay: float) -> str:
    """The offer in the 200 and the other offer are never open at once; the change is made, and both legs agree."""
    stage.talk()
    stage.cross(delay, stage.actor.line.ask_for_offer, lambda: stage.other.line.change(codecs=("PCMA",)))
    stage.run(20.0)
    stage.expect_agreement()
    results = [*stage.actor.line.results, *stage.other.line.results]
    stage.expect(stage.other.line.wish.codecs == ("PCMA",), f"the change was not made: {results}")
    stage.expect("INVITE 200" in stage.actor.line.results, f"the offer was not made: {results}")
    stage.hang_up()
    return "both asked"


@race("6337, 4.2", "re-INVITE meets one that takes time", delays=_THINKING, outcomes=("both changes made",))
def reinvite_while_the_user_thinks(stage: Stage, delay: float) -> str:
    """The first is answered only when its user has decided; the other waits, or asks again, and is made, too."""
    stage.talk()
    stage.other.thinks = 1.0
    stage.cross(
        delay,
        lambda: stage.actor.line.change(is_holding=True),
        lambda: stage.other.line.change(has_video=True),
    )
    stage.run(20.0)
    stage.expect_agreement()
    stage.expect(stage.actor.line.wish.is_holding and stage.other.line.wish.has_video, "a change was not made")
    stage.hang_up()
    return "both changes made"


@race("6337, 4.1", "UPDATE overtakes the 200 to a re-INVITE", delays=sweep(0.0, 0.6, 0.04), outcomes=(
    "both changes made",
))  # fmt: skip
def update_overtakes_answer(stage: Stage, delay: float) -> str:
    """The offer that comes before the answer gets 491, and is made again; it is never taken for the answer."""
    stage.talk()
    stage.hold_back("200 INVITE", stage.actor, 0.3)
    actor, other = stage.actor.line, stage.other.line
    actor.change(is_holding=True)
    answers = len(other.answers)
    stage.until(lambda: len(other.answers) > answers)
    stage.at(delay, other.change, "UPDATE", codecs=("PCMA",))
    stage.run(30.0)
    stage.expect_agreement()
    stage.expect(actor.wish.is_holding and other.wish.codecs == ("PCMA",), "a change was not made")
    stage.hang_up()
    return "both changes made"


@race("6337, 4.3; 3261, 14.2", "re-INVITE while one is answered", delays=_THINKING, outcomes=(
    "INVITE 200", "INVITE 500",
))  # fmt: skip
def second_reinvite(stage: Stage, delay: float) -> str:
    """A phone that does not wait for its answer gets 500 with Retry-After, and the first change is made."""
    return _insist(stage, delay, "INVITE", "INVITE")


@race("6337, 4.3; 3311, 5.2", "UPDATE while an offer is answered", delays=_THINKING, outcomes=(
    "UPDATE 200", "UPDATE 500",
))  # fmt: skip
def second_update(stage: Stage, delay: float) -> str:
    """A phone that does not wait for its answer gets 500 with Retry-After, and the first change is made."""
    return _insist(stage, delay, "UPDATE", "UPDATE")


@race("6337, 4.3; 3311, 5.2", "UPDATE while a re-INVITE is answered", delays=_THINKING, outcomes=(
    "UPDATE 200", "UPDATE 500",
))  # fmt: skip
def update_in_reinvite(stage: Stage, delay: float) -> str:
    """A phone that does not wait for its answer gets 500 with Retry-After, and the first change is made."""
    return _insist(stage, delay, "INVITE", "UPDATE")


def _insist(stage: Stage, delay: float, first: str, second: str) -> str:
    """Let the actor send a second offer before the answer to the first."""
    stage.talk()
    stage.other.thinks = 0.6
    line = stage.actor.line
    line.change(first, is_holding=True)
    seen: list[str] = []
    stage.at(delay, line.insist, second, seen.append, is_holding=True)
    stage.run(20.0)
    stage.expect(line.wish.is_holding, f"the change was not made: {line.results}")
    stage.expect_agreement()
    stage.hang_up()
    return seen[0]


@race("3261, 14.1", "CANCEL of a re-INVITE meets its 200", delays=sweep(0.0, 1.2, 0.05), outcomes=(
    "INVITE 200", "INVITE 487",
))  # fmt: skip
def withdrawn_reinvite(stage: Stage, delay: float) -> str:
    """487 and the session is as it was, or 200 and it is changed: on both legs the same, and the call goes on."""
    return _withdraw(stage, delay, stage.actor, stage.other)


@race("3261, 14.1", "CANCEL of a re-INVITE of sipd meets its 200", delays=sweep(0.0, 1.2, 0.05), outcomes=(
    "INVITE 200", "INVITE 487",
))  # fmt: skip
def withdrawn_reinvite_of_sipd(stage: Stage, delay: float) -> str:
    """A 200 that crosses the CANCEL is acknowledged; if who asked has its 487, what was changed is changed back."""
    return _withdraw(stage, delay, stage.other, stage.actor)


def _withdraw(stage: Stage, delay: float, asking: Phone, asked: Phone) -> str:
    stage.talk()
    asked.thinks = 0.5
    line = asking.line
    stage.cross(delay, lambda: line.change(is_holding=True, has_video=True), line.withdraw)
    stage.run(20.0)
    stage.expect_agreement()
    stage.hang_up()
    return line.results[0]


@race("3261, 14.1", "what takes a change back meets a refresh", delays=sweep(0.0, 1.2, 0.05), outcomes=("agreed",))
def taking_back_meets_refresh(stage: Stage, delay: float) -> str:
    """The 491 to it is no end of it: it is asked for again, and both legs agree in the end."""
    stage.talk()
    stage.actor.thinks = 0.5
    line = stage.other.line
    line.change(is_holding=True)
    stage.run(5.0)
    line.change(is_holding=False)
    stage.at(0.55, line.withdraw)
    stage.at(delay, stage.actor.line.change, "UPDATE")
    stage.run(60.0)
    stage.expect_agreement()
    stage.hang_up()
    return "agreed"


@race("6141, 3.3", "what takes a change back is refused", delays=sweep(0.0, 1.0, 0.1), outcomes=("agreed",))
def refused_taking_back(stage: Stage, delay: float) -> str:
    """Who agreed to the change does not want it back: then the other end has to hear of it, and both legs agree."""
    return _refuse_taking_back(stage, delay, is_holding=True)


@race("6141, 3.3", "what takes a resumed call back is refused", delays=sweep(0.0, 1.0, 0.1), outcomes=("agreed",))
def refused_taking_back_of_hold(stage: Stage, delay: float) -> str:
    """The end that hears of it is on hold by its own wish, and says so: the first end has to hear of that again."""
    stage.talk()
    stage.other.line.change(is_holding=True)
    stage.run(5.0)
    return _refuse_taking_back(stage, delay, is_holding=False)


@race("6141, 3.3", "nobody agrees to what was taken back", delays=sweep(0.0, 0.08, 0.02), outcomes=("ended",))
def never_taken_back(stage: Stage, delay: float) -> str:
    """A side that refuses all changes and one that is on hold by its own wish never agree: sipd ends the call."""
    stage.talk()
    line = stage.other.line
    line.change(is_holding=True)
    stage.run(5.0)
    stage.actor.thinks = 0.5
    line.change(is_holding=False)
    stage.at(0.55, line.withdraw)
    stage.at(0.62 + delay, setattr, stage.actor, "takes_changes", False)
    stage.run(60.0)
    stage.expect(line.ended_by == stage.actor.line.ended_by == "them", "the call goes on")
    return "ended"


def _refuse_taking_back(stage: Stage, delay: float, *, is_holding: bool) -> str:
    if not stage.caller.lines:
        stage.talk()
    stage.actor.thinks = 0.5
    line = stage.other.line
    line.change(is_holding=is_holding)
    stage.at(0.55, line.withdraw)
    stage.at(0.62, setattr, stage.actor, "takes_changes", False)
    stage.at(1.0 + delay, setattr, stage.actor, "takes_changes", True)
    stage.run(60.0)
    stage.expect_agreement()
    stage.hang_up()
    return "agreed"


@race("6141, 3.3", "refusal of a change meets another change", delays=_AROUND, outcomes=(
    "488, then the other is made",
))  # fmt: skip
def refused_change_meets_change(stage: Stage, delay: float) -> str:
    """488 leaves the session as it was, and does not stand in the way of the other change."""
    stage.talk()
    stage.other.takes_changes = False
    stage.cross(
        delay,
        lambda: stage.actor.line.change(is_holding=True),
        lambda: stage.other.line.change(codecs=("PCMA",)),
    )
    stage.run(20.0)
    stage.expect_agreement()
    stage.expect(not stage.actor.line.wish.is_holding, "what was refused was made")
    stage.expect(stage.other.line.wish.codecs == ("PCMA",), "the change was not made")
    stage.expect("INVITE 488" in stage.actor.line.results, f"the refusal did not arrive: {stage.actor.line.results}")
    stage.hang_up()
    return "488, then the other is made"


@race("5407, 3.3.1", "three changes on each side", delays=sweep(0.0, 1.0, 0.1), outcomes=("all made",))
def many_changes(stage: Stage, delay: float) -> str:
    """However often they meet, each change is made in the end, and both legs agree."""
    stage.talk()
    for step in range(3):
        stage.at(1.0 + step * delay, stage.actor.line.change, is_holding=step % 2 == 0)
        stage.at(1.1 + step * delay, stage.other.line.change, "UPDATE", port=42000 + 2 * step)
    stage.run(90.0)
    stage.expect_agreement()
    actor, other = stage.actor.line.wish, stage.other.line.wish
    stage.expect(actor.is_holding and other.port == 42004, "the last change was not made last")
    stage.expect(_made(stage.actor.line) == _made(stage.other.line) == 3, "a change was not made")
    stage.hang_up()
    return "all made"


def _made(line: Line) -> int:
    return sum(result.endswith(" 200") for result in line.results)


FLOWS: tuple[Flow, ...] = (
    reinvites,
    update_meets_reinvite,
    reinvite_meets_update,
    many_changes,
    updates,
    reinvite_meets_translated_update,
    late_offer_meets_reinvite,
    reinvite_while_the_user_thinks,
    update_overtakes_answer,
    second_reinvite,
    second_update,
    update_in_reinvite,
    withdrawn_reinvite,
    withdrawn_reinvite_of_sipd,
    taking_back_meets_refresh,
    refused_taking_back,
    refused_taking_back_of_hold,
    never_taken_back,
    refused_change_meets_change,
)
