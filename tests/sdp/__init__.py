"""Tests of `sipd.sdp`."""
