"""Where the socket of a running sipd is, for sipd itself and for the commands that ask it."""

from __future__ import annotations

from pathlib import Path

#: What unix(7) takes as the path of a socket, without the zero at its end.
MAX_SOCKET_PATH_OCTETS = 107


def control_socket(state_directory: Path) -> Path:
    """Give the path of the socket that takes commands."""
    return state_directory / "control"
