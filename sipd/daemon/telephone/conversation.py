"""One call that is up: what is to be played, recorded, said and changed in it, until it is over."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from sipd.daemon.telephone.handset import Handset
from sipd.daemon.telephone.keys import Keys
from sipd.daemon.telephone.report import end_line, end_values, media_line, media_values
from sipd.daemon.telephone.screen import Screen
from sipd.daemon.telephone.settings import PATIENCE, DigitWay, Talk
from sipd.errors import InvalidStateError, LocalError, RemoteError
from sipd.media.endpoint.recording import Recording
from sipd.media.endpoint.statistics import EndpointStatistics
from sipd.phone.call import Call
from sipd.phone.ended import CallEnd
from sipd.phone.transfers import Referred, ReferState
from sipd.sip.message import Request, Response

#: Seconds that the other side has to get its media ready before digits are said.
_BEFORE_DIGITS = 0.5
#: Seconds of a comma among digits.
_PAUSE = 2.0


class Conversation:
    """What is done in one call.

    Args:
        call: that is established.
        talk: what to do.
        screen: shows what happens.
        keys: has it as a call that is up for as long as it is.
        reactor: tells time, and runs the programs of a microphone and a loudspeaker.
        handset: these, if the call has come out of another one that has them; else they are made and ended here.

    Attributes:
        has_failed: whether something that was to be done could not be.
    """

    _log = Logger()

    def __init__(
        self, call: Call, talk: Talk, *, screen: Screen, keys: Keys, reactor: Any, handset: Handset | None = None
    ) -> None:
        self._call = call
        self._talk = talk
        self._screen = screen
        self._keys = keys
        self._reactor = reactor
        self._doing: set[Deferred[None]] = set()
        self._recording: Recording | None = None
        self._is_muted = False
        self._has_borrowed = handset is not None
        self._handset = handset or Handset(
            reactor, microphone=talk.microphone, loudspeaker=talk.loudspeaker, screen=screen, failed=self._fail
        )
        self._successors: list[tuple[Conversation, Deferred[None]]] = []
        self.has_failed = False

    async def run(self) -> None:
        """Do it until the call, and what has come out of it, is over. If that is cancelled the call is hung up."""
        call = self._call
        call.on_request = self._asked
        call.on_media = self._media_changed
        call.on_refer = self._referred if self._talk.follows else None
        call.audio.on_digit.append(self._digit_came)
        self._keys.calls.append(self)
        self._begin()
        try:
            await self._last()
        finally:
            if not self._has_borrowed:
                await self._handset.close()

    async def _last(self) -> None:
        """Wait for the end."""
        call = self._call
        try:
            await call.ended
        except CancelledError:
            # A signal from the terminal may have ended its programs as well.
            self._handset.begin_to_close()
            await call.hang_up().addTimeout(PATIENCE, self._reactor, onTimeoutCancel=lambda _, __: None)
            await self._finish(await call.ended)
            raise
        await self._finish(await call.ended)
        # Whoever has put another call in the place of this one says so after its end.
        await deferLater(self._reactor, 0.0)
        for _, successor in self._successors:
            await successor

    def go_on_in(self, call: Call) -> None:
        """Do in another call what goes on in this one: it has come out of it by a transfer."""
        talk = replace(self._talk, digits="", hold_after=None, transfer_to="")
        other = Conversation(
            call, talk, screen=self._screen, keys=self._keys, reactor=self._reactor, handset=self._handset
        )
        self._screen.show(
            "moved", f"the call goes on with {call.remote}", call_id=call.call_id, uri=str(call.remote.uri)
        )

        async def run() -> None:
            await other.run()
            self.has_failed = self.has_failed or other.has_failed

        successor: Deferred[None] = Deferred.fromCoroutine(run())
        self._successors.append((other, successor))

    def find(self, call: Call) -> Conversation | None:
        """Give what is done in that call: this, or what goes on elsewhere; ``None`` if it is neither."""
        if call is self._call:
            return self
        found = (other.find(call) for other, _ in self._successors)
        return next((one for one in found if one is not None), None)

    # --- what the options say -------------------------------------------------------------------------------

    def _begin(self) -> None:
        talk, call = self._talk, self._call
        if call.is_over:
            return
        if talk.record:
            try:
                self._recording = call.record(talk.record, both=talk.records_both)
            except LocalError as error:
                self._fail(f"nothing is recorded: {error}")
        self._handset.connect(call)
        if talk.echoes:
            call.echo()
        self._do(self._speak())
        if talk.hold_after is not None:
            self._do(self._later(talk.hold_after, self._hold))
        if talk.transfer_to:
            self._do(self._later(talk.transfer_after, lambda: self._transfer(talk.transfer_to)))
        if talk.hangup_after is not None:
            self._do(self._later(talk.hangup_after, self._hang_up))

    async def _speak(self) -> None:
        talk, call = self._talk, self._call
        playing = None
        if talk.play:
            playing = call.play(talk.play, times=talk.times)
            playing.addErrback(self._not_done, f"{talk.play} is not played")
        if talk.digits:
            await deferLater(self._reactor, _BEFORE_DIGITS)
            await self._say_digits(talk.digits)
        if playing is not None:
            await playing
        if talk.hangs_up_when_done:
            await self._hang_up()

    async def _say_digits(self, digits: str) -> None:
        if self._talk.digits_by is not DigitWay.INFO:
            await self._call.send_digits(digits)
        else:
            for place, piece in enumerate(digits.split(",")):
                if place:
                    await deferLater(self._reactor, _PAUSE)
                await self._call.send_digits_by_info(piece)
        self._screen.show("digits", f"said digits {digits}", digits=digits, by=self._talk.digits_by.value)

    async def _later(self, delay: float, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await deferLater(self._reactor, delay)
        await act()

    async def _hold(self) -> None:
        await self._call.hold()
        self._screen.show("hold", "the other side is on hold")

    async def _resume(self) -> None:
        await self._call.resume()
        self._screen.show("resume", "the other side is not on hold any more")

    async def _transfer(self, to: str) -> None:
        self._screen.show("transfer", f"transferring to {to}", to=to)
        await self._call.transfer(to, on_progress=self._transfer_goes_on)
        self._screen.show("transferred", f"transferred to {to}", to=to)

    async def _hang_up(self) -> None:
        self._call.hang_up()

    async def _ask(self, what: str, asking: Deferred[Response]) -> None:
        response = await asking
        text = f"{what}: {response.status} {response.reason}"
        self._screen.show("response", text, status=response.status, reason=response.reason)

    # --- what is typed --------------------------------------------------------------------------------------

    def hang_up(self) -> None:
        """Hang up."""
        self._call.hang_up()

    def toggle_hold(self) -> None:
        """Hold, or resume."""
        self._do(self._resume() if self._call.is_held else self._hold())

    def toggle_mute(self) -> None:
        """Say nothing, or what there is to say."""
        self._is_muted = not self._is_muted
        self._call.mute() if self._is_muted else self._call.unmute()
        self._screen.show("mute" if self._is_muted else "unmute", "muted" if self._is_muted else "not muted")

    def inform(self) -> None:
        """Say how the media fare."""
        statistics = self._statistics()
        if statistics is not None:
            text = f"{self._call.duration:.1f} s: {media_line(statistics)}"
            self._screen.show("statistics", text, media=media_values(statistics))

    def dial_digits(self, digits: str) -> None:
        """Say digits."""
        self._do(self._say_digits(digits))

    def say(self, text: str) -> None:
        """Send a message in the call."""
        self._do(self._ask("message", self._call.message(text)))

    def send_info(self, text: str) -> None:
        """Send a text by INFO."""
        self._do(self._ask("info", self._call.info("text/plain;charset=utf-8", text.encode())))

    def transfer(self, to: str) -> None:
        """Send the other side to somebody else."""
        self._do(self._transfer(to))

    # --- what happens ---------------------------------------------------------------------------------------

    def _digit_came(self, digit: str) -> None:
        self._screen.show("digit", f"heard digit {digit}", digit=digit)

    def _media_changed(self, call: Call) -> None:
        audio = call.audio
        text = f"now {audio.codec or 'no codec'}" + (", on hold by the other side" if audio.is_held else "")
        self._screen.show("media", text, codec=audio.codec, held_by_peer=audio.is_held, held=call.is_held)

    def _asked(self, call: Call, request: Request) -> int:
        body = request.body.decode("utf-8", "replace")
        text = f"{request.method} in the call: {body}"
        self._screen.show("request", text, method=request.method, body=body)
        return 481 if request.method == "NOTIFY" else 200

    def _referred(self, referred: Referred) -> bool:
        uri = str(referred.refer_to.uri)
        if referred.state is ReferState.ASKED:
            self._screen.show("referred", f"sent on to {uri}", uri=uri)
        elif referred.new_call is not None:
            self.go_on_in(referred.new_call)
        else:
            self._fail(f"sent on to {uri}: {referred.error}")
        return True

    def _transfer_goes_on(self, status: int, reason: str) -> None:
        self._screen.show("transfer", f"transfer: {status} {reason}", status=status, reason=reason)

    # --- inside ---------------------------------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something be done beside the rest; when the call is over it is given up."""
        doing: Deferred[None] = Deferred.fromCoroutine(work)
        self._doing.add(doing)

        def done(result: object) -> object:
            self._doing.discard(doing)
            return result

        doing.addBoth(done)
        doing.addErrback(self._not_done, "")

    def _not_done(self, failure: Failure, what: str) -> None:
        error = failure.value
        if isinstance(error, RemoteError | LocalError):
            if not (self._call.is_over and isinstance(error, InvalidStateError)):
                self._fail(f"{what}: {error}" if what else str(error))
        elif not isinstance(error, CancelledError):
            self.has_failed = True
            self._log.failure("something in call {call_id} has failed", failure, call_id=self._call.call_id)

    def _fail(self, text: str) -> None:
        self.has_failed = True
        self._screen.fail(text, call_id=self._call.call_id)

    async def _finish(self, end: CallEnd) -> None:
        if self in self._keys.calls:
            self._keys.calls.remove(self)
        for doing in list(self._doing):
            doing.cancel()
        recording = self._recording
        if recording is not None:
            try:
                seconds = await recording.stop()
            except LocalError as error:
                self._fail(f"recording: {error}")
            else:
                path = str(recording.path)
                self._screen.show("recorded", f"recorded {seconds:.1f} s in {path}", path=path, duration=seconds)
        self._handset.show()
        statistics = self._statistics()
        values = end_values(end, statistics)
        self._screen.show("end", end_line(end, statistics), call_id=self._call.call_id, **values)

    def _statistics(self) -> EndpointStatistics | None:
        try:
            return self._call.statistics
        except InvalidStateError:
            return None
