"""Where offers and answers travel, and what they meet there: RFC 6337, RFC 3262, RFC 3311."""

from __future__ import annotations

from dataclasses import replace

from tests.phones.line import Line
from tests.phones.phone import Phone
from tests.races.flow import Flow, race, sweep
from tests.races.stage import Stage

_DECIDING = sweep(0.0, 2.6, 0.2)
_EARLY = sweep(0.0, 1.2, 0.08)
_AROUND = sweep(-0.4, 0.4, 0.04)


def _talked(stage: Stage) -> str:
    """Let time pass; both ends have to be up and agree, and be able to change the session. Then it ends."""
    stage.run(30.0)
    stage.expect_agreement()
    stage.caller.line.change(is_holding=not stage.caller.line.wish.is_holding)
    stage.run(10.0)
    stage.expect_agreement()
    stage.hang_up()
    return "agreed"


def _early(line: Line) -> None:
    """Send early media that has to be acknowledged, where the caller can do that."""
    line.ring(183, has_media=True, is_reliable=line.supports_reliable)


def _call(stage: Stage, answers_after: float, *, has_offer: bool = True, has_reliable: bool = True) -> Line:
    """Let Alice call Bob, who sends early media at once and answers after a while."""
    if has_reliable:
        stage.caller.has_reliable = stage.callee.has_reliable = True
    stage.when_called((0.0, _early), (answers_after, Line.answer))
    return stage.caller.call("bob", has_offer=has_offer)


@race("6337, 2.1 pattern 1", "offer in INVITE, answer in 200", delays=_DECIDING, outcomes=("agreed",))
def in_invite(stage: Stage, delay: float) -> str:
    """Both legs agree, however long the callee takes."""
    stage.when_called((0.0, Line.ring), (delay, Line.answer))
    stage.caller.call("bob")
    return _talked(stage)


@race("6337, 2.1 pattern 2", "offer in 200, answer in ACK", delays=_DECIDING, outcomes=("agreed",))
def in_success(stage: Stage, delay: float) -> str:
    """The callee's offer is the caller's, whose answer goes on in the ACK of the other leg."""
    stage.when_called((0.0, Line.ring), (delay, Line.answer))
    stage.caller.call("bob", has_offer=False)
    return _talked(stage)


@race("6337, 2.1 pattern 3", "offer in INVITE, answer in a reliable 183", delays=_EARLY, outcomes=("agreed",))
def in_reliable(stage: Stage, delay: float) -> str:
    """It is in force at once, and the 200 comes after the PRACK, with nothing new in it."""
    _call(stage, delay)
    return _talked(stage)


@race("6337, 2.1 pattern 4", "offer in a reliable 183, answer in PRACK", delays=_EARLY, outcomes=("agreed",))
def in_prack(stage: Stage, delay: float) -> str:
    """The caller's PRACK answers what the callee's 183 offers, and so does sipd's."""
    _call(stage, delay, has_offer=False)
    return _talked(stage)


@race("6337, 2.1 pattern 5", "offer in PRACK, answer in its 200", delays=_EARLY, outcomes=("agreed",))
def in_answer_to_prack(stage: Stage, delay: float) -> str:
    """What the caller changes before the answer is in force on both legs after it."""
    line = _call(stage, delay + 0.8)
    line.next_prack = {"codecs": ("PCMA", "PCMU")}
    outcome = _talked(stage)
    stage.expect(line.wish.codecs == ("PCMA", "PCMU"), f"the change was not made: {line.results}")
    return outcome


def _update_in(stage: Stage, delay: float, phone: Phone) -> str:
    """Let a phone send UPDATE before the answer, which comes at about the same time."""
    _call(stage, 1.5)
    stage.at(0.9 + delay, lambda: phone.line.change("UPDATE", codecs=("PCMA", "PCMU")))
    outcome = _talked(stage)
    stage.expect(phone.lines[0].wish.codecs == ("PCMA", "PCMU"), f"the change was not made: {phone.line.results}")
    return outcome


@race("6337, 2.1 pattern 6", "UPDATE of the caller meets the 200", delays=_EARLY, outcomes=("agreed",))
def update_of_caller(stage: Stage, delay: float) -> str:
    """Before the answer, after it or on the way: it is made, at once or when it is asked for again."""
    return _update_in(stage, delay, stage.caller)


@race("6337, 2.1 pattern 6", "UPDATE of the callee meets its own 200", delays=_EARLY, outcomes=("agreed",))
def update_of_callee(stage: Stage, delay: float) -> str:
    """Before the answer, after it or on the way: it is made, at once or when it is asked for again."""
    return _update_in(stage, delay, stage.callee)


@race("6337, 3.2, 4.2", "UPDATE meets UPDATE before the answer", delays=_AROUND, outcomes=("agreed",))
def early_updates(stage: Stage, delay: float) -> str:
    """One or both get 491, and ask again; both changes are in force in the end."""
    caller = _call(stage, 12.0)
    stage.at(1.5, lambda: caller.change("UPDATE", is_holding=True))
    stage.at(1.5 + delay, lambda: stage.callee.line.change("UPDATE", codecs=("PCMA", "PCMU")))
    outcome = _talked(stage)
    stage.expect(stage.callee.line.wish.codecs == ("PCMA", "PCMU"), "the callee's change was not made")
    stage.expect("UPDATE 200" in caller.results, f"the caller's change was not made: {caller.results}")
    return outcome


@race("6337, 2.1; 3960", "183 without 100rel, then 200", delays=_EARLY, outcomes=("agreed",))
def preview(stage: Stage, delay: float) -> str:
    """What the 183 says is no answer yet; the 200 has it."""
    _call(stage, delay, has_reliable=False)
    return _talked(stage)


@race("3262, 3", "only the caller has 100rel", delays=_EARLY, outcomes=("agreed",))
def reliable_to_caller(stage: Stage, delay: float) -> str:
    """Each leg has its own: the caller acknowledges what the callee has said without that."""
    stage.caller.has_reliable = True
    stage.when_called((0.0, lambda line: line.ring(183, has_media=True)), (delay, Line.answer))
    stage.caller.call("bob")
    return _talked(stage)


@race("3262, 3", "the caller requires 100rel", delays=_EARLY, outcomes=("agreed",))
def required_by_caller(stage: Stage, delay: float) -> str:
    """All that the caller gets before the answer is reliable, though the callee does not know how."""
    stage.caller.has_reliable = True
    stage.when_called((0.0, Line.ring), (delay, Line.answer))
    stage.caller.call("bob", requires_reliable=True)
    return _talked(stage)


@race("3262, 4", "only the callee has 100rel", delays=_EARLY, outcomes=("agreed",))
def reliable_from_callee(stage: Stage, delay: float) -> str:
    """Each leg has its own: the callee has its PRACK from sipd, and the caller knows nothing of that."""
    stage.callee.has_reliable = True
    _call(stage, delay, has_reliable=False)
    return _talked(stage)


@race("3262, 4; 6337, 3.1", "PRACK lost for a while", delays=sweep(0.0, 12.0, 1.0), outcomes=("agreed",))
def lost_prack(stage: Stage, delay: float) -> str:
    """The 183 comes again until its PRACK is there, and the 200 waits for that."""
    stage.lose_for(delay, "PRACK", stage.actor)
    _call(stage, 0.5)
    return _talked(stage)


@race("3262, 3", "reliable 183 lost for a while", delays=sweep(0.0, 12.0, 1.0), outcomes=("agreed",))
def lost_reliable(stage: Stage, delay: float) -> str:
    """It comes again until its PRACK is there, and the 200 waits for that."""
    stage.lose_for(delay, "183 INVITE", stage.actor)
    _call(stage, 0.5)
    return _talked(stage)


@race("3262, 3", "PRACK meets the 200", delays=sweep(0.0, 0.8, 0.05), outcomes=("agreed",))
def late_prack(stage: Stage, delay: float) -> str:
    """A PRACK that is held back holds the answer back; its own 200 never overtakes what it belongs to."""
    stage.hold_back("PRACK", stage.actor, delay)
    _call(stage, 0.4)
    return _talked(stage)


@race(
    "3262, 3",
    "PRACK lost for ever, and the callee answers",
    delays=sweep(0.0, 40.0, 4.0),
    outcomes=("caller 504, callee 200", "caller 504, callee 487"),
)
def never_pracked(stage: Stage, delay: float) -> str:
    """After 64*T1 the caller gets 504; a callee that has answered meanwhile is let go by BYE, others by CANCEL."""
    stage.lose_for(1000.0, "PRACK", stage.caller)
    line = _call(stage, delay)
    stage.run(120.0)
    return f"caller {line.status}, callee {stage.callee.line.status}"


@race(
    "3262, 3; 5407, C",
    "CANCEL meets PRACK and 183",
    delays=sweep(0.0, 1.2, 0.06),
    outcomes=("caller 200, callee 200", "caller 487, callee 200", "caller 487, callee 487"),
)
def cancel_meets_prack(stage: Stage, delay: float) -> str:
    """The call is cancelled, or was answered and is ended by BYE; PRACK has a final response in any case."""
    line = _call(stage, 0.9)
    stage.at(delay, line.cancel)
    stage.run(40.0)
    stage.expect("PRACK 0" not in line.results, "PRACK got no answer")
    return f"caller {line.status}, callee {stage.callee.line.status if stage.callee.lines else 487}"


@race(
    "3311, 5; 5407, C",
    "CANCEL meets an early UPDATE",
    delays=_AROUND,
    outcomes=("UPDATE 200, caller 487", "UPDATE 481, caller 487", "UPDATE 487, caller 487", "caller 487"),
)
def cancel_meets_update(stage: Stage, delay: float) -> str:
    """The UPDATE has a final response, whatever becomes of the call, which is cancelled."""
    line = _call(stage, 20.0)
    stage.run(1.0)
    stage.callee.thinks = 0.1
    stage.cross(delay, lambda: line.change("UPDATE", is_holding=True), line.cancel)
    stage.run(40.0)
    updates = [result for result in line.results if result.startswith("UPDATE")]
    return ", ".join([*updates, f"caller {line.status}"])


@race("6337, 2.2", "callee takes nothing of the offer in INVITE", delays=_DECIDING, outcomes=("488",))
def refused_offer(stage: Stage, delay: float) -> str:
    """The caller gets the callee's 488."""
    stage.when_called((delay, lambda line: line.refuse(488)))
    line = stage.caller.call("bob")
    stage.run(20.0)
    return str(line.status)


def _refuse_change(stage: Stage, delay: float, method: str) -> str:
    """Let a change be refused after a while: both ends are as before, and can be changed again."""
    stage.talk()
    stage.other.thinks = delay
    stage.other.takes_changes = False
    stage.actor.line.change(method, codecs=("PCMA",), is_holding=True)
    stage.run(10.0)
    stage.expect(stage.actor.line.results == [f"{method} 488"], f"{stage.actor.line.results}")
    stage.expect_agreement()
    stage.other.takes_changes = True
    _talked(stage)
    return f"{method} 488"


@race("6337, 2.2", "caller takes nothing of the offer in 200", delays=_DECIDING, outcomes=("no media",))
def refused_late_offer(stage: Stage, delay: float) -> str:
    """Its ACK refuses all streams, and so does that of sipd; a change can bring them back."""
    stage.when_called((0.0, Line.ring), (delay, Line.answer))
    return _nothing_in_common(stage, stage.caller.call("bob", has_offer=False))


@race("6337, 2.2; 3262, 5", "caller takes nothing of the offer in 183", delays=_EARLY, outcomes=("no media",))
def refused_early_offer(stage: Stage, delay: float) -> str:
    """Its PRACK refuses all streams, and so does that of sipd; a change can bring them back."""
    return _nothing_in_common(stage, _call(stage, delay, has_offer=False))


def _nothing_in_common(stage: Stage, line: Line) -> str:
    """Let a caller have no codec that the callee knows, until later."""
    line.wish = replace(line.wish, codecs=("G722",))
    stage.run(20.0)
    stage.expect_agreement()
    stage.expect(not line.has_media, "there are media")
    line.change(codecs=("PCMU", "PCMA"))
    _talked(stage)
    return "no media"


@race("6337, 4.1, 4.2", "UPDATE meets an offer in PRACK and its answer", delays=_EARLY, outcomes=(
    "PRACK 200", "PRACK 491",
))  # fmt: skip
def update_meets_offer_in_prack(stage: Stage, delay: float) -> str:
    """What comes before the answer gets 491 and is never taken for it; the UPDATE is made again, a PRACK is not."""
    stage.hold_back("200 PRACK", stage.actor, 0.4)
    line = _call(stage, 6.0)
    line.next_prack = {"codecs": ("PCMA", "PCMU")}
    stage.until(lambda: stage.callee.lines and "PRACK 200" in stage.callee.line.answers)
    stage.at(delay, stage.callee.line.change, "UPDATE", port=42000)
    _talked(stage)
    is_made = line.wish.codecs == ("PCMA", "PCMU")
    stage.expect(is_made is ("PRACK 200" in line.results), f"the caller believes something else: {line.results}")
    stage.expect(stage.callee.line.wish.port == 42000, f"the other was not made: {stage.callee.line.results}")
    return line.results[0]


@race("6337, 2.2, 3.4; 6141, 3.3", "re-INVITE is refused", delays=_DECIDING, outcomes=("INVITE 488",))
def refused_reinvite(stage: Stage, delay: float) -> str:
    """488 leaves the session on both legs as it was, and the next change is made."""
    return _refuse_change(stage, delay, "INVITE")


@race("6337, 2.2; 3311, 5.2", "UPDATE is refused", delays=_DECIDING, outcomes=("UPDATE 488",))
def refused_update(stage: Stage, delay: float) -> str:
    """488 leaves the session on both legs as it was, and the next change is made."""
    return _refuse_change(stage, delay, "UPDATE")


def _change(stage: Stage, delay: float, method: str, **wish: object) -> str:
    stage.talk()
    stage.other.thinks = delay
    stage.actor.line.change(method, **wish)
    return _talked(stage)


@race("6337, 3.3", "re-INVITE with an offer", delays=_DECIDING, outcomes=("agreed",))
def reinvite(stage: Stage, delay: float) -> str:
    """It crosses, and its answer comes back, however long the other side takes."""
    return _change(stage, delay, "INVITE", has_video=True)


@race("6337, 3.3", "UPDATE with an offer", delays=_DECIDING, outcomes=("agreed",))
def update(stage: Stage, delay: float) -> str:
    """It crosses, and its answer comes back, however long the other side takes."""
    return _change(stage, delay, "UPDATE", has_video=True)


@race("6337, 3.3", "UPDATE to a phone without it", delays=_DECIDING, outcomes=("agreed",))
def translated_update(stage: Stage, delay: float) -> str:
    """It crosses as a re-INVITE, whose answer comes back in the 200 to UPDATE."""
    stage.other.has_update = False
    return _change(stage, delay, "UPDATE", has_video=True)


@race("6337, 3.3", "re-INVITE without an offer", delays=_DECIDING, outcomes=("agreed",))
def late_reinvite(stage: Stage, delay: float) -> str:
    """The other side offers in its 200, and the answer crosses in the ACK."""
    stage.talk()
    stage.other.thinks = delay
    stage.actor.line.ask_for_offer()
    return _talked(stage)


@race("6337, 5.3", "hold and resume of both sides", delays=_AROUND, outcomes=("agreed",))
def holds(stage: Stage, delay: float) -> str:
    """Each side holds and resumes as it likes; who resumes first hears nothing until the other does, too."""
    stage.talk()
    for start, is_holding in ((1.0, True), (20.0, False)):
        stage.at(start, stage.actor.line.change, is_holding=is_holding)
        stage.at(start + delay, lambda is_holding=is_holding: stage.other.line.change("UPDATE", is_holding=is_holding))
    stage.run(15.0)
    stage.expect_agreement()
    held = stage.actor.line.understanding.local
    stage.expect(held is not None and not held.streams[0].receives, "it is not on hold")
    stage.run(25.0)
    stage.expect_agreement()
    resumed = stage.actor.line.understanding
    assert resumed.local is not None and resumed.remote is not None
    stage.expect(resumed.local.streams[0].receives and resumed.remote.streams[0].receives, "it is on hold still")
    return _talked(stage)


@race("6337, 5.4; 3264, 8.4", "hold by c=0.0.0.0, and resume", delays=_DECIDING, outcomes=("agreed",))
def old_hold(stage: Stage, delay: float) -> str:
    """A phone that holds in the old way is not sent to, and can resume."""
    stage.talk()
    stage.other.thinks = delay
    stage.actor.line.change(is_holding=True, holds_by_address=True)
    stage.run(10.0)
    stage.expect_agreement()
    held = stage.other.line.understanding
    assert held.local is not None and held.remote is not None
    stage.expect(not held.remote.streams[0].receives, "the other side hears nothing of it")
    stage.actor.line.change(is_holding=False)
    return _talked(stage)


FLOWS: tuple[Flow, ...] = (
    in_invite,
    in_success,
    in_reliable,
    in_prack,
    in_answer_to_prack,
    update_of_caller,
    update_of_callee,
    early_updates,
    preview,
    reliable_to_caller,
    required_by_caller,
    reliable_from_callee,
    lost_prack,
    lost_reliable,
    late_prack,
    never_pracked,
    cancel_meets_prack,
    cancel_meets_update,
    update_meets_offer_in_prack,
    refused_offer,
    refused_late_offer,
    refused_early_offer,
    refused_reinvite,
    refused_update,
    reinvite,
    update,
    translated_update,
    late_reinvite,
    holds,
    old_hold,
)
