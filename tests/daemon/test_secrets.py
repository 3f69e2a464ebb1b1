"""Tests of secrets in a configuration: where they come from, and that nothing shows them."""

from __future__ import annotations

from sipd.daemon.sections import Config
from sipd.daemon.values import Secret
from tests.daemon.case import HIDDEN, MINIMAL, ConfigCase


class SecretTests(ConfigCase):
    """Secrets: where they come from, and that nothing shows them."""

    def user(self, password: str) -> str:
        """Give a file with a user who has that password, written in TOML."""
        return f'{MINIMAL}\n[[users]]\nname = "alice"\npassword = {password}\n'

    def password(self, config: Config) -> str:
        """Give the password of the only user."""
        secret = config.users[0].password
        assert secret is not None
        return secret.text

    def test_in_the_file(self) -> None:
        """A password may stand in the file."""
        self.assertEqual(self.password(self.load(self.user(f'"{HIDDEN}"'))), HIDDEN)

    def test_from_a_file(self) -> None:
        """A password may be the content of a file, without the line break at its end."""
        for content in (f"{HIDDEN}", f"{HIDDEN}\n", f"{HIDDEN}\r\n"):
            (self.directory / "secret").write_bytes(content.encode())
            self.assertEqual(self.password(self.load(self.user('{ file = "secret" }'))), HIDDEN)

    def test_from_the_environment(self) -> None:
        """A password may be an environment variable."""
        self.assertEqual(self.password(self.load(self.user('{ env = "PASSWORD" }'), PASSWORD=HIDDEN)), HIDDEN)

    def test_that_cannot_be_had(self) -> None:
        """A variable that is not set, an empty one and a file of other octets are mistakes that show no secret."""
        (self.directory / "binary").write_bytes(b"\xff" + HIDDEN.encode())
        (self.directory / "empty").write_bytes(b"\n")
        expected = 'text, { file = "path" } or { env = "NAME" } expected'
        for written, line in (
            ('{ env = "ABSENT" }', 'the environment variable "ABSENT" is not set'),
            ('{ env = "EMPTY" }', "a secret expected, and what was given is empty"),
            ('{ file = "empty" }', "a secret expected, and what was given is empty"),
            ('""', "a secret expected, and what was given is empty"),
            ("{ }", expected),
            ('{ file = "a", env = "B" }', expected),
            ('{ env = "A", x = "y" }', expected),
            ("{ env = 5 }", expected),
            (f'{{ fil = "{HIDDEN}" }}', expected),
            (f'["{HIDDEN}"]', f"{expected} (got a list)"),
            ("12345", f"{expected} (got a whole number)"),
        ):
            with self.subTest(written):
                self.assert_problem(self.user(written), f"users[0].password: {line}", EMPTY="")
        self.assertRegex(self.problems(self.user('{ file = "binary" }'))[0], "a file of UTF-8 text expected")
        self.assertRegex(self.problems(self.user('{ file = "absent" }'))[0], "No such file or directory")

    def test_a_file_that_is_far_too_large(self) -> None:
        """A secret that names the wrong file does not read all of it."""
        (self.directory / "large").write_bytes(b"x" * 70000)
        self.assertRegex(self.problems(self.user('{ file = "large" }'))[0], "a file of at most 65536 octets expected")

    def test_hashes(self) -> None:
        """Hashes are taken in either case of letters, and kept in lower case."""
        digest = "0123456789ABCDEF" * 2
        config = self.load(f'{MINIMAL}[[users]]\nname = "a"\nha1 = {{ MD5 = "{digest}", SHA-256 = "{digest * 2}" }}')
        self.assertEqual(config.users[0].hashes(), {"MD5": digest.lower(), "SHA-256": digest.lower() * 2})

    def test_bad_hashes(self) -> None:
        """Hashes of the wrong length and unknown algorithms are refused, and neither is shown."""
        for written, line in (
            (f'{{ MD5 = "{HIDDEN}" }}', "32 hexadecimal digits for MD5 expected"),
            ("{ MD5 = 5 }", "32 hexadecimal digits for MD5 expected"),
            (f'{{ MD5 = "{"0" * 32}", "{HIDDEN}" = "x" }}', "only SHA-512-256, SHA-256, MD5 as algorithms expected"),
            ("{ }", 'a table of hashes such as { "SHA-256" = "..." } expected'),
            (f'"{HIDDEN}"', 'a table of hashes such as { "SHA-256" = "..." } expected'),
        ):
            with self.subTest(written):
                found = self.problems(f'{MINIMAL}[[users]]\nname = "a"\nha1 = {written}')
                self.assertEqual(found[0], f"users[0].ha1: {line}")

    def test_never_in_a_message(self) -> None:
        """Wherever a secret is put by mistake, no message shows it."""
        for text in (
            f'users = ["alice:{HIDDEN}"]\n',
            f'users = "{HIDDEN}"\n',
            f'[[users]]\nname = "a"\npass = "{HIDDEN}"',
            f'[[users]]\nname = "a"\npassword = "{HIDDEN}"\nha1 = "{HIDDEN}"',
            f'[[users]]\nname = 5\npassword = "{HIDDEN}"',
            f'[registrar]\ndatabase = "postgresql://sipd:{HIDDEN}@db/sipd"\nmax_contacts = 0',
            f'[[routes]]\nname = "r"\nto = "sip:a@b"\n'
            f'credentials = {{ username = "u", password = "{HIDDEN}", relm = "" }}',
            f'[[routes]]\nname = "r"\nto = "sip:a@b"\ncredentials = "{HIDDEN}"',
            f'[[routes]]\nname = "r"\nto = "sip:a@b"\nnext_hop = "sip:u:{HIDDEN}@b"',
            f'[[routes]]\nname = "r"\nto = "sip:u:{HIDDEN}@b b"',
            f'[[listen]]\nname = "t"\nkey_passphrase = {{ value = "{HIDDEN}" }}',
        ):
            with self.subTest(text):
                body = text + MINIMAL if text.startswith("users") else MINIMAL + text
                self.assertTrue(self.problems(body))

    def test_never_in_a_repr(self) -> None:
        """Neither `repr` nor `str` of a configuration, nor of a secret, shows what is secret."""
        text = f"""
        [[users]]
        name = "a"
        password = "{HIDDEN}"
        [registrar]
        database = "postgresql://sipd:{HIDDEN}@db/sipd"
        [[routes]]
        name = "r"
        to = "sip:a@b"
        credentials = {{ username = "u", password = "{HIDDEN}" }}
        """
        config = self.load(MINIMAL + text)
        for shown in (repr(config), str(config), repr(config.database), f"{Secret(HIDDEN)}"):
            self.assertNotIn(HIDDEN, shown)
        self.assertIn(HIDDEN, config.database.text)
