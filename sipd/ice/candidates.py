"""The arithmetic of candidates and pairs: RFC 8445 sections 5.1 and 6.1.2.

Foundations are numbers given in order of appearance, so that they tell nobody an address.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sipd.sdp.candidates import CANDIDATE_LIMIT, Address, Candidate, CandidateKind, canonical_host

#: RFC 8445 section 5.1.2.2.
TYPE_PREFERENCES = {
    CandidateKind.HOST: 126,
    CandidateKind.PEER_REFLEXIVE: 110,
    CandidateKind.SERVER_REFLEXIVE: 100,
    CandidateKind.RELAYED: 0,
}
#: The highest local preference: what an agent with one address gives it (section 5.1.2.1).
MAX_LOCAL_PREFERENCE = 65535
_TYPE_SHIFT = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCandidate:
    """A candidate of our own.

    Args:
        candidate: what the other side is told.
        base: the address that datagrams are sent from: that of the socket, or the relayed one of an allocation. It is
            what the effect `sipd.ice.effects.Send` names, and what a datagram has come to.
    """

    candidate: Candidate
    base: Address


def priority_of(kind: CandidateKind, component: int, local_preference: int = MAX_LOCAL_PREFERENCE) -> int:
    """Give the priority of a candidate: RFC 8445 section 5.1.2.1.

    Args:
        kind: how it was found.
        component: 1 to 256.
        local_preference: 0 to 65535; higher is better.

    Raises:
        ValueError: a number is out of its range.
    """
    if not 1 <= component <= 256 or not 0 <= local_preference <= MAX_LOCAL_PREFERENCE:
        raise ValueError("component or local preference out of range")
    return (TYPE_PREFERENCES[kind] << _TYPE_SHIFT) + (local_preference << 8) + 256 - component


def peer_reflexive_priority(priority: int) -> int:
    """Give the priority that a peer-reflexive candidate of the same base would have: RFC 8445 section 7.1.1.

    It is never 0, which no candidate has.
    """
    return TYPE_PREFERENCES[CandidateKind.PEER_REFLEXIVE] << _TYPE_SHIFT | priority & (1 << _TYPE_SHIFT) - 1


def pair_priority(controlling: int, controlled: int) -> int:
    """Give the priority of a pair of the controlling and the controlled side's candidates: section 6.1.2.3."""
    return (min(controlling, controlled) << 32) + 2 * max(controlling, controlled) + (controlling > controlled)


class Gathering:
    """Makes candidates out of addresses that somebody has found, for one stream.

    Alike candidates get the same foundation: those of one kind, of bases with the same host, found by the same server
    (RFC 8445 section 5.1.1.3). One of the same address and base as another is left out if its priority is lower
    (section 5.1.3). There are at most 64: the others are left out, those of lowest priority first.
    """

    def __init__(self) -> None:
        self._foundations: dict[tuple[CandidateKind, str, str], str] = {}
        self._found: list[LocalCandidate] = []

    @property
    def candidates(self) -> tuple[LocalCandidate, ...]:
        """All candidates, the best first."""
        return tuple(without_redundant(self._found)[:CANDIDATE_LIMIT])

    def add_host(self, address: Address, component: int, *, local_preference: int = MAX_LOCAL_PREFERENCE) -> None:
        """Add the address of a socket."""
        self._add(CandidateKind.HOST, address, component, address, None, "", local_preference)

    def add_server_reflexive(
        self,
        address: Address,
        component: int,
        *,
        base: Address,
        server: str,
        local_preference: int = MAX_LOCAL_PREFERENCE,
    ) -> None:
        """Add the address as which a STUN server, known by its numeric host, has seen that socket."""
        self._add(CandidateKind.SERVER_REFLEXIVE, address, component, base, base, server, local_preference)

    def add_relayed(
        self,
        address: Address,
        component: int,
        *,
        mapped: Address | None,
        server: str,
        local_preference: int = MAX_LOCAL_PREFERENCE,
    ) -> None:
        """Add the address that a TURN server, known by its numeric host, has allocated to who it saw as ``mapped``."""
        self._add(CandidateKind.RELAYED, address, component, address, mapped, server, local_preference)

    def _add(
        self,
        kind: CandidateKind,
        address: Address,
        component: int,
        base: Address,
        related: Address | None,
        server: str,
        local_preference: int,
    ) -> None:
        if len(self._found) >= 4 * CANDIDATE_LIMIT:
            self._found = list(self.candidates)
        key = (kind, canonical_host(base[0]), canonical_host(server))
        candidate = Candidate(
            foundation=self._foundations.setdefault(key, str(len(self._foundations) + 1)),
            component=component,
            priority=priority_of(kind, component, local_preference),
            host=canonical_host(address[0]),
            port=address[1],
            kind=kind,
            related=related,
        )
        self._found.append(LocalCandidate(candidate=candidate, base=canonical(base)))


def without_redundant(candidates: Iterable[LocalCandidate]) -> list[LocalCandidate]:
    """Give candidates in order of priority, each address with its base only once: RFC 8445 section 5.1.3."""
    found: dict[tuple[int, Address, Address], LocalCandidate] = {}
    for each in sorted(candidates, key=lambda local: -local.candidate.priority):
        found.setdefault((each.candidate.component, each.candidate.address, each.base), each)
    return list(found.values())


def usable(candidate: Candidate) -> bool:
    """Say whether a remote candidate is worth a check, whatever it would be paired with.

    It is of UDP and a numeric address that one host can have, with a port: names of mDNS are not looked up, and
    nobody is to be made send to a group, to everybody or to port 0.
    """
    address = candidate.numeric_host
    return (
        candidate.transport == "udp"
        and candidate.port > 0
        and address is not None
        and not address.is_multicast
        and not address.is_unspecified
        and str(address) != "255.255.255.255"
    )


def can_be_paired(local: Candidate, remote: Candidate) -> bool:
    """Say whether two candidates make a pair: RFC 8445 section 6.1.2.2.

    They are of the same component and version of IP, and link-local addresses of IPv6 meet only their like.
    """
    one, other = local.numeric_host, remote.numeric_host
    return (
        one is not None
        and other is not None
        and local.component == remote.component
        and one.version == other.version
        and (one.version == 4 or one.is_link_local == other.is_link_local)
    )


def canonical(address: Address) -> Address:
    """Give an address whose host is written in the usual form."""
    return (canonical_host(address[0]), address[1])


def as_base(local: LocalCandidate) -> LocalCandidate:
    """Give what a server-reflexive candidate counts as in a pair: its base, since that is what sends (6.1.2.4)."""
    if local.candidate.kind is not CandidateKind.SERVER_REFLEXIVE:
        return local
    host, port = local.base
    return replace(local, candidate=replace(local.candidate, host=host, port=port))
