"""One call at the daemons: which of them has it, what it is asked, and what it has counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.logger import Logger

from sipd.errors import InvalidStateError, LocalError
from sipd.media.rtpengine.client import NgClient
from sipd.media.rtpengine.exchange import Exchange, Party
from sipd.media.rtpengine.ng import (
    Dictionary,
    StreamCounters,
    answer,
    delete_call,
    delete_party,
    offer,
    query,
    read_counters,
    read_sdp,
)
from sipd.media.rtpengine.pool import DaemonPool


class DaemonCall:
    """Asks the daemon of a call, which is chosen with the first offer.

    Args:
        name: how daemons are to know it; nobody else has that name.
        pool: gives a daemon.
        event: told which daemon it is, and why others are not.

    Attributes:
        is_wanted: whether it is worth while to go on looking for a daemon.
    """

    _log = Logger()

    def __init__(self, name: str, pool: DaemonPool, event: Callable[[str, str], None]) -> None:
        self.is_wanted = True
        self._name = name
        self._pool = pool
        self._event = event
        self._client: NgClient | None = None
        self._daemon = ""
        self._counters: dict[tuple[str, int], StreamCounters] = {}

    def __str__(self) -> str:
        """Say what relays it."""
        return f"rtpengine {self._daemon}"

    @property
    def counters(self) -> Sequence[StreamCounters]:
        """What is known to have been counted, ended parties included."""
        return tuple(self._counters.values())

    async def offer(self, exchange: Exchange) -> str:
        """Tell the daemon of an offer; find one first, if there is none yet.

        Returns:
            What it gives for it.

        Raises:
            MediaEngineError: it does not do that.
            ResourcesExhaustedError: no daemon takes the call, or too much is asked of the one that has it.
            InvalidStateError: the call is not wanted any more.
        """
        offerer, answerer = exchange.offerer, exchange.answerer
        request = offer(self._name, offerer.tag, answerer.tag, exchange.told, exchange.options)
        result = await (self._offer_first(request) if self._client is None else self._client.request(request))
        offerer.said = exchange.told
        offerer.is_known = answerer.is_known = True
        return read_sdp(result)

    async def answer(self, exchange: Exchange, told: str, options: Dictionary) -> str:
        """Tell the daemon of an answer.

        Args:
            exchange: that is answered.
            told: the answer, as it is to see it.
            options: what it is told besides.

        Returns:
            What it gives for it.

        Raises:
            MediaEngineError: it does not do that.
            ResourcesExhaustedError: too much is asked of it.
            InvalidStateError: there is none.
        """
        request = answer(self._name, exchange.offerer.tag, exchange.answerer.tag, told, options)
        if self._client is None:
            raise InvalidStateError("no rtpengine daemon has this call")
        result = await self._client.request(request)
        exchange.answerer.said = told
        return read_sdp(result)

    async def ask(self) -> None:
        """Ask what it has counted.

        Raises:
            MediaEngineError: it does not say.
        """
        if self._client is not None:
            self._count(await self._client.request(query(self._name)))

    async def free(self, party: Party) -> None:
        """Let it free what one party holds. The last but one party has to stay."""
        if self._client is not None:
            try:
                self._count(await self._client.request(delete_party(self._name, party.tag)))
            except LocalError as error:
                self._event("media-engine", f"{error}: {party.leg} keeps its ports until the end of the call")

    async def close(self) -> None:
        """Let it free everything. Its counters are known then, if it still answers."""
        client, self._client = self._client, None
        if client is not None:
            for request in (query(self._name), delete_call(self._name)):
                try:
                    self._count(await client.request(request))
                except LocalError as error:
                    self._log.info("call {call_id}: {error}", call_id=self._name, error=error)

    async def _offer_first(self, request: Dictionary) -> Dictionary:
        """Tell one daemon after the other, until one takes the call."""
        tried: list[NgClient] = []
        while self.is_wanted:
            client = self._pool.choose(tried)
            try:
                result = await client.request(request)
                read_sdp(result)
            except LocalError as error:
                tried.append(client)
                self._event("media-engine", f"{error}: the call goes elsewhere")
                # It may have done it, and its answer is lost. Nobody waits for this one.
                client.request(delete_call(self._name)).addErrback(_ignore)
            else:
                self._client = client
                self._daemon = str(client)
                self._event("media-engine", f"{self} relays the media of this call")
                return result
        raise InvalidStateError("the media of this call has ended")

    def _count(self, result: Dictionary) -> None:
        """Take the counters in an answer. They never fall, even if a daemon was started again."""
        for counters in read_counters(result):
            key = counters.tag, counters.index
            known = self._counters.get(key)
            if known is None or counters.packets >= known.packets:
                self._counters[key] = counters


def _ignore(_: object) -> None:
    """The outcome does not matter."""
