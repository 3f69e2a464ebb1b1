"""What the telephone is told to do, as values, and the phone that is made of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from sipd.errors import LocalError
from sipd.interfaces import Entropy, IMessageObserver
from sipd.media.endpoint.settings import EndpointSettings
from sipd.phone.account import Account
from sipd.phone.addresses import complete
from sipd.phone.phone import Phone
from sipd.sip.fields import NameAddr
from sipd.sip.locate import Transport
from sipd.sip.uri import SipUri, Uri
from sipd.transport.tcp import is_wildcard
from sipd.transport.tls import TlsSettings
from sipd.ua.listening import ListenSpec, find_local_address, parse_listen

#: Seconds that may be needed for hanging up and unregistering at the end.
PATIENCE = 5.0


class DigitWay(Enum):
    """How digits are said."""

    EVENTS = "rfc4733"
    INFO = "info"
    TONES = "inband"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class LineWanted:
    """The line that a command needs.

    Args:
        account: who it is, or ``None``.
        listen: where; empty for any ports of what is needed.
        transport: for URIs that name none, or ``None``.
        tls: certificates and authorities.
        audio: what its calls can.
        name: for User-Agent.
        timeout: seconds to wait for an answer.
    """

    account: Account | None = None
    listen: tuple[ListenSpec, ...] = ()
    transport: Transport | None = None
    tls: TlsSettings = field(default_factory=TlsSettings)
    audio: EndpointSettings = field(default_factory=EndpointSettings)
    name: str = "sipd phone"
    timeout: float = 32.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """What is done in a call, in seconds since it was answered where there is a time.

    Args:
        play: a file or a tone; empty for silence.
        times: how often; ``None`` for ever.
        record: a file; empty for none.
        records_both: whether what is said is recorded, too.
        echoes: whether what is heard is sent back.
        digits: to be said.
        digits_by: how.
        hold_after: when the other side is put on hold; ``None`` for not at all.
        transfer_to: whom the other side is sent to; empty for nobody.
        transfer_after: when.
        hangup_after: when it is hung up; ``None`` for not at all.
        hangs_up_when_done: whether it is hung up when everything is played and said.
        follows: whether a transfer that the other side asks for is done.
        microphone: the command that gives what is said where nothing is played; empty for none.
        loudspeaker: the command that takes what is heard; empty for none.
    """

    play: str = ""
    times: int | None = 1
    record: str = ""
    records_both: bool = False
    echoes: bool = False
    digits: str = ""
    digits_by: DigitWay = DigitWay.EVENTS
    hold_after: float | None = None
    transfer_to: str = ""
    transfer_after: float = 0.0
    hangup_after: float | None = None
    hangs_up_when_done: bool = False
    follows: bool = False
    microphone: tuple[str, ...] = ()
    loudspeaker: tuple[str, ...] = ()


def places_of(account: Account | None, recipient: str = "") -> list[Uri]:
    """Give the URIs that requests may go to, the nearest one first.

    Raises:
        ParseError: the recipient cannot be read.
    """
    places: list[Uri] = []
    if account is not None:
        places += [account.outbound_proxy] if account.outbound_proxy is not None else []
    if recipient:
        places.append(_address(account, recipient).uri)
    if account is not None:
        places += account.registrars
    return places


def with_transport(uri: Uri, transport: Transport | None) -> Uri:
    """Give a URI the transport that is wanted, unless it names one, or is secure."""
    if transport is None or not isinstance(uri, SipUri) or uri.transport is not None or uri.is_secure:
        return uri
    return uri.replace(parameters={**uri.parameters, "transport": transport.uri_parameter})


def account_with_transport(account: Account, transport: Transport | None) -> Account:
    """The same for where the requests of an account go first, and where it registers."""
    if transport is None:
        return account
    registrars = " ".join(str(with_transport(one, transport)) for one in account.registrars)
    proxy = "" if account.outbound_proxy is None else str(with_transport(account.outbound_proxy, transport))
    return replace(account, registrar=registrars, proxy=proxy)


def listening(wanted: LineWanted, places: Sequence[Uri]) -> list[ListenSpec]:
    """Give the listening points of a line: those that are wanted, or any ports for what the places need.

    Args:
        wanted: the line.
        places: where requests will go.
    """
    if wanted.listen:
        return list(wanted.listen)
    uris = [place for place in places if isinstance(place, SipUri)]
    host = "[::]" if uris and _is_ipv6(uris[0].host) else "0.0.0.0"
    names = ["udp", "tcp"]
    named = {(uri.transport or "").lower() for uri in uris}
    if wanted.transport is not None:
        named.add(wanted.transport.value.lower())
    if "tls" in named or any(uri.is_secure for uri in uris):
        names.append("tls")
    names += [name for name in ("ws", "wss") if name in named]
    return [parse_listen(f"{name}:{host}:0") for name in names]


def needs_certificate(wanted: LineWanted, points: Sequence[ListenSpec]) -> bool:
    """Say whether there is TLS, or WebSocket over it, without a certificate of our own."""
    is_there = bool(wanted.tls.certificate)
    return not is_there and any(one.point.transport.is_secure and one.tls is None for one in points)


def facing(points: Sequence[ListenSpec], host: str, reactor: object) -> list[ListenSpec]:
    """Let listening points on every address say the one that faces a host, where they say nothing else.

    Args:
        points: listening points.
        host: a numeric address, or empty.
        reactor: a simulated host is asked instead of the kernel.
    """
    found: list[ListenSpec] = []
    for spec in points:
        point = spec.point
        if host and is_wildcard(point.advertised_host) and (":" in host) == (":" in point.host):
            try:
                point = replace(point, advertised_host=find_local_address(host, reactor))
            except LocalError:
                # Nothing leads there now: the default route may, later.
                point = spec.point
        found.append(replace(spec, point=point))
    return found


def nearest_host(places: Sequence[Uri], look_up: Callable[[str], str]) -> str:
    """Give the numeric address that requests go to first, or an empty text.

    Args:
        places: URIs.
        look_up: gives an address of a name, or an empty text.
    """
    for place in places:
        if isinstance(place, SipUri):
            host = place.host.strip("[]")
            return host if _is_numeric(host) else look_up(host)
    return ""


def make_phone(
    reactor: Any,
    wanted: LineWanted,
    points: Sequence[ListenSpec],
    *,
    entropy: Entropy,
    observers: Sequence[IMessageObserver],
    ring_timeout: float = 180.0,
    max_calls: int = 100,
) -> Phone:
    """Make the phone of a line; it is not started yet."""
    account = wanted.account
    return Phone(
        reactor,
        listen=points,
        account=None if account is None else account_with_transport(account, wanted.transport),
        audio=wanted.audio,
        name=wanted.name,
        tls=wanted.tls,
        entropy=entropy,
        observers=observers,
        ring_timeout=ring_timeout,
        max_calls=max_calls,
        patience=PATIENCE,
    )


def recipient_of(phone: Phone, text: str, transport: Transport | None) -> str:
    """Give the whole address of a recipient, with the transport that is wanted where nothing else says one.

    Raises:
        ParseError: it cannot be read.
    """
    address = phone.address(text)
    has_proxy = phone.account is not None and phone.account.outbound_proxy is not None
    uri = address.uri if has_proxy else with_transport(address.uri, transport)
    return str(NameAddr(uri, address.display_name))


def _address(account: Account | None, text: str) -> NameAddr:
    return complete(text, None if account is None else account.aor)


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_ipv6(host: str) -> bool:
    return ":" in host
