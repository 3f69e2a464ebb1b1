"""``sipd phone dial``: calls somebody, and says how that went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError

from sipd.daemon.telephone.desk import NO_ANSWER, Desk, exit_status
from sipd.daemon.telephone.settings import LineWanted, Talk, places_of, recipient_of
from sipd.errors import ParseError, RemoteError
from sipd.phone.dialing import OutgoingCall
from sipd.phone.phone import Phone
from sipd.phone.progress import DialProgress, DialStep

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall


@dataclass(frozen=True, slots=True, kw_only=True)
class DialWanted:
    """A call that is wanted.

    Args:
        line: from which.
        recipient: an address, or a part of one.
        talk: what is done in it.
        ring_timeout: seconds that it may ring.
        headers: more header fields.
        caller: another From; empty for the account's.
        caller_name: its display name.
        identities: for P-Asserted-Identity.
        privacy: values of Privacy.
        count: how many calls are made, one after the other.
    """

    line: LineWanted
    recipient: str
    talk: Talk = field(default_factory=Talk)
    ring_timeout: float = 60.0
    headers: tuple[tuple[str, str], ...] = ()
    caller: str = ""
    caller_name: str = ""
    identities: tuple[str, ...] = ()
    privacy: tuple[str, ...] = ()
    count: int = 1


async def dial(desk: Desk, wanted: DialWanted) -> int:
    """Call, as often as wanted; give the exit status of the last call that was not answered, or 0.

    Raises:
        ParseError: an address, or a header field, cannot be read.
        LocalError: the line cannot be opened.
    """
    places = places_of(wanted.line.account, wanted.recipient)
    status = 0
    async with desk.phone(wanted.line, places, ring_timeout=wanted.ring_timeout) as phone:
        for _ in range(wanted.count):
            status = await _Attempt(desk, wanted, phone).run() or status
            if desk.keys.has_quit:
                break
    return status


class _Attempt:
    """One call."""

    def __init__(self, desk: Desk, wanted: DialWanted, phone: Phone) -> None:
        self._desk = desk
        self._wanted = wanted
        self._phone = phone
        self._timer: IDelayedCall | None = None
        self._given_up = ""

    async def run(self) -> int:
        """Make it; give its exit status."""
        desk, wanted = self._desk, self._wanted
        try:
            call = await self._dial()
        except ParseError:
            raise
        except RemoteError as error:
            status = exit_status(error)
            desk.screen.fail(str(error), status=error.status, exit_status=status)
            return status
        except CancelledError:
            if not self._given_up:
                raise
            desk.screen.fail(self._given_up, status=None, exit_status=NO_ANSWER)
            return NO_ANSWER
        return await desk.talk(call, wanted.talk)

    async def _dial(self) -> OutgoingCall:
        wanted, keys = self._wanted, self._desk.keys
        dialling = self._phone.dial(
            recipient_of(self._phone, wanted.recipient, wanted.line.transport),
            headers=wanted.headers,
            on_progress=self._progressed,
            caller=wanted.caller,
            caller_name=wanted.caller_name,
            asserted_identity=wanted.identities,
            privacy=wanted.privacy,
        )

        def give_up(text: str) -> None:
            if not dialling.called:
                self._given_up = text
                dialling.cancel()

        timeout = wanted.line.timeout
        self._timer = self._desk.reactor.callLater(timeout, give_up, f"nobody has said anything in {timeout:g} s")
        keys.on_hang_up = lambda: give_up("given up before the answer")
        try:
            return await dialling
        finally:
            keys.on_hang_up = None
            self._stop_timer()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _progressed(self, progress: DialProgress) -> None:
        if progress.step is DialStep.FAILED:
            return
        if progress.step is not DialStep.INVITED:
            self._stop_timer()
        texts = {
            DialStep.INVITED: f"calling {progress.uri}",
            DialStep.PROVISIONAL: f"{progress.status} {progress.reason}",
            DialStep.ESTABLISHED: f"answered with {progress.status} {progress.reason}",
        }
        self._desk.screen.show(
            "progress",
            texts[progress.step],
            step=progress.step.value,
            status=progress.status or None,
            reason=progress.reason,
            uri=progress.uri,
            remote=progress.remote,
            call_id=progress.call_id,
        )
