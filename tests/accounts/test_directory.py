"""All users together: who decides, what is known at once, and that uncertainty is never a no, and never a yes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.accounts.cache import AccountCache, CacheSettings
from sipd.accounts.directory import AccountDirectory, OfAccounts, ProvedUsers
from sipd.accounts.interfaces import AccountNotLoadedError, MalformedAccountError, StoreUnavailableError
from sipd.errors import RequestRefusedError
from sipd.interfaces import Account, Credentials, IAccounts, ICredentialStore
from sipd.sip.digest import compute_ha1
from tests.accounts.fakes import FakeStore, seeded, stored

REALM = "example.com"


@implementer(ICredentialStore)
class Configured:
    """Knows the password of root, who is in the configuration."""

    def credentials(self, username: str, realm: str) -> Deferred[Credentials | None]:
        """See `ICredentialStore`."""
        return succeed(Credentials(username="root", password="toor") if username == "root" else None)


class DirectoryCase(SynchronousTestCase):
    """A directory of root in the configuration, alice in the first store, and bob in both."""

    def setUp(self) -> None:
        """Make it."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.first = FakeStore(stored("alice", identities=["tel:+1"]), stored("bob", password="one"))
        self.second = FakeStore(stored("bob", password="two"), stored("carol"), stored("root", password="stolen"))
        self.proved = ProvedUsers(max_users=2)
        self.directory = self.make(self.first, self.second)

    def make(self, *stores: FakeStore, configured: Mapping[str, Account] | None = None) -> AccountDirectory:
        """Make a directory."""
        return AccountDirectory(
            configured={"root": Account(name="root")} if configured is None else configured,
            credentials=Configured(),
            entropy=seeded(),
            stores=[
                AccountCache(store, name=f"store {number}", clock=self.clock, settings=CacheSettings())
                for number, store in enumerate(stores)
            ],
            domains=(REALM, "example.org"),
            proved=self.proved,
        )

    def account(self, name: str) -> Account | None:
        """Ask for an account."""
        return self.successResultOf(self.directory.account(name))

    def credentials(self, username: str) -> Credentials | None:
        """Ask for credentials."""
        return self.successResultOf(self.directory.credentials(username, REALM))

    def refusal(self, deferred: Deferred[Any]) -> tuple[int, str, tuple[tuple[str, str], ...]]:
        """Give what a question is refused with."""
        error = self.failureResultOf(deferred, RequestRefusedError).value
        return error.status, error.reason, error.headers


class OrderTests(DirectoryCase):
    """Who decides."""

    def test_interfaces(self) -> None:
        """The directory is what it says."""
        verifyObject(IAccounts, self.directory)
        verifyObject(ICredentialStore, self.directory)

    def test_first_that_knows(self) -> None:
        """The first store that has a user decides, and the next is not asked."""
        found = self.credentials("bob")
        assert found is not None
        self.assertEqual(found.ha1["MD5"], compute_ha1("MD5", "bob", REALM, "one"))
        self.assertEqual(self.second.asked, [])
        self.assertIsNotNone(self.credentials("carol"))
        self.assertEqual(self.second.asked, ["carol"])

    def test_configuration_first(self) -> None:
        """A user of the configuration is asked of no store, and nobody there can take the name."""
        self.assertEqual(self.credentials("root"), Credentials(username="root", password="toor"))
        self.assertIsNotNone(self.account("root"))
        self.assertTrue(self.directory.is_user("root"))
        self.assertEqual((self.first.asked, self.second.asked), ([], []))

    def test_configuration_first_under_its_address(self) -> None:
        """Neither can anybody by putting an address into the digest: nobody can prove that."""
        found = self.credentials("root@example.com")
        assert found is not None
        self.assertEqual((found.username, found.password, set(found.ha1) >= {"MD5"}), ("root", None, True))
        self.assertEqual((self.first.asked, self.second.asked), ([], []))

    def test_nothing_to_prove(self) -> None:
        """Of a user of whom a store knows no secret, the verifier is asked; of one whose hash does not fit, nobody."""
        self.first.has["alice"] = stored("alice", password=None)
        self.first.has["bob"] = stored("bob", password=None, ha1={"MD5": "0" * 32})
        self.assertEqual(self.credentials("alice"), Credentials(username="alice"))
        found = self.credentials("bob@example.com")
        assert found is not None
        self.assertNotEqual(found.ha1.get("MD5", "0" * 32), "0" * 32)

    def test_nobody(self) -> None:
        """A user whom no store has does not exist."""
        self.assertIsNone(self.credentials("dave"))
        self.assertIsNone(self.account("dave"))
        self.assertEqual((self.first.asked, self.second.asked), (["dave"], ["dave"]))

    def test_names_that_nobody_can_have(self) -> None:
        """No store is asked for what cannot be a name, or is of a foreign domain."""
        for name in ("", "a b", "a\0", "\ud800", "alice@evil.example", "alice@", "x" * 65):
            with self.subTest(repr(name)):
                self.assertIsNone(self.credentials(name))
                self.assertIsNone(self.account(name))
        self.assertEqual(self.first.asked, [])

    def test_address_as_username(self) -> None:
        """A username with a domain of ours is that user."""
        for username in ("alice@example.com", "alice@Example.ORG"):
            found = self.credentials(username)
            assert found is not None
            self.assertEqual(found.username, "alice")
            self.assertEqual(found.ha1["MD5"], compute_ha1("MD5", username, REALM, "wonderland"))

    def test_no_stores(self) -> None:
        """Without stores there are the users of the configuration and nobody else, at once."""
        self.directory = self.make()
        self.assertIsNone(self.credentials("alice"))
        self.assertIsNone(self.account("alice"))
        self.assertEqual((self.directory.is_user("root"), self.directory.is_user("alice")), (True, False))
        self.assertFalse(self.directory.may_be_user("alice"))


class UncertainTests(DirectoryCase):
    """A store that cannot be asked."""

    def test_out_of_reach(self) -> None:
        """A store that is away is a 503 with Retry-After, even if the next one has the user."""
        self.first.error = StoreUnavailableError("secret host is away")
        expected = (503, "User Database Out Of Reach", (("Retry-After", "10"),))
        self.assertEqual(self.refusal(self.directory.credentials("carol", REALM)), expected)
        self.assertEqual(self.refusal(self.directory.account("carol")), expected)
        self.assertEqual(self.second.asked, [])

    def test_malformed(self) -> None:
        """So is an account that makes no sense."""
        self.first.error = MalformedAccountError("secret")
        expected = (503, "User Database Makes No Sense", (("Retry-After", "10"),))
        self.assertEqual(self.refusal(self.directory.credentials("alice", REALM)), expected)

    def test_second_is_away(self) -> None:
        """Users of the first store do not depend on the second."""
        self.second.error = StoreUnavailableError("away")
        self.assertIsNotNone(self.credentials("alice"))
        self.assertEqual(self.refusal(self.directory.credentials("dave", REALM))[0], 503)


class KnownTests(DirectoryCase):
    """What is known without asking."""

    def test_known(self) -> None:
        """A user of a store is known once somebody has asked, and stays so when that is long ago."""
        self.assertIsNone(self.directory.known("alice"))
        self.account("alice")
        known = self.directory.known("alice")
        assert known is not None
        self.assertEqual(str(known.identities[0]), "tel:+1")
        self.clock.advance(10_000)
        self.assertIs(self.directory.known("alice"), known)

    def test_is_user(self) -> None:
        """Who has not been asked for is neither a user nor none."""
        with self.assertRaises(AccountNotLoadedError) as caught:
            self.directory.is_user("alice")
        self.assertEqual(caught.exception.name, "alice")
        self.assertTrue(self.directory.may_be_user("alice"))
        self.account("alice")
        self.account("dave")
        self.assertTrue(self.directory.is_user("alice"))
        self.assertFalse(self.directory.is_user("dave"))
        self.assertFalse(self.directory.may_be_user("dave"))
        self.assertFalse(self.directory.is_user("a b"))

    def test_escaped(self) -> None:
        """The user part of a URI is read as such."""
        self.account("alice")
        self.assertTrue(self.directory.is_user("%61lice"))

    def test_proved(self) -> None:
        """Who has proved to be a user elsewhere is one, until others have taken the room."""
        self.directory = self.make()
        self.proved.add("erin")
        self.assertTrue(self.directory.is_user("erin"))
        self.assertEqual(self.account("erin"), Account(name="erin"))
        for name in ("frank", "erin", "grace"):
            self.proved.add(name)
        self.assertEqual(list(self.proved), ["erin", "grace"])
        self.assertFalse(self.directory.is_user("frank"))

    def test_property(self) -> None:
        """One property of all that are known is a mapping; who lacks it is not in it."""
        identities = OfAccounts(self.directory, lambda account: account.identities or None)
        self.assertEqual((dict(identities), identities.get("alice", ())), ({}, ()))
        self.account("alice")
        self.account("bob")
        self.assertEqual([str(uri) for uri in identities["alice"]], ["tel:+1"])
        self.assertEqual((list(identities), len(identities), "bob" in identities), (["alice"], 1, False))


class DisabledTests(DirectoryCase):
    """A user who is not enabled."""

    def setUp(self) -> None:
        """Let alice be one."""
        super().setUp()
        self.first.has["alice"] = stored("alice", enabled=False)

    def test_cannot_prove(self) -> None:
        """Nobody can prove to be such a user: the hashes are of nothing, and no later store or verifier is asked."""
        found = self.credentials("alice")
        assert found is not None
        self.assertEqual(found.username, "alice")
        self.assertNotEqual(found.ha1["MD5"], compute_ha1("MD5", "alice", REALM, "wonderland"))
        self.assertEqual(len(found.ha1["SHA-256"]), 64)
        self.assertEqual(self.second.asked, [])

    def test_is_no_user(self) -> None:
        """Such a user is none to be called."""
        self.account("alice")
        self.assertFalse(self.directory.is_user("alice"))


class CloseTests(DirectoryCase):
    """The end."""

    def test_close(self) -> None:
        """All stores are closed."""
        self.successResultOf(self.directory.close())
        self.assertTrue(self.first.is_closed and self.second.is_closed)
