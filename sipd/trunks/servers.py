"""The servers of a trunk: which one has the next call, and whether they are there (OPTIONS, RFC 3261 section 11)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred

from sipd.errors import LocalError, RemoteError
from sipd.interfaces import IFlow
from sipd.sip.fields import NameAddr
from sipd.sip.glare import retry_after_of
from sipd.sip.headers import Headers
from sipd.sip.identifiers import new_call_id, new_tag
from sipd.sip.message import Request, Response
from sipd.sip.uri import SipUri, Uri
from sipd.trunks.health import ServerHealth
from sipd.trunks.interfaces import ITrunkObserver
from sipd.trunks.settings import HealthSettings, TrunkServer, TrunkSettings
from sipd.trunks.status import ServerStatus
from sipd.ua.failover import ask_in_turn

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from sipd.ua.core import UserAgent

#: Outcomes of a call that say that the server does not take calls: no response, and 503.
_FAILURES = frozenset((0, 503))
#: Which part of the interval between two OPTIONS is left to chance, and seconds until the first one at most.
_JITTER = 0.2
_SOON = 2.0
#: Seconds for which a server may ask to be spared; a longer wish is shortened.
MAX_REST = 600.0


class _Server:
    """One server."""

    __slots__ = ("asking", "calls", "health", "place", "timer")

    def __init__(self, place: TrunkServer, settings: HealthSettings) -> None:
        self.place = place
        self.health = ServerHealth(settings)
        self.calls = 0
        self.asking: Deferred[Response] | None = None
        self.timer: IDelayedCall | None = None


class Servers:
    """All servers of a trunk.

    Args:
        agent: sends OPTIONS.
        settings: of the trunk.
        observer: told of each change.
        came_up: called when a server is up that was down.
    """

    def __init__(
        self,
        agent: UserAgent,
        settings: TrunkSettings,
        observer: ITrunkObserver,
        came_up: Callable[[], object] = lambda: None,
    ) -> None:
        self._agent = agent
        self._settings = settings
        self._observer = observer
        self._came_up = came_up
        self._servers = [_Server(place, settings.health) for place in settings.places]
        self._is_watching = False

    def configure(self, settings: TrunkSettings) -> None:
        """Let other settings hold from now on. What is known of servers that stay is kept."""
        known = {server.place.uri: server for server in self._servers}
        is_watching = self._is_watching
        self.stop()
        self._settings = settings
        self._servers = []
        for place in settings.places:
            server = known.get(place.uri) or _Server(place, settings.health)
            server.place = place
            server.health.configure(settings.health)
            self._servers.append(server)
        if is_watching:
            self.start()

    def start(self) -> None:
        """Begin to ask whether they are there."""
        self._is_watching = True
        for server in self._servers:
            self._watch_out(server, _SOON * self._chance())
            self._recover_later(server)

    def stop(self) -> None:
        """Ask no more. Idempotent."""
        self._is_watching = False
        for server in self._servers:
            timer, server.timer = server.timer, None
            if timer is not None:
                timer.cancel()
            asking, server.asking = server.asking, None
            if asking is not None:
                asking.cancel()

    def status(self) -> tuple[ServerStatus, ...]:
        """Say how each is."""
        now = self._now()
        return tuple(
            ServerStatus(
                uri=server.place.uri,
                weight=server.place.weight,
                is_up=server.health.is_up,
                reason=server.health.reason,
                failures=server.health.failures,
                rests=max(0.0, server.health.rests_until - now),
                calls=server.calls,
            )
            for server in self._servers
        )

    # --- calls ----------------------------------------------------------------------------------------------

    def choose(self, only: SipUri | None = None) -> TrunkServer | None:
        """Give a server for a call: by chance, each as often as its weight says, among those that can take it.

        Args:
            only: the one that it has to be; ``None`` for any.

        Returns:
            The server, or ``None`` if there is none.
        """
        now = self._now()
        able = [
            server
            for server in self._servers
            if server.health.may_take_calls(now) and (only is None or server.place.uri == only)
        ]
        chosen = self._by_weight([server for server in able if server.place.weight]) or next(iter(able), None)
        if chosen is None:
            return None
        chosen.calls += 1
        return chosen.place

    def explain(self) -> str:
        """Say why none can take a call."""
        now = self._now()
        return ", ".join(
            f"{server.place.uri} rests for {server.health.rests_until - now:.0f} s"
            if server.health.is_up
            else f"{server.place.uri} is down ({server.health.reason})"
            for server in self._servers
            if not server.health.may_take_calls(now)
        )

    def call_ended(self, status: int, uri: Uri | None, retry_after: float | None) -> None:
        """Take note of what became of a call.

        Where it is not known which of several servers it was, a failure has all of them asked at once.

        Args:
            status: of the final response; 0 if none came.
            uri: of the server; ``None`` where that is not known.
            retry_after: seconds that the response asks for.
        """
        server = self._find(uri)
        if server is None:
            if status in _FAILURES and self._is_watching:
                for one in self._servers:
                    self._watch_out(one, 0.0)
        elif status == 503 and retry_after:
            self._rest(server, retry_after)
        elif status in _FAILURES:
            self._failed(server, f"{status} to a call" if status else "no response to a call")
        else:
            self._succeeded(server)

    def _by_weight(self, servers: Sequence[_Server]) -> _Server | None:
        point = int.from_bytes(self._agent.entropy(8), "big") * sum(one.place.weight for one in servers) >> 64
        for server in servers:
            point -= server.place.weight
            if point < 0:
                return server
        return None

    def _find(self, uri: Uri | None) -> _Server | None:
        if uri is None:
            return self._servers[0] if len(self._servers) == 1 else None
        return next((server for server in self._servers if server.place.uri == uri), None)

    # --- health ---------------------------------------------------------------------------------------------

    def _watch_out(self, server: _Server, wait: float) -> None:
        """Ask a server in so many seconds, if servers are asked at all and it is not being asked."""
        if not self._settings.health.interval or not self._is_watching or server.asking is not None:
            return
        if server.timer is not None:
            server.timer.cancel()
        server.timer = self._agent.clock.callLater(wait, self._ask, server)

    def _ask(self, server: _Server) -> None:
        server.timer = None
        due = self._now() + self._settings.health.interval * (1 - _JITTER * self._chance())
        asking = server.asking = Deferred.fromCoroutine(self._options(server.place.uri))
        asking.addCallbacks(self._answered, self._unanswered, callbackArgs=(server,), errbackArgs=(server,))
        asking.addCallback(self._again, server, due)

    def _again(self, _: object, server: _Server, due: float) -> None:
        server.asking = None
        self._watch_out(server, max(0.0, due - self._now()))

    def _answered(self, response: Response, server: _Server) -> None:
        rest = retry_after_of(response)
        if response.status == 503 and rest:
            self._rest(server, rest)
        if response.status in self._settings.health.up_statuses:
            self._succeeded(server)
        else:
            self._failed(server, f"{response.status} to OPTIONS")

    def _unanswered(self, failure: Failure, server: _Server) -> None:
        failure.trap(RemoteError, LocalError, CancelledError)
        if not failure.check(CancelledError):
            self._failed(server, f"no answer to OPTIONS ({failure.getErrorMessage()})")

    async def _options(self, uri: SipUri) -> Response:
        agent = self._agent
        targets = await agent.resolver.locate(uri)
        if self._settings.point:
            targets = [replace(target, point=self._settings.point) for target in targets]
        call_id, tag = new_call_id(agent.entropy), new_tag(agent.entropy)

        async def send(flow: IFlow, heard: Callable[[Response], None] | None) -> Response:
            fields = Headers(
                (
                    ("Max-Forwards", "70"),
                    ("From", str(NameAddr(SipUri(flow.point.advertised_host)).with_tag(tag))),
                    ("To", str(NameAddr(uri))),
                    ("Call-ID", call_id),
                    ("CSeq", "1 OPTIONS"),
                    ("Contact", agent.contact(flow, uri)),
                )
            )
            agent.add_capabilities(fields)
            return await agent.transactions.request(Request("OPTIONS", uri, fields), flow, heard)

        return await ask_in_turn(agent, targets, send)

    def _succeeded(self, server: _Server) -> None:
        if server.health.succeeded():
            self._observer.server_changed(self._settings.name, server.place.uri, server.health.reason, is_up=True)
            self._came_up()

    def _failed(self, server: _Server, reason: str) -> None:
        if server.health.failed(reason):
            self._observer.server_changed(self._settings.name, server.place.uri, server.health.reason, is_up=False)
            self._recover_later(server)

    def _recover_later(self, server: _Server) -> None:
        """Where nobody asks whether servers are there, calls have to try one that is down."""
        settings = self._settings.health
        if not server.health.is_up and not settings.interval and self._is_watching and server.timer is None:
            server.timer = self._agent.clock.callLater(settings.recovery, self._recover, server)

    def _recover(self, server: _Server) -> None:
        server.timer = None
        server.health.recover()
        self._observer.server_changed(self._settings.name, server.place.uri, server.health.reason, is_up=True)

    def _rest(self, server: _Server, seconds: float) -> None:
        rest = min(seconds, MAX_REST)
        server.health.rests_until = self._now() + rest
        self._observer.server_rests(self._settings.name, server.place.uri, rest)

    def _now(self) -> float:
        return self._agent.clock.seconds()

    def _chance(self) -> float:
        return int.from_bytes(self._agent.entropy(4), "big") / 2**32
