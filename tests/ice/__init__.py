"""Tests of `sipd.ice`."""
