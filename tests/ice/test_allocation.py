"""Tests of `sipd.ice.allocation`."""

from __future__ import annotations

from collections import Counter
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import InvalidStateError, ResourcesExhaustedError
from sipd.ice.allocation import MAX_DATA, MAX_WAITING, Allocation, State
from sipd.ice.relaying import Allocated, Deliver, Effects, Failed, Over, PeerRefused, StopTimers, Timer
from sipd.ice.requests import Credentials, Send, StartTimer, StopTimer
from sipd.rtp.stun import MAGIC_COOKIE, Attribute, Kind, Method, StunMessage, xor_address
from sipd.testing.clock import SimulatedCall, SimulatedClock
from tests.media.traversal.server import CLIENT, PASSWORD, RELAYED, SERVER, USER, FakeServer

PEER = ("198.51.100.7", 5000)
SECOND = ("192.0.2.20", 3479)


class AllocationCase(SynchronousTestCase):
    """An allocation, its timers, and a server that hears it while `is_heard`."""

    def setUp(self) -> None:
        """Make them."""
        self.clock = SimulatedClock()
        self.server = FakeServer()
        self.servers = {SERVER: self.server}
        self.is_heard = True
        self.others: list[object] = []
        self.timers: dict[Timer, SimulatedCall] = {}
        self.octets = 0
        self.make()

    def make(self, lifetime: int = 600, max_peers: int = 64) -> None:
        """Make the allocation."""
        numbers = count(1)
        self.allocation = Allocation(
            SERVER,
            Credentials(USER, PASSWORD),
            entropy=lambda size: next(numbers).to_bytes(size, "big"),
            lifetime=lifetime,
            max_peers=max_peers,
        )

    def perform(self, effects: Effects) -> None:
        """Do what the machine wants."""
        for effect in effects:
            match effect:
                case Send(octets, to):
                    self.octets = len(octets)
                    for answer in self.servers[to].receive(octets) if self.is_heard else ():
                        self.perform(self.allocation.datagram_received(answer, to))
                case StartTimer(timer, duration):
                    assert isinstance(timer, Timer)
                    self.stop(timer)
                    self.timers[timer] = self.clock.callLater(duration, self.fire, timer)
                case StopTimer(timer):
                    assert isinstance(timer, Timer)
                    self.stop(timer)
                case StopTimers():
                    for timer in tuple(self.timers):
                        self.stop(timer)
                case _:
                    self.others.append(effect)

    def stop(self, timer: Timer) -> None:
        """Stop one timer."""
        if (call := self.timers.pop(timer, None)) is not None:
            call.cancel()

    def fire(self, timer: Timer) -> None:
        """Tell the machine."""
        del self.timers[timer]
        self.perform(self.allocation.timer_fired(timer))

    def ready(self, **settings: int) -> None:
        """Make the allocation and have it."""
        self.make(**settings)
        self.perform(self.allocation.start())
        self.assertIs(self.allocation.state, State.READY)
        self.others.clear()

    def assert_ended(self, *others: object) -> None:
        """It is over, and these effects were given; no timer runs."""
        self.assertIs(self.allocation.state, State.ENDED)
        self.assertEqual(self.others, list(others))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def failure(self) -> str:
        """Give the text of the failure that ended it."""
        (failed,) = self.others
        assert isinstance(failed, Failed)
        self.assert_ended(failed)
        return failed.text


class AllocateTests(AllocationCase):
    """RFC 8656 section 7."""

    def test_allocated(self) -> None:
        """After the challenge the server gives a relayed and the mapped address, for the lifetime that it grants."""
        self.server.lifetime = 500
        self.perform(self.allocation.start())
        self.assertEqual(self.others, [Allocated(RELAYED, CLIENT, 500)])
        self.assertEqual((self.allocation.relayed, self.allocation.mapped), (RELAYED, CLIENT))
        self.assertEqual(self.server.requests, {Method.ALLOCATE: 2})
        self.assertRaises(InvalidStateError, self.allocation.start)

    def test_refusals(self) -> None:
        """What the server refuses is said with code and reason, and what it means."""
        for code, words in (
            (403, "rules forbid"),
            (437, "an allocation of this socket already"),
            (441, "somebody else's"),
            (442, "does not relay UDP"),
            (486, "as many allocations"),
            (508, "no ports left"),
            (500, "Allocate: 500 Reason"),
            (300, "without an address"),
        ):
            self.setUp()
            self.server.refusals[Method.ALLOCATE] = (code, ())
            self.perform(self.allocation.start())
            text = self.failure()
            self.assertIn(f"Allocate: {code} Reason", text)
            self.assertIn(words, text)

    def test_wrong_password(self) -> None:
        """A wrong password is one."""
        self.server.password = "another"
        self.perform(self.allocation.start())
        self.assertIn("does not take these credentials", self.failure())

    def test_no_answer(self) -> None:
        """Without an answer it fails after 39.5 s."""
        self.is_heard = False
        self.perform(self.allocation.start())
        self.clock.run()
        self.assertEqual(self.failure(), "Allocate: no answer from 192.0.2.10:3478")
        self.assertEqual(self.clock.seconds(), 39.5)

    def test_answers_that_cannot_be_used(self) -> None:
        """A success without a relayed address, or of no time, is a failure."""
        for attributes, words in (
            ((), "no relayed address"),
            (((Attribute.XOR_RELAYED_ADDRESS, b"short"),), "no relayed address"),
            (((Attribute.XOR_RELAYED_ADDRESS, bytes(4)), (Attribute.LIFETIME, bytes(4))), "no relayed address"),
            (None, "no time"),
        ):
            self.setUp()
            self.is_heard = False
            effects = self.allocation.start()
            self.perform(effects)
            (send,) = [effect for effect in effects if isinstance(effect, Send)]
            transaction = StunMessage.parse(send.octets).transaction
            if attributes is None:
                relayed = (Attribute.XOR_RELAYED_ADDRESS, xor_address(RELAYED, transaction))
                attributes = (relayed, (Attribute.LIFETIME, bytes(4)))
            answer = StunMessage(Method.ALLOCATE, Kind.SUCCESS, transaction, attributes).to_bytes()
            self.perform(self.allocation.datagram_received(answer, SERVER))
            self.assertIn(words, self.failure())

    def test_redirected(self) -> None:
        """A server that knows another one has the allocation made there, with a challenge of its own."""
        self.servers[SECOND] = FakeServer(SECOND, nonce=b"of the second")
        alternate = bytes((0, 1)) + SECOND[1].to_bytes(2, "big") + bytes((192, 0, 2, 20))
        self.server.refusals[Method.ALLOCATE] = (300, ((Attribute.ALTERNATE_SERVER, alternate),))
        self.perform(self.allocation.start())
        self.assertIs(self.allocation.state, State.READY)
        self.assertEqual(self.allocation.server, SECOND)
        self.perform(self.allocation.send(b"data", PEER))
        self.assertEqual(self.servers[SECOND].sent, [(b"data", PEER)])

    def test_redirected_twice(self) -> None:
        """The second server does not send us on, and nobody sends us to where we are."""
        self.servers[SECOND] = FakeServer(SECOND)
        alternate = bytes((0, 1)) + SECOND[1].to_bytes(2, "big") + bytes((192, 0, 2, 20))
        for server in self.servers.values():
            server.refusals[Method.ALLOCATE] = (300, ((Attribute.ALTERNATE_SERVER, alternate),))
        self.perform(self.allocation.start())
        self.assertIn("from there, too", self.failure())
        self.setUp()
        here = bytes((0, 1)) + SERVER[1].to_bytes(2, "big") + bytes((192, 0, 2, 10))
        self.server.refusals[Method.ALLOCATE] = (300, ((Attribute.ALTERNATE_SERVER, here),))
        self.perform(self.allocation.start())
        self.assertIn("none from here", self.failure())

    def test_bounds(self) -> None:
        """Lifetimes out of bounds, and what needs an allocation before there is one, are refused."""
        self.assertRaises(ValueError, self.make, 0)
        self.assertRaises(ValueError, self.make, 3601)
        self.assertRaises(InvalidStateError, self.allocation.send, b"", PEER)
        self.assertRaises(InvalidStateError, self.allocation.permit, PEER[0])
        self.assertRaises(InvalidStateError, self.allocation.bind, PEER)


class RefreshTests(AllocationCase):
    """RFC 8656 section 8."""

    def test_refreshed(self) -> None:
        """An allocation of ten minutes is refreshed a minute before its end, again and again."""
        self.ready()
        self.clock.advance(539)
        self.assertEqual(self.server.requests[Method.REFRESH], 0)
        self.clock.advance(1)
        self.assertEqual(self.server.requests[Method.REFRESH], 1)
        self.clock.advance(540 * 9)
        self.assertEqual(self.server.requests[Method.REFRESH], 10)
        self.assertEqual(self.server.lifetimes, [600] * 11)
        self.assertEqual(self.others, [])

    def test_short_lifetime(self) -> None:
        """A short one is refreshed at half of it, and as the server says at each refresh."""
        self.server.lifetime = 10
        self.ready()
        self.clock.advance(5)
        self.assertEqual(self.server.requests[Method.REFRESH], 1)
        self.server.lifetime = 300
        self.clock.advance(5)
        self.clock.advance(239)
        self.assertEqual(self.server.requests[Method.REFRESH], 2)
        self.clock.advance(1)
        self.assertEqual(self.server.requests[Method.REFRESH], 3)

    def test_stale_nonce(self) -> None:
        """A new nonce is taken and does not end it."""
        self.ready()
        self.server.nonce = b"second"
        self.clock.advance(540)
        self.assertEqual(self.server.lifetimes, [600, 600])
        self.assertEqual(self.server.requests[Method.REFRESH], 2)
        self.assertEqual(self.others, [])

    def test_server_that_goes_away(self) -> None:
        """A refresh without an answer ends it, before its time is over."""
        self.ready()
        self.is_heard = False
        self.clock.run()
        self.assertEqual(self.failure(), "Refresh: no answer from 192.0.2.10:3478")
        self.assertEqual(self.clock.seconds(), 579.5)

    def test_server_that_forgot(self) -> None:
        """A server that does not know the allocation any more ends it, and so does one that grants no more time."""
        self.ready()
        self.server.has = False
        self.clock.advance(540)
        self.assertIn("437", self.failure())
        self.setUp()
        self.ready()
        self.server.lifetime = 0
        self.clock.advance(540)
        self.assertEqual(self.failure(), "the server ended the allocation")


class PermissionTests(AllocationCase):
    """RFC 8656 sections 9 to 11."""

    def test_data_out(self) -> None:
        """The first datagram to a host asks for its permission and waits for it; the next ones are sent at once."""
        self.ready()
        self.perform(self.allocation.send(b"one", PEER))
        self.perform(self.allocation.send(b"two", PEER))
        self.perform(self.allocation.send(b"three", (PEER[0], 5001)))
        self.assertEqual(self.server.sent, [(b"one", PEER), (b"two", PEER), (b"three", (PEER[0], 5001))])
        self.assertEqual(self.server.requests[Method.CREATE_PERMISSION], 1)
        self.assertEqual(self.allocation.dropped, 0)

    def test_waiting_is_bounded(self) -> None:
        """Of many datagrams before the permission the first ones are kept, in order."""
        self.ready()
        self.is_heard = False
        for number in range(MAX_WAITING + 3):
            self.perform(self.allocation.send(bytes((number,)), PEER))
        self.assertEqual(self.allocation.dropped, 3)
        self.is_heard = True
        self.clock.advance(0.5)
        self.assertEqual([data[0] for data, _ in self.server.sent], list(range(MAX_WAITING)))

    def test_renewed(self) -> None:
        """Every permission is asked for anew each four minutes."""
        self.ready()
        self.perform(self.allocation.permit(PEER[0]))
        self.perform(self.allocation.permit(PEER[0]))
        self.perform(self.allocation.permit("198.51.100.8"))
        self.clock.advance(239)
        self.assertEqual(self.server.requests[Method.CREATE_PERMISSION], 2)
        self.clock.advance(1)
        self.assertEqual(self.server.requests[Method.CREATE_PERMISSION], 4)
        self.clock.advance(240)
        self.assertEqual(self.server.requests[Method.CREATE_PERMISSION], 6)

    def test_refused(self) -> None:
        """A host that is refused is named; what is sent there is dropped without a question, until it is permitted."""
        self.ready()
        self.server.refusals[Method.CREATE_PERMISSION] = (403, ())
        self.perform(self.allocation.send(b"one", PEER))
        text = "CreatePermission: 403 Reason (the server's rules forbid it)"
        self.assertEqual(self.others, [PeerRefused(PEER[0], text)])
        self.perform(self.allocation.send(b"two", PEER))
        self.assertEqual(self.allocation.dropped, 2)
        asked = self.server.requests[Method.CREATE_PERMISSION]
        self.server.refusals.clear()
        self.perform(self.allocation.permit(PEER[0]))
        self.perform(self.allocation.send(b"three", PEER))
        self.assertEqual(self.server.sent, [(b"three", PEER)])
        self.assertEqual(self.server.requests[Method.CREATE_PERMISSION], asked + 1)

    def test_forgotten_by_the_server(self) -> None:
        """A 437 to a permission ends the allocation."""
        self.ready()
        self.server.has = False
        self.perform(self.allocation.permit(PEER[0]))
        self.assertIn("CreatePermission: 437", self.failure())

    def test_peers_are_bounded(self) -> None:
        """More hosts than the bound are not asked for."""
        self.ready(max_peers=2)
        self.perform(self.allocation.permit("198.51.100.1"))
        self.perform(self.allocation.permit("198.51.100.2"))
        self.assertRaises(ResourcesExhaustedError, self.allocation.permit, "198.51.100.3")
        self.perform(self.allocation.send(b"", ("198.51.100.3", 1)))
        self.assertEqual(self.allocation.dropped, 1)

    def test_what_cannot_be_sent(self) -> None:
        """Too long datagrams, and those to what is no peer, are dropped."""
        self.ready()
        self.perform(self.allocation.send(bytes(MAX_DATA), PEER))
        self.assertLessEqual(self.octets, 65507)
        for data, peer in (
            (bytes(MAX_DATA + 1), PEER),
            (b"", ("2001:db8::1", 1)),
            (b"", ("example.org", 1)),
            (b"", (PEER[0], 0)),
            (b"", (PEER[0], 65536)),
        ):
            self.perform(self.allocation.send(data, peer))
        self.assertEqual(self.allocation.dropped, 5)
        self.assertEqual(len(self.server.sent), 1)
        self.assertRaises(ValueError, self.allocation.permit, "2001:db8::1")
        self.assertRaises(ValueError, self.allocation.bind, (PEER[0], 0))

    def test_data_in(self) -> None:
        """A datagram of a host with a permission is delivered, of any port; of others it is not."""
        self.ready()
        self.perform(self.allocation.permit(PEER[0]))
        self.perform(self.allocation.datagram_received(self.server.relay(b"data", PEER), SERVER))
        self.perform(self.allocation.datagram_received(self.server.relay(b"", (PEER[0], 1)), SERVER))
        self.assertEqual(self.others, [Deliver(PEER, b"data"), Deliver((PEER[0], 1), b"")])
        self.others.clear()
        self.perform(self.allocation.datagram_received(self.server.relay(b"data", ("198.51.100.8", 1)), SERVER))
        self.perform(self.allocation.datagram_received(self.server.relay(b"data", PEER), PEER))
        self.assertEqual(self.others, [])


class ChannelTests(AllocationCase):
    """RFC 8656 section 12."""

    def test_data_both_ways(self) -> None:
        """With a channel datagrams have four octets more, both ways."""
        self.ready()
        self.perform(self.allocation.bind(PEER))
        self.perform(self.allocation.bind(PEER))
        self.assertEqual(self.server.requests[Method.CHANNEL_BIND], 1)
        self.perform(self.allocation.send(b"data!", PEER))
        self.assertEqual(self.server.sent, [(b"data!", PEER)])
        self.assertEqual(self.octets, 9)
        frame = self.server.relay(b"data", PEER)
        self.assertEqual(frame, b"\x40\0\0\4data")
        self.perform(self.allocation.datagram_received(frame, SERVER))
        self.perform(self.allocation.datagram_received(b"\x40\0\0\1x\0\0\0", SERVER))
        self.assertEqual(self.others, [Deliver(PEER, b"data"), Deliver(PEER, b"x")])

    def test_renewed(self) -> None:
        """A channel is bound anew every nine minutes, with the same number; its permission every four."""
        self.ready()
        self.perform(self.allocation.bind(PEER))
        self.perform(self.allocation.bind((PEER[0], 5001)))
        self.clock.advance(540)
        self.assertEqual(self.server.requests[Method.CHANNEL_BIND], 4)
        self.assertEqual(self.server.requests[Method.CREATE_PERMISSION], 3)
        self.assertEqual(self.server.channels, {0x4000: PEER, 0x4001: (PEER[0], 5001)})

    def test_refused(self) -> None:
        """Where the server refuses a channel, indications go on, and it is not asked again."""
        self.ready()
        self.server.refusals[Method.CHANNEL_BIND] = (400, ())
        self.perform(self.allocation.bind(PEER))
        self.perform(self.allocation.bind(PEER))
        self.perform(self.allocation.send(b"data", PEER))
        self.assertEqual(self.server.sent, [(b"data", PEER)])
        self.assertEqual(self.server.requests[Method.CHANNEL_BIND], 1)
        self.assertEqual(self.others, [])

    def test_bounded(self) -> None:
        """There are as many channels as peers at most."""
        self.ready(max_peers=2)
        self.perform(self.allocation.bind(PEER))
        self.perform(self.allocation.bind((PEER[0], 5001)))
        self.assertRaises(ResourcesExhaustedError, self.allocation.bind, (PEER[0], 5002))


class CloseTests(AllocationCase):
    """RFC 8656 section 8: lifetime 0."""

    def test_released(self) -> None:
        """The allocation is given back, and nothing of it is left."""
        self.ready()
        self.perform(self.allocation.bind(PEER))
        self.perform(self.allocation.close())
        self.assertFalse(self.server.has)
        self.assertEqual(self.server.lifetimes, [600, 0])
        self.assert_ended(Over())
        self.assertEqual(self.allocation.close(), ())
        self.assertRaises(InvalidStateError, self.allocation.send, b"", PEER)
        self.assertEqual(self.allocation.datagram_received(self.server.relay(b"", PEER), SERVER), ())

    def test_released_with_a_stale_nonce(self) -> None:
        """A new nonce does not keep it."""
        self.ready()
        self.server.nonce = b"second"
        self.perform(self.allocation.close())
        self.assertFalse(self.server.has)
        self.assert_ended(Over())

    def test_server_that_forgot(self) -> None:
        """A server without the allocation has nothing to give back."""
        self.ready()
        self.server.has = False
        self.perform(self.allocation.close())
        self.assert_ended(Over())

    def test_server_that_went_away(self) -> None:
        """Without an answer it is over after four seconds."""
        self.ready()
        self.is_heard = False
        self.perform(self.allocation.close())
        self.perform(self.allocation.close())
        self.clock.run()
        self.assert_ended(Over())
        self.assertEqual(self.clock.seconds(), 4.0)

    def test_before_it_began(self) -> None:
        """One that was not asked for is over at once."""
        self.perform(self.allocation.close())
        self.assert_ended(Over())
        self.assertRaises(InvalidStateError, self.allocation.start)

    def test_while_it_is_asked_for(self) -> None:
        """One that is given up before the challenge is not made; without any answer it is over after four seconds."""
        self.is_heard = False
        self.perform(self.allocation.start())
        self.perform(self.allocation.close())
        self.perform(self.allocation.close())
        self.clock.run()
        self.assert_ended(Over())
        self.assertEqual(self.clock.seconds(), 4.0)

    def test_answer_after_the_end(self) -> None:
        """One that is made after it was given up is given back; a challenge after that is not answered."""
        for is_open in (True, False):
            self.setUp()
            self.server.is_open = is_open
            self.is_heard = False
            effects = self.allocation.start()
            self.perform(effects)
            self.perform(self.allocation.close())
            self.is_heard = True
            self.perform(tuple(effect for effect in effects if isinstance(effect, Send)))
            self.assertFalse(self.server.has)
            self.assertEqual(self.server.lifetimes, [600, 0] if is_open else [])
            self.assert_ended(Over())


class HostileTests(AllocationCase):
    """Whatever the server's address sends does no harm."""

    @given(st.lists(st.binary(max_size=60), max_size=10), st.sampled_from([b"", b"\x40\0", b"\0\x17", b"\1\x03"]))
    def test_any_octets(self, datagrams: list[bytes], start: bytes) -> None:
        """Any octets from there, with the beginnings of messages and without, change nothing."""
        self.setUp()
        self.ready()
        self.perform(self.allocation.bind(PEER))
        before = Counter(self.server.requests)
        for data in datagrams:
            size = len(data).to_bytes(2, "big")
            header = start + size + (MAGIC_COOKIE + bytes(12) if start and start[0] < 0x40 else b"") if start else b""
            self.perform(self.allocation.datagram_received(header + data, SERVER))
        self.assertIs(self.allocation.state, State.READY)
        self.assertEqual(self.server.requests, before)
        self.assertTrue(all(isinstance(effect, Deliver) for effect in self.others))

    def test_channel_data_that_is_cut_off(self) -> None:
        """ChannelData shorter than it says, or of a channel that is none, is passed over."""
        self.ready()
        self.perform(self.allocation.bind(PEER))
        for data in (
            b"\x40",
            b"\x40\0",
            b"\x40\0\0",
            b"\x40\0\0\1",
            b"\x40\0\xff\xffdata",
            b"\x4f\xff\0\0",
            b"\x40\1\0\0",
        ):
            self.perform(self.allocation.datagram_received(data, SERVER))
        self.assertEqual(self.others, [])
