"""What the kernel says about addresses and interfaces: rtnetlink(7) and netdevice(7), in the namespace of the thread.

Each function raises `MediaEngineError` with one line that says what is not known.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from sipd.errors import MediaEngineError

_HEADER = struct.Struct("=IHHII")
_ERROR, _DONE = 2, 3
_NEW_ADDRESS, _GET_ADDRESS, _NEW_ROUTE, _GET_ROUTE = 20, 22, 24, 26
_REQUEST, _DUMP = 0x1, 0x300

#: struct rtmsg, struct ifaddrmsg, struct rtattr
_ROUTE = struct.Struct("=BBBBBBBBI")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")

_ROUTE_DESTINATION, _ROUTE_SOURCE, _ROUTE_INTERFACE, _ROUTE_METRICS = 1, 2, 4, 8
_METRIC_MTU = 2
_ADDRESS_ADDRESS, _ADDRESS_LOCAL = 1, 2

#: The size of the largest part of an answer of the kernel.
_PART = 65536
#: How many parts an answer may have; one has some dozens of addresses.
_PARTS_LIMIT = 4096
#: Seconds that the kernel has for an answer. It answers at once.
_PATIENCE = 2.0

_SIOCGIFMTU = 0x8921
_SIOCGIFHWADDR = 0x8927
_INTERFACE_NAME_SIZE = 16


class InterfaceKind(IntEnum):
    """Kinds of interfaces whose packets begin with an Ethernet header; there are others."""

    ETHERNET = 1
    LOOPBACK = 772


class RouteKind(IntEnum):
    """Where a route ends: behind a neighbour or in this machine; there are others."""

    UNICAST = 1
    LOCAL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The way to an address.

    Args:
        kind: a `RouteKind`, or another number.
        interface: the index of that on which packets leave.
        mtu: the size of the largest IP packet that goes that way.
    """

    kind: int
    interface: int
    mtu: int


def route_to(destination: str, source: str) -> Route:
    """Find the way from one of our addresses to another one; both numeric and of one version of IP."""
    where = f"route from {source} to {destination}"
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    target, origin = socket.inet_pton(family, destination), socket.inet_pton(family, source)
    bits = 8 * len(target)
    request = _ROUTE.pack(family, bits, bits, 0, 0, 0, 0, 0, 0)
    request += _attribute(_ROUTE_DESTINATION, target) + _attribute(_ROUTE_SOURCE, origin)
    for body in _ask(_GET_ROUTE, _REQUEST, request, _NEW_ROUTE, where):
        attributes = dict(_attributes(body, _ROUTE.size))
        if len(attributes.get(_ROUTE_INTERFACE, b"")) == 4:
            interface = _number(attributes[_ROUTE_INTERFACE])
            metrics = dict(_attributes(attributes.get(_ROUTE_METRICS, b""), 0))
            mtu = interface_mtu(interface)
            if len(metrics.get(_METRIC_MTU, b"")) == 4:
                mtu = min(mtu, _number(metrics[_METRIC_MTU]) or mtu)
            return Route(kind=body[7], interface=interface, mtu=mtu)
    raise MediaEngineError(f"no {where}")


def interface_with(host: bytes) -> str:
    """Give the name of the interface that has a local address, given as its octets.

    All addresses of a network of the loopback interface are local (127.0.0.0/8), not only the one that it lists.
    """
    address = ipaddress.ip_address(host)
    family = socket.AF_INET if len(host) == 4 else socket.AF_INET6
    request = _ADDRESS.pack(family, 0, 0, 0, 0)
    for body in _ask(_GET_ADDRESS, _REQUEST | _DUMP, request, _NEW_ADDRESS, f"interface with the address {address}"):
        _, prefix, _, _, index = _ADDRESS.unpack_from(body)
        attributes = dict(_attributes(body, _ADDRESS.size))
        local = attributes.get(_ADDRESS_LOCAL) or attributes.get(_ADDRESS_ADDRESS)
        if local is None or len(local) != len(host):
            continue
        if local == host:
            return _name(index)
        network = ipaddress.ip_network((local, prefix), strict=False)
        if address in network and address.is_loopback and interface_kind(_name(index)) == InterfaceKind.LOOPBACK:
            return _name(index)
    raise MediaEngineError(f"no interface has the address {address}")


def interface_index(name: str) -> int:
    """Give the index of an interface."""
    try:
        return socket.if_nametoindex(name)
    except (OSError, ValueError) as error:
        raise MediaEngineError(f"there is no interface {name!r}") from error


def interface_kind(name: str) -> int:
    """Give the kind of an interface: an `InterfaceKind`, or another number (``ARPHRD_...``)."""
    (kind,) = struct.unpack_from("=H", _request(_SIOCGIFHWADDR, name), _INTERFACE_NAME_SIZE)
    return int(kind)


def interface_mtu(index: int) -> int:
    """Give the size of the largest IP packet that an interface sends."""
    (mtu,) = struct.unpack_from("=i", _request(_SIOCGIFMTU, _name(index)), _INTERFACE_NAME_SIZE)
    return int(mtu)


def _request(command: int, name: str) -> bytes:
    """Ask for a property of an interface."""
    request = struct.pack(f"{_INTERFACE_NAME_SIZE}s24x", name.encode()[: _INTERFACE_NAME_SIZE - 1])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            return fcntl.ioctl(asked, command, request)
    except OSError as error:
        raise MediaEngineError(f"interface {name}: {error.strerror}") from error


def _name(index: int) -> str:
    """Give the name of an interface."""
    try:
        return socket.if_indextoname(index)
    except OSError as error:
        raise MediaEngineError(f"there is no interface {index} any more") from error


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "little")


def _attribute(kind: int, value: bytes) -> bytes:
    """Print an attribute; the values used here need no padding."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


def _attributes(octets: bytes, position: int) -> Iterator[tuple[int, bytes]]:
    """Give the kinds and values of the attributes from a position on."""
    while position + _ATTRIBUTE.size <= len(octets):
        size, kind = _ATTRIBUTE.unpack_from(octets, position)
        if size < _ATTRIBUTE.size:
            return
        yield kind, octets[position + _ATTRIBUTE.size : position + size]
        position += (size + 3) & ~3


def _ask(command: int, flags: int, request: bytes, answer: int, what: str) -> Iterator[bytes]:
    """Ask the kernel, and give the bodies of its answers."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asked:
            asked.settimeout(_PATIENCE)
            asked.send(_HEADER.pack(_HEADER.size + len(request), command, flags, 1, 0) + request)
            for _ in range(_PARTS_LIMIT):
                part = asked.recv(_PART)
                for kind, body in _messages(part):
                    if kind == _ERROR and len(body) >= 4 and (code := struct.unpack_from("=i", body)[0]):
                        raise MediaEngineError(f"no {what}: {os.strerror(-code)}")
                    if kind in (_ERROR, _DONE):
                        return
                    if kind == answer:
                        yield body
                if not flags & _DUMP:
                    return
    except OSError as error:
        raise MediaEngineError(f"no {what}: {error.strerror or error}") from error


def _messages(part: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the kinds and bodies of the messages in a part of an answer."""
    position = 0
    while position + _HEADER.size <= len(part):
        size, kind, _, _, _ = _HEADER.unpack_from(part, position)
        if size < _HEADER.size:
            return
        yield kind, part[position + _HEADER.size : position + size]
        position += (size + 3) & ~3
