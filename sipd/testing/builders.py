"""Messages for tests: each with sensible defaults, so that a test says only what it is about.

Nothing here is random: two calls with the same arguments build equal messages.
"""

from __future__ import annotations

from collections.abc import Iterable

from sipd.sip.headers import Headers
from sipd.sip.message import Request, Response

ALICE = "sip:alice@example.com"
BOB = "sip:bob@example.com"

Fields = Iterable[tuple[str, str]]


def request(
    method: str,
    uri: str = BOB,
    *,
    caller: str = ALICE,
    callee: str = BOB,
    from_tag: str = "from-tag",
    to_tag: str | None = None,
    call_id: str = "call-1@example.com",
    cseq: int = 1,
    via: str | None = "192.0.2.1:5060",
    transport: str = "UDP",
    branch: str = "z9hG4bK-1",
    contact: str | None = "<sip:alice@192.0.2.1:5060>",
    max_forwards: int = 70,
    headers: Fields = (),
    body: bytes = b"",
    content_type: str = "application/sdp",
) -> Request:
    """Build a request (RFC 3261 section 8.1.1).

    Args:
        method: of the request and of CSeq.
        uri: the request URI.
        caller: the URI in From.
        callee: the URI in To.
        from_tag: of From.
        to_tag: of To; ``None`` outside of a dialog.
        call_id: the Call-ID.
        cseq: the number in CSeq.
        via: sent-by of the only Via, which asks for ``rport``; ``None`` for a request that a layer adds it to.
        transport: in the Via.
        branch: of the Via.
        contact: the Contact value, or ``None``.
        max_forwards: 0 to 255.
        headers: more header fields.
        body: octets; gets a Content-Type if there are any.
        content_type: of the body.
    """
    fields = Headers()
    if via is not None:
        fields.add("Via", f"SIP/2.0/{transport} {via};branch={branch};rport")
    fields.add("Max-Forwards", str(max_forwards))
    fields.add("From", f"<{caller}>;tag={from_tag}")
    fields.add("To", f"<{callee}>" if to_tag is None else f"<{callee}>;tag={to_tag}")
    fields.add("Call-ID", call_id)
    fields.add("CSeq", f"{cseq} {method}")
    if contact is not None:
        fields.add("Contact", contact)
    for name, value in headers:
        fields.add(name, value)
    if body:
        fields.add("Content-Type", content_type)
    return Request(method, uri, fields, body)


def invite(uri: str = BOB, *, body: bytes | None = None, **options: object) -> Request:
    """Build an INVITE with an offer; give ``body=b""`` for one without. Other arguments as for `request`."""
    return request("INVITE", uri, body=sdp() if body is None else body, **options)  # type: ignore[arg-type]


def options(uri: str = BOB, **options: object) -> Request:
    """Build an OPTIONS. Arguments as for `request`."""
    return request("OPTIONS", uri, **options)  # type: ignore[arg-type]


def register(
    aor: str = ALICE,
    contact: str | None = "<sip:alice@192.0.2.1:5060>",
    *,
    registrar: str = "sip:example.com",
    expires: int | None = 3600,
    headers: Fields = (),
    **options: object,
) -> Request:
    """Build a REGISTER (RFC 3261 section 10.2).

    Args:
        aor: the address of record, in From and To.
        contact: the Contact value: ``*`` to remove all, ``None`` to ask only.
        registrar: the request URI.
        expires: the Expires header, or ``None``.
        headers: more header fields.
        options: as for `request`.
    """
    fields = [*headers] if expires is None else [("Expires", str(expires)), *headers]
    return request(
        "REGISTER",
        registrar,
        caller=aor,
        callee=aor,
        contact=contact,
        headers=fields,
        **options,  # type: ignore[arg-type]
    )


def ack(invite: Request, response: Response) -> Request:
    """Build the ACK of a response: with the INVITE's branch for a refusal (17.1.1.3), with another for a 2xx."""
    accepted = response.is_success
    fields = Headers()
    via = invite.via.with_parameter("branch", invite.via.branch + "-ack") if accepted else invite.via
    fields.add("Via", str(via))
    fields.add("Max-Forwards", "70")
    fields.copy_lines(invite.headers, "From")
    fields.copy_lines(response.headers, "To")
    fields.copy_lines(invite.headers, "Call-ID")
    fields.add("CSeq", f"{invite.cseq.number} ACK")
    if not accepted:
        fields.copy_lines(invite.headers, "Route")
        return Request("ACK", invite.uri_text, fields)
    _add_routes(fields, response)
    return Request("ACK", _remote_target(response) or invite.uri_text, fields)


def cancel(invite: Request) -> Request:
    """Build the CANCEL of an INVITE as it was sent (section 9.1)."""
    fields = Headers()
    fields.add("Via", str(invite.via))
    fields.add("Max-Forwards", "70")
    for name in ("From", "To", "Call-ID", "Route"):
        fields.copy_lines(invite.headers, name)
    fields.add("CSeq", f"{invite.cseq.number} CANCEL")
    return Request("CANCEL", invite.uri_text, fields)


def bye(invite: Request, response: Response, *, cseq: int | None = None, branch: str = "z9hG4bK-bye") -> Request:
    """Build the caller's BYE in the dialog that a 2xx made.

    Args:
        invite: the INVITE.
        response: its 2xx.
        cseq: the number in CSeq; by default the one after the INVITE's.
        branch: of the Via.
    """
    fields = Headers()
    fields.add("Via", str(invite.via.with_parameter("branch", branch)))
    fields.add("Max-Forwards", "70")
    fields.copy_lines(invite.headers, "From")
    fields.copy_lines(response.headers, "To")
    fields.copy_lines(invite.headers, "Call-ID")
    fields.add("CSeq", f"{invite.cseq.number + 1 if cseq is None else cseq} BYE")
    _add_routes(fields, response)
    return Request("BYE", _remote_target(response) or invite.uri_text, fields)


def response(
    request: Request,
    status: int,
    reason: str | None = None,
    *,
    to_tag: str | None = "to-tag",
    contact: str | None = "<sip:bob@192.0.2.2:5060>",
    headers: Fields = (),
    body: bytes = b"",
    content_type: str = "application/sdp",
) -> Response:
    """Build a response to a request.

    Args:
        request: what is answered.
        status: 100 to 699.
        reason: the phrase; by default the usual one.
        to_tag: added to To where the request has none there; not for a 100.
        contact: the Contact value of a response that makes a dialog: 101 to 299 to INVITE.
        headers: more header fields.
        body: octets; gets a Content-Type if there are any.
        content_type: of the body.
    """
    fields = [*headers]
    if contact is not None and request.method == "INVITE" and 100 < status < 300:
        fields.insert(0, ("Contact", contact))
        fields[:0] = [("Record-Route", value) for value in request.headers.get_all("Record-Route")]
    if body:
        fields.append(("Content-Type", content_type))
    tag = None if status == 100 else to_tag
    return request.response(status, reason, to_tag=tag, headers=fields, body=body)


def sdp(
    host: str = "192.0.2.1",
    port: int = 40000,
    *,
    media: Iterable[str] = ("audio",),
    direction: str = "sendrecv",
    session_id: int = 1,
    version: int = 1,
) -> bytes:
    """Build a session description (RFC 8866).

    Args:
        host: the numeric address in ``o=`` and ``c=``.
        port: of the first stream; each further one takes the next even port.
        media: the kind of each stream: ``audio`` is offered as PCMU, PCMA and telephone events, others as payload 96.
        direction: of every stream.
        session_id: in ``o=``.
        version: in ``o=``.
    """
    family = "IP6" if ":" in host else "IP4"
    lines = ["v=0", f"o=- {session_id} {version} IN {family} {host}", "s=-", f"c=IN {family} {host}", "t=0 0"]
    for index, kind in enumerate(media):
        formats = "0 8 101" if kind == "audio" else "96"
        lines.append(f"m={kind} {port + 2 * index} RTP/AVP {formats}")
        maps = ("0 PCMU/8000", "8 PCMA/8000", "101 telephone-event/8000") if kind == "audio" else ("96 VP8/90000",)
        lines += [f"a=rtpmap:{value}" for value in maps]
        lines.append(f"a={direction}")
    return ("\r\n".join(lines) + "\r\n").encode()


def sdp_answer(offer: bytes, host: str = "192.0.2.2", port: int = 41000, *, version: int = 1) -> bytes:
    """Build an answer that takes every stream of an offer, in order (RFC 3264 section 6).

    Args:
        offer: the description that is answered.
        host: the numeric address in ``o=`` and ``c=``.
        port: of the first stream.
        version: in ``o=``.
    """
    kinds = [line[2:].split(b" ")[0].decode() for line in offer.splitlines() if line.startswith(b"m=")]
    return sdp(host, port, media=kinds, session_id=2, version=version)


def _remote_target(response: Response) -> str | None:
    contacts = response.contacts
    return str(contacts[0].uri) if contacts else None


def _add_routes(fields: Headers, response: Response) -> None:
    """Add the caller's route set: the Record-Route of the response, reversed (section 12.1.2)."""
    for value in reversed(response.record_routes):
        fields.add("Route", str(value))
