"""Messages that are lost, late, or come twice: what RFC 3261 sections 13 and 17 repeat them for."""

from __future__ import annotations

from tests.phones.line import Line
from tests.races.flow import Flow, race, sweep
from tests.races.stage import Stage

_REPEATED = sweep(0.0, 3.0, 0.15)


def _dial(stage: Stage) -> Line:
    stage.callee.on_call = Line.answer
    return stage.caller.call("bob")


def _talk_and_hang_up(stage: Stage, end: str) -> str:
    stage.run(20.0)
    stage.expect_agreement()
    stage.hang_up()
    stage.expect(stage.callee.line.ended_by == "them", "the callee was not told")
    return end


@race("3261, 13.2.2.4, 13.3.1.4", "ACK lost for a while", delays=sweep(0.0, 16.0, 1.0), outcomes=("talked",))
def lost_ack(stage: Stage, delay: float) -> str:
    """The 200 comes again, and the same ACK with it, until one arrives; nobody notices."""
    line = _dial(stage)
    stage.until(lambda: line.is_up or stage.callee.lines)
    stage.lose_for(delay, "ACK", stage.actor)
    return _talk_and_hang_up(stage, "talked")


@race("3261, 13.3.1.4", "ACK of the caller lost for ever", delays=sweep(0.0, 30.0, 2.0), outcomes=("ended",))
def never_acknowledged(stage: Stage, delay: float) -> str:
    """After 64*T1 sipd ends both legs with BYE, also one that is being changed when it comes to that."""
    line = _dial(stage)
    stage.lose_for(1000.0, "ACK", stage.caller)
    stage.until(lambda: line.is_up)
    stage.at(delay, stage.callee.line.change, is_holding=True)
    stage.run(100.0)
    stage.expect(line.ended_by == stage.callee.line.ended_by == "them", "the call was not ended")
    return "ended"


@race("3261, 13.2.2.4", "ACK to the callee lost for ever", delays=sweep(0.0, 0.4, 0.1), outcomes=("ended",))
def callee_never_hears_the_ack(stage: Stage, delay: float) -> str:
    """The callee gives up after 64*T1 and says BYE, which ends the leg of the caller, too."""
    stage.lose_for(1000.0, "ACK", stage.callee)
    stage.hold_back("200 INVITE", stage.callee, delay)
    line = _dial(stage)
    stage.run(100.0)
    stage.expect(line.ended_by == "them" and stage.callee.line.ended_by == "us", "the call was not ended")
    stage.callee.complaints.clear()  # it says that it never had its ACK
    return "ended"


@race("3261, 13.3.1.4", "200 to INVITE lost for a while", delays=sweep(0.0, 16.0, 1.0), outcomes=("talked",))
def lost_answer(stage: Stage, delay: float) -> str:
    """It comes again until its ACK is there."""
    stage.lose_for(delay, "200 INVITE", stage.actor)
    _dial(stage)
    return _talk_and_hang_up(stage, "talked")


@race("3261, 17.1.1", "INVITE lost for a while", delays=sweep(0.0, 15.0, 1.0), outcomes=("talked",))
def lost_invite(stage: Stage, delay: float) -> str:
    """It is sent again until something comes back, and the callee is called once."""
    stage.lose_for(delay, "INVITE", stage.actor)
    _dial(stage)
    stage.run(20.0)
    stage.expect(len(stage.callee.lines) == 1, f"the callee was called {len(stage.callee.lines)} times")
    return _talk_and_hang_up(stage, "talked")


@race("3261, 17.1.2", "BYE lost for a while", delays=sweep(0.0, 28.0, 2.0), outcomes=("ended",))
def lost_bye(stage: Stage, delay: float) -> str:
    """It is sent again until its 200 is there; the other leg does not wait for that."""
    stage.talk()
    stage.lose_for(delay, "BYE", stage.actor)
    stage.other.line.bye()
    stage.run(40.0)
    stage.expect(stage.other.line.results == ["BYE 200"], f"BYE got {stage.other.line.results}")
    stage.expect(stage.actor.line.ended_by == "them", "the other end was not told")
    return "ended"


@race("3261, 17.1.2", "200 to BYE lost for a while", delays=sweep(0.0, 28.0, 2.0), outcomes=("ended",))
def lost_answer_to_bye(stage: Stage, delay: float) -> str:
    """The BYE that comes again gets it again, though the dialog is over."""
    stage.talk()
    stage.lose_for(delay, "200 BYE", stage.actor)
    stage.actor.line.bye()
    stage.run(40.0)
    stage.expect(stage.actor.line.results == ["BYE 200"], f"BYE got {stage.actor.line.results}")
    stage.expect(stage.other.line.ended_by == "them", "the other end was not told")
    return "ended"


@race("3261, 9", "CANCEL lost for a while", delays=sweep(0.0, 28.0, 2.0), outcomes=("caller 487, callee 487",))
def lost_cancel(stage: Stage, delay: float) -> str:
    """It is sent again until its 200 is there, and the phone stops ringing."""
    stage.ring()
    stage.lose_for(delay, "CANCEL", stage.actor)
    stage.caller.line.cancel()
    stage.run(60.0)
    return f"caller {stage.caller.line.status}, callee {stage.callee.line.status}"


@race("3261, 17.2.1", "487 lost for a while", delays=sweep(0.0, 28.0, 2.0), outcomes=("caller 487, callee 487",))
def lost_refusal(stage: Stage, delay: float) -> str:
    """It is sent again until its ACK is there."""
    stage.ring()
    stage.lose_for(delay, "487 INVITE", stage.actor)
    stage.caller.line.cancel()
    stage.run(60.0)
    return f"caller {stage.caller.line.status}, callee {stage.callee.line.status}"


@race("3261, 14, 17", "nothing passes for 0.7 s, at any time of a call", delays=sweep(0.0, 5.0, 0.1), outcomes=(
    "ended",
))  # fmt: skip
def dead_spell(stage: Stage, delay: float) -> str:
    """Whatever it hits is repeated: the call is answered, put on hold, resumed by the other end, and ended."""
    stage.at(delay, stage.lose_for, 0.7, "*", stage.actor)
    stage.when_called((0.5, Line.ring), (1.0, Line.answer))
    line = stage.caller.call("bob")
    stage.at(2.0, line.change, is_holding=True)
    stage.at(3.0, lambda: stage.callee.line.change("UPDATE", port=42000))
    stage.run(15.0)
    stage.expect_agreement()
    stage.expect(line.wish.is_holding and stage.callee.line.wish.port == 42000, "a change was not made")
    line.bye()
    stage.run(5.0)
    stage.expect(stage.callee.line.ended_by == "them", "the callee was not told")
    return "ended"


@race("3261, 14, 15, 17", "nothing passes for 0.7 s while it is hung up", delays=sweep(0.0, 2.0, 0.1), outcomes=(
    "ended",
))  # fmt: skip
def dead_spell_at_the_end(stage: Stage, delay: float) -> str:
    """The change and the BYE that meet it are repeated, and the call ends on both legs."""
    stage.talk()
    stage.at(delay, stage.lose_for, 0.7, "*", stage.actor)
    stage.at(0.5, stage.actor.line.change, is_holding=True)
    stage.at(1.3, stage.other.line.bye)
    stage.run(45.0)
    stage.expect("BYE 200" in stage.other.line.results, f"BYE got {stage.other.line.results}")
    return "ended"


@race("3261, 17, 12.2.2", "everything comes twice", delays=_REPEATED, outcomes=("ended",))
def everything_twice(stage: Stage, delay: float) -> str:
    """Each message of the leg comes once more, so much later: nothing is done twice, and nothing is taken back."""
    stage.repeat("*", stage.actor, delay, times=10_000)
    stage.when_called((0.5, Line.ring), (1.0, Line.answer))
    line = stage.caller.call("bob")
    stage.at(2.0, line.change, is_holding=True)
    stage.at(3.0, lambda: stage.callee.line.change("UPDATE", port=42000))
    stage.at(3.5, line.change, is_holding=False)
    stage.run(15.0)
    stage.expect_agreement()
    stage.expect(len(stage.callee.lines) == 1, "the callee was called twice")
    stage.expect([one for one in line.results if one.endswith(" 200")] == ["INVITE 200"] * 2, f"{line.results}")
    line.bye()
    stage.run(10.0)
    stage.expect(stage.callee.line.ended_by == "them", "the callee was not told")
    return "ended"


@race("3261, 17, 9", "everything of a CANCEL comes twice", delays=_REPEATED, outcomes=("caller 487, callee 487",))
def cancel_twice(stage: Stage, delay: float) -> str:
    """Each message of the leg comes once more, so much later: the call is cancelled, once."""
    stage.repeat("*", stage.actor, delay, times=10_000)
    stage.when_called((0.5, Line.ring))
    line = stage.caller.call("bob")
    stage.at(2.0, line.cancel)
    stage.run(15.0)
    stage.expect(len(stage.callee.lines) == 1, "the callee was called twice")
    return f"caller {line.status}, callee {stage.callee.line.status}"


@race("3261, 13.2.2; 17.1.1.2", "180 comes after the 200", delays=sweep(0.0, 1.5, 0.1), outcomes=("talked",))
def late_ringing(stage: Stage, delay: float) -> str:
    """It changes nothing any more."""
    stage.hold_back("180 INVITE", stage.actor, delay)
    stage.when_called((0.0, Line.ring), (0.3, Line.answer))
    stage.caller.call("bob")
    return _talk_and_hang_up(stage, "talked")


@race("6337, 2.1; 3261, 13.2.2", "183 with media comes after the 200", delays=sweep(0.0, 1.5, 0.1), outcomes=(
    "talked",
))  # fmt: skip
def late_early_media(stage: Stage, delay: float) -> str:
    """What it says of the media is no answer, and changes nothing any more."""
    stage.hold_back("183 INVITE", stage.actor, delay)
    stage.when_called((0.0, lambda line: line.ring(183, has_media=True)), (0.3, Line.answer))
    stage.caller.call("bob")
    return _talk_and_hang_up(stage, "talked")


@race("3261, 16.7; 17.1.1", "486 and 180 change places", delays=sweep(0.0, 1.5, 0.1), outcomes=(
    "caller 486, callee 486",
))  # fmt: skip
def late_ringing_of_a_refusal(stage: Stage, delay: float) -> str:
    """The refusal stands."""
    stage.hold_back("180 INVITE", stage.actor, delay)
    stage.when_called((0.0, Line.ring), (0.3, Line.refuse))
    stage.caller.call("bob")
    stage.run(20.0)
    return f"caller {stage.caller.line.status}, callee {stage.callee.line.status}"


FLOWS: tuple[Flow, ...] = (
    lost_invite,
    lost_answer,
    lost_ack,
    never_acknowledged,
    callee_never_hears_the_ack,
    lost_bye,
    lost_answer_to_bye,
    lost_cancel,
    lost_refusal,
    dead_spell,
    dead_spell_at_the_end,
    everything_twice,
    cancel_twice,
    late_ringing,
    late_early_media,
    late_ringing_of_a_refusal,
)
