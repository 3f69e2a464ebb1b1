"""Saved captures: pcap in both byte orders, with microseconds and nanoseconds, and pcapng; and what is saved of ours.

The formats are those of draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sipd.observe.sniffing.errors import CaptureFileError
from sipd.observe.sniffing.packets import OTHER_NUMBERS, Link
from sipd.rtp.pcap import FILE_HEADER, Address, datagram_record

#: The largest record that is read; what says that it is larger is taken for damage.
MAX_RECORD_OCTETS = 16 * 1024 * 1024
#: Interfaces of one pcapng section; a section with more is refused.
_MAX_INTERFACES = 4096

#: First octets, to byte order and units of time in a second.
_MAGICS = {
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
}
_SECTION = b"\x0a\x0d\x0d\x0a"
_BYTE_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_INTERFACE, _SIMPLE_PACKET, _ENHANCED_PACKET = 1, 3, 6
_RESOLUTION, _OFFSET = 9, 14
_LINKS = {link.value: link for link in Link} | OTHER_NUMBERS


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPacket:
    """One packet of a capture.

    Args:
        at: when it passed, seconds since 1970.
        link: what it begins with.
        data: its octets, as far as they were captured.
    """

    at: float
    link: Link
    data: bytes


def read_packets(file: BinaryIO) -> Iterator[SavedPacket]:
    """Read a capture as it comes: a file, or a pipe that somebody still writes to.

    Args:
        file: open for reading, at its beginning.

    Returns:
        Its packets; those of links that are not known are passed over.

    Raises:
        CaptureFileError: (on reading, after the packets before it) it is no capture, or is damaged, or cut off.
    """
    magic = _read(file, 4)
    if magic == _SECTION:
        yield from _read_pcapng(file)
    elif magic in _MAGICS:
        yield from _read_pcap(file, *_MAGICS[magic])
    else:
        raise CaptureFileError("neither pcap nor pcapng")


def _read_pcap(file: BinaryIO, order: str, units: int) -> Iterator[SavedPacket]:
    (number,) = struct.unpack_from(f"{order}I", _read(file, 20), 16)
    # The upper bits say how long the check sum of a frame is.
    link = _LINKS.get(number & 0x0FFFFFFF)
    if link is None:
        raise CaptureFileError(f"a capture of link type {number & 0x0FFFFFFF}, which is not known here")
    header = struct.Struct(f"{order}IIII")
    while start := _read_if_any(file, header.size):
        seconds, fraction, captured, _ = header.unpack(start)
        if captured > MAX_RECORD_OCTETS:
            raise CaptureFileError("damaged: a packet of impossible length")
        yield SavedPacket(at=seconds + fraction / units, link=link, data=_read(file, captured))


@dataclass(frozen=True, slots=True)
class _Interface:
    link: Link | None
    snap_octets: int
    units: int
    offset: int


def _read_pcapng(file: BinaryIO) -> Iterator[SavedPacket]:
    """Read the blocks of a pcapng file, whose first four octets are already read."""
    order = ""
    interfaces: list[_Interface] = []
    start = _SECTION
    while start:
        if start == _SECTION:
            length, mark = _read(file, 4), _read(file, 4)
            if mark not in _BYTE_ORDERS:
                raise CaptureFileError("damaged: a section without a byte order")
            order = _BYTE_ORDERS[mark]
            interfaces = []
            _read_block(file, order, length, before=12)
        else:
            (kind,) = struct.unpack(f"{order}I", start)
            body = _read_block(file, order, _read(file, 4), before=8)
            if kind == _INTERFACE:
                if len(interfaces) >= _MAX_INTERFACES:
                    raise CaptureFileError(f"more than {_MAX_INTERFACES} interfaces")
                interfaces.append(_interface(order, body))
            elif kind in (_ENHANCED_PACKET, _SIMPLE_PACKET):
                packet = _packet(order, kind, body, interfaces)
                if packet is not None:
                    yield packet
        start = _read_if_any(file, 4)


def _read_block(file: BinaryIO, order: str, length: bytes, *, before: int) -> bytes:
    """Read the rest of a block, of which ``before`` octets are read; give it without its length at the end."""
    (size,) = struct.unpack(f"{order}I", length)
    if not before + 4 <= size <= MAX_RECORD_OCTETS or size % 4:
        raise CaptureFileError("damaged: a block of impossible length")
    return _read(file, size - before)[:-4]


def _interface(order: str, body: bytes) -> _Interface:
    if len(body) < 8:
        raise CaptureFileError("damaged: an interface that says nothing")
    number, _, snap_octets = struct.unpack_from(f"{order}HHI", body)
    units, offset = 1_000_000, 0
    place = 8
    while place + 4 <= len(body):
        code, size = struct.unpack_from(f"{order}HH", body, place)
        value = body[place + 4 : place + 4 + size]
        if code == _RESOLUTION and value:
            power = value[0] & 0x7F
            # Nobody's clock is finer than this, and numbers stay small.
            units = (2 if value[0] & 0x80 else 10) ** min(power, 63)
        elif code == _OFFSET and len(value) == 8:
            (offset,) = struct.unpack(f"{order}q", value)
        place += 4 + (size + 3) // 4 * 4
    return _Interface(_LINKS.get(number), snap_octets, units, offset)


def _packet(order: str, kind: int, body: bytes, interfaces: list[_Interface]) -> SavedPacket | None:
    header = 20 if kind == _ENHANCED_PACKET else 4
    if len(body) < header:
        raise CaptureFileError("damaged: a packet without its header")
    number, at = 0, 0.0
    if kind == _ENHANCED_PACKET:
        number, high, low, captured, _ = struct.unpack_from(f"{order}IIIII", body)
    else:
        (captured,) = struct.unpack_from(f"{order}I", body)
        high = low = 0
    if number >= len(interfaces):
        raise CaptureFileError("damaged: a packet of no interface")
    interface = interfaces[number]
    if kind == _ENHANCED_PACKET:
        at = interface.offset + (high << 32 | low) / interface.units
        if captured > len(body) - header:
            raise CaptureFileError("damaged: a packet of impossible length")
    elif interface.snap_octets:
        captured = min(captured, interface.snap_octets)
    if interface.link is None:
        return None
    return SavedPacket(at=at, link=interface.link, data=body[header : header + captured])


def _read_if_any(file: BinaryIO, size: int) -> bytes:
    """Read so many octets; nothing at the end of the file."""
    try:
        data = file.read(size)
    except OSError as error:
        raise CaptureFileError(f"cannot be read: {error.strerror}") from None
    if data and len(data) < size:
        raise CaptureFileError("cut off in the middle of a packet")
    return data


def _read(file: BinaryIO, size: int) -> bytes:
    data = _read_if_any(file, size)
    if len(data) < size:
        raise CaptureFileError("empty" if size == 4 else "cut off in the middle of a packet")
    return data


class SavedCapture:
    """A pcap file that grows until its bound, and is complete after every message; see `datagram_record`.

    Only its owner can read it.

    Args:
        path: replaced if it is there.
        size_octets: the bound; what would go beyond it is not written.

    Raises:
        CaptureFileError: the file cannot be made.
    """

    def __init__(self, path: Path, *, size_octets: int) -> None:
        self.path = path
        self._left_octets = size_octets
        try:
            path.unlink(missing_ok=True)
            self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CaptureFileError(f"{path}: cannot be written: {error.strerror}") from None
        self._write(FILE_HEADER)

    def add(self, at: float, source: Address, destination: Address, data: bytes) -> None:
        """Write one message, as a datagram.

        Raises:
            CaptureFileError: it cannot be written, or the bound is reached; told once, and nothing is written any
                more.
        """
        self._write(datagram_record(at, source, destination, data))

    def close(self) -> None:
        """Write no more. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, data: bytes) -> None:
        if self._file is None:
            return
        self._left_octets -= len(data)
        if self._left_octets < 0:
            self.close()
            raise CaptureFileError(f"{self.path} is full, and ends here")
        try:
            written = os.write(self._file, data)
        except OSError as error:
            self.close()
            raise CaptureFileError(f"{self.path} ends here: {error.strerror}") from None
        if written < len(data):
            self.close()
            raise CaptureFileError(f"{self.path} ends here: there is no room")
