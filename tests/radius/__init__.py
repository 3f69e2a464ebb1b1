"""Tests of `sipd.radius`."""
