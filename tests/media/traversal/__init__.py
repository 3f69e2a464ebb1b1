"""Tests of `sipd.media.traversal`."""
