"""Floods against the guards: who sends them is not heard, and nobody else notices."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from sipd.guards.door import ScannerAction
from sipd.guards.guards import GuardSettings
from sipd.guards.limits import CallLimits, TrunkLimits
from sipd.guards.overload import OverloadSettings
from sipd.guards.scanners import KNOWN_SCANNERS, SuspicionSettings
from sipd.routing.rules import StaticRoute
from sipd.sip.message import Response
from sipd.testing import builders
from sipd.testing.calls import CallState, Outcome
from sipd.testing.peer import Peer
from tests.guards.support import security_lines
from tests.hostile.support import ALICE, BOB, STRANGER, USERS, Arena, HostileCase, count_lines

FROM_STRANGER = f"{STRANGER}:5060"
TO_THE_PHONE = StaticRoute(name="all", to=f"sip:callee@{BOB}:5060", authenticate=False)


class GuardedCase(HostileCase):
    """A server with guards."""

    def guarded(self, routes: tuple[StaticRoute, ...] = (), **settings: Any) -> Arena:
        """Give an arena whose server is guarded, and keep the lines on security."""
        self.lines = security_lines(self)
        self.arena = Arena(USERS, routes, guards=GuardSettings(**settings))
        return self.arena

    def invite(self, number: int, *, user: str = "alice", agent: str = "a phone") -> bytes:
        """Give an INVITE of the stranger, each in a call of its own."""
        name = f"flood-{number}"
        return builders.invite(
            f"sip:{user}@example.com",
            via=FROM_STRANGER,
            branch=f"z9hG4bK-{name}",
            call_id=name,
            from_tag=name,
            contact=f"<sip:x@{STRANGER}>",
            headers=(("User-Agent", agent),),
        ).to_bytes()

    def flood(self, number: int, **more: Any) -> None:
        """Send so many of them at once."""
        arena = self.arena
        for one in range(number):
            arena.network.send_datagram(
                arena.stranger, (STRANGER, 5060), ("192.0.2.100", 5060), self.invite(one, **more)
            )

    def phones(self) -> tuple[Peer, Peer]:
        """Give two phones that are registered; the second one answers."""
        alice, bob = self.arena.peer("alice", ALICE), self.arena.peer("bob", BOB)
        bob.auto_answer(0.5)
        return alice, bob

    def assert_can_call(self, caller: Peer, number: str = "bob") -> None:
        """Say that a phone reaches another one, and that they hang up."""
        call = caller.call(f"sip:{number}@example.com")
        self.arena.clock.advance(3.0)
        self.assertTrue(call.state is CallState.ANSWERED, call.log)
        call.hang_up()
        self.arena.clock.advance(1.0)


class FloodTests(GuardedCase):
    """More than is read of one source."""

    def test_another_one_calls(self) -> None:
        """While one source sends thousands of INVITEs, another one registers and calls as if nothing were."""
        arena = self.guarded(messages_per_second=50)
        alice, bob = self.phones()
        arena.mark()
        for _ in range(5):
            self.flood(1000)
            self.assert_can_call(alice)
        self.assertEqual(len(bob.calls), 5)
        guards = arena.server.guards
        assert guards is not None
        # A call takes four seconds of each flood, which came within one.
        self.assertEqual(guards.door.flooded, 5 * (1000 - 50))
        self.assertEqual(self.lines, [f'security: flood src={STRANGER} port= messages="50"'])
        arena.clock.advance(2.0)
        self.assert_unharmed()

    def test_costs_nothing(self) -> None:
        """What is dropped costs a few lines of Python, no transaction and no answer."""
        arena = self.guarded(deny=(ip_network(STRANGER),))
        arena.mark()
        invite = self.invite(1)
        arena.send(invite)
        door = arena.server.transport.guard
        assert door is not None
        self.assertLess(count_lines(lambda: door.drops(STRANGER)), 20)
        self.assertEqual((len(arena.server.transactions), arena.sent()), (0, []))
        self.assertEqual(arena.server.transport.counters.messages_received, 0)

    def test_connections(self) -> None:
        """Who is not listened to gets no connection, and one that it has ends with the next message."""
        arena = self.guarded()
        guards = arena.server.guards
        assert guards is not None
        stream = arena.connect()
        self.assertFalse(stream.is_lost)
        guards.door.ban(STRANGER, None, "a reason")
        arena.connect()
        self.assertEqual(arena.server.transport.connection_count, 1)
        stream.wire.write(self.invite(1))
        arena.clock.advance(5.0)
        self.assertTrue(stream.is_lost)
        self.assertEqual((stream.data, arena.server.transport.connection_count), (b"", 0))
        guards.bans.lift(STRANGER)
        self.assert_unharmed()


class ScannerTests(GuardedCase):
    """Who looks for what is open."""

    def test_by_name(self) -> None:
        """A request of a scanner is not answered; where that is set, nothing of that source is from then on."""
        for action, is_serving in ((ScannerAction.DROP, True), (ScannerAction.BAN, False)):
            arena = self.guarded(scanners=action, scanner_names=KNOWN_SCANNERS)
            arena.mark()
            for number in range(20):
                arena.send(self.invite(number, agent="friendly-scanner"))
            self.assertEqual((arena.sent(), len(arena.server.transactions)), ([], 0))
            self.assertEqual(arena.is_serving(), is_serving)
            self.assertTrue(self.lines[0].startswith(f"security: scanner src={STRANGER} port=5060 agent="), self.lines)

    def test_by_passwords(self) -> None:
        """Who asks for one user after the other and proves nothing is not heard any more; the phones are."""
        arena = self.guarded(
            scanners=ScannerAction.BAN, suspicion=SuspicionSettings(users=10, challenges=0, failures=0)
        )
        alice, _ = self.phones()
        arena.mark()
        for number in range(30):
            request = builders.register(
                f"sip:{100 + number}@example.com", via=FROM_STRANGER, branch=f"z9hG4bK-{number}", call_id=f"{number}"
            )
            arena.send(request.to_bytes())
        self.assertEqual(arena.statuses(), [401] * 10)
        self.assert_can_call(alice)


class LimitTests(GuardedCase):
    """Calls beyond a limit, through the whole server: each has a record and an explanation that says why."""

    def refused(self, **limits: Any) -> Response:
        """Let the stranger have a call that rings, and try another one; give the answer to that."""
        arena = self.guarded((TO_THE_PHONE,), limits=CallLimits(**limits))
        arena.peer("bob", BOB, registered=False).auto_ring()
        arena.send(self.invite(1))
        arena.clock.advance(0.5)
        arena.mark()
        arena.send(self.invite(2))
        (answer,) = {response.call_id: response for response in arena.answers()}.values()
        self.assertEqual(answer.call_id, "flood-2")
        return answer

    def explanation(self) -> list[str]:
        """Give what is said of the call that was refused."""
        server = self.arena.server
        (record,) = server.records.records
        return server.explanations.explain(record.id)

    def test_each_says_why(self) -> None:
        """The answer, the record and the explanation have status and text; the call that there is goes on."""
        for limits, status, text in (
            ({"calls": 1}, 503, "No More Than 1 Calls"),
            ({"calls_per_source": 1}, 480, f"No More Than 1 Calls From {STRANGER}"),
            ({"per_second": 0.1}, 503, "No More Than 0.1 Calls A Second"),
            ({"per_second_source": 0.1}, 480, f"No More Than 0.1 Calls A Second From {STRANGER}"),
        ):
            with self.subTest(limits):
                answer = self.refused(**limits)
                self.assertEqual((answer.status, answer.reason), (status, text))
                self.assertEqual(answer.headers.get("Retry-After") is not None, True)
                server = self.arena.server
                (record,) = server.records.records
                self.assertEqual((record.status, record.reason), (status, text))
                self.assertTrue(any(text in line for line in self.explanation()), self.explanation())
                self.assertEqual(len(server.b2bua), 1)
                server.b2bua.stop_calls("the test is over")
                self.assert_unharmed()

    def test_overload(self) -> None:
        """Under load new calls get 503 and those that there are go on, and end."""
        arena = self.guarded(overload=OverloadSettings(cpu=0.5))
        alice, bob = self.phones()
        call = alice.call("sip:bob@example.com")
        arena.clock.advance(3.0)
        self.assertIs(call.state, CallState.ANSWERED)
        guards = arena.server.guards
        assert guards is not None
        for _ in range(50):
            guards.overload.measured(0.0, 1.0)
        refused = bob.call("sip:alice@example.com")
        arena.clock.advance(1.0)
        self.assertEqual(refused.status, 503)
        call.hang_up()
        arena.clock.advance(1.0)
        self.assertEqual({one.ended_by for one in bob.calls[:1]}, {"them"})
        self.assert_unharmed()

    def test_longest_call(self) -> None:
        """A call is ended when it has lasted as long as it may."""
        arena = self.guarded(limits=CallLimits(duration=60.0))
        alice, bob = self.phones()
        call = alice.call("sip:bob@example.com")
        arena.clock.advance(50.0)
        self.assertIs(call.state, CallState.ANSWERED)
        arena.clock.advance(15.0)
        self.assertEqual((call.ended_by, bob.calls[0].ended_by), ("them", "them"))
        self.assert_unharmed()

    def test_what_is_counted_is_given_back(self) -> None:
        """However calls end, the gate has none when they are over, and the next ones are taken."""
        limits = CallLimits(calls=3, calls_per_user=2, calls_per_callee=2, trunk=TrunkLimits(calls_out=1))
        arena = self.guarded(limits=limits)
        alice, bob = self.phones()
        guards = arena.server.guards
        assert guards is not None
        for _ in range(4):
            self.assert_can_call(alice)
        self.assertEqual(len(guards.gate), 0)
        cancelled = bob.call("sip:alice@example.com")
        arena.clock.advance(0.2)
        cancelled.hang_up()
        nobody = alice.call("sip:nobody@example.com")
        arena.clock.advance(2.0)
        self.assertEqual((nobody.outcome, len(guards.gate)), (Outcome.REFUSED, 0))
        self.assert_unharmed()
