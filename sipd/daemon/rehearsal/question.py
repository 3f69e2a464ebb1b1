"""The call that is played through: who calls whom, from where, when, and the INVITE that this makes."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from sipd.daemon import layers
from sipd.daemon.sections import Config
from sipd.errors import ConfigurationError, ParseError
from sipd.interfaces import ListeningPoint
from sipd.sip.fields import NameAddr
from sipd.sip.grammar import escape, unescape
from sipd.sip.headers import Headers
from sipd.sip.locate import Target
from sipd.sip.message import Request
from sipd.sip.uri import SipUri, Uri, parse_uri

#: Where the call comes from, and registered phones are, if nothing else is said (RFC 5737, RFC 3849).
CALLER_HOSTS = ("192.0.2.10", "2001:db8::10")
CALLEE_HOST = "192.0.2.20"

_OFFER = """v=0
o=- 1 1 IN {family} {host}
s=-
c=IN {family} {host}
t=0 0
m=audio 40000 RTP/AVP 9 8 0 101
a=rtpmap:9 G722/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=sendrecv
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked.

    Args:
        caller: who calls: a URI, or a user or number of the first domain.
        callee: who is called, in the same way.
        source: numeric address that it comes from, ``host`` or ``host:port``; ``None`` for any.
        user: who the caller proves to be; ``None`` for the user that `caller` names, if that is one; empty for nobody.
        trunk: name of the trunk that it comes from; ``None`` for the one whose address `source` is, if it is one.
        at: seconds of Unix time.
        headers: more header fields of the INVITE, or others instead of its own.
        answer: what the routing service answers; ``None`` for nothing.
        contacts: URIs that each user is registered at; ``None`` for one that is made up, none for not registered.
    """

    caller: str
    callee: str
    source: str | None = None
    user: str | None = None
    trunk: str | None = None
    at: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()
    answer: bytes | None = None
    contacts: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Posed:
    """A question that can be asked.

    Args:
        request: the INVITE, without what the transport layer writes into it.
        source: where it comes from.
        point: where it comes in.
        user: who proves to have sent it, or ``None``.
        at: seconds of Unix time.
    """

    request: Request
    source: Target
    point: ListeningPoint
    user: str | None
    at: float


def pose(question: Question, config: Config, points: Sequence[ListeningPoint]) -> Posed:
    """Make the INVITE of a question.

    Raises:
        ConfigurationError: it makes none; one line for each mistake.
    """
    problems: list[str] = []
    caller = _uri("FROM", question.caller, config, problems)
    callee = _uri("TO", question.callee, config, problems)
    found = _source(question.source, points, problems)
    if caller is None or callee is None or found is None:
        raise ConfigurationError(problems)
    source, point = found
    host = f"[{source.host}]" if ":" in source.host else source.host
    body = _OFFER.format(family="IP6" if ":" in source.host else "IP4", host=source.host).replace("\n", "\r\n")
    fields = Headers(
        (
            ("Via", f"SIP/2.0/{source.transport.value} {host}:{source.port};branch=z9hG4bKrehearsal"),
            ("Max-Forwards", "70"),
            ("From", str(NameAddr(caller).with_tag("rehearsal"))),
            ("To", str(NameAddr(callee))),
            ("Call-ID", f"rehearsal@{host}"),
            ("CSeq", "1 INVITE"),
            ("Contact", f"<sip:{host}:{source.port};transport={source.transport.uri_parameter}>"),
            ("Content-Type", "application/sdp"),
        )
    )
    for name, value in question.headers:
        try:
            fields.remove(name)
            fields.add(name, value)
        except (ParseError, ValueError) as error:
            problems.append(f"--header {name}: {error}")
    if problems:
        raise ConfigurationError(problems)
    user = question.user if question.user is not None else _user(caller, config)
    return Posed(Request("INVITE", callee, fields, body.encode("ascii")), source, point, user or None, question.at)


def _uri(what: str, text: str, config: Config, problems: list[str]) -> Uri | None:
    """Read a URI; a user, a number or an address without a scheme is of SIP."""
    scheme = text.partition(":")[0].lower()
    if scheme not in ("sip", "sips", "tel"):
        user, at, host = text.rpartition("@")
        text = f"sip:{escape(user if at else text)}@{host if at else layers.domain_in_uri(config)}"
    try:
        return parse_uri(text)
    except ParseError as error:
        problems.append(f"{what}: a URI, a user or a number expected: {error.reason}")
        return None


def _source(
    text: str | None, points: Sequence[ListeningPoint], problems: list[str]
) -> tuple[Target, ListeningPoint] | None:
    """Give where the call comes from, and the listening point that it comes to: the first of its version of IP."""
    first = points[0]
    host, port = CALLER_HOSTS[":" in first.host], 5060
    if text is not None:
        try:
            host, port = _host_and_port(text)
        except ValueError:
            problems.append("--source: an address such as 192.0.2.10, 192.0.2.10:5060 or [2001:db8::10]:5060 expected")
            return None
    for point in points:
        if (":" in point.host) == (":" in host):
            return Target(transport=point.transport, host=host, port=port), point
    problems.append(f"--source: no listening point is of the same version of IP as {host}")
    return None


def _host_and_port(text: str) -> tuple[str, int]:
    host, port = text, "5060"
    if text.startswith("["):
        host, _, port = text[1:].partition("]:")
        if not port:
            host, port = text.strip("[]"), "5060"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    number = int(port)
    if not 0 < number < 65536:
        raise ValueError(port)
    return str(ipaddress.ip_address(host)), number


def _user(caller: Uri, config: Config) -> str | None:
    """Give the user of ours that this is the address of, as a phone of that user would prove."""
    if not isinstance(caller, SipUri) or caller.host not in config.domains:
        return None
    name = unescape(caller.user or "")
    return name if any(user.name == name for user in config.users) else None
