"""Tests of sipd.registrar."""
