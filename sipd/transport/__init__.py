"""The transport layer (RFC 3261 section 18): octets to messages, listening points and flows."""
