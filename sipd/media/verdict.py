"""Why somebody hears nothing: one verdict on the media of a call, from what is known of both of its legs."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

#: How far an address is valid: the ranges of hosts (RFC 1122, RFC 4291), of links (RFC 3927, RFC 4291) and of sites
#: (RFC 1918, RFC 6598, RFC 4193). What is in none of them is valid everywhere.
_SCOPES = tuple(
    tuple(ipaddress.ip_network(network) for network in networks)
    for networks in (
        ("127.0.0.0/8", "::1/128"),
        ("169.254.0.0/16", "fe80::/10"),
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
    )
)

#: ICMP errors that are more than a party which was late to open its port.
_ICMP_ERRORS = 3

#: Payload types that a text names.
_TYPE_LIMIT = 8


class Cause(StrEnum):
    """What a verdict says: see `judge`."""

    OK = "ok"
    ON_HOLD = "on-hold"
    SRTP = "srtp"
    PAYLOAD_TYPE = "payload-type"
    FOREIGN_SOURCE = "foreign-source"
    UNREACHABLE = "unreachable"
    RTCP_ONLY = "rtcp-only"
    NO_MEDIA = "no-media"
    NOTHING_FROM = "nothing-from"
    ONE_WAY = "one-way"


@dataclass(frozen=True, slots=True, kw_only=True)
class LegMedia:
    """What is known of one stream of one leg. Addresses are ``host:port``, an IPv6 host in brackets.

    Args:
        leg: its name.
        sends: whether it is to send, by the negotiated direction as the leg sees it.
        receives: whether it is to receive.
        packets: RTP packets from the source that is believed, whatever is in them.
        rtcp_packets: RTCP packets from the source that is believed.
        foreign_packets: datagrams from sources that are not believed.
        foreign_source: the first one of these; empty if there is none.
        signalled: where it wants its media; empty if it named no numeric address.
        source: where its media comes from; empty if nothing came that is believed.
        signalling_host: the numeric host that its signalling comes from; empty if that is not known.
        unexpected_payload_packets: those of `packets` with a payload type that was not negotiated.
        unexpected_payload_types: these payload types.
        srtp_failures: those of `packets` that failed authentication.
        icmp_errors: how often it was reported that what was sent to the leg did not get there.
        sent: RTP packets sent to the leg.
    """

    leg: str
    sends: bool = True
    receives: bool = True
    packets: int = 0
    rtcp_packets: int = 0
    foreign_packets: int = 0
    foreign_source: str = ""
    signalled: str = ""
    source: str = ""
    signalling_host: str = ""
    unexpected_payload_packets: int = 0
    unexpected_payload_types: tuple[int, ...] = ()
    srtp_failures: int = 0
    icmp_errors: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is wrong, or that nothing is.

    Args:
        cause: why.
        leg: the one at which to look, or for ``one-way`` the one that hears nothing; empty if it is none of them alone.
        text: one line for an operator, with the addresses and what to look at.
    """

    cause: Cause
    leg: str
    text: str


def judge(first: LegMedia, second: LegMedia) -> Verdict:
    """Judge one stream of a call, some seconds after the answer or at its end.

    Media is wanted from a leg that is to send if the other one is to receive. The first row that holds is the verdict;
    in each row the media that the first leg sends goes before that of the second:

    ==============  ======================================================================================
    on-hold         media is wanted from neither leg
    srtp            at least half of what came from a leg failed authentication
    payload-type    at least half of what came from a leg has a payload type that was not negotiated
    foreign-source  nothing came from a leg, but datagrams came from a source that is not believed
    unreachable     what is sent to a leg cannot get there. Nothing came from it, and ICMP says so, or it named no
                    numeric address, or one that is valid less far than that of its signalling; or media comes
                    from it, and ICMP goes on saying so
    no-media        media is wanted from both legs, and not even RTCP came from either
    rtcp-only       no RTP came from a leg, but RTCP did
    nothing-from    neither RTP nor RTCP came from a leg
    one-way         media came from all legs that it is wanted from, but what one sent was not sent to the other
    ok              none of these
    ==============  ======================================================================================

    Args:
        first: a leg.
        second: the other.
    """
    flows = [
        (sender, receiver)
        for sender, receiver in ((first, second), (second, first))
        if sender.sends and receiver.receives
    ]
    if not flows:
        return Verdict(cause=Cause.ON_HOLD, leg="", text="on hold: by negotiation no media is to flow")
    for find in _ROWS:
        for sender, receiver in flows:
            verdict = find(sender, receiver)
            if verdict is not None:
                return verdict
    if len(flows) == 2:
        return Verdict(cause=Cause.OK, leg="", text="media flows both ways")
    sender, receiver = flows[0]
    return Verdict(cause=Cause.OK, leg="", text=f"media flows from {sender.leg} to {receiver.leg}, as negotiated")


def _find_srtp(sender: LegMedia, _: LegMedia) -> Verdict | None:
    failures = sender.srtp_failures
    if not failures or 2 * failures < sender.packets:
        return None
    text = (
        f"{failures} SRTP packets of {sender.leg} from {_source(sender)} failed authentication: compare the key that it"
        " negotiated last with the one that it uses, above all after a re-INVITE or a transfer"
    )
    return Verdict(cause=Cause.SRTP, leg=sender.leg, text=text)


def _find_payload_type(sender: LegMedia, _: LegMedia) -> Verdict | None:
    unexpected = sender.unexpected_payload_packets
    if not unexpected or 2 * unexpected < sender.packets:
        return None
    types = ", ".join(map(str, sender.unexpected_payload_types[:_TYPE_LIMIT])) or "unknown"
    text = (
        f"{unexpected} of {sender.packets} packets of {sender.leg} from {_source(sender)} have a payload type that was"
        f" not negotiated ({types}): compare with a=rtpmap of the last offer and answer, and with its list of codecs"
    )
    return Verdict(cause=Cause.PAYLOAD_TYPE, leg=sender.leg, text=text)


def _find_foreign_source(sender: LegMedia, _: LegMedia) -> Verdict | None:
    if sender.packets or not sender.foreign_packets:
        return None
    text = (
        f"media for {sender.leg} came only from {sender.foreign_source or 'elsewhere'}, which is not believed; expected"
        f" {_expected(sender)}: if that is {sender.leg} behind NAT, it began too late or changed its address without"
        " signalling; else somebody sends to the port of the relay"
    )
    return Verdict(cause=Cause.FOREIGN_SOURCE, leg=sender.leg, text=text)


def _find_unreachable(sender: LegMedia, receiver: LegMedia) -> Verdict | None:
    leg, errors = receiver.leg, receiver.icmp_errors
    signalled = receiver.signalled
    target = receiver.source or signalled or "its address"
    if receiver.packets:
        if errors < _ICMP_ERRORS:
            return None
        text = (
            f"{leg} sends from {target} but does not take media there ({errors} ICMP errors): it does not do symmetric"
            f" RTP, or a firewall rejects; it signalled {signalled or 'no address'}"
        )
    elif errors:
        text = (
            f"media to {leg} at {target} is rejected ({errors} ICMP errors), and none came from it: look whether {leg}"
            " is still in the call, and for a firewall or a missing route to there"
        )
    elif receiver.source:
        return None
    elif not signalled:
        if not sender.packets:
            return None
        text = (
            f"nobody knows where {leg} wants its media: it signalled no numeric address, and none came from it: look at"
            " c= in its description, and whether it waits for media before it sends"
        )
    elif receiver.sent and _is_narrower(signalled, receiver.signalling_host):
        text = (
            f"media to {leg} goes to {signalled}, but its signalling comes from {receiver.signalling_host}: {leg} is"
            " behind NAT, and no media came from it that would show its public address: let it send, or use STUN"
        )
    else:
        return None
    return Verdict(cause=Cause.UNREACHABLE, leg=leg, text=text)


def _find_no_media(sender: LegMedia, receiver: LegMedia) -> Verdict | None:
    is_wanted_back = receiver.sends and sender.receives
    if not is_wanted_back or any(leg.packets or leg.rtcp_packets for leg in (sender, receiver)):
        return None
    text = (
        f"nothing came from {sender.leg} (expected {_expected(sender)}) nor from {receiver.leg} (expected"
        f" {_expected(receiver)}): look whether a firewall keeps the media ports of the relay closed, and whether the"
        " address that it advertises is the right one"
    )
    return Verdict(cause=Cause.NO_MEDIA, leg="", text=text)


def _find_rtcp_only(sender: LegMedia, _: LegMedia) -> Verdict | None:
    if sender.packets or not sender.rtcp_packets:
        return None
    text = (
        f"{sender.leg} sent {sender.rtcp_packets} RTCP packets but no RTP (expected {_expected(sender)}): the way from"
        " it to the relay is open, so look whether it is muted, suppresses silence or has no microphone"
    )
    return Verdict(cause=Cause.RTCP_ONLY, leg=sender.leg, text=text)


def _find_nothing(sender: LegMedia, receiver: LegMedia) -> Verdict | None:
    if sender.packets:
        return None
    text = (
        f"nothing came from {sender.leg} (expected {_expected(sender)}), so {receiver.leg} hears nothing: look whether"
        f" {sender.leg} sends at all, and for NAT or a firewall between it and the relay"
    )
    return Verdict(cause=Cause.NOTHING_FROM, leg=sender.leg, text=text)


def _find_one_way(sender: LegMedia, receiver: LegMedia) -> Verdict | None:
    if not sender.packets or receiver.sent:
        return None
    text = (
        f"{receiver.leg} hears nothing: media came from {sender.leg} at {_source(sender)}, but none could be sent to"
        f" {_source(receiver)}: look for a missing route, and for a firewall on this host"
    )
    return Verdict(cause=Cause.ONE_WAY, leg=receiver.leg, text=text)


#: The rows of `judge`, for media from one leg to another.
_ROWS: tuple[Callable[[LegMedia, LegMedia], Verdict | None], ...] = (
    _find_srtp,
    _find_payload_type,
    _find_foreign_source,
    _find_unreachable,
    _find_no_media,
    _find_rtcp_only,
    _find_nothing,
    _find_one_way,
)


def _source(leg: LegMedia) -> str:
    """Say where a leg is."""
    return leg.source or leg.signalled or "an unknown address"


def _expected(leg: LegMedia) -> str:
    """Say where media should come from."""
    if not leg.signalled:
        return "from anywhere"
    hint = ""
    if _is_narrower(leg.signalled, leg.signalling_host):
        hint = f", with signalling from {leg.signalling_host}"
    return f"from {leg.signalled}{hint}"


def _is_narrower(address: str, signalling_host: str) -> bool:
    """Say whether an address is valid less far than the one of the signalling: private and public, for example."""
    scope, signalling_scope = _scope(address.rpartition(":")[0]), _scope(signalling_host)
    return scope is not None and signalling_scope is not None and scope < signalling_scope


def _scope(host: str) -> int | None:
    """Give how far an address is valid, from 0 for the host; ``None`` if it is no address."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    for scope, networks in enumerate(_SCOPES):
        if any(address in network for network in networks):
            return scope
    return len(_SCOPES)
