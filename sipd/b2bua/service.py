"""The back-to-back user agent: takes every call that comes in, and keeps them (RFC 7092 section 3.1.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from sipd.b2bua.bridge import Bridge
from sipd.b2bua.leg import Leg
from sipd.b2bua.reception import Reception
from sipd.b2bua.replacement import Replacement
from sipd.b2bua.transfer import TransferSettings
from sipd.b2bua.trust import IdentityPolicy
from sipd.errors import RequestRefusedError
from sipd.interfaces import (
    IAuthenticator,
    ICallObserver,
    IFlow,
    IGate,
    IMediaRelay,
    IRouter,
    ITrunks,
    LegPolicy,
    MediaPolicy,
    RoutingRequest,
)
from sipd.sip.dialog import DialogKey
from sipd.sip.identity import is_anonymous
from sipd.sip.message import Request
from sipd.sip.uri import SipUri
from sipd.ua.core import UserAgent
from sipd.ua.interfaces import ICallHandler
from sipd.ua.session import Session

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from sipd.ua.incoming import IncomingCall


@dataclass(frozen=True, slots=True, kw_only=True)
class B2buaSettings:
    """Bounds and names of a B2BUA.

    Args:
        realm: callers are challenged for it.
        domains: whose users are ours, in lower case: a user may only call under a name of their own there.
        host: the numeric address in ``o=`` lines.
        max_calls: further ones are answered with 503.
        retry_after: seconds that a refused caller is told to wait.
        identity: who is trusted, and what others are told of who calls.
        transfer: how calls are transferred.
        media: how media is relayed, of legs of which nothing else is said.
        user_media: the same for legs of users of ours, by their names.
        user_policies: what else is wanted of these, by their names.
        trunk_policies: the same for legs by which trunks call, where the route does not say it.
    """

    realm: str
    domains: frozenset[str]
    host: str
    max_calls: int = 2000
    retry_after: int = 30
    identity: IdentityPolicy = field(default_factory=IdentityPolicy)
    transfer: TransferSettings = field(default_factory=TransferSettings)
    media: MediaPolicy = field(default_factory=MediaPolicy)
    user_media: Mapping[str, MediaPolicy] = field(default_factory=dict)
    user_policies: Mapping[str, LegPolicy] = field(default_factory=dict)
    trunk_policies: Mapping[str, LegPolicy] = field(default_factory=dict)


@implementer(ICallHandler)
class B2bua:
    """Bridges each incoming call to where the router sends it.

    Router and settings may be replaced: calls that go on keep the settings that they began with.

    Args:
        agent: the user agent whose calls it takes; it becomes their handler.
        router: decides where calls go, and which need a proof of who calls.
        authenticator: takes the proof.
        media: relays their audio and video.
        observer: watches them.
        now: seconds of the wall clock.
        settings: bounds and names.
        trunks: which peers there are beside the users; ``None`` for none.
        gate: decides whether calls are taken, beside the bounds of the settings; ``None`` to take them.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        agent: UserAgent,
        router: IRouter,
        authenticator: IAuthenticator,
        media: IMediaRelay,
        observer: ICallObserver,
        now: Callable[[], float],
        settings: B2buaSettings,
        trunks: ITrunks | None = None,
        gate: IGate | None = None,
    ) -> None:
        self.agent = agent
        self.router = router
        self.media = media
        self.observer = observer
        self.now = now
        self.settings = settings
        self.host = settings.host
        self.trunks = trunks
        self.gate = gate
        self._authenticator = authenticator
        self._calls: dict[str, Bridge] = {}
        self._is_draining = False
        self._idle: list[Deferred[None]] = []
        agent.call_handler = self
        agent.explanation = self._explained

    def __len__(self) -> int:
        """How many calls there are."""
        return len(self._calls)

    def call_offered(self, call: IncomingCall) -> None:
        """See `ICallHandler`. One that names a call of ours takes the place of its party there (RFC 3891)."""
        if "Replaces" in call.invite.headers:
            Deferred.fromCoroutine(Replacement(self, call).run()).addErrback(self._replacement_broke, call)
            return
        reception = Reception(self, call)
        self.bridge_began(reception.bridge)
        Deferred.fromCoroutine(reception.run()).addErrback(self._broken, reception)

    def asked(self, request: Request, flow: IFlow, user: str | None = None, at: float | None = None) -> RoutingRequest:
        """Give what the router is asked about a request that came on that flow, or is made for who is at its end.

        Args:
            request: the request.
            flow: where it came from.
            user: who sends it.
            at: when it came; ``None`` for now.
        """
        asked = RoutingRequest.of(request, flow, user, at=self.now() if at is None else at)
        if self.trunks is None:
            return asked
        trunk = self.trunks.identify(asked.source, flow.peer_names, request.uri, user)
        return asked if trunk is None else replace(asked, trunk=trunk)

    def find_leg(self, key: DialogKey) -> tuple[Bridge, Leg] | None:
        """Give the leg that uses a dialog, and its call, if that is answered."""
        session: object = self.agent.find_dialog(key)
        if not isinstance(session, Session):
            return None
        bridge: object = session.user
        leg = bridge.find_leg(session) if isinstance(bridge, Bridge) else None
        return (bridge, leg) if isinstance(bridge, Bridge) and leg is not None else None

    def drain(self) -> Deferred[None]:
        """Take no more calls (503 with Retry-After); the Deferred fires when those that there are have ended."""
        self._is_draining = True
        idle: Deferred[None] = Deferred()
        if self._calls:
            self._idle.append(idle)
        else:
            idle.callback(None)
        return idle

    def stop_calls(self, text: str) -> None:
        """End all calls, those that ring and those that talk."""
        for bridge in list(self._calls.values()):
            bridge.stop(text)

    def wait_no_longer(self) -> None:
        """Close the records of calls that are over but for their media."""
        for bridge in list(self._calls.values()):
            bridge.wait_no_longer()

    def refusal(self, request: Request | None = None) -> RequestRefusedError | None:
        """Say why no call is taken now, or ``None``. The call that asks counts already.

        Args:
            request: the INVITE, if there is one; there is no bound of calls for one that says that it is for help.
        """
        is_urgent = request is not None and self.gate is not None and self.gate.is_urgent(request)
        if self._is_draining:
            reason = "Shutting Down"
        elif len(self._calls) > self.settings.max_calls and not is_urgent:
            reason = "Too Many Calls"
        else:
            return None
        return RequestRefusedError(reason, status=503, headers=(("Retry-After", str(self.settings.retry_after)),))

    async def authenticate(self, request: Request) -> str:
        """Give the name of the user who calls.

        Raises:
            RequestRefusedError: 407 without a proof, 403 for a caller who gives another user's address as their own.
                Nobody's is one that only says that its owner wants to be anonymous.
        """
        user = await self._authenticator.authenticate(request, self.settings.realm, proxy=True)
        caller = request.from_.uri
        if isinstance(caller, SipUri) and caller.host in self.settings.domains:
            own = SipUri(caller.host, user).address_of_record()
            is_own = caller.address_of_record() == own or self.settings.identity.owns(user, caller)
            if not is_own and not is_anonymous(request):
                raise RequestRefusedError("From Is Not Your Address", status=403)
        return user

    def bridge_began(self, bridge: Bridge) -> None:
        """Keep a call."""
        self._calls[bridge.id] = bridge

    def bridge_ended(self, bridge: Bridge) -> None:
        """Forget a call."""
        self._calls.pop(bridge.id, None)
        if not self._calls:
            idle, self._idle = self._idle, []
            for deferred in idle:
                deferred.callback(None)

    def _explained(self, session: Session, text: str) -> None:
        user: object = session.user
        if isinstance(user, Bridge):
            user.session_explained(session, text)

    def _replacement_broke(self, failure: Failure, call: IncomingCall) -> None:
        self._log.failure("a call that replaces another one broke", failure)
        call.reject(500)

    def _broken(self, failure: Failure, reception: Reception) -> None:
        """A bug: the call is over, and the traceback says where to look. The caller is not left without an answer."""
        self._log.failure("call {call} broke", failure, call=reception.bridge.id)
        reception.call.reject(500)
        self.bridge_ended(reception.bridge)
