"""Tests of `sipd.routing.questions`: what a service is asked, and which answers are understood."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.interfaces import RoutingRequest
from sipd.routing.questions import Answer, MalformedAnswerError, key_of, question_of, read_answer
from sipd.sip.headers import Headers
from sipd.sip.locate import Target, Transport
from sipd.sip.message import Request
from sipd.sip.parser import parse_datagram

_INVITE = b"""INVITE sip:+49301234@example.com SIP/2.0\r
Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa\r
From: "Al \xe9" <sip:alice@example.com>;tag=1\r
To: <sip:+49301234@example.com>\r
Call-ID: abc\r
CSeq: 1 INVITE\r
X-Account: 17\r
X-Account: 18\r
Content-Length: 0\r
\r
"""


def asked(data: bytes = _INVITE, **changes: Any) -> RoutingRequest:
    """Give a request as a router is asked about it."""
    request = parse_datagram(data)
    assert isinstance(request, Request)
    values: dict[str, Any] = {
        "request": request,
        "user": "alice",
        "source": Target(transport=Transport.UDP, host="192.0.2.9", port=5060),
        "point": "udp",
        "at": 1_795_300_000.5,
    }
    return RoutingRequest(**{**values, **changes})


class QuestionTests(SynchronousTestCase):
    """What is asked."""

    def test_everything(self) -> None:
        """The question says who calls whom, from where, when, and has the header fields that are wanted."""
        question = question_of(asked(), ("X-Account", "X-None"))
        self.assertEqual(
            json.loads(json.dumps(question)),
            {
                "version": 1,
                "method": "INVITE",
                "request_uri": "sip:+49301234@example.com",
                "from": {"uri": "sip:alice@example.com", "display_name": "Al ?"},
                "to": {"uri": "sip:+49301234@example.com", "display_name": ""},
                "call_id": "abc",
                "user": "alice",
                "trunk": None,
                "source": {"transport": "UDP", "host": "192.0.2.9", "port": 5060},
                "point": "udp",
                "at": 1_795_300_000.5,
                "headers": {"X-Account": ["17", "18"], "X-None": []},
            },
        )

    def test_the_same_question(self) -> None:
        """Two questions are the same whatever their call, moment and port; not if anything else is different."""
        first = key_of(question_of(asked(), ("X-Account",)))
        again = asked(
            _INVITE.replace(b"abc", b"def"), at=5.0, source=Target(transport=Transport.TCP, host="192.0.2.9", port=7)
        )
        self.assertEqual(key_of(question_of(again, ("X-Account",))), first)
        for other in (
            asked(user="bob"),
            asked(trunk="t"),
            asked(point="tcp"),
            asked(_INVITE.replace(b"+49301234", b"+49301235")),
            asked(_INVITE.replace(b"X-Account: 17", b"X-Account: 16")),
            asked(source=Target(transport=Transport.UDP, host="192.0.2.8", port=5060)),
        ):
            self.assertNotEqual(key_of(question_of(other, ("X-Account",))), first)

    def test_what_click_to_dial_asks(self) -> None:
        """A request of which there is nothing but From and a URI makes a question, too."""
        request = Request("INVITE", "sip:bob@example.com", Headers((("From", "<sip:alice@example.com>"),)))
        question = question_of(asked(request=request), ())
        self.assertEqual((question["to"], question["call_id"]), (None, ""))


class AnswerTests(SynchronousTestCase):
    """What is understood, and what is not."""

    def read(self, values: object) -> Answer:
        """Read an answer."""
        return read_answer(json.dumps(values).encode())

    def test_good_ones(self) -> None:
        """Attempts, refusals and leaving it to the dial plan are understood."""
        answer = self.read(
            {
                "version": 1,
                "name": "lcr",
                "rounds": [
                    [{"trunk": "a", "number": "+49", "timeout": 20, "stops": [486], "response_timeout": 3.5}],
                    [{"uri": "sip:x@192.0.2.1", "next_hop": "sip:192.0.2.2"}, {"user": "bob", "codecs": ["PCMA"]}],
                ],
                "setup_timeout": 90,
                "duration": 3600,
            }
        )
        assert answer.rounds is not None
        self.assertEqual([len(attempts) for attempts in answer.rounds], [1, 2])
        self.assertEqual(answer.rounds[0][0].stops, (486,))
        refused = self.read({"refuse": {"status": 404, "reason": "Nobody There", "retry_after": 7}}).refuse
        assert refused is not None
        self.assertEqual((refused.status, refused.retry_after), (404, 7))
        self.assertTrue(self.read({"continue": True}).go_on)

    def test_bad_ones(self) -> None:
        """Everything else is refused with a line that says where and why."""
        attempt = {"uri": "sip:x@192.0.2.1"}
        for values, expected in (
            ({}, "one of rounds, refuse and continue expected"),
            ({"continue": False}, "one of rounds"),
            ({"continue": True, "rounds": [[attempt]]}, "one of rounds"),
            ({"rounds": []}, "rounds: "),
            ({"rounds": [[]]}, "rounds.0: "),
            ({"rounds": [[attempt] * 17]}, "rounds.0: "),
            ({"rounds": [[attempt]] * 33}, "rounds: "),
            ({"rounds": [[{}]]}, "one of uri, trunk and user expected"),
            ({"rounds": [[{**attempt, "user": "bob"}]]}, "one of uri, trunk and user"),
            ({"rounds": [[{"trunk": "a"}]]}, "trunk and number expected together"),
            ({"rounds": [[{"user": "b", "next_hop": "sip:a"}]]}, "next_hop is possible beside uri only"),
            ({"rounds": [[{"uri": "mailto:x@y"}]]}, "a sip, sips or tel URI expected"),
            ({"rounds": [[{"uri": "sip:"}]]}, "rounds.0.0.uri: "),
            ({"rounds": [[{"uri": "sip:x@y", "next_hop": "tel:+49"}]]}, "a sip or sips URI expected"),
            ({"rounds": [[{**attempt, "timeout": "20"}]]}, "rounds.0.0.timeout: "),
            ({"rounds": [[{**attempt, "timeout": 0}]]}, "rounds.0.0.timeout: "),
            ({"rounds": [[{**attempt, "timout": 5}]]}, "rounds.0.0.timout: "),
            ({"rounds": [[{**attempt, "stops": [200]}]]}, "rounds.0.0.stops.0: "),
            ({"rounds": [[{**attempt, "label": "a\nb"}]]}, "text of one line expected"),
            ({"rounds": [[{**attempt, "caller": "x" * 200}]]}, "rounds.0.0.caller: "),
            ({"refuse": {"status": 200, "reason": "OK"}}, "refuse.status: "),
            ({"refuse": {"status": 404, "reason": "a\r\nX: y"}}, "text of one line expected"),
            ({"refuse": {"status": 404}}, "refuse.reason: "),
            ({"version": 2, "continue": True}, "version: "),
            ([], "no JSON object"),
            (7, "no JSON object"),
        ):
            with self.subTest(values):
                error = self.assertRaises(MalformedAnswerError, self.read, values)
                self.assertIn(expected, str(error))
                self.assertTrue(str(error).isprintable())

    def test_what_is_no_json(self) -> None:
        """Octets that are no JSON are refused, however they are none."""
        for body in (b"", b"{", b"\xff\xfe", b"NaN", b"[" * 100_000, b"<html>", b'{"rounds": NaN}'):
            self.assertRaises(MalformedAnswerError, read_answer, body)

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=300))
    def test_any_octets(self, body: bytes) -> None:
        """No octets do anything else than be read or be refused."""
        with contextlib.suppress(MalformedAnswerError):
            read_answer(body)

    @settings(deadline=None, max_examples=200)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(
                        ("rounds", "refuse", "continue", "uri", "trunk", "status", "reason", "timeout", "x")
                    ),
                    inner,
                    max_size=5,
                )
            ),
            max_leaves=20,
        )
    )
    def test_any_json(self, values: object) -> None:
        """No JSON does anything else than be read or be refused, in one line."""
        try:
            self.read(values)
        except MalformedAnswerError as error:
            self.assertTrue(str(error).isprintable(), str(error))
