"""What is recorded of a session, and what is played to its legs: by policy, or when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.errors import InvalidStateError, LocalError
from sipd.interfaces import IMediaStudio
from sipd.media.engine import Report
from sipd.media.greeting import is_greeter
from sipd.media.recorded import RecordedLeg
from sipd.media.recording import RecordingFormat
from sipd.media.sounds import FileSound, Sound, ToneSound
from sipd.media.terms import Terms
from sipd.rtp.tones import find_tone

if TYPE_CHECKING:
    from sipd.media.announcement import Announcement, Announcer, Played
    from sipd.media.recording import Recorder, Recording
    from sipd.media.stream import RelayStream
    from sipd.media.treatment import Treatment
    from sipd.sdp.description import SessionDescription

#: What is played of what a leg wants, the first that it names first.
_PLAYED = ("pcmu", "pcma", "g722", "opus")


class StudioSession(Protocol):
    """The session that it works for."""

    call_id: str

    def streams(self) -> Sequence[RelayStream]:
        """Give the streams in force."""

    def treatment(self, stream: RelayStream) -> Treatment:
        """Give the treatment of a stream, to be changed; `treat` has to follow."""

    def treat(self, stream: RelayStream) -> None:
        """Let a stream be treated as its treatment says by now."""

    def greet(self, leg: str, offer: SessionDescription) -> Deferred[SessionDescription]:
        """See `IMediaStudio`."""


@implementer(IMediaStudio)
class Studio:
    """Records and plays.

    Args:
        session: whose media.
        recorder: makes files; ``None`` if nothing can be recorded.
        announcer: plays; ``None`` if nothing can be played.
        report: for the call's explanation.
    """

    _log = Logger()

    def __init__(
        self, session: StudioSession, recorder: Recorder | None, announcer: Announcer | None, report: Report
    ) -> None:
        self._session = session
        self._recorder = recorder
        self._announcer = announcer
        self._report = report
        self._recording: Recording | None = None
        self._channels: dict[str, int] = {}
        self._tapped: set[RelayStream] = set()
        self._playing: dict[str, Announcement] = {}
        #: What legs hear while they are on hold, by their names; and those that do now.
        self._hold_music: dict[str, str] = {}
        self._held: set[str] = set()

    # --- recording ------------------------------------------------------------------------------------------

    @property
    def is_recording(self) -> bool:
        """See `IMediaStudio`."""
        return self._recording is not None and self._recording.is_running

    def record(self, format_: str = "wave", fields: Mapping[str, str] | None = None) -> None:
        """See `IMediaStudio`."""
        if self.is_recording:
            return
        if self._recorder is None:
            raise InvalidStateError("there is no directory for recordings")
        self._channels.clear()
        self._tapped.clear()
        self._recording = self._recorder.start(
            self._session.call_id, {}, self._report, format_=RecordingFormat[format_.upper()], fields=fields
        )
        self._report("recording", f"begins, as {format_}")
        self._tap()

    def pause_recording(self) -> None:
        """See `IMediaStudio`."""
        if self._recording is not None:
            self._recording.pause()

    def resume_recording(self) -> None:
        """See `IMediaStudio`."""
        if self._recording is not None:
            self._recording.resume()

    def stop_recording(self) -> Deferred[Any]:
        """See `IMediaStudio`."""
        recording, self._recording = self._recording, None
        if recording is None:
            return succeed(None)
        for stream in self._tapped & set(self._session.streams()):
            treatment = self._session.treatment(stream)
            treatment.taps = ()
            self._session.treat(stream)
        self._tapped.clear()
        return recording.stop()

    def _tap(self) -> None:
        """Listen to streams that are new, and learn what is said of all of them."""
        recording = self._recording
        if recording is None:
            return
        streams = self._session.streams()
        self._tapped &= set(streams)
        for stream in streams:
            if stream.statistics.media != "audio" or not isinstance(stream.terms, Terms):
                continue
            recording.describe(
                stream.leg,
                RecordedLeg(
                    channel=self._channel(stream),
                    encodings=stream.terms.payloads.encodings,
                    remote=stream.latch.remote or ("0.0.0.0", 0),
                    local=(stream.address.host, stream.pair.port),
                ),
            )
            if stream not in self._tapped:
                self._tapped.add(stream)
                treatment = self._session.treatment(stream)
                treatment.taps = (partial(recording.packet, stream.leg),)
                self._session.treat(stream)

    def _channel(self, stream: RelayStream) -> int:
        """Give the channel of a leg: the caller is on the left, and who takes somebody's place has its channel."""
        channel = self._channels.get(stream.leg)
        if channel is None:
            other = None if stream.peer is None else self._channels.get(stream.peer.leg)
            channel = (0 if stream.leg == "a" else 1) if other is None else 1 - other
            self._channels[stream.leg] = channel
        return channel

    # --- playing --------------------------------------------------------------------------------------------

    def greet(self, leg: str, offer: SessionDescription) -> Deferred[SessionDescription]:
        """See `IMediaStudio`."""
        return self._session.greet(leg, offer)

    def play(
        self, leg: str, sound: str, *, times: int | None = 1, duration: float | None = None, gain: float = 0.0
    ) -> Deferred[Any]:
        """See `IMediaStudio`."""
        if self._announcer is None:
            return fail(InvalidStateError("nothing can be played here"))
        try:
            stream, payload_type, encoding = self._place_for(leg)
            what = sound_of(sound)
        except LocalError as error:
            return fail(error)
        self.stop_playing(leg)
        announcement = self._announcer.announce(
            what,
            stream.inject,
            payload_type=payload_type,
            encoding=encoding,
            times=times,
            duration=duration,
            gain=gain,
        )
        self._playing[leg] = announcement
        self._set_deaf(leg, is_deaf=True)
        self._report("announcement", f"{sound} is played to {leg}")
        return announcement.start().addBoth(self._played, leg, announcement)

    def stop_playing(self, leg: str) -> None:
        """See `IMediaStudio`."""
        announcement = self._playing.pop(leg, None)
        if announcement is not None:
            announcement.stop()
            self._set_deaf(leg, is_deaf=False)

    def set_hold_music(self, leg: str, sound: str) -> None:
        """Let a leg hear that while it is on hold."""
        self._hold_music[leg] = sound

    def _place_for(self, leg: str) -> tuple[RelayStream, int, str]:
        """Give the stream of a leg that can be played to, and the payload type and encoding that it wants."""
        for stream in self._session.streams():
            if stream.leg != leg or stream.statistics.media != "audio" or not isinstance(stream.terms, Terms):
                continue
            wanted = stream.terms.wanted
            for name in _PLAYED:
                for payload_type, encoding in wanted.items():
                    if encoding.partition("/")[0] == name:
                        return stream, payload_type, encoding
        raise InvalidStateError(f"leg {leg} has no audio in a codec that can be played")

    def _played(self, result: Played | Failure, leg: str, announcement: Announcement) -> Played | Failure:
        if self._playing.get(leg) is announcement:
            del self._playing[leg]
            self._set_deaf(leg, is_deaf=False)
        if isinstance(result, Failure):
            self._report("announcement", f"to {leg} failed: {result.getErrorMessage()}")
        return result

    def _set_deaf(self, leg: str, *, is_deaf: bool) -> None:
        """Let the other side's media not go to a leg that hears something else."""
        for stream in self._session.streams():
            if stream.leg == leg and stream.statistics.media == "audio":
                treatment = self._session.treatment(stream)
                treatment.is_deaf = is_deaf
                self._session.treat(stream)

    def _hold(self) -> None:
        """Play to those who are on hold, and to those who are not any more nothing."""
        held = set()
        for stream in self._session.streams():
            terms = stream.terms
            if stream.leg not in self._hold_music or stream.statistics.media != "audio" or terms is None:
                continue
            if stream.peer is not None and is_greeter(stream.peer.leg):
                continue
            if terms.receives and not terms.sends:
                held.add(stream.leg)
        for leg in self._held - held:
            self.stop_playing(leg)
        for leg in held - self._held:
            self.play(leg, self._hold_music[leg], times=None).addErrback(self._silence, leg)
        self._held = held

    def _silence(self, failure: Failure, leg: str) -> None:
        failure.trap(LocalError)
        self._log.warn("leg {leg} hears nothing on hold: {reason}", leg=leg, reason=failure.value)

    # --- the session ----------------------------------------------------------------------------------------

    def renegotiated(self) -> None:
        """Take note that something else is agreed on."""
        if self._recording is not None:
            self._tap()
        if self._hold_music:
            self._hold()

    def close(self) -> Deferred[Any]:
        """End all of it; fires when the file is complete. Never fails."""
        for leg in list(self._playing):
            self.stop_playing(leg)
        self._hold_music.clear()
        return self.stop_recording()


def sound_of(text: str) -> Sound:
    """Give what a configuration names: ``tone:de:ringback``, or the path of a WAVE file.

    Raises:
        InvalidStateError: there is no such tone.
    """
    kind, _, rest = text.partition(":")
    if kind != "tone":
        return FileSound(path=Path(text))
    country, _, name = rest.partition(":")
    try:
        return ToneSound(pattern=find_tone(country, name))
    except (KeyError, ValueError) as error:
        raise InvalidStateError(f"no tone {rest}: {error}") from error
