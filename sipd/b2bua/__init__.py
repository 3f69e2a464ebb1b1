"""The back-to-back user agent (RFC 7092): legs, bridge, searches, changes, transfers."""
