"""Which flow a request inside a dialog takes (RFC 3261 section 12.2.1.1; LESSONS 1, 2 and 8)."""

from __future__ import annotations

import ipaddress

from sipd.interfaces import IFlow
from sipd.sip.fields import Via
from sipd.sip.uri import SipUri, Uri


def is_behind_nat(contact: Uri, via: Via | None, flow: IFlow) -> bool:
    """Say whether a peer's Contact names an address that is not the one it is reached at.

    Args:
        contact: of its request or response.
        via: the topmost Via of its request, `received` included; `None` for a response.
        flow: what the message came on.
    """
    if not isinstance(contact, SipUri) or contact.host == flow.host:
        return False
    if via is not None and via.received is not None and via.host == contact.host:
        return True
    return _is_private(contact.host) and not _is_private(flow.host)


def stays_on(flow: IFlow, next_hop: Uri, *, behind_nat: bool) -> bool:
    """Say whether a request to `next_hop` goes out on the flow that the dialog came on.

    A connection is kept while it lives, and so is the flow of a peer behind NAT. Over UDP a Contact or Route that
    names another place is where the request must go.
    """
    if not flow.is_open:
        return False
    if behind_nat or flow.transport.is_reliable or not isinstance(next_hop, SipUri):
        return True
    return next_hop.host == flow.host and (next_hop.port or 5060) == flow.port and "maddr" not in next_hop.parameters


def _is_private(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False
