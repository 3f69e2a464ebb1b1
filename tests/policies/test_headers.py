"""Which header fields pass, and what rules make of them."""

from __future__ import annotations

import re
import string
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.b2bua.headers import STAYS, crossing
from sipd.policies.headers import (
    BOUND,
    IDENTITY,
    PASSABLE,
    HeaderAction,
    HeaderPolicy,
    HeaderRule,
    Messages,
)
from sipd.policies.text import Template
from sipd.sip.headers import COMPACT_FORMS, Headers
from sipd.sip.message import DIALOG_READERS, READERS
from sipd.sip.parser import parse_datagram
from sipd.sip.validation import find_fault
from sipd.testing import builders

VALUES = {"user": "alice", "source": "192.0.2.9", "call_id": "c", "from": "1", "to": "2", "method": "INVITE"}


def rule(action: str, name: str, value: str | None = None, match: str | None = None, **more: Any) -> HeaderRule:
    """Make a rule."""
    return HeaderRule(
        action=HeaderAction(action),
        name=name,
        value=None if value is None else Template(value),
        pattern=None if match is None else re.compile(match),
        **more,
    )


def applied(
    policy: HeaderPolicy,
    *fields: tuple[str, str],
    received: tuple[tuple[str, str], ...] = (),
    method: str = "INVITE",
    is_request: bool = True,
) -> list[tuple[str, str]]:
    """Give what a policy makes of fields."""
    headers = Headers(fields)
    policy.apply(headers, Headers(received), method, VALUES, is_request=is_request)
    return list(headers.items())


class TableTests(SynchronousTestCase):
    """What may be touched."""

    def test_everything_that_stays_is_judged(self) -> None:
        """A field that stays on its leg is bound to it, says who somebody is, or may be let pass: one of these."""
        self.assertEqual(set(STAYS) - BOUND - IDENTITY, PASSABLE)
        self.assertEqual((BOUND & IDENTITY) | (BOUND & PASSABLE) | (IDENTITY & PASSABLE), frozenset())

    def test_what_the_stack_reads_is_bound(self) -> None:
        """What decides whether a request is good, and where it belongs, is never touched."""
        self.assertLessEqual(set(READERS) | set(DIALOG_READERS), BOUND)

    def test_bound_fields_cannot_be_written(self) -> None:
        """No rule for one of them can be made, in no spelling."""
        compact = [short for short, name in COMPACT_FORMS.items() if name in BOUND]
        self.assertIn("v", compact)
        for name in (*BOUND, *compact, "VIA", "Call-Id", "CONTACT"):
            self.assertRaises(ValueError, rule, "set", name, "x")
            self.assertRaises(ValueError, rule, "remove", name)

    def test_rules_that_make_no_sense(self) -> None:
        """What a rule needs has to be there, and nothing else."""
        for arguments in (
            ("set", "X-A"),
            ("add", "X-A"),
            ("remove", "X-A", "x"),
            ("rewrite", "X-A", "x"),
            ("rewrite", "X-A", None, "x"),
            ("set", "X-A", "x", "y"),
            ("remove", "X-A", None, "y"),
            ("set", "X A", "x"),
            ("set", "", "x"),
            ("set", "X-A\r\nVia", "x"),
            ("set", "X-A", "{nobody}"),
            ("set", "X-A", "{1}"),
            ("rewrite", "X-A", "{2}", "(x)"),
        ):
            self.assertRaises(ValueError, rule, *arguments)


class ListTests(SynchronousTestCase):
    """What passes."""

    def test_table(self) -> None:
        """Lists let pass, keep to some, and leave off, in that order; bound fields are not theirs."""
        fields = (("Via", "v"), ("X-A", "1"), ("x-b", "2"), ("Subject", "s"), ("P-Asserted-Identity", "<sip:a@b>"))
        received = (*fields, ("User-Agent", "phone"), ("Authorization", "Digest x"), ("Contact", "<sip:a@b>"))
        via, pai = fields[0], fields[4]
        cases: tuple[tuple[dict[str, Any], list[tuple[str, str]]], ...] = (
            ({}, list(fields)),
            ({"also": ("*",)}, [*fields, ("User-Agent", "phone")]),
            ({"also": ("Authorization", "Contact", "via")}, list(fields)),
            ({"only": ("x-*",)}, [via, fields[1], fields[2], pai]),
            ({"only": ("nothing",)}, [via, pai]),
            ({"deny": ("X-*",)}, [via, fields[3], pai]),
            ({"deny": ("*",)}, [via]),
            ({"deny": ("p-*",)}, list(fields[:4])),
            ({"only": ("x-*",), "deny": ("X-B",)}, [via, fields[1], pai]),
            ({"also": ("user-agent",), "deny": ("user-*",)}, list(fields)),
            ({"only": ("s",)}, [via, fields[3], pai]),
        )
        for lists, expected in cases:
            self.assertEqual(applied(HeaderPolicy(**lists), *fields, received=received), expected, lists)

    def test_fields_pass_octet_for_octet(self) -> None:
        """What a list lets pass is not written anew."""
        fields = Headers()
        received = Headers.from_lines(["user-agent :  a\r\n b"])
        HeaderPolicy(also=("user-agent",)).apply(fields, received, "INVITE", {}, is_request=True)
        self.assertEqual(fields.lines(), ["user-agent :  a\r\n b"])

    def test_passes_once(self) -> None:
        """What is there already does not come a second time."""
        policy = HeaderPolicy(also=("accept",))
        self.assertEqual(applied(policy, ("Accept", "a"), received=(("Accept", "b"),)), [("Accept", "a")])

    def test_a_message_made_of_none(self) -> None:
        """Where nothing was received nothing is let pass."""
        fields = Headers()
        HeaderPolicy(also=("*",)).apply(fields, None, "BYE", {}, is_request=True)
        self.assertEqual(len(fields), 0)

    def test_bad_globs(self) -> None:
        """A name that is none is refused."""
        self.assertRaises(ValueError, HeaderPolicy, deny=("a b",))


class RuleTests(SynchronousTestCase):
    """What is written."""

    def test_table(self) -> None:
        """Each action does what it says, and one after the other."""
        a, b = ("X-A", "1"), ("X-B", "2")
        for rules, expected in (
            ([rule("set", "X-A", "9")], [b, ("X-A", "9")]),
            ([rule("set", "X-C", "{user}@{source}")], [a, b, ("X-C", "alice@192.0.2.9")]),
            ([rule("add", "X-A", "{method}")], [a, b, ("X-A", "INVITE")]),
            ([rule("remove", "x-a")], [b]),
            ([rule("remove", "X-None")], [a, b]),
            ([rule("set", "X-A", "")], [b]),
            ([rule("add", "X-A", "")], [a, b]),
            ([rule("rewrite", "X-A", "<{0}>", "[0-9]")], [b, ("X-A", "<1>")]),
            ([rule("rewrite", "X-A", "{n}{from}", "(?P<n>[0-9])")], [b, ("X-A", "11")]),
            ([rule("rewrite", "X-A", "x", "7")], [a, b]),
            ([rule("rewrite", "X-A", "", ".*")], [b]),
            ([rule("rewrite", "X-None", "x", ".*")], [a, b]),
            ([rule("set", "X-A", "5"), rule("rewrite", "X-A", "6", "5"), rule("remove", "X-B")], [("X-A", "6")]),
            ([rule("set", "P-Asserted-Identity", "<sip:x@y>")], [a, b, ("P-Asserted-Identity", "<sip:x@y>")]),
        ):
            self.assertEqual(applied(HeaderPolicy(rules=tuple(rules)), a, b), expected, rules)

    def test_every_line_is_rewritten(self) -> None:
        """An expression is looked for everywhere in each line; lines without it stay."""
        policy = HeaderPolicy(rules=(rule("rewrite", "X-A", "-", "a"),))
        self.assertEqual(applied(policy, ("X-A", "aba"), ("X-A", "c")), [("X-A", "-b-"), ("X-A", "c")])

    def test_long_values_are_left_alone(self) -> None:
        """No expression is tried on a value that is long enough to keep it busy."""
        policy = HeaderPolicy(rules=(rule("rewrite", "X-A", "-", "a"),))
        self.assertEqual(applied(policy, ("X-A", "a" * 2049)), [("X-A", "a" * 2049)])

    def test_which_messages(self) -> None:
        """A rule may be for requests or responses, and for some methods."""
        cases: tuple[tuple[dict[str, Any], str, bool, bool], ...] = (
            ({}, "BYE", True, True),
            ({"messages": Messages.REQUESTS}, "BYE", True, True),
            ({"messages": Messages.REQUESTS}, "BYE", False, False),
            ({"messages": Messages.RESPONSES}, "BYE", True, False),
            ({"messages": Messages.RESPONSES}, "BYE", False, True),
            ({"methods": frozenset(("INVITE",))}, "INVITE", False, True),
            ({"methods": frozenset(("INVITE",))}, "BYE", True, False),
        )
        for options, method, is_request, expected in cases:
            policy = HeaderPolicy(rules=(rule("set", "X-A", "1", **options),))
            made = applied(policy, method=method, is_request=is_request)
            self.assertEqual(bool(made), expected, (options, method, is_request))

    def test_needs_values(self) -> None:
        """Placeholders are looked up only where there are some."""
        self.assertFalse(HeaderPolicy(rules=(rule("set", "X-A", "1"), rule("remove", "X-B"))).needs_values)
        self.assertTrue(HeaderPolicy(rules=(rule("set", "X-A", "{to}"),)).needs_values)


_names = st.sampled_from(
    (*BOUND, *IDENTITY, *PASSABLE, "x-a", "X-B", "Subject", "v", "f", "m", "Date", "Reason", "Call-Info", "Refer-To")
)
_globs = st.one_of(
    _names, st.text(string.ascii_lowercase + "-*?", min_size=1, max_size=6).filter(lambda t: t.strip("?"))
)
_values = st.text(max_size=30)


@st.composite
def _rules(draw: st.DrawFn) -> HeaderRule | None:
    action = draw(st.sampled_from(("set", "add", "remove", "rewrite")))
    value = None if action == "remove" else draw(st.one_of(_values, st.sampled_from(("{user}", "{from}", "a{0}b"))))
    match = draw(st.sampled_from((".*", "(a|b)", "[^ ]+", "$"))) if action == "rewrite" else None
    try:
        return rule(action, draw(_names), value, match)
    except ValueError:
        return None


class PropertyTests(SynchronousTestCase):
    """What no policy can do."""

    @settings(deadline=None, max_examples=300)
    @given(
        st.lists(_globs, max_size=3),
        st.lists(_globs, max_size=3),
        st.lists(_globs, max_size=3),
        st.lists(_rules(), max_size=5),
        st.dictionaries(st.sampled_from(list(VALUES)), st.text(max_size=40)),
    )
    def test_messages_stay_good(
        self, also: list[str], only: list[str], deny: list[str], rules: list[HeaderRule | None], values: dict[str, str]
    ) -> None:
        """With any policy a request is one that this stack takes, with the fields of its own leg and no others."""
        policy = HeaderPolicy(
            also=tuple(also), only=tuple(only), deny=tuple(deny), rules=tuple(one for one in rules if one is not None)
        )
        others = [(name, f"other-{number}") for number, name in enumerate(sorted(BOUND | IDENTITY | PASSABLE))]
        received = Headers([*others, ("X-A", "a b"), ("Subject", "\udcff")])
        request = builders.invite()
        stays = BOUND & set(STAYS)
        before = [line for line in request.headers.lines() if line.partition(":")[0].lower() in stays]
        request.headers.extend(crossing(received))
        policy.apply(request.headers, received, "INVITE", values, is_request=True)
        parsed = parse_datagram(request.to_bytes())
        self.assertIsNone(find_fault(parsed))  # type: ignore[arg-type]
        after = [
            line
            for line, name in zip(parsed.headers.lines(), parsed.headers.names(), strict=True)
            if name in stays - {"content-length"}
        ]
        self.assertEqual(after, [line for line in before if not line.lower().startswith("content-length")])
