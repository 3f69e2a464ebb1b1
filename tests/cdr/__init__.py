"""Tests of the call records."""
