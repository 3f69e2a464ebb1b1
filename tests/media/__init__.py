"""Tests of `sipd.media`."""
