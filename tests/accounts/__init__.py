"""Tests of `sipd.accounts`."""
