"""The back-to-back user agent (RFC 7092): legs, bridge, routing, call records."""
