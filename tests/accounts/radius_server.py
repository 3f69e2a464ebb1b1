"""A RADIUS server that checks digests, worked out apart from `sipd.accounts`: what comes in is read octet by octet."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from twisted.internet.protocol import DatagramProtocol

_OLD = {1: "realm", 2: "nonce", 3: "method", 4: "uri", 5: "qop", 6: "algorithm", 8: "cnonce", 9: "nc", 10: "username"}
_NEW = {104: "realm", 105: "nonce", 108: "method", 109: "uri", 110: "qop", 111: "algorithm", 113: "cnonce", 114: "nc"}


def attributes(data: bytes) -> list[tuple[int, bytes]]:
    """Give type and value of each attribute in a row of them."""
    found = []
    while data:
        code, size = data[0], data[1]
        assert 2 <= size <= len(data)
        found.append((code, data[2:size]))
        data = data[size:]
    return found


class FakeRadius(DatagramProtocol):
    """Answers as the attributes `is_silent` and `code` say; by default as the digest deserves.

    Attributes:
        requests: the datagrams that came.
        seen: the attributes of the last one, the parts of the digest by their names.
        secret: by which it signs.
        signs: whether its answers have a Message-Authenticator.
        code: of every answer, if set.
    """

    def __init__(self, users: Mapping[str, str], secret: bytes = b"testing") -> None:
        self.users = dict(users)
        self.secret = secret
        self.requests: list[bytes] = []
        self.seen: dict[int | str, str] = {}
        self.is_silent = False
        self.signs = True
        self.code: int | None = None

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Answer."""
        self.requests.append(datagram)
        if self.is_silent:
            return
        given = attributes(datagram[20:])
        if not self._is_signed(datagram, given):
            return
        self.transport.write(self.answer(datagram, self._code(given)), addr)  # type: ignore[union-attr]

    def answer(self, datagram: bytes, code: int) -> bytes:
        """Make an answer to a request."""
        body = b""
        length = 20 + (18 if self.signs else 0)
        head = bytes((code, datagram[1])) + length.to_bytes(2, "big")
        if self.signs:
            body = b"\x50\x12" + bytes(16)
            body = body[:2] + hmac.digest(self.secret, head + datagram[4:20] + body, "md5")
        return head + hashlib.md5(head + datagram[4:20] + body + self.secret).digest() + body

    def _is_signed(self, datagram: bytes, given: list[tuple[int, bytes]]) -> bool:
        signature = dict(given).get(80)
        assert signature is not None, "no Message-Authenticator"
        at = datagram.index(signature)
        return hmac.digest(self.secret, datagram[:at] + bytes(16) + datagram[at + 16 :], "md5") == signature

    def _code(self, given: list[tuple[int, bytes]]) -> int:
        self.seen = {}
        for code, value in given:
            if code == 207:
                for inner, part in attributes(value):
                    self.seen[_OLD[inner]] = part.decode()
            elif code in _NEW:
                self.seen[_NEW[code]] = value.decode()
            elif code in (1, 32, 103, 115, 206):
                self.seen[code] = value.decode()
                if code == 115:
                    self.seen["username"] = value.decode()
        if self.code is not None:
            return self.code
        return 2 if self._is_right() else 3

    def _is_right(self) -> bool:
        seen = self.seen
        name = str(seen["username"])
        password = self.users.get(name.partition("@")[0])
        if password is None:
            return False
        new = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[str(seen["algorithm"])]

        def digest(*parts: object) -> str:
            return new(":".join(map(str, parts)).encode()).hexdigest()

        secret, what = digest(name, seen["realm"], password), digest(seen["method"], seen["uri"])
        middle = (seen["nc"], seen["cnonce"], seen["qop"]) if "qop" in seen else ()
        return digest(secret, seen["nonce"], *middle, what) == seen.get(206, seen.get(103))
