"""Tests of `sipd.web`."""
