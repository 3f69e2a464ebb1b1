"""Tests of `sipd.media.kernel.instructions`: octets as RFC 9669 has them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.media.kernel.instructions import (
    Condition,
    Instruction,
    Label,
    Operation,
    Part,
    Register,
    Size,
    add,
    assemble,
    atomic_add,
    call,
    compute,
    jump,
    jump_if,
    leave,
    load,
    load_map,
    move,
    store,
    to_host_order,
)

R0, R1, R2, R6, R7, R10 = Register.R0, Register.R1, Register.R2, Register.R6, Register.R7, Register.R10


class EncodingTests(SynchronousTestCase):
    """One instruction each."""

    def check(self, instruction: Instruction, expected: str) -> None:
        """Check the octets of an instruction."""
        self.assertEqual(assemble([instruction]).hex(" "), expected)

    def test_arithmetic(self) -> None:
        """Opcode, registers, and a number where there is one."""
        self.check(move(R0, -1), "b7 00 00 00 ff ff ff ff")
        self.check(move(R7, R0), "bf 07 00 00 00 00 00 00")
        self.check(add(R2, -40), "07 02 00 00 d8 ff ff ff")
        self.check(add(R2, R1), "0f 12 00 00 00 00 00 00")
        self.check(compute(Operation.SUBTRACT, R1, R2), "1f 21 00 00 00 00 00 00")
        self.check(compute(Operation.MULTIPLY, R1, R2), "2f 21 00 00 00 00 00 00")
        self.check(compute(Operation.AND, R1, 0x7F), "57 01 00 00 7f 00 00 00")
        self.check(compute(Operation.SHIFT_LEFT, R1, 32), "67 01 00 00 20 00 00 00")
        self.check(compute(Operation.SHIFT_RIGHT, R1, 4), "77 01 00 00 04 00 00 00")
        self.check(compute(Operation.NEGATE, R1), "87 01 00 00 00 00 00 00")
        self.check(compute(Operation.XOR, R1, 0xFFFF), "a7 01 00 00 ff ff 00 00")
        self.check(compute(Operation.SHIFT_RIGHT_SIGNED, R1, 32), "c7 01 00 00 20 00 00 00")

    def test_order_of_octets(self) -> None:
        """The number is that of the bits."""
        self.check(to_host_order(R1, 16), "dc 01 00 00 10 00 00 00")
        self.check(to_host_order(R1, 32), "dc 01 00 00 20 00 00 00")

    def test_memory(self) -> None:
        """The base of a load is its source, that of a store its destination."""
        self.check(load(Size.WORD, R2, R6, 76), "61 62 4c 00 00 00 00 00")
        self.check(load(Size.HALF, R2, R6, 12), "69 62 0c 00 00 00 00 00")
        self.check(load(Size.OCTET, R2, R6, 23), "71 62 17 00 00 00 00 00")
        self.check(load(Size.DOUBLE, R2, R6, 8), "79 62 08 00 00 00 00 00")
        self.check(store(Size.WORD, R10, -4, R1), "63 1a fc ff 00 00 00 00")
        self.check(store(Size.DOUBLE, R10, -40, 0), "7a 0a d8 ff 00 00 00 00")
        self.check(store(Size.HALF, R10, -2, 5), "6a 0a fe ff 05 00 00 00")

    def test_atomic_addition(self) -> None:
        """The immediate says that it is an addition."""
        self.check(atomic_add(Size.DOUBLE, R7, 72, R1), "db 17 48 00 00 00 00 00")
        self.check(atomic_add(Size.WORD, R7, 72, R1), "c3 17 48 00 00 00 00 00")

    def test_calls_and_the_end(self) -> None:
        """A helper is called by its number."""
        self.check(call(152), "85 00 00 00 98 00 00 00")
        self.check(leave(), "95 00 00 00 00 00 00 00")

    def test_a_map_takes_two_slots(self) -> None:
        """The descriptor stands in the first one."""
        self.check(load_map(R1, 5), "18 11 00 00 05 00 00 00 00 00 00 00 00 00 00 00")


class JumpTests(SynchronousTestCase):
    """Labels."""

    def test_forward_and_backward(self) -> None:
        """A jump counts from what follows it, and a map counts twice."""
        program: list[Part] = [
            Label("top"),
            jump_if(Condition.EQUAL, R1, 0, "end"),
            load_map(R1, 3),
            jump("top"),
            Label("end"),
            leave(),
        ]
        octets = assemble(program)
        self.assertEqual(octets[:8].hex(" "), "15 01 03 00 00 00 00 00")
        self.assertEqual(octets[24:32].hex(" "), "05 00 fc ff 00 00 00 00")

    def test_conditions(self) -> None:
        """Each has its opcode; an operand may be a register."""
        found = {condition.name: assemble([Label("x"), jump_if(condition, R1, 9, "x")])[0] for condition in Condition}
        self.assertEqual(
            found,
            {
                "EQUAL": 0x15,
                "GREATER": 0x25,
                "BITS": 0x45,
                "NOT_EQUAL": 0x55,
                "NOT_LESS_SIGNED": 0x75,
                "LESS": 0xA5,
                "NOT_GREATER": 0xB5,
                "LESS_SIGNED": 0xC5,
            },
        )
        octets = assemble([Label("x"), jump_if(Condition.LESS, R1, R2, "x")])
        self.assertEqual(octets.hex(" "), "ad 21 ff ff 00 00 00 00")

    def test_a_label_that_is_missing(self) -> None:
        """There is no program without it."""
        self.assertRaises(ValueError, assemble, [jump("nowhere")])

    def test_a_label_that_is_there_twice(self) -> None:
        """It would be ambiguous."""
        self.assertRaises(ValueError, assemble, [Label("x"), leave(), Label("x"), leave()])

    def test_numbers_that_do_not_fit(self) -> None:
        """Neither an immediate nor an offset is cut."""
        for wrong in (move(R1, 1 << 31), load(Size.WORD, R1, R2, 1 << 15)):
            self.assertRaises(ValueError, assemble, [wrong])
