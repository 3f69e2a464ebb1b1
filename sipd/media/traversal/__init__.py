"""Servers that help media through NATs, asked from a socket of this side: STUN (RFC 8489) and TURN (RFC 8656)."""
