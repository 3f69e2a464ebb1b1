"""Tells the kernel which RTP to forward.

The sockets of user space stay bound underneath: what the kernel does not forward comes up on them, and so does
everything as soon as a flow is removed. What the kernel forwards passes by netfilter, by rp_filter and by the packet
sockets that see what is sent to us; the exact match of source and destination takes their place.

Everything is in the network namespace of the thread that calls, and nothing is pinned to a file system: programs, map
and flows go when the process goes.
"""

from __future__ import annotations

import os
import platform
import sys

from sipd.errors import MediaEngineError
from sipd.media.kernel import routes
from sipd.media.kernel.entries import (
    KEY_SIZE,
    VALUE_SIZE,
    Flow,
    FlowCounters,
    FlowKey,
    pack_host,
    pack_key,
    pack_value,
    unpack_counters,
)
from sipd.media.kernel.program import build
from sipd.media.kernel.syscalls import SystemCall

#: bpf_redirect_neigh and the rest need no licence but our own.
_LICENSE = "MIT"


class KernelForwarder:
    """Flows that the kernel forwards, and the interfaces on which it looks for them.

    Args:
        max_flows: how many flows there can be at once, a direction each; about 300 octets of kernel memory for each.

    Raises:
        MediaEngineError: the system cannot do it, or this process may not.
    """

    def __init__(self, *, max_flows: int = 16384) -> None:
        if (reason := _explain_platform()) is not None:
            raise MediaEngineError(reason)
        self._bpf = SystemCall()
        self._max_flows = max_flows
        self._flows: set[bytes] = set()
        #: Index and link of each interface.
        self._links: dict[str, tuple[int, int]] = {}
        self._map = self._bpf.create_map(
            name="sipd_flows", key_size_octets=KEY_SIZE, value_size_octets=VALUE_SIZE, entries_limit=max_flows
        )
        try:
            self._program = self._bpf.load_program(
                name="sipd_forward", instructions=build(self._map), license_name=_LICENSE
            )
        except MediaEngineError:
            os.close(self._map)
            raise

    def __len__(self) -> int:
        """Count the flows."""
        return len(self._flows)

    def __str__(self) -> str:
        interfaces = ", ".join(self._links) or "no interface yet"
        return (
            f"RTP forwarded by the kernel ({platform.release()}, TCX) on {interfaces}, at most {self._max_flows} flows"
        )

    def attach(self, interface: str) -> None:
        """Look for flows in what an interface receives. An interface that is attached stays so.

        Raises:
            MediaEngineError: there is no such interface, or it has no Ethernet header.
        """
        index = routes.interface_index(interface)
        link = self._links.get(interface)
        if link is not None:
            if link[0] == index:
                return
            os.close(link[1])  # the interface of that name is another one now
            del self._links[interface]
        kind = routes.interface_kind(interface)
        if kind not in tuple(routes.InterfaceKind):
            raise MediaEngineError(f"interface {interface} is of kind {kind}, not Ethernet")
        self._links[interface] = index, self._bpf.link_program(self._program, index)

    def interface_of(self, host: str) -> str:
        """Say which interface has a local address, which is where packets to it should come in.

        What this machine sends to itself comes in on the loopback interface, whatever the address.

        Raises:
            MediaEngineError: none has, or the address is not numeric.
        """
        try:
            return routes.interface_with(pack_host(host))
        except ValueError as error:
            raise MediaEngineError(str(error)) from error

    def add(self, flow: Flow) -> None:
        """Forward a flow from now on. One with the same key is replaced, and its counters begin anew.

        The interface is that of the present route to ``new_destination``; after a change of routes, add the flow again.

        Raises:
            MediaEngineError: the flow cannot be forwarded by the kernel, or there is no room. Nothing has changed.
        """
        try:
            key = pack_key(flow.key)
            pack_key((flow.new_source, flow.new_destination))
            route = routes.route_to(flow.new_destination[0], flow.new_source[0])
            value = pack_value(flow, interface=route.interface, mtu=route.mtu)
        except ValueError as error:
            raise MediaEngineError(f"not a flow for the kernel: {error}") from error
        if route.kind not in tuple(routes.RouteKind):
            raise MediaEngineError(f"{flow.new_destination[0]} is no address of one machine")
        if key not in self._flows and len(self._flows) >= self._max_flows:
            raise MediaEngineError(f"there are {self._max_flows} flows, which is the limit")
        self._bpf.update_element(self._map, key, value)
        self._flows.add(key)

    def counters(self, key: FlowKey) -> FlowCounters | None:
        """Give what was counted of a flow, or ``None`` if there is no such flow.

        Packets that are being forwarded at this moment may be counted in part.
        """
        packed = _pack_key(key)
        if packed not in self._flows:
            return None
        value = self._bpf.look_up(self._map, packed, VALUE_SIZE)
        return None if value is None else unpack_counters(value)

    def remove(self, key: FlowKey) -> FlowCounters | None:
        """Forward a flow no more, and give what was counted of it, or ``None`` if there is no such flow."""
        packed = _pack_key(key)
        if packed not in self._flows:
            return None
        value = self._bpf.take_element(self._map, packed, VALUE_SIZE)
        self._flows.discard(packed)
        return None if value is None else unpack_counters(value)

    def close(self) -> None:
        """Forward nothing any more. Nothing else may be called afterwards but this."""
        for _, link in self._links.values():
            os.close(link)
        self._links.clear()
        self._flows.clear()
        for descriptor in (self._program, self._map):
            if descriptor >= 0:
                os.close(descriptor)
        self._program = self._map = -1


def explain_unavailable() -> str | None:
    """Say in one line why RTP cannot be forwarded by the kernel here, or give ``None`` if it can be.

    It tries, and leaves nothing behind.
    """
    if (reason := _explain_platform()) is not None:
        return reason
    try:
        if (reason := SystemCall().explain_unsupported()) is not None:
            return reason
        KernelForwarder(max_flows=1).close()
    except MediaEngineError as error:
        return str(error)
    return None


def _explain_platform() -> str | None:
    """Say what is wrong before anything is tried."""
    if platform.system() != "Linux":
        return f"there is no TCX on {platform.system()}, only in Linux"
    if sys.byteorder != "little":
        return f"the program is not made for the order of octets of {platform.machine()}"
    return None


def _pack_key(key: FlowKey) -> bytes | None:
    """Give the octets of a key; ``None`` for what can be the key of no flow."""
    try:
        return pack_key(key)
    except ValueError:
        return None
