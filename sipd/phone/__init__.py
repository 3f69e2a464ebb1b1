"""A telephone as an API."""
