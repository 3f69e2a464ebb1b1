"""Tests of `sipd.policies`."""
