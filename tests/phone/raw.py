"""A peer that says what a test tells it to, octet for octet if need be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol

from sipd.phone.dialing import OutgoingCall
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.testing import builders
from sipd.testing.links import Address
from sipd.testing.network import Host
from tests.phone.support import ALICE, PhoneCase

RAW = "192.0.2.50"


class RawPeer(DatagramProtocol):
    """A UDP socket at port 5060 of a host, which answers nothing by itself.

    Args:
        host: where it is.

    Attributes:
        requests: those that came, without repetitions, in order.
        responses: those that came, in order.
    """

    def __init__(self, host: Host) -> None:
        self.address = host.address
        self.requests: list[Request] = []
        self.responses: list[Response] = []
        self._from: Address = ("", 0)
        self.port = host.listenUDP(5060, self, host.address)

    def close(self) -> None:
        """Leave the network."""
        self.port.stopListening()

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """See `DatagramProtocol`."""
        if not datagram.strip():
            return
        self._from = addr
        message = parse_datagram(datagram)
        if isinstance(message, Response):
            self.responses.append(message)
        elif message not in self.requests:
            self.requests.append(message)

    def last(self, method: str) -> Request:
        """Give the last request of a method."""
        return [one for one in self.requests if one.method == method][-1]

    def count(self, method: str) -> int:
        """Say how many requests of a method came."""
        return len([one for one in self.requests if one.method == method])

    def respond(
        self,
        request: Request,
        status: int,
        body: bytes = b"",
        *,
        tag: str = "raw",
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Answer a request."""
        contact = f"<sip:raw@{self.address}:5060>"
        response = builders.response(request, status, to_tag=tag, contact=contact, headers=tuple(headers), body=body)
        self.port.write(response.to_bytes(), self._from)

    def ask_in_call(self, method: str, **more: Any) -> Request:
        """Send a request in the call that the first INVITE has begun; give it.

        Args:
            method: of the request.
            more: for `builders.request`.
        """
        invite = self.requests[0]
        number = len(self.responses) + self.count(method) + 1
        request = builders.request(
            method,
            str(invite.contacts[0].uri),
            caller=str(invite.to.uri),
            callee=str(invite.from_.uri),
            from_tag="raw",
            to_tag=invite.from_.tag,
            call_id=invite.call_id,
            cseq=number,
            via=f"{self.address}:5060",
            branch=f"z9hG4bK-{method}-{number}",
            contact=f"<sip:raw@{self.address}:5060>",
            **more,
        )
        self.send(request)
        return request

    def send(self, request: Request, destination: Address | None = None) -> None:
        """Send a request."""
        self.port.write(request.to_bytes(), destination or self._from)


class RawCase(PhoneCase):
    """A phone that calls a peer that is told what to say."""

    def setUp(self) -> None:
        """Make them."""
        super().setUp()
        self.alice = self.phone(ALICE, "alice")
        self.raw = RawPeer(self.network.host(RAW))
        self.addCleanup(self.raw.close)

    def dial(self, **options: Any) -> Deferred[OutgoingCall]:
        """Let the phone call the peer, which has the INVITE then."""
        dialling = self.alice.dial(f"raw@{RAW}", **options)
        self.clock.advance(0.1)
        return dialling

    def answer(self, port: int = 40000) -> bytes:
        """Make an answer to the last offer."""
        return builders.sdp_answer(self.raw.last("INVITE").body, RAW, port)

    def established(self, **options: Any) -> OutgoingCall:
        """Let them have a call."""
        dialling = self.dial(**options)
        self.raw.respond(self.raw.last("INVITE"), 200, self.answer())
        self.clock.advance(0.1)
        call: OutgoingCall = self.successResultOf(dialling)
        return call

    def leave(self) -> None:
        """Answer every BYE, so that the phone is done."""
        self.clock.advance(0.1)
        for request in self.raw.requests:
            if request.method == "BYE":
                self.raw.respond(request, 200)
        self.clock.advance(0.1)
