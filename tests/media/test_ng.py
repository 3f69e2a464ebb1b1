"""Tests of `sipd.media.rtpengine.ng`: the octets of the protocol, good ones and others."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import MediaEngineError
from sipd.media.rtpengine.ng import (
    MAX_SIZE_OCTETS,
    MAX_STREAMS,
    StreamCounters,
    answer,
    check_result,
    decode,
    delete_call,
    delete_party,
    encode,
    offer,
    ping,
    query,
    read_counters,
    read_sdp,
)


class EncodeTests(SynchronousTestCase):
    """What is sent."""

    def test_ping(self) -> None:
        """A datagram is the cookie, a space and a JSON object."""
        self.assertEqual(encode("c1", ping()), b'c1 {"command":"ping"}')

    def test_offer_and_answer(self) -> None:
        """In both, `from-tag` is who offered and `to-tag` who is to answer, and the options stand beside them."""
        options = {"ICE": "remove", "flags": ["port-latching"]}
        for function, command in ((offer, "offer"), (answer, "answer")):
            request = decode(encode("c", function("call", "a", "b1", "v=0\r\n", options)))[1]
            expected = {"command": command, "call-id": "call", "from-tag": "a", "to-tag": "b1", "sdp": "v=0\r\n"}
            self.assertEqual(request, {**expected, **options})

    def test_query_and_delete(self) -> None:
        """A call is asked for and deleted by its name, a party by its tag, both without a delay."""
        self.assertEqual(query("x"), {"command": "query", "call-id": "x"})
        self.assertEqual(delete_call("x"), {"command": "delete", "call-id": "x", "delete delay": 0})
        self.assertEqual(delete_party("x", "b1"), {**delete_call("x"), "from-tag": "b1"})

    def test_octets_that_are_not_utf8(self) -> None:
        """What JSON cannot carry becomes U+FFFD."""
        request = offer("call", "a", "b1", b"s=\xff\xc3\xa9".decode("utf-8", "surrogateescape"), {})
        self.assertEqual(decode(encode("c", request))[1]["sdp"], "s=\ufffd\u00e9")

    def test_too_large(self) -> None:
        """What does not fit into a datagram is refused."""
        self.assertRaises(MediaEngineError, encode, "c", offer("call", "a", "b1", "x" * MAX_SIZE_OCTETS, {}))


class DecodeTests(SynchronousTestCase):
    """What is received."""

    def test_rubbish(self) -> None:
        """What is no cookie with a JSON object is `MediaEngineError`, however it is broken."""
        for data in (
            b"",
            b" ",
            b"cookie",
            b"cookie ",
            b" {}",
            b"c {",
            b"c []",
            b"c 5",
            b"c d6:result4:ponge",
            b'c {"result":"\xff"}',
            b"c\x00 {}",
            b"x" * 65 + b" {}",
            b"c " + b"[" * 60_000,
            b"c " + b'{"a":' * 10_000,
            b'c {"a":' + b"9" * 10_000 + b"}",
            b"c {}" + b" " * MAX_SIZE_OCTETS,
        ):
            self.assertRaises(MediaEngineError, decode, data)

    @given(st.binary(max_size=200))
    def test_any_octets(self, data: bytes) -> None:
        """Whatever comes either parses or is `MediaEngineError`."""
        for datagram in (data, b"c " + data):
            try:
                decode(datagram)
            except MediaEngineError:
                continue

    def test_results(self) -> None:
        """`ok` and `pong` mean that it was done; of everything else the reason is told, in one printable line."""
        for outcome in ("ok", "pong"):
            check_result({"result": outcome})
        refused: list[tuple[dict[str, Any], str]] = [
            ({"result": "error", "error-reason": "Unknown call-id"}, "Unknown call-id"),
            ({"result": "load limit", "message": "too many sessions"}, "too many sessions"),
            ({"result": "load limit"}, "load limit"),
            ({"result": "error", "error-reason": "a\r\nb\x1b"}, "a b "),
            ({"result": "error", "error-reason": "x" * 5000}, "x" * 200),
            ({"result": {"a": 1}}, "an answer without a result"),
            ({}, "an answer without a result"),
        ]
        for result, reason in refused:
            self.assertEqual(str(self.assertRaises(MediaEngineError, check_result, result)), reason)

    def test_sdp(self) -> None:
        """A description is a string."""
        self.assertEqual(read_sdp({"sdp": "v=0\r\n"}), "v=0\r\n")
        wrong: tuple[dict[str, Any], ...] = ({}, {"sdp": None}, {"sdp": ["v=0"]})
        for result in wrong:
            self.assertRaises(MediaEngineError, read_sdp, result)


class CounterTests(SynchronousTestCase):
    """Counters, in the shape that rtpengine 10.5 gives them."""

    def test_counters(self) -> None:
        """The streams of a media line are added up: RTP with its octets and source, RTCP apart, errors of both."""
        rtp = {
            "flags": ["RTP", "filled"],
            "endpoint": {"family": "IPv6", "address": "2001:db8::1", "port": 6000},
            "SSRC": 99,
            "stats": {"packets": 5, "bytes": 860, "errors": 1},
        }
        rtcp = {"flags": ["RTCP"], "stats": {"packets": 2, "bytes": 56, "errors": 2}}
        result = {"tags": {"b1": {"medias": [{"index": 2, "type": "audio", "streams": [rtp, rtcp]}]}}}
        expected = StreamCounters(
            tag="b1",
            index=1,
            media="audio",
            packets=5,
            size_octets=860,
            rtcp_packets=2,
            errors=3,
            source="[2001:db8::1]:6000",
            ssrc=99,
        )
        self.assertEqual(read_counters(result), [expected])

    def test_nothing_received(self) -> None:
        """A stream that nothing came on has no source, although it has an end point."""
        stream = {"flags": ["RTP"], "endpoint": {"address": "192.0.2.1", "port": 1}, "stats": {"packets": 0}}
        (counters,) = read_counters({"tags": {"a": {"medias": [{"streams": [stream]}]}}})
        self.assertEqual((counters.source, counters.index), ("", 0))

    def test_bound(self) -> None:
        """Of endless counters the first ones are read."""
        result: dict[str, Any] = {"tags": {"a": {"medias": [{}] * (MAX_STREAMS + 5)}}}
        self.assertEqual(len(read_counters(result)), MAX_STREAMS)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=4),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["tags", "a", "medias", "streams", "stats", "packets", "flags", "endpoint", "port", "index"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
        )
    )
    def test_any_shape(self, value: Any) -> None:
        """Counters of any shape are read as far as they make sense, and never raise."""
        for result in ({"tags": value}, {"tags": {"a": {"medias": [value, {"streams": [value]}]}}}):
            for counters in read_counters(json.loads(json.dumps(result))):
                self.assertGreaterEqual(counters.packets, 0)
