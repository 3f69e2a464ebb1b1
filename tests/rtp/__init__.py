"""Tests of `sipd.rtp`."""
