"""How a call that comes in is taken: who calls, where it goes, and what the caller is answered if nobody does.

RFC 3261 sections 8.2, 13.3 and 16.7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.b2bua.asking import CallerAsking
from sipd.b2bua.bridge import Bridge
from sipd.b2bua.dialogue import Dialogue
from sipd.b2bua.hunt import Hunt
from sipd.b2bua.leg import Content
from sipd.b2bua.reasons import reason_values
from sipd.b2bua.refusals import Refusal
from sipd.errors import LocalError, RemoteError, RequestRefusedError, ResourcesExhaustedError
from sipd.interfaces import RoutingRequest
from sipd.sdp.negotiation import Carrier
from sipd.sip.headers import Headers
from sipd.sip.validation import find_spent_hops
from sipd.ua.bodies import find_description

if TYPE_CHECKING:
    from sipd.b2bua.service import B2bua
    from sipd.sdp.description import SessionDescription
    from sipd.ua.incoming import IncomingCall


class Reception:
    """One call that comes in.

    Args:
        b2bua: who takes it.
        call: the caller's session.

    Attributes:
        bridge: the call.
        offer: what the caller offers, without codecs that may not be used; ``None`` where the callee is to offer (RFC
            3261 section 13.2.1).
    """

    def __init__(self, b2bua: B2bua, call: IncomingCall) -> None:
        self.call = call
        self.bridge = Bridge(b2bua, call.invite, call.transaction.flow)
        self.bridge.expect(self.bridge.caller, call)
        self.offer: SessionDescription | None = None
        self._b2bua = b2bua
        #: What the router is asked as long as nobody has proved who calls.
        self._asked: RoutingRequest | None = None

    def refuse(self, refusal: Refusal, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Answer the caller with an error, and note it; one that has left already knows no better."""
        if self.call.is_over:
            self.bridge.given_up(next((event for leg, event in self.bridge.inbox if leg is self.bridge.caller), None))
            return
        caller, response = self.bridge.caller, refusal.response
        content = Content(Headers(headers), b"") if response is None else caller.content(response, None)
        told, fields = caller.refusal(refusal, content.headers)
        if told is not refusal:
            said = f"{refusal.status} {refusal.account} is told as {told.status} {told.reason}"
            self.bridge.explain("status", said, caller.name)
        if response is not None and told.status < 400:
            content.headers.copy_lines(response.headers, "Contact")
        self.bridge.record.status, self.bridge.record.reason = told.status, told.account
        self.bridge.record.reasons = reason_values(response)
        self.bridge.ended("callee" if response is not None else "sipd", refusal.cause, f"{told.status} {told.account}")
        self.call.reject(told.status, told.reason, fields, content.body)

    async def run(self) -> None:
        """Take the call from here to its end."""
        failure: RemoteError | LocalError | None = None
        user: str | None = None
        try:
            user = await self._identify()
        except RequestRefusedError as error:
            if error.status in (401, 407):
                # Not a call yet: the caller is asked who it is, and nothing is kept of the question.
                self.call.reject(error.status, error.reason, error.headers)
                self._b2bua.bridge_ended(self.bridge)
                return
            failure = error
        except (RemoteError, LocalError) as error:
            failure = error
        self._begin(user)
        try:
            if failure is not None:
                raise failure
            await self._connect()
        except RequestRefusedError as error:
            self.refuse(Refusal(error.status, error.reason, None, "refused"), error.headers)
        except ResourcesExhaustedError as error:
            self.bridge.explain("exhausted", str(error))
            self.refuse(Refusal(503, "Out Of Resources", None, "exhausted"), (("Retry-After", "10"),))
        except (RemoteError, LocalError) as error:
            self.bridge.explain("failed", str(error))
            self.refuse(Refusal.of_own(error))
        finally:
            await self.bridge.finish()

    async def _identify(self) -> str | None:
        """Check whether the call may be taken at all, and who calls; ``None`` where the route does not ask."""
        refused = self._b2bua.refusal(self.call.invite) or find_spent_hops(self.call.invite)
        if refused is not None:
            raise refused
        self._asked = asked = self._ask(None)
        if self._b2bua.gate is not None:
            self._b2bua.gate.call_offered(asked)
        if not self._b2bua.router.needs_authentication(asked):
            return None
        return await self._b2bua.authenticate(self.call.invite)

    def _begin(self, user: str | None) -> None:
        """From here on there is a call."""
        bridge, flow = self.bridge, self.call.transaction.flow
        bridge.begin(user)
        bridge.record.caller_identity = bridge.caller.side.proved(self.call.invite)
        bridge.hold_leg(bridge.caller, self.call)
        source = f"{flow.host}:{flow.port} over {flow.transport.value} at {flow.point.name}"
        bridge.explain("received", f"{self.call.invite.method} {self.call.invite.uri_text} from {source}", "a")
        bridge.explain("authenticated", f"as {user}" if user else "not asked for by the route", "a")

    def _ask(self, user: str | None) -> RoutingRequest:
        return self._b2bua.asked(self.call.invite, self.call.transaction.flow, user, self.bridge.record.started_at)

    async def _connect(self) -> None:
        """Find somebody who answers, and let both talk until one hangs up.

        What was needed to find the callee is not held while they talk.
        """
        dialogue = await self._find_callee()
        if dialogue is not None:
            await dialogue.run()

    async def _find_callee(self) -> Dialogue | None:
        user = self.bridge.record.user
        asked, self._asked = self._asked, None
        if asked is None or user is not None:
            asked = self._ask(user)
        self.bridge.record.trunk = asked.trunk or ""
        route = await self._b2bua.router.route(asked)
        self.bridge.record.route, self.bridge.record.aor = route.name, route.aor or ""
        self.call.credentials, self.bridge.caller.dtmf = route.caller_credentials, route.caller_dtmf
        policy = route.caller_policy or self.bridge.policy_of(asked)
        if policy is not None:
            self.bridge.caller.side.use(policy)
            self.bridge.explain_policy(self.bridge.caller)
            self.bridge.caller.follow_policy(self.call)
        route = self.bridge.admit(asked, route)
        self.bridge.explain("routed", route.name)
        negotiation = self.bridge.caller.negotiation
        negotiation.receive(Carrier.INVITE, find_description(self.call.invite))
        self.offer = negotiation.offer
        self.bridge.prepare_media(self.bridge.caller)
        asker = CallerAsking(self)
        if await Hunt(self.bridge, route, asker).run() is None:
            return None
        self.bridge.dialogue = Dialogue.of_answered(self.bridge, asker)
        self.bridge.bound(route)
        return self.bridge.dialogue
