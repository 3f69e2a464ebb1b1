"""Header fields: order, names, folding, and lines that leave as they came."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.sip.headers import COMPACT_FORMS, Headers, canonical_name

LINES = [
    "Via: SIP/2.0/UDP a;branch=1, SIP/2.0/UDP b",
    "v:SIP/2.0/TCP c",
    "Subject:",
    "X-Odd  :  kept   as it is ",
    "Allow: INVITE,  ,ACK,",
]


class NameTests(SynchronousTestCase):
    """Names of header fields (RFC 3261 sections 7.3.1 and 7.3.3)."""

    def test_any_case_and_the_compact_form_are_one_name(self) -> None:
        """All spellings lead to the same canonical name."""
        for name in ("Call-ID", "call-id", "CALL-ID", "cAlL-iD", "i", "I", " i\t"):
            self.assertEqual(canonical_name(name), "call-id")
        self.assertEqual(canonical_name("X-Odd"), "x-odd")

    def test_every_registered_compact_form_is_known(self) -> None:
        """The registry has twenty; each is one letter."""
        self.assertEqual("".join(sorted(COMPACT_FORMS)), "abcdefijklmnorstuvxy")

    def test_an_escape_in_a_name_means_nothing(self) -> None:
        """RFC 4475 section 3.1.1.5: `C%6Fntact` is not Contact."""
        headers = Headers.from_lines(["C%6Fntact: <sip:a@b>"])
        self.assertNotIn("Contact", headers)
        self.assertIn("c%6fntact", headers)


class ReadingTests(SynchronousTestCase):
    """What comes from the network."""

    def setUp(self) -> None:
        """Take a few lines of each kind."""
        self.headers = Headers.from_lines(LINES.copy())

    def test_has_any(self) -> None:
        """Canonical names are found in whatever way they are written."""
        self.assertTrue(self.headers.has_any(frozenset(("via", "x-none"))))
        self.assertFalse(self.headers.has_any(frozenset(("to", "x-none"))))
        self.assertFalse(self.headers.has_any(frozenset()))

    def test_gives_values(self) -> None:
        """The first line, every line, every value; stripped."""
        self.assertEqual(self.headers.get("via"), "SIP/2.0/UDP a;branch=1, SIP/2.0/UDP b")
        self.assertEqual(self.headers.get_all("Via"), ["SIP/2.0/UDP a;branch=1, SIP/2.0/UDP b", "SIP/2.0/TCP c"])
        self.assertEqual(self.headers.values("v"), ["SIP/2.0/UDP a;branch=1", "SIP/2.0/UDP b", "SIP/2.0/TCP c"])
        self.assertEqual(self.headers.get("Subject"), "")
        self.assertEqual(self.headers.get("x-odd"), "kept   as it is")
        self.assertEqual(self.headers.values("Allow"), ["INVITE", "ACK"])
        self.assertEqual(self.headers.tokens("Allow"), {"INVITE", "ACK"})
        self.assertEqual(
            (self.headers.get("To"), self.headers.get_all("To"), self.headers.values("To")), (None, [], [])
        )

    def test_counts_lines(self) -> None:
        """Lines are counted, not values."""
        self.assertEqual((len(self.headers), self.headers.count("Via"), self.headers.count("To")), (5, 2, 0))
        self.assertIn("SUBJECT", self.headers)
        self.assertEqual(self.headers.names(), ["via", "via", "subject", "x-odd", "allow"])
        self.assertEqual(list(self.headers.items())[3], ("X-Odd", "kept   as it is"))
        self.assertEqual(list(self.headers.items())[1], ("v", "SIP/2.0/TCP c"))

    def test_keeps_lines_octet_for_octet(self) -> None:
        """White space, case and compact forms are as they came."""
        self.assertEqual(self.headers.lines(), LINES)

    def test_unfolds(self) -> None:
        """A line that begins with white space goes on; the fold counts as one space (section 7.3.1)."""
        headers = Headers.from_lines(["Subject: I know ", "\tyou're there,", "   pick up", "To:", " <sip:a@b>", "  "])
        self.assertEqual(headers.get("Subject"), "I know you're there, pick up")
        self.assertEqual(headers.get("To"), "<sip:a@b>")
        self.assertEqual(headers.lines()[0], "Subject: I know \r\n\tyou're there,\r\n   pick up")
        self.assertEqual(len(headers), 2)

    def test_refuses_malformed_lines(self) -> None:
        """No colon, no name, a name that is no token, or a fold before any line."""
        for line in (
            "",
            "Via",
            "Viax",
            "vx",
            "Call-IDx",
            ": x",
            " Via: x",
            "\tx",
            "Vi a: x",
            "Via\x0b: x",
            "é: x",
            "(: x",
        ):
            self.assertRaises(ParseError, Headers.from_lines, [line])
            if line[:1] not in (" ", "\t"):
                self.assertRaises(ParseError, Headers.from_lines, ["To: <sip:a@b>", line])

    def test_reads_in_one_pass(self) -> None:
        """Each line whose name has a reader is parsed into `parsed`, of Via the first only, of lists all."""
        self.headers.read({"via": len, "x-odd": str.upper, "to": str})
        self.assertEqual(self.headers.parsed, {"via": 37, "x-odd": "KEPT   AS IT IS"})
        self.headers.read({"via": lambda text: (len(text),)}, ("via", "route"))
        self.assertEqual(self.headers.parsed, {"via": (37, 13), "route": (), "x-odd": "KEPT   AS IT IS"})

    def test_what_is_read_may_stand_once(self) -> None:
        """A second line of a name that has a reader is refused, whatever its spelling, and nothing is remembered."""
        headers = Headers.from_lines(["To: a", "t  : a"])
        error = self.assertRaises(ParseError, headers.read, {"to": str})
        self.assertEqual(error.reason, "t stands more than once")
        self.assertEqual(headers.parsed, {})


class ChangingTests(SynchronousTestCase):
    """What sipd changes."""

    def setUp(self) -> None:
        """Take a few lines of each kind."""
        self.headers = Headers.from_lines(LINES.copy())

    def test_sets_in_place(self) -> None:
        """All lines of a name become one, where the first stood; a new name goes to the end."""
        self.headers.set("VIA", "x")
        self.headers.set("New", "y")
        self.assertEqual(self.headers.lines(), ["VIA: x", *LINES[2:], "New: y"])
        self.assertEqual(self.headers.names(), ["via", "subject", "x-odd", "allow", "new"])

    def test_adds_and_removes(self) -> None:
        """`add` appends, `prepend` goes before the first of its name or before everything, `remove` takes all."""
        self.headers.add("Via", "z")
        self.headers.prepend("Via", "top")
        self.headers.prepend("Allow", "BYE")
        self.headers.prepend("Route", "<sip:r>")
        self.headers.remove("X-Odd")
        self.headers.remove("Nothing")
        self.assertEqual(
            self.headers.lines(),
            ["Route: <sip:r>", "Via: top", LINES[0], LINES[1], LINES[2], "Allow: BYE", LINES[4], "Via: z"],
        )
        self.headers.remove("v")
        self.assertEqual(self.headers.names(), ["route", "subject", "allow", "allow"])

    def test_replaces_the_first_line(self) -> None:
        """One line becomes several; the rest of that name stays."""
        self.headers.replace_first("Via", ("a", "b"))
        self.assertEqual(self.headers.get_all("Via"), ["a", "b", "SIP/2.0/TCP c"])
        self.assertRaises(ValueError, self.headers.replace_first, "To", ("a",))

    def test_copies_lines(self) -> None:
        """Lines of one name, or all but some, go over octet for octet."""
        headers = Headers([("Ab", "1")])
        headers.copy_lines(self.headers, "Via")
        self.assertEqual(headers.lines(), ["Ab: 1", LINES[0], LINES[1]])
        headers.copy_others(self.headers, frozenset(("via", "allow")))
        self.assertEqual(headers.lines(), ["Ab: 1", LINES[0], LINES[1], LINES[2], LINES[3]])
        self.assertEqual(headers.names(), ["ab", "via", "via", "subject", "x-odd"])

    def test_takes_fields_of_both_kinds(self) -> None:
        """Names and values are printed, the lines of other header fields go over octet for octet."""
        headers = Headers([("Ab", "1")])
        headers.extend(self.headers)
        headers.extend((name, "2") for name in ("Cd", "Ef"))
        self.assertEqual(headers.lines(), ["Ab: 1", *LINES, "Cd: 2", "Ef: 2"])
        self.assertEqual(Headers(self.headers), self.headers)

    def test_makes_sure(self) -> None:
        """`ensure` leaves a line that says so, and makes one of none, of another, or of several."""
        for lines, after in (
            (["l :  3"], ["l :  3"]),
            ([], ["Content-Length: 3"]),
            (["l: 4", "To: x"], ["Content-Length: 3", "To: x"]),
            (["l: 3", "To: x", "l: 3"], ["Content-Length: 3", "To: x"]),
        ):
            headers = Headers.from_lines(lines)
            headers.ensure("Content-Length", "3")
            self.assertEqual(headers.lines(), after)

    def test_a_copy_is_independent(self) -> None:
        """Changing the one leaves the other."""
        copy = self.headers.copy()
        self.assertEqual(copy, self.headers)
        copy.set("Subject", "other")
        copy.remove("Via")
        self.assertEqual(self.headers.lines(), LINES)
        self.assertNotEqual(copy, self.headers)

    def test_equality_is_of_names_and_values(self) -> None:
        """Spelling of a name and white space make no difference; order, value and number of lines do."""
        one = Headers([("Via", "a"), ("To", "b")])
        self.assertEqual(one, Headers.from_lines(["v :  a ", "t:b"]))
        self.assertNotEqual(one, Headers([("To", "b"), ("Via", "a")]))
        self.assertNotEqual(one, Headers([("Via", "a")]))
        self.assertNotEqual(one, [("Via", "a"), ("To", "b")])
        self.assertRaises(TypeError, hash, one)

    def test_no_value_and_no_name_can_add_a_line(self) -> None:
        """CR and LF are refused, in every way of putting a line in, and nothing is changed."""
        for value in ("a\r\nEvil: 1", "a\nEvil: 1", "a\rb", "\n"):
            for change in (self.headers.add, self.headers.set, self.headers.prepend):
                self.assertRaises(ParseError, change, "Subject", value)
            self.assertRaises(ParseError, self.headers.replace_first, "Via", ("a", value))
            self.assertRaises(ParseError, Headers, [("Subject", value)])
        for name in ("", "Evil: 1\r\nX", "A B", "A:", "A\n", "é", "X "):
            for change in (self.headers.add, self.headers.set, self.headers.prepend):
                self.assertRaises(ParseError, change, name, "1")
        self.assertEqual(self.headers.lines(), LINES)
        self.assertEqual(len(self.headers.names()), len(LINES))


class ParsedTests(SynchronousTestCase):
    """The memory of what is parsed."""

    def test_a_change_drops_the_entry_of_its_name_only(self) -> None:
        """Whatever the change, the entry of that name goes, and others stay."""
        for change in (
            lambda headers: headers.set("v", "x"),
            lambda headers: headers.add("v", "x"),
            lambda headers: headers.prepend("V", "x"),
            lambda headers: headers.remove("VIA"),
            lambda headers: headers.replace_first("Via", ("x", "y")),
            lambda headers: headers.copy_lines(Headers([("Via", "x")]), "Via"),
            lambda headers: headers.copy_others(Headers([("v", "x")]), frozenset()),
        ):
            headers = Headers([("Via", "1"), ("To", "2")])
            headers.parsed.update({"via": object(), "to": object()})
            change(headers)
            self.assertEqual(list(headers.parsed), ["to"])
