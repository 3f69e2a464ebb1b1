"""Codecs that are not built in, by the extra ``audio``: G.722 and Opus, as 8000 samples a second of one channel.

Their packages are imported when the first call needs one; if a package is not there, `MissingCodecError` says which.
The import of ``opuslib_next`` looks for the library libopus by running programs, which takes up to a tenth of a second:
who cannot wait so long in a call makes a decoder at the start and throws it away.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from ctypes.util import find_library
from functools import cache
from importlib import import_module
from typing import Any

from sipd.errors import MissingCodecError, ParseError
from sipd.rtp.g711 import SAMPLE_RATE, decode_alaw, decode_ulaw, encode_alaw, encode_ulaw
from sipd.rtp.samples import Decoder, Encoder

#: Gives a decoder for one stream, or raises `MissingCodecError`.
DecoderFactory = Callable[[], Decoder]
#: Gives an encoder for one stream, or raises `MissingCodecError`.
EncoderFactory = Callable[[], Encoder]

#: 120 ms, the most that a packet of Opus holds (RFC 6716 section 3.2.5).
_OPUS_SAMPLES = 960
_BIT_RATE = 64000


def builtin_decoders() -> Mapping[str, DecoderFactory]:
    """Give the decoders that need no other package, by the name of their encoding in lower case."""
    return {"pcmu": lambda: decode_ulaw, "pcma": lambda: decode_alaw}


def all_decoders() -> Mapping[str, DecoderFactory]:
    """Give all decoders, those of the extra ``audio`` too, which are imported when they are asked for."""
    return {**builtin_decoders(), "g722": g722_decoder, "opus": opus_decoder}


def builtin_encoders() -> Mapping[str, EncoderFactory]:
    """Give the encoders that need no other package, by the name of their encoding in lower case."""
    return {"pcmu": lambda: encode_ulaw, "pcma": lambda: encode_alaw}


def all_encoders() -> Mapping[str, EncoderFactory]:
    """Give all encoders; see `all_decoders`."""
    return {**builtin_encoders(), "g722": g722_encoder, "opus": opus_encoder}


def g722_decoder() -> Decoder:
    """Make a decoder of G.722 (RFC 3551 section 4.5.2), package ``G722``.

    Raises:
        MissingCodecError: it is not there.
    """
    codec = _import("G722").G722(SAMPLE_RATE, _BIT_RATE)

    def decode(payload: bytes) -> array[int]:
        return array("h", codec.decode(bytes(payload)))

    return decode


def g722_encoder() -> Encoder:
    """Make an encoder of G.722; see `g722_decoder`."""
    codec = _import("G722").G722(SAMPLE_RATE, _BIT_RATE)

    def encode(samples: array[int]) -> bytes:
        return bytes(codec.encode(samples))

    return encode


def opus_decoder() -> Decoder:
    """Make a decoder of Opus (RFC 7587), package ``opuslib-next`` and the library libopus.

    Raises:
        MissingCodecError: one of them is not there.
    """
    module = _import_opus()
    codec = module.Decoder(SAMPLE_RATE, 1)

    def decode(payload: bytes) -> array[int]:
        try:
            octets = codec.decode(bytes(payload), _OPUS_SAMPLES)
        except module.OpusError as error:
            raise ParseError(f"not a packet of Opus: {error}") from error
        samples = array("h")
        samples.frombytes(octets)
        return samples

    return decode


def opus_encoder() -> Encoder:
    """Make an encoder of Opus for speech; see `opus_decoder`."""
    codec = _import_opus().Encoder(SAMPLE_RATE, 1, "voip")

    def encode(samples: array[int]) -> bytes:
        return bytes(codec.encode(samples.tobytes(), len(samples)))

    return encode


def _import_opus() -> Any:
    """Import opuslib_next; without the library it would fail with a bare ``Exception``."""
    if not _has_opus():
        raise MissingCodecError("the library libopus is not installed")
    return _import("opuslib_next")


@cache
def _has_opus() -> bool:
    """Look for the library, which takes several programs; it is not installed while this process runs."""
    return find_library("opus") is not None


def _import(name: str) -> Any:
    try:
        return import_module(name)
    except (ImportError, OSError) as error:
        raise MissingCodecError(f"the package {name} cannot be imported: {error}") from error
