"""Transfers that cross the end of calls, and INVITEs that want to take the place of one."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from sipd.errors import CallFailedError, TransferError
from sipd.phone.call import Call
from sipd.phone.dialing import OutgoingCall
from sipd.phone.ended import EndedBy
from sipd.phone.errors import DialError
from sipd.phone.incoming import IncomingCall
from sipd.phone.transfers import Referred
from sipd.sip.refer import Replaces
from tests.phone.raw import RAW, RawCase
from tests.phone.support import ALICE, BOB, CAROL, PhoneCase, answering


class TransferTests(RawCase):
    """Transfers in calls that end meanwhile, and to what cannot be called."""

    def refer(self, call: Call, refer_to: str, *fields: tuple[str, str]) -> None:
        """Let the peer ask for a transfer."""
        self.raw.ask_in_call("REFER", headers=(("Refer-To", refer_to), *fields))
        self.clock.advance(0.1)

    def test_ended_meanwhile(self) -> None:
        """When the call ends before the application has decided, nobody is called any more."""
        carol = self.phone(CAROL, "carol")
        taken = answering(carol)
        deciding: Deferred[bool] = Deferred()
        self.alice.on_refer = lambda referred: deciding
        call = self.established()
        self.refer(call, f"<sip:carol@{CAROL}>")
        call.hang_up()
        self.leave()
        deciding.callback(True)
        self.clock.advance(2.0)
        self.assertEqual(taken, [])
        self.assertEqual(self.alice.calls, set())

    def test_to_what_is_no_telephone(self) -> None:
        """Only telephones can be called: a transfer to anything else is refused, and the application is not asked."""
        asked: list[Referred] = []
        self.alice.on_refer = asked.append
        call = self.established()
        for refer_to in ("<mailto:carol@example.org>", "<http://example.org/x>"):
            self.refer(call, refer_to)
            self.assertEqual(self.raw.responses[-1].status, 416)
        self.assertEqual(asked, [])
        call.hang_up()
        self.leave()

    def test_endless(self) -> None:
        """Who asks for ever more transfers is refused in the end, also if it does not want to hear of them."""
        self.alice.on_refer = lambda referred: referred.new_call is None and referred.error is None
        call = self.established()
        for _ in range(12):
            self.refer(call, f"<sip:raw@{RAW}>", ("Refer-Sub", "false"))
        statuses = [response.status for response in self.raw.responses]
        self.assertEqual((statuses.count(202), statuses.count(486)), (8, 4))
        self.assertEqual(len(self.alice.calls), 9)
        for one in list(self.alice.calls):
            one.drop()

    def test_who_says_so(self) -> None:
        """Nobody but the REFER itself says on whose behalf the call is; who may speak for us is our affair."""
        self.alice.on_refer = lambda referred: True
        call = self.established()
        fields = "Referred-By=%3Csip%3Aevil%40x%3E&P-Asserted-Identity=%3Csip%3Aevil%40x%3E&Subject=tea"
        self.refer(call, f"<sip:other@{RAW}?{fields}>", ("Referred-By", f"<sip:raw@{RAW}>"))
        invite = self.raw.last("INVITE")
        self.assertEqual(invite.headers.get_all("Referred-By"), [f"<sip:raw@{RAW}>"])
        self.assertEqual((invite.headers.get("P-Asserted-Identity"), invite.headers.get("Subject")), (None, "tea"))
        for one in list(self.alice.calls):
            one.drop()

    def test_told_of_progress(self) -> None:
        """What the application raises when it is told of a transfer's progress is logged, and the transfer goes on."""
        bob, carol = self.phone(BOB, "bob"), self.phone(CAROL, "carol")
        answering(carol, after=1.0)
        answering(bob)
        bob.on_refer = lambda referred: True
        dialling = self.alice.dial(f"bob@{BOB}")
        self.clock.advance(1.0)

        def fails(status: int, reason: str) -> None:
            raise ZeroDivisionError

        call = self.successResultOf(dialling)
        transferring = call.transfer(f"carol@{CAROL}", on_progress=fails)
        self.clock.advance(5.0)
        self.successResultOf(transferring)
        self.assertGreaterEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_other_call_ended(self) -> None:
        """An attended transfer to a call that ends on the way fails, and the first call goes on."""
        bob, carol = self.phone(BOB, "bob"), self.phone(CAROL, "carol")
        answering(bob)
        carols = answering(carol)
        bob.on_refer = lambda referred: True
        first, second = self.alice.dial(f"bob@{BOB}"), self.alice.dial(f"carol@{CAROL}")
        self.clock.advance(1.0)
        call = self.successResultOf(first)
        transferring = call.transfer(self.successResultOf(second))
        carols[0].hang_up()
        self.clock.advance(5.0)
        self.assertEqual(self.failureResultOf(transferring, TransferError).value.status, 481)
        self.assertTrue(call.is_established)

    def test_dropped_meanwhile(self) -> None:
        """A call that is dropped while it is transferred does not take the other one along."""
        bob, carol = self.phone(BOB, "bob"), self.phone(CAROL, "carol")
        answering(bob)
        answering(carol)
        bob.on_refer = lambda referred: self.sleep(60.0)
        first, second = self.alice.dial(f"bob@{BOB}"), self.alice.dial(f"carol@{CAROL}")
        self.clock.advance(1.0)
        call, other = self.successResultOf(first), self.successResultOf(second)
        transferring = call.transfer(other)
        self.clock.advance(0.5)
        call.drop()
        self.clock.advance(40.0)
        self.failureResultOf(transferring, TransferError)
        self.assertTrue(other.is_established)
        self.clock.advance(60.0)

    def test_both_with_the_same(self) -> None:
        """Two calls with one phone cannot be joined where it would call itself (482); both go on."""
        bob = self.phone(BOB, "bob")
        taken = answering(bob)
        bob.on_refer = lambda referred: True
        first, second = self.alice.dial(f"bob@{BOB}"), self.alice.dial(f"bob@{BOB}")
        self.clock.advance(1.0)
        transferring = self.successResultOf(first).transfer(self.successResultOf(second))
        self.clock.advance(5.0)
        self.assertEqual(self.failureResultOf(transferring, TransferError).value.status, 482)
        self.assertEqual([one.is_over for one in taken], [False, False])
        self.assertEqual((len(self.alice.calls), len(bob.calls)), (2, 2))


class ReplacesTests(PhoneCase):
    """INVITEs that want to take the place of a call."""

    def setUp(self) -> None:
        """Let alice call bob; carol wants to take her place."""
        super().setUp()
        self.alice, self.bob = self.phone(ALICE, "alice"), self.phone(BOB, "bob")
        self.carol = self.phone(CAROL, "carol")
        self.replaced: list[tuple[Call, IncomingCall]] = []
        self.bob.on_replaced = lambda *both: self.replaced.append(both)

    def take_place(self, call: Call, *, to: str = BOB) -> Deferred[OutgoingCall]:
        """Let carol call bob in the place of that call of his."""
        dialog = call.session.dialog
        assert dialog is not None
        replaces = Replaces(call_id=dialog.call_id, to_tag=dialog.local.tag or "", from_tag=dialog.remote.tag or "")
        return self.carol.dial(f"bob@{to}", headers={"Replaces": str(replaces), "Require": "replaces"})

    def test_ringing(self) -> None:
        """A call that only rings here cannot be replaced: 481 (RFC 3891 section 3)."""
        ringing: list[IncomingCall] = []

        def rings(call: IncomingCall) -> None:
            ringing.append(call)
            call.ring()

        self.bob.on_call = rings
        dialling = self.alice.dial(f"bob@{BOB}")
        self.clock.advance(1.0)
        replacing = self.take_place(ringing[0])
        self.clock.advance(1.0)
        self.assertEqual(self.failureResultOf(replacing, DialError).value.status, 481)
        dialling.cancel()
        self.failureResultOf(dialling, CancelledError)

    def test_several_at_once(self) -> None:
        """A call is replaced once: who comes meanwhile is refused, and who comes later finds nobody."""
        taken = answering(self.bob)
        self.alice.dial(f"bob@{BOB}")
        self.clock.advance(1.0)
        replacing = [self.take_place(taken[0]) for _ in range(3)]
        self.clock.advance(1.0)
        self.assertTrue(self.successResultOf(replacing[0]).is_established)
        for one in replacing[1:]:
            self.assertEqual(self.failureResultOf(one, DialError).value.status, 486)
        self.assertEqual((len(self.replaced), len(self.bob.calls)), (1, 1))
        late = self.take_place(taken[0])
        self.clock.advance(1.0)
        self.assertEqual(self.failureResultOf(late, DialError).value.status, 481)

    def test_held_and_being_changed(self) -> None:
        """A call that is held, or changes just now, is replaced like any other; what waits for it fails."""
        taken = answering(self.bob)
        self.alice.dial(f"bob@{BOB}")
        self.clock.advance(1.0)
        holding = taken[0].hold()
        self.clock.advance(1.0)
        self.successResultOf(holding)
        resuming = taken[0].resume()
        replacing = self.take_place(taken[0])
        self.clock.advance(2.0)
        self.assertTrue(self.successResultOf(replacing).is_established)
        self.assertTrue(taken[0].is_over)
        self.assertTrue(resuming.called)
        resuming.addErrback(lambda failure: failure.trap(CallFailedError))
        self.assertEqual(len(self.bob.calls), 1)

    def test_hung_up_meanwhile(self) -> None:
        """Who hangs up while its call is being replaced is not left with another one."""
        taken = answering(self.bob)
        self.alice.dial(f"bob@{BOB}")
        self.clock.advance(1.0)
        replacing = self.take_place(taken[0])
        self.clock.advance(0.015)
        taken[0].hang_up()
        self.clock.advance(2.0)
        call = self.successResultOf(replacing)
        self.assertEqual(self.successResultOf(call.ended).by, EndedBy.THEM)
        self.assertEqual((self.replaced, self.bob.calls), ([], set()))
