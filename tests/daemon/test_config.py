"""Tests of `sipd.daemon.config`: what is read, and what is said of values that cannot be used."""

from __future__ import annotations

from pathlib import Path

from sipd.daemon.config import build, load
from sipd.daemon.values import Surroundings
from sipd.errors import ConfigurationError
from sipd.sip.locate import Transport
from tests.daemon.case import HIDDEN, MINIMAL, ConfigCase


class ReadingTests(ConfigCase):
    """What a good file becomes."""

    def test_minimal(self) -> None:
        """Domains, a state directory and one listening point are enough; the rest has defaults."""
        config = self.load(MINIMAL)
        self.assertEqual(config.domains, ("example.com",))
        self.assertEqual(config.realm, "example.com")
        self.assertEqual(config.state_directory, self.directory / "state")
        self.assertEqual(config.listen[0].transport, Transport.UDP)
        self.assertEqual(config.listen[0].bound_port, 5060)
        self.assertEqual(config.cdr_file, self.directory / "state" / "calls.jsonl")
        self.assertEqual(config.database.text, f"sqlite:///{self.directory}/state/sipd.sqlite")
        self.assertEqual([media.address for media in config.media_addresses], ["192.0.2.1"])
        self.assertIsNone(config.capture)

    def test_default_ports(self) -> None:
        """A port that is not written is the transport's own (RFC 3261 section 19.1.2)."""
        listen = '[[listen]]\nname = "{0}"\ntransport = "{0}"\naddress = "192.0.2.2"\n{1}\n'
        text = MINIMAL + listen.format("tcp", "") + listen.format("tls", "self_signed = true")
        self.assertEqual([point.bound_port for point in self.load(text).listen], [5060, 5060, 5061])

    def test_relative_paths_begin_at_the_file(self) -> None:
        """A relative path does not depend on where the process was started."""
        config = self.load(MINIMAL + '[cdr]\nfile = "../records/calls.jsonl"')
        self.assertEqual(config.cdr.file, self.directory.parent / "records" / "calls.jsonl")

    def test_absolute_and_home_paths(self) -> None:
        """An absolute path stays, and a leading ~ is the home directory."""
        config = self.load(MINIMAL + '[logging]\nfile = "/var/log/sipd.log"\n[cdr]\nfile = "~/calls"')
        self.assertEqual(config.logging.file, Path("/var/log/sipd.log"))
        self.assertEqual(config.cdr.file, Path.home() / "calls")

    def test_byte_order_mark(self) -> None:
        """A file that an editor on Windows saved with a byte order mark is read."""
        self.file.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
        self.assertEqual(load(self.file, {}).domains, ("example.com",))

    def test_nothing_changes_later(self) -> None:
        """A configuration is a value: its attributes cannot be set."""
        config = self.load(MINIMAL)
        with self.assertRaises(ValueError):
            config.timers.t1 = 3.0
        self.assertIsInstance(config.listen, tuple)

    def test_whole_numbers_as_seconds(self) -> None:
        """`t1 = 1` is as good as `t1 = 1.0`."""
        self.assertEqual(self.load(MINIMAL + "[timers]\nt1 = 1").timers.t1, 1.0)

    def test_media_addresses_follow_the_listening_points(self) -> None:
        """Without addresses of its own, media uses the first listening address of each version of IP."""
        more = """
        [[listen]]
        name = "tcp"
        transport = "tcp"
        address = "192.0.2.1"
        [[listen]]
        name = "inside"
        transport = "udp"
        address = "2001:db8::1"
        advertised_address = "2001:db8::9"
        """
        found = self.load(MINIMAL + more).media_addresses
        self.assertEqual(
            [(media.address, media.advertised_address) for media in found],
            [("192.0.2.1", None), ("2001:db8::1", "2001:db8::9")],
        )

    def test_media_advertises_addresses_only(self) -> None:
        """A name that a listening point advertises is not taken over by media: descriptions hold addresses."""
        config = self.load(MINIMAL + 'advertised_address = "sip.example.com"')
        self.assertIsNone(config.media_addresses[0].advertised_address)

    def test_a_program_may_write_the_table(self) -> None:
        """What TOML gives, a program may give as well."""
        table = {
            "domains": ["example.com"],
            "state_directory": "state",
            "listen": [{"name": "udp", "transport": "udp", "address": "::1", "port": 0}],
        }
        config = build(table, Surroundings(directory=Path("/srv"), environment={}))
        self.assertEqual(config.state_directory, Path("/srv/state"))
        self.assertEqual(config.listen[0].bound_port, 0)


class FileTests(ConfigCase):
    """Files that are no configuration at all."""

    def line(self) -> str:
        """Give the one line about the file."""
        error = self.assertRaises(ConfigurationError, load, self.file, {})
        (line,) = error.problems
        return str(line)

    def test_missing(self) -> None:
        """A file that is not there is one line with its name."""
        self.assertEqual(self.line(), f"{self.file}: cannot be read: No such file or directory")

    def test_directory(self) -> None:
        """A directory is not a file."""
        self.file.mkdir()
        self.assertEqual(self.line(), f"{self.file}: cannot be read: Is a directory")

    def test_syntax(self) -> None:
        """A mistake of TOML is reported with line and column."""
        self.file.write_text('domains = ["example.com"]\nlisten = \n')
        self.assertEqual(self.line(), f"{self.file}:2:10: not TOML: Invalid value")

    def test_syntax_at_the_end(self) -> None:
        """Also one that is noticed at the end of the file only."""
        self.file.write_text('domains = ["example.com"')
        self.assertRegex(self.line(), r":1:25: not TOML: Unclosed array$")

    def test_syntax_does_not_show_a_secret(self) -> None:
        """A missing quote after a password does not print the password."""
        self.file.write_text(f'[[users]]\nname = "a"\npassword = "{HIDDEN}\n')
        self.assertNotIn(HIDDEN, self.line())

    def test_a_key_twice(self) -> None:
        """TOML itself forbids to set a key twice."""
        self.file.write_text("[timers]\nt1 = 1\nt1 = 2\n")
        self.assertEqual(self.line(), f"{self.file}:3:7: not TOML: Cannot overwrite a value")

    def test_not_text(self) -> None:
        """Octets that are not UTF-8 are reported with their line."""
        self.file.write_bytes(b'domains = ["example.com"]\nname = "\xff"\n')
        self.assertEqual(self.line(), f"{self.file}:2: not UTF-8 text")

    def test_nested_too_deeply(self) -> None:
        """A bomb of brackets is a mistake, not a crash."""
        self.file.write_text("a = " + "[" * 5000)
        self.assertRegex(self.line(), "not TOML")

    def test_empty(self) -> None:
        """An empty file lacks all that is required, and each is said."""
        self.assert_problem(
            "",
            "domains: required, and missing",
            "state_directory: required, and missing",
            "listen: required, and missing",
        )


class TypeTests(ConfigCase):
    """Single values that cannot be used."""

    def test_each_kind(self) -> None:
        """Every kind of value says what it expects and, where that cannot be a secret, what it got."""
        for text, expected in (
            ('[limits]\ncalls = "many"', "limits.calls: a whole number expected (got text)"),
            ("[limits]\ncalls = 1.5", "limits.calls: a whole number expected (got a number)"),
            ("[limits]\ncalls = true", "limits.calls: a whole number expected (got true or false)"),
            ("[limits]\ncalls = 0", "limits.calls: 1 or more expected (got 0)"),
            (
                "[limits]\nhead_size_octets = 9999999",
                "limits.head_size_octets: 1048576 or less expected (got 9999999)",
            ),
            ("[timers]\nt1 = 0", "timers.t1: more than 0 expected (got 0)"),
            ("[timers]\nt1 = -inf", "timers.t1: a finite number expected (got -inf)"),
            ("[timers]\nt1 = nan", "timers.t1: a finite number expected (got nan)"),
            ('[timers]\nt1 = "1"', "timers.t1: a number expected (got text)"),
            ("[timers]\nt1 = 2026-01-01", "timers.t1: a number expected (got a date or time)"),
            ("[tls]\nverify = 1", "tls.verify: true or false expected (got a whole number)"),
            ("[tls]\nca = 1", "tls.ca: a path expected (got a whole number)"),
            ('[cdr]\nfile = ""', 'cdr.file: a path expected (got "")'),
            (
                '[logging]\nlevel = "loud"',
                'logging.level: "debug", "info", "warn", "error" or "critical" expected (got "loud")',
            ),
            ("[logging]\nlevel = 5", 'logging.level: "debug", "info", "warn", "error" or "critical" expected (got 5)'),
            ("[authentication]\nalgorithms = []", "authentication.algorithms: at least 1 entry expected"),
            ('[authentication]\nalgorithms = "MD5"', "authentication.algorithms: a list expected (got text)"),
            (
                '[authentication]\nalgorithms = ["MD4"]',
                'authentication.algorithms[0]: "SHA-512-256", "SHA-256" or "MD5" expected (got "MD4")',
            ),
            (
                "[authentication]\nrealm = 'a\"b'",
                "authentication.realm: a realm of 1 to 255 characters, without quotes or backslashes, expected "
                '(got "a"b")',
            ),
            (
                '[media]\naddresses = [{ address = "localhost" }]',
                'media.addresses[0].address: an IPv4 or IPv6 address expected (got "localhost")',
            ),
            (
                '[media]\naddresses = [{ address = "10.0.0.1", advertised_address = "0.0.0.0" }]',
                'media.addresses[0].advertised_address: an address that others can reach expected (got "0.0.0.0")',
            ),
            ("[capture]\nsize_octets = 70000", "capture.file: required, and missing"),
            ("[[capture]]", "capture: a table expected (got a list)"),
            ("[users]", "users: a list expected (got a table)"),
        ):
            with self.subTest(text):
                self.assert_problem(MINIMAL + text, expected)

    def test_listening_points(self) -> None:
        """Transport, address and name of a listening point are checked."""
        for key, value, expected in (
            ("transport", '"sctp"', '"udp", "tcp", "tls", "ws" or "wss" expected (got "sctp")'),
            ("transport", "5", "a transport expected (got a whole number)"),
            ("address", '"300.0.0.1"', 'an IPv4 or IPv6 address expected (got "300.0.0.1")'),
            ("address", "1", "an IPv4 or IPv6 address expected (got a whole number)"),
            ("port", "65536", "65535 or less expected (got 65536)"),
            (
                "advertised_address",
                '"0.0.0.0"',
                'a host name or an address that others can reach expected (got "0.0.0.0")',
            ),
            ("advertised_address", '"1.2.3"', 'a host name or an address that others can reach expected (got "1.2.3")'),
            ("advertised_port", "0", "1 or more expected (got 0)"),
            ("name", '"two words"', 'text without spaces or any of the characters " < > @ : ; , expected'),
            ("name", '""', "at least 1 character expected"),
            ("path", '"sip"', 'a path that begins with / expected (got "sip")'),
            ("path", '"/a b"', 'a path that begins with / expected (got "/a b")'),
            (
                "origins[0]",
                '["phone.example.com"]',
                'an origin such as "https://phone.example.com" expected (got "phone.example.com")',
            ),
        ):
            with self.subTest(f"{key} = {value}"):
                option = key.partition("[")[0]
                transport = '"ws"' if option in ("path", "origins") else '"udp"'
                values = {"name": '"x"', "transport": transport, "address": '"192.0.2.1"', option: value}
                text = "\n".join(f"{name} = {written}" for name, written in values.items())
                head = 'domains = ["example.com"]\nstate_directory = "state"\n[[listen]]\n'
                self.assert_problem(head + text, f"listen[0].{key}: {expected}")

    def test_no_listening_point(self) -> None:
        """A server that listens nowhere is a mistake."""
        text = 'domains = ["example.com"]\nstate_directory = "state"\nlisten = []'
        self.assert_problem(text, "listen: at least 1 entry expected")

    def test_unreadable_files(self) -> None:
        """A certificate that is not there is found by the check, not by the first phone."""
        text = MINIMAL + '[tls]\nca = "absent.pem"'
        (line,) = self.problems(text)
        self.assertRegex(line, r"^tls\.ca: a file that can be read expected: No such file or directory \(got ")

    def test_unknown_keys(self) -> None:
        """An unknown key is refused with the one that may have been meant, at any depth."""
        for text, expected in (
            ("[registar]\n", 'registar: unknown key; did you mean "registrar"?'),
            ("[limits]\ncals = 5", 'limits.cals: unknown key; did you mean "calls"?'),
            (
                '[[users]]\nname = "a"\npassword = "x"\npasword = "x"',
                'users[0].pasword: unknown key; did you mean "password"?',
            ),
            ('[[routes]]\nname = "r"\nto = "sip:a@b"\nfrm = ".*"', 'routes[0].frm: unknown key; did you mean "from"?'),
            ("[cdr]\nzzz = 1", "cdr.zzz: unknown key; known here: file, fsync, interval, spool, sinks"),
        ):
            with self.subTest(text):
                self.assert_problem(MINIMAL + text, expected)
