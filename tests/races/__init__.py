"""Races: every flow of RFC 5407 and RFC 6337, and others, on both legs, at many timings. They make docs/races.md."""
