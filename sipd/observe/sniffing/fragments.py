"""Datagrams that came in fragments, put together: RFC 791 section 3.2, RFC 8200 section 4.5."""

from __future__ import annotations

from dataclasses import replace

from sipd.observe.sniffing.packets import IpPacket

_Key = tuple[str, str, int, int]


class _Datagram:
    """What is there of one datagram.

    Args:
        at: when its first fragment came.
    """

    __slots__ = ("at", "pieces", "size_octets")

    def __init__(self, at: float) -> None:
        self.at = at
        self.pieces: dict[int, bytes] = {}
        self.size_octets: int | None = None

    def payload(self) -> bytes | None:
        """Give it if it is whole."""
        if self.size_octets is None:
            return None
        whole = bytearray()
        for offset, piece in sorted(self.pieces.items()):
            if offset > len(whole):
                return None
            # Where two overlap, the one that begins first counts (neither is what an honest sender sends).
            whole += piece[len(whole) - offset :]
        return bytes(whole[: self.size_octets]) if len(whole) >= self.size_octets else None


class Reassembler:
    """Holds fragments until their datagram is whole. The time is that of the packets.

    Args:
        max_datagrams: unfinished ones; beyond that, the oldest is given up.
        max_fragments: of one datagram; one with more is given up.
        max_octets: of one datagram; the same.
        timeout: in seconds; one that is not whole by then is given up.
    """

    def __init__(
        self,
        *,
        max_datagrams: int = 256,
        max_fragments: int = 64,
        max_octets: int = 65535,
        timeout: float = 30.0,
    ) -> None:
        self._max_datagrams = max_datagrams
        self._max_fragments = max_fragments
        self._max_octets = max_octets
        self._timeout = timeout
        self._datagrams: dict[_Key, _Datagram] = {}

    def __len__(self) -> int:
        return len(self._datagrams)

    def feed(self, at: float, packet: IpPacket) -> IpPacket | None:
        """Take a packet.

        Args:
            at: when it came, in seconds.
            packet: a fragment, or a whole one.

        Returns:
            A whole packet: that one, or what it completes; else ``None``.
        """
        fragment = packet.fragment
        if fragment is None:
            return packet
        self._forget(at)
        key = (packet.source, packet.destination, packet.protocol, fragment.identification)
        datagram = self._datagrams.get(key)
        if datagram is None:
            datagram = self._datagrams[key] = _Datagram(at)
            if len(self._datagrams) > self._max_datagrams:
                del self._datagrams[next(iter(self._datagrams))]
        end = fragment.offset + len(packet.payload)
        datagram.pieces.setdefault(fragment.offset, packet.payload)
        if end > self._max_octets or len(datagram.pieces) > self._max_fragments:
            del self._datagrams[key]
            return None
        if fragment.is_last:
            datagram.size_octets = end
        payload = datagram.payload()
        if payload is None:
            return None
        del self._datagrams[key]
        return replace(packet, payload=payload, fragment=None)

    def _forget(self, now: float) -> None:
        while self._datagrams:
            key, oldest = next(iter(self._datagrams.items()))
            if 0 <= now - oldest.at <= self._timeout:
                return
            del self._datagrams[key]
