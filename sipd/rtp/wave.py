"""RIFF/WAVE: headers to write, and whole files to read; telephony's kinds only (16-bit PCM and G.711).

The standard library's ``wave`` is not used: it knows PCM alone, wants a file object that it may seek in, and writes a
header that says "no audio at all" until it is closed. Here a header that is written before the audio says that the
audio goes on to the end of the file: the sizes are the largest there are. If the process dies, that is what a reader
finds, and what players do then, and `parse_wave` does, is right: play what is there. When the recording ends, the same
number of octets with the true sizes is written over it.

Sources: IBM and Microsoft, "Multimedia Programming Interface and Data Specifications 1.0" (1991); RFC 2361 for the
numbers of the formats.
"""

from __future__ import annotations

import struct
import sys
from array import array
from dataclasses import dataclass
from enum import IntEnum

from sipd.errors import ParseError
from sipd.rtp.g711 import decode_alaw, decode_ulaw

_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")
_WAVE = b"WAVE"
#: The format of which an identifier in an extension says more; its first two octets are the number of a format.
_EXTENSIBLE = 0xFFFE
_LARGEST = 0xFFFFFFFF
#: Chunks before the audio that are skipped.
_CHUNK_LIMIT = 1000


class WaveEncoding(IntEnum):
    """How samples are coded, by the number of RFC 2361."""

    #: 16 bits, signed, the lower octet first.
    PCM = 1
    ALAW = 6
    ULAW = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveFormat:
    """What the audio of a file is.

    Args:
        encoding: see `WaveEncoding`.
        channels: 1 or 2.
        sample_rate: frames a second, 8000 to 48000.

    Raises:
        ValueError: a number is out of its range.
    """

    encoding: WaveEncoding = WaveEncoding.PCM
    channels: int = 1
    sample_rate: int = 8000

    def __post_init__(self) -> None:
        if self.channels not in (1, 2):
            raise ValueError(f"{self.channels} channels, not 1 or 2")
        if not 8000 <= self.sample_rate <= 48000:
            raise ValueError(f"{self.sample_rate} samples a second, not 8000 to 48000")

    @property
    def frame_octets(self) -> int:
        """Octets of one sample of each channel."""
        return self.channels * (2 if self.encoding is WaveEncoding.PCM else 1)

    @property
    def header_octets(self) -> int:
        """How long `header` is."""
        return len(self.header(0))

    @property
    def size_limit_octets(self) -> int:
        """The most audio that the 32 bits of the sizes allow, in whole frames: nearly 4 GiB."""
        most = _LARGEST - self.header_octets - 1
        return most - most % self.frame_octets

    def header(self, size_octets: int | None) -> bytes:
        """Give what stands before the audio; it has the same length whatever the size.

        Args:
            size_octets: of the audio, in whole frames; ``None`` while it is not known.

        Raises:
            ValueError: it is above `size_limit_octets`.
        """
        kind = self._kind(0 if size_octets is None else size_octets)
        whole = data = _LARGEST
        if size_octets is not None:
            # A chunk of an odd size is followed by one more octet, which its own size does not count.
            whole, data = len(_WAVE) + len(kind) + _CHUNK.size + size_octets + size_octets % 2, size_octets
            if whole > _LARGEST:
                raise ValueError(f"{size_octets} octets of audio do not fit into a WAVE file")
        return _CHUNK.pack(b"RIFF", whole) + _WAVE + kind + _CHUNK.pack(b"data", data)

    def _kind(self, size_octets: int) -> bytes:
        """Give the chunks that say what the audio is; what is no PCM says its number of frames, too."""
        frame = self.frame_octets
        values = _FORMAT.pack(
            self.encoding, self.channels, self.sample_rate, self.sample_rate * frame, frame, 8 * frame // self.channels
        )
        if self.encoding is WaveEncoding.PCM:
            return _CHUNK.pack(b"fmt ", len(values)) + values
        values += bytes(2)
        frames = struct.pack("<I", size_octets // frame)
        return _CHUNK.pack(b"fmt ", len(values)) + values + _CHUNK.pack(b"fact", len(frames)) + frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """A file that was read.

    Args:
        format: of the audio.
        data: the audio, whole frames.
    """

    format: WaveFormat
    data: bytes

    @property
    def duration(self) -> float:
        """In seconds."""
        return len(self.data) / (self.format.frame_octets * self.format.sample_rate)

    def samples(self) -> array[int]:
        """Decode it; two channels are interleaved."""
        if self.format.encoding is WaveEncoding.PCM:
            return little_endian(array("h", self.data))
        decode = decode_ulaw if self.format.encoding is WaveEncoding.ULAW else decode_alaw
        return decode(self.data)


def little_endian(samples: array[int]) -> array[int]:
    """Give samples in the order of a file instead of the machine's, or the other way round; may change its argument."""
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def parse_wave(data: bytes) -> Wave:
    """Read a whole file.

    Chunks that are neither ``fmt`` nor ``data`` are skipped, and nothing behind the audio is looked at. Audio that is
    shorter than its size says (its recorder died, or the file is still written) is taken as far as it goes.

    Raises:
        ParseError: it is no WAVE file, is cut off before the audio, or its audio is not of a kind known here.
    """
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != _WAVE:
        raise ParseError("not a RIFF/WAVE file")
    place = 12
    format_: WaveFormat | None = None
    for _ in range(_CHUNK_LIMIT):
        if place + _CHUNK.size > len(data):
            raise ParseError("WAVE file without audio")
        name, size = _CHUNK.unpack_from(data, place)
        place += _CHUNK.size
        if name == b"data":
            if format_ is None:
                raise ParseError("WAVE file whose audio comes before its format")
            end = min(place + size, len(data))
            return Wave(format=format_, data=bytes(data[place : end - (end - place) % format_.frame_octets]))
        if name == b"fmt ":
            format_ = _parse_format(data[place : min(place + size, len(data))])
        place += size + size % 2
    raise ParseError(f"WAVE file with more than {_CHUNK_LIMIT} chunks before its audio")


def _parse_format(chunk: bytes) -> WaveFormat:
    """Read the ``fmt`` chunk, or raise `ParseError`."""
    if len(chunk) < _FORMAT.size:
        raise ParseError("WAVE file whose format is cut off")
    number, channels, sample_rate, _, frame_octets, bits = _FORMAT.unpack_from(chunk)
    if number == _EXTENSIBLE and len(chunk) >= 26:
        number = int.from_bytes(chunk[24:26], "little")
    try:
        encoding = WaveEncoding(number)
    except ValueError as error:
        raise ParseError(f"WAVE file of format {number}; known are PCM (1), A-law (6) and u-law (7)") from error
    wanted = 16 if encoding is WaveEncoding.PCM else 8
    if bits != wanted:
        raise ParseError(f"WAVE file of {bits} bits a sample instead of {wanted}")
    try:
        result = WaveFormat(encoding=encoding, channels=channels, sample_rate=sample_rate)
    except ValueError as error:
        raise ParseError(f"WAVE file of {error}") from error
    if frame_octets != result.frame_octets:
        raise ParseError(f"WAVE file with {frame_octets} octets a frame instead of {result.frame_octets}")
    return result
