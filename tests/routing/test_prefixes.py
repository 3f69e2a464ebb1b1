"""Tables of prefixes, and their files."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ConfigurationError
from sipd.routing.choice import Candidate
from sipd.routing.prefixes import MAX_LINE_LENGTH, MAX_PROBLEMS, PrefixTable, read_prefixes

#: Few digits, so that prefixes and numbers meet often.
DIGITS = st.text("012", min_size=1, max_size=7)
PREFIXES = st.builds("{}{}".format, st.sampled_from(("", "+")), DIGITS)
NUMBERS = st.one_of(PREFIXES, st.text(max_size=5))


def find_naively(entries: dict[str, int], number: str) -> tuple[str, int] | None:
    """Look at every prefix."""
    found = max((prefix for prefix in entries if number.startswith(prefix)), key=len, default=None)
    return None if found is None else (found, entries[found])


class TableTests(SynchronousTestCase):
    """The longest match."""

    def test_the_longest_wins(self) -> None:
        """A number goes where the longest prefix leads that it begins with; a + counts as a character."""
        table = PrefixTable([("49", 1), ("4930", 2), ("+49", 3), ("0", 4)])
        for number, expected in (
            ("4930123", ("4930", 2)),
            ("493", ("49", 1)),
            ("49", ("49", 1)),
            ("+4930", ("+49", 3)),
            ("4", None),
            ("", None),
            ("alice", None),
        ):
            self.assertEqual(table.find(number), expected, number)
        self.assertEqual(len(table), 4)

    def test_equality(self) -> None:
        """Tables are equal that say the same: a reload sees whether a file has changed. Printed, they are short."""
        table = PrefixTable([("1", 1), ("2", 2)])
        self.assertEqual(table, PrefixTable([("2", 2), ("1", 1)]))
        self.assertNotEqual(table, PrefixTable([("1", 1)]))
        self.assertNotEqual(table, 5)
        self.assertEqual(repr(table), "<PrefixTable of 2>")

    @given(st.dictionaries(PREFIXES, st.integers(), max_size=30), st.lists(NUMBERS, max_size=20))
    @settings(deadline=None, max_examples=400)
    def test_as_a_naive_matcher(self, entries: dict[str, int], numbers: list[str]) -> None:
        """Whatever the table and the number are, it finds what looking at every prefix finds."""
        table = PrefixTable(entries.items())
        for number in [*numbers, *entries]:
            self.assertEqual(table.find(number), find_naively(entries, number))


class FileTests(SynchronousTestCase):
    """What stands in a file."""

    def problems(self, text: str, trunks: tuple[str, ...] | None = ("a", "b", "c")) -> list[str]:
        """Give the lines about a file that has mistakes."""
        error: ConfigurationError = self.assertRaises(ConfigurationError, read_prefixes, text, "p.csv", trunks)
        return error.problems

    def test_lines(self) -> None:
        """Comments, empty lines, spaces, quotes, several trunks and several lines of a prefix are read."""
        text = '# all\r\n\n  # more\n49, a b ,0.5,2\n"+4930","c",,\n49,c\n1,a,1e-3\n'
        table = read_prefixes(text, "p.csv")
        a, b = Candidate("a", 2, 0.5), Candidate("b", 2, 0.5)
        self.assertEqual(table.find("4915"), ("49", (a, b, Candidate("c"))))
        self.assertEqual(table.find("+49301"), ("+4930", (Candidate("c"),)))
        self.assertEqual(table.find("12"), ("1", (Candidate("a", 1, 0.001),)))

    def test_header(self) -> None:
        """Columns may be named, in any order; what is a comment is not read."""
        table = read_prefixes("Cost,Prefix,comment,Trunk\n0.5,49,Germany; all,a\n,1,,b\n", "p.csv")
        self.assertEqual(table.find("49"), ("49", (Candidate("a", 1, 0.5),)))
        self.assertEqual(table.find("1"), ("1", (Candidate("b"),)))

    def test_trunks_that_there_are(self) -> None:
        """Without a list of trunks any name is taken."""
        self.assertEqual(len(read_prefixes("1,zzz", "p.csv")), 1)
        self.assertEqual(self.problems("1,zzz"), ['p.csv:1: the name of a trunk expected (got "zzz")'])

    def test_twenty_mistakes(self) -> None:
        """A file with 20 mistakes names all 20, each with its line."""
        prefix = "a prefix of 1 to 32 digits, with + in front or without, expected (got {})"
        cost, weight = "a cost such as 0.012 expected (got {})", "a weight from 0 to 1000000 expected (got {})"
        wrong: list[tuple[str, list[str]]] = [
            ("x,a", [prefix.format('"x"')]),
            (",a", [prefix.format('""')]),
            ("+,a", [prefix.format('"+"')]),
            ("4 9,a", [prefix.format('"4 9"')]),
            ("49x,a", [prefix.format('"49x"')]),
            ("٤٩,a", [prefix.format('"٤٩"')]),
            ("1" * 33 + ",a", [prefix.format('"' + "1" * 33 + '"')]),
            ("1", ["the name of a trunk expected"]),
            ("1,", ["the name of a trunk expected"]),
            ("1,d", ['the name of a trunk expected (got "d")']),
            ("2,a,much", [cost.format('"much"')]),
            ("3,a,-1", [cost.format('"-1"')]),
            ("4,a,nan", [cost.format('"nan"')]),
            ("5,a,1,x", [weight.format('"x"')]),
            ("6,a,1,-1", [weight.format('"-1"')]),
            ("7,a,1,1000001", [weight.format('"1000001"')]),
            ("8,a,1,1,x,y", ["at most 5 columns expected (got 6)"]),
            ('9,"a', ["quotes around whole columns expected"]),
            ("y,d", [prefix.format('"y"'), 'the name of a trunk expected (got "d")']),
        ]
        text = "10,a\n" + "\n".join(line for line, _ in wrong)
        expected = [f"p.csv:{number}: {one}" for number, (_, found) in enumerate(wrong, 2) for one in found]
        self.assertEqual(len(expected), 20)
        self.assertEqual(self.problems(text), expected)

    def test_twice(self) -> None:
        """A trunk that a prefix has twice is named with the line that has it first."""
        once = 'p.csv:{}: "a" once for 1 expected (line {} has it, too)'
        self.assertEqual(self.problems("1,a\n# x\n1,b\n1,a,5"), [once.format(4, 1)])
        self.assertEqual(self.problems("1,a a"), [once.format(1, 1)])

    def test_bad_headers(self) -> None:
        """A header names columns that there are, each once, and those that are needed."""
        for text, expected in (
            ("prefix,trunk,price", 'columns of prefix, trunk, cost, weight, comment expected (got "price")'),
            ("prefix,trunk,trunk", "the column trunk once expected"),
            ("prefix,cost", "a column trunk expected"),
            ("trunk,cost", "a column prefix expected"),
        ):
            self.assertEqual(self.problems(f"{text}\n1,a"), [f"p.csv:1: {expected}"])

    def test_nothing(self) -> None:
        """A file without a prefix is a mistake: every call would pass it by."""
        for text in ("", "# nothing\n", "prefix,trunk\n"):
            self.assertEqual(self.problems(text), ["p.csv: at least one prefix expected"])

    def test_bounds(self) -> None:
        """Very long lines are refused; of very many mistakes the first ones are named, and how many more."""
        long = "1,a,1,1," + "x" * MAX_LINE_LENGTH
        self.assertEqual(self.problems(long), [f"p.csv:1: at most 1000 characters expected (got {len(long)})"])
        self.assertEqual(self.problems("1," + "a" * 2000)[0], "p.csv:1: at most 1000 characters expected (got 2002)")
        found = self.problems("x,a\n" * (MAX_PROBLEMS + 7))
        self.assertEqual(len(found), MAX_PROBLEMS + 1)
        self.assertEqual(found[-1], "p.csv: 7 more mistakes")

    @given(st.text(st.sampled_from('+019,ab "#\n\r.xprefixtunk'), max_size=60))
    @settings(deadline=None, max_examples=400)
    def test_any_text(self, text: str) -> None:
        """Any text is a table, or a list of lines; nothing else is raised."""
        try:
            read_prefixes(text, "p.csv", ("a", "b"))
        except ConfigurationError as error:
            self.assertTrue(error.problems)
            self.assertTrue(all(line.startswith("p.csv:") and "\n" not in line for line in error.problems))
