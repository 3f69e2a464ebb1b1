"""A registration of our own, kept alive (RFC 3261 section 10.2; RFC 3327, RFC 3608; RFC 5626 section 4.4.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed

from sipd.errors import LocalError, RegistrationError, RemoteError, TransactionTimeoutError
from sipd.interfaces import IFlow
from sipd.sip.dialog import Dialog, DialogState
from sipd.sip.fields import NameAddr
from sipd.sip.framing import PING
from sipd.sip.headers import Headers
from sipd.sip.identifiers import new_call_id, new_tag
from sipd.sip.locate import targets_for_size
from sipd.sip.message import Request, Response
from sipd.sip.registrant import Bound, Event, Failure, Register, Registrant
from sipd.sip.registrant import Failed as InVain
from sipd.sip.uri import SipUri
from sipd.ua.failover import ask_in_turn
from sipd.ua.lease import Lease
from sipd.ua.registering import (
    Expired,
    Failed,
    Refreshed,
    Registered,
    RegistrationEvent,
    RegistrationRefusedError,
    RegistrationSettings,
    Unregistered,
    Watcher,
    granted_time,
    read_bindings,
    read_failure,
    read_service_route,
)

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python import failure

    from sipd.ua.core import UserAgent

#: Which part of the interval of keep-alives is left to chance.
_JITTER = 0.2


class _Place:
    """One registrar, and what is between it and us."""

    __slots__ = ("bound_until", "contact", "dialog", "flow", "nonce_counts", "request", "uri")

    def __init__(self, uri: SipUri, dialog: Dialog) -> None:
        self.uri = uri
        #: A registration is none, but has a Call-ID, numbers and credentials like one (sections 10.2 and 22.3).
        self.dialog = dialog
        self.nonce_counts: dict[str, int] = {}
        #: The last REGISTER, its Contact, and what it left on.
        self.contact = ""
        self.flow: IFlow | None = None
        self.request: Request | None = None
        self.bound_until = 0.0


class Registration(Lease[RegistrationEvent]):
    """Binds one contact of ours to an address of record, and keeps it bound until it is stopped.

    Args:
        agent: sends the requests.
        settings: what to register, and where.
        watch: told of each event; returns soon and does not raise.

    Attributes:
        contact_user: the user part of the Contact: requests that come in by the binding have it in their URI.
        flow: what the binding was made on, while there is one.
        bindings: as in the last `Registered`.
        service_route: as there: of the registrar that has granted the present binding.
        failure: why the last request failed; ``None`` after one that did not.
    """

    def __init__(self, agent: UserAgent, settings: RegistrationSettings, watch: Watcher | None = None) -> None:
        if not settings.registrars:
            raise LocalError("A registration needs a registrar")
        entropy = agent.entropy
        super().__init__(agent, Registrant(len(settings.registrars), settings.timing, entropy), watch)
        self.settings = settings
        self.contact_user = settings.contact_user or entropy(16).hex()
        self.flow: IFlow | None = None
        self.bindings: tuple[NameAddr, ...] = ()
        self.service_route: tuple[str, ...] = ()
        uri = settings.uri or SipUri(settings.aor.host, scheme=settings.aor.scheme)
        self._places = [
            _Place(registrar, _dialog(settings.aor, uri, new_call_id(entropy), new_tag(entropy)))
            for registrar in settings.registrars
        ]
        #: The last final response that was no success.
        self._refusal: Response | None = None
        self._ping: IDelayedCall | None = None

    # --- for the application --------------------------------------------------------------------------------

    @property
    def is_registered(self) -> bool:
        """Whether there is a binding."""
        return self._is_held

    @property
    def registrar(self) -> SipUri | None:
        """The registrar that has granted the present binding."""
        bound = self._machine.bound
        return None if bound is None else self._places[bound].uri

    def when_registered(self) -> Deferred[None]:
        """Give a Deferred that fires when there is a binding, which may be now.

        Fails with `RegistrationRefusedError` if every registrar refuses it in a way that does not pass by itself, and
        with `RegistrationError` if it is stopped. (After a refusal it is tried on, and may be asked for again.)
        Cancelling it changes nothing else.
        """
        if self.is_registered:
            return succeed(None)
        return self._await()

    # --- what the machine wants -----------------------------------------------------------------------------

    def _ask(self, effect: Register) -> None:
        place = self._places[effect.registrar]
        asking = self._asking = Deferred.fromCoroutine(self._send(place, effect.expires))
        if not effect.is_last:
            asking.addTimeout(self.settings.patience, self._agent.clock, _no_answer)
        asking.addCallbacks(self._answered, self._failed, callbackArgs=(place, effect.expires))

    def _answered(self, response: Response, place: _Place, asked: int) -> None:
        self._asking = None
        self._refusal = None
        granted = 0.0
        if response.is_success:
            own = NameAddr.parse(place.contact).uri
            granted = granted_time(response, own, self.contact_user, asked)
        if granted > 0:
            self._lasts_until = place.bound_until = self._agent.clock.seconds() + granted
            self._take(response, place)
            self._feed(Event.GRANTED, granted)
        else:
            self._refusal = response
            self._feed(Event.FAILED, read_failure(response, has_credentials=self.settings.credentials is not None))

    def _failed(self, reason: failure.Failure) -> None:
        self._refusal = None
        super()._failed(reason)

    def _take(self, response: Response, place: _Place) -> None:
        """Keep what a 2xx says beside the time."""
        self.failure = None
        self.flow = place.flow
        self.bindings = read_bindings(response)
        self.service_route = read_service_route(response)

    def _bound(self, effect: Bound) -> None:
        self._keep_alive()
        kind = Registered if effect.is_new else Refreshed
        self._tell(
            kind(
                registrar=self._places[effect.registrar].uri,
                expires=effect.expires,
                bindings=self.bindings,
                service_route=self.service_route,
            )
        )
        self._satisfy()

    def _refused(self, effect: InVain) -> None:
        reason = self.failure = effect.failure
        registrar = self._places[effect.registrar].uri
        self._tell(Failed(registrar=registrar, status=reason.status, text=reason.text, next_try=effect.wait))
        if effect.is_refusal:
            self._disappoint(_refused(reason, self._places[effect.registrar].request, self._refusal))

    def _lost(self) -> None:
        self._forget()
        self._tell(Expired())

    def _leave(self) -> None:
        """Remove the bindings of every registrar that may still have one, all at once."""
        now = self._agent.clock.seconds()
        asking = [
            Deferred.fromCoroutine(self._send(place, 0)).addCallbacks(_is_gone, _is_not_gone)
            for place in self._places
            if place.bound_until > now
        ]
        self._is_confirmed = False
        leaving = self._leaving = gatherResults(asking)
        leaving.addCallback(self._gone)

    def _gone(self, outcomes: list[bool]) -> None:
        self._leaving = None
        self._is_confirmed = all(outcomes)
        self._feed(Event.GONE)

    def _over(self) -> None:
        self._tell(Unregistered(is_confirmed=self._is_confirmed))

    def _end_error(self) -> RegistrationError:
        return RegistrationError("The registration has been stopped")

    def _forget(self) -> None:
        self.flow, self.bindings, self.service_route = None, (), ()
        self._stop_keep_alive()

    # --- the way to the registrar ---------------------------------------------------------------------------

    async def _send(self, place: _Place, expires: int) -> Response:
        """Send one REGISTER to a registrar, wherever that is, and give its final response.

        Raises:
            RemoteError: there is none.
        """
        agent, dialog = self._agent, place.dialog
        fields = Headers([("Expires", str(expires))])
        agent.add_capabilities(fields)
        fields.set("Supported", ", ".join(sorted({*fields.tokens("Supported"), "path"})))
        own = Headers(self.settings.headers)
        if "Allow" in own:
            fields.remove("Allow")
        fields.extend(own)
        request = dialog.request("REGISTER", fields)
        targets = await agent.resolver.locate(place.uri)
        if self.settings.point:
            targets = [replace(target, point=self.settings.point) for target in targets]

        async def send(flow: IFlow, heard: Callable[[Response], None] | None) -> Response:
            attempt = request.copy()
            if request.cseq.number < dialog.local_sequence:
                # Another target of the same registrar has had that number.
                attempt.headers.set("CSeq", f"{dialog.next_number()} REGISTER")
            if expires or not place.contact:
                place.flow, place.contact = flow, self._contact(flow, request)
            attempt.headers.add("Contact", place.contact)
            place.request = attempt.copy()
            return await agent.ask(attempt, flow, self.settings.credentials, place.nonce_counts, dialog, heard)

        return await ask_in_turn(agent, targets_for_size(targets, len(request.to_bytes())), send)

    def _contact(self, flow: IFlow, request: Request) -> str:
        return self._agent.contact(flow, SipUri(self.settings.aor.host, self.contact_user), request)

    def _keep_alive(self) -> None:
        self._stop_keep_alive()
        if self.settings.keepalive:
            chance = self._agent.entropy(1)[0] / 256
            wait = self.settings.keepalive * (1 - _JITTER * chance)
            self._ping = self._agent.clock.callLater(wait, self._pinged)

    def _stop_keep_alive(self) -> None:
        ping, self._ping = self._ping, None
        if ping is not None:
            ping.cancel()

    def _pinged(self) -> None:
        self._ping = None
        if self.flow is not None and self.flow.is_open:
            self.flow.send(PING)
            self._keep_alive()
        else:
            self.refresh()


def _dialog(aor: SipUri, uri: SipUri, call_id: str, tag: str) -> Dialog:
    return Dialog(
        call_id=call_id,
        local=NameAddr(aor).with_tag(tag),
        remote=NameAddr(aor),
        local_sequence=0,
        remote_sequence=None,
        remote_target=uri,
        route_set=(),
        contact="",
        is_secure=False,
        state=DialogState.EARLY,
    )


def _refused(reason: Failure, request: Request | None, response: Response | None) -> RegistrationError:
    if request is None or response is None:
        return RegistrationError(reason.text, status=reason.status)
    return RegistrationRefusedError(reason.text, request=request, response=response)


def _is_gone(response: Response) -> bool:
    return response.is_success


def _is_not_gone(reason: failure.Failure) -> bool:
    reason.trap(RemoteError, LocalError, CancelledError)
    return False


def _no_answer(_: object, timeout: float) -> NoReturn:
    raise TransactionTimeoutError(f"No answer within {timeout:g} s")
