"""All trunks: which one a call comes from, and how a call goes out by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, gatherResults
from zope.interface import implementer

from sipd.errors import LocalError
from sipd.interfaces import Attempt, ITrunks, RoutingRequest
from sipd.sip.locate import Target
from sipd.sip.uri import SipUri, Uri
from sipd.trunks.identification import CertificateNames, Networks, read_address
from sipd.trunks.interfaces import ITrunkObserver
from sipd.trunks.settings import OperatorState, TrunkSettings
from sipd.trunks.status import TrunkStatus
from sipd.trunks.trunk import NumberWriter, Trunk
from sipd.ua.registering import RegistrationEvent

if TYPE_CHECKING:
    from sipd.ua.core import UserAgent


@implementer(ITrunks)
class Trunks:
    """The trunks there are. `start` them when the listening points are open.

    Args:
        agent: sends REGISTER and OPTIONS.
        settings: of each, in order; `configure` replaces them.
        write_number: writes a number as a trunk wants it.
        observers: watch them.
    """

    def __init__(
        self,
        agent: UserAgent,
        settings: Iterable[TrunkSettings] = (),
        *,
        write_number: NumberWriter = lambda number, settings: number,
        observers: Sequence[ITrunkObserver] = (),
    ) -> None:
        self._agent = agent
        self._observer = TrunkObservers(observers)
        self._write_number = write_number
        self._trunks: dict[str, Trunk] = {}
        self._is_started = False
        self._leaving: set[Deferred[None]] = set()
        #: Trunks that are none any more, and are not unregistered yet.
        self._gone: list[Trunk] = []
        self._take(settings)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._trunks)

    def __contains__(self, name: object) -> bool:
        """Whether there is one of that name."""
        return name in self._trunks

    def start(self) -> None:
        """Register, and begin to ask whether servers are there."""
        self._is_started = True
        for trunk in self._trunks.values():
            trunk.start()

    def stop(self) -> Deferred[None]:
        """Unregister everywhere at once; the Deferred fires when that is done, each within the limit that is set."""
        self._is_started = False
        ending = [*self._leaving, *[trunk.stop() for trunk in self._trunks.values()]]
        return gatherResults([_outcome(one) for one in ending]).addCallback(lambda _: None)

    def close(self) -> None:
        """Stop everything at once, without a word to anybody."""
        self._is_started = False
        for trunk in [*self._trunks.values(), *self._gone]:
            trunk.close()

    def configure(self, settings: Iterable[TrunkSettings], write_number: NumberWriter | None = None) -> None:
        """Let these trunks be there from now on: others are unregistered and gone, new ones begin.

        Calls that go on are not touched. What the operator wants of a trunk, and what is known of its servers, stays.

        Raises:
            LocalError: two have the same name. Everything stays as it was.
        """
        if write_number is not None:
            self._write_number = write_number
        self._take(settings)

    def settings(self, name: str) -> TrunkSettings:
        """Give what is known of a trunk.

        Raises:
            KeyError: there is no such trunk.
        """
        return self._trunks[name].settings

    def set_state(self, name: str, state: OperatorState) -> Deferred[None]:
        """Do what an operator wants of a trunk; the Deferred fires when that is done, unregistering included.

        Raises:
            KeyError: there is no such trunk.
        """
        changing = self._trunks[name].set_state(state)
        self._note_leaving(changing)
        return _outcome(changing)

    def describe(self) -> tuple[TrunkStatus, ...]:
        """Say how each is, in order."""
        return tuple(trunk.status() for trunk in self._trunks.values())

    # --- ITrunks --------------------------------------------------------------------------------------------

    def identify(
        self, source: Target, peer_names: Sequence[str], uri: Uri | None = None, user: str | None = None
    ) -> str | None:
        """See `ITrunks`. What the request says of its sender does not count.

        The first of these decides: a certificate; the contact of a registration, which nobody else knows; the longest
        network; who has proved to be one of its users. If that is of several trunks it is none.

        Args:
            source: where it comes from.
            peer_names: what the certificate proves.
            uri: the request URI; ``None`` where that is not known.
            user: who it has proved to be.
        """
        if not self._trunks:
            return None
        for names in (
            self._certificates.find(peer_names),
            self._registered_as(uri),
            self._networks.find(source.host),
            self._users.get(user or "", ()),
        ):
            known = [name for name in names if self._trunks[name].state is not OperatorState.DOWN]
            if known:
                return known[0] if len(known) == 1 else None
        return None

    def has_address(self, host: str) -> bool:
        """Say whether a numeric address is one that calls of a trunk come from, or where one is registered."""
        return bool(self._trunks) and bool(self._networks.find(host) or self._registered_at(host))

    def attempt(self, name: str, number: str, request: RoutingRequest) -> Attempt | str:
        """See `ITrunks`."""
        return self._trunks[name].attempt(number)

    def attempt_ended(
        self, name: str, status: int, server: Uri | None = None, retry_after: float | None = None
    ) -> None:
        """See `ITrunks`. A trunk that is not there any more does not mind.

        Args:
            name: of the trunk.
            status: of the final response; 0 if none came.
            server: the ``next_hop`` of the attempt; ``None`` where that is not known.
            retry_after: seconds that the response asks for.
        """
        trunk = self._trunks.get(name)
        if trunk is not None:
            trunk.call_ended(status, server, retry_after)

    def _registered_as(self, uri: Uri | None) -> Sequence[str]:
        user = uri.user if isinstance(uri, SipUri) else None
        return [name for name, trunk in self._trunks.items() if trunk.contact_user == user] if user else ()

    def _registered_at(self, host: str) -> Sequence[str]:
        address = read_address(host)
        return [
            name
            for name, trunk in self._trunks.items()
            if trunk.registrar_host and read_address(trunk.registrar_host) == address
        ]

    # --- coming and going -----------------------------------------------------------------------------------

    def _take(self, settings: Iterable[TrunkSettings]) -> None:
        ordered = tuple(settings)
        wanted = {one.name: one for one in ordered}
        if len(wanted) < len(ordered):
            raise LocalError("Each trunk needs a name of its own")
        before, self._trunks = self._trunks, {}
        for name, trunk in before.items():
            if name not in wanted:
                self._gone.append(trunk)
                self._note_leaving(trunk.stop().addCallback(lambda _, gone: self._gone.remove(gone), trunk))
        for name, one in wanted.items():
            known = before.get(name)
            if known is not None:
                self._note_leaving(known.configure(one, self._write_number))
                self._trunks[name] = known
                continue
            self._trunks[name] = Trunk(self._agent, one, self._observer, self._write_number)
            if self._is_started:
                self._trunks[name].start()
        self._networks = Networks((network, one.name) for one in ordered for network in one.networks)
        self._certificates = CertificateNames((name, one.name) for one in ordered for name in one.certificate_names)
        self._users: dict[str, list[str]] = {}
        for one in ordered:
            for user in one.users:
                self._users.setdefault(user, []).append(one.name)

    def _note_leaving(self, leaving: Deferred[None]) -> None:
        """Wait for it at the end, if it has not come by then."""
        if not leaving.called:
            self._leaving.add(leaving)
            leaving.addCallback(lambda _: self._leaving.discard(leaving))


@implementer(ITrunkObserver)
class TrunkObservers:
    """Several observers, told in order.

    Args:
        observers: who is told.
    """

    def __init__(self, observers: Sequence[ITrunkObserver]) -> None:
        self._observers = tuple(observers)

    def server_changed(self, trunk: str, server: SipUri, reason: str, *, is_up: bool) -> None:
        """See `ITrunkObserver`."""
        for observer in self._observers:
            observer.server_changed(trunk, server, reason, is_up=is_up)

    def server_rests(self, trunk: str, server: SipUri, seconds: float) -> None:
        """See `ITrunkObserver`."""
        for observer in self._observers:
            observer.server_rests(trunk, server, seconds)

    def registration_changed(self, trunk: str, event: RegistrationEvent) -> None:
        """See `ITrunkObserver`."""
        for observer in self._observers:
            observer.registration_changed(trunk, event)

    def operator_set(self, trunk: str, state: OperatorState) -> None:
        """See `ITrunkObserver`."""
        for observer in self._observers:
            observer.operator_set(trunk, state)


def _outcome(done: Deferred[None]) -> Deferred[None]:
    """Give another Deferred of the same outcome."""
    other: Deferred[None] = Deferred()
    done.addCallback(lambda _: other.callback(None))
    return other
