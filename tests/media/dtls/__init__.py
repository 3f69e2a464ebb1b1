"""Tests of `sipd.media.dtls`."""
