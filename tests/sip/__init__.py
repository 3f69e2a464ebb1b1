"""Tests of `sipd.sip`."""
