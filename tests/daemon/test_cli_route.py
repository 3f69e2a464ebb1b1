"""Tests of `sipd route`: what a dry run shows, and that it touches nothing."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
from typing import Any

from sipd.daemon.cli import main
from sipd.sip.message import Request
from sipd.sip.parser import parse_datagram
from tests.daemon.case import HIDDEN, ConfigCase

CONFIG = f"""
domains = ["example.com", "192.0.2.1"]
state_directory = "state"
[[listen]]
name = "udp"
transport = "udp"
address = "192.0.2.1"
[[listen]]
name = "tls"
transport = "tls"
address = "192.0.2.1"
self_signed = true
[[listen]]
name = "udp6"
transport = "udp"
address = "2001:db8::1"
[[users]]
name = "alice"
password = "{HIDDEN}"
[[users]]
name = "bob"
password = "{HIDDEN}"
[[routes]]
name = "premium"
user = "0900.*"
refuse = [403, "Premium numbers are barred"]
[[routes]]
name = "inbound"
sources = ["198.51.100.0/24"]
authenticate = false
to = "sip:bob@example.com"
[[routes]]
name = "night"
user = "1.*"
hours = "night"
to = "sip:night@example.com"
[[routes]]
name = "gateway"
user = "0(?P<number>[0-9]+)"
to = "sip:+49{{number}}@gateway.example.net"
timeout = 25.0
response_timeout = 3.5
stops = [486]
next_hop = "sip:proxy.example.net;transport=tls"
codecs = ["pcma"]
credentials = {{ username = "office", password = "{HIDDEN}" }}
[[routing.opening_hours]]
name = "night"
zone = "Europe/Berlin"
times = ["22:00-06:00"]
[media]
first_port = 30000
last_port = 30010
[registrar]
database = "mysql+absent://sipd:{HIDDEN}@db.example.com/sipd"
[cdr]
file = "/absent/calls.jsonl"
"""


class RouteCase(ConfigCase):
    """Runs the command in this process."""

    def setUp(self) -> None:
        super().setUp()
        self.file.write_text(CONFIG)

    def run_sipd(self, *arguments: str) -> tuple[int, str, str]:
        """Give exit status, standard output and standard error."""
        output, errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", output)
        self.patch(sys, "stderr", errors)
        status = main(arguments)
        for text in (output.getvalue(), errors.getvalue()):
            self.assertNotIn(HIDDEN, text)
        return status, output.getvalue(), errors.getvalue()

    def route(self, *arguments: str) -> dict[str, Any]:
        """Give the outcome as JSON has it."""
        status, output, errors = self.run_sipd("route", "--json", "-c", str(self.file), *arguments)
        self.assertEqual((status, errors), (0, ""))
        values: dict[str, Any] = json.loads(output)
        return values

    def invite(self, values: dict[str, Any]) -> Request:
        """Give the INVITE that would leave."""
        request = parse_datagram(values["invite"]["text"].encode())
        assert isinstance(request, Request)
        return request


class DryRunTests(RouteCase):
    """Where calls go."""

    def test_by_a_route(self) -> None:
        """Each rule that was tried is there with its reason, the attempt with its timers, and the INVITE as it is."""
        values = self.route("alice", "030123", "--at", "2026-11-22T23:30+01:00")
        self.assertEqual((values["from"], values["to"]), ("sip:alice@example.com", "sip:030123@example.com"))
        self.assertEqual((values["must_authenticate"], values["user"], values["answer"]), (True, "alice", None))
        self.assertEqual(values["route"], "gateway")
        self.assertEqual(
            values["considered"],
            [
                "route premium: user 030123 does not match",
                "route inbound: 192.0.2.10 is not among its sources",
                "route night: user 030123 does not match",
                "route gateway: taken",
            ],
        )
        ((attempt,),) = values["rounds"]
        self.assertEqual(
            attempt,
            {
                "uri": "sip:+4930123@gateway.example.net",
                "label": "route gateway",
                "timeout": 25.0,
                "response_timeout": 3.5,
                "stops": [486],
                "next_hop": "sip:proxy.example.net;transport=tls",
                "codecs": ["pcma"],
                "credentials": "office",
            },
        )
        self.assertEqual(values["invite"]["to"], "proxy.example.net:5061 over TLS from tls")
        invite = self.invite(values)
        self.assertEqual((invite.method, invite.uri_text), ("INVITE", "sip:+4930123@gateway.example.net"))
        self.assertEqual((invite.via.transport, invite.via.sent_by), ("TLS", "192.0.2.1:5061"))
        self.assertEqual(invite.max_forwards, 69)
        self.assertEqual(str(invite.from_.uri), "sip:alice@example.com")
        self.assertEqual(invite.headers.get("Contact"), "<sip:alice@192.0.2.1:5061;transport=tls>")
        body = invite.body.decode()
        self.assertRegex(body, r"m=audio 3000[0-9] RTP/AVP 8 101\r\n")
        self.assertIn("c=IN IP4 192.0.2.1\r\n", body)

    def test_refusals(self) -> None:
        """A call that a rule refuses, or for nobody, has no INVITE, and the answer that the caller gets."""
        values = self.route("alice", "0900123")
        self.assertEqual((values["invite"], values["rounds"]), (None, []))
        self.assertEqual(values["answer"], {"status": 403, "reason": "Premium numbers are barred"})
        self.assertEqual(self.route("alice", "nobody")["answer"]["status"], 404)
        self.assertEqual(self.route("alice", "sip:x@elsewhere.example")["answer"]["status"], 403)

    def test_who_calls(self) -> None:
        """The caller proves what it can, or what it is said to; a stranger is asked who it is."""
        stranger = self.route("alice", "bob", "--stranger")
        self.assertEqual((stranger["answer"]["status"], stranger["user"], stranger["route"]), (407, None, None))
        self.assertEqual(self.route("sip:eve@elsewhere.example", "bob")["answer"]["status"], 407)
        other = self.route("sip:bob@example.com", "bob", "--user", "alice")
        self.assertEqual(other["answer"], {"status": 403, "reason": "From Is Not Your Address"})

    def test_where_it_comes_from(self) -> None:
        """The source decides on rules, on who is asked, and on the listening point."""
        values = self.route("sip:123@carrier.example", "999", "--source", "198.51.100.7:5070")
        self.assertEqual((values["source"], values["must_authenticate"]), ("UDP 198.51.100.7:5070", False))
        self.assertEqual(values["considered"][1], "route inbound: taken")
        self.assertEqual(self.invite(values).uri_text, "sip:bob@192.0.2.20:5060")
        values = self.route("alice", "bob", "--source", "2001:db8::5")
        self.assertEqual((values["source"], values["point"]), ("UDP [2001:db8::5]:5060", "udp6"))
        values = self.route("alice", "bob", "--source", "[2001:db8::5]:5090")
        self.assertEqual(values["source"], "UDP [2001:db8::5]:5090")

    def test_when(self) -> None:
        """The moment decides on opening hours, on this machine's clock or with an offset."""
        at_night = self.route("alice", "123", "--at", "2026-11-22T23:30+01:00")
        self.assertEqual(at_night["route"], "registered")
        self.assertIn("route night: taken", at_night["considered"])
        by_day = self.route("alice", "123", "--at", "2026-11-22T12:00+01:00")
        self.assertNotIn("route night: taken", by_day["considered"])

    def test_where_users_are(self) -> None:
        """Users are registered at a made-up address, at those that are given, or nowhere."""
        self.assertEqual(self.invite(self.route("alice", "bob")).uri_text, "sip:bob@192.0.2.20:5060")
        contacts = ("--contact", "sip:b@192.0.2.77", "--contact", "sip:b@192.0.2.78;transport=tls")
        values = self.route("alice", "bob", *contacts)
        self.assertEqual([len(attempts) for attempts in values["rounds"]], [2])
        self.assertEqual(self.invite(values).uri_text, "sip:b@192.0.2.77")
        self.assertEqual(self.route("alice", "bob", "--unregistered")["answer"]["status"], 480)

    def test_headers(self) -> None:
        """Header fields that are given cross as they do in a call; those of the INVITE may be others."""
        values = self.route("alice", "bob", "--header", "X-Account: 17", "--header", "Max-Forwards: 5")
        invite = self.invite(values)
        self.assertEqual((invite.headers.get("X-Account"), invite.max_forwards), ("17", 4))
        self.assertEqual(self.route("alice", "bob", "--header", "Max-Forwards:0")["answer"]["status"], 483)

    def test_the_same_again(self) -> None:
        """The same question has the same outcome, to the octet: two configurations can be compared by it."""
        question = ("alice", "030123", "--at", "2026-11-22T12:00Z")
        self.assertEqual(self.route(*question), self.route(*question))

    def test_nothing_is_touched(self) -> None:
        """No socket is made, no file opened for writing, and no state directory appears."""
        opened: list[str] = []
        real = os.open

        def note(path: Any, flags: int, *arguments: Any, **keywords: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                opened.append(str(path))
            return real(path, flags, *arguments, **keywords)

        def refuse(*arguments: object, **keywords: object) -> None:
            raise AssertionError("a socket was made")

        self.patch(os, "open", note)
        self.patch(socket, "socket", refuse)
        self.route("alice", "030123")
        self.route("alice", "bob", "--contact", "sip:bob@phone.example.com")
        self.assertEqual(opened, [])
        self.assertEqual(sorted(path.name for path in self.directory.iterdir()), ["sipd.toml"])

    def test_for_people(self) -> None:
        """Without --json it says the same in lines, and the INVITE stands at the end."""
        status, output, _ = self.run_sipd("route", "alice", "030123", "--config", str(self.file))
        self.assertEqual(status, 0)
        for line in (
            "sip:alice@example.com calls sip:030123@example.com",
            "  proves to be alice",
            "  route inbound: 192.0.2.10 is not among its sources",
            "goes by: gateway",
            "  route gateway: sip:+4930123@gateway.example.net, for 25 s",
            "    response timeout: 3.5",
            "leaves for proxy.example.net:5061 over TLS from tls:",
            "INVITE sip:+4930123@gateway.example.net SIP/2.0",
        ):
            self.assertIn(f"{line}\n", output)
        _, output, _ = self.run_sipd("route", "alice", "0900", "--config", str(self.file))
        self.assertTrue(output.endswith("the caller is answered 403 Premium numbers are barred\n"), output)


class TrunkTests(RouteCase):
    """A dry run with trunks, limits and guards."""

    def setUp(self) -> None:
        super().setUp()
        text = CONFIG.replace('to = "sip:+49{number}@gateway.example.net"', 'trunks = ["registered", "plain"]')
        for line in ("response_timeout = 3.5\n", 'next_hop = "sip:proxy.example.net;transport=tls"\n'):
            text = text.replace(line, "")
        text = "\n".join(line for line in text.splitlines() if not line.startswith("credentials"))
        self.file.write_text(
            f"""{text}
[[trunks]]
name = "registered"
credentials = {{ username = "office", password = "{HIDDEN}" }}
response_timeout = 4.0
[trunks.registration]
aor = "sip:office@carrier.example.net"
registrars = ["sip:registrar.example.net"]
[[trunks]]
name = "plain"
servers = ["sip:198.51.100.9"]
networks = ["198.51.100.9"]
[limits]
call_duration = 3600
[guards]
deny = ["203.0.113.0/24"]
"""
        )

    def test_out(self) -> None:
        """Trunks count as registered and up; what limits add to the route is there, and no secret."""
        values = self.route("alice", "030123")
        (first,), (second,) = values["rounds"]
        self.assertEqual(
            (first["trunk"], first["credentials"], first["response_timeout"]), ("registered", "office", 4.0)
        )
        self.assertEqual((second["trunk"], second["next_hop"]), ("plain", "sip:198.51.100.9"))
        self.assertEqual(values["duration"], 3600)
        self.assertEqual(values["invite"]["to"], "registrar.example.net:5060 over UDP from udp")
        self.assertEqual(self.invite(values).uri_text, "sip:030123@carrier.example.net")

    def test_in(self) -> None:
        """The source says which trunk a call comes from, or the question does."""
        for arguments in (("--source", "198.51.100.9"), ("--trunk", "registered", "--source", "198.51.100.1")):
            values = self.route("sip:123@carrier.example.net", "999", *arguments)
            self.assertEqual((values["must_authenticate"], values["route"]), (False, "registered"))
        status, _, errors = self.run_sipd("route", "-c", str(self.file), "alice", "bob", "--trunk", "none")
        self.assertEqual((status, errors), (1, '--trunk: the name of a trunk expected (got "none")\n'))

    def test_who_is_not_listened_to(self) -> None:
        """A source that is not let in gets no answer, and that is said."""
        values = self.route("alice", "bob", "--source", "203.0.113.4")
        self.assertEqual((values["dropped"], values["answer"], values["invite"]), (True, None, None))
        _, output, _ = self.run_sipd("route", "-c", str(self.file), "alice", "bob", "--source", "203.0.113.4")
        self.assertIn("is not listened to", output)


class RoutingServiceTests(RouteCase):
    """A dry run with a service that says where calls go."""

    def setUp(self) -> None:
        super().setUp()
        self.file.write_text(CONFIG + f'[routing.http]\nurl = "https://routing.example.com/"\ntoken = "{HIDDEN}"\n')

    def test_it_is_not_asked(self) -> None:
        """The question is shown, nobody is asked, and the dial plan decides."""
        values = self.route("alice", "030123")
        (question,) = values["questions"]
        self.assertEqual((question["request_uri"], question["user"]), ("sip:030123@example.com", "alice"))
        self.assertEqual(values["considered"][0], "the routing service failed (unasked): it is not asked in a dry run")
        self.assertEqual(values["route"], "gateway")

    def test_its_answer_is_given(self) -> None:
        """An answer out of a file counts as that of the service, also one that cannot be used."""
        answer = self.directory / "answer.json"
        answer.write_text('{"name": "lcr", "rounds": [[{"uri": "sip:9@192.0.2.30"}]]}')
        values = self.route("alice", "030123", "--answer", str(answer))
        self.assertEqual((values["route"], self.invite(values).uri_text), ("lcr", "sip:9@192.0.2.30"))
        answer.write_text('{"rounds": 7}')
        values = self.route("alice", "030123", "--answer", str(answer))
        self.assertIn("(malformed)", values["considered"][0])
        self.assertEqual(values["route"], "gateway")


class MistakeTests(RouteCase):
    """Questions that make no call."""

    def assert_fails(self, status: int, pattern: str, *arguments: str) -> None:
        """Say that the command ends like that."""
        found, output, errors = self.run_sipd("route", "-c", str(self.file), *arguments)
        self.assertEqual((found, output), (status, ""), errors)
        self.assertRegex(errors, pattern)

    def test_misuse(self) -> None:
        """What the command line cannot mean ends with status 2 and a hint."""
        for arguments in (
            ("alice",),
            ("alice", "bob", "carol"),
            ("alice", "bob", "--at", "noon"),
            ("alice", "bob", "--header", "X"),
            ("alice", "bob", "--stranger", "--user", "bob"),
            ("alice", "bob", "--unregistered", "--contact", "sip:b@192.0.2.1"),
            ("alice", "bob", "--frobnicate"),
        ):
            self.assert_fails(2, "^sipd: .*\nTry: sipd --help\n$", *arguments)

    def test_questions_that_are_none(self) -> None:
        """What makes no INVITE ends with status 1 and a line that says why."""
        for pattern, arguments in (
            ("^FROM: .* expected", ("sip:", "bob")),
            ("^TO: .* expected", ("alice", "sip:[")),
            ("^--source: an address such as", ("alice", "bob", "--source", "phone.example.com")),
            ("^--source: an address such as", ("alice", "bob", "--source", "192.0.2.1:99999")),
            ("^--header X Y: ", ("alice", "bob", "--header", "X Y: 1")),
            ("^--header X: ", ("alice", "bob", "--header", "X: a\nb")),
            ("no INVITE that would be taken", ("alice", "bob", "--header", "CSeq: 1 BYE")),
            ("^--contact: a URI expected", ("alice", "bob", "--contact", "sip:")),
            ("^--contact: a sip or sips URI", ("alice", "bob", "--contact", "tel:+49")),
            ("absent: cannot be read", ("alice", "bob", "--answer", "absent")),
        ):
            with self.subTest(arguments):
                self.assert_fails(1, pattern, *arguments)

    def test_a_configuration_with_mistakes(self) -> None:
        """Mistakes in the configuration are listed as by every other command."""
        self.file.write_text(CONFIG.replace("first_port = 30000", "first_port = 30001"))
        self.assert_fails(1, r"sipd\.toml: media\.first_port: an even port expected", "alice", "bob")
