"""G.711: the two companded codecs of telephony, as payload types 0 and 8 of RTP (RFC 3551 section 4.5.14).

Samples are signed 16-bit integers in the order of the machine, 8000 a second. Tables do the work: an octet is looked up
to decode, and so is a sample to encode.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable
from functools import cache

SAMPLE_RATE = 8000

_ULAW_BIAS = 132
_ULAW_CLIP = 32635


def decode_ulaw(data: bytes) -> array[int]:
    """Decode PCMU."""
    return _decode(data, _halves(_ulaw_samples))


def decode_alaw(data: bytes) -> array[int]:
    """Decode PCMA."""
    return _decode(data, _halves(_alaw_samples))


def encode_ulaw(samples: Iterable[int]) -> bytes:
    """Encode as PCMU.

    Raises:
        OverflowError: a sample does not fit into 16 bits.
    """
    octets = _ulaw_octets()
    return bytes(octets[(sample + 32768) >> 2] for sample in array("h", samples))


def encode_alaw(samples: Iterable[int]) -> bytes:
    """Encode as PCMA.

    Raises:
        OverflowError: a sample does not fit into 16 bits.
    """
    octets = _alaw_octets()
    return bytes(octets[(sample + 32768) >> 3] for sample in array("h", samples))


def ulaw_to_alaw(data: bytes) -> bytes:
    """Turn PCMU into PCMA."""
    return data.translate(_translation(_ulaw_samples, _alaw_sample_octet))


def alaw_to_ulaw(data: bytes) -> bytes:
    """Turn PCMA into PCMU."""
    return data.translate(_translation(_alaw_samples, _ulaw_sample_octet))


def tone(frequency: float, duration: float, *, amplitude: int = 8000, start: int = 0) -> array[int]:
    """Make a sine tone.

    Args:
        frequency: in hertz, below 4000.
        duration: in seconds.
        amplitude: of the peak, up to 32767.
        start: the number of the first sample, so that a tone can be made in pieces.
    """
    step = 2 * math.pi * frequency / SAMPLE_RATE
    count = round(duration * SAMPLE_RATE)
    return array("h", (round(amplitude * math.sin(step * place)) for place in range(start, start + count)))


def tone_level(samples: array[int], frequency: float) -> float:
    """Find how much of a tone is in the samples (Goertzel's algorithm).

    Returns:
        The share of the whole power that is at that frequency: about 1.0 for the tone alone, near 0.0 without it.
    """
    power = sum(sample * sample for sample in samples)
    if not power:
        return 0.0
    coefficient = 2 * math.cos(2 * math.pi * frequency / SAMPLE_RATE)
    last = before = 0.0
    for sample in samples:
        last, before = sample + coefficient * last - before, last
    return 2 * (last * last + before * before - coefficient * last * before) / (power * len(samples))


def _ulaw_sample_octet(sample: int) -> int:
    """Encode one sample: sign, position of the highest bit, the four bits after it; all inverted."""
    magnitude = min(abs(sample), _ULAW_CLIP) + _ULAW_BIAS
    exponent = magnitude.bit_length() - 8
    mantissa = magnitude >> (exponent + 3) & 0x0F
    return ~((0x80 if sample < 0 else 0) | exponent << 4 | mantissa) & 0xFF


def _ulaw_octet_sample(octet: int) -> int:
    """Decode one octet."""
    octet = ~octet & 0xFF
    magnitude = (((octet & 0x0F) << 3) + _ULAW_BIAS << (octet >> 4 & 7)) - _ULAW_BIAS
    return -magnitude if octet & 0x80 else magnitude


def _alaw_sample_octet(sample: int) -> int:
    """Encode one sample: as for PCMU, but linear at the bottom, and every other bit inverted."""
    magnitude = sample if sample >= 0 else ~sample
    exponent = max(magnitude.bit_length() - 8, 0)
    mantissa = magnitude >> (exponent + 3 if exponent else 4) & 0x0F
    return ((0 if sample < 0 else 0x80) | exponent << 4 | mantissa) ^ 0x55


def _alaw_octet_sample(octet: int) -> int:
    """Decode one octet."""
    octet ^= 0x55
    exponent = octet >> 4 & 7
    magnitude = ((octet & 0x0F) << 4) + 8
    if exponent:
        magnitude = magnitude + 256 << exponent - 1
    return magnitude if octet & 0x80 else -magnitude


def _decode(data: bytes, halves: tuple[bytes, bytes]) -> array[int]:
    """Decode octets, all of them at once: a translation for each half of a sample.

    That takes a tenth of the time of a look-up for each octet, and less the more octets there are.
    """
    octets = bytearray(2 * len(data))
    octets[::2] = data.translate(halves[0])
    octets[1::2] = data.translate(halves[1])
    samples = array("h")
    samples.frombytes(octets)
    return samples


@cache
def _halves(samples: Callable[[], tuple[int, ...]]) -> tuple[bytes, bytes]:
    """Give the tables of the first and of the second octet of each sample, in the order of the machine."""
    octets = array("h", samples()).tobytes()
    return octets[::2], octets[1::2]


@cache
def _ulaw_samples() -> tuple[int, ...]:
    return tuple(map(_ulaw_octet_sample, range(256)))


@cache
def _alaw_samples() -> tuple[int, ...]:
    return tuple(map(_alaw_octet_sample, range(256)))


@cache
def _ulaw_octets() -> bytes:
    """Octets by the upper 14 bits of a sample, from the lowest."""
    return bytes(map(_ulaw_sample_octet, range(-32768, 32768, 4)))


@cache
def _alaw_octets() -> bytes:
    """Octets by the upper 13 bits of a sample, from the lowest."""
    return bytes(map(_alaw_sample_octet, range(-32768, 32768, 8)))


@cache
def _translation(samples: Callable[[], tuple[int, ...]], encode: Callable[[int], int]) -> bytes:
    """Give the table that turns octets of one law into those of the other."""
    return bytes(map(encode, samples()))
