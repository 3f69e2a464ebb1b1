"""Tests of `sipd.transport`."""
