"""Processor time per INVITE: parsed; read as a B2BUA reads it; made into the INVITE of the other leg and printed.

python -m benchmarks.messages --repeats 7
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

from benchmarks.tables import print_table, spread
from sipd import garbage
from sipd.b2bua.headers import body_fields, crossing
from sipd.sip.headers import Headers
from sipd.sip.message import Request
from sipd.sip.parser import parse_datagram
from sipd.sip.validation import find_fault

_HEAD = (
    b"INVITE sip:bob@biloxi.example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-524287-1---0c2b1f6a5d3e;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b"Contact: <sip:alice@192.0.2.10:5060;transport=UDP>\r\n"
    b'To: "Bob" <sip:bob@biloxi.example.com>\r\n'
    b'From: "Alice" <sip:alice@atlanta.example.com>;tag=a94f3c21\r\n'
    b"Call-ID: 3848276298220188511@atlanta.example.com\r\n"
    b"CSeq: 1 INVITE\r\n"
    b"Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE\r\n"
    b"Supported: replaces, norefersub, extended-refer, timer, outbound, path\r\n"
    b"User-Agent: Telephone 5.4.9 (build 20)\r\n"
    b"Content-Type: application/sdp\r\n"
)
_BODY = (
    b"v=0\r\n"
    b"o=- 1762860181 1 IN IP4 192.0.2.10\r\n"
    b"s=-\r\n"
    b"c=IN IP4 192.0.2.10\r\n"
    b"t=0 0\r\n"
    b"m=audio 40376 RTP/AVP 106 9 98 101 0 8 3\r\n"
    b"a=rtpmap:106 opus/48000/2\r\n"
    b"a=fmtp:106 sprop-maxcapturerate=16000; minptime=20; useinbandfec=1\r\n"
    b"a=rtpmap:9 G722/8000\r\n"
    b"a=rtpmap:98 telephone-event/48000\r\n"
    b"a=fmtp:98 0-16\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\n"
    b"a=fmtp:101 0-16\r\n"
    b"a=rtcp-mux\r\n"
    b"a=sendrecv\r\n"
    b"a=ssrc:1 cname:a94f3c21\r\n"
)
INVITE = b"%sContent-Length: %d\r\n\r\n%s" % (_HEAD, len(_BODY), _BODY)


def parse() -> Request:
    """Parse."""
    request = parse_datagram(INVITE)
    assert isinstance(request, Request)
    return request


def read() -> Request:
    """Parse, and read what transport, transaction, core and bridge read."""
    request = parse()
    if find_fault(request) is not None:
        raise ValueError("the INVITE is good, and was found faulty")
    via = request.via
    _ = via.branch, via.sent_by, via.rport
    _ = request.uri, request.from_.tag, request.to.tag, request.call_id, request.cseq, request.max_forwards
    _ = request.contacts[0].uri, request.record_routes, request.routes, request.content_type
    _ = request.headers.get("Require"), request.headers.get("Proxy-Authorization")
    return request


def relay() -> bytes:
    """Do that, and print the INVITE of the other leg: own Via, From, To, Call-ID, CSeq, Contact; the rest crosses."""
    request = read()
    fields = Headers()
    fields.add("Via", "SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK7d1c0a6e2f;rport")
    fields.add("Max-Forwards", str((request.max_forwards or 70) - 1))
    fields.add("From", str(request.from_.without_parameters().with_tag("5d1c7be0")))
    fields.add("To", str(request.to.without_parameters()))
    fields.add("Call-ID", "b7e23ec29af22b0b4e41da31")
    fields.add("CSeq", "1 INVITE")
    fields.add("Contact", "<sip:198.51.100.1:5060>")
    fields.copy_others(crossing(request.headers), frozenset())
    fields.extend(body_fields(request.headers))
    return Request("INVITE", "sip:bob@203.0.113.7:5060", fields, request.body).to_bytes()


def microseconds(work: Callable[[], object], number: int) -> float:
    """Give the processor time of one call of `work`."""
    # As in the daemon once it runs.
    garbage.settle()
    before = time.process_time()
    for _ in range(number):
        work()
    return (time.process_time() - before) / number * 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="CPU time per INVITE")
    parser.add_argument("--repeats", type=int, default=7, help="runs, in turns")
    parser.add_argument("--number", type=int, default=10_000, help="messages in each run")
    options = parser.parse_args(arguments)
    works = {"parsed": parse, "and read": read, "and printed for the other leg": relay}
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        microseconds(work, options.number // 10)
    for _ in range(options.repeats):
        for name, work in works.items():
            times[name].append(microseconds(work, options.number))
    title = f"One INVITE of {len(INVITE)} octets; CPU us, minimum / median / maximum"
    print_table(title, ["", "us"], [[name, spread(values, 1)] for name, values in times.items()])


if __name__ == "__main__":
    main()
