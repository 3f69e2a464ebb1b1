"""``sipd phone answer``: takes the calls that come, or refuses them."""

from __future__ import annotations

from dataclasses import dataclass, field

from twisted.internet.defer import CancelledError, Deferred, DeferredList, TimeoutError
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from sipd.daemon.telephone.desk import ACK_COMES, Desk
from sipd.daemon.telephone.registering import register, watched
from sipd.daemon.telephone.settings import LineWanted, Talk, places_of
from sipd.errors import LocalError, RemoteError
from sipd.observe.sniffing.lines import host_port
from sipd.phone.incoming import IncomingCall
from sipd.phone.phone import Phone
from sipd.sip.message import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerWanted:
    """How calls are taken.

    Args:
        line: at which.
        talk: what is done in each.
        ring_time: seconds that each rings.
        status: of the answer; 300 to 699 refuses.
        headers: more header fields of the answer.
        registers: whether the line registers, so that calls find it.
        is_once: whether it ends with the first call that is over.
        max_calls: at the same time.
    """

    line: LineWanted
    talk: Talk = field(default_factory=Talk)
    ring_time: float = 0.0
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    registers: bool = False
    is_once: bool = False
    max_calls: int = 10


async def answer(desk: Desk, wanted: AnswerWanted) -> int:
    """Take calls until ``q`` is typed, or until one is over if only one is wanted; give the exit status.

    Raises:
        LocalError: the line cannot be opened.
    """
    places = places_of(wanted.line.account)
    max_calls = 1 if wanted.is_once else wanted.max_calls
    async with desk.phone(wanted.line, places, max_calls=max_calls) as phone:
        answering = _Answering(desk, wanted, phone)
        phone.on_call = answering.take
        if wanted.registers:
            status = await register(desk, phone, wanted.line.timeout)
            if status:
                return status
        for point in phone.points:
            where = f"{point.transport.value} {host_port((point.advertised_host, point.port))}"
            desk.screen.show(
                "listening",
                f"waiting for calls on {where}",
                transport=point.transport.value,
                host=point.advertised_host,
                port=point.port,
            )
        try:
            with watched(desk, phone):
                return await answering.run()
        finally:
            phone.on_call = None
            await answering.end()


class _Answering:
    """The calls that come to one line."""

    _log = Logger()

    def __init__(self, desk: Desk, wanted: AnswerWanted, phone: Phone) -> None:
        self._desk = desk
        self._wanted = wanted
        self._phone = phone
        self._over: Deferred[int] = Deferred()
        self._talking: set[Deferred[int]] = set()

    async def run(self) -> int:
        """Wait for the end; give the exit status."""
        quitting = self._desk.keys.when_quit()
        quitting.addCallbacks(lambda _: self._end_with(0), lambda failure: failure.trap(CancelledError) and None)
        try:
            return await self._over
        finally:
            quitting.cancel()

    async def end(self) -> None:
        """End the calls that are up, and wait for that."""
        talking = list(self._talking)
        for one in talking:
            one.cancel()
        await DeferredList(talking)

    def take(self, call: IncomingCall) -> None:
        """Take a call."""
        talking: Deferred[int] = Deferred.fromCoroutine(self._take(call))
        self._talking.add(talking)

        def done(result: int | Failure) -> int:
            self._talking.discard(talking)
            if isinstance(result, Failure):
                if not result.check(CancelledError):
                    self._log.failure("a call could not be taken", result)
                result = 1
            if self._wanted.is_once:
                self._end_with(result)
            return result

        talking.addBoth(done)

    def _end_with(self, status: int) -> None:
        if not self._over.called:
            self._over.callback(status)

    async def _take(self, call: IncomingCall) -> int:
        screen, wanted = self._desk.screen, self._wanted
        invite = call.invite
        screen.show(
            "incoming",
            f"call from {call.remote} to {call.callee.uri}",
            caller=str(call.remote.uri),
            caller_name=call.remote.display_name,
            callee=str(call.callee.uri),
            call_id=call.call_id,
            headers=_identity(invite),
        )
        if not 200 <= wanted.status < 300:
            call.ring()
            await self._rings(call)
            call.reject(wanted.status, None, wanted.headers)
            screen.show("refused", f"refused with {wanted.status}", call_id=call.call_id, status=wanted.status)
            await deferLater(self._desk.reactor, ACK_COMES)
            return 0
        call.ring()
        await self._rings(call)
        try:
            await call.answer(wanted.status, None, wanted.headers)
        except (RemoteError, LocalError) as error:
            end = call.end
            text = str(error) if end is None else end.text
            screen.fail(f"not answered: {text}", call_id=call.call_id)
            return 1
        text = f"answered with {wanted.status}, {call.audio.codec or 'no codec'}"
        screen.show("answered", text, call_id=call.call_id, codec=call.audio.codec)
        return await self._desk.talk(call, wanted.talk)

    async def _rings(self, call: IncomingCall) -> None:
        """Let it ring, unless the caller gives up before."""
        if not self._wanted.ring_time:
            return
        try:
            await call.ended.addTimeout(self._wanted.ring_time, self._desk.reactor)
        except TimeoutError:
            return


def _identity(invite: Request) -> dict[str, list[str]]:
    """Give what the INVITE says of its caller beside From."""
    names = ("P-Asserted-Identity", "Privacy", "Diversion", "History-Info", "Identity", "User-Agent")
    found = {name: list(invite.headers.values(name)) for name in names}
    return {name: values for name, values in found.items() if values}
