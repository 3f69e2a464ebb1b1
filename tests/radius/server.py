"""A RADIUS server, worked out apart from `sipd.radius`: it signs its answers octet by octet."""

from __future__ import annotations

import hashlib
import hmac

from twisted.internet.protocol import DatagramProtocol


class FakeRadiusServer(DatagramProtocol):
    """Answers as its attributes say.

    Attributes:
        requests: the datagrams that came.
        secret: by which it signs.
        signs: whether its answers have a Message-Authenticator.
        is_silent: whether it answers nothing.
        code: of every answer.
    """

    def __init__(self, secret: bytes = b"testing", code: int | None = 2) -> None:
        self.secret = secret
        self.code = code
        self.requests: list[bytes] = []
        self.is_silent = False
        self.signs = True

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Answer."""
        self.requests.append(datagram)
        code = None if self.is_silent else self.judge(datagram)
        if code is not None:
            self.send(self.answer(datagram, code), addr)

    def judge(self, datagram: bytes) -> int | None:
        """Give the code of the answer to a request; `None` for no answer."""
        return self.code

    def send(self, data: bytes, addr: tuple[str, int]) -> None:
        """Send whatever it is."""
        self.transport.write(data, addr)  # type: ignore[union-attr]

    def answer(self, datagram: bytes, code: int) -> bytes:
        """Make an answer to a request."""
        body = b""
        length = 20 + (18 if self.signs else 0)
        head = bytes((code, datagram[1])) + length.to_bytes(2, "big")
        if self.signs:
            body = b"\x50\x12" + bytes(16)
            body = body[:2] + hmac.digest(self.secret, head + datagram[4:20] + body, "md5")
        return head + hashlib.md5(head + datagram[4:20] + body + self.secret).digest() + body
