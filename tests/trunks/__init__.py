"""Tests of `sipd.trunks`."""
