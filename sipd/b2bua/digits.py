"""Digits that cross between two legs in another way than they come: telephone events and INFO (RFC 4733, RFC 6086).

Nothing here touches the digits of a leg whose peer wants them as they come (lesson 39).

A phone may send each digit both ways. It counts once: what comes the second way within two seconds, and is the same
digit, is not passed on. To be able to do that where a leg wants telephone events, those of a phone that sends INFO are
taken out of its media with its first INFO, and sent from here like the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from sipd.interfaces import Dtmf
from sipd.sip.digit_info import RELAY, read_digit, write_digit
from sipd.sip.headers import Fields, Headers
from sipd.sip.message import Request

if TYPE_CHECKING:
    from sipd.b2bua.bridge import Bridge
    from sipd.b2bua.infos import Infos
    from sipd.b2bua.leg import Leg
    from sipd.ua.requesting import Requesting

#: Digits that may wait until the ones before them are answered.
MAX_PENDING = 32
#: Seconds within which the same digit in both ways is one.
_SAME = 2.0
#: Digits that are remembered for that; nobody presses more within that time.
_REMEMBERED = 64
#: Shared by all calls whose digits cross as they come, which are nearly all.
_NO_NAMES: frozenset[str] = frozenset()


class DigitInfo:
    """An INFO that says a digit, as the other leg might have sent it. Nobody waits for its answer.

    Args:
        leg: who is told.
        digit: which.
    """

    __slots__ = ("_is_done", "_leg", "request")

    def __init__(self, leg: Leg, digit: str) -> None:
        self.request = Request(
            "INFO",
            "sip:digit.invalid",
            Headers([("Content-Type", RELAY)]),
            write_digit(digit),
        )
        self._leg = leg
        self._is_done = False

    @property
    def is_answered(self) -> bool:
        """Whether nothing more is to be done."""
        return self._is_done or not self._leg.is_live

    def answer(self, status: int, reason: str | None = None, headers: Fields = (), body: bytes = b"") -> None:
        """Take the answer."""
        self._is_done = True


class Digits:
    """The digits of one call.

    Args:
        bridge: the call.
        infos: gives what carries requests of a leg to the other one.
    """

    def __init__(self, bridge: Bridge, infos: Callable[[Leg], Infos]) -> None:
        self._bridge = bridge
        self._infos = infos
        #: Whom each leg talks with, by its name, if that wants digits in a certain way.
        self._peers: dict[str, Leg] = {}
        self._legs: dict[str, Leg] = {}
        self._taken = _NO_NAMES
        self._is_listening = False
        #: What each leg has said lately: the digit, whether by INFO, when.
        self._lately: dict[str, deque[tuple[str, bool, float]]] = {}
        self._pending: list[DigitInfo] = []

    def arrange(self, one: Leg, other: Leg) -> None:
        """Take note of who talks with whom from now on."""
        pairs = ((one, other), (other, one))
        self._peers = {leg.name: peer for leg, peer in pairs if peer.dtmf is not Dtmf.PASS}
        if not self._peers and not self._is_listening:
            return
        self._legs = {leg.name: leg for leg, _ in pairs}
        taken = frozenset([name for name, peer in self._peers.items() if peer.dtmf is Dtmf.INFO])
        self._is_listening = bool(self._peers)
        media = self._bridge.media
        for name in taken - self._taken:
            media.take_events(name)
        for name in self._taken - taken:
            media.pass_events(name)
        self._taken = taken
        media.on_digit = self._heard if self._peers else None

    def take(self, leg: Leg, requesting: Requesting) -> bool:
        """Take an INFO of a leg that says a digit; ``False`` if it has to cross as it is."""
        peer = self._peers.get(leg.name)
        read = None if peer is None else read_digit(requesting.request)
        if peer is None or read is None:
            return False
        digit, duration = read
        if not self._is_new(leg, digit, by_info=True):
            requesting.answer(200)
            return True
        if peer.dtmf is Dtmf.INFO:
            return False
        if not self._bridge.media.send_digit(peer.name, digit, duration):
            return False
        if leg.name not in self._taken:
            self._taken |= {leg.name}
            self._bridge.media.take_events(leg.name)
            self._bridge.explain("dtmf", "INFO becomes telephone events", peer.name)
        requesting.answer(200)
        return True

    def _heard(self, name: str, digit: str) -> None:
        """A leg has sent a telephone event."""
        peer, leg = self._peers.get(name), self._legs.get(name)
        if peer is None or leg is None or not leg.is_live or not self._is_new(leg, digit, by_info=False):
            return
        if peer.dtmf is Dtmf.INFO:
            self._tell(leg, peer, digit)
        elif name in self._taken and not self._bridge.media.send_digit(peer.name, digit):
            self._bridge.explain("dtmf", "a telephone event could not be sent", peer.name)

    def _tell(self, leg: Leg, peer: Leg, digit: str) -> None:
        """Send an INFO, in its turn."""
        self._pending = [info for info in self._pending if not info.is_answered]
        if len(self._pending) >= MAX_PENDING:
            self._bridge.explain("dtmf", f"a digit is lost: {MAX_PENDING} wait for their answers", peer.name)
            return
        info = DigitInfo(peer, digit)
        self._pending.append(info)
        self._infos(leg).take(info)

    def _is_new(self, leg: Leg, digit: str, *, by_info: bool) -> bool:
        """Say whether that digit has not come the other way already; one stands for one."""
        now = self._bridge.b2bua.agent.clock.seconds()
        lately = self._lately.setdefault(leg.name, deque(maxlen=_REMEMBERED))
        while lately and not 0.0 <= now - lately[0][2] < _SAME:
            lately.popleft()
        for entry in lately:
            if entry[0] == digit and entry[1] is not by_info:
                lately.remove(entry)
                return False
        lately.append((digit, by_info, now))
        return True
