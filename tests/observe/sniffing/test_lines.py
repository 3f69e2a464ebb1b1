"""Messages as lines, whole, and by names; what is never shown."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.observe.capture import redact
from sipd.observe.sniffing.lines import as_text, block, line, moment, values
from sipd.observe.sniffing.sightings import Unreadable, sight
from tests.observe.sniffing.wires import ALICE, ALICE_6, BOB, BOB_6, request, response, seen

_AT = 1_800_000_000.25
_TIME = "2027-01-15T08:00:00.250Z"

#: What holds secrets, and the secrets.
_SECRET_FIELDS = (
    'Authorization: Digest username="alice", realm="x", nonce="n", uri="sip:x", response="deadbeef01"\r\n'
    "Proxy-Authorization: Bearer deadbeef02\r\nContact: <sip:alice:deadbeef03@192.0.2.1>\r\n"
)
_SECRET_BODY = (
    "v=0\r\nk=clear:deadbeef04\r\n"
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:deadbeef05|2^20|1:4;inline:deadbeef06|1:4\r\n"
    "a=key-mgmt:mikey deadbeef07\r\n"
)


class LineTests(SynchronousTestCase):
    """One line for each."""

    def test_request(self) -> None:
        """A request says when, between whom, how, what, for whom and which call."""
        self.assertEqual(
            line(seen(request(), at=_AT)),
            f"{_TIME} 192.0.2.1:5062 -> 192.0.2.9:5060 UDP INVITE sip:bob@example.com from alice to bob a1",
        )

    def test_response(self) -> None:
        """A response says its status, its phrase and what it answers; addresses of IPv6 are in brackets."""
        sighting = seen(response(486, reason="Busy Here"), at=_AT, source=BOB_6, destination=ALICE_6, transport="TCP")
        self.assertEqual(
            line(sighting),
            f"{_TIME} [2001:db8::9]:5060 -> [2001:db8::1]:5062 TCP 486 Busy Here (INVITE) from alice to bob a1",
        )

    def test_others(self) -> None:
        """Malformed messages, missing fields and unreadable connections have lines, too."""
        malformed = seen(b"INVITE sip:bob SIP/2.0\r\nno header\r\n\r\n", at=_AT)
        self.assertRegex(line(malformed), r"UDP malformed: Malformed header line .no header.")
        bare = seen(b"OPTIONS sip:bob SIP/2.0\r\nFrom: <tel:+49>\r\nTo: <sip:example.com>\r\n\r\n")
        self.assertRegex(line(bare), r"OPTIONS sip:bob from \+49 to example\.com \?$")
        nobody = seen(b"SIP/2.0 200 OK\r\nFrom: <\r\n\r\n")
        self.assertRegex(line(nobody), r"200 OK \(\?\) from \? to \? \?$")
        tls = Unreadable(at=_AT, source=ALICE, destination=BOB, reason="TLS: cannot be read")
        self.assertEqual(line(tls), f"{_TIME} 192.0.2.1:5062 -> 192.0.2.9:5060 TLS: cannot be read")

    def test_not_sip(self) -> None:
        """What does not look like SIP is none."""
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 20, b"hello"):
            self.assertIsNone(sight(data, at=0.0, source=ALICE, destination=BOB, transport="UDP"))

    def test_block(self) -> None:
        """A whole message stands under its line."""
        text = block(seen(request(body="v=0\r\n"), at=_AT))
        first, second, *_ = text.split("\n")
        self.assertRegex(first, rf"^{_TIME} .* INVITE")
        self.assertEqual(second, "INVITE sip:bob@example.com SIP/2.0")
        self.assertTrue(text.endswith("\nContent-Length: 5\n\nv=0\n"))

    def test_values(self) -> None:
        """By names there is the same, and JSON can say it."""
        found = values(seen(request(), at=_AT))
        self.assertEqual(json.loads(json.dumps(found)), found)
        self.assertEqual(
            found,
            {
                "kind": "request",
                "at": _AT,
                "time": _TIME,
                "source": "192.0.2.1:5062",
                "destination": "192.0.2.9:5060",
                "transport": "UDP",
                "method": "INVITE",
                "status": None,
                "reason": None,
                "uri": "sip:bob@example.com",
                "from": "sip:alice@example.com",
                "to": "sip:bob@example.com",
                "from_user": "alice",
                "to_user": "bob",
                "call_id": "a1",
                "cseq": 1,
                "size_octets": len(request()),
            },
        )
        found = values(seen(response(404, reason="Not Found")))
        self.assertEqual(
            (found["kind"], found["status"], found["reason"], found["uri"]), ("response", 404, "Not Found", None)
        )
        self.assertEqual(values(seen(b"X sip:x SIP/2.0\r\n:\r\n\r\n"))["kind"], "malformed")

    def test_time(self) -> None:
        """A time that no calendar has is a number."""
        self.assertEqual(moment(1e18), "1000000000000000000.000")

    def test_secrets(self) -> None:
        """Credentials, passwords and keys are covered in all that is shown, and lengths stay."""
        data = request(fields=_SECRET_FIELDS, body=_SECRET_BODY)
        self.assertEqual(data.count(b"deadbeef"), 7)
        self.assertEqual(len(redact(data)), len(data))
        sighting = seen(data)
        for text in (line(sighting), block(sighting), json.dumps(values(sighting)), as_text(sighting.data)):
            self.assertNotIn("deadbeef", text)
        self.assertIn("inline:xxxxxxxxxx|2^20|1:4;inline:xxxxxxxxxx|1:4", block(sighting))
        uri = request().replace(b"sip:bob@example.com SIP", b"sip:bob:deadbeef@example.com SIP")
        self.assertNotIn("deadbeef", line(seen(uri)))

    @settings(max_examples=300, deadline=None)
    @given(
        st.binary(max_size=200),
        st.sampled_from([b"", b"INVITE sip:x SIP/2.0\r\n", b"SIP/2.0 200 OK\r\nTo: ", request()]),
    )
    def test_any_octets(self, octets: bytes, start: bytes) -> None:
        """Whatever the octets, there are lines of printable text, or there is no message."""
        sighting = sight(start + octets, at=0.0, source=ALICE, destination=BOB, transport="UDP")
        if sighting is None:
            return
        self.assertTrue(line(sighting).isprintable())
        self.assertTrue(block(sighting).replace("\n", "").isprintable())
        json.dumps({**values(sighting), "message": as_text(sighting.data)})
