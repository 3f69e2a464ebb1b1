"""Which flow a request inside a dialog takes (RFC 3261 section 12.2.1.1; LESSONS 1, 2 and 8)."""

from __future__ import annotations

import ipaddress

from sipd.interfaces import IFlow
from sipd.sip.fields import Via
from sipd.sip.message import Request
from sipd.sip.uri import SipUri, Uri

#: Addresses that mean something only inside of a network: RFC 1918, RFC 6598, loopback, link-local, RFC 4193.
_LOCAL_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "::1/128", "fe80::/10", "fc00::/7",
    )
)  # fmt: skip


def is_behind_nat(contact: Uri, via: Via | None, flow: IFlow) -> bool:
    """Say whether a peer's Contact names an address that is not the one it is reached at.

    Args:
        contact: of its request or response.
        via: the topmost Via of its request, ``received`` included; ``None`` for a response.
        flow: what the message came on.
    """
    if not isinstance(contact, SipUri) or contact.host == flow.host:
        return False
    if via is not None and via.received is not None and via.host == contact.host:
        return True
    return is_of_another_network(contact, flow.host)


def is_of_another_network(contact: Uri, host: str) -> bool:
    """Say whether a Contact names a private address, and ``host``, where its request came from, is none."""
    return isinstance(contact, SipUri) and _is_local(contact.host) and not _is_local(host)


def stays_on(flow: IFlow, next_hop: Uri, *, behind_nat: bool) -> bool:
    """Say whether a request to ``next_hop`` goes out on the flow that the dialog came on.

    A connection is kept while it lives, and so is the flow of a peer behind NAT. Over UDP a Contact or Route that
    names another place is where the request must go.
    """
    if not flow.is_open:
        return False
    if behind_nat or flow.transport.is_reliable or not isinstance(next_hop, SipUri):
        return True
    if next_hop.transport not in (None, "udp") or "maddr" in next_hop.parameters:
        return False
    return next_hop.host == flow.host and (next_hop.port or 5060) == flow.port


def is_secured(request: Request) -> bool:
    """Say whether a request is to be kept secure all the way: what it is for, or comes or goes by, is ``sips``.

    That is its Request-URI, or its topmost Record-Route; where there is none, its topmost Route of a request of this
    side, or its Contact (RFC 3261 sections 8.1.1.8 and 12.1.1).

    Raises:
        ParseError: one of these is malformed.
    """
    nearest = request.record_routes[:1] or request.routes[:1] or request.contacts[:1]
    return any(isinstance(uri, SipUri) and uri.is_secure for uri in (request.uri, *[one.uri for one in nearest]))


def _is_local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in _LOCAL_NETWORKS)
