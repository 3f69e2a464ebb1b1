"""Globs and templates."""

from __future__ import annotations

import fnmatch
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.policies.text import MAX_FILLED, Template, compile_globs, field_globs, groups_in, groups_of, matches


class GlobTests(SynchronousTestCase):
    """Names with `*` and `?`."""

    def test_table(self) -> None:
        """Each glob matches whole names, in any case, and nothing else."""
        for glob, name, expected in (
            ("subject", "subject", True),
            ("Subject", "subject", True),
            ("subject", "subjects", False),
            ("x-*", "x-account", True),
            ("x-*", "x-", True),
            ("x-*", "ex-account", False),
            ("*", "anything", True),
            ("p-*-identity", "p-asserted-identity", True),
            ("p-*-identity", "p-identity", False),
            ("*a*b*", "xaxbx", True),
            ("*a*b*", "xbxax", False),
            ("a?c", "abc", True),
            ("a?c", "ac", False),
            ("a.c", "abc", False),
            ("**", "", True),
            ("a*a", "a", False),
        ):
            self.assertIs(matches(compile_globs([glob]), name), expected, (glob, name))

    def test_several(self) -> None:
        """One of several is enough; of none there is nothing to match."""
        globs = compile_globs(["a*", "b"])
        self.assertEqual([matches(globs, name) for name in ("ab", "b", "cb")], [True, True, False])
        self.assertIs(matches(compile_globs([]), "a"), False)

    def test_compact_forms(self) -> None:
        """The compact form of a header field means the field, but not inside of a glob."""
        self.assertTrue(matches(field_globs(["s"]), "subject"))
        self.assertFalse(matches(field_globs(["s*"]), "x"))

    def test_not_globs(self) -> None:
        """What no name can look like is refused."""
        for text in ("", "a b", "a:", "a\r\nb", "ä", "?", "x" * 129):
            self.assertRaises(ValueError, compile_globs, [text])

    def test_long_names_match_nothing(self) -> None:
        """A name that nobody gives a header field is among no names."""
        self.assertFalse(matches(compile_globs(["*"]), "x" * 129))

    @settings(deadline=None, max_examples=200)
    @given(st.text("ab*?", min_size=1, max_size=12).filter(lambda text: text.strip("?")), st.text("ab", max_size=20))
    def test_as_the_shell_does(self, glob: str, name: str) -> None:
        """Globs match what they match in a shell."""
        self.assertEqual(matches(compile_globs([glob]), name), fnmatch.fnmatchcase(name, glob))


class TemplateTests(SynchronousTestCase):
    """Text with placeholders."""

    def test_fill(self) -> None:
        """Placeholders are replaced, doubled braces are braces, and what is not known is empty."""
        template = Template("{user} at {source} {{x}}{1}{none}")
        self.assertEqual(template.fill({"user": "alice", "source": "192.0.2.1", "1": "!"}), "alice at 192.0.2.1 {x}!")
        self.assertEqual(template.names, {"user", "source", "1", "none"})

    def test_no_second_line(self) -> None:
        """Whatever a value is made of, one line comes out."""
        self.assertEqual(Template("a{x}b").fill({"x": "\r\nVia: evil\0\x7f"}), "a Via: evil b")

    def test_too_long(self) -> None:
        """What becomes too long is left out, not cut."""
        self.assertEqual(Template("{x}").fill({"x": "x" * (MAX_FILLED + 1)}), "")

    def test_not_templates(self) -> None:
        """Control characters, braces that do not fit, and formats are refused."""
        for text in ("a\nb", "a\rb", "a\0", "{", "}", "{a.b}", "{a[0]}", "{a!r}", "{a:>10}", "{}", "{a b}"):
            self.assertRaises(ValueError, Template, text)

    def test_check(self) -> None:
        """A placeholder that stands for nothing is named, with those that there are."""
        error = self.assertRaises(ValueError, Template("{usre}").check, ["user", "to"])
        self.assertEqual(str(error), "{usre} stands for nothing here; there are: user, to")

    def test_groups(self) -> None:
        """Groups have numbers and names; one that took no part is empty."""
        pattern = re.compile("(?P<a>x)|(y)")
        match = pattern.fullmatch("y")
        assert match is not None
        self.assertEqual(groups_of(pattern), ["0", "1", "2", "a"])
        self.assertEqual(groups_in(match), {"0": "y", "1": "", "2": "y", "a": ""})

    def test_equality(self) -> None:
        """Templates of the same text are the same."""
        self.assertEqual(Template("{a}"), Template("{a}"))
        self.assertEqual(len({Template("{a}"), Template("{a}"), Template("{b}")}), 2)
        self.assertEqual(repr(Template("{a}")), "Template('{a}')")
