"""Accounting requests to RADIUS servers (RFC 2866): their attributes, and how many may be unanswered at a time."""

from __future__ import annotations

import io
from collections.abc import Sequence

from pyrad.dictionary import Dictionary
from pyrad.packet import AccountingResponse, AcctPacket
from twisted.internet.defer import Deferred, DeferredSemaphore

from sipd.cdr.interfaces import SinkError
from sipd.radius.peer import RadiusUnavailableError
from sipd.radius.peers import RadiusPeers

#: Attributes by name, in order; a name may come more than once.
Attributes = Sequence[tuple[str, str | int]]

#: Requests that may be unanswered together; fewer than there are identifiers, which are not used again at once.
_WINDOW = 64
#: Octets of a text: of an attribute, and inside of one of a vendor.
_MAX_TEXT, _MAX_VENDOR_TEXT = 253, 247

#: The attributes that are sent (RFC 2865, RFC 2866, RFC 2869 and Cisco's), as pyrad reads them.
_DICTIONARY = """\
VENDOR Cisco 9
ATTRIBUTE User-Name 1 string
ATTRIBUTE Called-Station-Id 30 string
ATTRIBUTE Calling-Station-Id 31 string
ATTRIBUTE NAS-Identifier 32 string
ATTRIBUTE Acct-Status-Type 40 integer
ATTRIBUTE Acct-Delay-Time 41 integer
ATTRIBUTE Acct-Session-Id 44 string
ATTRIBUTE Acct-Session-Time 46 integer
ATTRIBUTE Acct-Terminate-Cause 49 integer
ATTRIBUTE Acct-Multi-Session-Id 50 string
ATTRIBUTE Event-Timestamp 55 date
BEGIN-VENDOR Cisco
ATTRIBUTE Cisco-AVPair 1 string
ATTRIBUTE h323-remote-address 23 string
ATTRIBUTE h323-conf-id 24 string
ATTRIBUTE h323-setup-time 25 string
ATTRIBUTE h323-call-origin 26 string
ATTRIBUTE h323-call-type 27 string
ATTRIBUTE h323-connect-time 28 string
ATTRIBUTE h323-disconnect-time 29 string
ATTRIBUTE h323-disconnect-cause 30 string
ATTRIBUTE h323-voice-quality 31 string
END-VENDOR Cisco
"""


class RadiusClient:
    """Brings attributes to a server: 64 requests at a time, and the others wait.

    Args:
        peers: the servers; closed with this.
    """

    def __init__(self, peers: RadiusPeers) -> None:
        self._peers = peers
        self._dictionary = Dictionary(io.StringIO(_DICTIONARY))
        self._window = DeferredSemaphore(_WINDOW)

    def account(self, attributes: Attributes) -> Deferred[None]:
        """Send an accounting request; the Deferred fires when a server has answered.

        Fails with `SinkError` if none did.
        """
        return self._window.run(lambda: Deferred.fromCoroutine(self._ask(attributes)))

    def close(self) -> Deferred[None]:
        """Give up what is unanswered, and what waits, and the sockets. Idempotent."""
        # Those that wait would each be let in by the end of the one before it, deeper and deeper in the stack.
        waiting, self._window.waiting = self._window.waiting, []
        for one in waiting:
            one.errback(SinkError("it is closed"))
        return self._peers.close()

    async def _ask(self, attributes: Attributes) -> None:
        def make(identifier: int, secret: bytes) -> AcctPacket:
            packet = AcctPacket(id=identifier, secret=secret, dict=self._dictionary)
            for name, value in attributes:
                limit = _MAX_VENDOR_TEXT if self._dictionary.attributes[name].vendor else _MAX_TEXT
                packet.AddAttribute(name, _cut(value, limit) if isinstance(value, str) else value)
            return packet

        try:
            await self._peers.ask(make, (AccountingResponse,))
        except RadiusUnavailableError as error:
            raise SinkError(str(error)) from None


def _cut(text: str, size_octets: int) -> str:
    data = text.encode("utf-8", "replace")
    return text if len(data) <= size_octets else data[:size_octets].decode("utf-8", "ignore")
