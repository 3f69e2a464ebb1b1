"""Transfers between phones, and through a B2BUA."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from sipd.errors import InvalidStateError, TransferError
from sipd.phone.call import Call
from sipd.phone.ended import EndedBy
from sipd.phone.incoming import IncomingCall
from sipd.phone.transfers import Referred, ReferState
from tests.phone.support import ALICE, BOB, CAROL, Ear, PhoneCase, answering, forever


class TransferTests(PhoneCase):
    """Three phones that call each other without anybody between."""

    def setUp(self) -> None:
        """Let alice talk with bob."""
        super().setUp()
        self.alice, self.bob = self.phone(ALICE, "alice"), self.phone(BOB, "bob")
        self.carol = self.phone(CAROL, "carol")
        self.taken, self.carols = answering(self.bob), answering(self.carol, after=1.0)
        self.asked: list[Referred] = []
        self.bob.on_refer = self.take_note
        self.call = self.established(self.alice.dial(f"bob@{BOB}"))

    def take_note(self, referred: Referred) -> bool:
        """Let every transfer be."""
        self.asked.append(referred)
        return True

    def established(self, dialling: Deferred[Any]) -> Call:
        """Let a call be answered."""
        self.clock.advance(2.0)
        call: Call = self.successResultOf(dialling)
        return call

    def test_blind(self) -> None:
        """Bob is sent to carol: they talk, and alice hears how it goes and hangs up."""
        progress: list[tuple[int, str]] = []
        transferring = self.call.transfer(f"carol@{CAROL}", on_progress=lambda *told: progress.append(told))
        self.clock.advance(5.0)
        self.successResultOf(transferring)
        self.assertEqual(progress[-1], (180, "Ringing"))
        self.assertEqual([one.state for one in self.asked], [ReferState.ASKED, ReferState.ESTABLISHED])
        self.assertEqual(str(self.asked[0].refer_to.uri), f"sip:carol@{CAROL}")
        self.assertEqual(self.carols[0].invite.headers.get("Referred-By"), f"<sip:alice@{ALICE}>")
        new = self.asked[1].new_call
        assert new is not None
        ear = Ear()
        self.carols[0].connect(None, ear)
        forever(new.play("tone:de:dial", times=None))
        self.clock.advance(1.0)
        self.assertTrue(ear.hears(425))
        self.assertEqual(self.successResultOf(self.call.ended).by, EndedBy.US)
        self.assertEqual(self.successResultOf(self.taken[0].ended).by, EndedBy.THEM)

    def test_attended(self) -> None:
        """Alice talks with both, and joins them: carol's call with bob takes the place of the one with alice."""
        replaced: list[tuple[Call, IncomingCall]] = []
        self.carol.on_replaced = lambda *both: replaced.append(both)
        second = self.established(self.alice.dial(f"carol@{CAROL}"))
        transferring = self.call.transfer(second)
        self.clock.advance(5.0)
        self.successResultOf(transferring)
        self.assertEqual(
            [self.successResultOf(one.ended).by for one in (self.call, second)], [EndedBy.US, EndedBy.THEM]
        )
        ((old, new),) = replaced
        self.assertIs(old, self.carols[0])
        self.assertTrue(new.is_established)
        self.assertEqual({str(call.remote.uri) for call in self.carol.calls}, {f"sip:bob@{BOB}"})
        self.assertEqual(len(self.bob.calls), 1)

    def test_refused_by_default(self) -> None:
        """Nobody is sent elsewhere who does not want to; the call goes on."""
        taken = answering(self.carol)
        del taken
        call = self.established(self.alice.dial(f"carol@{CAROL}"))
        transferring = call.transfer(f"bob@{BOB}")
        self.clock.advance(2.0)
        self.assertEqual(self.failureResultOf(transferring, TransferError).value.status, 603)
        self.assertTrue(call.is_established)

    def test_decided_later(self) -> None:
        """The application may take its time, and refuse; if it fails the peer gets 500."""

        async def refuses(referred: Referred) -> bool:
            await self.sleep(1.0)
            return False

        def fails(referred: Referred) -> bool:
            raise ZeroDivisionError

        for hook, status in ((refuses, 603), (fails, 500)):
            self.taken[0].on_refer = hook
            transferring = self.call.transfer(f"carol@{CAROL}")
            self.clock.advance(3.0)
            self.assertEqual(self.failureResultOf(transferring, TransferError).value.status, status)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_in_vain(self) -> None:
        """Who does not reach whom it was sent to says so, and the call goes on."""
        self.carol.on_call = lambda call: call.reject(486, "Not Now")
        transferring = self.call.transfer(f"carol@{CAROL}")
        self.clock.advance(5.0)
        error = self.failureResultOf(transferring, TransferError).value
        self.assertEqual((error.status, error.reason), (486, "486 Not Now"))
        self.assertTrue(self.call.is_established)
        self.assertEqual([one.state for one in self.asked], [ReferState.ASKED, ReferState.FAILED])

    def test_not_established(self) -> None:
        """What is not established cannot be transferred, nor transferred to."""
        self.carol.on_call = lambda call: call.ring()
        dialling = self.alice.dial(f"carol@{CAROL}")
        self.clock.advance(1.0)
        (ringing,) = self.alice.calls - {self.call}
        self.failureResultOf(self.call.transfer(ringing), InvalidStateError)
        self.failureResultOf(ringing.transfer(f"bob@{BOB}"), InvalidStateError)
        dialling.addErrback(lambda failure: None)

    def test_lost(self) -> None:
        """A transfer that nobody answers fails."""
        self.network.partition([BOB])
        transferring = self.call.transfer(f"carol@{CAROL}")
        self.clock.advance(40.0)
        self.failureResultOf(transferring, TransferError)
        self.network.heal()
        self.clock.advance(60.0)
