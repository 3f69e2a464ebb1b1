"""A call that goes out to several callees, who say what they like before and after one of them answers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sipd.errors import InvalidStateError
from sipd.sip.message import Response
from sipd.testing import builders
from sipd.ua.events import Answered, Progressed, Updated
from sipd.ua.outgoing import OutgoingCall
from sipd.ua.session import Session
from sipd.ua.updating import Updating
from tests.ua.support import THEM, US, AgentCase

SDP = builders.sdp(THEM)
SDP_TYPE = (("Content-Type", "application/sdp"),)
ALLOW = ("Allow", "INVITE, ACK, BYE, CANCEL, PRACK, UPDATE")

TAGS = st.sampled_from(["t1", "t2", "t3"])
#: What the callees say: a status of the INVITE, or a method.
SAID = ["180", "183", "183 again", "200", "486", "offer", "refresh", "INFO", "OPTIONS", "BYE"]
#: What the user does.
DONE = ["update", "take", "refuse", "acknowledge", "hang up"]
ACTIONS = st.lists(st.tuples(st.sampled_from([*SAID, *DONE]), TAGS), max_size=16)
#: How the callees answer UPDATE and PRACK: 0 is not at all.
ANSWERS = st.lists(st.sampled_from([200, 200, 200, 481, 488, 491, 0]), min_size=1, max_size=6)


class HistoryTests(AgentCase):
    """Everything at any time."""

    call: OutgoingCall

    def _begin(self, answers: list[int], *, offers: bool) -> None:
        self.setUp()
        self._answers: Iterator[int] = cycle(answers)
        self._cseq = dict.fromkeys(("t1", "t2", "t3"), 0)
        self._rseq = dict.fromkeys(("t1", "t2", "t3"), 0)
        self._asked: dict[tuple[str, int, str], list[int]] = {}
        self._pracks: dict[tuple[str, str], int] = {}
        self._acknowledged: set[str] = set()
        self._waiting: list[Updating] = []
        self._owed: list[Response] = []
        self._answered: set[str] = set()
        self._is_final = False
        self.user.on_event = self._told
        self.call = self.calling(body=SDP if offers else b"", takes_reliable_offer=True)
        self.call.takes_early_updates = True
        self.invite = self.them.request("INVITE")
        self.them.take()

    def _told(self, session: Session) -> None:
        event: Any = self.user.events[-1]
        if isinstance(event, Updated):
            self._waiting.append(event.updating)
        elif isinstance(event, Progressed) and event.owes_prack:
            self._owed.append(event.response)
        elif isinstance(event, Answered) and event.method == "INVITE":
            session.acknowledge(SDP_TYPE, SDP)

    def _do(self, action: str, tag: str) -> None:
        match action:
            case "180":
                self._respond(180, tag)
            case "183":
                self._rseq[tag] += 1
                self._respond(183, tag, self._rseq[tag])
            case "183 again" if self._rseq[tag]:
                self._respond(183, tag, self._rseq[tag])
            case "200" if not self._is_final:
                self._answered.add(tag)
                self._respond(200, tag)
            case "486" if not self._answered:
                self._is_final = True
                self._respond(486, tag)
            case "offer":
                self._say("UPDATE", tag, SDP)
            case "refresh":
                self._say("UPDATE", tag)
            case "INFO" | "OPTIONS":
                self._say(action, tag)
            case "BYE" if tag in self._answered:
                self._say("BYE", tag)
            case "update":
                self.call.update(SDP_TYPE, SDP, tag)
            case "take" if self._waiting:
                self._waiting.pop(0).accept(SDP_TYPE, SDP)
            case "refuse" if self._waiting:
                self._waiting.pop(0).reject(488)
            case "acknowledge" if self._owed:
                self.call.acknowledge_progress(self._owed.pop(0), SDP_TYPE, SDP)
            case "hang up":
                self.call.hang_up()

    def _respond(self, status: int, tag: str, rseq: int | None = None) -> None:
        headers = [ALLOW] if rseq is None else [ALLOW, ("Require", "100rel"), ("RSeq", str(rseq))]
        body = SDP if status in (183, 200) else b""
        contact = f"<sip:bob@{THEM}>"
        self.them.send(
            builders.response(self.invite, status, to_tag=tag, contact=contact, headers=headers, body=body)
        )  # fmt: skip

    def _say(self, method: str, tag: str, body: bytes = b"") -> None:
        self._cseq[tag] += 1
        number = self._cseq[tag]
        self._asked[tag, number, method] = []
        self.them.send(
            builders.request(
                method, f"sip:alice@{US}", call_id=self.invite.call_id, from_tag=tag, to_tag=self.invite.from_.tag,
                cseq=number, branch=f"z9hG4bK-{tag}-{number}", via=THEM, contact=f"<sip:bob@{THEM}>", headers=[ALLOW],
                body=body,
            )
        )  # fmt: skip

    def _hear(self) -> None:
        for message in self.them.take():
            if isinstance(message, Response):
                statuses = self._asked[message.from_.tag or "", message.cseq.number, message.cseq.method]
                if message.status not in statuses:
                    statuses.append(message.status)
                continue
            status = 200
            if message.method == "CANCEL" and not self._answered and not self._is_final:
                self._is_final = True
                self._respond(487, "t1")
            elif message.method == "ACK":
                self._acknowledged.add(message.to.tag or "")
                continue
            elif message.method in ("PRACK", "UPDATE"):
                status = next(self._answers)
            if message.method == "PRACK":
                rack = message.headers.get("RAck") or ""
                number = message.cseq.number
                self.assertEqual(self._pracks.setdefault((message.to.tag or "", rack), number), number)
            if status:
                self.them.send(builders.response(message, status, headers=[ALLOW], contact=f"<sip:bob@{THEM}>"))

    @settings(deadline=None, max_examples=150)
    @given(actions=ACTIONS, answers=ANSWERS, offers=st.booleans())
    def test_everything_is_answered(self, actions: list[tuple[str, str]], answers: list[int], offers: bool) -> None:
        """Each request gets one final response, each 2xx its ACK, each reliable response one PRACK; nothing is left."""
        self._begin(answers, offers=offers)
        for action, tag in actions:
            try:
                self._do(action, tag)
            except InvalidStateError:
                continue
            for _ in range(4):
                self.clock.advance(0.1)
                self._hear()
        self.call.hang_up()
        for _ in range(70):
            self.clock.advance(1.0)
            self._hear()
        for asked, statuses in self._asked.items():
            self.assertEqual(len(statuses), 1, f"{asked}: {statuses} after {actions}")
        self.assertTrue(self._answered <= self._acknowledged, f"{self._answered} after {actions}")
        self.settle()
        self.assertEqual(self.clock.getDelayedCalls(), [])
