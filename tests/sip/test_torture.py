"""Torture: the messages of RFC 4475, and more in tests/torture, each accepted or refused as it should be."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError, RequestRefusedError
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.sip.validation import (
    find_fault,
    find_spent_hops,
    find_unsupported_body,
    find_unsupported_extension,
    find_unsupported_scheme,
    is_usable,
)

ROOT = Path(__file__).resolve().parents[2]
TORTURE = ROOT / "tests" / "torture"
CORPUS = ROOT.parent / "shared" / "corpora" / "rfc4475"

USUAL = {
    "Via": "SIP/2.0/UDP host.example.com;branch=z9hG4bKusual",
    "From": "<sip:alice@example.com>;tag=usual",
    "To": "<sip:bob@example.com>",
    "Call-ID": "usual@example.com",
    "CSeq": "1 OPTIONS",
    "Max-Forwards": "70",
}


def refusal(request: Request) -> RequestRefusedError | None:
    """Say how a user agent that knows 100rel and SDP refuses a request, before it looks at the method."""
    return (
        find_fault(request)
        or find_unsupported_scheme(request)
        or find_unsupported_extension(request, frozenset(("100rel",)))
        or find_unsupported_body(request, frozenset(("application/sdp", "text/plain", "a/b")))
        or find_spent_hops(request)
    )


def octets(entry: dict[str, Any]) -> bytes:
    """Give the message that an entry of a TOML file describes."""
    encoding: str = entry.get("encoding", "utf-8")
    if "raw" in entry:
        return bytes(entry["raw"], encoding)
    usual = [f"{name}: {value}" for name, value in USUAL.items() if name not in entry.get("without", ())]
    text = "\r\n".join([entry["start"], *usual, *entry.get("fields", ()), "", entry.get("body", "")])
    return text.encode(encoding)


def load(name: str, start: str) -> list[dict[str, Any]]:
    """Give the entries of a TOML file, `start` filled in where it is left out."""
    entries = tomllib.loads((TORTURE / name).read_text("utf-8"))["message"]
    return [{"start": start} | entry for entry in entries]


def read(message: Request | Response, path: str) -> str:
    """Give what the attribute at a dotted path reads, as text; a number is an index."""
    value: Any = message
    for step in path.split("."):
        value = value[int(step)] if step.isdigit() else getattr(value, step)
    return str(value)


class OwnTests(SynchronousTestCase):
    """The messages in tests/torture."""

    def check_reads(self, entry: dict[str, Any], message: Request | Response) -> None:
        """Assert what the attributes read, and that a printed copy is the same message."""
        for path, text in entry.get("reads", {}).items():
            self.assertEqual(read(message, path), text, f"{entry['name']}: {path}")
        self.assertEqual(parse_datagram(message.to_bytes()), message, entry["name"])

    def test_requests(self) -> None:
        """Each request is accepted, refused with its status, or no message at all, as its entry says."""
        entries = load("requests.toml", "OPTIONS sip:bob@example.com SIP/2.0")
        self.assertGreater(len(entries), 50)
        for entry in entries:
            name, data = entry["name"], octets(entry)
            if entry["expect"] == "malformed":
                self.assertRaises(ParseError, parse_datagram, data)
                continue
            message = parse_datagram(data)
            assert isinstance(message, Request), name
            refused = refusal(message)
            self.assertEqual(refused.status if refused else "accepted", entry["expect"], f"{name}: {refused}")
            self.check_reads(entry, message)
            if refused is not None:
                answer = parse_datagram(message.response(refused.status, refused.reason, to_tag="t").to_bytes())
                assert isinstance(answer, Response), name
                self.assertEqual(answer.status, refused.status)

    def test_responses(self) -> None:
        """Each response is usable, to be dropped, or no message at all, as its entry says."""
        entries = load("responses.toml", "SIP/2.0 200 OK")
        self.assertGreater(len(entries), 10)
        for entry in entries:
            name, data = entry["name"], octets(entry)
            if entry["expect"] == "malformed":
                self.assertRaises(ParseError, parse_datagram, data)
                continue
            message = parse_datagram(data)
            assert isinstance(message, Response), name
            self.assertEqual("usable" if is_usable(message) else "unusable", entry["expect"], name)
            self.check_reads(entry, message)

    def test_names_are_unique(self) -> None:
        """A failure names one message."""
        for file in ("requests.toml", "responses.toml"):
            names = [entry["name"] for entry in load(file, "")]
            self.assertEqual(len(names), len(set(names)))


class Rfc4475Tests(SynchronousTestCase):
    """The archive of RFC 4475, as parser and validators see it."""

    if not CORPUS.is_dir():
        skip = f"the corpus of RFC 4475 is not at {CORPUS}"

    #: Faults that only who authenticates, or who looks into a body, can see.
    LEFT_TO_OTHERS = frozenset(("regaut01",))

    def load(self, name: str) -> Request:
        """Parse one of the requests."""
        message = parse_datagram((CORPUS / f"{name}.dat").read_bytes())
        assert isinstance(message, Request)
        return message

    def is_expected(self, status: int | None, words: list[str]) -> bool:
        """Say whether a refusal, or `None` for none, is among the answers that the index allows."""
        if status is None:
            return "any" in words or "2xx" in words
        if f"!{status}" in words:
            return False
        return "any" in words or str(status) in words or f"{status // 100}xx" in words

    def test_each_message_is_taken_as_the_index_says(self) -> None:
        """All 49: requests accepted or refused with a status that is allowed, responses usable or not."""
        entries = json.loads((CORPUS / "index.json").read_text("utf-8"))["messages"]
        self.assertEqual(len(entries), 49)
        for entry in entries:
            name, data = entry["name"], (CORPUS / entry["file"]).read_bytes()
            if entry["kind"] == "request":
                message = parse_datagram(data)
                assert isinstance(message, Request), name
                refused = refusal(message)
                if refused is not None or name not in self.LEFT_TO_OTHERS:
                    status = refused.status if refused is not None else None
                    self.assertTrue(self.is_expected(status, entry["udp_answer"].split()), f"{name}: {refused}")
                if entry["valid"]:
                    self.assertIsNone(find_fault(message), name)
            elif entry["cls"] == "invalid":
                try:
                    parsed = parse_datagram(data)
                except ParseError:
                    continue
                assert isinstance(parsed, Response), name
                self.assertFalse(is_usable(parsed), name)
            else:
                parsed = parse_datagram(data)
                assert isinstance(parsed, Response), name
                self.assertTrue(is_usable(parsed), name)

    def test_printing_changes_nothing(self) -> None:
        """What parses is printed as it came where its length is right, and parses to the same message again."""
        untouched = 0
        for path in sorted(CORPUS.glob("**/*.dat")):
            data = path.read_bytes()
            try:
                message = parse_datagram(data)
            except ParseError:
                continue
            printed = message.to_bytes()
            self.assertEqual(parse_datagram(printed), message, path.name)
            untouched += printed == data
        self.assertGreaterEqual(untouched, 30)

    def test_wsinv(self) -> None:
        """Section 3.1.1.1: folding, white space and escaped quotes."""
        message = self.load("wsinv")
        self.assertEqual((message.to.tag, message.from_.tag), ("1918181833n", "98asjd8"))
        self.assertEqual(message.from_.display_name, 'J Rosenberg \\"')
        self.assertEqual((str(message.cseq), message.max_forwards), ("9 INVITE", 68))
        self.assertEqual([via.transport for via in message.vias], ["UDP", "TCP", "UDP"])
        self.assertEqual([via.branch for via in message.vias], ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"])
        contact = message.contacts[0]
        self.assertEqual((contact.display_name, contact.q), ('Quoted string ""', 0.33))
        self.assertEqual(contact.parameters, {"newparam": "newvalue", "secondparam": None, "q": "0.33"})
        self.assertEqual(message.headers.get("UnknownHeaderWithUnusualValue"), ";;,,;;,;")
        self.assertEqual(message.headers.get("NewFangledHeader"), "newfangled value continued newfangled value")

    def test_escapes(self) -> None:
        """Sections 3.1.1.3 and 3.1.1.4: what is escaped is equal to what is not, once, and a NUL ends nothing."""
        message = self.load("esc01")
        self.assertEqual(message.to.uri.address_of_record(), "sip:user@example.com")  # type: ignore[union-attr]
        self.assertIn("lr", message.contacts[0].uri.parameters)  # type: ignore[union-attr]
        users = [contact.uri.user for contact in self.load("escnull").contacts]  # type: ignore[union-attr]
        self.assertEqual(users, ["%00", "%00%00"])
        message = self.load("esc02")
        self.assertEqual((message.method, len(message.contacts)), ("RE%47IST%45R", 2))

    def test_bodies(self) -> None:
        """Sections 3.1.1.8 and 3.1.1.11: a second message is no body; binary parts come through whole."""
        self.assertEqual(self.load("dblreq").body, b"")
        message = self.load("mpart01")
        self.assertEqual(len(message.body), 553)
        self.assertIn(b"\0", message.body)

    def test_contact_parameters(self) -> None:
        """Sections 3.3.12 to 3.3.14: outside of brackets they are the field's, inside they are the URI's."""
        contact = self.load("cparam01").contacts[0]
        self.assertEqual(
            (str(contact.uri), contact.parameters), ("sip:+19725552222@gw1.example.net", {"unknownparam": None})
        )
        contact = self.load("cparam02").contacts[0]
        self.assertEqual(str(contact.uri), "sip:+19725552222@gw1.example.net;unknownparam")
        self.assertEqual(contact.parameters, {})
        contact = self.load("regescrt").contacts[0]
        self.assertEqual(contact.uri.headers, (("Route", "%3Csip:sip.example.com%3E"),))  # type: ignore[union-attr]
