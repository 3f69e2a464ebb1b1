"""Messages of the "ng" control protocol of rtpengine, as datagrams: a cookie, a space, and a JSON object.

The source is the daemon's own documentation (``docs/ng_control_protocol.md`` of sipwise/rtpengine). An answer carries
the cookie of its request, and a daemon that sees a cookie again gives the same answer again without doing anything: so
a request may be repeated until it is answered, and no cookie may ever be used for two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sipd.errors import MediaEngineError

#: The largest payload of a datagram over IPv4; over IPv6 there is a little more room.
MAX_SIZE_OCTETS = 65507
#: A cookie of this many random octets is never met twice, and cannot be guessed by who does not see the requests.
COOKIE_SIZE_OCTETS = 12
#: Of what an answer says, at most so many streams are read, and so many characters of a reason shown.
MAX_STREAMS = 1024
_MAX_REASON = 200
_COOKIE = re.compile(rb"[\x21-\x7e]{1,64}")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")

#: What a request or an answer consists of.
Dictionary = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCounters:
    """What a daemon has received on one media line of one party, RTP and RTCP together.

    Args:
        tag: of the party.
        index: of the media line, counted from 0.
        media: the kind: ``audio``, ...
        packets: of RTP; with ``a=rtcp-mux`` those of RTCP are among them.
        size_octets: of these.
        rtcp_packets: that came on a port of their own.
        errors: what could not be used, of both.
        source: where the party is, as ``host:port``; empty as long as nothing has come.
        ssrc: the synchronization source that came last; 0 if none is known.
    """

    tag: str
    index: int
    media: str
    packets: int
    size_octets: int
    rtcp_packets: int
    errors: int
    source: str
    ssrc: int


def ping() -> Dictionary:
    """Ask whether somebody is there."""
    return {"command": "ping"}


def offer(call: str, from_tag: str, to_tag: str, sdp: str, options: Dictionary) -> Dictionary:
    """Give the request that takes an offer of ``from_tag`` to ``to_tag``."""
    return {**options, "command": "offer", "call-id": call, "from-tag": from_tag, "to-tag": to_tag, "sdp": _text(sdp)}


def answer(call: str, from_tag: str, to_tag: str, sdp: str, options: Dictionary) -> Dictionary:
    """Give the request that takes the answer of ``to_tag`` to the offer of ``from_tag``."""
    return {**options, "command": "answer", "call-id": call, "from-tag": from_tag, "to-tag": to_tag, "sdp": _text(sdp)}


def query(call: str) -> Dictionary:
    """Ask for the counters of a call."""
    return {"command": "query", "call-id": call}


def delete_call(call: str) -> Dictionary:
    """Give the request that frees everything of a call, at once. The answer has no counters."""
    return {"command": "delete", "call-id": call, "delete delay": 0}


def delete_party(call: str, tag: str) -> Dictionary:
    """Give the request that frees what one party holds, at once; its counters are in the answer.

    With the last but one party the whole call ends.
    """
    return {"command": "delete", "call-id": call, "from-tag": tag, "delete delay": 0}


def encode(cookie: str, request: Dictionary) -> bytes:
    """Print a request as a datagram.

    Raises:
        MediaEngineError: it is larger than a datagram can be.
    """
    data = f"{cookie} {json.dumps(request, separators=(',', ':'))}".encode("ascii")
    if len(data) > MAX_SIZE_OCTETS:
        raise MediaEngineError(f"a request of {len(data)} octets to rtpengine, more than {MAX_SIZE_OCTETS}")
    return data


def decode(data: bytes) -> tuple[str, Dictionary]:
    """Parse a datagram.

    Returns:
        The cookie, and the dictionary.

    Raises:
        MediaEngineError: it is no cookie with a JSON object, or is larger than `MAX_SIZE_OCTETS`.
    """
    if len(data) > MAX_SIZE_OCTETS:
        raise MediaEngineError(f"a datagram of more than {MAX_SIZE_OCTETS} octets")
    cookie, _, document = data.partition(b" ")
    if _COOKIE.fullmatch(cookie) is None:
        raise MediaEngineError("a datagram without a cookie")
    try:
        dictionary = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise MediaEngineError("what follows the cookie is not JSON") from error
    if not isinstance(dictionary, dict):
        raise MediaEngineError("what follows the cookie is not a JSON object")
    return cookie.decode("ascii"), dictionary


def check_result(result: Dictionary) -> None:
    """Make sure that a request was carried out.

    Raises:
        MediaEngineError: it was refused; the text is what the daemon says of it.
    """
    outcome = result.get("result")
    if outcome in ("ok", "pong"):
        return
    reasons = [text for text in (result.get("error-reason"), result.get("message"), outcome) if isinstance(text, str)]
    raise MediaEngineError(_UNPRINTABLE.sub(" ", (reasons or ["an answer without a result"])[0])[:_MAX_REASON])


def read_sdp(result: Dictionary) -> str:
    """Give the description that the answer to `offer` or `answer` carries.

    Raises:
        MediaEngineError: there is none.
    """
    sdp = result.get("sdp")
    if not isinstance(sdp, str):
        raise MediaEngineError("an answer without a session description")
    return sdp


def read_counters(result: Dictionary) -> list[StreamCounters]:
    """Give the counters that the answer to `query` or ``delete`` carries; what cannot be read is left out."""
    found: list[StreamCounters] = []
    for tag, party in _items(result.get("tags")):
        for position, medium in enumerate(_list(_entry(party, "medias"))):
            if len(found) == MAX_STREAMS:
                return found
            # The index is counted from 1; a party can lack the first ones.
            index = _number(_entry(medium, "index")) or position + 1
            found.append(_read_medium(tag, index - 1, medium))
    return found


def _read_medium(tag: str, index: int, medium: object) -> StreamCounters:
    packets = size_octets = rtcp_packets = errors = ssrc = 0
    source = ""
    for stream in _list(_entry(medium, "streams")):
        flags, stats = _list(_entry(stream, "flags")), _entry(stream, "stats")
        received = _number(_entry(stats, "packets"))
        errors += _number(_entry(stats, "errors"))
        if "RTP" in flags or "RTCP" not in flags:
            packets += received
            size_octets += _number(_entry(stats, "bytes"))
            if received:
                source = _place(_entry(stream, "endpoint"))
                ssrc = _number(_entry(stream, "SSRC")) & 0xFFFFFFFF
        else:
            rtcp_packets += received
    media = _entry(medium, "type")
    return StreamCounters(
        tag=tag,
        index=index,
        media=media if isinstance(media, str) else "",
        packets=packets,
        size_octets=size_octets,
        rtcp_packets=rtcp_packets,
        errors=errors,
        source=source,
        ssrc=ssrc,
    )


def _place(endpoint: object) -> str:
    host, port = _entry(endpoint, "address"), _number(_entry(endpoint, "port"))
    if not isinstance(host, str):
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _entry(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, dict) else None


def _items(value: object) -> list[tuple[str, object]]:
    return [(key, entry) for key, entry in value.items() if isinstance(key, str)] if isinstance(value, dict) else []


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _number(value: object) -> int:
    """Give a count; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _text(sdp: str) -> str:
    """Give a description as JSON can carry it: octets that are not UTF-8 become U+FFFD."""
    return sdp.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
