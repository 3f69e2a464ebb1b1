"""Tests of `sipd.media.endpoint`."""
