"""SRTP and SRTCP (RFC 3711, RFC 6188, RFC 7714) by libsrtp: packets in, packets out, for one direction of one stream.

A context belongs to a key and not to an offer: as long as the key is the same, the rollover counter and the list of
what came already go on, for each source (SSRC) on its own; with another key both begin anew. Two packets protected with
the same key, source and index would give their contents away, so a source is never forgotten while its key is used.

`sipd.media.libsrtp.available` says whether it is to be had.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeAlias

from sipd.media.libsrtp import OK, TRAILER_OCTETS, Library, load_library
from sipd.sdp.crypto import SrtpKey

#: Sources that one key may have; packets of more are dropped.
SOURCE_LIMIT = 256
#: The largest packet.
MAX_PACKET_OCTETS = 65535
#: Room to begin with: it grows when a packet needs more.
_ROOM_OCTETS = 2048
#: Of RTP and of RTCP: octets of the smallest packet, and where in it its SSRC is.
_Layout: TypeAlias = tuple[int, int]
_RTP: _Layout = (12, 8)
_RTCP: _Layout = (8, 4)

#: Statuses of libsrtp (``srtp_err_status_t`` in srtp.h).
_BAD_PARAMETER = 2
_AUTHENTICATION_FAILED = 7
_CIPHER_FAILED = 8
_REPLAYED = 9
_TOO_OLD = 10
_NO_CONTEXT = 13
_KEY_EXPIRED = 15
_PARSE_ERROR = 21
_INDEX_TOO_OLD = 26


class Failure(Enum):
    """Why a packet was dropped."""

    AUTHENTICATION = "authentication"
    REPLAY = "replay"
    NO_KEY = "no key"
    MALFORMED = "malformed"
    TOO_MANY_SOURCES = "too many sources"
    OTHER = "other"

    __hash__ = object.__hash__


_FAILURES = {
    _BAD_PARAMETER: Failure.MALFORMED,
    _PARSE_ERROR: Failure.MALFORMED,
    _AUTHENTICATION_FAILED: Failure.AUTHENTICATION,
    _CIPHER_FAILED: Failure.AUTHENTICATION,
    _REPLAYED: Failure.REPLAY,
    _TOO_OLD: Failure.REPLAY,
    _INDEX_TOO_OLD: Failure.REPLAY,
    _NO_CONTEXT: Failure.NO_KEY,
    _KEY_EXPIRED: Failure.NO_KEY,
}

#: What a packet that was protected with the key before looks like.
_PERHAPS_LATE = (Failure.AUTHENTICATION, Failure.REPLAY, Failure.NO_KEY)

#: What a packet may be given as.
Packet: TypeAlias = bytes | bytearray | memoryview


class _Session:
    """What libsrtp knows of one key.

    Attributes:
        key: that it was made with.
        context: of libsrtp; ``None`` once closed.
        sources: the SSRCs that it has seen, as octets.
        mki: what each packet says it by, or empty.
    """

    __slots__ = ("context", "key", "mki", "sources")

    def __init__(self, key: SrtpKey, context: Any) -> None:
        self.key: SrtpKey = key
        self.context: Any = context
        self.sources: set[bytes] = set()
        self.mki = b"" if key.mki is None else key.mki.to_bytes()

    def close(self, library: Library) -> None:
        """Let libsrtp wipe its keys and forget them. Once."""
        library.ffi.release(self.context)
        self.context = None


class SrtpContext:
    """One direction of one stream of one leg: see `InboundContext` and `OutboundContext`.

    Packets are given as any octets that have a length, and come back as ``bytes``, or as ``None`` if they are dropped.
    Not for several threads at once.

    Args:
        source: name of the wildcard of libsrtp that it is for.

    Attributes:
        failures: how many packets were dropped, by reason.

    Raises:
        MediaEngineError: SRTP is not to be had (see `available`).
    """

    __slots__ = ("_buffer", "_current", "_library", "_octets", "_previous", "_room", "_size", "_source", "failures")

    def __init__(self, source: str) -> None:
        self._library = load_library()
        self._source: int = getattr(self._library.lib, source)
        self._current: _Session | None = None
        self._previous: _Session | None = None
        self._size: Any = self._library.ffi.new("int *")
        self._room = 0
        self._make_room(_ROOM_OCTETS)
        self.failures = dict.fromkeys(Failure, 0)

    @property
    def has_key(self) -> bool:
        """Whether a key is in use."""
        return self._current is not None

    def use(self, key: SrtpKey) -> bool:
        """Use a key from now on.

        The one that is used already changes nothing. The one before it goes on where it stopped: of several answers to
        one offer, as forking gives them, the first may turn out to be the last. Any other key begins anew.

        Returns:
            Whether it is another key than before.

        Raises:
            MediaEngineError: libsrtp gives no context for it. The key in use stays.
        """
        current, previous = self._current, self._previous
        if current is not None and current.key == key:
            return False
        if previous is not None and previous.key == key:
            self._current, self._previous = previous, current
            return True
        session = _Session(key, self._library.open(key, self._source))
        if previous is not None:
            previous.close(self._library)
        self._current, self._previous = session, current
        return True

    def close(self) -> None:
        """Forget all keys and the last packet. Packets are dropped from now on. Idempotent."""
        for session in (self._current, self._previous):
            if session is not None:
                session.close(self._library)
        self._current = self._previous = None
        self._octets[:] = bytes(len(self._octets))

    def _make_room(self, size_octets: int) -> None:
        """Have a buffer for packets of that size."""
        ffi = self._library.ffi
        self._buffer: Any = ffi.new("char[]", size_octets + TRAILER_OCTETS)
        self._octets: Any = ffi.buffer(self._buffer)
        self._room = size_octets

    def _run(self, function: Any, session: _Session, packet: Packet, source_at: int) -> bytes | Failure:
        """Let libsrtp work on a copy of a packet that is none too small; ``source_at`` is where its SSRC is."""
        size = len(packet)
        if size > self._room:
            if size > MAX_PACKET_OCTETS:
                return Failure.MALFORMED
            self._make_room(min(2 * size, MAX_PACKET_OCTETS))
        sources = session.sources
        if len(sources) >= SOURCE_LIMIT and bytes(packet[source_at : source_at + 4]) not in sources:
            return Failure.TOO_MANY_SOURCES
        self._octets[:size] = packet
        pointer = self._size
        pointer[0] = size
        status = function(session.context[0], self._buffer, pointer)
        if status != OK:
            return _FAILURES.get(status, Failure.OTHER)
        result: bytes = self._octets[: pointer[0]]
        sources.add(result[source_at : source_at + 4])
        return result

    def _drop(self, failure: Failure) -> None:
        """Count a packet that is dropped."""
        self.failures[failure] += 1


class OutboundContext(SrtpContext):
    """Protects what is sent.

    A packet that comes twice is sent once: to protect another one with the same index would give both away.

    Raises:
        MediaEngineError: SRTP is not to be had (see `available`).
    """

    __slots__ = ("_protect", "_protect_rtcp")

    def __init__(self) -> None:
        super().__init__("ssrc_any_outbound")
        self._protect: Any = self._library.lib.srtp_protect
        self._protect_rtcp: Any = self._library.lib.srtp_protect_rtcp

    def protect(self, packet: Packet) -> bytes | None:
        """Give the SRTP packet for an RTP packet."""
        return self._outward(self._protect, packet, _RTP)

    def protect_rtcp(self, packet: Packet) -> bytes | None:
        """Give the SRTCP packet for an RTCP packet, compound or not."""
        return self._outward(self._protect_rtcp, packet, _RTCP)

    def _outward(self, function: Any, packet: Packet, layout: _Layout) -> bytes | None:
        smallest, source_at = layout
        session = self._current
        if session is None:
            self._drop(Failure.NO_KEY)
            return None
        if len(packet) < smallest or packet[0] >> 6 != 2:
            self._drop(Failure.MALFORMED)
            return None
        result = self._run(function, session, packet, source_at)
        if isinstance(result, bytes):
            return result
        self._drop(result)
        return None


class InboundContext(SrtpContext):
    """Checks and decrypts what is received.

    Args:
        seconds: gives the time.
        grace: seconds after a change of the key in which packets of the one before it are taken, too.

    Raises:
        MediaEngineError: SRTP is not to be had (see `available`).
    """

    __slots__ = ("_grace", "_previous_until", "_seconds", "_unprotect", "_unprotect_rtcp")

    def __init__(self, seconds: Callable[[], float], *, grace: float = 5.0) -> None:
        super().__init__("ssrc_any_inbound")
        self._seconds = seconds
        self._grace = grace
        self._previous_until = 0.0
        self._unprotect: Any = self._library.lib.srtp_unprotect
        self._unprotect_rtcp: Any = self._library.lib.srtp_unprotect_rtcp

    def use(self, key: SrtpKey) -> bool:
        """See `SrtpContext.use`."""
        is_other = super().use(key)
        if is_other:
            self._previous_until = self._seconds() + self._grace
        return is_other

    def unprotect(self, packet: Packet) -> bytes | None:
        """Give the RTP packet in an SRTP packet."""
        return self._inward(self._unprotect, packet, _RTP)

    def unprotect_rtcp(self, packet: Packet) -> bytes | None:
        """Give the RTCP packet in an SRTCP packet."""
        return self._inward(self._unprotect_rtcp, packet, _RTCP)

    def _inward(self, function: Any, packet: Packet, layout: _Layout) -> bytes | None:
        session = self._current
        if session is None:
            self._drop(Failure.NO_KEY)
            return None
        if len(packet) < layout[0] or packet[0] >> 6 != 2:
            self._drop(Failure.MALFORMED)
            return None
        result = self._check(function, session, packet, layout)
        if isinstance(result, bytes):
            return result
        previous = self._previous
        if previous is not None and result in _PERHAPS_LATE and self._seconds() < self._previous_until:
            late = self._check(function, previous, packet, layout)
            if isinstance(late, bytes):
                return late
        self._drop(result)
        return None

    def _check(self, function: Any, session: _Session, packet: Packet, layout: _Layout) -> bytes | Failure:
        """Check and decrypt with one key. An MKI, which libsrtp is not told of, is taken out before."""
        if session.mki:
            suite = session.key.suite
            end = len(packet) - (suite.rtp_tag_octets if layout is _RTP else suite.rtcp_tag_octets)
            start = end - len(session.mki)
            if start < layout[0] or packet[start:end] != session.mki:
                return Failure.NO_KEY
            packet = bytes(packet[:start]) + bytes(packet[end:])
        return self._run(function, session, packet, layout[1])
