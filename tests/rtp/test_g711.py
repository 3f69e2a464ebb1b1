"""Tests of `sipd.rtp.g711`."""

from __future__ import annotations

import warnings
from array import array
from types import ModuleType

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sipd.rtp.g711 import (
    alaw_to_ulaw,
    decode_alaw,
    decode_ulaw,
    encode_alaw,
    encode_ulaw,
    tone,
    tone_level,
    ulaw_to_alaw,
)

ALL_OCTETS = bytes(range(256))
ALL_SAMPLES = array("h", range(-32768, 32768))


def standard_library() -> ModuleType:
    """Give the standard library's codec, where it still has one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import audioop
    except ImportError as error:
        raise SkipTest("audioop left the standard library in Python 3.13") from error
    return audioop


class CodecTests(SynchronousTestCase):
    """ITU-T G.711."""

    def test_agrees_with_the_standard_library(self) -> None:
        """Every octet and every sample is coded as another implementation does it."""
        audioop = standard_library()
        self.assertEqual(decode_ulaw(ALL_OCTETS).tobytes(), audioop.ulaw2lin(ALL_OCTETS, 2))
        self.assertEqual(decode_alaw(ALL_OCTETS).tobytes(), audioop.alaw2lin(ALL_OCTETS, 2))
        self.assertEqual(encode_ulaw(ALL_SAMPLES), audioop.lin2ulaw(ALL_SAMPLES.tobytes(), 2))
        self.assertEqual(encode_alaw(ALL_SAMPLES), audioop.lin2alaw(ALL_SAMPLES.tobytes(), 2))

    def test_values_of_the_standard(self) -> None:
        """Silence, the loudest values and their signs are those of the tables in G.711."""
        self.assertEqual(decode_ulaw(b"\xff\x7f\x80\x00").tolist(), [0, 0, 32124, -32124])
        self.assertEqual(decode_alaw(b"\xd5\x55\xaa\x2a").tolist(), [8, -8, 32256, -32256])
        self.assertEqual((decode_ulaw(b"").tolist(), decode_alaw(b"").tolist()), ([], []))
        self.assertEqual(encode_ulaw([0, 32767, -32768]), b"\xff\x80\x00")
        self.assertEqual(encode_alaw([0, -1, 32767, -32768]), b"\xd5\x55\xaa\x2a")

    def test_octets_survive(self) -> None:
        """What is decoded is encoded as the same octet, but that PCMU has two zeros."""
        self.assertEqual(encode_alaw(decode_alaw(ALL_OCTETS)), ALL_OCTETS)
        self.assertEqual(encode_ulaw(decode_ulaw(ALL_OCTETS)), ALL_OCTETS.replace(b"\x7f", b"\xff"))

    @settings(deadline=None)
    @given(st.integers(-32768, 32767))
    def test_error_is_small(self, sample: int) -> None:
        """A sample comes back within a sixteenth of itself, plus the smallest step."""
        for decoded in (decode_ulaw(encode_ulaw([sample]))[0], decode_alaw(encode_alaw([sample]))[0]):
            self.assertLessEqual(abs(decoded - sample), abs(sample) / 16 + 16)

    def test_translation(self) -> None:
        """From one law to the other is the same as through samples."""
        self.assertEqual(ulaw_to_alaw(ALL_OCTETS), encode_alaw(decode_ulaw(ALL_OCTETS)))
        self.assertEqual(alaw_to_ulaw(ALL_OCTETS), encode_ulaw(decode_alaw(ALL_OCTETS)))

    def test_refuses_what_does_not_fit(self) -> None:
        """A sample of more than 16 bits is refused."""
        for sample in (32768, -32769):
            self.assertRaises(OverflowError, encode_ulaw, [sample])
            self.assertRaises(OverflowError, encode_alaw, [sample])


class ToneTests(SynchronousTestCase):
    """Tones for tests and for people."""

    def test_is_heard_at_its_frequency(self) -> None:
        """A tone is found at its own frequency, not at another, through both codecs."""
        samples = tone(440, 0.2)
        self.assertEqual(len(samples), 1600)
        for heard in (samples, decode_ulaw(encode_ulaw(samples)), decode_alaw(encode_alaw(samples))):
            self.assertGreater(tone_level(heard, 440), 0.98)
            self.assertLess(tone_level(heard, 600), 0.02)

    def test_goes_on_where_it_stopped(self) -> None:
        """A tone made in pieces is the tone."""
        self.assertEqual(tone(440, 0.02) + tone(440, 0.02, start=160), tone(440, 0.04))

    def test_silence_has_no_tone(self) -> None:
        """In silence, and in nothing, there is no tone."""
        self.assertEqual(tone_level(array("h", bytes(320)), 440), 0.0)
        self.assertEqual(tone_level(array("h"), 440), 0.0)
