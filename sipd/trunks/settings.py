"""What is known of a trunk, as values."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import Enum

from sipd.errors import LocalError
from sipd.interfaces import Credentials, Dtmf, EarlyMedia, MediaPolicy
from sipd.policies import LegPolicy
from sipd.sip.uri import SipUri
from sipd.ua.registering import RegistrationSettings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class NumberFormat(Enum):
    """How a trunk wants numbers that all the world knows."""

    #: As they are when they come here.
    AS_IS = "as-is"
    #: ``+4930123456``
    PLUS = "plus"
    #: ``4930123456``
    E164 = "e164"
    #: ``030123456`` in its own country.
    NATIONAL = "national"

    __hash__ = object.__hash__


class OperatorState(Enum):
    """What an operator wants of a trunk."""

    UP = "up"
    #: No new calls go out by it, and it is unregistered, so that no more come. Those that come all the same are known.
    DRAIN = "drain"
    #: The same, nobody asks whether it is there, and what comes from it is as what comes from strangers.
    DOWN = "down"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class TrunkServer:
    """One place that calls go to.

    Args:
        uri: found by RFC 3263.
        weight: its share of the calls, against those of the other servers that are up; one of weight 0 has calls only
            while no other one is up.
    """

    uri: SipUri
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """How it is found out which servers are up.

    Args:
        interval: seconds between two OPTIONS to each server, of which up to a fifth is left out by chance; 0 for none.
        failures: so many in a row, of OPTIONS or of calls, and it is down.
        successes: so many in a row, and it is up again.
        up_statuses: answers to OPTIONS that show that it can take calls.
        recovery: without OPTIONS, seconds after which one that is down is tried by calls again.
    """

    interval: float = 30.0
    failures: int = 3
    successes: int = 2
    up_statuses: frozenset[int] = frozenset(range(200, 500))
    recovery: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkSettings:
    """One trunk.

    Args:
        name: for routes, logs and records.
        servers: where calls go; without any they go to the registrar that has the binding.
        domain: the host of the request URI of calls; by default that of the address of record that is registered, or
            the server's own.
        credentials: for challenges of its side.
        registration: what to register there, and where; ``None`` for a trunk that knows where we are.
        needs_registration: whether no calls go out by it while nothing is bound.
        networks: that calls by it come from.
        certificate_names: names in certificates, of which its side proves to have one.
        users: names of users, of which its side proves to be one.
        health: how it is found out which servers are up.
        number_format: how it wants numbers.
        caller: the user part of From of all calls by it; ``None`` for what the caller says.
        trusted: whether it is in the trust domain (RFC 3325).
        policy: what else is wanted of its legs.
        codecs: those that may be used with it; any if empty.
        media: how its media is relayed; ``None`` for the default.
        early_media: what callers are told of media before the answer.
        dtmf: how it wants digits.
        timeout: seconds until an unanswered attempt is given up.
        response_timeout: the same for one that not even a provisional response came to; ``None`` for no such bound.
        stops: statuses that end the whole search.
        redirects: contacts of a 3xx that are tried in its place, at most.
        point: the listening point, and so the certificate, that calls, registers and asks whether servers are there; by
            default the one that reaches them.

    Raises:
        LocalError: there is nowhere to go.
    """

    name: str
    servers: tuple[TrunkServer, ...] = ()
    domain: str = ""
    credentials: Credentials | None = field(default=None, repr=False)
    registration: RegistrationSettings | None = None
    needs_registration: bool = True
    networks: tuple[Network, ...] = ()
    certificate_names: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    health: HealthSettings = field(default_factory=HealthSettings)
    number_format: NumberFormat = NumberFormat.AS_IS
    caller: str | None = None
    trusted: bool = False
    policy: LegPolicy | None = None
    codecs: tuple[str, ...] = ()
    media: MediaPolicy | None = None
    early_media: EarlyMedia = EarlyMedia.PASS
    dtmf: Dtmf = Dtmf.PASS
    timeout: float = 60.0
    response_timeout: float | None = None
    stops: frozenset[int] = frozenset()
    redirects: int = 0
    point: str = ""

    def __post_init__(self) -> None:
        """Check that calls have somewhere to go."""
        if not self.servers and self.registration is None:
            raise LocalError(f"Trunk {self.name} has neither a server nor a registrar")

    @property
    def places(self) -> tuple[TrunkServer, ...]:
        """Where calls go: the servers, or else the registrars, of which the one that has the binding is taken."""
        if self.servers or self.registration is None:
            return self.servers
        return tuple(TrunkServer(registrar) for registrar in self.registration.registrars)
