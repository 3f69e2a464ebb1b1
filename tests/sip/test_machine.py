"""Tests of `sipd.sip.machine`."""

from __future__ import annotations

from enum import Enum
from types import FunctionType

from twisted.trial.unittest import SynchronousTestCase

from sipd.sip.machine import Machine, table


class Light(Enum):
    """States of a lamp."""

    OFF = "off"
    ON = "on"

    __hash__ = object.__hash__


class Switch(Enum):
    """Events of a lamp."""

    PRESS = "press"
    PULL = "pull"

    __hash__ = object.__hash__


class Lamp(Machine[Light]):
    """A machine with one bulb."""

    __slots__ = ()

    def _shine(self, watts: int) -> tuple[str, ...]:
        return (f"{self.state.value} with {watts} W",)

    TABLE = table(
        (Light.OFF, Switch.PRESS, Light.ON, _shine),
        (Light.ON, Switch.PRESS, Light.OFF, _shine),
    )


class MachineTests(SynchronousTestCase):
    """A step, and what is no step."""

    skip = None if isinstance(Machine.feed, FunctionType) else "a compiled class has no interpreted subclasses"

    def test_action_runs_in_the_next_state(self) -> None:
        """An event goes to the next state, and the action gets its argument there."""
        lamp = Lamp(Light.OFF)
        self.assertEqual(lamp.feed(Switch.PRESS, 40), ("on with 40 W",))
        self.assertEqual(lamp.feed(Switch.PRESS, 0), ("off with 0 W",))

    def test_absorbs_what_is_not_in_the_table(self) -> None:
        """An event without a row changes nothing and asks for nothing."""
        lamp = Lamp(Light.ON)
        self.assertTrue(lamp.absorbs(Switch.PULL))
        self.assertFalse(lamp.absorbs(Switch.PRESS))
        self.assertEqual(lamp.feed(Switch.PULL), ())
        self.assertIs(lamp.state, Light.ON)

    def test_a_machine_without_table_absorbs_everything(self) -> None:
        """The base class has no rows."""
        self.assertEqual(Machine(Light.ON).feed(Switch.PRESS), ())

    def test_refuses_two_rows_for_one_event(self) -> None:
        """A table in which one row would hide another is an error when it is made."""
        row = (Light.OFF, Switch.PRESS, Light.ON, Lamp._shine)
        self.assertRaises(ValueError, table, row, row)
