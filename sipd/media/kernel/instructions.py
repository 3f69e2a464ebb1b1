"""An assembler of eBPF: RFC 9669, as far as the program of this package needs it. Pure functions.

A program is a list of `Instruction` and `Label`; `assemble` makes octets of it. The octets are those of a machine that
stores the least significant octet first, and so is everything here that speaks of memory.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

#: opcode, both registers, offset, immediate (section 3).
_SLOT = struct.Struct("<BBhi")

#: Instruction classes (section 3.2) and the bit that says that an operand is a register.
_LOAD_IMMEDIATE = 0x18
_LOAD = 0x61
_STORE_IMMEDIATE = 0x62
_STORE = 0x63
_ATOMIC = 0xC3
_JUMP = 0x05
_COMPUTE = 0x07
_FROM_REGISTER = 0x08

_ALWAYS = 0x00
_CALL = 0x80
_EXIT = 0x90
_TO_BIG_ENDIAN = 0xDC
_ATOMIC_ADD = 0
#: `source` of a 64-bit load: the immediate is the descriptor of a map.
_MAP = 1


class Register(IntEnum):
    """R0: result. R1 to R5: arguments, lost by a call. R6 to R9: kept. R10: the end of the stack, read-only."""

    R0 = 0
    R1 = 1
    R2 = 2
    R3 = 3
    R4 = 4
    R5 = 5
    R6 = 6
    R7 = 7
    R8 = 8
    R9 = 9
    R10 = 10


class Size(IntEnum):
    """How much is loaded or stored (section 5)."""

    WORD = 0x00
    HALF = 0x08
    OCTET = 0x10
    DOUBLE = 0x18


class Operation(IntEnum):
    """Arithmetic (section 4.1). Comparisons, shifts and division are unsigned but where the name says otherwise."""

    ADD = 0x00
    SUBTRACT = 0x10
    MULTIPLY = 0x20
    AND = 0x50
    SHIFT_LEFT = 0x60
    SHIFT_RIGHT = 0x70
    NEGATE = 0x80
    XOR = 0xA0
    MOVE = 0xB0
    SHIFT_RIGHT_SIGNED = 0xC0


class Condition(IntEnum):
    """When to jump (section 4.3). `BITS` is: some bit is set in both."""

    EQUAL = 0x10
    GREATER = 0x20
    BITS = 0x40
    NOT_EQUAL = 0x50
    NOT_LESS_SIGNED = 0x70
    LESS = 0xA0
    NOT_GREATER = 0xB0
    LESS_SIGNED = 0xC0


@dataclass(frozen=True, slots=True)
class Label:
    """A place in a program to which a jump may lead."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction.

    Args:
        opcode: its first octet.
        destination: a register.
        source: a register, or what the opcode takes it for.
        offset: in octets of memory, or in slots of the program.
        immediate: 32 bits, signed.
        target: the name of the label that `offset` is to lead to.
    """

    opcode: int
    destination: int = 0
    source: int = 0
    offset: int = 0
    immediate: int = 0
    target: str | None = None

    @property
    def slots(self) -> int:
        """How many times eight octets it takes."""
        return 2 if self.opcode == _LOAD_IMMEDIATE else 1


Part: TypeAlias = Instruction | Label
Operand: TypeAlias = Register | int


def compute(operation: Operation, destination: Register, operand: Operand = 0) -> Instruction:
    """Compute with 64 bits; an ``operand`` that is a number is 32 bits, signed."""
    return _with_operand(_COMPUTE | operation, destination, operand)


def move(destination: Register, operand: Operand) -> Instruction:
    """Set a register."""
    return compute(Operation.MOVE, destination, operand)


def add(destination: Register, operand: Operand) -> Instruction:
    """Add to a register."""
    return compute(Operation.ADD, destination, operand)


def to_host_order(destination: Register, bits: int) -> Instruction:
    """Turn the lower 16, 32 or 64 bits around: from the order of the network, or into it; the others become 0."""
    return Instruction(opcode=_TO_BIG_ENDIAN, destination=destination, immediate=bits)


def load(size: Size, destination: Register, base: Register, offset: int) -> Instruction:
    """Load from memory; the upper bits become 0."""
    return Instruction(opcode=_LOAD | size, destination=destination, source=base, offset=offset)


def load_map(destination: Register, descriptor: int) -> Instruction:
    """Load the address of a map of which this process has a descriptor."""
    return Instruction(opcode=_LOAD_IMMEDIATE, destination=destination, source=_MAP, immediate=descriptor)


def store(size: Size, base: Register, offset: int, operand: Operand) -> Instruction:
    """Store to memory; an ``operand`` that is a number is 32 bits, signed."""
    if isinstance(operand, Register):
        return Instruction(opcode=_STORE | size, destination=base, source=operand, offset=offset)
    return Instruction(opcode=_STORE_IMMEDIATE | size, destination=base, offset=offset, immediate=operand)


def atomic_add(size: Size, base: Register, offset: int, source: Register) -> Instruction:
    """Add to memory, whatever other processors do: words and doubles only (section 5.3)."""
    return Instruction(opcode=_ATOMIC | size, destination=base, source=source, offset=offset, immediate=_ATOMIC_ADD)


def jump(target: str) -> Instruction:
    """Go on at a label."""
    return Instruction(opcode=_JUMP | _ALWAYS, target=target)


def jump_if(condition: Condition, left: Register, right: Operand, target: str) -> Instruction:
    """Go on at a label if the condition holds for all 64 bits; else with what follows."""
    instruction = _with_operand(_JUMP | condition, left, right)
    return Instruction(
        opcode=instruction.opcode,
        destination=left,
        source=instruction.source,
        immediate=instruction.immediate,
        target=target,
    )


def call(helper: int) -> Instruction:
    """Call a helper function of the kernel by its number."""
    return Instruction(opcode=_JUMP | _CALL, immediate=helper)


def leave() -> Instruction:
    """End the program; its result is in R0."""
    return Instruction(opcode=_JUMP | _EXIT)


def assemble(parts: Sequence[Part]) -> bytes:
    """Make octets of a program.

    Raises:
        ValueError: a label is missing or there twice, or a number does not fit where it stands.
    """
    places: dict[str, int] = {}
    position = 0
    for part in parts:
        if isinstance(part, Instruction):
            position += part.slots
        elif part.name in places:
            raise ValueError(f"label {part.name!r} is there twice")
        else:
            places[part.name] = position
    octets = bytearray()
    for part in parts:
        if isinstance(part, Instruction):
            octets += _encode(part, places, len(octets) // _SLOT.size)
    return bytes(octets)


def _with_operand(opcode: int, destination: Register, operand: Operand) -> Instruction:
    """Choose between a register and a number."""
    if isinstance(operand, Register):
        return Instruction(opcode=opcode | _FROM_REGISTER, destination=destination, source=operand)
    return Instruction(opcode=opcode, destination=destination, immediate=operand)


def _encode(instruction: Instruction, places: dict[str, int], position: int) -> bytes:
    """Make octets of the instruction at a position, with jumps counted from behind it."""
    offset = instruction.offset
    if instruction.target is not None:
        if instruction.target not in places:
            raise ValueError(f"there is no label {instruction.target!r}")
        offset = places[instruction.target] - position - 1
    registers = instruction.source << 4 | instruction.destination
    try:
        octets = _SLOT.pack(instruction.opcode, registers, offset, instruction.immediate)
    except struct.error as error:
        raise ValueError(f"slot {position} of the program: {error}") from error
    return octets + bytes(_SLOT.size * (instruction.slots - 1))
