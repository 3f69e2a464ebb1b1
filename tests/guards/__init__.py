"""Tests of `sipd.guards`."""
