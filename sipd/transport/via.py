"""What the transport layer does with Via (RFC 3261 sections 18.2.1 and 18.2.2, RFC 3581 section 4)."""

from __future__ import annotations

from hashlib import blake2s
from ipaddress import IPv4Address, ip_address

from sipd.errors import RemoteError, RequestRefusedError
from sipd.interfaces import IFlow
from sipd.sip.fields import Via
from sipd.sip.grammar import split_commas
from sipd.sip.locate import Transport, is_numeric
from sipd.sip.message import Request, Response

_BROADCAST = IPv4Address("255.255.255.255")


def stamp_source(request: Request, host: str, port: int) -> None:
    """Write where a request really came from into its topmost Via.

    ``received`` is set where it differs from sent-by, and always where ``rport`` asks for the port. What the sender may
    have written there itself is replaced: a response never goes where only the sender says.

    Args:
        request: its topmost Via value is changed in place.
        host: numeric, without brackets.
        port: of the peer.

    Raises:
        ParseError: there is no Via, or it is malformed.
    """
    via = request.via
    parameters = via.parameters
    if via.host == host and "rport" not in parameters and "received" not in parameters:
        return
    parameters = {**parameters, "received": host}
    if "rport" in parameters:
        parameters["rport"] = str(port)
    stamped = Via(via.transport, via.host, via.port, parameters)
    headers = request.headers
    line = headers.get("Via") or ""
    others = split_commas(line)[1:] if "," in line else ()
    headers.replace_first("Via", [str(stamped), *others])
    headers.parsed["via"] = stamped


def response_address(via: Via, transport: Transport) -> tuple[str, int]:
    """Say where a response goes if the connection of its request is gone, or there is none (section 18.2.2).

    Args:
        via: the topmost one of the response, stamped.
        transport: that of the request; its default port counts where sent-by has none.

    Returns:
        Host and port. The host is numeric, but for a request that nobody has stamped. ``maddr`` counts if it is the
        address of one host, and not that of this host itself for a request from elsewhere.
    """
    port = via.port if via.port is not None else transport.default_port
    host = via.received or via.host
    maddr = (via.parameters.get("maddr") or "").strip("[]")
    if maddr and not transport.is_reliable and _is_answerable(maddr, host):
        return maddr, port
    if not transport.is_reliable and via.rport and via.rport.isascii() and via.rport.isdigit():
        return host, int(via.rport)
    return host, port


def _is_answerable(maddr: str, source: str) -> bool:
    if not is_numeric(maddr):
        return False
    address = ip_address(maddr)
    if address.is_loopback:
        return is_numeric(source) and ip_address(source).is_loopback
    return not (address.is_multicast or address.is_unspecified or address == _BROADCAST)


def build_refusal(request: Request, error: RemoteError) -> Response | None:
    """Build the response to a request that cannot be handled, without a transaction (section 8.2.7).

    Args:
        request: its topmost Via has parsed; nothing else needs to.
        error: its status and reason go out.

    Returns:
        The response, whose To tag is the same for each copy of the request; ``None`` for ACK, which has none.
    """
    if request.method == "ACK":
        return None
    headers = error.headers if isinstance(error, RequestRefusedError) else ()
    seed = f"{request.via}\n{request.headers.get('Call-ID')}\n{request.headers.get('CSeq')}"
    tag = blake2s(seed.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return request.response(error.status, error.reason, to_tag=tag, headers=headers)


def is_sent_by(via: Via, own_names: frozenset[tuple[str, int]], flow: IFlow) -> bool:
    """Say whether a Via is one of ours (section 18.1.2).

    Args:
        via: the topmost one of a response.
        own_names: host in lower case and port of everything that we call ourselves.
        flow: what it came on.
    """
    port = via.port if via.port is not None else flow.transport.default_port
    return (via.host, port) in own_names
