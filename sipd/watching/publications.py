"""Publications: a user's PUBLISH is kept here, or goes to whom it is for (RFC 3903).

Presence and mailboxes of users of ours are kept (`sipd.watching.published`). What a route leads elsewhere is carried,
whatever its package, and its entity-tags cross: they belong to who keeps the state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.logger import Logger
from zope.interface import implementer

from sipd.b2bua.delivery import Delivery
from sipd.b2bua.errand import Errand
from sipd.b2bua.headers import body_fields
from sipd.b2bua.outside import OutsideRequests, content_of, peer_of, status_of
from sipd.b2bua.refusals import Refusal
from sipd.errors import RemoteError, RequestRefusedError
from sipd.interfaces import IRequestHandler, IServerTransaction
from sipd.sip.event_requests import ExpiryBounds, event_of
from sipd.sip.grammar import printable
from sipd.sip.headers import Fields, Headers
from sipd.sip.message import Request, Response
from sipd.watching.packages import user_of
from sipd.watching.published import Publication

if TYPE_CHECKING:
    from sipd.b2bua.service import B2bua
    from sipd.watching.published import PublishedStates

#: What stays on its leg in a call, but is said of the publication here.
_OF_THE_PUBLICATION = frozenset(("expires", "accept", "accept-encoding"))
_EXPIRES = frozenset(("expires",))


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedKind:
    """A package that users of ours publish here.

    Args:
        content_type: of the states.
        may_publish: says whether a user (the first name) may publish for another one.
    """

    content_type: str
    may_publish: Callable[[str, str], bool]


@implementer(IRequestHandler)
class Publications(OutsideRequests):
    """Keeps or carries each PUBLISH.

    Args:
        b2bua: whose user agent, router and authenticator serve publications, too.
        states: where they are kept.
        kinds: what is kept, by package.
        expiry: how long they live.
        max_size_octets: of a body that is kept; a larger one is refused with 413.
        max_pending: requests at a time that are not answered yet; further ones are answered with 503.
    """

    _log = Logger()

    what = "publication"

    def __init__(
        self,
        b2bua: B2bua,
        *,
        states: PublishedStates,
        kinds: Mapping[str, PublishedKind],
        expiry: ExpiryBounds,
        max_size_octets: int = 16384,
        max_pending: int = 1000,
    ) -> None:
        super().__init__(b2bua, max_pending=max_pending)
        self._states = states
        self._kinds = kinds
        self.expiry = expiry
        self.max_size_octets = max_size_octets

    async def take(self, transaction: IServerTransaction) -> None:
        """See `OutsideRequests`."""
        steps: tuple[str, ...] = ()
        headers: Fields = ()
        body = b""
        try:
            user = await self.identify(transaction)
            event = event_of(transaction.request, ", ".join(sorted(self._kinds)))
            route = await self.route(transaction, user)
            steps = route.considered
            if route.aor is not None:
                status, reason = 200, "OK"
                headers = self._keep(transaction.request, event.package, user, route.aor)
            elif route.refusal is not None:
                status, reason = route.refusal
            else:
                delivery = Delivery(self.b2bua.agent)
                identities = self.identities(transaction, user)
                errand = Errand(self.b2bua.agent, transaction.request, identities, _OF_THE_PUBLICATION)
                outcome = await delivery.run(errand, route.rounds)
                steps = (*steps, *delivery.notes)
                status, reason = status_of(outcome)
                content, body = content_of(outcome)
                headers = Headers(content)
                if isinstance(outcome, Response):
                    headers.copy_only(outcome.headers, _EXPIRES)
        except RequestRefusedError as error:
            status, reason, headers = error.status, error.reason, error.headers
        except RemoteError as error:
            status, reason = status_of(Refusal.of_own(error))
        self.respond(transaction, status, reason, headers, body)
        if status >= 300 and status not in (401, 407):
            self._explain(transaction, f"{status} {reason}", steps)

    def _keep(self, request: Request, package: str, publisher: str | None, aor: str) -> Fields:
        """Keep what is published for a user of ours; give what the 200 says (RFC 3903 section 6).

        Raises:
            RequestRefusedError: it is not taken.
        """
        kind = self._kinds.get(package)
        if kind is None:
            known = ", ".join(sorted(self._kinds))
            raise RequestRefusedError("Bad Event", status=489, headers=(("Allow-Events", known),))
        user = user_of(aor)
        if publisher is None or not kind.may_publish(publisher, user):
            raise RequestRefusedError("Not Yours To Publish", status=403)
        seconds = self.expiry.of(request)
        publication = self._publication(request, kind)
        if_match = request.headers.get("SIP-If-Match")
        if if_match is not None:
            tag = self._states.renew(package, user, if_match, publication, seconds)
        elif publication is not None:
            tag = self._states.publish(package, user, publication, seconds)
        else:
            raise RequestRefusedError("Nothing To Publish", status=400)
        return (("SIP-ETag", tag), ("Expires", str(seconds)))

    def _publication(self, request: Request, kind: PublishedKind) -> Publication | None:
        if not request.body:
            return None
        if request.content_type != kind.content_type or "Content-Encoding" in request.headers:
            headers = (("Accept", kind.content_type), ("Accept-Encoding", "identity"))
            raise RequestRefusedError("Unsupported Media Type", status=415, headers=headers)
        if len(request.body) > self.max_size_octets:
            raise RequestRefusedError("Request Entity Too Large", status=413)
        return Publication(headers=body_fields(request.headers), body=request.body)

    def _explain(self, transaction: IServerTransaction, outcome: str, steps: tuple[str, ...]) -> None:
        """Say in one line of the log what was not taken, and why. What is taken comes again and again."""
        request = transaction.request
        self._log.info(
            "publication of {caller} for {callee}: {description}",
            caller=printable(str(request.from_.uri)),
            callee=printable(request.uri_text),
            description=printable("; ".join((outcome, *steps)), 500),
            call_id=request.call_id,
            peer=peer_of(transaction),
        )
