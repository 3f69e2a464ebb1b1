"""Tests of sipd.proxy."""
