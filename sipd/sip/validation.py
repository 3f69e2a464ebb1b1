"""What is wrong with a message, and how a faulty request is answered (RFC 3261 sections 8.1.1, 8.2 and 16.3).

`find_fault` reads what every element needs before it may handle a request. What only the user agent core can judge
(schemes, extensions, bodies, hops) stands in functions of their own, for requests in which `find_fault` found nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from sipd.errors import ParseError, RequestRefusedError
from sipd.sip.grammar import is_token
from sipd.sip.message import DIALOG_LISTS, DIALOG_READERS, READERS, VERSION, Request, Response
from sipd.sip.uri import SipUri

#: What every message must have, and what must be good in one that has it (RFC 3261 sections 8.1.1 and 18.3).
_NEEDED = {"via": "Via", "from": "From", "to": "To", "call-id": "Call-ID", "cseq": "CSeq"}
#: Methods that make or refresh a dialog: their Contact, Route and Record-Route will be used (sections 12.1 and 12.2).
_DIALOG_METHODS = frozenset(("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"))
_COMMON = {name: READERS[name] for name in (*_NEEDED, "content-length")}


def find_fault(request: Request) -> RequestRefusedError | None:
    """Look for what makes a request unusable, whatever it asks for.

    Returns:
        What to refuse it with: 505 (version) or 400, with a phrase that says what is wrong; ``None`` if it may be
        handled. When this returns ``None``, Via, From, To, Call-ID, CSeq, Max-Forwards, Expires, Content-Type, the URI
        and, where the method has a use for them, Contact, Route and Record-Route have parsed.
    """
    if request.version != VERSION and request.version.upper() != VERSION:
        return RequestRefusedError("Version Not Supported", status=505)
    try:
        if request.method in _DIALOG_METHODS:
            _check_common(request, DIALOG_READERS, DIALOG_LISTS)
        else:
            _check_common(request, READERS)
        if request.cseq.method != request.method:
            return _bad("CSeq names another method")
        uri = request.uri
        if isinstance(uri, SipUri) and uri.headers:
            return _bad("The Request-URI carries header fields")
        if request.method == "REGISTER":
            _ = request.contacts
    except ParseError as error:
        return _bad(error.reason)
    return None


def is_usable(response: Response) -> bool:
    """Say whether a response can be matched and handled; others are dropped (sections 8.1.3 and 18.3)."""
    try:
        _check_common(response, _COMMON)
    except ParseError:
        return False
    return True


def find_unsupported_scheme(request: Request) -> RequestRefusedError | None:
    """Refuse request URIs of a scheme that is not served with 416 (section 8.2.2.1)."""
    if request.uri.scheme in ("sip", "sips", "tel"):
        return None
    return RequestRefusedError(f"Unsupported URI scheme {request.uri.scheme[:20]}", status=416)


def find_unsupported_extension(request: Request, supported: frozenset[str]) -> RequestRefusedError | None:
    """Refuse what Require asks for and ``supported`` lacks with 420 (section 8.2.2.3). Not for ACK and CANCEL."""
    if "Require" not in request.headers:
        return None
    try:
        missing = [tag for tag in request.headers.values("Require") if tag.lower() not in supported]
    except ParseError as error:
        return _bad(error.reason)
    if not missing:
        return None
    if not all(is_token(tag) for tag in missing):
        return _bad("Malformed Require")
    return RequestRefusedError("Bad Extension", status=420, headers=(("Unsupported", ", ".join(missing)),))


def find_unsupported_body(request: Request, accepted: frozenset[str]) -> RequestRefusedError | None:
    """Refuse a body of a type that is not in ``accepted``, or that is encoded, with 415 (section 8.2.3)."""
    if not request.body:
        return None
    encoding = request.headers.get("Content-Encoding") or "identity"
    if encoding.lower() != "identity":
        return RequestRefusedError(
            "Unsupported Content-Encoding", status=415, headers=(("Accept-Encoding", "identity"),)
        )
    kind = request.content_type
    if kind is None:
        return _bad("A body without a Content-Type")
    disposition = request.headers.get("Content-Disposition") or ""
    if kind in accepted or "handling=optional" in disposition.replace(" ", "").lower():
        return None
    return RequestRefusedError("Unsupported Media Type", status=415, headers=(("Accept", ", ".join(sorted(accepted))),))


def find_spent_hops(request: Request) -> RequestRefusedError | None:
    """Refuse a request that may not travel further with 483 (section 16.3; RFC 7332 for B2BUAs)."""
    if request.max_forwards == 0:
        return RequestRefusedError("Too Many Hops", status=483)
    return None


def _check_common(
    message: Request | Response, readers: Mapping[str, Callable[[str], object]], lists: Collection[str] = ()
) -> None:
    """Parse what section 8.1.1 makes mandatory, and see that the message is one; the values stay with it."""
    message.headers.read(readers, lists)
    parsed = message.headers.parsed
    for name in _NEEDED:
        if name not in parsed:
            raise ParseError(f"{_NEEDED[name]} is missing")
    length = parsed.get("content-length")
    if length is not None and length > len(message.body):
        raise ParseError("Content-Length is larger than the body")


def _bad(reason: str) -> RequestRefusedError:
    return RequestRefusedError(reason, status=400)
