"""Session timers: RFC 4028. One side refreshes the session at half of its interval; if that fails, it ends.

`SessionTimer` negotiates in each INVITE and UPDATE of an established session, on both sides, and says when to refresh
and when it is over. How to refresh, by UPDATE or by re-INVITE, is the caller's choice (section 7.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sipd.errors import ParseError, RequestRefusedError
from sipd.sip.glare import retry_after_of
from sipd.sip.grammar import WHITESPACE, parse_number, parse_parameters
from sipd.sip.machine import Machine, StartTimer, StopTimers, table
from sipd.sip.message import Request, Response

#: The option tag, in lower case.
EXTENSION = "timer"
#: What nobody's Min-SE may be lower than, and what it is where nobody says so (section 5).
LOWEST_MINIMUM = 90
#: How often one refresh, or a first INVITE that is answered 422, is tried again.
RETRY_LIMIT = 3

Fields = tuple[tuple[str, str], ...]


class Refresher(Enum):
    """Who refreshes: the sender of the request that says so, or its receiver."""

    UAC = "uac"
    UAS = "uas"

    __hash__ = object.__hash__


_REFRESHERS = {refresher.value: refresher for refresher in Refresher}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionExpires:
    """A Session-Expires value (section 4).

    Args:
        interval: seconds, 1 to 2**32-1.
        refresher: who refreshes, or ``None`` where that is left open.
    """

    interval: int
    refresher: Refresher | None = None

    @classmethod
    def parse(cls, text: str) -> SessionExpires:
        """Parse ``1800;refresher=uac``. Other parameters are ignored, as is a refresher that is neither.

        Raises:
            ParseError: it is not that, or the interval is 0.
        """
        number, _, parameters = text.partition(";")
        interval = parse_number(number.strip(WHITESPACE), "Session-Expires")
        if not interval:
            raise ParseError("Session-Expires is 0")
        refresher = (parse_parameters(parameters).get("refresher") or "").lower()
        return cls(interval=interval, refresher=_REFRESHERS.get(refresher))

    def __str__(self) -> str:
        return str(self.interval) if self.refresher is None else f"{self.interval};refresher={self.refresher.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTimerPolicy:
    """What a leg wants.

    Args:
        interval: seconds to ask for, or ``None`` to ask for no timer and only keep to what the peer asks for.
        minimum: seconds; a shorter interval is refused with 422. Not below 90, but for tests.
        refresher: whom a first INVITE names; ``None``, to name nobody, is what every peer takes well. As the one who
            answers, this side refreshes where the peer leaves it open.
    """

    interval: int | None = 1800
    minimum: int = LOWEST_MINIMUM
    refresher: Refresher | None = None


class State(Enum):
    """Where the timer of a session stands."""

    OFF = "no timer"
    OURS = "this side refreshes"
    THEIRS = "the peer refreshes"
    REFRESHING = "a refresh is under way"
    BACKING_OFF = "a refresh has to wait"
    EXPIRED = "expired"

    __hash__ = object.__hash__


class Event(Enum):
    """What happens to it; `REFRESH`, `RETRY` and `EXPIRY` are timers."""

    NOT_AGREED = "a refresh request was accepted without a timer"
    OURS = "one was accepted, and this side refreshes"
    THEIRS = "one was accepted, and the peer refreshes"
    AGAIN = "the refresh is to be tried again at once"
    PENDING = "the refresh is to be tried again later"
    REFUSED = "the refresh was refused"
    GONE = "the peer knows nothing of the session, or does not answer"
    CLOSE = "the session is over"
    REFRESH = "half of the interval is over"
    RETRY = "the refresh may be tried again"
    EXPIRY = "no refresh in time"

    __hash__ = object.__hash__


@dataclass(slots=True)
class Refresh:
    """Send UPDATE if the peer allows it, else a re-INVITE, with `SessionTimer.request_fields`.

    If another change is under way nothing has to be sent: it refreshes the session, too. Feed `PENDING` then.
    """


@dataclass(slots=True)
class Expire:
    """End the session with BYE; `reason` is one line for a person and for the Reason field."""

    reason: str


Effect = StartTimer | StopTimers | Refresh | Expire
Effects = tuple[Effect, ...]


class SessionTimer(Machine[State]):
    """The session timer of one leg.

    Put `request_fields` into each INVITE and UPDATE that is sent, beside ``Supported: timer``; call `answered` with its
    2xx, `refused` or `Event.GONE` else. Call `check` with each that is received, and `answer` for its 2xx. An UPDATE
    before the session is established is no refresh.

    Args:
        policy: what this leg wants.

    Attributes:
        interval: seconds, as agreed on; ``None`` while there is no timer.
    """

    __slots__ = ("_attempts", "_minimum", "interval", "policy")

    def __init__(self, policy: SessionTimerPolicy) -> None:
        super().__init__(State.OFF)
        self.policy = policy
        self.interval: int | None = None
        #: The largest Min-SE heard in this session, 0 if there was none (section 7.4).
        self._minimum = 0
        self._attempts = 0

    @property
    def is_refresher(self) -> bool:
        """Whether there is a timer, and this side refreshes."""
        return self.state in (State.OURS, State.REFRESHING, State.BACKING_OFF)

    def request_fields(self) -> Fields:
        """Give what to put into an INVITE or UPDATE: Session-Expires, and Min-SE if there is a reason for it.

        A first INVITE names no refresher, unless that is configured; later requests name the one there is, so that the
        roles stay as they are (section 7.4).
        """
        minimum = max(self._minimum, self.policy.minimum)
        fields: Fields = (("Min-SE", str(minimum)),) if self._minimum or minimum > LOWEST_MINIMUM else ()
        wanted = self.interval or self.policy.interval
        if wanted is None:
            return fields
        if self.state is State.OFF:
            refresher = self.policy.refresher
        else:
            refresher = Refresher.UAC if self.is_refresher else Refresher.UAS
        value = SessionExpires(interval=max(wanted, minimum), refresher=refresher)
        return (("Session-Expires", str(value)), *fields)

    def answered(self, response: Response) -> Effects:
        """Take the 2xx to an INVITE or UPDATE of this side (section 7.2).

        Without Session-Expires, or with one that nobody can read, there is no timer any more. Where no refresher is
        named it is this side: then nothing can go wrong.
        """
        text = response.headers.get("Session-Expires")
        try:
            agreed = None if text is None else SessionExpires.parse(text)
        except ParseError:
            agreed = None
        if agreed is None:
            return self._agree(None, Event.NOT_AGREED)
        event = Event.THEIRS if agreed.refresher is Refresher.UAS else Event.OURS
        return self._agree(max(agreed.interval, self.policy.minimum), event)

    def refused(self, response: Response, delay: float) -> Effects:
        """Take the refusal of an INVITE or UPDATE of this side in an established session (section 7.4).

        Args:
            response: 300 to 699. 408 and 481 end the session; 422 and, of a peer that does not know UPDATE, 405 and 501
                are tried again at once, 491 after ``delay``, and what has a Retry-After after that. Others leave
                the session as it is until it expires.
            delay: the back-off for 491 (`sipd.sip.glare`).
        """
        status = response.status
        if status in (408, 481):
            return self.feed(Event.GONE, f"{status} {response.reason}")
        wait = delay if status == 491 else retry_after_of(response)
        if self.state is State.REFRESHING:
            if status == 422 and self.may_retry(response):
                return self.feed(Event.AGAIN)
            if status in (405, 491, 501) or wait is not None:
                self._attempts += 1
                if self._attempts <= RETRY_LIMIT:
                    return self.feed(Event.AGAIN) if wait is None else self.feed(Event.PENDING, wait)
        return self.feed(Event.REFUSED)

    def may_retry(self, response: Response) -> bool:
        """Take a 422; say whether to send the request again, with what `request_fields` gives now (section 7.3).

        Not without a Min-SE in it that asks for more, and not more than `RETRY_LIMIT` times.
        """
        try:
            minimum = _min_se(response)
        except ParseError:
            return False
        self._attempts += 1
        asked = max(self.interval or self.policy.interval or 0, self._minimum, self.policy.minimum)
        self._minimum = max(self._minimum, minimum)
        return minimum > asked and self._attempts <= RETRY_LIMIT

    def check(self, request: Request) -> None:
        """Look at an INVITE or UPDATE of the peer before anything is done for it (section 9).

        Raises:
            RequestRefusedError: 422 with Min-SE: the interval is too short, and the peer can choose another one.
            ParseError: Session-Expires or Min-SE is malformed: 400.
        """
        asked = _session_expires(request)
        self._minimum = max(self._minimum, _min_se(request))
        if asked is not None and asked.interval < self.policy.minimum and _supports(request):
            raise RequestRefusedError(
                "Session Interval Too Small", status=422, headers=(("Min-SE", str(self.policy.minimum)),)
            )

    def answer(self, request: Request) -> tuple[Fields, Effects]:
        """Take an INVITE or UPDATE of the peer that is accepted now (section 9, table 2).

        Returns:
            What to put into its 2xx, and effects. A peer without session timers never refreshes; where somebody on the
            way asked for a timer all the same, this side does.

        Raises:
            ParseError: as for `check`, which comes first.
        """
        asked, supports = _session_expires(request), _supports(request)
        wanted = self.policy.interval
        if asked is None and (wanted is None or not supports):
            # A timer of this side's own would have a peer refreshed that does not know why.
            return (), self._agree(None, Event.NOT_AGREED)
        # Not more than was asked for, but never less than either side's minimum (RFC 4028 erratum 1687).
        lowest = max(self._minimum, self.policy.minimum)
        interval = max(wanted or 0, lowest)
        if asked is not None:
            interval = max(asked.interval if wanted is None else min(asked.interval, interval), self.policy.minimum)
        refresher = self._choose_refresher(asked, supports)
        fields: Fields = (("Session-Expires", str(SessionExpires(interval=interval, refresher=refresher))),)
        if supports:
            fields = (*fields, ("Require", EXTENSION))
        return fields, self._agree(interval, Event.OURS if refresher is Refresher.UAS else Event.THEIRS)

    def _choose_refresher(self, asked: SessionExpires | None, supports: bool) -> Refresher:
        if not supports:
            return Refresher.UAS
        if asked is not None and asked.refresher is not None:
            return asked.refresher
        return Refresher.UAC if self.state is State.THEIRS else Refresher.UAS

    def _agree(self, interval: int | None, event: Event) -> Effects:
        self.interval = interval
        self._attempts = 0
        return self.feed(event)

    def _expiry(self) -> StartTimer:
        interval = self.interval
        assert interval is not None
        # Section 10: so much before the end that the BYE arrives in time.
        return StartTimer(Event.EXPIRY, interval - min(32.0, interval / 3))

    def _switch_off(self, _: object) -> Effects:
        return (StopTimers(),)

    def _refresh_later(self, _: object) -> Effects:
        expiry = self._expiry()
        assert self.interval is not None
        return (StopTimers(), StartTimer(Event.REFRESH, self.interval / 2), expiry)

    def _watch(self, _: object) -> Effects:
        return (StopTimers(), self._expiry())

    def _refresh(self, _: object) -> Effects:
        return (Refresh(),)

    def _back_off(self, delay: float) -> Effects:
        return (StartTimer(Event.RETRY, delay),)

    def _wait(self, _: object) -> Effects:
        return ()

    def _lose(self, reason: object) -> Effects:
        return (StopTimers(), Expire(f"The session refresh failed: {reason}"))

    def _expire(self, _: object) -> Effects:
        return (StopTimers(), Expire("The session timer expired"))


SessionTimer.TABLE = table(
    *[
        row
        for state in (State.OFF, State.OURS, State.THEIRS, State.REFRESHING, State.BACKING_OFF)
        for row in (
            # any state that is not the last
            (state, Event.NOT_AGREED, State.OFF, SessionTimer._switch_off),
            (state, Event.OURS, State.OURS, SessionTimer._refresh_later),
            (state, Event.THEIRS, State.THEIRS, SessionTimer._watch),
            (state, Event.CLOSE, State.EXPIRED, SessionTimer._switch_off),
        )
    ],
    # state            event           next state         action
    (State.OURS, Event.REFRESH, State.REFRESHING, SessionTimer._refresh),
    (State.OURS, Event.EXPIRY, State.EXPIRED, SessionTimer._expire),
    (State.THEIRS, Event.EXPIRY, State.EXPIRED, SessionTimer._expire),
    (State.REFRESHING, Event.AGAIN, State.REFRESHING, SessionTimer._refresh),
    (State.REFRESHING, Event.PENDING, State.BACKING_OFF, SessionTimer._back_off),
    # Nothing more can be done, but the peer may refresh yet, or a change may do it.
    (State.REFRESHING, Event.REFUSED, State.OURS, SessionTimer._wait),
    (State.REFRESHING, Event.GONE, State.EXPIRED, SessionTimer._lose),
    (State.REFRESHING, Event.EXPIRY, State.EXPIRED, SessionTimer._expire),
    (State.BACKING_OFF, Event.RETRY, State.REFRESHING, SessionTimer._refresh),
    (State.BACKING_OFF, Event.EXPIRY, State.EXPIRED, SessionTimer._expire),
)  # fmt: skip


def _session_expires(request: Request) -> SessionExpires | None:
    text = request.headers.get("Session-Expires")
    return None if text is None else SessionExpires.parse(text)


def _min_se(message: Request | Response) -> int:
    text = message.headers.get("Min-SE")
    return 0 if text is None else parse_number(text.partition(";")[0].strip(WHITESPACE), "Min-SE")


def _supports(request: Request) -> bool:
    return any(tag.lower() == EXTENSION for name in ("Supported", "Require") for tag in request.headers.values(name))
