"""Tests of `sipd.rtp.wave` and `sipd.rtp.samples`."""

from __future__ import annotations

import io
import math
import struct
import wave
from array import array

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.rtp.g711 import encode_alaw, encode_ulaw, tone, tone_level
from sipd.rtp.samples import amplify, interleave, mix_down, to_telephone_rate
from sipd.rtp.wave import WaveEncoding, WaveFormat, little_endian, parse_wave

TONE = tone(440, 0.1)
PCM = little_endian(array("h", TONE)).tobytes()


def tone_at(rate: int, frequency: int, duration: float) -> array[int]:
    """Make a tone at another rate than telephony's."""
    step = 2 * math.pi * frequency / rate
    return array("h", (round(8000 * math.sin(step * place)) for place in range(round(duration * rate))))


class HeaderTests(SynchronousTestCase):
    """What is written."""

    def test_the_standard_library_reads_it(self) -> None:
        """A PCM file reads back with the standard library's `wave`."""
        for channels in (1, 2):
            format_ = WaveFormat(channels=channels, sample_rate=16000)
            with wave.open(io.BytesIO(format_.header(len(PCM)) + PCM)) as file:
                self.assertEqual((file.getnchannels(), file.getsampwidth(), file.getframerate()), (channels, 2, 16000))
                self.assertEqual(file.readframes(1 << 20), PCM)

    def test_reads_what_the_standard_library_writes(self) -> None:
        """A PCM file that the standard library's `wave` wrote is read."""
        octets = io.BytesIO()
        with wave.open(octets, "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(48000)
            file.writeframes(PCM)
        found = parse_wave(octets.getvalue())
        self.assertEqual(found.format, WaveFormat(channels=2, sample_rate=48000))
        self.assertEqual(found.samples(), TONE)
        self.assertAlmostEqual(found.duration, len(TONE) / 2 / 48000)

    def test_g711(self) -> None:
        """G.711 comes back by its law, with the size in frames in a chunk of its own."""
        for encoding, encode in ((WaveEncoding.ULAW, encode_ulaw), (WaveEncoding.ALAW, encode_alaw)):
            format_ = WaveFormat(encoding=encoding)
            data = encode(TONE)
            header = format_.header(len(data))
            self.assertIn(b"fact" + struct.pack("<II", 4, len(TONE)), header)
            found = parse_wave(header + data)
            self.assertEqual(found.format, format_)
            self.assertGreater(tone_level(found.samples(), 440), 0.98)

    def test_size_is_patched_in_place(self) -> None:
        """The header has the same length before and after the size is known, and the largest size before."""
        for encoding in WaveEncoding:
            format_ = WaveFormat(encoding=encoding, channels=2)
            unknown = format_.header(None)
            self.assertEqual(len(unknown), format_.header_octets)
            self.assertEqual(len(unknown), len(format_.header(1000)))
            self.assertEqual((unknown[4:8], unknown[-4:]), (b"\xff" * 4, b"\xff" * 4))

    def test_a_file_whose_writer_died(self) -> None:
        """With the header from the beginning, and a torn last frame, all whole frames are read."""
        format_ = WaveFormat(channels=2)
        found = parse_wave(format_.header(None) + PCM + b"\x01\x02\x03")
        self.assertEqual(found.data, PCM)

    def test_limit(self) -> None:
        """The largest size is nearly 4 GiB and whole frames; more is refused."""
        format_ = WaveFormat(channels=2)
        limit = format_.size_limit_octets
        self.assertEqual(limit % 4, 0)
        self.assertGreater(limit, 0xFFFFFF00)
        self.assertEqual(len(format_.header(limit)), 44)
        self.assertRaises(ValueError, format_.header, limit + 64)

    def test_formats_have_bounds(self) -> None:
        """One or two channels, 8 to 48 kHz."""
        self.assertRaises(ValueError, WaveFormat, channels=3)
        self.assertRaises(ValueError, WaveFormat, sample_rate=7999)
        self.assertRaises(ValueError, WaveFormat, sample_rate=48001)


class ParseTests(SynchronousTestCase):
    """What is read."""

    def test_odd_chunks_are_skipped(self) -> None:
        """Chunks that nobody knows, of odd length too, are skipped, before and behind the audio."""
        header = WaveFormat().header(len(PCM))
        odd = b"LIST" + struct.pack("<I", 5) + b"abcde\0"
        found = parse_wave(header[:12] + odd + header[12:36] + odd + header[36:] + PCM + odd)
        self.assertEqual(found.data, PCM)

    def test_extensible_format(self) -> None:
        """A format that says in its extension that it is PCM is PCM."""
        kind = struct.pack("<HHIIHH", 0xFFFE, 1, 8000, 16000, 2, 16) + struct.pack("<HHIH", 22, 16, 4, 1) + bytes(14)
        data = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", len(kind)) + kind
        self.assertEqual(parse_wave(data + b"data" + struct.pack("<I", len(PCM)) + PCM).data, PCM)

    def test_refused_with_a_reason(self) -> None:
        """What cannot be played is refused, and the error says why."""
        good = WaveFormat().header(4) + bytes(4)

        def changed(place: int, octets: bytes) -> bytes:
            return good[:place] + octets + good[place + len(octets) :]

        for data, reason in (
            (b"", "not a RIFF"),
            (changed(0, b"RIFX"), "not a RIFF"),
            (good[:30], "cut off"),
            (good[:40], "without audio"),
            (good[:12] + good[36:], "before its format"),
            (changed(20, b"\x55"), "format 85"),
            (changed(22, b"\x03"), "3 channels"),
            (changed(34, b"\x08"), "8 bits"),
            (changed(24, struct.pack("<I", 96000)), "96000 samples"),
            (changed(32, b"\x04"), "4 octets a frame"),
            (good[:12] + b"junk\0\0\0\0" * 1001 + good[12:], "more than 1000 chunks"),
        ):
            error = self.assertRaises(ParseError, parse_wave, data)
            self.assertIn(reason, str(error))

    @given(st.binary(max_size=200), st.integers(0, 60))
    def test_nothing_else_is_raised(self, noise: bytes, place: int) -> None:
        """Whatever stands in a file, it is read or refused."""
        good = WaveFormat().header(200)
        for data in (noise, good[:place] + noise, good[:12] + noise + good[12:]):
            try:
                parse_wave(data).samples()
            except ParseError:
                continue


class SampleTests(SynchronousTestCase):
    """What is done to samples."""

    def test_channels(self) -> None:
        """Two channels become frames, the shorter one with silence behind it, and their mean."""
        frames = interleave(array("h", [1, 2, 3]), array("h", [-7]))
        self.assertEqual(frames.tolist(), [1, -7, 2, 0, 3, 0])
        self.assertEqual(mix_down(frames, 2).tolist(), [-3, 1, 1])
        self.assertIs(mix_down(frames, 1), frames)

    def test_gain(self) -> None:
        """Six decibel double, and what is too loud is clipped."""
        louder = amplify(array("h", [100, -100, 30000, -30000]), 6.0206)
        self.assertEqual(louder.tolist(), [200, -200, 32767, -32768])
        self.assertIs(amplify(TONE, 0.0), TONE)

    def test_other_rates(self) -> None:
        """A tone keeps its frequency, level and length; what telephony cannot carry does not fold back into it."""
        for rate in (16000, 24000, 32000, 48000):
            samples = to_telephone_rate(tone_at(rate, 1000, 0.2), rate)
            self.assertEqual(len(samples), 1600)
            self.assertGreater(tone_level(samples[100:1500], 1000), 0.99)
            self.assertApproximates(max(samples), 8000, 150)
            folded = to_telephone_rate(tone_at(rate, 6000, 0.2), rate)
            self.assertLess(max(folded[100:1500]), 80)

    def test_rates_that_are_refused(self) -> None:
        """Only multiples of 8000 up to 48000 can be brought down."""
        self.assertIs(to_telephone_rate(TONE, 8000), TONE)
        for rate in (0, 11025, 44100, 56000):
            self.assertRaises(ValueError, to_telephone_rate, TONE, rate)
