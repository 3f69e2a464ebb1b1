"""Tests of presence documents, dialog information and message summaries, and of the XML below them."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.sip.dialog_documents import MAX_DIALOGS, DialogInfo, Lamp, dialog_info
from sipd.sip.presence_documents import MAX_TUPLES, Presence, PresenceTuple
from sipd.sip.summaries import MAX_SUMMARY_OCTETS, MessageCounts, MessageSummary
from sipd.sip.xml_documents import MAX_DEPTH, MAX_DOCUMENT_OCTETS, MAX_ELEMENTS, read_document

PIDF = "urn:ietf:params:xml:ns:pidf"


def document(inner: str, entity: str = "pres:bob@example.com") -> bytes:
    """Give a presence document."""
    return f'<presence xmlns="{PIDF}" xmlns:o="urn:other" entity="{entity}">{inner}</presence>'.encode()


class XmlTests(SynchronousTestCase):
    """What is no document, or would do harm."""

    def refused(self, body: bytes) -> str:
        """Give why it is refused."""
        error = self.assertRaises(ParseError, read_document, body, "a")
        assert isinstance(error, ParseError)
        return error.reason

    def test_document_types(self) -> None:
        """A document type is refused as soon as it begins: no entity is expanded, no file is read."""
        bomb = '<!DOCTYPE a [<!ENTITY b "ha">' + "".join(
            f'<!ENTITY b{number} "{"&b;" * 10}">' for number in range(9)
        )  # fmt: skip
        for body in (
            f"{bomb}]><a>&b8;</a>",
            '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
            '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://192.0.2.1/"> %x;]><a/>',
            "<!DOCTYPE a><a/>",
        ):
            self.assertEqual(self.refused(body.encode()), "A document with a document type")

    def test_hidden_document_types(self) -> None:
        """Nor in another encoding, whatever the document says of its own."""
        bomb = '<!DOCTYPE a [<!ENTITY b "ha">]><a>&b;</a>'
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "cp037"):
            body = f'<?xml version="1.0" encoding="{encoding}"?>{bomb}'.encode(encoding)
            self.assertNotEqual(self.refused(body), "", encoding)
        self.assertEqual(read_document(b'<?xml version="1.0" encoding="utf-16"?><a/>', "a").tag, "a")

    def test_bounds(self) -> None:
        """Size, number and depth are bounded."""
        self.assertEqual(self.refused(b"<a>" + b" " * MAX_DOCUMENT_OCTETS + b"</a>"), "A document that is too large")
        deep = b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH
        wide = b"<a>" + b"<b/>" * (MAX_ELEMENTS - 1) + b"</a>"
        for body in (deep, wide):
            self.assertEqual(read_document(body, "a").tag, "a")
        for body in (b"<a>" + deep + b"</a>", wide.replace(b"<b/>", b"<b/><b/>", 1)):
            self.assertEqual(self.refused(body), "A document with too many elements")

    def test_no_xml(self) -> None:
        """What is not well-formed, or in an encoding that nobody knows, is refused."""
        for body in (
            b"", b"hello", b"<a>", b"<a></b>", b"<a>&b;</a>", b"<a/><a/>", b"\xff<a/>", b"<b:a/>",
        ):  # fmt: skip
            self.assertEqual(self.refused(body), "A document that is no well-formed XML", body)
        self.assertEqual(self.refused(b"<b/>"), "A document of another kind")

    @given(st.binary(max_size=200))
    def test_any_octets(self, body: bytes) -> None:
        """Whatever comes, there is a document or a `ParseError`."""
        for parse in (Presence.parse, DialogInfo.parse, MessageSummary.parse):
            for octets in (body, b"<presence>" + body, b"Messages-Waiting: yes\n" + body):
                with contextlib.suppress(ParseError):
                    parse(octets)


class PresenceTests(SynchronousTestCase):
    """PIDF."""

    def test_example(self) -> None:
        """A document with everything in it, and what other name spaces put there (RFC 3863 section 4.3)."""
        presence = Presence.parse(
            document(
                '<tuple id="desk"><status><basic> open </basic><o:im>busy</o:im></status>'
                '<contact priority="0.8">im:bob@mobile.example</contact><o:x/>'
                "<note xml:lang='en'>Don't ring</note><timestamp>2026-01-02T03:04:05Z</timestamp></tuple>"
                '<tuple id="mail"><status><basic>closed</basic></status>'
                "<contact>mailto:bob@example.com</contact></tuple>"
                '<tuple id="x"><status/></tuple><note>Gone fishing</note><o:person/>'
            )
        )
        first = PresenceTuple(
            id="desk", is_open=True, contact="im:bob@mobile.example", priority=0.8, notes=("Don't ring",),
            timestamp="2026-01-02T03:04:05Z",
        )  # fmt: skip
        second = PresenceTuple(id="mail", is_open=False, contact="mailto:bob@example.com")
        self.assertEqual(presence.entity, "pres:bob@example.com")
        self.assertEqual(presence.tuples, (first, second, PresenceTuple(id="x")))
        self.assertEqual((presence.notes, presence.is_open), (("Gone fishing",), True))
        self.assertEqual(Presence.parse(presence.to_bytes()), presence)

    def test_of_status(self) -> None:
        """The usual document: one way, open or not."""
        bob, contact = "sip:bob@example.com", "sip:bob@192.0.2.1"
        there = Presence.of_status(bob, is_open=True, contact=contact, note="<back> & forth")
        self.assertEqual(Presence.parse(there.to_bytes()), there)
        self.assertFalse(Presence.of_status(bob, is_open=False).is_open)

    def test_priorities(self) -> None:
        """A priority that nobody can read counts as not said."""
        for text, expected in (
            ("0", 0.0), ("1.000", 1.0), ("0.25", 0.25), ("1.5", None), ("-1", None), ("0.x", None), ("", None),
            ("0.²", None), ("nan", None),
        ):  # fmt: skip
            body = document(f'<tuple id="a"><status/><contact priority="{text}">x:y</contact></tuple>')
            self.assertEqual(Presence.parse(body).tuples[0].priority, expected, text)

    def test_refused(self) -> None:
        """Without an entity, and with more than anybody needs, it is none."""
        for body in (
            document("", entity=" "),
            document('<tuple id="a"/>' * (MAX_TUPLES + 1)),
            document("<note/>" * (MAX_TUPLES + 1)),
            b"<presence entity='a:b'/>",
        ):
            self.assertRaises(ParseError, Presence.parse, body)

    def test_unprintable(self) -> None:
        """What may not stand in XML is not printed."""
        for text in ("a\0b", "a\ud800", "\udcff", "\ufffe"):
            self.assertRaises(ParseError, Presence.of_status("sip:a@b", is_open=True, note=text).to_bytes)

    @given(st.text(), st.booleans())
    def test_round_trip(self, note: str, is_open: bool) -> None:
        """What is printed is read back, but for white space around it."""
        try:
            body = Presence.of_status("sip:a@b", is_open=is_open, note=note.strip()).to_bytes()
        except ParseError:
            return
        read = Presence.parse(body)
        self.assertEqual("".join(read.tuples[0].notes).split(), note.split())
        self.assertEqual(read.is_open, is_open)


class DialogInfoTests(SynchronousTestCase):
    """Dialog information."""

    def test_round_trip(self) -> None:
        """What a lamp is told is what it reads."""
        lamps = (Lamp("a-i", "initiator", "confirmed"), Lamp("b-r", "recipient", "terminated"))
        info = DialogInfo.parse(dialog_info("sip:bob@example.com", 7, lamps))
        self.assertEqual(info, DialogInfo(entity="sip:bob@example.com", version=7, is_full=True, lamps=lamps))
        self.assertTrue(info.is_busy)
        self.assertFalse(DialogInfo.parse(dialog_info("sip:bob@example.com", 8, lamps[1:])).is_busy)

    def test_partial(self) -> None:
        """A document of another notifier: partial, with more than is looked at."""
        body = (
            b'<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="1" state="partial" entity="sip:b@e">'
            b'<dialog id="d1" call-id="c1" local-tag="l1"><state event="rejected" code="486">'
            b" early </state><remote><identity>sip:a@e</identity></remote></dialog></dialog-info>"
        )
        info = DialogInfo.parse(body)
        self.assertEqual((info.is_full, info.lamps), (False, (Lamp("d1", "", "early"),)))

    def test_refused(self) -> None:
        """What lacks version, entity or state, or has more than anybody needs, is none."""
        good = dialog_info("sip:b@e", 1, [Lamp("a", "initiator", "early")])
        for old, new in (
            (b'version="1"', b""),
            (b'"1"', b'"x"'),
            (b"sip:b@e", b""),
            (b"full", b"some"),
            (b"early", b""),
        ):
            self.assertRaises(ParseError, DialogInfo.parse, good.replace(old, new))
        many = dialog_info("sip:b@e", 1, [Lamp("a", "initiator", "early")] * (MAX_DIALOGS + 1))
        self.assertRaises(ParseError, DialogInfo.parse, many)


class SummaryTests(SynchronousTestCase):
    """Message summaries (RFC 3842 section 5)."""

    def test_example(self) -> None:
        """Counts of each class; what comes after an empty line is about single messages."""
        summary = MessageSummary.parse(
            b"Messages-Waiting: yes\r\nMessage-Account: sip:alice@mailbox.example.com\r\nVoice-Message: 4/8 (1/2)\r\n"
            b"video-message :  0/2\r\nX-Other: 1\r\n\r\nTo: <alice@example.com>\r\nPriority: normal\r\n"
        )
        self.assertEqual((summary.is_waiting, summary.account), (True, "sip:alice@mailbox.example.com"))
        self.assertEqual(summary.voice, MessageCounts(new=4, old=8, new_urgent=1, old_urgent=2))
        self.assertEqual(dict(summary.counts)["video"], MessageCounts(new=0, old=2))
        self.assertEqual(
            summary.to_bytes(),
            b"Messages-Waiting: yes\r\nMessage-Account: sip:alice@mailbox.example.com\r\nVoice-Message: 4/8 (1/2)\r\n"
            b"Video-Message: 0/2\r\n",
        )
        self.assertEqual(MessageSummary.parse(summary.to_bytes()), summary)

    def test_lenient(self) -> None:
        """Line feeds alone, no line end at all, and empty lines before it are read."""
        for body in (b"Messages-Waiting: no", b"\r\nmessages-waiting:NO\n", b"Messages-Waiting: no\nNone: 0/0\n"):
            self.assertFalse(MessageSummary.parse(body).is_waiting)
        self.assertIsNone(MessageSummary.parse(b"Messages-Waiting: no").voice)

    def test_refused(self) -> None:
        """What does not say whether messages wait, contradicts itself, or counts nothing that is."""
        for body in (
            b"", b"Messages-Waiting: maybe", b"Voice-Message: 1/0", b"Messages-Waiting yes",
            b"Messages-Waiting: yes\nMessages-Waiting: no", b"Messages-Waiting: yes\nVoice-Message: many",
            b"Messages-Waiting: yes\nVoice-Message: 1", b"Messages-Waiting: yes\nVoice-Message: 9999999999/0",
            b"Messages-Waiting: yes\n" + b"".join(b"X-%d: 1\n" % number for number in range(100)),
            b"Messages-Waiting: yes\nX: " + b"x" * MAX_SUMMARY_OCTETS,
        ):  # fmt: skip
            self.assertRaises(ParseError, MessageSummary.parse, body)

    def test_unprintable(self) -> None:
        """What would add lines, or is no text or no class, is not printed."""
        for summary in (
            MessageSummary(is_waiting=True, account="sip:a\r\nVoice-Message: 1/0"),
            MessageSummary(is_waiting=True, account="\ud800"),
            MessageSummary(is_waiting=True, counts=(("smoke", MessageCounts(new=1, old=0)),)),
        ):
            self.assertRaises(ParseError, summary.to_bytes)
        none = MessageSummary(is_waiting=False, counts=(("none", MessageCounts(new=0, old=0)),))
        self.assertEqual(none.to_bytes(), b"Messages-Waiting: no\r\nNone: 0/0\r\n")
