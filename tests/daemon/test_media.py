"""What relays media, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from sipd.daemon.media import RECORDING_PATIENCE, MediaPlane
from sipd.media.recorded import RecordedLeg
from tests.daemon.case import MINIMAL, ConfigCase


class DeafReactor(Clock):
    """A reactor that no thread comes back to."""

    def callFromThread(self, function: Callable[..., Any], *_: object, **__: object) -> None:
        """See `IReactorFromThreads`."""


class EndTests(ConfigCase):
    """The end of what relays and records."""

    def test_disk_that_hangs(self) -> None:
        """Recordings that cannot be completed do not keep sipd from ending; it is said that they are not."""
        config = self.load(f'{MINIMAL}\n[media]\nrelay = false\n[recording]\ndirectory = "{self.directory}"\n')
        reactor = DeafReactor()
        plane = MediaPlane(config, reactor, entropy=bytes, forwarder=None)
        assert plane._recorder is not None
        plane._recorder.start("call", {"a": RecordedLeg(channel=0)}, lambda kind, text: None)
        ending = Deferred.fromCoroutine(plane.stop())
        reactor.advance(RECORDING_PATIENCE - 1.0)
        self.assertNoResult(ending)
        with capturedLogs() as logs:
            reactor.advance(1.0)
        self.successResultOf(ending)
        self.assertEqual(
            [log["log_format"] for log in logs if "recordings" in log["log_format"]],
            ["recordings are not complete: the disk took more than {timeout:g} s"],
        )
        self.assertEqual(reactor.getDelayedCalls(), [])
