"""Tests of `sipd.media.audio`, with the packages of the extra `audio` where they are installed."""

from __future__ import annotations

import sys
from array import array

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sipd.errors import MissingCodecError, ParseError
from sipd.media import audio
from sipd.media.audio import (
    all_decoders,
    all_encoders,
    builtin_decoders,
    builtin_encoders,
)
from sipd.rtp.g711 import tone, tone_level
from sipd.rtp.samples import Decoder, Encoder


class CodecTests(SynchronousTestCase):
    """Each codec carries a tone."""

    def codec(self, name: str) -> tuple[Encoder, Decoder]:
        """Make an encoder and a decoder, or skip the test."""
        try:
            return all_encoders()[name](), all_decoders()[name]()
        except MissingCodecError as error:
            raise SkipTest(str(error)) from error

    def check(self, name: str) -> None:
        """Check half a second of a tone."""
        encode, decode = self.codec(name)
        heard = array("h")
        for frame in range(25):
            samples = decode(encode(tone(440, 0.02, start=160 * frame)))
            self.assertEqual(len(samples), 160)
            heard.extend(samples)
        self.assertGreater(tone_level(heard[800:], 440), 0.95)

    def test_g711(self) -> None:
        """Both laws are built in."""
        self.assertEqual(set(builtin_decoders()), {"pcmu", "pcma"})
        self.assertEqual(set(builtin_encoders()), {"pcmu", "pcma"})
        self.check("pcmu")
        self.check("pcma")

    def test_g722(self) -> None:
        """G.722 carries a tone; to a decoder every octet means something."""
        self.check("g722")
        _, decode = self.codec("g722")
        self.assertEqual(len(decode(bytes(range(256)))), 256)
        self.assertEqual(len(decode(b"")), 0)

    def test_opus(self) -> None:
        """Opus carries a tone, and what is not of it is refused."""
        self.check("opus")
        _, decode = self.codec("opus")
        for payload in (b"\xff", b"\xff" * 30, bytes(1500)):
            self.assertRaises(ParseError, decode, payload)


class MissingTests(SynchronousTestCase):
    """What is not installed."""

    def test_packages(self) -> None:
        """Without its package a codec says so when it is asked for, not before."""
        decoders, encoders = all_decoders(), all_encoders()
        self.patch(audio, "_has_opus", lambda: True)
        for name, package in (("g722", "G722"), ("opus", "opuslib_next")):
            saved = sys.modules.get(package)
            sys.modules[package] = None  # type: ignore[assignment]
            try:
                for factories in (decoders, encoders):
                    error = self.assertRaises(MissingCodecError, factories[name])
                    self.assertIn(package, str(error))
            finally:
                del sys.modules[package]
                if saved is not None:
                    sys.modules[package] = saved

    def test_library(self) -> None:
        """Without libopus its package is not even imported."""
        self.patch(audio, "_has_opus", lambda: False)
        error = self.assertRaises(MissingCodecError, all_decoders()["opus"])
        self.assertIn("libopus", str(error))
