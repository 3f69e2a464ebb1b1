"""Branches, tags and Call-IDs: unguessable names (RFC 3261 sections 8.1.1.4, 8.1.1.7 and 19.3)."""

from __future__ import annotations

from collections.abc import Callable

#: A branch that begins with this is unique for all time (RFC 3261 section 8.1.1.7).
MAGIC_COOKIE = "z9hG4bK"


def new_branch(entropy: Callable[[int], bytes]) -> str:
    """Make a Via branch with 96 bits of randomness."""
    return MAGIC_COOKIE + entropy(12).hex()


def new_tag(entropy: Callable[[int], bytes]) -> str:
    """Make a From or To tag with 64 bits of randomness; section 19.3 asks for 32."""
    return entropy(8).hex()


def new_call_id(entropy: Callable[[int], bytes]) -> str:
    """Make a Call-ID with 128 bits of randomness and no host in it: it tells nothing about who made it."""
    return entropy(16).hex()
