"""Tests of `sipd.daemon.differences` and `sipd.daemon.reloading`: what changed, and what of it can hold at once."""

from __future__ import annotations

from sipd.daemon.differences import compare
from sipd.daemon.reloading import IN_PLACE, merge, sort_out
from sipd.daemon.sections import Config
from sipd.errors import ConfigurationError
from tests.daemon.case import HIDDEN, MINIMAL, ConfigCase

USERS = """
[[users]]
name = "alice"
password = "one"
[[users]]
name = "bob"
password = "two"
"""


class DifferenceCase(ConfigCase):
    """Compares two configurations."""

    def differences(self, before: str, after: str) -> list[str]:
        """Give what is different between two files, each of which begins with the minimal one."""
        old, new = self.load(MINIMAL + before), self.load(MINIMAL + after)
        return [str(one) for one in compare(old, new)]


class CompareTests(DifferenceCase):
    """What is said of each kind of change."""

    def test_nothing(self) -> None:
        """The same file is not different, whatever it holds."""
        text = USERS + '[[routes]]\nname = "all"\nuser = "[0-9]+"\nto = "sip:{0}@192.0.2.9"\n'
        self.assertEqual(self.differences(text, text), [])

    def test_values(self) -> None:
        """A value is shown as it was and as it is."""
        for before, after, expected in (
            ("[limits]\ncalls = 5", "[limits]\ncalls = 6", "limits.calls: 5 -> 6"),
            ("", "[timers]\nring = 30.0", "timers.ring: 60.0 -> 30.0"),
            ("", '[logging]\nfile = "/x"', 'logging.file: not set -> "/x"'),
            ("", '[identity]\ntrust = ["192.0.2.0/24"]', 'identity.trust: nothing -> "192.0.2.0/24"'),
            ("[media]\nrelay = false", "[media]\nrelay = true", "media.relay: false -> true"),
            ("", '[capture]\nfile = "x"', "capture: added"),
            ('[capture]\nfile = "x"', "", "capture: removed"),
        ):
            self.assertEqual(self.differences(before, after), [expected])

    def test_tables_of_a_name(self) -> None:
        """Users and routes are called by their names, wherever in the list they stand."""
        carol = '[[users]]\nname = "carol"\npassword = "three"\n'
        self.assertEqual(self.differences(USERS, carol + USERS), ["users.carol: added"])
        self.assertEqual(self.differences(USERS, ""), ["users.alice: removed", "users.bob: removed"])
        routes = ['[[routes]]\nname = "{}"\nuser = "{}"\nto = "sip:a@192.0.2.9"\n'.format(*one) for one in ("aa", "bb")]
        self.assertEqual(self.differences("".join(routes), "".join(reversed(routes))), ["routes: in another order"])
        other = routes[0].replace('user = "a"', 'user = "z"')
        self.assertEqual(self.differences(routes[0], other), ['routes.a.user: "a" -> "z"'])

    def test_aliases(self) -> None:
        """A key is called as it stands in the file."""
        route = '[[routes]]\nname = "a"\nfrom = "{}"\nto = "sip:a@192.0.2.9"\n'
        self.assertEqual(
            self.differences(route.format("x"), route.format("y")),
            ['routes.a.from: "x" -> "y"'],
        )

    def test_secrets(self) -> None:
        """Of a secret it is only said that it changed, also where it appears or goes."""
        credentials = 'credentials = {{ username = "u", password = "{}" }}\n'
        route = '[[routes]]\nname = "a"\nto = "sip:a@192.0.2.9"\n'
        first, second = "a" * 32, "b" * 32
        for before, after, expected in (
            (USERS, USERS.replace("two", HIDDEN), ["users.bob.password: changed"]),
            (USERS.replace("two", HIDDEN), USERS, ["users.bob.password: changed"]),
            (
                USERS,
                USERS.replace('password = "two"', f'ha1 = {{ MD5 = "{first}" }}'),
                ["users.bob.password: removed", "users.bob.ha1: added"],
            ),
            (
                f'[[users]]\nname = "b"\nha1 = {{ MD5 = "{first}" }}',
                f'[[users]]\nname = "b"\nha1 = {{ MD5 = "{second}" }}',
                ["users.b.ha1.MD5: changed"],
            ),
            (route, route + credentials.format(HIDDEN), ["routes.a.credentials: added"]),
            (
                route + credentials.format("x"),
                route + credentials.format(HIDDEN),
                ["routes.a.credentials.password: changed"],
            ),
            ("", f'[registrar]\ndatabase = "mysql://u:{HIDDEN}@h/d"', ["registrar.database: added"]),
        ):
            found = self.differences(before, after)
            self.assertEqual(found, expected)
            self.assertNotIn(HIDDEN, "".join(found))


class MergeTests(DifferenceCase):
    """What holds at once."""

    def test_the_table_names_what_there_is(self) -> None:
        """Each section and key that is said to change in place exists: a name that is misspelt would do nothing."""
        for section, keys in IN_PLACE.items():
            self.assertIn(section, Config.model_fields)
            model = getattr(self.load(MINIMAL), section)
            for key in keys:
                self.assertIn(key, type(model).model_fields, f"{section}.{key}")

    def test_sorted_out(self) -> None:
        """Users and limits hold at once; listening points, the database and media ports need a restart."""
        old = self.load(MINIMAL)
        new = self.load(
            MINIMAL.replace('address = "192.0.2.1"', 'address = "192.0.2.2"')
            + USERS
            + '[limits]\ncalls = 7\ntransactions = 9\n[registrar]\nmaximum_expires = 9000\ndatabase = "sqlite:///x"\n'
            + "[media]\nfirst_port = 20000\n"
        )
        outcome = sort_out(old, new)
        self.assertEqual(
            [str(one) for one in outcome.applied],
            [
                "users.alice: added",
                "users.bob: added",
                "registrar.maximum_expires: 7200 -> 9000",
                "limits.calls: 2000 -> 7",
            ],
        )
        self.assertEqual(
            [str(one) for one in outcome.pending],
            [
                'listen.udp.address: "192.0.2.1" -> "192.0.2.2"',
                "registrar.database: added",
                "media.first_port: 16384 -> 20000",
                "limits.transactions: 100000 -> 9",
            ],
        )
        merged = merge(old, new)
        self.assertEqual((merged.limits.calls, merged.limits.transactions), (7, 100_000))
        self.assertEqual((merged.registrar.maximum_expires, merged.registrar.database), (9000, None))
        self.assertEqual((merged.listen, merged.media, merged.users), (old.listen, old.media, new.users))

    def test_what_waits_is_found_again(self) -> None:
        """What needs a restart is different from what runs until there is one, and then it is not."""
        old = self.load(MINIMAL)
        new = self.load(MINIMAL + "[media]\nfirst_port = 20000\n")
        merged = merge(old, new)
        self.assertEqual(len(sort_out(merged, new).pending), 1)
        self.assertEqual(sort_out(new, new).pending, ())
        self.assertEqual(sort_out(merged, old).pending, ())

    def test_lines(self) -> None:
        """A person reads a line for each change, or that there is none."""
        old, new = self.load(MINIMAL), self.load(MINIMAL + "[limits]\ncalls = 7\n[dns]\ntimeout = 1.0\n")
        self.assertEqual(
            list(sort_out(old, new).lines()),
            [
                "configuration read again",
                "changed: limits.calls: 2000 -> 7",
                "needs a restart: dns.timeout: 5.0 -> 1.0",
            ],
        )
        self.assertEqual(list(sort_out(old, old).lines()), ["configuration read again: nothing is different"])

    def test_nothing_is_recorded_into_nowhere(self) -> None:
        """A user whose calls are to be recorded, in a directory that takes a restart, is refused."""
        old = self.load(MINIMAL)
        new = self.load(MINIMAL + USERS + 'record = "wave"\n[recording]\ndirectory = "r"\n')
        error = self.assertRaises(ConfigurationError, merge, old, new)
        self.assertIn("recording.directory: needs a restart", str(error))

    def test_a_user_who_could_not_prove_anything(self) -> None:
        """A user with nothing but a hash for an algorithm that takes a restart to be offered is refused."""
        old = self.load(MINIMAL + '[authentication]\nalgorithms = ["MD5"]\n')
        user = f'[[users]]\nname = "b"\nha1 = {{ "SHA-256" = "{"a" * 64}" }}\n'
        new = self.load(MINIMAL + user + '[authentication]\nalgorithms = ["SHA-256"]\n')
        error = self.assertRaises(ConfigurationError, merge, old, new)
        self.assertEqual(str(error), "authentication.algorithms: needs a restart before users.b.ha1 can be of any use")
