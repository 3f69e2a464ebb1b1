"""What can be wrong with what is sniffed, and with where it comes from."""

from __future__ import annotations

from sipd.errors import LocalError, ParseError


class PacketError(ParseError):
    """A packet that breaks off, or is not what it says it is."""


class CaptureFileError(LocalError):
    """A capture that cannot be read, from some place on or at all; or one that cannot be written."""


class SniffingError(LocalError):
    """Packets cannot be had from the network: no right to, or no such interface."""
