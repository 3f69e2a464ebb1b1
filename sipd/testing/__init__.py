"""Fakes that behave, for tests of sipd and of what is built on it."""
