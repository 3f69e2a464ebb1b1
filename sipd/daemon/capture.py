"""Writes every message to a file as it passes, for Wireshark and tshark."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import ConfigurationError
from sipd.interfaces import IFlow, IMessageObserver
from sipd.observe.capture import CapturedMessage
from sipd.observe.pcap import pcap

_HEADER = pcap(())


@implementer(IMessageObserver)
class CaptureFile:
    """A pcap file that grows until its bound, and is complete after every message.

    It holds what is otherwise encrypted, and digest responses: only its owner can read it.

    Args:
        path: replaced if it is there.
        size_octets: the bound; what would go beyond it is not written, and that is logged once.
        seconds: tells the wall clock's time.

    Raises:
        ConfigurationError: the file cannot be made.
    """

    _log = Logger()

    def __init__(self, path: Path, *, size_octets: int, seconds: Callable[[], float]) -> None:
        self.path = path
        self._left_octets = size_octets - len(_HEADER)
        self._seconds = seconds
        try:
            path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError([f"{path}: the capture cannot be written: {error.strerror}"]) from None
        self._file: int | None = descriptor
        self._write(_HEADER)

    def message_seen(self, data: bytes, flow: IFlow, *, sent: bool) -> None:
        """See `IMessageObserver`."""
        if self._file is None:
            return
        message = CapturedMessage(
            at=self._seconds(),
            data=data,
            sent=sent,
            transport=flow.transport.value,
            local=(flow.point.host, flow.point.port),
            remote=(flow.host, flow.port),
        )
        record = pcap((message,))[len(_HEADER) :]
        self._left_octets -= len(record)
        if self._left_octets < 0:
            self._log.warn("the capture {path} is full and ends here", path=str(self.path))
            self.close()
        else:
            self._write(record)

    def close(self) -> None:
        """Write no more. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, data: bytes) -> None:
        if self._file is None:
            return
        try:
            os.write(self._file, data)
        except OSError as error:
            self._log.error("the capture {path} ends here: {error}", path=str(self.path), error=error.strerror)
            self.close()
