"""Tests of `sipd.sip.identity`: values about who somebody is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Headers
from sipd.sip.identity import (
    ANONYMOUS,
    NIL_UUID,
    Diversion,
    HistoryEntry,
    Privacy,
    RemoteParty,
    SessionId,
    identities_of,
    make_uuid,
)
from sipd.sip.uri import SipUri, parse_sip_uri

PAI = "P-Asserted-Identity"
TOKEN = st.text(st.sampled_from("abcxyzABC019-.!%*_+`'~"), min_size=1, max_size=8)
UUID = st.text(st.sampled_from("0123456789abcdef"), min_size=32, max_size=32)
USER = st.text(st.sampled_from("abcxyz019-_.!~*'()&=+$,;/"), min_size=1, max_size=8)
URI = st.builds(SipUri, st.sampled_from(["a.example", "192.0.2.1", "2001:db8::1"]), USER)
NAME = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=8).map(str.strip)
INDEX = st.lists(st.integers(1, 40), min_size=1, max_size=4).map(lambda numbers: ".".join(map(str, numbers)))


class IdentitiesTests(SynchronousTestCase):
    """P-Asserted-Identity and P-Preferred-Identity (RFC 3325 sections 9.1 and 9.2)."""

    def test_values(self) -> None:
        """One SIP URI and one tel URI count, over lines and lists, the first of each kind."""
        for lines, expected in (
            ([], []),
            (["sip:a@h"], ["sip:a@h"]),
            (["<sip:a@h>;x=1"], ["<sip:a@h>"]),
            (['"A, B" <sip:a@h>, <tel:+1>'], ['"A, B" <sip:a@h>', "<tel:+1>"]),
            (["<tel:+1>", "<sips:a@h>", "<sip:b@h>, <tel:+2>"], ["<tel:+1>", "<sips:a@h>"]),
            (["<urn:x:1>", "<sip:a@h>"], ["<sip:a@h>"]),
        ):
            with self.subTest(str(lines)):
                headers = Headers([(PAI, line) for line in lines])
                self.assertEqual([str(one) for one in identities_of(headers, PAI)], expected)

    def test_malformed(self) -> None:
        """A value that breaks the grammar makes all of them useless."""
        for text in ("<sip:a@h", '"a <sip:a@h>', "<sip:a@h> x", "a"):
            with self.subTest(text):
                self.assertRaises(ParseError, identities_of, Headers([(PAI, text)]), PAI)

    def test_anonymous(self) -> None:
        """Nobody is called as RFC 3323 section 4.1.1.3 has it."""
        self.assertEqual(ANONYMOUS, NameAddr.parse('"Anonymous" <sip:anonymous@anonymous.invalid>'))


class PrivacyTests(SynchronousTestCase):
    """Privacy (RFC 3323 section 4.2)."""

    def test_values(self) -> None:
        """Values are compared in any case, stand once, and keep their order."""
        for text, values in (
            ("id", ("id",)),
            ("Header; USER ;critical", ("header", "user", "critical")),
            ("id,user;id;", ("id", "user")),
            ("", ()),
        ):
            with self.subTest(text):
                self.assertEqual(Privacy.parse(text).values, values)

    def test_malformed(self) -> None:
        """What is no token is no value."""
        self.assertRaises(ParseError, Privacy.parse, "id user")
        self.assertRaises(ParseError, Privacy.parse, '"id"')

    def test_of_a_message(self) -> None:
        """All lines count; what nobody can read asks for everything, and no line for nothing."""
        self.assertIsNone(Privacy.of(Headers()))
        both = Privacy.of(Headers([("Privacy", "id"), ("privacy", "user")]))
        assert both is not None
        self.assertEqual(both.values, ("id", "user"))
        unreadable = Privacy.of(Headers([("Privacy", "<")]))
        assert unreadable is not None
        self.assertTrue(all(unreadable.asks_for(value) for value in ("id", "user", "header", "history")))

    def test_wishes(self) -> None:
        """`none` takes back everything beside it; `critical` is no wish by itself."""
        self.assertTrue(Privacy.parse("id;user").asks_for("user", "history"))
        self.assertFalse(Privacy.parse("id").asks_for("user", "history"))
        self.assertFalse(Privacy.parse("none;id").asks_for("id"))
        self.assertTrue(Privacy.parse("none").is_refused)
        self.assertTrue(Privacy.parse("id;critical").is_critical)

    def test_what_is_left(self) -> None:
        """What is done is taken out; `critical` does not stay alone (section 5)."""
        for text, done, left in (
            ("id;user;critical", ("id",), "user;critical"),
            ("id;critical", ("id",), ""),
            ("none", ("id", "user"), "none"),
            ("x", (), "x"),
        ):
            with self.subTest(text):
                self.assertEqual(str(Privacy.parse(text).without(frozenset(done))), left)

    @given(st.lists(TOKEN.map(str.lower), unique=True, max_size=6))
    @settings(deadline=None, max_examples=50)
    def test_comes_back(self, values: list[str]) -> None:
        """What is printed is parsed as the same."""
        privacy = Privacy(tuple(values))
        self.assertEqual(Privacy.parse(str(privacy)), privacy)


class RemotePartyTests(SynchronousTestCase):
    """Remote-Party-ID (draft-ietf-sip-privacy-04)."""

    def test_values(self) -> None:
        """Party, screening and privacy are read in any case, and are nothing where they do not stand."""
        for text, party, screened, private in (
            ("<sip:a@h>", "", False, False),
            ('"A" <sip:a@h>;party=Calling;screen=YES;privacy=off', "calling", True, False),
            ("<sip:a@h>;screen=no;privacy=full", "", False, True),
            ('<sip:a@h>;privacy="name-network"', "", False, True),
        ):
            with self.subTest(text):
                value = RemoteParty.parse(text)
                self.assertEqual((value.party, value.is_screened, value.is_private), (party, screened, private))
                self.assertEqual(str(value), text)

    @given(URI, NAME, st.sampled_from(["calling", "called"]), st.booleans())
    @settings(deadline=None, max_examples=50)
    def test_comes_back(self, uri: SipUri, name: str, party: str, private: bool) -> None:
        """What is made is parsed as what it was made of."""
        value = RemoteParty.parse(str(RemoteParty.of(NameAddr(uri, name), party, is_private=private)))
        self.assertEqual((value.identity, value.party), (NameAddr(uri, name), party))
        self.assertEqual((value.is_screened, value.is_private), (True, private))


class DiversionTests(SynchronousTestCase):
    """Diversion (RFC 5806 section 4.1)."""

    def test_values(self) -> None:
        """Reason, counter and privacy, each where it stands and can be read."""
        for text, reason, counter, private in (
            ("<sip:a@h>", "", 1, False),
            ('"A" <sip:a@h>;reason=No-Answer;counter=3;limit=5', "no-answer", 3, False),
            ('<tel:+1>;reason="user-busy";counter=x;privacy=full', "user-busy", 1, True),
            ("<sip:a@h>;privacy=off;counter=12345678901", "", 1, False),
        ):
            with self.subTest(text):
                value = Diversion.parse(text)
                self.assertEqual((value.reason, value.counter, value.is_private), (reason, counter, private))
                self.assertEqual(str(value), text)

    def test_anonymous(self) -> None:
        """Why and how often stays, who does not."""
        value = Diversion.parse('"A" <sip:a@h>;reason=deflection;counter=2;privacy=full;x=a')
        self.assertEqual(str(value.anonymous()), "<sip:anonymous@anonymous.invalid>;reason=deflection;counter=2")


class HistoryEntryTests(SynchronousTestCase):
    """History-Info (RFC 7044 section 5)."""

    def test_values(self) -> None:
        """Index, target, reasons and privacy are found, the last two inside of the URI."""
        entry = HistoryEntry.parse("<sip:a@h?Reason=SIP%3Bcause%3D302&Privacy=history>;index=1.2;rc=1.1;foo=bar")
        self.assertEqual((entry.index, entry.target), ("1.2", ("rc", "1.1")))
        self.assertEqual((entry.reasons, entry.is_private), (("SIP;cause=302",), True))
        for wish in ("user", "%22"):
            private = HistoryEntry.parse(f"<sip:a@h?Privacy=none&Privacy={wish}>;index=1")
            self.assertEqual(private.is_private, wish != "user", wish)
        plain = HistoryEntry.parse("<tel:+1>;index=1")
        self.assertEqual((plain.index, plain.target, plain.reasons, plain.is_private), ("1", None, (), False))

    def test_malformed(self) -> None:
        """Without an index an entry has no place."""
        for text in ("<sip:a@h>", "<sip:a@h>;index=", "<sip:a@h>;index=1..2", "<sip:a@h>;index=a", "<sip:a@h;index=1"):
            with self.subTest(text):
                self.assertRaises(ParseError, HistoryEntry.parse, text)

    def test_next(self) -> None:
        """A place that a request goes to from here is below it."""
        first = HistoryEntry.first(parse_sip_uri("sip:a@h"))
        second = first.next(parse_sip_uri("sip:b@h"), 2, "mp")
        third = second.next(parse_sip_uri("sip:b@192.0.2.1"), 1, "rc")
        self.assertEqual([str(one) for one in (first, second, third)], [
            "<sip:a@h>;index=1", "<sip:b@h>;index=1.2;mp=1", "<sip:b@192.0.2.1>;index=1.2.1;rc=1.2",
        ])  # fmt: skip
        self.assertEqual(str(first.next(parse_sip_uri("sip:c@h"), 1)), "<sip:c@h>;index=1.1")

    def test_failed(self) -> None:
        """A reason is added to those that there are; a tel URI has no room for one."""
        entry = HistoryEntry.parse("<sip:a@h?Privacy=history>;index=1").failed('SIP;cause=486;text="Busy"')
        again = HistoryEntry.parse(str(entry.failed("Q.850;cause=17")))
        self.assertEqual(again.reasons, ('SIP;cause=486;text="Busy"', "Q.850;cause=17"))
        self.assertTrue(again.is_private)
        number = HistoryEntry.parse("<tel:+1>;index=1")
        self.assertEqual(number.failed("SIP;cause=486"), number)

    def test_anonymous(self) -> None:
        """The shape of the history stays, and nothing else."""
        entry = HistoryEntry.parse('"A" <sip:a@h?Reason=SIP%3Bcause%3D302>;index=1.2;mp=1;x=secret')
        self.assertEqual(str(entry.anonymous()), "<sip:anonymous@anonymous.invalid>;index=1.2;mp=1")

    @given(URI, INDEX, st.integers(1, 9), st.sampled_from(["rc", "mp", "np", None]), TOKEN)
    @settings(deadline=None, max_examples=50)
    def test_comes_back(self, uri: SipUri, index: str, number: int, kind: str | None, reason: str) -> None:
        """What is printed is parsed as the same."""
        entry = HistoryEntry.parse(f"<sip:x@h>;index={index}").next(uri, number, kind).failed(reason)
        again = HistoryEntry.parse(str(entry))
        self.assertEqual(again, entry)
        self.assertEqual(again.index, f"{index}.{number}")
        self.assertEqual(again.target, None if kind is None else (kind, index))
        self.assertEqual(again.reasons, (reason,))


class SessionIdTests(SynchronousTestCase):
    """Session-ID (RFC 7989 section 5)."""

    def test_values(self) -> None:
        """Two UUIDs, or one from a peer of RFC 7329; upper case and what nobody knows are let through."""
        a, b = "a" * 32, "0123456789abcdef" * 2
        for text, local, remote in (
            (f"{a};remote={b}", a, b),
            (f"{a.upper()} ; Remote = {b.upper()};x=y", a, b),
            (a, a, None),
            (f"{NIL_UUID};remote={NIL_UUID}", NIL_UUID, NIL_UUID),
        ):
            with self.subTest(text):
                self.assertEqual(SessionId.parse(text), SessionId(local, remote))

    def test_malformed(self) -> None:
        """32 hexadecimal digits, no more and no others."""
        for text in ("", "a" * 31, "a" * 33, "g" * 32, f"{'a' * 32};remote=", f"{'a' * 32};remote=x", "a" * 32 + "\n"):
            with self.subTest(text):
                self.assertRaises(ParseError, SessionId.parse, text)

    @given(UUID, UUID | st.none())
    @settings(deadline=None, max_examples=50)
    def test_comes_back(self, local: str, remote: str | None) -> None:
        """What is printed is parsed as the same."""
        value = SessionId(local, remote)
        self.assertEqual(SessionId.parse(str(value)), value)

    @given(st.binary(min_size=16, max_size=16))
    @settings(deadline=None, max_examples=50)
    def test_made(self, octets: bytes) -> None:
        """A UUID that is made is of version 4, whatever the octets, and never nil."""
        uuid = make_uuid(octets)
        self.assertEqual(SessionId.parse(uuid).local, uuid)
        self.assertEqual(uuid[12], "4")
        self.assertIn(uuid[16], "89ab")


class GarbageTests(SynchronousTestCase):
    """Whatever somebody sends."""

    @given(st.text(max_size=60))
    @settings(deadline=None, max_examples=300)
    def test_nothing_but_a_parse_error(self, text: str) -> None:
        """No value raises anything else."""
        for parse in (Privacy.parse, RemoteParty.parse, Diversion.parse, HistoryEntry.parse, SessionId.parse):
            try:
                value = parse(text)
            except ParseError:
                continue
            str(value)
            if isinstance(value, HistoryEntry):
                _ = value.is_private, value.reasons, value.target
