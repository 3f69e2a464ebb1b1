"""All that users can watch and publish, put together: packages, states, SUBSCRIBE, PUBLISH, and who may do what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sipd.sip.dialog_documents import DIALOG
from sipd.sip.presence_documents import PIDF, PRESENCE
from sipd.sip.summaries import MESSAGE_SUMMARY, SIMPLE_MESSAGE_SUMMARY
from sipd.watching.lamps import Lamps
from sipd.watching.packages import message_summary, presence
from sipd.watching.publications import Publications, PublishedKind
from sipd.watching.published import PublishedStates
from sipd.watching.subscriptions import NoSubscription, Subscriptions, SubscriptionSettings

if TYPE_CHECKING:
    from sipd.b2bua.service import B2bua


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchingSettings:
    """Who may watch and publish, and how much.

    Args:
        subscriptions: the bounds of subscriptions; publications live as long.
        max_publications: at a time; one more is refused with 503.
        max_publications_per_user: the same for one package of one user.
        max_publication_size_octets: a larger body is refused with 413.
        is_open: whether users may watch the calls and the presence of each other.
        watchers: users to who may watch them, mailbox included, whatever `is_open` says.
        mailbox_servers: users who publish the mailboxes of all.
    """

    subscriptions: SubscriptionSettings = field(default_factory=SubscriptionSettings)
    max_publications: int = 10_000
    max_publications_per_user: int = 10
    max_publication_size_octets: int = 16384
    is_open: bool = True
    watchers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mailbox_servers: frozenset[str] = frozenset()

    def may_watch(self, watcher: str, user: str) -> bool:
        """Say whether a user may watch the calls and the presence of another."""
        if user in self.watchers:
            return self.may_watch_mailbox(watcher, user)
        return watcher == user or self.is_open

    def may_watch_mailbox(self, watcher: str, user: str) -> bool:
        """Say whether a user may watch the mailbox of another."""
        return watcher == user or watcher in self.watchers.get(user, ())

    def may_publish_mailbox(self, publisher: str, user: str) -> bool:
        """Say whether a user may say what is in the mailbox of another."""
        return publisher == user or publisher in self.mailbox_servers


class Watching:
    """The packages, and who answers SUBSCRIBE, NOTIFY and PUBLISH.

    Args:
        b2bua: whose user agent, router and authenticator serve these, too.
        lamps: who observes its calls.
        settings: who may do what, and how much.

    Attributes:
        states: what is published.
        subscriptions: what is watched, here and elsewhere.
    """

    def __init__(self, b2bua: B2bua, lamps: Lamps, settings: WatchingSettings) -> None:
        agent = b2bua.agent
        self._settings = settings
        self.states = PublishedStates(
            clock=agent.clock,
            entropy=agent.entropy,
            max_publications=settings.max_publications,
            max_per_user=settings.max_publications_per_user,
        )
        packages = {
            DIALOG: lamps,
            MESSAGE_SUMMARY: message_summary(self.states, self._may_watch_mailbox),
            PRESENCE: presence(self.states, self._may_watch),
        }
        kinds = {
            MESSAGE_SUMMARY: PublishedKind(content_type=SIMPLE_MESSAGE_SUMMARY, may_publish=self._may_publish_mailbox),
            PRESENCE: PublishedKind(content_type=PIDF, may_publish=_is_own),
        }
        self.subscriptions = Subscriptions(b2bua, packages=packages, settings=settings.subscriptions)
        agent.handlers["SUBSCRIBE"] = self.subscriptions
        agent.handlers["NOTIFY"] = NoSubscription()
        agent.handlers["PUBLISH"] = self._publications = Publications(
            b2bua,
            states=self.states,
            kinds=kinds,
            expiry=settings.subscriptions.expiry,
            max_size_octets=settings.max_publication_size_octets,
        )

    def configure(self, settings: WatchingSettings) -> None:
        """Let other settings hold for what is asked for from now on. What is watched or published already stays so."""
        self._settings = settings
        self.states.max_publications = settings.max_publications
        self.states.max_per_user = settings.max_publications_per_user
        self.subscriptions.settings = settings.subscriptions
        self._publications.expiry = settings.subscriptions.expiry
        self._publications.max_size_octets = settings.max_publication_size_octets

    def close(self) -> None:
        """Forget everything at once, without a word to anybody."""
        self.subscriptions.close()
        self.states.close()

    def _may_watch(self, watcher: str, user: str) -> bool:
        return self._settings.may_watch(watcher, user)

    def _may_watch_mailbox(self, watcher: str, user: str) -> bool:
        return self._settings.may_watch_mailbox(watcher, user)

    def _may_publish_mailbox(self, publisher: str, user: str) -> bool:
        return self._settings.may_publish_mailbox(publisher, user)


def _is_own(publisher: str, user: str) -> bool:
    return publisher == user
