"""Subscriptions: a user's SUBSCRIBE is served from what is known here, or carried to whom it is for (RFC 6665).

Who may watch is asked before anything else: a watcher proves who it is as a caller does. What leads to a user of ours
and is of a package that is served here (`sipd.watching.packages`) is served; everything else goes where a call would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted.logger import Logger
from zope.interface import implementer

from sipd.b2bua.outside import OutsideRequests, peer_of, status_of
from sipd.b2bua.refusals import Refusal
from sipd.errors import ParseError, RemoteError, RequestRefusedError
from sipd.interfaces import IRequestHandler, IServerTransaction, Route
from sipd.sip.event_requests import ExpiryBounds, accepts, event_of
from sipd.sip.grammar import printable
from sipd.sip.headers import Fields
from sipd.sip.refer import SubscriptionState
from sipd.watching.carrying import Carried
from sipd.watching.packages import user_of
from sipd.watching.serving import Served

if TYPE_CHECKING:
    from sipd.b2bua.service import B2bua
    from sipd.watching.interfaces import IEventPackage


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSettings:
    """The bounds of subscriptions.

    Args:
        expiry: how long they live.
        max_subscriptions: at a time; one more is refused with 503.
        max_per_user: the same for one user, or one address where nobody proved who they are.
        notify_interval: seconds between two NOTIFY of one that is served.
    """

    expiry: ExpiryBounds = field(default_factory=ExpiryBounds)
    max_subscriptions: int = 10_000
    max_per_user: int = 200
    notify_interval: float = 1.0


@dataclass(slots=True, kw_only=True)
class Story:
    """What will be said of a subscription when it is over.

    Args:
        watcher: who subscribes.
        target: what is watched.
        package: the event package.
        holder: the user, or the address, that it counts for.
        call_id: of the watcher's dialog.
        peer: where it came from.
        began_at: seconds.
        how: ``served``, ``carried``, or ``refused``.
        steps: how it came to where it went.
        notifications: how many were sent to the watcher.
    """

    watcher: str
    target: str
    package: str
    holder: str
    call_id: str
    peer: str
    began_at: float
    how: str = "refused"
    steps: list[str] = field(default_factory=list)
    notifications: int = 0


@implementer(IRequestHandler)
class Subscriptions(OutsideRequests):
    """Takes each SUBSCRIBE that comes from outside of a dialog.

    Args:
        b2bua: whose user agent, router and authenticator serve subscriptions, too.
        packages: what is served here, by name.
        settings: the bounds.
    """

    _log = Logger()

    what = "subscription"

    def __init__(
        self,
        b2bua: B2bua,
        *,
        packages: Mapping[str, IEventPackage],
        settings: SubscriptionSettings | None = None,
        max_pending: int = 1000,
    ) -> None:
        super().__init__(b2bua, max_pending=max_pending)
        self.settings = settings if settings is not None else SubscriptionSettings()
        self._packages = packages
        self._held: dict[Served | Carried, None] = {}
        self._of_holder: dict[str, set[Served | Carried]] = {}

    def __len__(self) -> int:
        """How many subscriptions there are, those that are asked for or being ended included."""
        return len(self._held)

    def stop(self, text: str) -> None:
        """Take no more, and end all: the watchers are told to come back in a while."""
        self._is_draining = True
        retry_after = self.b2bua.settings.retry_after
        state = SubscriptionState(state="terminated", reason="probation", retry_after=retry_after)
        for subscription in list(self._held):
            subscription.stop(state, text)

    def close(self) -> None:
        """Forget all at once, without a word to anybody."""
        for subscription in list(self._held):
            subscription.close()
        self._held.clear()
        self._of_holder.clear()

    # --- for those that are held ------------------------------------------------------------------------------

    def hold(self, subscription: Served | Carried) -> None:
        """Count it, until it has ended."""
        self._held[subscription] = None
        self._of_holder.setdefault(subscription.story.holder, set()).add(subscription)

    def ended(self, subscription: Served | Carried, text: str) -> None:
        """Forget it, and say what there is to be said."""
        self._held.pop(subscription, None)
        holder = subscription.story.holder
        mine = self._of_holder.get(holder, set())
        mine.discard(subscription)
        if not mine:
            self._of_holder.pop(holder, None)
        self._explain(subscription.story, text)

    # --- one SUBSCRIBE --------------------------------------------------------------------------------------

    async def take(self, transaction: IServerTransaction) -> None:
        """See `OutsideRequests`."""
        request = transaction.request
        story = Story(
            watcher=str(request.from_.uri),
            target=request.uri_text,
            package="",
            holder=transaction.flow.host,
            call_id=request.call_id,
            peer=peer_of(transaction),
            began_at=self.b2bua.agent.clock.seconds(),
        )
        headers: Fields = ()
        try:
            await self._subscribe(transaction, story)
            return
        except RequestRefusedError as error:
            status, reason, headers = error.status, error.reason, error.headers
        except RemoteError as error:
            status, reason = status_of(Refusal.of_own(error))
        self.respond(transaction, status, reason, headers)
        if status not in (401, 407):
            self._explain(story, f"{status} {reason}")

    async def _subscribe(self, transaction: IServerTransaction, story: Story) -> None:
        request = transaction.request
        # First of all, so that the log has no line about strangers.
        user = await self.identify(transaction)
        if user is not None:
            story.holder = user
        story.package = event_of(request, ", ".join(sorted(self._packages))).package
        if not request.contacts:
            raise ParseError("Contact is missing")
        seconds = self.settings.expiry.of(request)
        self._check_room(story.holder)
        route = await self.route(transaction, user)
        story.steps += route.considered
        if self._serve(transaction, story, route, user, seconds):
            return
        route.check()
        identities = self.identities(transaction, user)
        await Carried(self, transaction, story, seconds, identities).begin(route.rounds)

    def _serve(
        self, transaction: IServerTransaction, story: Story, route: Route, user: str | None, seconds: int
    ) -> bool:
        """Serve it, if it is for a user of ours and of a package that is known here; say so.

        Raises:
            RequestRefusedError: the watcher may not watch, or cannot read what it would be told.
        """
        package = self._packages.get(story.package)
        if package is None or route.aor is None:
            return False
        if user is None or not package.may_watch(user, user_of(route.aor)):
            raise RequestRefusedError("Not Yours To Watch", status=403)
        served = Served(self, transaction, story)
        watch = package.watch(route.aor, served.changed)
        if watch is None:
            return False
        if not accepts(transaction.request, package.content_type):
            watch.stop()
            raise RequestRefusedError("Not Acceptable", status=406)
        served.begin(watch, seconds)
        return True

    def _check_room(self, holder: str) -> None:
        if len(self._held) >= self.settings.max_subscriptions:
            raise self.too_many("Too Many Subscriptions")
        if len(self._of_holder.get(holder, ())) >= self.settings.max_per_user:
            raise self.too_many("Too Many Subscriptions Of Yours")

    def _explain(self, story: Story, text: str) -> None:
        """Say in one line of the log who watched whom, for how long, and how it ended; not what there was to see."""
        now = self.b2bua.agent.clock.seconds()
        self._log.info(
            "subscription of {watcher} to {package} of {target}, {how}, {notifications} notifications "
            "in {duration:.1f} s: {description}",
            watcher=printable(story.watcher),
            package=printable(story.package or "nothing"),
            target=printable(story.target),
            how=story.how,
            notifications=story.notifications,
            duration=now - story.began_at,
            description=printable("; ".join((text, *story.steps)), 500),
            call_id=story.call_id,
            peer=story.peer,
        )


@implementer(IRequestHandler)
class NoSubscription:
    """Answers each NOTIFY that is in no dialog: it is of a subscription that nobody made (RFC 6665 section 4.1.3)."""

    extensions: frozenset[str] = frozenset()

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IRequestHandler`."""
        transaction.respond(transaction.request.response(481, "Subscription Does Not Exist"))
