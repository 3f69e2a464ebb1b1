"""Tests of `sipd.sip.transaction`: what all four machines have in common."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import RemoteError
from sipd.sip.effects import Fail
from sipd.sip.timers import Timer
from sipd.sip.transaction import (
    InviteClientTransaction,
    InviteServerTransaction,
    NonInviteClientTransaction,
    NonInviteServerTransaction,
    Transaction,
)
from tests.sip.machines import INVITE, OK, VALUES, drive


class BaseTests(SynchronousTestCase):
    """What no machine does."""

    def test_the_base_takes_no_response(self) -> None:
        """Only the four machines know what a response is to them."""
        self.assertRaises(TypeError, Transaction.event_of, OK)

    def test_machines_are_small(self) -> None:
        """A machine has slots and no dict: there are many of them."""
        for kind in (
            InviteClientTransaction,
            NonInviteClientTransaction,
            InviteServerTransaction,
            NonInviteServerTransaction,
        ):
            self.assertFalse(hasattr(kind(INVITE, VALUES, reliable=True), "__dict__"))

    def test_errors_are_remote(self) -> None:
        """A timeout is the peer's doing, and is 408 to whoever must answer for it."""
        error = drive(InviteClientTransaction(INVITE, VALUES, reliable=True), Timer.B)[0]
        assert isinstance(error, Fail)
        self.assertIsInstance(error.error, RemoteError)
        self.assertEqual(error.error.status, 408)
