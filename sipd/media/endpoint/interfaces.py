"""What gives an endpoint sound, and what takes it: the joints for microphones, loudspeakers, recognisers, mixers.

Samples are arrays of signed 16-bit integers, 8000 a second of one channel. Neither method may wait or raise: they are
called at the beats of the endpoint, each 20 ms.
"""

from __future__ import annotations

from array import array

from zope.interface import Interface


class ISource(Interface):
    """Gives sound."""

    def read(count: int) -> array[int] | None:
        """Give what comes next.

        Args:
            count: how many samples are wanted at most: those of 20 ms.

        Returns:
            So many samples; fewer, or none, if there are no more at the moment: silence follows then. ``None`` if it is
            over: it is not asked again.
        """


class ISink(Interface):
    """Takes sound."""

    def write(samples: array[int]) -> None:
        """Take the samples of the next 20 ms; where nothing was heard they are silence. They must not be changed."""


class IEndingSink(ISink):
    """A sink that wants to know when there will be no more."""

    def end() -> None:
        """Take note that nothing more comes: the endpoint was closed, or another sink took this one's place."""
