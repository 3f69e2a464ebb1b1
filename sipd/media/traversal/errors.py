"""What goes wrong with servers that help through NATs."""

from __future__ import annotations

from sipd.errors import RemoteError


class TraversalError(RemoteError):
    """A STUN or TURN server does not answer, or refuses what it is asked for; the text says which and why."""

    status = 503
