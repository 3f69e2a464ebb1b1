"""Whether an HTTP request may become a WebSocket that carries SIP (RFC 6455 section 4.2, RFC 7118 section 4)."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sipd.errors import ConfigurationError

#: What is asked for and agreed on in Sec-WebSocket-Protocol (RFC 7118 section 4.1).
SUBPROTOCOL = "sip"
_VERSION = b"13"
_KEY_OCTETS = 16
_PATH = re.compile(r"/[!-\"$->@-~]{0,255}")
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://[A-Za-z0-9.\[\]:_-]{1,255}/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketSettings:
    """How a listening point speaks WebSocket, on connections in both directions.

    Args:
        path: what clients have to ask for, without a query; anything else is not found (404). If it is empty,
            everything will do. On connections that we make it is what is asked for; ``/`` if it is empty.
        origins: the web sites whose pages may connect, as browsers write them in Origin: ``https://phone.example.com``.
            Pages of others are refused (403). If it is empty, all may. Who is no browser sends no Origin, or whatever
            it wants: this keeps foreign pages away from their visitors' sipd, and nobody else.

    Raises:
        ConfigurationError: the path does not begin with ``/`` or has something in it that a request cannot have; or an
            origin is none.
    """

    path: str = ""
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = []
        if self.path and not is_path(self.path):
            problems.append(f"{self.path} is no path, such as /sip")
        problems += [
            f"{one} is no origin, such as https://phone.example.com" for one in self.origins if not is_origin(one)
        ]
        if problems:
            raise ConfigurationError(problems)


def is_path(text: str) -> bool:
    """Say whether that may be the path of a request (RFC 9112 section 3.2.1)."""
    return _PATH.fullmatch(text) is not None


def is_origin(text: str) -> bool:
    """Say whether that is an origin: scheme, host, and perhaps a port (RFC 6454 section 6.2)."""
    return _ORIGIN.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request becomes no WebSocket.

    Args:
        status: of the HTTP response.
        phrase: goes with it, and into the log.
        headers: that the status needs.
    """

    status: int
    phrase: str
    headers: tuple[tuple[str, str], ...] = ()

    def to_bytes(self) -> bytes:
        """Print the response; the connection ends with it."""
        lines = [f"HTTP/1.1 {self.status} {self.phrase}", *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join([*lines, "Connection: close", "Content-Length: 0", "", ""]).encode("ascii")


#: What is no HTTP, or has something in it that an upgrade cannot have.
MALFORMED = Refusal(status=400, phrase="Bad Request")
#: What has no end within the bound.
TOO_LARGE = Refusal(status=431, phrase="Request Header Fields Too Large")
_UPGRADE = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))
_NO_UPGRADE = Refusal(status=426, phrase="Upgrade Required", headers=(*_UPGRADE, ("Sec-WebSocket-Protocol", "sip")))


def find_refusal(
    settings: WebSocketSettings, method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]
) -> Refusal | None:
    """Say why a request cannot be taken, or that it can.

    Args:
        settings: of the listening point.
        method: of the request.
        target: path and query.
        headers: its fields in order, names in lower case, values without white space around them.

    Returns:
        426 for what asks for no WebSocket of this version, 404 for another path, 403 for a page of another site, 405
        and 400 for what is no request of that kind or does not offer SIP; ``None`` for a good one.
    """
    fields: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        fields.setdefault(name, []).append(value)
    if method != b"GET":
        return Refusal(status=405, phrase="Method Not Allowed", headers=(("Allow", "GET"),))
    if settings.path and target.partition(b"?")[0] != settings.path.encode():
        return Refusal(status=404, phrase="Not Found")
    is_upgrade = fields.get(b"upgrade", [b""])[0].lower() == b"websocket"
    if not is_upgrade or b"upgrade" not in (token.lower() for token in _tokens(fields, b"connection")):
        return _NO_UPGRADE
    if fields.get(b"sec-websocket-version") != [_VERSION]:
        return Refusal(status=426, phrase="Upgrade Required", headers=_UPGRADE)
    if not _is_sound(fields):
        return MALFORMED
    allowed = {origin.rstrip("/").lower().encode() for origin in settings.origins}
    if allowed and any(origin.lower() not in allowed for origin in fields.get(b"origin", ())):
        return Refusal(status=403, phrase="Origin Not Allowed")
    if SUBPROTOCOL.encode() not in _tokens(fields, b"sec-websocket-protocol"):
        return Refusal(status=400, phrase="Subprotocol sip Required")
    return None


def _is_sound(fields: dict[bytes, list[bytes]]) -> bool:
    """Say whether there is one key, one host, one upgrade, and no body."""
    if fields.keys() & {b"content-length", b"transfer-encoding"}:
        return False
    if any(len(fields.get(name, ())) != 1 for name in (b"host", b"upgrade", b"sec-websocket-key")):
        return False
    try:
        fields[b"host"][0].decode("idna")
        return len(binascii.a2b_base64(fields[b"sec-websocket-key"][0], strict_mode=True)) == _KEY_OCTETS
    except ValueError:
        return False


def _tokens(fields: dict[bytes, list[bytes]], name: bytes) -> list[bytes]:
    return [token.strip() for value in fields.get(name, ()) for token in value.split(b",")]
