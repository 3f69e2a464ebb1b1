"""Tests of `sipd.sip.refer`: what REFER and its subscription say."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.sip.message import Request
from sipd.sip.refer import (
    EventValue,
    Fragment,
    ReferredBy,
    ReferTo,
    Replaces,
    SubscriptionState,
    SubscriptionWish,
    refer_to_of,
    refer_to_replacing,
    referred_by,
    replaces_of,
    subscription_wish,
)
from sipd.sip.uri import parse_uri
from sipd.testing import builders

ATTENDED = "<sip:carol@192.0.2.9:5070;transport=tcp?Replaces=12%40a.example%3Bto-tag%3D1%3Bfrom-tag%3D2>"
DIALOG = Replaces(call_id="12@a.example", to_tag="1", from_tag="2")


def refer(*fields: tuple[str, str]) -> Request:
    """Make a REFER with those fields."""
    return builders.request("REFER", headers=fields)


class ReplacesTests(SynchronousTestCase):
    """RFC 3891 section 6.1."""

    def test_takes_a_value_apart(self) -> None:
        """Tags in any order, `early-only`, and parameters nobody knows."""
        value = Replaces.parse(" 98732@s.example ; from-tag=r33 ;to-tag=ff87;early-only;x=y")
        self.assertEqual((value.call_id, value.to_tag, value.from_tag), ("98732@s.example", "ff87", "r33"))
        self.assertTrue(value.is_early_only)
        self.assertEqual(str(value), "98732@s.example;to-tag=ff87;from-tag=r33;early-only")
        self.assertFalse(Replaces.parse("c;to-tag=1;from-tag=2").is_early_only)

    def test_key(self) -> None:
        """It names the dialog as its receiver knows it; the tag 0 stands for none."""
        self.assertEqual(DIALOG.key, ("12@a.example", "1", "2"))
        self.assertEqual(Replaces.parse("c;to-tag=0;from-tag=0").key, ("c", "", ""))

    def test_refuses_what_is_none(self) -> None:
        """Both tags have to be there, once."""
        for text in (
            "", "c", "c;to-tag=1", "c;from-tag=1", "c;to-tag;from-tag=1", ";to-tag=1;from-tag=2",
            "c d;to-tag=1;from-tag=2", "c;to-tag=1;to-tag=2;from-tag=3",
        ):  # fmt: skip
            with self.assertRaises(ParseError):
                Replaces.parse(text)

    def test_of_an_invite(self) -> None:
        """At most one."""
        self.assertIsNone(replaces_of(builders.invite()))
        self.assertEqual(replaces_of(builders.invite(headers=[("Replaces", str(DIALOG))])), DIALOG)
        with self.assertRaises(ParseError):
            replaces_of(builders.invite(headers=[("Replaces", str(DIALOG))] * 2))


class ReferToTests(SynchronousTestCase):
    """RFC 3515 section 2.1."""

    def test_blind_transfer(self) -> None:
        """A plain address is for an INVITE."""
        for text, uri in (
            ("sip:bob@example.com", "sip:bob@example.com"),
            ('"Bob" <sip:bob@example.com;user=phone>', "sip:bob@example.com;user=phone"),
            ("<tel:+1-201-555-0123;phone-context=x>", "tel:+1-201-555-0123;phone-context=x"),
            ("<http://example.com/?a=b>", "http://example.com/?a=b"),
        ):
            value = ReferTo.parse(text)
            self.assertEqual((str(value.uri), value.method), (uri, "INVITE"))
            self.assertEqual((value.headers, value.replaces), ((), None))
            self.assertEqual(str(value), text)

    def test_attended_transfer(self) -> None:
        """Replaces comes escaped inside of the URI; what goes into the request line has none of it."""
        value = ReferTo.parse(ATTENDED)
        self.assertEqual(value.replaces, DIALOG)
        self.assertEqual(str(value.uri), "sip:carol@192.0.2.9:5070;transport=tcp")
        self.assertEqual(str(value), ATTENDED)

    def test_method(self) -> None:
        """It is a parameter of the URI; without brackets it means the same, although the grammar says otherwise."""
        for text in ("<sip:carol@c.example;method=SUBSCRIBE>", "sip:carol@c.example;method=SUBSCRIBE"):
            value = ReferTo.parse(text)
            self.assertEqual((value.method, str(value.uri)), ("SUBSCRIBE", "sip:carol@c.example"))
        with self.assertRaises(ParseError):
            ReferTo.parse("<sip:carol@c.example;method=a%20b>")

    def test_without_brackets(self) -> None:
        """A URI with header fields needs brackets; one that lacks them is read all the same."""
        self.assertEqual(ReferTo.parse(ATTENDED.strip("<>")).replaces, DIALOG)

    def test_header_fields(self) -> None:
        """They are unescaped; what would speak for us, or break the request, is left out (RFC 3261 section 19.1.5)."""
        value = ReferTo.parse(
            "<sip:c@d.example?Subject=a%20b&X-Id=1%3B2&From=sip%3Aeve&f=x&Via=x&route=%3Csip%3Ax%3E&Call-ID=1&Contact=x"
            "&P-Asserted-Identity=x&Content-Type=x&body=x&Require=x&Accept-Contact=*%3Baudio&Require%2B=x>"
        )
        self.assertEqual(
            value.headers, (("Subject", "a b"), ("X-Id", "1;2"), ("Accept-Contact", "*;audio"), ("Require+", "x"))
        )

    def test_no_line_comes_in(self) -> None:
        """A line break in a header field of the URI would add one to the request."""
        for headers in ("Subject=a%0D%0AVia%3A%20x", "Subject%0D%0AX=1", "Subject=a%0Ab", "Subject=%00", "a%20b=1"):
            with self.assertRaises(ParseError):
                ReferTo.parse(f"<sip:c@d.example?{headers}>")

    def test_refuses_what_is_none(self) -> None:
        """Not exactly one Refer-To, no URI, a Replaces that is none, and two of them."""
        for fields in (
            [],
            [("Refer-To", "sip:a@b"), ("r", "sip:a@b")],
            [("Refer-To", "nobody")],
            [("Refer-To", "<sip:a@b?Replaces=x>")],
            [("Refer-To", ATTENDED.replace(">", "&replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2>"))],
        ):
            with self.assertRaises(ParseError) as caught:
                refer_to_of(refer(*fields))
            self.assertEqual(caught.exception.status, 400)
        self.assertEqual(refer_to_of(refer(("r", ATTENDED))).replaces, DIALOG)

    @settings(deadline=None, max_examples=200)
    @given(
        st.text('abcXYZ0123456789.-@:?/<>{}[]()"\\%&=+', min_size=1, max_size=20).filter(lambda text: ";" not in text),
        st.text("abcXYZ0123456789-.!%*_+`'~", min_size=1, max_size=12),
        st.booleans(),
    )
    def test_replaces_survives_the_way_there(self, call_id: str, tag: str, is_early: bool) -> None:
        """Whatever a Call-ID and tags may contain is the same after it was inside of a URI."""
        replaces = Replaces(call_id=call_id, to_tag=tag, from_tag=f"x{tag}", is_early_only=is_early)
        text = refer_to_replacing(parse_uri("sip:carol@c.example;gr=1;method=INVITE?Subject=x"), replaces)
        value = ReferTo.parse(text)
        self.assertEqual(value.replaces, replaces)
        self.assertEqual((str(value.uri), value.headers), ("sip:carol@c.example;gr=1", ()))


class OtherFieldTests(SynchronousTestCase):
    """Referred-By, Refer-Sub, Event and Subscription-State."""

    def test_referred_by(self) -> None:
        """An address, and the part of the body that proves it (RFC 3892 section 3)."""
        value = ReferredBy.parse('<sip:a@b.example>;cid="20398823.2UWQFN309shb3@b.example"')
        self.assertEqual(str(value.address.uri), "sip:a@b.example")
        self.assertEqual(value.content_id, "20398823.2UWQFN309shb3@b.example")
        self.assertEqual(referred_by(value.address.uri, value.content_id), str(value))
        self.assertIsNone(ReferredBy.parse(referred_by(value.address.uri)).content_id)
        with self.assertRaises(ParseError):
            ReferredBy.parse("<>")

    def test_subscription_wish(self) -> None:
        """An implicit subscription, unless the REFER says otherwise (RFC 4488, RFC 7614)."""
        for fields, expected in (
            ([], SubscriptionWish.IMPLICIT),
            ([("Refer-Sub", "true")], SubscriptionWish.IMPLICIT),
            ([("Refer-Sub", "False;x=y"), ("Supported", "norefersub")], SubscriptionWish.NONE),
            ([("Require", "nosub")], SubscriptionWish.NONE),
            ([("Require", "timer, ExplicitSub")], SubscriptionWish.EXPLICIT),
        ):
            self.assertIs(subscription_wish(refer(*fields)), expected)
        with self.assertRaises(ParseError):
            subscription_wish(refer(("Refer-Sub", "maybe")))

    def test_event(self) -> None:
        """Package and id; others are left off."""
        value = EventValue.parse("refer ; id=93809824;x")
        self.assertEqual((value.package, value.id, str(value)), ("refer", "93809824", "refer;id=93809824"))
        self.assertEqual(str(EventValue.parse("presence.winfo")), "presence.winfo")
        self.assertNotEqual(EventValue.parse("Refer"), EventValue.parse("refer"))
        for text in ("", ";id=1", "a b", "refer;id=1;id=2"):
            with self.assertRaises(ParseError):
                EventValue.parse(text)

    def test_subscription_state(self) -> None:
        """State, time and reason in any case."""
        for text, expected in (
            ("active;expires=60", SubscriptionState(state="active", expires=60)),
            ("Pending", SubscriptionState(state="pending")),
            ("terminated;Reason=NoResource", SubscriptionState(state="terminated", reason="noresource")),
            (
                "terminated;reason=probation;retry-after=3",
                SubscriptionState(state="terminated", reason="probation", retry_after=3),
            ),
        ):
            value = SubscriptionState.parse(text)
            self.assertEqual(value, expected)
            self.assertEqual(SubscriptionState.parse(str(value)), value)
            self.assertEqual(value.is_terminated, text.startswith("term"))
        for text in ("", "active;expires=soon", "terminated;retry-after=-1", "a b"):
            with self.assertRaises(ParseError):
                SubscriptionState.parse(text)


class FragmentTests(SynchronousTestCase):
    """message/sipfrag (RFC 3420, RFC 3515 section 2.4.5)."""

    def test_there_and_back(self) -> None:
        """A status line, and nothing that would be a second line."""
        for status, body in ((100, b"SIP/2.0 100 Trying\r\n"), (603, b"SIP/2.0 603 Decline\r\n")):
            self.assertEqual(Fragment.of_status(status).to_bytes(), body)
            self.assertEqual(Fragment.parse(body), Fragment.of_status(status))
        self.assertEqual(Fragment(status=486, reason="a\r\nb").to_bytes(), b"SIP/2.0 486 a  b\r\n")

    def test_reads_what_others_write(self) -> None:
        """Header fields may follow, line ends and phrase may be missing."""
        for body, status, reason in (
            (b"SIP/2.0 200 OK\r\nContact: <sip:a@b>\r\n\r\n", 200, "OK"),
            (b"SIP/2.0 180 \n", 180, ""),
            (b"SIP/2.0 503", 503, ""),
            (b"\r\nsip/2.0 404 Not  here\xff", 404, "Not  here\udcff"),
        ):
            fragment = Fragment.parse(body)
            self.assertEqual((fragment.status, fragment.reason), (status, reason))
            self.assertEqual(fragment.is_final, status >= 200)

    def test_refuses_what_is_none(self) -> None:
        """A body that does not begin with a status line says nothing of the outcome."""
        for body in (
            b"",
            b"INVITE sip:a@b SIP/2.0\r\n",
            b"SIP/2.0 99 X",
            b"SIP/2.0 099 X",
            b"SIP/2.0 700 X",
            b"SIP/2.0 2x0 X",
        ):
            with self.assertRaises(ParseError):
                Fragment.parse(body)

    @settings(deadline=None)
    @given(st.binary(max_size=40))
    def test_any_octets(self, body: bytes) -> None:
        """Nothing but `ParseError` comes of whatever comes."""
        for text in (body, b"SIP/2.0 " + body):
            try:
                fragment = Fragment.parse(text)
            except ParseError:
                continue
            self.assertEqual(Fragment.parse(fragment.to_bytes()).status, fragment.status)
