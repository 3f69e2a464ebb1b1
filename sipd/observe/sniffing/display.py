"""What is shown of what is seen: chosen by a filter, written as it passes, saved, drawn and summed up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sipd.observe.capture import CapturedMessage
from sipd.observe.ladder import ladder
from sipd.observe.sniffing.calls import Call, Calls
from sipd.observe.sniffing.filters import Filter
from sipd.observe.sniffing.lines import as_text, block, host_port, line, moment, values
from sipd.observe.sniffing.media import RtpStream, RtpStreams
from sipd.observe.sniffing.sightings import Address, MediaSeen, Seen, Sighting
from sipd.observe.sniffing.sniffer import Rest
from sipd.observe.sniffing.summary import Summary
from sipd.sip.grammar import printable

#: A call that is over is drawn when nothing of it has passed for so many seconds.
_SETTLING = 1.0
_MAX_DRAWN_CALLS = 1000
_MAX_DRAWN_MESSAGES = 200

#: Takes when, from where, to where, and what, and saves it.
Save = Callable[[float, Address, Address, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How messages are shown.

    Args:
        messages: whether they are at all, one by one.
        streams: whether it is said when RTP begins and ends, where that is watched.
        whole: with all of their header fields and bodies.
        as_json: one JSON object a line.
        ladders: each call drawn when it is over, other dialogs and transactions at the end.
        summary: counts at the end.
        count: how many messages; ``None`` for no end.
    """

    messages: bool = True
    streams: bool = True
    whole: bool = False
    as_json: bool = False
    ladders: bool = False
    summary: bool = False
    count: int | None = None


class Display:
    """Shows what passes a filter.

    A drawing has 200 messages of a call, and there are 1000 calls at once, at most: of others the oldest is not drawn.

    Args:
        chosen: the filter.
        wanted: how it is shown.
        write: takes the lines, each without its end.
        save: takes each message, and each packet of RTP, that is shown; ``None`` if that is not wanted.
    """

    def __init__(self, chosen: Filter, wanted: Wanted, write: Callable[[str], None], save: Save | None = None) -> None:
        self._filter = chosen
        self._wanted = wanted
        self._write = write
        self._save = save
        self._streams = RtpStreams()
        self._summary = Summary() if wanted.summary else None
        self._drawn = Calls(max_calls=_MAX_DRAWN_CALLS, max_messages=_MAX_DRAWN_MESSAGES) if wanted.ladders else None
        self.shown = 0

    @property
    def is_done(self) -> bool:
        """Whether as many messages were shown as are wanted."""
        return self._wanted.count is not None and self.shown >= self._wanted.count

    def show(self, seen: Iterable[Seen]) -> None:
        """Show what passes the filter, until there is enough of it."""
        for one in seen:
            if self.is_done:
                return
            if self._filter.shows(one):
                self._show(one)

    def pass_time(self, now: float) -> None:
        """Show what is over by now, by the clock that the packets have: calls, and streams."""
        if self._drawn is not None:
            self._draw(self._drawn.take_ended(now - _SETTLING))
        for stream in self._streams.take_ended(now):
            self._stream(stream, stream.last_at, "ends")

    def finish(self, rest: Rest) -> None:
        """Show what is shown at the end.

        Args:
            rest: what was no message.
        """
        for stream in self._streams.finish():
            self._stream(stream, stream.last_at, "so far")
        if self._drawn is not None:
            self._draw(self._drawn)
        if self._summary is None:
            return
        if self._wanted.as_json:
            self._write(json.dumps(self._summary.values(rest)))
        else:
            for text in self._summary.lines(rest):
                self._write(text)

    def _show(self, seen: Seen) -> None:
        if isinstance(seen, MediaSeen):
            begun = self._streams.take(seen)
            if begun is not None:
                self._stream(begun, begun.at, "begins")
            if self._save is not None:
                self._save(seen.at, seen.source, seen.destination, seen.data)
            return
        if isinstance(seen, Sighting):
            self.shown += 1
            if self._summary is not None:
                self._summary.take(seen)
            if self._drawn is not None:
                self._drawn.take(seen)
            if self._save is not None:
                self._save(seen.at, seen.source, seen.destination, seen.data)
        if not self._wanted.messages:
            return
        if self._wanted.as_json:
            fields = values(seen)
            if self._wanted.whole and isinstance(seen, Sighting):
                fields["message"] = as_text(seen.data)
            self._write(json.dumps(fields))
        elif self._wanted.whole and isinstance(seen, Sighting):
            self._write(block(seen))
        else:
            self._write(line(seen))

    def _stream(self, stream: RtpStream, at: float, event: str) -> None:
        if not self._wanted.streams:
            return
        if not self._wanted.as_json:
            self._write(stream.line(at, event))
            return
        self._write(
            json.dumps(
                {
                    "kind": "rtp",
                    "event": event,
                    "at": round(at, 6),
                    "source": host_port(stream.source),
                    "destination": host_port(stream.destination),
                    "payload_type": stream.payload_type,
                    "ssrc": stream.ssrc,
                    "packets": stream.packets,
                    "lost": stream.lost,
                }
            )
        )

    def _draw(self, calls: Iterable[Call]) -> None:
        for call in calls:
            head = f"{moment(call.at)} {printable(call.caller)} -> {printable(call.callee)} {printable(call.call_id)}"
            self._write(f"{head}{' (its first messages)' if call.is_cut else ''}")
            self._write(ladder(map(_captured, call.messages)))


def _captured(sighting: Sighting) -> CapturedMessage:
    return CapturedMessage(
        at=sighting.at,
        data=sighting.data,
        sent=True,
        transport=sighting.transport,
        local=sighting.source,
        remote=sighting.destination,
    )
