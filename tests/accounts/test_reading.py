"""From rows and JSON to accounts: what is taken, and what is refused without showing it."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.accounts.interfaces import MalformedAccountError, StoredAccount
from sipd.accounts.reading import AccountReader, is_name
from sipd.interfaces import CryptoPolicy, MediaPolicy
from sipd.sip.digest import available_algorithms, compute_ha1

MD5 = "0123456789abcdef0123456789ABCDEF"


ADDRESSES = 'addresses such as "tel:+49301234" or "sip:sales@example.com" expected'

KEYS = (
    "password",
    "ha1",
    "ha1_of_address",
    "enabled",
    "display_name",
    "identities",
    "policy",
    "max_calls",
    "srtp",
    "record",
    "hold_music",
)


class ReadTests(SynchronousTestCase):
    """What makes an account."""

    def read(self, **values: object) -> StoredAccount:
        """Read alice's account, where nothing else is said than that calls are encrypted."""
        return AccountReader(MediaPolicy(crypto=CryptoPolicy.OPTIONAL)).read("alice", values)

    def problem(self, **values: object) -> str:
        """Give what is wrong."""
        return str(self.assertRaises(MalformedAccountError, self.read, **values))

    def test_nothing(self) -> None:
        """Nothing is needed but a name."""
        found = self.read()
        self.assertEqual(
            (found.account.name, found.account.is_enabled, found.account.media, found.account.max_calls),
            ("alice", True, None, None),
        )
        self.assertEqual((found.password, found.ha1, found.ha1_of_address), (None, {}, {}))

    def test_everything(self) -> None:
        """Each key has its place in the account."""
        found = self.read(
            password="wonderland",
            ha1={"MD5": MD5},
            ha1_of_address={"MD5": MD5},
            enabled=0,
            display_name="Alice Li",
            identities=["tel:+49301234", "sip:sales@example.com"],
            policy="hide",
            max_calls=2,
            srtp="required",
            record="wave",
            hold_music="tone:de:dial",
            colour="blue",
        )
        account = found.account
        self.assertEqual((account.is_enabled, account.display_name, account.policy), (False, "Alice Li", "hide"))
        self.assertEqual([str(uri) for uri in account.identities], ["tel:+49301234", "sip:sales@example.com"])
        self.assertEqual(account.max_calls, 2)
        self.assertEqual(
            account.media, MediaPolicy(crypto=CryptoPolicy.REQUIRED, record="wave", hold_music="tone:de:dial")
        )
        self.assertEqual((found.ha1, found.ha1_of_address), ({"MD5": MD5.lower()},) * 2)

    def test_media_of_all(self) -> None:
        """What an account does not say of its media is as it is for all."""
        reader = AccountReader(MediaPolicy(crypto=CryptoPolicy.REQUIRED, record="wave", hold_music="/music.wav"))
        self.assertIsNone(reader.read("alice", {}).account.media)
        media = reader.read("alice", {"record": "no"}).account.media
        self.assertEqual(media, MediaPolicy(crypto=CryptoPolicy.REQUIRED, record="", hold_music="/music.wav"))

    def test_empty_is_nothing(self) -> None:
        """A column that is empty says as little as one that is null."""
        self.assertEqual(self.read(password="", ha1={"MD5": ""}, policy="", srtp="", identities=[]), self.read())

    def test_mistakes(self) -> None:
        """Whatever is not what its key asks for is refused, with the key and without the value."""
        for key, value, expected in (
            ("password", 7, "a line of at most 1024 characters expected"),
            ("password", "secret\nsecret", "a line of at most 1024 characters expected"),
            ("display_name", "x" * 1025, "a line of at most 1024 characters expected"),
            ("enabled", "yes", "true or false expected"),
            ("enabled", 2, "true or false expected"),
            ("max_calls", True, "a whole number, 0 or more, expected"),
            ("max_calls", -1, "a whole number, 0 or more, expected"),
            ("ha1", "secret", "a table of hashes expected"),
            ("ha1", {"secret": "x"}, "only SHA-512-256, SHA-256, MD5 as algorithms expected"),
            ("ha1", {"MD5": "secret"}, "32 hexadecimal digits for MD5 expected"),
            ("ha1_of_address", {"SHA-256": MD5}, "64 hexadecimal digits for SHA-256 expected"),
            ("identities", "tel:+1", "a list of at most 100 addresses expected"),
            ("identities", ["tel:+1"] * 101, "a list of at most 100 addresses expected"),
            ("identities", [7], ADDRESSES),
            (
                "identities",
                ["sip:example.com"],
                'addresses such as "tel:+49301234" or "sip:sales@example.com" expected',
            ),
            ("identities", ["sip:@"], ADDRESSES),
            ("srtp", "secret", '"off" or "optional" or "required" or "pass" expected'),
            ("record", "secret", '"wave" or "pcap" or "no" expected'),
            ("hold_music", "secret", 'a tone such as "tone:eu:dial", or the absolute path of a file, expected'),
        ):
            with self.subTest(f"{key}={value!r}"):
                self.assertEqual(self.problem(**{key: value}), f"the account of alice: {key}: {expected}")
        self.assertIn("hold_music: a tone that is known", self.problem(hold_music="tone:xx:dial"))

    def test_no_place_for_recordings(self) -> None:
        """Who is to be recorded where nothing can be is refused, rather than not recorded."""
        reader = AccountReader(can_record=False)
        self.assertIn("record", str(self.assertRaises(MalformedAccountError, reader.read, "a", {"record": "pcap"})))
        self.assertIsNotNone(reader.read("a", {"record": "no"}).account.media)

    def test_no_encryption(self) -> None:
        """Who is to be encrypted where nothing can be is refused, too."""
        reader = AccountReader(can_encrypt=False)
        self.assertIn("srtp", str(self.assertRaises(MalformedAccountError, reader.read, "a", {"srtp": "required"})))
        self.assertIsNotNone(reader.read("a", {"srtp": "off"}).account.media)

    def test_policies(self) -> None:
        """Who is to follow a policy that there is not is refused, rather than left to do as all."""
        reader = AccountReader(policies=frozenset(("hide",)))
        self.assertEqual(reader.read("a", {"policy": "hide"}).account.policy, "hide")
        self.assertEqual(reader.read("a", {}).account.policy, "")
        error = self.assertRaises(MalformedAccountError, reader.read, "a", {"policy": "secret"})
        self.assertEqual(str(error), "the account of a: policy: the name of a policy expected")

    def test_secrets_are_not_printed(self) -> None:
        """An account prints neither its password nor its hashes."""
        text = repr(self.read(password="wonderland", ha1={"MD5": MD5}, ha1_of_address={"MD5": MD5}))
        self.assertNotIn("wonderland", text)
        self.assertNotIn(MD5.lower(), text)

    _json = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
        max_leaves=8,
    )
    _keys = st.sampled_from(KEYS)

    @given(st.dictionaries(_keys, _json, max_size=6))
    @settings(deadline=None, max_examples=300)
    def test_any_json(self, values: dict[str, object]) -> None:
        """Whatever a service answers is an account or one kind of error."""
        try:
            found = self.read(**json.loads(json.dumps(values)))
        except MalformedAccountError as error:
            self.assertNotIn("\n", str(error))
        else:
            self.assertEqual(found.account.name, "alice")


class CredentialsTests(SynchronousTestCase):
    """What a proof is compared with."""

    def test_password(self) -> None:
        """A password gives the hash of every algorithm, and is itself not handed on."""
        credentials = AccountReader().read("alice", {"password": "w"}).credentials("alice", "example.com")
        self.assertEqual(set(credentials.ha1), set(available_algorithms()))
        self.assertEqual(credentials.ha1["MD5"], compute_ha1("MD5", "alice", "example.com", "w"))
        self.assertIsNone(credentials.password)

    def test_address_as_username(self) -> None:
        """A phone that puts its address into the digest is alice all the same, and proves it by another hash."""
        found = AccountReader().read("alice", {"password": "w", "ha1": {"MD5": MD5}})
        credentials = found.credentials("alice@example.com", "example.com")
        self.assertEqual(credentials.username, "alice")
        self.assertEqual(credentials.ha1["MD5"], compute_ha1("MD5", "alice@example.com", "example.com", "w"))
        found = AccountReader().read("alice", {"ha1": {"MD5": MD5}, "ha1_of_address": {"MD5": MD5[::-1]}})
        self.assertEqual(found.credentials("alice@example.com", "r").ha1, {"MD5": MD5[::-1].lower()})
        self.assertEqual(found.credentials("alice", "r").ha1, {"MD5": MD5.lower()})

    def test_hash_before_password(self) -> None:
        """Where there are both, the hash counts."""
        found = AccountReader().read("alice", {"password": "w", "ha1": {"MD5": MD5}})
        self.assertEqual(found.credentials("alice", "r").ha1["MD5"], MD5.lower())


class NameTests(SynchronousTestCase):
    """Who may be asked for."""

    def test_names(self) -> None:
        """What no configuration takes as a name is asked of no store either."""
        for name in ("alice", "+4930", "a.b-c_d", "\u00fcmlaut", "x" * 64, "%", "o'neil"):
            self.assertTrue(is_name(name), name)
        for name in ("", "a b", "a@b", "a:b", "x" * 65, "a\0", "a\n", "\ud800", '"', "\u202e", "a;b", "a,b", "<a"):
            self.assertFalse(is_name(name), repr(name))
