"""Proxies and redirect servers (RFC 3261 section 16)."""
