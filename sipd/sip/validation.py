"""What is wrong with a message, and how a faulty request is answered (RFC 3261 sections 8.1.1, 8.2 and 16.3).

`find_fault` reads what every element needs before it may handle a request. What only the user agent core can judge
(extensions, methods, bodies, loops) stands in functions of its own.
"""

from __future__ import annotations

from sipd.errors import ParseError, RequestRefusedError
from sipd.sip.message import VERSION, Request, Response
from sipd.sip.uri import SipUri

#: Fields that must not be repeated (RFC 3261 table 2): two of them leave open which one is meant.
_SINGLE = frozenset(("from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type", "expires"))


def find_fault(request: Request) -> RequestRefusedError | None:
    """Look for what makes a request unusable, whatever it asks for.

    Returns:
        What to refuse it with: 505 (version), 416 (URI scheme) or 400, with a phrase that says what is wrong; `None`
        if it may be handled. When this returns `None`, Via, From, To, Call-ID, CSeq and the URI have parsed.
    """
    if request.version.upper() != VERSION:
        return RequestRefusedError("Version Not Supported", status=505)
    try:
        _read_needed(request)
        if request.cseq.method != request.method:
            return _bad("CSeq names another method")
        repeated = request.headers.find_repeated(_SINGLE)
        if repeated is not None:
            return _bad(f"{repeated} stands more than once")
        if _is_loose(request.uri_text):
            return _bad("Malformed Request-URI")
        _check_uri(request)
        _ = request.max_forwards
        length = request.headers.get("Content-Length")
        if length is not None:
            if not (length.isascii() and length.isdigit()):
                return _bad("Content-Length is not a number")
            if len(length) > 9 or int(length) > len(request.body):
                return _bad("Content-Length is larger than the body")
    except ParseError as error:
        return _bad(error.reason)
    return None


def is_usable(response: Response) -> bool:
    """Say whether a response has what is needed to match and handle it; others are dropped (section 8.1.3)."""
    try:
        _read_needed(response)
    except ParseError:
        return False
    return True


def find_unsupported_scheme(request: Request) -> RequestRefusedError | None:
    """Refuse request URIs of a scheme that is not served with 416 (section 8.2.2.1)."""
    if request.uri.scheme in ("sip", "sips", "tel"):
        return None
    return RequestRefusedError(f"Unsupported URI scheme {request.uri.scheme[:20]}", status=416)


def find_unsupported_extension(request: Request, supported: frozenset[str]) -> RequestRefusedError | None:
    """Refuse what Require asks for and `supported` lacks with 420 (section 8.2.2.3). Not for ACK and CANCEL."""
    if "Require" not in request.headers:
        return None
    missing = [tag for tag in request.headers.values("Require") if tag.lower() not in supported]
    if not missing:
        return None
    return RequestRefusedError("Bad Extension", status=420, headers=(("Unsupported", ", ".join(missing)),))


def find_unsupported_body(request: Request, accepted: frozenset[str]) -> RequestRefusedError | None:
    """Refuse a body of a type that is not in `accepted`, or that is encoded, with 415 (section 8.2.3)."""
    if not request.body:
        return None
    if request.headers.get("Content-Encoding") not in (None, "", "identity"):
        return RequestRefusedError(
            "Unsupported Content-Encoding", status=415, headers=(("Accept-Encoding", "identity"),)
        )
    kind = request.content_type
    disposition = request.headers.get("Content-Disposition") or ""
    if kind is None:
        return _bad("A body without a Content-Type")
    if kind in accepted or "handling=optional" in disposition.replace(" ", "").lower():
        return None
    return RequestRefusedError("Unsupported Media Type", status=415, headers=(("Accept", ", ".join(sorted(accepted))),))


def find_spent_hops(request: Request) -> RequestRefusedError | None:
    """Refuse a request that may not travel further with 483 (section 16.3; RFC 7332 for B2BUAs)."""
    if request.max_forwards == 0:
        return RequestRefusedError("Too Many Hops", status=483)
    return None


def _read_needed(message: Request | Response) -> None:
    """Parse what section 8.1.1 makes mandatory; the values stay with the message."""
    _ = message.via, message.from_, message.to, message.call_id, message.cseq


def _check_uri(request: Request) -> None:
    uri = request.uri
    if isinstance(uri, SipUri) and uri.headers:
        raise ParseError("The Request-URI carries header fields")


def _is_loose(text: str) -> bool:
    return " " in text or "\t" in text or text[0] == "<"


def _bad(reason: str) -> RequestRefusedError:
    return RequestRefusedError(reason, status=400)
