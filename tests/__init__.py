"""Tests: this tree mirrors sipd/."""
