"""Subscriptions in a whole sipd: what is configured, what is refused at the start, and its end over real sockets."""

from __future__ import annotations

from twisted.internet.task import deferLater

from sipd.daemon import layers
from tests.daemon.case import MINIMAL, ConfigCase
from tests.daemon.test_service import ServiceCase
from tests.watching.watchers import Watcher

USERS = """
[[users]]
name = "alice"
password = "x"
[[users]]
name = "vm"
password = "x"
"""


class ConfigurationTests(ConfigCase):
    """The section, and what it becomes."""

    def test_defaults(self) -> None:
        """Without a section all users may watch each other, and nobody publishes for others."""
        settings = layers.watching_settings(self.load(MINIMAL))
        self.assertTrue(settings.may_watch("bob", "alice"))
        self.assertFalse(settings.may_watch_mailbox("bob", "alice"))
        self.assertFalse(settings.may_publish_mailbox("bob", "alice"))
        self.assertEqual(settings.subscriptions.max_subscriptions, 10_000)

    def test_everything(self) -> None:
        """Each option reaches what it is about."""
        section = """
            [subscriptions]
            watching = "own"
            watchers = { alice = ["vm"] }
            mailbox_servers = ["vm"]
            minimum_expires = 30
            default_expires = 300
            maximum_expires = 600
            notify_interval = 0.5
            per_user = 7
            publications_per_user = 3
            publication_size_octets = 2048
            [limits]
            subscriptions = 70
            publications = 80
        """
        settings = layers.watching_settings(self.load(MINIMAL + USERS + section))
        subscriptions, expiry = settings.subscriptions, settings.subscriptions.expiry
        self.assertEqual((expiry.minimum, expiry.default, expiry.maximum), (30, 300, 600))
        self.assertEqual((subscriptions.max_subscriptions, subscriptions.max_per_user), (70, 7))
        self.assertEqual(subscriptions.notify_interval, 0.5)
        self.assertEqual((settings.max_publications, settings.max_publications_per_user), (80, 3))
        self.assertEqual(settings.max_publication_size_octets, 2048)
        self.assertFalse(settings.may_watch("alice", "vm"))
        self.assertTrue(settings.may_watch("vm", "alice"))
        self.assertTrue(settings.may_watch_mailbox("vm", "alice"))
        self.assertTrue(settings.may_publish_mailbox("vm", "alice"))

    def test_names_of_nobody(self) -> None:
        """Who is named there has to be a user."""
        section = '[subscriptions]\nwatchers = { nobody = ["alice", "noone"] }\nmailbox_servers = ["vm", "vmm"]\n'
        self.assert_problem(
            MINIMAL + USERS + section,
            'subscriptions.watchers.nobody: the name of a user expected (got "nobody")',
            'subscriptions.watchers.nobody[1]: the name of a user expected (got "noone")',
            'subscriptions.mailbox_servers[1]: the name of a user expected (got "vmm")',
        )

    def test_bounds_in_order(self) -> None:
        """The least is not more than the default, and that not more than the most; 423 is for less than an hour."""
        for text, expected in (
            (
                "minimum_expires = 600\ndefault_expires = 300",
                "minimum_expires: minimum_expires no greater than default_expires expected (got 600 and 300)",
            ),
            (
                "maximum_expires = 300",
                "maximum_expires: default_expires no greater than maximum_expires expected (got 3600 and 300)",
            ),
            ("minimum_expires = 3601", "minimum_expires: 3600 or less expected (got 3601)"),
            ('watching = "all"', 'watching: "users" or "own" expected (got "all")'),
            ("notify_interval = -1.0", "notify_interval: 0 or more expected (got -1.0)"),
        ):
            with self.subTest(text):
                (problem, *_) = self.problems(MINIMAL + f"[subscriptions]\n{text}\n")
                self.assertEqual(problem, f"subscriptions.{expected}")


class ServiceTests(ServiceCase):
    """A running sipd."""

    async def test_a_lamp_and_the_end(self) -> None:
        """A phone watches a user; when sipd is stopped it is told to come back in a while, and nothing is left."""
        service = await self.start()
        phone = self.phone(service, "alice")
        watcher = Watcher(phone, "bob", "dialog")
        await phone.expect("NOTIFY")
        await deferLater(phone.reactor, 0.05)
        self.assertEqual((watcher.status, watcher.states), (200, ["active"]))
        assert service.stack is not None
        subscriptions = service.stack.watching.subscriptions
        self.assertEqual(len(subscriptions), 1)
        await service.stopService()
        self.assertEqual(watcher.states, ["active", "terminated probation"])
        self.assertEqual(len(subscriptions), 0)

    async def test_the_end_without_an_answer(self) -> None:
        """A watcher that is gone does not hold up the end for long."""
        service = await self.start()
        phone = self.phone(service, "alice")
        Watcher(phone, "bob", "dialog")
        await phone.expect("NOTIFY")
        await deferLater(phone.reactor, 0.05)
        phone.close()
        self.phones.remove(phone)
        service.end_now()
        await service.stopService()
        self.assertIsNone(service.stack)
