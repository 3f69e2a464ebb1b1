"""Tests of the user agent core."""
