"""Sessions in which anything may be asked at any time, by either side: all is answered, and nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sipd.errors import InvalidStateError
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.ua.events import Referred, Requested, Updated
from sipd.ua.incoming import IncomingCall
from sipd.ua.referring import Referring
from sipd.ua.requesting import Requesting
from sipd.ua.session import Session
from sipd.ua.updating import Updating
from tests.ua.support import THEM, US, AgentCase

SDP = builders.sdp(THEM)
SDP_TYPE = (("Content-Type", "application/sdp"),)
ALLOW = ("Allow", "INVITE, ACK, BYE, CANCEL, PRACK, UPDATE, REFER, NOTIFY")

#: What the peer does: a method, more header fields, a body.
PEER: dict[str, tuple[str, tuple[tuple[str, str], ...], bytes]] = {
    "offer": ("UPDATE", SDP_TYPE, SDP),
    "refresh": ("UPDATE", (), b""),
    "re-invite": ("INVITE", SDP_TYPE, SDP),
    "refer": ("REFER", (("Refer-To", "<sip:carol@example.com>"),), b""),
    "quiet refer": ("REFER", (("Refer-To", "<sip:carol@example.com>"), ("Refer-Sub", "false")), b""),
    "notify": ("NOTIFY", (("Event", "refer"), ("Subscription-State", "active")), b"SIP/2.0 180 Ringing\r\n"),
    "last notify": ("NOTIFY", (("Event", "refer"), ("Subscription-State", "terminated")), b"SIP/2.0 200 OK\r\n"),
    "subscribe": ("SUBSCRIBE", (("Event", "refer"), ("Expires", "60")), b""),
    "unsubscribe": ("SUBSCRIBE", (("Event", "refer"), ("Expires", "0")), b""),
    "info": ("INFO", (), b"x"),
    "bye": ("BYE", (), b""),
}
#: What the user of the session does.
USER: dict[str, Callable[[HistoryTests], object]] = {
    "ring": lambda case: case.call.ring(183, headers=SDP_TYPE, body=SDP),
    "accept": lambda case: case.call.accept(SDP_TYPE, SDP),
    "update": lambda case: case.call.update(SDP_TYPE, SDP),
    "reinvite": lambda case: case.call.reinvite(SDP_TYPE, SDP),
    "transfer": lambda case: case.call.refer("<sip:carol@example.com>"),
    "take": lambda case: case.decide(refuses=False),
    "refuse": lambda case: case.decide(refuses=True),
    "progress": lambda case: case.tell("progress", 180),
    "finish": lambda case: case.tell("finish", 200),
    "hang up": lambda case: case.call.hang_up(),
}
#: How it begins, so that more of what follows means something.
BEGINNINGS = st.sampled_from(
    [(), ("accept",), ("ring",), ("ring", "offer"), ("accept", "refer", "take"), ("accept", "transfer"),
     ("accept", "refer", "take", "bye"), ("accept", "refer", "take", "hang up")]
)  # fmt: skip
ACTIONS = st.lists(st.sampled_from([*PEER, *USER]), max_size=14)
#: How the peer answers: 0 is not at all.
ANSWERS = st.lists(st.sampled_from([200, 200, 200, 481, 488, 491, 0]), min_size=1, max_size=6)


class HistoryTests(AgentCase):
    """A call that comes in, from a peer that supports everything."""

    call: IncomingCall

    def _begin(self, answers: list[int], *, pracks_offer: bool) -> None:
        self.setUp()
        self.agent.settings = replace(self.agent.settings, takes_referrals=True)
        self._answers: Iterator[int] = cycle(answers)
        self._pracks_offer = pracks_offer
        self._cseq = 1
        self._asked: dict[tuple[int, str], list[int]] = {}
        self._acknowledged: set[str] = set()
        self._notifies: dict[str, int] = {}
        self._waiting: list[Requesting] = []
        self._referrings: list[Referring] = []
        self.user.on_event = self._told
        self.call = self.offered(headers=[("Supported", "100rel"), ALLOW])
        self.call.takes_early_updates = True
        self._asked[1, "INVITE"] = []

    def _told(self, session: Session) -> None:
        event: Any = self.user.events[-1]
        if isinstance(event, Updated):
            self._waiting.append(event.updating)
        elif isinstance(event, Referred):
            self._waiting.append(event.referring)
            self._referrings.append(event.referring)
        elif isinstance(event, Requested):
            self._waiting.append(event.requesting)

    def decide(self, *, refuses: bool) -> None:
        """Answer what has waited for the longest time; a re-INVITE if there is nothing else."""
        if not self._waiting:
            answering = self.call.answering
            if answering is not None and answering.request is not self.call.invite:
                answering.reject(488) if refuses else answering.accept(SDP_TYPE, SDP)
            return
        one = self._waiting.pop(0)
        if refuses:
            one.answer(403) if not isinstance(one, Updating) else one.reject(488)
        elif isinstance(one, Updating):
            one.accept(SDP_TYPE, SDP)
        elif isinstance(one, Referring):
            one.accept()
        else:
            one.answer(200)

    def tell(self, what: str, status: int) -> None:
        """Tell how the last referred request fares."""
        if self._referrings:
            getattr(self._referrings[-1], what)(status, "So")

    def _say(self, method: str, fields: tuple[tuple[str, str], ...], body: bytes) -> None:
        self._cseq += 1
        tag = self.call.local_tag
        request = builders.request(
            method, f"sip:bob@{US}", call_id=self.invite.call_id, from_tag=self.invite.from_.tag or "", to_tag=tag,
            cseq=self._cseq, branch=f"z9hG4bK-{self._cseq}", via=THEM, contact=f"<sip:alice@{THEM}>",
            headers=[ALLOW, *fields],
        )  # fmt: skip
        self._asked[self._cseq, method] = []
        self.them.send(Request(method, request.uri_text, request.headers, body))

    def _hear(self) -> None:
        """Answer what came, and acknowledge what is to be acknowledged."""
        for message in self.them.take():
            if isinstance(message, Request):
                status = next(self._answers) if message.method != "BYE" else 200
                if message.method == "NOTIFY":
                    self._check_order(message, is_answered=bool(status))
                if message.method != "ACK" and status:
                    headers = [ALLOW] if status == 200 else []
                    self.them.send(builders.response(message, status, headers=headers, contact=f"<sip:alice@{THEM}>"))
                continue
            if message.status >= 200:
                statuses = self._asked[message.cseq.number, message.cseq.method]
                if message.status not in statuses:
                    statuses.append(message.status)
            self._acknowledge(message)

    def _check_order(self, notify: Request, *, is_answered: bool) -> None:
        """Check that no NOTIFY comes while another one of its subscription waits for its answer."""
        event, number = notify.headers.get("Event") or "", notify.cseq.number
        self.assertEqual(self._notifies.get(event, number), number)
        if is_answered:
            self._notifies.pop(event, None)
        else:
            self._notifies[event] = number

    def _acknowledge(self, response: Response) -> None:
        rseq = response.headers.get("RSeq")
        if rseq is not None and rseq not in self._acknowledged:
            self._acknowledged.add(rseq)
            body = SDP if self._pracks_offer else b""
            self._say("PRACK", (("RAck", f"{rseq} {response.cseq}"), *(SDP_TYPE if body else ())), body)
        elif response.cseq.method == "INVITE" and response.status >= 200:
            number = response.cseq.number
            to_tag = response.to.tag
            branch = f"z9hG4bK-{number}" if response.status >= 300 else f"z9hG4bK-ack{number}"
            if number == 1 and response.status >= 300:
                branch = self.invite.via.branch or ""
            self.them.send(
                builders.request(
                    "ACK", f"sip:bob@{US}", call_id=response.call_id, from_tag=response.from_.tag or "",
                    to_tag=to_tag, cseq=number, branch=branch, via=f"{THEM}:5060" if number == 1 else THEM,
                )
            )  # fmt: skip

    @settings(deadline=None, max_examples=150)
    @given(begins=BEGINNINGS, goes_on=ACTIONS, answers=ANSWERS, pracks_offer=st.booleans())
    def test_everything_is_answered(
        self, begins: tuple[str, ...], goes_on: list[str], answers: list[int], pracks_offer: bool
    ) -> None:
        """Each request of the peer gets one final response; after the call there is no dialog, timer or transaction."""
        self._begin(answers, pracks_offer=pracks_offer)
        actions = (*begins, *goes_on)
        for action in actions:
            if action in PEER:
                self._say(*PEER[action])
            else:
                try:
                    USER[action](self)
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
        self.settle()
        self.assertEqual(self.clock.getDelayedCalls(), [])
