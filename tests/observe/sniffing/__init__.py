"""Tests of `sipd.observe.sniffing`."""
