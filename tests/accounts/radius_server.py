"""A RADIUS server that checks digests, worked out apart from `sipd.accounts`: what comes in is read octet by octet."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from tests.radius.server import FakeRadiusServer

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


class FakeRadius(FakeRadiusServer):
    """Answers as the digest deserves, unless `code` is set.

    Attributes:
        users: their passwords, by name.
        seen: the attributes of the last request, the parts of the digest by their names.
    """

    def __init__(self, users: Mapping[str, str], secret: bytes = b"testing") -> None:
        super().__init__(secret, code=None)
        self.users = dict(users)
        self.seen: dict[int | str, str] = {}

    def judge(self, datagram: bytes) -> int | None:
        """Give the code of the answer; `None` to a request that is not signed."""
        given = attributes(datagram[20:])
        return self._code(given) if self._is_signed(datagram, given) else None

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
