"""The registrar: answers REGISTER (RFC 3261 section 10.3, RFC 3327)."""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.errors import LocalError, RemoteError, RequestRefusedError
from sipd.interfaces import (
    Entropy,
    IAuthenticator,
    IFlow,
    IRegistrationObserver,
    IRequestHandler,
    IServerTransaction,
)
from sipd.registrar.bindings import RegistrarSettings, print_contact, read_registration
from sipd.registrar.location import LocationService
from sipd.sip.grammar import unescape
from sipd.sip.identifiers import new_tag
from sipd.sip.locate import Target
from sipd.sip.message import Request, Response
from sipd.sip.uri import SipUri, Uri

#: Characters of the longest AOR: what every database takes as a key.
MAX_AOR_LENGTH = 255


@implementer(IRequestHandler)
class Registrar:
    """Lets users bind contacts to their own address of record.

    A user's AORs are ``sip:USER@DOMAIN`` for each domain that is served. Require and the like are the core's to check.

    Args:
        domains: hosts that are served, as they stand in To.
        realm: to challenge for.
        authenticator: says who sent a request.
        location: where bindings live.
        settings: the bounds; may be replaced.
        clock: its seconds are those of the wall clock.
        entropy: for To tags.
        observer: told of refusals; the location service tells it of the rest.
    """

    _log = Logger()

    #: RFC 3327: Path is kept with the binding.
    extensions = frozenset(("path",))

    def __init__(
        self,
        *,
        domains: Iterable[str],
        realm: str,
        authenticator: IAuthenticator,
        location: LocationService,
        settings: RegistrarSettings,
        clock: IReactorTime,
        entropy: Entropy,
        observer: IRegistrationObserver | None = None,
    ) -> None:
        self._domains = frozenset(_host(SipUri(domain)) for domain in domains)
        self._realm = realm
        self._authenticator = authenticator
        self._location = location
        self.settings = settings
        self._clock = clock
        self._entropy = entropy
        self._observer = observer

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IRequestHandler`."""
        Deferred.fromCoroutine(self._answer(transaction)).addErrback(self._fail, transaction)

    async def _answer(self, transaction: IServerTransaction) -> None:
        request, flow = transaction.request, transaction.flow
        try:
            response = await self._register(request, flow)
        except RequestRefusedError as refusal:
            response = self._refuse(request, flow, refusal, refusal.headers)
        except RemoteError as error:
            response = self._refuse(request, flow, error)
        transaction.respond(response)

    async def _register(self, request: Request, flow: IFlow) -> Response:
        """Take the steps of section 10.3, in its order."""
        aor = self._served_aor(request, flow)
        user = await self._authenticator.authenticate(request, self._realm, proxy=False)
        if unescape(aor.user or "") != user:
            raise RequestRefusedError("This address of record belongs to somebody else", status=403)
        registration = read_registration(
            request,
            aor=aor.address_of_record(),
            settings=self.settings,
            source=_source(flow),
            point=flow.point.name,
        )
        bindings = self._location.register(registration, max_contacts=self.settings.max_contacts)
        now = self._clock.seconds()
        headers = [("Contact", print_contact(binding, now)) for binding in bindings]
        headers += [("Path", value) for value in registration.path]
        headers.append(("Date", _date(int(now))))
        return request.response(200, to_tag=new_tag(self._entropy), headers=headers)

    def _served_aor(self, request: Request, flow: IFlow) -> SipUri:
        """Give the To URI (section 10.3 step 5); the request URI must name a domain of ours, or us (step 1).

        Raises:
            RequestRefusedError: with 404.
        """
        point = flow.point
        host = _host(request.uri)
        if host not in self._domains and host not in (_host(SipUri(point.host)), _host(SipUri(point.advertised_host))):
            raise RequestRefusedError("This domain is not served here", status=404)
        uri = request.to.uri
        if not isinstance(uri, SipUri) or uri.user is None or _host(uri) not in self._domains:
            raise RequestRefusedError("No such address of record here", status=404)
        if len(uri.address_of_record()) > MAX_AOR_LENGTH:
            raise RequestRefusedError("Address of record too long", status=404)
        return uri

    def _refuse(
        self, request: Request, flow: IFlow, error: RemoteError, headers: tuple[tuple[str, str], ...] = ()
    ) -> Response:
        if error.status not in (401, 407) and self._observer is not None:
            self._observer.registration_refused(_shown_aor(request), _source(flow), error.status, error.reason)
        return request.response(error.status, error.reason, to_tag=new_tag(self._entropy), headers=headers)

    def _fail(self, failure: Failure, transaction: IServerTransaction) -> None:
        """Answer 500: a credential store that is out of reach, or a bug."""
        if failure.check(LocalError):
            self._log.error("REGISTER failed: {error}", error=failure.value)
        else:
            self._log.failure("REGISTER failed", failure)
        if not transaction.is_answered:
            transaction.respond(transaction.request.response(500, to_tag=new_tag(self._entropy)))


def _host(uri: Uri) -> str:
    """Give what two URIs of the same host have in common."""
    return SipUri(uri.host).address_of_record() if isinstance(uri, SipUri) else ""


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def _source(flow: IFlow) -> Target:
    return Target(transport=flow.transport, host=flow.host, port=flow.port, point=flow.point.name)


def _shown_aor(request: Request) -> str:
    uri = request.to.uri
    return uri.address_of_record() if isinstance(uri, SipUri) else str(uri)
