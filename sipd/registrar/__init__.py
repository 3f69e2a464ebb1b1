"""The registrar (RFC 3261 section 10), its location service, and authentication (section 22)."""
