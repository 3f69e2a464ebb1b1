"""`[accounts]`: what a configuration may say, and what is made of it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from twisted.internet.task import Clock

from sipd.accounts.interfaces import MalformedAccountError
from sipd.accounts.loading import LoadingRouter
from sipd.daemon import accounts as module
from sipd.daemon.account_checks import OPTIONS
from sipd.daemon.accounts import AccountStores, UsersOf, configured_accounts, make_directory
from sipd.daemon.greeting import greet
from sipd.daemon.parts import make_parts
from sipd.daemon.sections import AccountStore
from sipd.errors import ConfigurationError
from sipd.interfaces import CryptoPolicy
from sipd.registrar.location import LocationService
from tests.accounts.fakes import seeded
from tests.daemon.case import HIDDEN, MINIMAL, ConfigCase

SQL = f'[[accounts.stores]]\nname = "staff"\ntype = "sql"\nurl = "postgresql://u:{HIDDEN}@h/d"\n'
HTTP = '[[accounts.stores]]\nname = "shop"\ntype = "http"\nurl = "https://users.example.com/{user}"\n'
RADIUS = f"""
[[accounts.stores]]
name = "aaa"
type = "radius"
servers = ["192.0.2.1", "[2001:db8::1]:1645"]
secret = "{HIDDEN}"
"""


class ThreadlessReactor(Clock):
    """A clock on which threads can be announced, and on which none is started."""

    def addSystemEventTrigger(self, *_: object) -> None:
        """See `IReactorCore`."""

    def removeSystemEventTrigger(self, _: object) -> None:
        """See `IReactorCore`."""


class CheckTests(ConfigCase):
    """What is a mistake."""

    def test_good(self) -> None:
        """All three types together are good."""
        config = self.load(MINIMAL + SQL + HTTP + RADIUS)
        self.assertEqual([store.type for store in config.accounts.stores], ["sql", "http", "radius"])
        self.assertEqual(config.accounts.stores[2].servers, (("192.0.2.1", 1812), ("2001:db8::1", 1645)))
        self.assertTrue(config.accounts.asks_radius)

    def test_mistakes(self) -> None:
        """Each mistake has a line, and no line shows a secret."""
        for text, expected in (
            (SQL + SQL, 'stores[1].name: a name of its own expected (accounts.stores[0] is "staff" too)'),
            (RADIUS + SQL, "stores[0].type: the last store expected: it does not say who exists, so none behind it "),
            (SQL + 'token = "x"\n', 'stores[0].token: for type = "http" only'),
            (SQL + "tries = 2\n", 'stores[0].tries: for type = "radius" only'),
            (SQL + 'layout = "kamailio"\ntable = "a b"\n', "stores[0].table: "),
            ('[[accounts.stores]]\nname = "k"\ntype = "sql"\nlayout = "kamailio"\n', "stores[0].url: required for"),
            ('[[accounts.stores]]\nname = "k"\ntype = "http"\n', "stores[0].url: required, and missing"),
            ('[[accounts.stores]]\nname = "k"\ntype = "radius"\n', "stores[0].secret: required, and missing"),
            ('[[accounts.stores]]\nname = "k"\ntype = "ldap"\n', 'stores[0].type: "sql", "http" or "radius" expected'),
            (HTTP.replace("https://", f"ftp://{HIDDEN}:"), "stores[0].url: a URL such as "),
            (HTTP.replace("{user}", "alice"), "stores[0].url: a URL such as "),
            (HTTP.replace("https", "http"), "stores[0].url: https expected where the service is not on this machine"),
            (HTTP + 'layout = "sipd"\n', 'stores[0].layout: for type = "sql" only'),
            (HTTP + "ttl = 0\n", "stores[0].ttl: 1 or more expected (got 0)"),
            (HTTP + 'ca = "nowhere.pem"\n', "stores[0].ca: a file that can be read expected"),
            (RADIUS + 'url = "x"\n', 'stores[0].url: for type = "sql" or "http" only'),
            (RADIUS.replace("2.1", "2.1:0"), "stores[0].servers[0]: an address such as "),
            (RADIUS.replace("192.0.2.1", "radius.example"), "stores[0].servers[0]: an address such as "),
            ("[accounts]\nretry_after = 0\n", "retry_after: 1 or more expected (got 0)"),
        ):
            with self.subTest(text):
                problems = self.problems(MINIMAL + text)
                self.assertTrue(any(line.startswith(f"accounts.{expected}") for line in problems), problems)

    def test_services_on_this_machine(self) -> None:
        """A service on this machine may do without TLS."""
        for host in ("127.0.0.1:8080", "localhost", "[::1]"):
            url = HTTP.replace("https://users.example.com", f"http://{host}")
            self.assertEqual(len(self.load(MINIMAL + url).accounts.stores), 1)

    def test_every_option_has_a_type(self) -> None:
        """Each option of a store belongs to a type, or to all."""
        known = set().union(*OPTIONS.values()) | {"name", "type", "timeout"}
        self.assertEqual(known, set(AccountStore.model_fields))

    def test_watchers(self) -> None:
        """Who may watch need not be in the file where there are further users."""
        watchers = '[subscriptions]\nwatchers = { bob = ["alice"] }\n'
        self.assertEqual(len(self.problems(MINIMAL + watchers)), 2)
        self.load(MINIMAL + watchers + SQL)


class MadeTests(ConfigCase):
    """What is made of it."""

    users = """
[[users]]
name = "root"
password = "toor"
identities = ["tel:+1"]
srtp = "off"
"""

    def stores(self, text: str) -> AccountStores:
        """Make the stores of a configuration."""
        stores = AccountStores(self.load(MINIMAL + self.users + text), ThreadlessReactor(), seeded())
        self.addCleanup(lambda: self.successResultOf(stores.close()))
        return stores

    def test_none(self) -> None:
        """Without stores nothing stands before the router, and the users are those of the file."""
        stores = self.stores("")
        self.assertTrue(stores.are_none)
        self.assertIsNone(stores.verifier)
        config = self.load(MINIMAL + self.users)
        parts = make_parts(config, LocationService(clock=Clock()), None, stores)
        self.assertNotIsInstance(parts.router, LoadingRouter)
        self.assertIsInstance(parts.b2bua.user_media, dict)
        self.assertIsNotNone(parts.accounts.known("root"))
        self.assertEqual((parts.accounts.may_be_user("root"), parts.accounts.may_be_user("alice")), (True, False))

    def test_all(self) -> None:
        """With stores, accounts are loaded before they are needed, and looked up when they are."""
        text = HTTP + RADIUS
        stores = self.stores(text)
        self.assertEqual([cache.name for cache in stores.caches], ["shop"])
        self.assertIsNotNone(stores.verifier)
        config = self.load(MINIMAL + self.users + text)
        parts = make_parts(config, LocationService(clock=Clock()), None, stores)
        self.assertIsInstance(parts.router, LoadingRouter)
        self.assertEqual([str(uri) for uri in parts.b2bua.identity.owned["root"]], ["tel:+1"])
        self.assertEqual(parts.b2bua.user_media["root"].crypto, CryptoPolicy.OFF)
        self.assertIsNone(parts.b2bua.user_media.get("alice"))
        self.assertTrue(parts.accounts.may_be_user("alice"))

    def test_reloaded(self) -> None:
        """Another configuration decides how accounts are read from then on."""
        stores = self.stores(HTTP)
        self.assertRaises(MalformedAccountError, stores.read, "alice", {"policy": "mine"})
        stores.configure(self.load(MINIMAL + HTTP + '[[policies]]\nname = "mine"\n'))
        self.assertEqual(stores.read("alice", {"policy": "mine"}).account.policy, "mine")
        self.assertEqual(stores.read("alice", {"policy": "hide"}).account.policy, "hide")

    def test_users_of(self) -> None:
        """The users look like a set."""
        directory = make_directory(self.load(MINIMAL + self.users), None, seeded())
        users = UsersOf(directory)
        self.assertEqual(("root" in users, "alice" in users), (True, False))

    def test_configured(self) -> None:
        """A user of the file is an account like any other."""
        (account,) = configured_accounts(self.load(MINIMAL + self.users)).values()
        assert account.media is not None
        self.assertEqual((account.name, str(account.identities[0])), ("root", "tel:+1"))
        self.assertEqual(account.media.crypto, CryptoPolicy.OFF)

    def test_missing_extra(self) -> None:
        """A package that is not installed is named with its extra."""
        self.patch(module, "find_spec", lambda name: None if name in ("treq", "pyrad") else find_spec(name))
        for text, extra in ((HTTP, "http"), (RADIUS, "radius")):
            error = self.assertRaises(ConfigurationError, self.stores, text)
            self.assertEqual(str(error), f"accounts.stores[0]: needs the extra: pip install 'sipd[{extra}]'")

    def test_no_certificates(self) -> None:
        """A file of authorities that has none is a mistake at the start."""
        (self.directory / "ca.pem").write_text("nonsense")
        error: Any = self.assertRaises(ConfigurationError, self.stores, HTTP + 'ca = "ca.pem"\n')
        self.assertEqual(str(error), "accounts.stores[0]: certificates of authorities expected, in PEM")

    def test_greeting(self) -> None:
        """The greeting says where further users are."""
        config = self.load(MINIMAL + HTTP + RADIUS)
        self.assertEqual(
            greet(config, []), ["further users: in shop (http), then in aaa (radius)", "domains: example.com"]
        )
        config = self.load(MINIMAL + self.users + HTTP)
        self.assertEqual(greet(config, [])[:2], ["further users: in shop (http)", "users: root; domains: example.com"])
