"""What a subscription of our own tells, and the notifications of one, to be read one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

from sipd.errors import SubscriptionError
from sipd.sip.message import Request
from sipd.sip.refer import SubscriptionState
from sipd.ua.lease import Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """The notifier has accepted the subscription, for the first time or anew; it lasts for so many seconds."""

    expires: float


class Resubscribed(Subscribed):
    """The same while there was one: it is refreshed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notified:
    """A NOTIFY has come, and is answered.

    Args:
        body: octets; empty where there is no state to be told, or not yet.
        content_type: ``type/subtype`` of the body in lower case; empty where there is none.
        state: of the subscription.
        request: the NOTIFY.
    """

    body: bytes
    content_type: str
    state: SubscriptionState
    request: Request = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapsed:
    """There is no subscription any more, and it is tried to have it anew.

    Args:
        text: why, for a person.
        next_try: in so many seconds; 0 for at once.
    """

    text: str
    next_try: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """It is over for good.

    Args:
        is_confirmed: whether the notifier has said, or was told and has taken it, that it is over.
        error: why, where that was not our own wish.
    """

    is_confirmed: bool
    error: SubscriptionError | None = None


SubscriptionEvent = Subscribed | Resubscribed | Notified | Failed | Lapsed | Ended
Watcher = Callable[[SubscriptionEvent], None]


class Notices:
    """The last notifications of one subscription.

    Args:
        size: that are kept; those before them are missed by who reads more slowly than they come.
    """

    def __init__(self, size: int) -> None:
        self._kept: deque[Notified] = deque(maxlen=size)
        self._count = 0
        self._is_over = False
        self._error: SubscriptionError | None = None
        self._waiting: list[Deferred[None]] = []

    @property
    def newest(self) -> Notified | None:
        """The last one, or ``None``."""
        return self._kept[-1] if self._kept else None

    def put(self, notified: Notified) -> None:
        """Add one."""
        self._kept.append(notified)
        self._count += 1
        self._wake()

    def end(self, error: SubscriptionError | None) -> None:
        """Nothing more will come; `error` says why, where that was nobody's wish here. Idempotent."""
        if not self._is_over:
            self._is_over, self._error = True, error
            self._wake()

    def read(self) -> NotificationIterator:
        """Read from the newest one on."""
        return NotificationIterator(self, max(0, self._count - 1))

    async def next(self, position: int) -> tuple[Notified, int]:
        """Give the one at a position, or the first that is kept after it, and the position of the next one.

        Raises:
            SubscriptionError: none will come, and that was not our wish.
            StopAsyncIteration: none will come.
        """
        while position >= self._count:
            if self._is_over:
                if self._error is not None:
                    raise SubscriptionError(self._error.reason, status=self._error.status)
                raise StopAsyncIteration
            more: Deferred[None] = Deferred(self._not_awaited)
            self._waiting.append(more)
            await more
        first = self._count - len(self._kept)
        position = max(position, first)
        return self._kept[position - first], position + 1

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    def _not_awaited(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)


class NotificationIterator:
    """Gives one notification after the other: ``async for notified in subscription``.

    It begins with the newest one that there is. Of those that come while nobody reads so many are kept as the
    subscription has been told to; the oldest are missed. It ends when the subscription is stopped.

    Raises:
        SubscriptionError: by the next step, where the notifier has ended the subscription for good.
    """

    def __init__(self, notices: Notices, position: int) -> None:
        self._notices = notices
        self._position = position
        self.missed = 0

    def __aiter__(self) -> NotificationIterator:
        return self

    async def __anext__(self) -> Notified:
        notified, position = await self._notices.next(self._position)
        self.missed += position - 1 - self._position
        self._position = position
        return notified
