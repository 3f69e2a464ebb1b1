"""Tests of `sipd.phone`."""
