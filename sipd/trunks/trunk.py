"""One trunk: its servers, its registration, and the attempts that call by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from sipd.interfaces import Attempt
from sipd.sip.fields import NameAddr
from sipd.sip.locate import Target
from sipd.sip.uri import SipUri, Uri
from sipd.trunks.interfaces import ITrunkObserver
from sipd.trunks.servers import Servers
from sipd.trunks.settings import OperatorState, TrunkServer, TrunkSettings
from sipd.trunks.status import RegistrationStatus, TrunkStatus
from sipd.ua.registering import RegistrationEvent, RegistrationSettings
from sipd.ua.registration import Registration

if TYPE_CHECKING:
    from sipd.ua.core import UserAgent

#: Writes a number as a trunk wants it.
NumberWriter = Callable[[str, TrunkSettings], str]


class Trunk:
    """A peer that calls go to and come from.

    Args:
        agent: sends REGISTER and OPTIONS.
        settings: what is known of it.
        observer: told of each change.
        write_number: writes numbers as it wants them.

    Attributes:
        contact_user: calls that come by its registration have this user in their URI; empty without a registration.
        state: what the operator wants; `set_state` changes it.
        registration: ``None`` while there is none to be.
    """

    def __init__(
        self, agent: UserAgent, settings: TrunkSettings, observer: ITrunkObserver, write_number: NumberWriter
    ) -> None:
        self.settings = settings
        self.state = OperatorState.UP
        self.contact_user = ""
        self.registration: Registration | None = None
        self._agent = agent
        self._observer = observer
        self._write_number = write_number
        self._servers = Servers(agent, settings, observer, self._server_came_up)
        self._is_started = False
        #: Those that are being removed.
        self._leaving: list[Registration] = []
        self._name_contact()

    def start(self) -> None:
        """Register, and begin to ask whether the servers are there."""
        self._is_started = True
        self._carry_out()

    def stop(self) -> Deferred[None]:
        """Unregister, and ask no more; the Deferred fires when that is done, within the limit that is set."""
        self._is_started = False
        self._servers.stop()
        return self._unregister()

    def close(self) -> None:
        """Stop at once, without a word."""
        self._is_started = False
        self._servers.stop()
        registration, self.registration = self.registration, None
        for one in [*self._leaving, *([] if registration is None else [registration])]:
            one.close()

    def configure(self, settings: TrunkSettings, write_number: NumberWriter) -> Deferred[None]:
        """Let other settings hold for what begins from now on; what the operator wants and what is known stays.

        The Deferred fires when what was registered, and is not any more, is unregistered.
        """
        before, self.settings, self._write_number = self.settings, settings, write_number
        if before == settings:
            return succeed(None)
        self._servers.configure(settings)
        if before.registration == settings.registration:
            return succeed(None)
        self._name_contact()
        gone = self._unregister()
        self._carry_out()
        return gone

    def set_state(self, state: OperatorState) -> Deferred[None]:
        """Do what an operator wants; the Deferred fires when that is done, unregistering included."""
        if state is self.state:
            return succeed(None)
        self.state = state
        self._observer.operator_set(self.settings.name, state)
        return self._carry_out()

    # --- calls ----------------------------------------------------------------------------------------------

    @property
    def registrar_host(self) -> str:
        """The numeric address of the registrar that has the binding; empty without one."""
        flow = None if self.registration is None else self.registration.flow
        return "" if flow is None else flow.host

    def attempt(self, number: str) -> Attempt | str:
        """Give the attempt that calls a number, or a user, or in a few words why there can be none now.

        Args:
            number: the user part of a URI, as it stands in one.
        """
        obstacle = self._obstacle()
        if obstacle:
            return obstacle
        server = self._servers.choose(self._registrar())
        if server is None:
            return self._servers.explain()
        settings = self.settings
        route_set = () if self.registration is None else self.registration.service_route
        return Attempt(
            uri=self._uri(self._write_number(number, settings), server),
            label=f"trunk {settings.name}",
            route_set=route_set,
            source=self._source(route_set),
            next_hop=None if route_set else server.uri,
            credentials=settings.credentials,
            timeout=settings.timeout,
            response_timeout=settings.response_timeout,
            stops=settings.stops,
            redirects=settings.redirects,
            trunk=settings.name,
            point=settings.point,
            early_media=settings.early_media,
            codecs=settings.codecs,
            trusted=settings.trusted,
            media=settings.media,
            dtmf=settings.dtmf,
            policy=settings.policy,
            caller=settings.caller,
        )

    def call_ended(self, status: int, server: Uri | None, retry_after: float | None) -> None:
        """Take note of what became of an attempt; see `Servers.call_ended`."""
        self._servers.call_ended(status, server or self._registrar(), retry_after)

    def status(self) -> TrunkStatus:
        """Say how it is."""
        registration = self.registration
        found = None
        if registration is not None:
            found = RegistrationStatus(
                state=registration.state,
                aor=registration.settings.aor,
                contact_user=registration.contact_user,
                registrar=registration.registrar,
                expires=registration.expires,
                bindings=len(registration.bindings),
                service_route=registration.service_route,
                failure="" if registration.failure is None else registration.failure.text,
            )
        servers = self._servers.status()
        obstacle = self._obstacle()
        if not obstacle and not any(one.is_up and not one.rests for one in servers):
            obstacle = self._servers.explain()
        return TrunkStatus(
            name=self.settings.name, state=self.state, obstacle=obstacle, servers=servers, registration=found
        )

    def _obstacle(self) -> str:
        """Say why no call goes out, whichever server there is."""
        if self.state is not OperatorState.UP:
            return f"the operator has set it to {self.state.value}"
        registration = self.registration
        if self.settings.registration is None or not self._needs_registration():
            return ""
        if registration is None or not registration.is_registered:
            failure = None if registration is None else registration.failure
            return "not registered" if failure is None else f"not registered: {failure.text}"
        return ""

    def _needs_registration(self) -> bool:
        """Without servers of its own it does in any case: nobody else says which registrar calls go to."""
        return self.settings.needs_registration or not self.settings.servers

    def _registrar(self) -> SipUri | None:
        """Give the registrar that calls have to go to; ``None`` if there are servers for them."""
        return None if self.settings.servers or self.registration is None else self.registration.registrar

    def _uri(self, number: str, server: TrunkServer) -> SipUri:
        settings = self.settings
        if settings.domain:
            return SipUri(settings.domain, number, scheme=server.uri.scheme)
        if settings.registration is not None:
            aor = settings.registration.aor
            return SipUri(aor.host, number, aor.port, scheme=server.uri.scheme)
        parameters = {name: value for name, value in server.uri.parameters.items() if name != "lr"}
        return server.uri.replace(user=number, parameters=parameters, headers=())

    def _source(self, route_set: tuple[str, ...]) -> Target | None:
        """Give the connection of the registration, for calls that go to the same place: it is there already.

        Over UDP there is nothing to be gained, and what comes later in a call has to go where the peer says.
        """
        registration = self.registration
        flow = None if registration is None else registration.flow
        if registration is None or flow is None or not flow.transport.is_reliable or not flow.is_open:
            return None
        if self.settings.servers and not route_set:
            return None
        if route_set:
            first = NameAddr.parse(route_set[0]).uri
            registrar = registration.registrar
            hosts = {flow.host, registrar.host if registrar is not None else ""}
            if not isinstance(first, SipUri) or first.host not in hosts:
                return None
        return Target(transport=flow.transport, host=flow.host, port=flow.port, point=flow.point.name)

    # --- what it does ---------------------------------------------------------------------------------------

    def _carry_out(self) -> Deferred[None]:
        """Do what state and settings want."""
        if not self._is_started:
            return succeed(None)
        if self.state is OperatorState.DOWN:
            self._servers.stop()
        else:
            self._servers.start()
        if self.state is not OperatorState.UP:
            return self._unregister()
        self._register()
        return succeed(None)

    def _name_contact(self) -> None:
        settings = self.settings.registration
        if settings is None:
            self.contact_user = ""
        else:
            self.contact_user = settings.contact_user or self.contact_user or self._agent.entropy(16).hex()

    def _register(self) -> None:
        settings: RegistrationSettings | None = self.settings.registration
        if settings is not None and self.registration is None and not self._is_leaving(settings.registrars):
            named = replace(settings, contact_user=self.contact_user)
            self.registration = Registration(self._agent, named, self._registration_changed)
            self.registration.start()

    def _unregister(self) -> Deferred[None]:
        registration, self.registration = self.registration, None
        if registration is None:
            return succeed(None)
        self._leaving.append(registration)
        return registration.stop().addCallback(self._left, registration)

    def _is_leaving(self, registrars: tuple[SipUri, ...]) -> bool:
        """Say whether the same contact is being removed at one of these: what comes there last would hold."""
        return any(not set(registrars).isdisjoint(one.settings.registrars) for one in self._leaving)

    def _left(self, _: None, registration: Registration) -> None:
        self._leaving.remove(registration)
        if self._is_started and self.state is OperatorState.UP:
            self._register()

    def _registration_changed(self, event: RegistrationEvent) -> None:
        self._observer.registration_changed(self.settings.name, event)

    def _server_came_up(self) -> None:
        """The way there is open again: no need to wait until it is time to register."""
        if self.registration is not None and not self.registration.is_registered:
            self.registration.refresh()
