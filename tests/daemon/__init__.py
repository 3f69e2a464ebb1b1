"""Tests of `sipd.daemon`."""
