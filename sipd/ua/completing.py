"""Fills in what a request lacks (RFC 3261 section 8.1.1)."""

from __future__ import annotations

from collections.abc import Callable

from sipd.interfaces import Entropy
from sipd.sip.dialog import TARGET_REFRESH
from sipd.sip.fields import NameAddr
from sipd.sip.identifiers import new_call_id, new_tag
from sipd.sip.message import Request
from sipd.sip.uri import SipUri, Uri

#: Requests that say where their sender is reached. A REGISTER without Contact is a question; a MESSAGE has none.
NEEDS_CONTACT = TARGET_REFRESH | {"OPTIONS"}


class Completion:
    """Completes requests.

    Args:
        entropy: for tags and Call-IDs.
        name: for User-Agent; empty to say nothing.
        address: gives the URI for From.
    """

    def __init__(self, entropy: Entropy, name: str, address: Callable[[], str]) -> None:
        self._entropy = entropy
        self._name = name
        self._address = address
        self._number = 0

    def complete(self, request: Request) -> Request:
        """Give a copy with Max-Forwards, From with a tag, To, Call-ID and CSeq; what is there stays as it is.

        CSeq numbers that are filled in always grow, so that later requests of one Call-ID have larger ones.

        Raises:
            ParseError: what is there is malformed.
        """
        request = request.copy()
        headers = request.headers
        if "Max-Forwards" not in headers:
            headers.add("Max-Forwards", "70")
        if "From" not in headers:
            headers.add("From", f"<{self._address()}>;tag={new_tag(self._entropy)}")
        elif request.from_.tag is None:
            headers.set("From", f"{headers.get('From')};tag={new_tag(self._entropy)}")
        if "To" not in headers:
            headers.add("To", str(NameAddr(_logical(request.uri))))
        if "Call-ID" not in headers:
            headers.add("Call-ID", new_call_id(self._entropy))
        if "CSeq" not in headers:
            self._number += 1
            headers.add("CSeq", f"{self._number} {request.method}")
        if self._name and "User-Agent" not in headers:
            headers.add("User-Agent", self._name)
        self.used(request.cseq.number)
        return request

    def used(self, number: int) -> None:
        """Take note that a CSeq number was sent, by whoever gave it."""
        self._number = max(self._number, min(number, 2**31 - 2))


def _logical(uri: Uri) -> Uri:
    """Give what may stand in To: no port, and nothing of how to get there (RFC 3261 section 19.1.1)."""
    if not isinstance(uri, SipUri):
        return uri
    kept = {name: value for name, value in uri.parameters.items() if name.lower() == "user"}
    return uri.replace(port=None, parameters=kept, headers=())
