"""Each message that comes or goes, as it does: an arrow on the terminal, the whole of it, a packet in a file."""

from __future__ import annotations

import hashlib
from collections import deque

from zope.interface import implementer

from sipd.daemon.telephone.screen import Screen
from sipd.interfaces import IFlow, IMessageObserver
from sipd.observe.capture import redact
from sipd.observe.ladder import summary
from sipd.observe.sniffing.errors import CaptureFileError
from sipd.observe.sniffing.files import SavedCapture
from sipd.observe.sniffing.lines import as_text, host_port, moment
from sipd.sip.grammar import printable

#: Columns between the two lines of the ladder.
_WIDTH = 44
#: Messages that are remembered, to tell those that come again.
_MEMORY = 200


@implementer(IMessageObserver)
class Trace:
    """Shows every message of the phone, secrets covered.

    Args:
        screen: takes the lines.
        draws: whether each message is drawn as one line.
        shows_whole: whether all of it follows.
        saved: takes each message as a packet, or ``None``.
        shows_secrets: whether nothing is covered.
    """

    def __init__(
        self,
        screen: Screen,
        *,
        draws: bool = False,
        shows_whole: bool = False,
        saved: SavedCapture | None = None,
        shows_secrets: bool = False,
    ) -> None:
        self._screen = screen
        self._draws = draws or shows_whole
        self._shows_whole = shows_whole
        self._saved = saved
        self._shows_secrets = shows_secrets
        self._seen: deque[bytes] = deque(maxlen=_MEMORY)

    def message_seen(self, data: bytes, flow: IFlow, *, sent: bool) -> None:
        """See `IMessageObserver`."""
        at = self._screen.seconds()
        shown = data if self._shows_secrets else redact(data)
        point = flow.point
        local = point.advertised_host if point.host in ("0.0.0.0", "::") else point.host, point.port
        remote = flow.host, flow.port
        if self._saved is not None:
            source, destination = (local, remote) if sent else (remote, local)
            try:
                self._saved.add(at, source, destination, shown)
            except CaptureFileError as error:
                self._screen.fail(str(error))
        if not self._draws:
            return
        key = hashlib.sha256(bytes([sent]) + repr(remote).encode() + data).digest()
        again, seen = key in self._seen, self._seen
        seen.append(key)
        label = summary(shown, _WIDTH - 12) + (" again" if again else "")
        values = {
            "at": round(at, 6),
            "time": moment(at),
            "sent": sent,
            "again": again,
            "transport": flow.transport.value,
            "local": host_port(local),
            "remote": host_port(remote),
            "summary": label,
        }
        text = f"{moment(at)[11:23]} {_arrow(label, sent=sent)} {flow.transport.value} {host_port(remote)}"
        if self._shows_whole:
            values["message"] = as_text(shown)
            text += "\n" + _lines(shown)
        self._screen.draw(text, **values)

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._saved is not None:
            self._saved.close()


def _arrow(label: str, *, sent: bool) -> str:
    shaft = f" {label} ".center(_WIDTH - 1, "-")
    return f"|{shaft}>|" if sent else f"|<{shaft}|"


def _lines(data: bytes) -> str:
    """Give a whole message, harmless for a terminal, and an empty line after it."""
    text = as_text(data).replace("\r\n", "\n").rstrip("\n")
    return "\n".join([*(f"    {printable(one.replace(chr(9), ' '), len(one))}" for one in text.split("\n")), ""])
