"""sipd as a service of Twisted: starts the layers, says where it listens, and lets calls end when it is stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.daemon import layers
from sipd.daemon.certificates import CertificateFiles
from sipd.daemon.greeting import greet
from sipd.daemon.media import load_forwarder
from sipd.daemon.reloading import Reloaded, merge, sort_out
from sipd.daemon.sections import Config
from sipd.daemon.stack import Stack, open_listening_points
from sipd.errors import InvalidStateError, LocalError, TransportError
from sipd.interfaces import Entropy, ICallObserver, IFlow, IMessageObserver, IMessageReceiver
from sipd.media.kernel.forwarder import KernelForwarder
from sipd.routing.deciding import PATIENCE, CallOffered, Decider, NeedsAuthentication
from sipd.sip.message import Request, Response
from sipd.transport.layer import TransportLayer

if TYPE_CHECKING:
    from sipd.daemon.metrics import MetricsService

#: Seconds that the last BYE requests have to be answered in; and when somebody is in a hurry.
_FAREWELL = 5.0
_HURRIED_FAREWELL = 0.5
#: Seconds between two looks whether they have been.
_LOOK = 0.05
#: Messages that may wait until the bindings are loaded; more are dropped, as if sipd had not started yet.
_MAX_WAITING = 10_000


@dataclass(slots=True, kw_only=True)
class _Pause:
    """A wait that may be cut short."""

    over: Deferred[None]
    timer: IDelayedCall


class SipService(Service):
    """A registrar and back-to-back user agent. Give it a parent service, or start and stop it yourself.

    Started, it opens the listening points and loads the bindings of the last run. Stopped, it drains: new calls are
    refused with 503, registrations are served, calls go on until they end or ``limits.drain`` seconds are over; then
    everything is closed. `stopService` gives a Deferred of that; `end_now` cuts it short.

    Args:
        config: from `sipd.daemon.config.load` or ``build``.
        reactor: where it runs.
        entropy: for tags, branches, Call-IDs and nonces.
        call_observers: watch calls.
        message_observers: see every message, both ways.
        call_offered: a coroutine function that is asked about each call and says where it goes: ``None`` for what the
            dial plan says, a `Route`, an `Attempt`, an address or the name of a user, or a list of those to be called
            one after another, of which an inner list rings together. `RequestRefusedError` refuses the call. It goes on
            deciding after a `reload`. See `sipd.routing.deciding.DecidingRouter`.
        patience: seconds that it has for a decision; then it is cancelled, and the caller gets 503.
        needs_authentication: says of an INVITE whether its sender has to prove who it is, before ``call_offered`` is
            asked; ``None`` for what the dial plan says, which is yes unless a rule says no.

    Attributes:
        config: what holds for new calls.
        stack: the layers, once it has started; ``None`` before, and after it has stopped.
        metrics: what Prometheus asks, as long as there is a stack, if the configuration has it.
    """

    _log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: Any,
        *,
        entropy: Entropy = os.urandom,
        call_observers: Sequence[ICallObserver] = (),
        message_observers: Sequence[IMessageObserver] = (),
        call_offered: CallOffered | None = None,
        patience: float = PATIENCE,
        needs_authentication: NeedsAuthentication | None = None,
    ) -> None:
        self.config = config
        self.stack: Stack | None = None
        self.metrics: MetricsService | None = None
        self._reactor = reactor
        self._entropy = entropy
        self._call_observers = tuple(call_observers)
        self._message_observers = tuple(message_observers)
        self._decider: Decider | None = None
        if call_offered is not None:
            self._decider = Decider(call_offered, reactor, patience=patience, needs_authentication=needs_authentication)
        self._outcome: LocalError | Literal["ready"] | None = None
        self._awaiting: list[Deferred[None]] = []
        self._room = WaitingRoom()
        self._transport: TransportLayer | None = None
        self._self_signed: CertificateFiles | None = None
        self._loading: Deferred[None] = succeed(None)
        self._stopping: Deferred[None] | None = None
        self._pause: _Pause | None = None
        self._is_hurried = False
        #: The kernel's part in relaying media, once it is loaded; the stack gets it.
        self._forwarder: KernelForwarder | None = None
        self._is_loaded = False

    @property
    def state(self) -> Literal["starting", "serving", "stopping", "stopped"]:
        """Where it is on its way from its start to its end."""
        if self._stopping is not None:
            return "stopped" if self.stack is None else "stopping"
        return "serving" if self._outcome == "ready" else "starting"

    def privilegedStartService(self) -> None:
        """Do what takes privileges, and nothing else: ``twistd`` gives them up between this and the start.

        Raises:
            LocalError: a listening point cannot be opened, or the kernel does not do what it is to do.
        """
        super().privilegedStartService()
        self._listen()
        self._forwarder = load_forwarder(self.config)
        self._is_loaded = True

    def startService(self) -> None:
        """Begin to serve; open the listening points where that was not done before.

        Raises:
            LocalError: something in the configuration cannot be had on this machine. Nothing stays open.
        """
        super().startService()
        self.stack = self._open()
        self._loading = Deferred.fromCoroutine(self._load(self.stack)).addErrback(self._failed, "start")

    def when_ready(self) -> Deferred[None]:
        """Give a Deferred that fires when calls and registrations are served.

        Fails with the `LocalError` that prevents it: the database cannot be read.
        """
        ready: Deferred[None] = Deferred()
        self._awaiting.append(ready)
        self._tell()
        return ready

    def stopService(self) -> Deferred[None]:
        """Drain, then close everything. Asked again, it gives the same end."""
        super().stopService()
        if self._stopping is None:
            self._stopping = Deferred.fromCoroutine(self._stop())
            self._stopping.addErrback(self._failed, "stop")
        ending: Deferred[None] = Deferred()
        self._stopping.addCallback(lambda _: ending.callback(None))
        return ending

    def end_now(self) -> None:
        """Wait no longer: end the calls that are left, write their records, and close."""
        self._is_hurried = True
        self._go_on()

    def reload(self, wanted: Config) -> Reloaded:
        """Let another configuration hold for what begins from now on, as far as that takes no restart.

        All of it takes the place of what held before in this one turn of the reactor. Calls that go on keep what they
        began with. What needs a restart stays as it was: what runs is then `config`, which is neither of the two.

        Raises:
            LocalError: it cannot be used, or nothing is served now. Everything stays as it was.
        """
        stack = self.stack
        if stack is None or self.state != "serving":
            raise InvalidStateError(f"sipd is {self.state}: its configuration does not change now")
        outcome = sort_out(self.config, wanted)
        config = merge(self.config, wanted)
        stack.replace(stack.make_parts(config))
        stack.records.reopen()
        self.config = config
        return outcome

    def reopen(self) -> None:
        """Open the file of the call records anew: the one that was there has been moved away."""
        if self.stack is not None:
            self.stack.records.reopen()

    # --- starting --------------------------------------------------------------------------------------------

    def _listen(self) -> TransportLayer:
        if self._transport is None:
            transport = TransportLayer(reactor=self._reactor, limits=layers.transport_limits(self.config.limits))
            transport.receiver = self._room
            try:
                self._self_signed = open_listening_points(self.config, transport, self._reactor.seconds())
            except LocalError:
                transport.close()
                raise
            self._transport = transport
        return self._transport

    def _open(self) -> Stack:
        transport = self._listen()
        try:
            if not self._is_loaded:
                self._forwarder = load_forwarder(self.config)
            self._is_loaded = False
            metrics = self._open_metrics()
            stack = Stack(
                self.config,
                self._reactor,
                transport,
                entropy=self._entropy,
                forwarder=self._forwarder,
                call_observers=(*self._call_observers, *(() if metrics is None else (metrics.calls,))),
                message_observers=self._message_observers,
                registration_observers=() if metrics is None else (metrics.registrations,),
                decider=self._decider,
            )
        except LocalError:
            transport.close()
            Deferred.fromCoroutine(self._close_metrics())
            raise
        if metrics is not None:
            metrics.watch(stack)
        return stack

    def _open_metrics(self) -> MetricsService | None:
        """Open what Prometheus asks, if it is wanted; what that needs takes a while to import."""
        if self.config.metrics is None:
            return None
        from sipd.daemon.metrics import MetricsService

        metrics = MetricsService(self.config.metrics, self._reactor, self._state)
        metrics.start()
        self.metrics = metrics
        return metrics

    async def _close_metrics(self) -> None:
        metrics, self.metrics = self.metrics, None
        if metrics is not None:
            await metrics.stop()

    def _state(self) -> str:
        """Say in a word whether calls are taken."""
        if self._stopping is not None:
            return "draining"
        if isinstance(self._outcome, LocalError):
            return "failed"
        return "starting" if self._outcome is None else "serving"

    async def _load(self, stack: Stack) -> None:
        try:
            await stack.location.start()
        except LocalError as error:
            self._log.critical("sipd cannot serve: {reason}", reason=str(error))
            self._outcome = error
        else:
            if self._stopping is None:
                self._serve(stack)
        self._tell()

    def _serve(self, stack: Stack) -> None:
        stack.transport.receiver = stack.transactions
        self._room.leave_for(stack.transactions)
        stack.media.start()
        if stack.keep_alive is not None:
            stack.keep_alive.start()
        stack.guards.start()
        stack.trunks.start()
        stack.records.start()
        for line in greet(self.config, stack.transport.points):
            self._log.info("{line}", line=line)
        if self._self_signed is not None:
            path = str(self._self_signed.certificate)
            self._log.info("phones that verify certificates have to trust {path}", path=path)
        self._outcome = "ready"

    def _tell(self) -> None:
        if self._outcome is None:
            return
        awaiting, self._awaiting = self._awaiting, []
        for ready in awaiting:
            if isinstance(self._outcome, LocalError):
                ready.errback(self._outcome)
            else:
                ready.callback(None)

    # --- stopping --------------------------------------------------------------------------------------------

    async def _stop(self) -> None:
        await self._loading
        stack = self.stack
        if stack is not None:
            await self._end_calls(stack)
            await stack.trunks.stop()
            stack.guards.stop()
            stack.watching.close()
            await stack.media.stop()
            if stack.keep_alive is not None:
                stack.keep_alive.stop()
            if stack.routing_service is not None:
                await stack.routing_service.stop()
            stack.agent.close()
            stack.resolver.close()
            stack.transactions.close()
        if self._transport is not None:
            await self._transport.close()
        if stack is not None:
            await stack.location.stop()
            await stack.records.close()
            await stack.account_stores.close()
            if stack.capture is not None:
                stack.capture.close()
            self._log.info("stopped")
        await self._close_metrics()
        self.stack = self._transport = None

    async def _end_calls(self, stack: Stack) -> None:
        """Let calls end by themselves, then end them; give each the time that its records and its BYE take."""
        stack.watching.subscriptions.stop("sipd is being stopped")
        idle = gatherResults([stack.b2bua.drain(), stack.messages.drain()])
        count, limit = len(stack.b2bua), self.config.limits.drain
        if (count or len(stack.messages)) and not self._is_hurried:
            self._log.info("no new calls; {count} have {limit:g} s to end", count=count, limit=limit)
            await self._wait(limit, until=idle)
        stack.messages.stop()
        if stack.decider is not None:
            stack.decider.close()
        if len(stack.b2bua):
            self._log.info("ending {count} calls", count=len(stack.b2bua))
            stack.b2bua.stop_calls("sipd is being stopped")
        looks = 0
        while len(stack.b2bua) or len(stack.agent) or len(stack.watching.subscriptions):
            looks += 1
            if looks * _LOOK > (_HURRIED_FAREWELL if self._is_hurried else _FAREWELL):
                count = len(stack.agent) + len(stack.watching.subscriptions)
                self._log.info("{count} phones did not answer the last BYE or NOTIFY", count=count)
                stack.b2bua.wait_no_longer()
                break
            await deferLater(self._reactor, _LOOK)

    def _wait(self, seconds: float, *, until: Deferred[Any]) -> Deferred[None]:
        """Give a Deferred of what comes first: that time, that event, or `end_now`."""
        pause = _Pause(over=Deferred(), timer=self._reactor.callLater(seconds, self._go_on))
        self._pause = pause
        until.addBoth(lambda _: self._go_on())
        return pause.over

    def _go_on(self) -> None:
        pause, self._pause = self._pause, None
        if pause is not None:
            if pause.timer.active():
                pause.timer.cancel()
            pause.over.callback(None)

    def _failed(self, failure: Failure, what: str) -> None:
        """A bug: the traceback says where to look."""
        self._log.failure("sipd did not {what} in good order", failure, what=what)


@implementer(IMessageReceiver)
class WaitingRoom:
    """Keeps what comes before the bindings are loaded: a call then would find nobody registered."""

    def __init__(self) -> None:
        self._messages: list[tuple[Request | Response, IFlow]] = []

    def message_received(self, message: Request | Response, flow: IFlow) -> None:
        """See `IMessageReceiver`."""
        if len(self._messages) < _MAX_WAITING:
            self._messages.append((message, flow))

    def flow_failed(self, flow: IFlow, error: TransportError) -> None:
        """See `IMessageReceiver`. Nothing was sent, so nothing has failed."""

    def leave_for(self, receiver: IMessageReceiver) -> None:
        """Hand on what has come, in order."""
        messages, self._messages = self._messages, []
        for message, flow in messages:
            receiver.message_received(message, flow)
