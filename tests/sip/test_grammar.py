"""The lexical ground: tokens, quoted strings, escapes, lists, parameters, numbers."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.sip import grammar

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)


class TokenTests(SynchronousTestCase):
    """`is_token`."""

    def test_takes_every_token_character(self) -> None:
        """The characters of RFC 3261 section 25.1 make a token."""
        self.assertTrue(grammar.is_token("azAZ09-.!%*_+`'~"))

    def test_refuses_what_is_no_token(self) -> None:
        """Empty text, separators, white space, line ends and letters of other alphabets make none."""
        for text in ("", "a b", "a\n", "a,", 'a"', "a/b", "a:b", "(", "é", "\u212a", "a\0"):
            self.assertFalse(grammar.is_token(text), repr(text))


class QuotedStringTests(SynchronousTestCase):
    """`quote`, `unquote`, `is_quoted` and `end_of_quoted`."""

    def test_undoes_pairs(self) -> None:
        """A backslash makes the next character plain, whatever it is."""
        self.assertEqual(grammar.unquote(r'"J Rosenberg \\\""'), 'J Rosenberg \\"')
        self.assertEqual(grammar.unquote('"BEL:\\\x07 NUL:\\\x00"'), "BEL:\x07 NUL:\x00")

    def test_leaves_other_text_alone(self) -> None:
        """What does not begin and end with a quote is given back."""
        for text in ("", '"', "abc", '"abc', 'abc"'):
            self.assertEqual(grammar.unquote(text), text)

    def test_tells_well_formed_ones(self) -> None:
        """A closing quote that is escaped closes nothing, and nothing may follow the one that closes."""
        for text in ('""', '"a"', r'"\""', r'"a\\"'):
            self.assertTrue(grammar.is_quoted(text), text)
        for text in ('"', r'"\"', '"a"b', '"a" "b"', "a", "", r'"a\\\"'):
            self.assertFalse(grammar.is_quoted(text), text)

    def test_finds_the_quote_that_closes(self) -> None:
        """An even number of backslashes before a quote does not protect it."""
        self.assertEqual(grammar.end_of_quoted(r'x"a\"b\\"y', 1), 8)
        for text in ('"', r'"\"', r'"a\\\"'):
            self.assertRaises(ParseError, grammar.end_of_quoted, text, 0)

    @given(TEXT)
    @settings(deadline=None)
    def test_quoting_is_undone(self, text: str) -> None:
        """Any text survives being quoted and unquoted, and its quoted form is well-formed."""
        self.assertEqual(grammar.unquote(grammar.quote(text)), text)
        self.assertTrue(grammar.is_quoted(grammar.quote(text)))
        self.assertEqual(grammar.end_of_quoted(grammar.quote(text), 0), len(grammar.quote(text)) - 1)


class PrintableTests(SynchronousTestCase):
    """Text for a log."""

    def test_printable(self) -> None:
        """Whatever could break a line, a terminal or a file is one question mark; the length is bounded."""
        self.assertEqual(grammar.printable("J\xfcrgen\r\n\x1b[1m\0\u2028\udcff x"), "J\xfcrgen???[1m??? x")
        self.assertEqual((len(grammar.printable("x" * 1000)), grammar.printable("abc", 2)), (200, "ab"))


class EscapeTests(SynchronousTestCase):
    """`escape`, `unescape` and `has_bad_escape`."""

    def test_escapes_octets_of_utf_8(self) -> None:
        """Each octet outside of the safe set becomes %HH in upper case."""
        self.assertEqual(grammar.escape("a b@ü"), "a%20b%40%C3%BC")
        self.assertEqual(grammar.escape("plain"), "plain")

    def test_unescapes_once(self) -> None:
        """%25%34%31 is %41, not A (RFC 4475 section 3.1.1.3)."""
        self.assertEqual(grammar.unescape("v%61lue%25%34%31"), "value%41")

    def test_keeps_nul_and_octets_that_are_no_utf_8(self) -> None:
        """%00 cuts nothing short, and a stray octet comes back when it is printed."""
        self.assertEqual(grammar.unescape("null-%00-null"), "null-\0-null")
        self.assertEqual(grammar.unescape("%ff").encode("utf-8", "surrogateescape"), b"\xff")

    def test_tells_a_bad_escape(self) -> None:
        """A % needs two hexadecimal digits."""
        for text in ("%", "a%4", "%4g", "%%41"):
            self.assertTrue(grammar.has_bad_escape(text), text)
        for text in ("", "abc", "%41", "a%4Fb%ff"):
            self.assertFalse(grammar.has_bad_escape(text), text)

    @given(TEXT)
    @settings(deadline=None)
    def test_escaping_is_undone(self, text: str) -> None:
        """Any text survives being escaped and unescaped."""
        self.assertEqual(grammar.unescape(grammar.escape(text)), text)


class SplitTests(SynchronousTestCase):
    """`split_commas` and `split_semicolons`."""

    def test_splits_at_top_level_commas_only(self) -> None:
        """A comma in quotes or in angle brackets separates nothing."""
        for text, parts in (
            ("a", ["a"]),
            (" a , b\t,c ", ["a", "b", "c"]),
            ('"a, b" <sip:a,b@c>;x="1,2", <sip:d>', ['"a, b" <sip:a,b@c>;x="1,2"', "<sip:d>"]),
            (r'"a\", b", c', [r'"a\", b"', "c"]),
            ("a,,b,", ["a", "", "b", ""]),
            ("", [""]),
            ('"a<b", c', ['"a<b"', "c"]),
        ):
            self.assertEqual(grammar.split_commas(text), parts)

    def test_refuses_what_is_left_open(self) -> None:
        """With an open quote or bracket nobody can tell where a value ends."""
        for text in ('"a, b', "<a, b", r'"a\", b', 'a, "', "a, <"):
            self.assertRaises(ParseError, grammar.split_commas, text)

    def test_splits_at_semicolons(self) -> None:
        """Semicolons in quotes or in angle brackets separate nothing either."""
        self.assertEqual(grammar.split_semicolons(';a=";";b=<;>; c'), ["", 'a=";"', "b=<;>", "c"])


class ParameterTests(SynchronousTestCase):
    """`parse_parameters` and `print_parameters`."""

    def test_reads_names_and_values(self) -> None:
        """Names come in lower case, values as written, white space and empty places left off."""
        self.assertEqual(
            grammar.parse_parameters(';Tag=aB; x ;; newparam =\tv ;Q = 0.3;s="a;\\"b, c" ;empty='),
            {"tag": "aB", "x": None, "newparam": "v", "q": "0.3", "s": '"a;\\"b, c"', "empty": ""},
        )

    def test_keeps_addresses_and_other_alphabets(self) -> None:
        """A host, with or without brackets, and raw UTF-8 may be values (RFC 5118 section 4.5)."""
        self.assertEqual(
            grammar.parse_parameters(";received=2001:db8::9:255;maddr=[::1];x=é"),
            {"received": "2001:db8::9:255", "maddr": "[::1]", "x": "é"},
        )

    def test_refuses_malformed_ones(self) -> None:
        """A name that is no token, a name given twice, a value that holds a separator: all are refused."""
        for text in (
            ";=1", ";a b", ";a b=1", ";tag=1;tag=2", ";tag=1;TAG=2", ';x="a', ';x="a"b', ";x=a b", ";x=a,b", ";x=<a>",
            ';x=a"b"', ";é=1", ";ma\u212a=1", ";x=a\x00", ";x=a\x0bb", ";a\x0b=1", ";x=a\x7f", ";x=>",
        ):  # fmt: skip
            self.assertRaises(ParseError, grammar.parse_parameters, text)

    def test_prints_what_it_read(self) -> None:
        """A parameter without a value is printed without an equals sign."""
        self.assertEqual(grammar.print_parameters({"a": "1", "lr": None, "e": ""}), ";a=1;lr;e=")


class NumberTests(SynchronousTestCase):
    """`parse_number`."""

    def test_reads_digits(self) -> None:
        """Leading zeros count for nothing."""
        self.assertEqual(grammar.parse_number("0068", "X"), 68)
        self.assertEqual(grammar.parse_number(str(2**32 - 1), "X"), 2**32 - 1)

    def test_refuses_everything_else(self) -> None:
        """Signs, spaces, digits of other alphabets, and numbers above the bound are refused by name."""
        for text in ("", "-1", "+1", " 1", "1 ", "1.0", "0x1", "1_0", "٣", "²", str(2**32), "9" * 5000):
            error = self.assertRaises(ParseError, grammar.parse_number, text, "Thing")
            self.assertIn("Thing", error.reason)


class CostTests(SynchronousTestCase):
    """Nothing a peer can write takes more than linear time."""

    def test_long_input_is_cheap(self) -> None:
        """64 KiB of the worst that splits and quotes can meet is dealt with in well under a second each."""
        size = 65536
        for text in ('"' + '\\"' * (size // 2), '"' + "\\" * size, "<" * size, ",<" * size, ";" * size, '"",' * size):
            start = time.process_time()
            for function in (grammar.split_commas, grammar.parse_parameters, grammar.is_quoted, grammar.unquote):
                try:
                    function(text)
                except ParseError:
                    continue
            self.assertLess(time.process_time() - start, 2.0)
