"""bpf(2) by ctypes: maps, programs, links (Linux 6.6 or newer).

Each method raises `MediaEngineError` with one line that says what could not be done and why. Descriptors are closed
by ``os.close``; what no process has a descriptor of is gone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from enum import IntEnum
from typing import NoReturn

from sipd.errors import MediaEngineError

#: The number of bpf(2) by ``platform.machine()``: the C library has no function of that name.
_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "i686": 357, "armv7l": 386}

#: More than every form of ``union bpf_attr`` used here; what follows the known fields has to be zeros.
_ATTRIBUTES_SIZE = 128

_MAP_TYPE_HASH = 1
_PROGRAM_TYPE_SCHED_CLS = 3
_NAME_SIZE = 16
_LOG_SIZE = 1 << 20
_LOG_VERBOSE = 1

#: Where a program sits: on what an interface received, before the kernel looks at it.
TCX_INGRESS = 46


class _Command(IntEnum):
    """The first argument of bpf(2)."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    PROG_QUERY = 16
    MAP_LOOKUP_AND_DELETE_ELEM = 21
    LINK_CREATE = 28


#: R0 = 0, exit.
_DO_NOTHING = bytes.fromhex("b700000000000000 9500000000000000")


class SystemCall:
    """bpf(2), with a method for each thing it is used for."""

    def __init__(self) -> None:
        self._number = _NUMBERS.get(platform.machine())
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long
        self._syscall.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.c_ulong]

    def create_map(self, *, name: str, key_size_octets: int, value_size_octets: int, entries_limit: int) -> int:
        """Create a hash map with room for all its entries from the start; give its descriptor."""
        attributes = struct.pack("<IIIIIII", _MAP_TYPE_HASH, key_size_octets, value_size_octets, entries_limit, 0, 0, 0)
        return self._demand(_Command.MAP_CREATE, attributes + _name(name), f"create a map of {entries_limit} entries")

    def update_element(self, map_descriptor: int, key: bytes, value: bytes) -> None:
        """Add or replace an entry."""
        octets, element = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
        attributes = _element(map_descriptor, octets, element)
        self._demand(_Command.MAP_UPDATE_ELEM, attributes, "add to a map")

    def look_up(self, map_descriptor: int, key: bytes, value_size_octets: int) -> bytes | None:
        """Give a copy of an entry, if there is one."""
        return self._fetch(_Command.MAP_LOOKUP_ELEM, map_descriptor, key, value_size_octets)

    def take_element(self, map_descriptor: int, key: bytes, value_size_octets: int) -> bytes | None:
        """Delete an entry, and give what it was when it was deleted, if there was one (Linux 5.14)."""
        return self._fetch(_Command.MAP_LOOKUP_AND_DELETE_ELEM, map_descriptor, key, value_size_octets)

    def keys(self, map_descriptor: int, key_size_octets: int, limit: int) -> list[bytes]:
        """Give the keys of all entries, in no order; at most ``limit``."""
        found: list[bytes] = []
        current: ctypes.Array[ctypes.c_char] | None = None
        while len(found) < limit:
            following = ctypes.create_string_buffer(key_size_octets)
            attributes = _element(map_descriptor, current, following)
            result, error = self._call(_Command.MAP_GET_NEXT_KEY, attributes)
            if result < 0:
                if error != errno.ENOENT:
                    _refuse("read a map", error)
                break
            found.append(following.raw)
            current = following
        return found

    def load_program(self, *, name: str, instructions: bytes, license_name: str) -> int:
        """Have the kernel verify a program for traffic control, and give its descriptor.

        Raises:
            MediaEngineError: it is refused. The text ends with the reason of the kernel's verifier, if it gives one.
        """
        result, error = self._try_to_load(name, instructions, license_name, None)
        if result >= 0:
            return result
        # The log costs the kernel time and is wanted only of a program that was refused.
        log = ctypes.create_string_buffer(_LOG_SIZE)
        result, error = self._try_to_load(name, instructions, license_name, log)
        if result >= 0:
            return result
        _refuse(f"load the program {name}", error, _reason(log.value))

    def link_program(self, program: int, interface_index: int) -> int:
        """Attach a program to what an interface receives, behind those that are there.

        Returns:
            The descriptor of the link. It is not pinned: with its last descriptor the program is detached, however the
            process ends.
        """
        attributes = struct.pack("<IIII", program, interface_index, TCX_INGRESS, 0)
        return self._demand(_Command.LINK_CREATE, attributes, f"attach to interface {interface_index}")

    def count_programs(self, interface_index: int) -> int:
        """Count the programs attached to what an interface receives, whoever attached them."""
        attributes = ctypes.create_string_buffer(struct.pack("<II", interface_index, TCX_INGRESS), _ATTRIBUTES_SIZE)
        result, error = self._invoke(_Command.PROG_QUERY, attributes)
        if result < 0:
            _refuse(f"query interface {interface_index}", error)
        # struct query: target, attach_type, query_flags, attach_flags, prog_ids (64 bits), count
        return int(struct.unpack_from("<I", attributes.raw, 24)[0])

    def explain_unsupported(self) -> str | None:
        """Say in one line why there is no TCX here, or give ``None``. Changes nothing.

        A link to an interface that cannot exist is refused because of the interface where there is TCX, and because of
        the kind of the link where there is none.
        """
        if self._number is None:
            return f"bpf(2) is not known on {platform.system()} {platform.machine()}"
        program = self.load_program(name="sipd_probe", instructions=_DO_NOTHING, license_name="MIT")
        try:
            result, error = self._call(_Command.LINK_CREATE, struct.pack("<IIII", program, 0x7FFFFFFF, TCX_INGRESS, 0))
        finally:
            os.close(program)
        if result >= 0:
            os.close(result)
        elif error != errno.ENODEV:
            return f"no TCX in Linux {platform.release()} ({os.strerror(error)}); it needs 6.6 or newer"
        return None

    def _fetch(self, command: _Command, map_descriptor: int, key: bytes, value_size_octets: int) -> bytes | None:
        """Look an entry up; ``None`` if there is none."""
        octets = ctypes.create_string_buffer(key, len(key))
        value = ctypes.create_string_buffer(value_size_octets)
        attributes = _element(map_descriptor, octets, value)
        result, error = self._call(command, attributes)
        if result < 0:
            if error == errno.ENOENT:
                return None
            _refuse("read a map", error)
        return value.raw

    def _demand(self, command: _Command, attributes: bytes, what: str) -> int:
        """Call bpf(2), and raise what it fails with."""
        result, error = self._call(command, attributes)
        if result < 0:
            _refuse(what, error)
        return result

    def _call(self, command: _Command, attributes: bytes) -> tuple[int, int]:
        """Call bpf(2); give its result and errno."""
        return self._invoke(command, ctypes.create_string_buffer(attributes, _ATTRIBUTES_SIZE))

    def _invoke(self, command: _Command, attributes: ctypes.Array[ctypes.c_char]) -> tuple[int, int]:
        """Call bpf(2) on attributes that it may write to."""
        if self._number is None:
            return -1, errno.ENOSYS
        result: int = self._syscall(self._number, command, attributes, _ATTRIBUTES_SIZE)
        return result, ctypes.get_errno()

    def _try_to_load(
        self, name: str, instructions: bytes, license_name: str, log: ctypes.Array[ctypes.c_char] | None
    ) -> tuple[int, int]:
        """Call bpf(2) with a program; give its result and errno."""
        code = ctypes.create_string_buffer(instructions, len(instructions))
        license_text = ctypes.create_string_buffer(license_name.encode())
        attributes = struct.pack(
            "<IIQQIIQII",
            _PROGRAM_TYPE_SCHED_CLS,
            len(instructions) // 8,
            ctypes.addressof(code),
            ctypes.addressof(license_text),
            0 if log is None else _LOG_VERBOSE,
            0 if log is None else len(log),
            _address(log),
            0,
            0,
        )
        return self._call(_Command.PROG_LOAD, attributes + _name(name))


def _name(name: str) -> bytes:
    """Give a name as the kernel takes it: letters, digits and underscores, 15 at most."""
    return name.encode()[: _NAME_SIZE - 1].ljust(_NAME_SIZE, b"\0")


def _address(buffer: ctypes.Array[ctypes.c_char] | None) -> int:
    return 0 if buffer is None else ctypes.addressof(buffer)


def _element(
    map_descriptor: int, key: ctypes.Array[ctypes.c_char] | None, value: ctypes.Array[ctypes.c_char] | None
) -> bytes:
    """Give the attributes of a command on an entry of a map; the buffers have to outlive the call."""
    return struct.pack("<IIQQQ", map_descriptor, 0, _address(key), _address(value), 0)


def _reason(log: bytes) -> str:
    """Give the last line of a verifier's log that is not about its work."""
    lines = [line.strip() for line in log.decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line and not line.startswith(("processed ", "verification "))), "")


def _refuse(what: str, error: int, reason: str = "") -> NoReturn:
    """Raise what a failed call amounts to."""
    hint = " (it takes CAP_BPF and CAP_NET_ADMIN)" if error in (errno.EPERM, errno.EACCES) and not reason else ""
    raise MediaEngineError(f"bpf cannot {what}: {os.strerror(error)}{hint}{f': {reason}' if reason else ''}")
