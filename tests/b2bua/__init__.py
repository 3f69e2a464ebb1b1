"""Tests of the back-to-back user agent."""
