"""Messages that are as expensive as a message of their size can be made."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from sipd.testing import builders

#: What fits into a datagram over IPv4.
MAX_OCTETS = 65507

Bomb = Callable[[int], bytes]

_numbers = count()


def line(name: str, repeated: str, *, before: str = "", after: str = "", method: str = "OPTIONS") -> Bomb:
    """Give a bomb of one long header line."""

    def build(size_octets: int) -> bytes:
        number = max(1, (size_octets - 600) // len(repeated.encode("utf-8", "surrogateescape")))
        text = f"{name}: {before}{repeated * number}{after}"
        return _with_line(text, method)

    return build


def numbered(name: str, pattern: str, *, before: str = "", method: str = "OPTIONS", separator: str = ",") -> Bomb:
    """Give a bomb of one header line with many parts, each with a number of its own in the place of `%d`."""

    def build(size_octets: int) -> bytes:
        parts = max(1, (size_octets - 600) // (len(pattern) + 4))
        return _with_line(f"{name}: {before}" + separator.join(pattern % part for part in range(parts)), method)

    return build


def lines(pattern: str, *, method: str = "OPTIONS") -> Bomb:
    """Give a bomb of many header lines."""

    def build(size_octets: int) -> bytes:
        parts = max(1, (size_octets - 600) // (len(pattern) + 6))
        return _with_line("\r\n".join(pattern.replace("%d", str(part)) for part in range(parts)), method)

    return build


def body(content_type: str, repeated: bytes, *, before: bytes = b"", after: bytes = b"", overhead: int = 700) -> Bomb:
    """Give a bomb of an INVITE with a large body; `overhead` is what all but the repeated part takes, in octets."""

    def build(size_octets: int) -> bytes:
        octets = before + repeated * max(1, (size_octets - overhead) // len(repeated)) + after
        return _with_line(f"Content-Type: {content_type}", "INVITE", octets)

    return build


def _with_line(text: str, method: str, octets: bytes = b"") -> bytes:
    """Give a request that begins with that line; a line of the same name that it would have is left off."""
    number = next(_numbers)
    message = builders.request(
        method, via="203.0.113.9:5060", branch=f"z9hG4bK-bomb-{number}", call_id=f"bomb-{number}"
    )
    name = text.partition(":")[0]
    if name.lower() != "via":
        message.headers.remove(name)
    message.body = octets
    start, _, rest = message.to_bytes().partition(b"\r\n")
    return start + b"\r\n" + text.encode("utf-8", "surrogateescape") + b"\r\n" + rest


_DESCRIPTION = b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
_SDP = "application/sdp"

HEADS: dict[str, Bomb] = {
    "header lines": lines("A: b"),
    "header lines of one name": lines("From: <sip:a@b>;tag=%d"),
    "Via lines": lines("Via: SIP/2.0/UDP h%d;branch=z9hG4bKb"),
    "Via values": numbered("Via", "SIP/2.0/UDP h%d;branch=z9hG4bKb"),
    "Via parameters": numbered("Via", "p%d=1", before="SIP/2.0/UDP h;branch=z9hG4bKb;", separator=";"),
    "Via white space": line("Via", " ", before="SIP / 2.0 /", after="UDP h;branch=z9hG4bKb"),
    "From parameters": numbered("From", "p%d=1", before="<sip:a@b>;tag=x;", separator=";"),
    "From quotes": line("From", '"'),
    "From escapes": line("From", '\\"', before='"', after='" <sip:a@b>;tag=1'),
    "From backslashes": line("From", "\\", before='"', after='" <sip:a@b>;tag=1'),
    "From brackets": line("From", "<"),
    "From empty brackets": line("From", "<>"),
    "From semicolons": line("From", ";", before="<sip:a@b>"),
    "From octets": line("From", "\udcff", before='"', after='" <sip:a@b>;tag=1'),
    "From user": line("From", "a:", before="<sip:", after="@b>;tag=1"),
    "From host": line("From", "a.", before="<sip:x@", after="b>;tag=1"),
    "From colons": line("From", ":", before="<sip:[", after="]>;tag=1"),
    "From percents": line("From", "%41", before="<sip:", after="@b>;tag=1"),
    "URI parameters": numbered("To", ";p%d", before="<sip:a@b", separator=""),
    "URI headers": numbered("Contact", "h%d=1", before="<sip:a@b?", separator="&"),
    "folds": line("Subject", "\r\n a"),
    "folded spaces": line("Subject", " \r\n \t", before="a", after="b"),
    "Contacts": numbered("Contact", "<sip:a%d@b>", method="REGISTER"),
    "commas": line("Contact", ",", method="REGISTER"),
    "option tags": numbered("Require", "t%d"),
    "routes": numbered("Route", "<sip:h%d;lr>"),
    "credentials parameters": numbered("Authorization", "a%d=b", before="Digest ", method="REGISTER"),
    "quoted credentials": numbered("Authorization", 'a%d="\\"\\""', before="Digest ", method="REGISTER"),
    "credentials lines": lines('Authorization: Digest realm="example.com"', method="REGISTER"),
    "credentials of many realms": lines('Authorization: Digest realm="r%d", algorithm=MD5', method="REGISTER"),
    "Call-ID": line("Call-ID", "x"),
    "CSeq digits": line("CSeq", "1", after=" OPTIONS"),
    "CSeq spaces": line("CSeq", " ", before="1", after="OPTIONS"),
    "Max-Forwards digits": line("Max-Forwards", "7"),
    "Content-Length digits": line("Content-Length", "0"),
    "Content-Type": line("Content-Type", "a/", before="a/"),
    "bare line feeds": line("Subject", "\n"),
    "line ends": line("Subject", "\r\n"),
}

BODIES: dict[str, Bomb] = {
    "media lines": body(_SDP, b"m=audio 4000 RTP/AVP 0\r\n", before=_DESCRIPTION),
    "short media lines": body(_SDP, b"m=a 9 b\r\n", before=_DESCRIPTION),
    "disabled media lines": body(_SDP, b"m=a 0 b\r\n", before=_DESCRIPTION),
    "media and session lines": body(
        _SDP, b"m=a 9 b\r\n", before=_DESCRIPTION.replace(b"c=", b"a=\r\n" * 5000 + b"c="), overhead=36_000
    ),
    "media lines with attributes": body(
        _SDP, b"m=a 9 b\r\na=rtcp:9\r\na=candidate:1\r\na=sendonly\r\na=sendonly\r\n", before=_DESCRIPTION
    ),
    "a long line": body(_SDP, b"x", before=_DESCRIPTION + b"a="),
    "attributes": body(_SDP, b"a=b\r\n", before=_DESCRIPTION + b"m=audio 4000 RTP/AVP 0\r\n"),
    "directions": body(_SDP, b"a=sendrecv\r\n", before=_DESCRIPTION + b"m=audio 4000 RTP/AVP 0\r\n"),
    "connections": body(_SDP, b"c=IN IP4 192.0.2.9\r\n", before=_DESCRIPTION + b"m=audio 4000 RTP/AVP 0\r\n"),
    "origins": body(_SDP, b"o=- 1 1 IN IP4 192.0.2.9\r\n", before=_DESCRIPTION),
    "formats": body(_SDP, b" 0", before=_DESCRIPTION + b"m=audio 4000 RTP/AVP"),
    "carriage returns": body(_SDP, b"\r", before=_DESCRIPTION),
    "line feeds": body(_SDP, b"\n", before=b"v=0"),
    "parts": body('multipart/mixed;boundary="b"', b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n", after=b"--b--\r\n"),
    "empty parts": body('multipart/mixed;boundary="b"', b"--b\r\n"),
    "borders with spaces": body('multipart/mixed;boundary="b"', b" ", before=b"--b", after=b"x"),
    "almost borders": body('multipart/mixed;boundary="-"', b"\r\n--"),
    "nested parts": body(
        "multipart/mixed;boundary=b", b"--b\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n", after=b"--b--"
    ),
    "parts of header lines": body(
        "multipart/mixed;boundary=b", b"C: text/plain\r\n", before=b"--b\r\n", after=b"\r\nx\r\n--b--"
    ),
    "parts of folded lines": body(
        "multipart/mixed;boundary=b", b"\r\n a", before=b"--b\r\nC: ", after=b"\r\n\r\nx\r\n--b--"
    ),
    "no media type": body("nonsense", b"x"),
}
