"""The options of `sipd phone`: what is understood, and what is not."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TypeVar

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sipd.daemon.commands.phone import Answer, Dial, Message, Register
from sipd.daemon.commands.phone_options import PASSWORD_VARIABLE, PhoneOptions
from sipd.daemon.telephone import running
from sipd.daemon.telephone.keys import Keyboard
from sipd.daemon.telephone.settings import (
    account_with_transport,
    facing,
    listening,
    nearest_host,
    needs_certificate,
    places_of,
)
from sipd.media.endpoint.settings import Ice, Security
from sipd.phone.account import Account
from sipd.sip.locate import Transport
from sipd.sip.uri import Uri, parse_uri
from sipd.transport.tls import TlsSettings
from sipd.ua.listening import parse_listen
from tests.daemon.case import HIDDEN
from tests.daemon.test_cli_commands import CommandCase

Options = TypeVar("Options", bound=PhoneOptions)
_TO = "sip:bob@192.0.2.2"


class OptionCase(CommandCase):
    """Reads options."""

    def parsed(self, command: Options, *words: str) -> Options:
        """Give a command with these options."""
        command.parseOptions(words)
        return command

    def assert_misused(self, expected: str, *words: str) -> None:
        """Say that these words after `sipd phone` are not understood, and what is said of them."""
        status, output, errors = self.run_sipd("phone", *words)
        self.assertEqual((status, output), (2, ""))
        self.assertIn(expected, errors)
        self.assertNotIn("Traceback", errors)


class HelpTests(OptionCase):
    """What is said without doing anything."""

    def test_help(self) -> None:
        """Each command has a help that names it, and says what the exit statuses mean."""
        for name in ("dial", "answer", "register", "message", "options"):
            status, output, _ = self.run_sipd("phone", name, "--help")
            self.assertEqual(status, 0)
            self.assertIn(f"Usage: sipd phone {name} ", output)
            self.assertIn("130", output)
            self.assertIn(f"\n    {name} ", self.run_sipd("phone", "--help")[1])

    def test_misuse(self) -> None:
        """What cannot be understood is status 2, and a line that says what."""
        file = self.directory / "a.wav"
        file.touch()
        for expected, words in (
            ("which?", []),
            ("Unknown command", ["frobnicate"]),
            ("Wrong number of arguments", ["dial"]),
            ("An address such as", ["dial", "bob"]),
            ("--timeout", ["options", _TO, "--timeout", "soon"]),
            ("--transport", ["options", _TO, "--transport", "carrier-pigeon"]),
            ("either --quiet or --verbose", ["options", _TO, "-q", "-v"]),
            ("--tls-cert and --tls-key", ["options", _TO, "--tls-cert", "x"]),
            ("none.pem: No such file", ["options", _TO, "--tls-ca", str(self.directory / "none.pem")]),
            ("TRANSPORT:HOST:PORT", ["options", _TO, "--listen", "here"]),
            ("--header", ["options", _TO, "--header", "nothing"]),
            ("--header", ["options", _TO, "--header", "X: a\r\nY: b"]),
            ("--account", ["options", _TO, "--account", "alice"]),
            ("goes with --account", ["options", _TO, "--password", "x"]),
            ("--account is required", ["register"]),
            ("expires: 60", ["register", "-a", "sip:a@b.example", "--expires", "5"]),
            ("--register needs --account", ["answer", "--register"]),
            ("--status", ["answer", "--status", "180"]),
            ("codecs g729", ["dial", _TO, "--codec", "g729"]),
            ("--ports", ["dial", _TO, "--ports", "many"]),
            ("--dtmf:", ["dial", _TO, "--dtmf", "12x"]),
            ("--dtmf-by", ["dial", _TO, "--dtmf-by", "whistling"]),
            ("there is no file", ["dial", _TO, "--play", str(self.directory / "none.wav")]),
            ("--play: tone:", ["dial", _TO, "--play", "tone:xx:ringback"]),
            ("either --echo or --play", ["dial", _TO, "--play", "tone:440", "--echo"]),
            ("--hangup-when-done", ["dial", _TO, "--play", str(file), "--loop", "--hangup-when-done"]),
            ("--repeat", ["dial", _TO, "--repeat", "0"]),
        ):
            self.assert_misused(expected, *words)

    def test_interrupted(self) -> None:
        """Ctrl-C before anything has begun is the same status as later."""

        def interrupted(*_: object) -> int:
            raise KeyboardInterrupt

        self.patch(running, "run", interrupted)
        self.assertEqual(self.run_sipd("phone", "options", _TO), (130, "", ""))


class AccountTests(OptionCase):
    """Who it is, and the password."""

    def account(self, *words: str) -> Account:
        """Give the account that options describe."""
        account = self.parsed(Register(), *words).line().account
        assert account is not None
        return account

    def test_password(self) -> None:
        """It comes from a file, from the environment, or, with a warning, from the command line; nobody sees it."""
        file = self.directory / "password"
        file.write_text(f"{HIDDEN}\r\nsomething else\n")
        user = ("--account", "sip:alice@example.org")
        self.assertEqual(self.account(*user, "--password-file", str(file)).password, HIDDEN)
        self.assertIsNone(self.account(*user).password)
        self.patch(os, "environ", {**os.environ, PASSWORD_VARIABLE: "from the environment"})
        self.assertEqual(self.account(*user).password, "from the environment")
        self.assertNotIn(PASSWORD_VARIABLE, os.environ)
        errors = io.StringIO()
        self.patch(sys, "stderr", errors)
        self.assertEqual(self.account(*user, "--password", HIDDEN).password, HIDDEN)
        self.assertIn("can be seen by everybody", errors.getvalue())
        self.assertNotIn(HIDDEN, errors.getvalue())
        self.assert_misused("either --password or", "register", *user, "--password", "x", "--password-file", str(file))
        self.assert_misused("--password-file: ", "register", *user, "--password-file", str(self.directory / "none"))

    def test_account(self) -> None:
        """Everything of an account can be said."""
        words = ["--user", "alice@example.org", "--auth-name", "a1", "--proxy", "192.0.2.7:5070", "-t", "tcp"]
        account = self.account(*words, "--registrar", "sip:reg.example.org", "--expires", "90")
        self.assertEqual((account.username, account.proxy, account.expires), ("a1", "192.0.2.7:5070", 90))
        account = account_with_transport(account, Transport.TCP)
        self.assertEqual(str(account.outbound_proxy), "sip:192.0.2.7:5070;transport=tcp")
        self.assertEqual(str(account.registrars[0]), "sip:reg.example.org;transport=tcp")
        anonymous = self.parsed(Message(), "--proxy", "192.0.2.7", _TO, "hello").line().account
        assert anonymous is not None
        self.assertEqual((str(anonymous.aor), anonymous.credentials), ("sip:phone@192.0.2.7", None))


class TalkTests(OptionCase):
    """What is done in a call."""

    def test_dial(self) -> None:
        """Options may stand before and after the address; files are played once, tones for ever."""
        file = self.directory / "a.wav"
        file.touch()
        dial = self.parsed(Dial(), "--play", str(file), _TO, "--dtmf", "12,#a", "--hold-after", "2", "--codec", "PCMA")
        talk = dial.talk()
        self.assertEqual((talk.times, talk.digits, talk.hold_after, talk.hangup_after), (1, "12,#A", 2.0, None))
        self.assertEqual(dial.audio().codecs, ("pcma",))
        self.assertIsNone(self.parsed(Dial(), _TO, "--play", "tone:de:ringback").talk().times)
        self.assertIsNone(self.parsed(Dial(), _TO, "--play", str(file), "--loop").talk().times)

    def test_audio(self) -> None:
        """Codecs, ports, encryption and digits in the sound are those that are wanted."""
        words = ["--codec", "g722,pcmu", "--codec", "pcma", "--srtp", "--ports", "10000-10100", "--dtmf-by", "inband"]
        audio = self.parsed(Answer(), *words).audio()
        self.assertEqual((audio.codecs, audio.ports), (("g722", "pcmu", "pcma"), (10000, 10100)))
        self.assertIs(audio.security, Security.OFFERED)
        self.assertTrue(audio.detect_inband and not audio.telephone_events)
        self.assertIs(audio.ice, Ice.ANSWERED)

    def test_ways(self) -> None:
        """Keys by DTLS, ICE and its servers are those that are wanted; what cannot be is said."""
        file = self.directory / "password"
        file.write_text(f"{HIDDEN}\n")
        servers = ["--ice-server", "stun:192.0.2.7", "--ice-server", "turn:turn.example.org:3479"]
        audio = self.parsed(
            Answer(), "--dtls", *servers, "--turn-user", "al", "--turn-password-file", str(file)
        ).audio()
        self.assertEqual((audio.security, audio.ice), (Security.DTLS, Ice.OFFERED))
        self.assertEqual(
            [(one.uri, one.user, one.password) for one in audio.ice_servers],
            [("stun:192.0.2.7:3478", "al", HIDDEN), ("turn:turn.example.org:3479", "al", HIDDEN)],
        )
        self.assertIs(self.parsed(Answer(), "--ice").audio().ice, Ice.OFFERED)
        self.assert_misused("either --srtp or --dtls", "answer", "--srtp", "--dtls")
        self.assert_misused("stun:host:port", "answer", "--ice-server", "http://example.org/")
        self.assert_misused("--turn-password-file: ", "answer", "--turn-password-file", str(self.directory / "none"))


class ListeningTests(SynchronousTestCase):
    """Where it listens if nobody says."""

    def points(self, *words: str, to: str = _TO) -> list[str]:
        """Give transport and address of each listening point for a message with these options."""
        command = Message()
        command.parseOptions([*words, to, "hello"])
        line = command.line()
        return [
            f"{spec.point.transport.uri_parameter} {spec.point.host}"
            for spec in listening(line, places_of(line.account, to))
        ]

    def parsed_tls(self, *words: str) -> TlsSettings:
        """Give what these options say of TLS."""
        command = Message()
        command.parseOptions([*words, _TO, "hello"])
        return command.line().tls

    def test_defaults(self) -> None:
        """UDP and TCP, of the version of IP that is needed, and TLS where that is needed."""
        self.assertEqual(self.points(), ["udp 0.0.0.0", "tcp 0.0.0.0"])
        self.assertEqual(self.points(to="sip:bob@[2001:db8::2]"), ["udp ::", "tcp ::"])
        for words, to in ((["-t", "tls"], _TO), ([], "sips:bob@example.org"), ([], f"{_TO};transport=tls")):
            self.assertEqual(self.points(*words, to=to)[2:], ["tls 0.0.0.0"])
        self.assertEqual(self.points("-t", "ws")[2:], ["ws 0.0.0.0"])
        self.assertEqual(self.points(to=f"{_TO};transport=wss")[2:], ["wss 0.0.0.0"])
        self.assertEqual(self.points("--listen", "tcp:192.0.2.1:5060"), ["tcp 192.0.2.1"])

    def test_certificate(self) -> None:
        """TLS without a certificate of one's own gets one for the moment."""
        command = Message()
        command.parseOptions(["-t", "tls", _TO, "hello"])
        line = command.line()
        self.assertEqual(line.tls, TlsSettings())
        self.assertFalse(self.parsed_tls("-t", "tls", "--tls-insecure").verify_server)
        self.assertTrue(needs_certificate(line, listening(line, places_of(None, _TO))))
        self.assertTrue(needs_certificate(line, [parse_listen("wss:0.0.0.0:0")]))
        self.assertFalse(needs_certificate(line, [parse_listen("tls:0.0.0.0:0:cert=a.pem")]))
        self.assertFalse(needs_certificate(line, [parse_listen("udp:0.0.0.0:0")]))

    def test_facing(self) -> None:
        """What listens everywhere says the address that faces whoever is asked first; names are looked up."""
        points = [parse_listen(text) for text in ("udp:0.0.0.0:0", "udp:192.0.2.1:0", "udp:[::]:0")]
        found = [spec.point.advertised_host for spec in facing(points, "127.0.0.1", Clock())]
        self.assertEqual(found, ["127.0.0.1", "192.0.2.1", "::"])
        self.assertEqual(facing(points, "", Clock()), points)
        asked: list[str] = []

        def look_up(name: str) -> str:
            asked.append(name)
            return "192.0.2.9"

        for uri, expected in (("sip:a@pbx.example", "192.0.2.9"), ("sip:a@[::1]", "::1"), (_TO, "192.0.2.2")):
            self.assertEqual(nearest_host([parse_uri("tel:+1"), parse_uri(uri)], look_up), expected)
        self.assertEqual(asked, ["pbx.example"])
        nowhere: list[Uri] = []
        self.assertEqual(nearest_host(nowhere, look_up), "")


class KeyboardTests(SynchronousTestCase):
    """What is typed comes line by line."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        self.watched: set[Any] = set()
        read, write = os.pipe()
        self.write = os.fdopen(write, "wb", buffering=0)
        self.addCleanup(self.write.close)
        self.stdin = os.fdopen(read, "r")
        self.addCleanup(self.stdin.close)
        self.patch(sys, "stdin", self.stdin)

    def addReader(self, reader: Any) -> None:
        """Watch something."""
        self.watched.add(reader)

    def removeReader(self, reader: Any) -> None:
        """Watch it no more."""
        self.watched.discard(reader)

    def test_lines(self) -> None:
        """Lines may come in parts, the last one without its end; then nothing is watched any more."""
        keyboard = Keyboard.attach(self, self.lines.append)
        assert keyboard is not None
        self.assertEqual(self.watched, {keyboard})
        for part in (b"1", b"2\nh", b"\n\xff\n", b"q"):
            self.write.write(part)
            keyboard.doRead()
        self.assertEqual(self.lines, ["12", "h", "\N{REPLACEMENT CHARACTER}"])
        self.write.close()
        keyboard.doRead()
        self.assertEqual(self.lines[3:], ["q"])
        self.assertEqual(self.watched, set())

    def test_nothing_to_read(self) -> None:
        """Without standard input nothing is watched."""
        self.patch(sys, "stdin", None)
        self.assertIsNone(Keyboard.attach(self, self.lines.append))
        self.patch(sys, "stdin", io.StringIO("h"))
        self.assertIsNone(Keyboard.attach(self, self.lines.append))
