"""A request that is no INVITE, sent to one target after the other until one answers (RFC 3263 section 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred

from sipd.errors import LocalError, RemoteError, TransactionTimeoutError, TransportError
from sipd.interfaces import IFlow
from sipd.sip.glare import retry_after_of
from sipd.sip.locate import Target
from sipd.sip.message import Response

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from sipd.ua.core import UserAgent

#: Sends the request on a flow, and tells the callback, if there is one, of each provisional response.
Send = Callable[[IFlow, Callable[[Response], None] | None], Coroutine[Any, Any, Response]]


async def ask_in_turn(agent: UserAgent, targets: Sequence[Target], send: Send) -> Response:
    """Give the final response of the first target that gives one other than 503, or the 503 of the last one.

    While there is a next target, one that says nothing is left after `AgentSettings.target_timeout`.

    Raises:
        RemoteError: no target answered; the error is that of the last one.
        TransportError: nothing more can be sent from here.
    """
    failure: RemoteError = TransportError("No target to send to")
    for number, target in enumerate(targets, 1):
        is_last = number == len(targets)
        try:
            flow = agent.transport.flow_to(target)
            response = await (send(flow, None) if is_last else _Asking(agent).run(flow, send))
        except RemoteError as error:
            if isinstance(error, TransportError | TransactionTimeoutError):
                agent.resolver.target_failed(target)
            failure = error
            continue
        except LocalError as error:
            raise TransportError(str(error)) from error
        if response.status == 503:
            agent.resolver.target_failed(target, retry_after_of(response))
        if response.status != 503 or is_last:
            return response
        failure = RemoteError(response.reason, status=503)
    raise failure


class _Asking:
    """One target that is asked while there is a next one."""

    def __init__(self, agent: UserAgent) -> None:
        self._agent = agent
        self._timer: IDelayedCall | None = None
        self._is_late = False

    async def run(self, flow: IFlow, send: Send) -> Response:
        """Give the final response, if something is heard before it is the next one's turn."""
        timeout = self._agent.settings.target_timeout
        sending = Deferred.fromCoroutine(send(flow, self._heard))
        self._timer = self._agent.clock.callLater(timeout, self._give_up, sending)
        try:
            return await sending
        except CancelledError:
            if self._is_late:
                raise TransactionTimeoutError(f"Nothing heard within {timeout:g} s") from None
            raise
        finally:
            self._stop()

    def _heard(self, response: Response) -> None:
        """Wait for as long as it takes: the target is there."""
        self._stop()

    def _give_up(self, sending: Deferred[Response]) -> None:
        self._timer = None
        self._is_late = True
        sending.cancel()

    def _stop(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
