"""Tests of the configurations in `tapfiles/`: each works, and the large one tells the truth about every option."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from twisted.trial.unittest import SynchronousTestCase

from sipd.daemon.config import build, load
from sipd.daemon.problems import model_in
from sipd.daemon.sections import Config
from sipd.daemon.values import Surroundings

TAPFILES = Path(__file__).resolve().parents[2] / "tapfiles"
DEFAULT = TAPFILES / "sipd.toml"


def uncommented(text: str) -> str:
    """Take the # away from every option: the lines that begin with # and no space."""
    return re.sub(r"^#(?=[^ \n#])", "", text, flags=re.MULTILINE)


def options(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str, FieldInfo]]:
    """Give section, key and field of every option below a model."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        section = model_in(field.annotation)
        if section is None:
            yield path, key, field
        else:
            yield path, key, field
            yield from options(section, key)


class TapfileTests(SynchronousTestCase):
    """What is in the folder."""

    def test_each_is_good(self) -> None:
        """Every configuration in the folder passes the check."""
        files = sorted(TAPFILES.glob("*.toml"))
        self.assertIn(DEFAULT, files)
        self.assertGreater(len(files), 3)
        for file in files:
            with self.subTest(file.name):
                self.assertIsInstance(load(file, {}), Config)

    def test_the_default_needs_nothing(self) -> None:
        """The default is for this machine alone, with two users and state in a folder that git ignores."""
        config = load(DEFAULT, {})
        self.assertEqual([user.name for user in config.users], ["alice", "bob"])
        self.assertEqual({listen.address for listen in config.listen}, {"127.0.0.1", "::1"})
        self.assertEqual({listen.transport.value for listen in config.listen}, {"UDP", "TCP", "TLS"})
        self.assertEqual(config.state_directory, TAPFILES.parent / "var")
        self.assertIn("/var/", (TAPFILES.parent / ".gitignore").read_text().splitlines())

    def test_ipv6_is_optional(self) -> None:
        """A machine without IPv6 can run the default."""
        required = [listen.address for listen in load(DEFAULT, {}).listen if listen.required]
        self.assertEqual(set(required), {"127.0.0.1"})


class DefaultsTests(SynchronousTestCase):
    """The large file and the models."""

    def setUp(self) -> None:
        self.text = DEFAULT.read_text()
        self.table = tomllib.loads(uncommented(self.text))

    def section(self, path: str) -> list[dict[str, Any]]:
        """Give all tables of a section."""
        value = self.table if not path else self.find(path)
        return value if isinstance(value, list) else [value]

    def find(self, key: str) -> Any:
        """Find a section by its name, also inside of another one."""
        if key in self.table:
            return self.table[key]
        for values in self.table.values():
            for table in values if isinstance(values, list) else [values]:
                if isinstance(table, dict) and key in table:
                    return table[key]
        self.fail(f"{key} is not in {DEFAULT.name}")

    def test_every_option_is_described(self) -> None:
        """Each option of each section stands in the file, as it is or commented out."""
        missing = [
            f"{path}.{key}" for path, key, _ in options(Config) if not any(key in table for table in self.section(path))
        ]
        self.assertEqual(missing, [])

    def test_what_is_commented_out_is_the_default(self) -> None:
        """An option that is commented out shows the value that it has without the line."""
        active = tomllib.loads(self.text)
        checked = []
        for path, key, field in options(Config):
            if field.default in (PydanticUndefined, None, ()) or model_in(field.annotation) is not None:
                continue
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            written = active.get(path, []) if path else active
            for index, table in enumerate(self.section(path)):
                as_it_is = (written[index] if index < len(written) else {}) if isinstance(written, list) else written
                if key in table and key not in as_it_is:
                    self.assertEqual((path, key, table[key]), (path, key, default))
                    checked.append(key)
        self.assertGreater(len(checked), 35)

    def test_everything_together_is_good(self) -> None:
        """With every option taken in, and files in place of the example ones, the file passes the check."""
        directory = Path(self.mktemp()).resolve()
        directory.mkdir()
        (directory / "example").write_text("+49,carrier-a\n")
        text = re.sub(r'"/etc/[^"]*"', f'"{directory}/example"', uncommented(self.text))
        # Two lines of the file say the same in two ways: a certificate or self_signed, ha1 or password, any or one.
        text = text.replace("self_signed = true\n", "").replace('password = "builder"\n', "")
        config = build(
            tomllib.loads(text),
            Surroundings(
                directory=directory, environment={"GATEWAY_PASSWORD": "secret", "SIPD_KEY_PASSPHRASE": "secret"}
            ),
        )
        self.assertIsNotNone(config.capture)
        self.assertEqual(len(config.routes), 7)

    def test_the_hash_in_the_example_is_the_users(self) -> None:
        """The example of a hash is that of the password next to it, in the default realm."""
        from sipd.sip.digest import compute_ha1

        (bob,) = [user for user in self.section("users") if user["name"] == "bob"]
        realm = load(DEFAULT, {}).realm
        self.assertEqual(bob["ha1"], {"MD5": compute_ha1("MD5", "bob", realm, bob["password"])})
