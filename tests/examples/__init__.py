"""Tests of the examples in `tapfiles/`."""
