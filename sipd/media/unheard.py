"""Telephone events of media that does not come here: nobody hears them, and none can be sent."""

from __future__ import annotations

from collections.abc import Callable


class UnheardDigits:
    """What a session says of digits whose media is elsewhere. See `IMediaSession`."""

    @property
    def on_digit(self) -> Callable[[str, str], object] | None:
        """See `IMediaSession`. Whoever wants to hear is not kept."""
        return None

    @on_digit.setter
    def on_digit(self, heard: Callable[[str, str], object] | None) -> None:
        return

    def send_digit(self, leg: str, digit: str, duration: float = 0.1) -> bool:
        """See `IMediaSession`."""
        return False

    def take_events(self, leg: str) -> None:
        """See `IMediaSession`. They go where they go."""

    def pass_events(self, leg: str) -> None:
        """See `IMediaSession`. They go where they go."""
