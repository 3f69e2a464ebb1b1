"""A network address translator for simulations, by the terms of RFC 4787."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from sipd.testing.links import Address


class Dependence(Enum):
    """What a mapping or a filter looks at (RFC 4787 sections 4.1 and 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"

    def part(self, remote: Address) -> tuple[str, int]:
        """Give the part of a remote address that counts."""
        if self is Dependence.ENDPOINT_INDEPENDENT:
            return ("", 0)
        return (remote[0], 0) if self is Dependence.ADDRESS_DEPENDENT else remote


@dataclass(slots=True, kw_only=True)
class _Binding:
    inner: Address
    port: int
    used_at: float
    permitted: dict[Address, float] = field(default_factory=dict)


class Nat:
    """Translates the datagrams and connections of the hosts behind it.

    Args:
        address: the one public address.
        seconds: tells the time.
        mapping: which destinations share a public port. Only `ADDRESS_AND_PORT_DEPENDENT` is a "symmetric" NAT.
        filtering: who may send to a public port.
        timeout: seconds after which a binding that sent nothing is gone. A connection keeps its binding while it lives.
        counts_inbound: whether datagrams that come in keep a binding alive, too (RFC 4787 section 4.3 leaves it open).
        first_port: the first public port given; each binding takes the next one.
    """

    def __init__(
        self,
        address: str,
        seconds: Callable[[], float],
        *,
        mapping: Dependence = Dependence.ENDPOINT_INDEPENDENT,
        filtering: Dependence = Dependence.ADDRESS_AND_PORT_DEPENDENT,
        timeout: float = 60.0,
        counts_inbound: bool = False,
        first_port: int = 40000,
    ) -> None:
        self.address = address
        self._seconds = seconds
        self._mapping = mapping
        self._filtering = filtering
        self._timeout = timeout
        self._counts_inbound = counts_inbound
        self._next_port = first_port
        self._by_inner: dict[tuple[Address, Address], _Binding] = {}
        self._by_port: dict[int, _Binding] = {}

    def outbound(self, source: Address, remote: Address) -> Address:
        """Give the public source of a datagram that leaves, making or refreshing its binding."""
        now = self._seconds()
        key = (source, self._mapping.part(remote))
        binding = self._by_inner.get(key)
        if binding is None or now - binding.used_at > self._timeout:
            if binding is not None:
                del self._by_port[binding.port]
            binding = _Binding(inner=source, port=self.take_port(), used_at=now)
            self._by_inner[key] = self._by_port[binding.port] = binding
        binding.used_at = now
        binding.permitted[self._filtering.part(remote)] = now
        return (self.address, binding.port)

    def inbound(self, port: int, remote: Address) -> Address | None:
        """Give the inner address that a datagram to a public port goes to, or ``None`` if it is filtered."""
        binding = self._by_port.get(port)
        if binding is None:
            return None
        permitted_at = binding.permitted.get(self._filtering.part(remote))
        if permitted_at is None or self._seconds() - permitted_at > self._timeout:
            return None
        if self._counts_inbound:
            binding.used_at = binding.permitted[self._filtering.part(remote)] = self._seconds()
        return binding.inner

    def take_port(self) -> int:
        """Give a public port that nothing uses: for a new binding or a connection."""
        port = self._next_port
        self._next_port += 1
        return port
