"""Which header fields a leg is told beside those that cross anyhow, which it is not, and what they say.

Rules never touch what belongs to a dialog, a transaction, a hop or a proof of who somebody is (`BOUND`): with any rules
a message stays one of its own leg (RFC 7092; RFC 5853 section 3.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from sipd.policies.text import MAX_MATCHED, Template, field_globs, groups_in, groups_of, matches
from sipd.sip.grammar import is_token
from sipd.sip.headers import Headers, canonical_name

#: What no rule may let pass, take out, or write. By canonical name.
BOUND = frozenset(
    (
        # the hop, the route set, and registrations
        "via", "route", "record-route", "path", "service-route", "max-forwards", "max-breadth", "timestamp",
        # the dialog and its transactions
        "from", "to", "call-id", "cseq", "contact", "replaces", "join", "target-dialog", "rseq", "rack",
        "session-expires", "min-se", "expires", "min-expires",
        # the body
        "content-length", "content-type", "content-disposition", "content-encoding", "content-language", "mime-version",
        # what a user agent can do, and demands
        "allow", "supported", "require", "proxy-require", "unsupported",
        # proofs
        "authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate", "authentication-info",
        "proxy-authentication-info", "security-client", "security-server", "security-verify",
        # what a request is about
        "event", "subscription-state", "refer-to", "sip-etag", "sip-if-match", "info-package", "recv-info",
    )
)  # fmt: skip

#: What says who somebody is, or how much of that may be seen: it crosses by trust, and may be taken out or rewritten.
IDENTITY = frozenset(
    (
        "p-asserted-identity", "p-preferred-identity", "remote-party-id", "privacy", "diversion", "history-info",
        "session-id",
    )
)  # fmt: skip

#: What stays on its own leg, but may be let pass.
PASSABLE = frozenset(
    (
        "accept", "accept-encoding", "allow-events", "user-agent", "server", "retry-after", "warning", "in-reply-to",
        "p-served-user", "p-asserted-service", "p-access-network-info", "p-visited-network-id", "p-charging-vector",
        "p-charging-function-addresses",
    )
)  # fmt: skip

#: What rules may ask for: the user of ours who has proved to be the sender, or is called; the address that the message
#: came from; the Call-ID of its leg; the user parts of From and To; its method, or that of what it answers.
PLACEHOLDERS = ("user", "source", "call_id", "from", "to", "method")


class HeaderAction(Enum):
    """What a rule does."""

    #: One line of that name, and no other.
    SET = "set"
    #: One more line.
    ADD = "add"
    #: No line of that name.
    REMOVE = "remove"
    #: Each match of an expression in each line of that name is replaced.
    REWRITE = "rewrite"

    __hash__ = object.__hash__


class Messages(Enum):
    """Which messages a rule is for."""

    ALL = "all"
    REQUESTS = "requests"
    RESPONSES = "responses"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderRule:
    """One change of one header field. A value that comes out empty is left off.

    Args:
        action: what is done.
        name: of the header field, not one of `BOUND`.
        value: what to set, to add, or to replace a match with; with `PLACEHOLDERS`, and in the place of a match with
            its groups: ``{0}`` all of it, ``{1}``, ``{name}``.
        pattern: what to rewrite, anywhere in the value. Values of more than 2,048 characters stay as they are.
        methods: of requests, or those that are answered; any if empty.
        messages: requests, responses or both.

    Raises:
        ValueError: the rule makes no sense.
    """

    action: HeaderAction
    name: str
    value: Template | None = None
    pattern: re.Pattern[str] | None = None
    methods: frozenset[str] = frozenset()
    messages: Messages = Messages.ALL

    def __post_init__(self) -> None:
        """Check the rule."""
        if not is_token(self.name):
            raise ValueError(f"the name of a header field expected (got {self.name[:40]!r})")
        if canonical_name(self.name) in BOUND:
            raise ValueError(f"a header field expected that no leg needs for itself (got {self.name})")
        if (self.action is HeaderAction.REWRITE) is (self.pattern is None):
            raise ValueError("an expression expected beside rewrite, and beside nothing else")
        if (self.action is HeaderAction.REMOVE) is (self.value is not None):
            raise ValueError("a value expected, but not beside remove")
        if self.value is not None:
            self.value.check([*PLACEHOLDERS, *(groups_of(self.pattern) if self.pattern is not None else ())])

    def applies(self, method: str, *, is_request: bool) -> bool:
        """Say whether the rule is for such a message."""
        if self.messages is not Messages.ALL and (self.messages is Messages.REQUESTS) is not is_request:
            return False
        return not self.methods or method in self.methods

    def apply(self, fields: Headers, values: Mapping[str, str]) -> None:
        """Change header fields.

        Args:
            fields: those of a message.
            values: what the placeholders stand for.
        """
        name, value = self.name, self.value
        if self.action is HeaderAction.REMOVE or value is None:
            fields.remove(name)
        elif self.pattern is not None:
            self._rewrite(fields, self.pattern, value, values)
        else:
            text = value.fill(values)
            if self.action is HeaderAction.SET:
                fields.remove(name)
            if text:
                fields.add(name, text)

    def _rewrite(self, fields: Headers, pattern: re.Pattern[str], value: Template, values: Mapping[str, str]) -> None:
        lines = fields.get_all(self.name)
        made = [
            pattern.sub(lambda match: value.fill({**values, **groups_in(match)}), line)
            if len(line) <= MAX_MATCHED
            else line
            for line in lines
        ]
        if made != lines:
            fields.remove(self.name)
            for line in made:
                if line:
                    fields.add(self.name, line)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderPolicy:
    """What happens to header fields on their way to a leg, or from it: first the lists, then the rules in order.

    Names in lists may have ``*`` and ``?`` in them.

    Args:
        also: those that pass although they would stay on their leg, as far as that can be (`PASSABLE`).
        only: of those that pass, all others are left off, but for who somebody is (`IDENTITY`); none if empty.
        deny: those that are left off, whatever else is said.
        rules: what is written, rewritten and removed then.

    Raises:
        ValueError: a name in a list is none.
    """

    also: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    rules: tuple[HeaderRule, ...] = ()
    _also: re.Pattern[str] | None = field(init=False, repr=False, compare=False)
    _only: re.Pattern[str] | None = field(init=False, repr=False, compare=False)
    _deny: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare the lists."""
        for name in ("also", "only", "deny"):
            object.__setattr__(self, f"_{name}", field_globs(getattr(self, name)))

    @property
    def needs_values(self) -> bool:
        """Whether a rule has something for placeholders to stand for."""
        return any(rule.value is not None and rule.value.names for rule in self.rules)

    def for_strangers(self) -> HeaderPolicy:
        """Give it for whoever it was not made for: it says nothing of its own, and what it takes out stays out."""
        rules = []
        for rule in self.rules:
            if rule.action is HeaderAction.SET:
                rules.append(replace(rule, action=HeaderAction.REMOVE, value=None))
            elif rule.action is not HeaderAction.ADD:
                rules.append(rule)
        return replace(self, also=(), rules=tuple(rules))

    def passes(self, name: str) -> bool:
        """Say whether a field crosses that would stay on its leg.

        Args:
            name: in its canonical form.
        """
        return name in PASSABLE and matches(self._also, name)

    def apply(
        self,
        fields: Headers,
        received: Headers | None,
        method: str,
        values: Mapping[str, str],
        *,
        is_request: bool,
    ) -> None:
        """Do all that to the fields of a message.

        Args:
            fields: what the message has so far; fields of `BOUND` may be among them.
            received: those of the message that it is made of; ``None`` if it is made of none.
            method: of the request, or the one that is answered.
            values: what the placeholders stand for.
            is_request: whether it is one.
        """
        if received is not None and self._also is not None:
            present = set(fields.names())
            fields.copy_only(received, frozenset([name for name in received.names() if self.passes(name)]) - present)
        if self._only is not None or self._deny is not None:
            for name in set(fields.names()):
                if not self._may_stay(name):
                    fields.remove(name)
        for rule in self.rules:
            if rule.applies(method, is_request=is_request):
                rule.apply(fields, values)

    def _may_stay(self, name: str) -> bool:
        if name in BOUND:
            return True
        if matches(self._deny, name):
            return False
        return self._only is None or name in IDENTITY or matches(self._only, name)
