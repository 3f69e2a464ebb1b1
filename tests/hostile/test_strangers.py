"""Requests and responses for nobody, from the wrong place in a dialog, and with lies in their Via."""

from __future__ import annotations

from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.calls import Outcome
from tests.hostile.support import ALICE, BOB, SERVER, STRANGER, HostileCase

FROM_STRANGER = f"{STRANGER}:5060"
#: Of those that the protocol knows but this server does not take outside of a dialog.
EVENTS = ("SUBSCRIBE", "NOTIFY", "PUBLISH", "REFER")


class NobodyTests(HostileCase):
    """Messages that belong to no call."""

    def ask(self, request: Request) -> list[int]:
        """Send a request from the stranger; give the final statuses that come back."""
        self.arena.mark()
        self.arena.send(request.to_bytes())
        return [answer.status for answer in self.arena.answers() if answer.cseq == request.cseq]

    def test_in_no_dialog(self) -> None:
        """A request with a To tag that nobody gave gets 481, of whatever method; an ACK gets nothing."""
        for method in ("INVITE", "BYE", "OPTIONS", "REGISTER", "UPDATE", "PRACK", "INFO", "MESSAGE", *EVENTS):
            request = builders.request(method, via=FROM_STRANGER, to_tag="nobody", branch=f"z9hG4bK-{method}")
            self.assertEqual(self.ask(request), [481], method)
        self.assertEqual(self.ask(builders.request("ACK", via=FROM_STRANGER, to_tag="nobody")), [])
        self.assertEqual(self.arena.datagrams_sent(), [])
        self.assertEqual(len(self.arena.server.agent), 0)
        self.assert_unharmed()

    def test_outside_of_a_dialog(self) -> None:
        """Without a To tag BYE and the like get 481, what has to be proved 407, what is not served 405 or 501."""
        refused = [
            ("BYE", 481),
            ("CANCEL", 481),
            ("UPDATE", 481),
            ("PRACK", 481),
            ("INFO", 481),
            ("MESSAGE", 407),
            ("SUBSCRIBE", 407),
            ("PUBLISH", 407),
            ("NOTIFY", 481),
            ("REFER", 407),
            ("FROBNICATE", 501),
        ]
        for method, statuses in [*((method, [status]) for method, status in refused), ("ACK", [])]:
            request = builders.request(method, via=FROM_STRANGER, branch=f"z9hG4bK-{method}", call_id=method)
            self.assertEqual(self.ask(request), statuses, method)
        self.assert_unharmed()

    def test_a_flood_of_acks(self) -> None:
        """A thousand ACKs for nobody cost no answer and no transaction."""
        self.arena.mark()
        for number in range(1000):
            tag = "x" if number % 2 else None
            ack = builders.request("ACK", via=FROM_STRANGER, branch=f"z9hG4bK-{number}", to_tag=tag)
            self.arena.send(ack.to_bytes())
        self.assertEqual((self.arena.datagrams_sent(), len(self.arena.server.transactions)), ([], 0))
        self.assert_unharmed()

    def test_responses(self) -> None:
        """Responses to what was never asked are dropped, whether their Via is ours or not, and never answered."""
        self.arena.mark()
        for via in (f"{SERVER}:5060", SERVER, FROM_STRANGER, "255.255.255.255", "[::1]", "example.com"):
            for method in ("INVITE", "REGISTER", "BYE", "ACK"):
                asked = builders.request(method, via=via)
                for status in (100, 183, 200, 302, 401, 407, 486, 503, 699):
                    self.arena.send(builders.response(asked, status, body=builders.sdp()).to_bytes())
        self.assertEqual((self.arena.datagrams_sent(), len(self.arena.server.transactions)), ([], 0))
        self.assert_unharmed()

    def test_a_cancel_of_somebody_elses_invite(self) -> None:
        """Only who sent an INVITE can cancel it: another address with the same branch gets 481."""
        alice, bob = self.arena.peer("alice", ALICE), self.arena.peer("bob", BOB)
        bob.auto_ring()
        call = alice.call("bob")
        self.arena.clock.advance(1.0)
        for via in (FROM_STRANGER, f"{STRANGER}:9"):
            forged = builders.cancel(call.invite)
            forged.headers.set("Via", str(call.invite.via).replace(f"{ALICE}:5060", via))
            self.assertEqual(self.ask(forged), [481])
        self.assertEqual(bob.calls[0].status, 0)
        call.cancel()
        self.arena.clock.advance(1.0)
        self.assertEqual((call.status, bob.calls[0].status), (487, 487))
        self.assert_unharmed()


class DialogTests(HostileCase):
    """Requests that claim to belong to a call between alice and bob."""

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.arena.peer("alice", ALICE), self.arena.peer("bob", BOB)
        self.bob.auto_answer(0.1)
        self.call = self.alice.call("bob")
        self.arena.clock.advance(2.0)
        self.assertTrue(self.call.is_answered)

    def forge(self, method: str, *, cseq: int, from_tag: str = "", to_tag: str = "", call_id: str = "") -> list[int]:
        """Send a request like one of alice's from the stranger; give the final statuses that come back."""
        self.arena.mark()
        forged = builders.request(
            method,
            f"sip:bob@{SERVER}",
            via=FROM_STRANGER,
            branch=f"z9hG4bK-{method}-{cseq}-{from_tag}-{to_tag}-{call_id}",
            from_tag=from_tag or self.call.local_tag,
            to_tag=to_tag or self.call.remote_tag,
            call_id=call_id or self.call.call_id,
            cseq=cseq,
        )
        self.arena.send(forged.to_bytes())
        return [answer.status for answer in self.arena.answers() if answer.headers.get("CSeq") == f"{cseq} {method}"]

    def finish(self) -> None:
        """Hang up as bob, and see that both legs end as always."""
        self.assertTrue(self.call.is_answered)
        self.bob.calls[0].hang_up()
        self.arena.clock.advance(2.0)
        self.assertEqual({end.outcome for end in (self.call, *self.bob.calls)}, {Outcome.ANSWERED})
        self.assert_unharmed()

    def test_wrong_tags(self) -> None:
        """With a tag or a Call-ID of another dialog a request gets 481, and the call goes on."""
        for method in ("BYE", "INVITE", "OPTIONS", "INFO"):
            self.assertEqual(self.forge(method, cseq=100, from_tag="wrong"), [481])
            self.assertEqual(self.forge(method, cseq=101, to_tag="wrong"), [481])
            self.assertEqual(self.forge(method, cseq=102, call_id="wrong"), [481])
            swapped = self.forge(method, cseq=103, from_tag=self.call.remote_tag, to_tag=self.call.local_tag)
            self.assertEqual(swapped, [481])
        self.finish()

    def test_old_numbers(self) -> None:
        """A CSeq number that is not larger than the last one gets 500 (section 12.2.2), and ends nothing."""
        for number in (0, 1, self.call.invite.cseq.number):
            for method in ("BYE", "INVITE", "OPTIONS"):
                self.assertEqual(self.forge(method, cseq=number), [500])
        self.finish()

    def test_numbers_that_do_not_fit(self) -> None:
        """A CSeq number of more than 32 bits gets 400, and the next good one is taken."""
        self.assertEqual(self.forge("BYE", cseq=2**32), [400])
        self.assertEqual(self.forge("BYE", cseq=10**30), [400])
        self.finish()

    def test_unknown_methods(self) -> None:
        """Methods that are not served get 405 or 501 within a dialog as well."""
        self.assertEqual(self.forge("PUBLISH", cseq=100), [405])
        self.assertEqual(self.forge("FROBNICATE", cseq=101), [501])
        self.assertEqual(self.forge("REFER", cseq=102), [400])
        self.assertEqual(self.forge("SUBSCRIBE", cseq=103), [405])
        self.finish()

    def test_acks_with_wrong_numbers(self) -> None:
        """A 2xx goes on until the ACK of its own INVITE comes, and without one the call is ended on both legs."""
        phone = self.arena.server.peer(self.arena.network.host("192.0.2.77"), "alice")

        def lie(invite: Request, response: Response) -> None:
            ack = builders.ack(invite, response)
            ack.headers.set("CSeq", f"{invite.cseq.number + 7} ACK")
            phone.exchanges.send(ack, (SERVER, 5060))

        call = phone.call("bob")
        self.patch(call, "_acknowledge", lie)
        self.arena.clock.advance(60.0)
        self.assertEqual((call.ended_by, self.bob.calls[-1].ended_by), ("them", "them"))
        answers = [message for message in phone.seen if isinstance(message, Response) and message.status == 200]
        # At 0, 0.5, 1.5, 3.5, 7.5, ..., 31.5 s.
        self.assertEqual(len([answer for answer in answers if answer.cseq.method == "INVITE"]), 11)
        self.finish()


class ViaTests(HostileCase):
    """Where answers go: to who sent the request, whatever it says of itself."""

    def destinations(self, via: str, method: str = "OPTIONS", port: int = 5060) -> set[tuple[str, int]]:
        """Send a request with that Via; give where the server sent anything, in the next minute."""
        self.arena.mark()
        call_id = via.replace(" ", "") or "none"
        request = builders.request(method, "sip:example.com", via=None, call_id=call_id)
        request.headers.prepend("Via", via)
        self.arena.send(request.to_bytes(), port=port)
        self.arena.clock.advance(60.0)
        return {address for address, _ in self.arena.datagrams_sent()}

    def test_forged_sources(self) -> None:
        """`received` and `rport` that the sender wrote are replaced by the truth."""
        for parameters in ("received=198.51.100.7", "received=198.51.100.7;rport=99", "rport=99", "rport", "received"):
            for host in (STRANGER, "198.51.100.7", "example.com", "[2001:db8::1]"):
                via = f"SIP/2.0/UDP {host}:5060;branch=z9hG4bK1;{parameters}"
                self.assertEqual(self.destinations(via), {(STRANGER, 5060)}, via)
        self.assertEqual(self.destinations("SIP/2.0/UDP h:99;branch=z9hG4bK2;rport=7", port=1234), {(STRANGER, 1234)})
        self.assert_unharmed()

    def test_forged_sources_on_a_stream(self) -> None:
        """On a connection answers go back on it, whatever the Via says, and nothing is connected to."""
        stream = self.arena.connect()
        for via in (
            "SIP/2.0/TCP 198.51.100.7:99;received=198.51.100.8",
            f"SIP/2.0/UDP {SERVER};rport=1;maddr=224.0.0.1",
        ):
            request = builders.options("sip:example.com", via=None, call_id=str(len(via)))
            request.headers.prepend("Via", f"{via};branch=z9hG4bK1")
            stream.wire.write(request.to_bytes())
            self.arena.clock.advance(1.0)
        self.assertEqual(stream.statuses(), [200, 200])
        self.assertEqual(self.arena.server.transport.connection_count, 1)
        stream.wire.loseConnection()
        self.assert_unharmed()

    def test_our_own_address(self) -> None:
        """A Via that says it is ours is stamped like any other: the answer goes to the sender, not round in circles."""
        for method in ("OPTIONS", "REGISTER", "INVITE", "BYE", "FROBNICATE"):
            for via in (f"{SERVER}:5060", SERVER):
                found = self.destinations(f"SIP/2.0/UDP {via};branch=z9hG4bK-{method};rport", method)
                self.assertEqual(found, {(STRANGER, 5060)}, method)
        self.assert_unharmed()

    def test_from_our_own_address(self) -> None:
        """What seems to come from the server itself is answered to itself once, and the answer is dropped."""
        for method in ("OPTIONS", "REGISTER", "INVITE", "BYE"):
            request = builders.request(method, via=f"{SERVER}:5060", call_id=method, branch=f"z9hG4bK{method}")
            before = len(self.arena.network.log)
            self.arena.network.send_datagram(self.arena.stranger, (SERVER, 5060), (SERVER, 5060), request.to_bytes())
            self.arena.clock.advance(60.0)
            # The request, and its answer, each with its arrival: eleven times for what nobody acknowledges.
            self.assertLessEqual(len(self.arena.network.log) - before, 2 + 2 * (11 if method == "INVITE" else 1))
        self.assert_unharmed()

    def test_maddr(self) -> None:
        """An answer goes to the address in `maddr` (18.2.2), once, if it is a unicast one of the same family."""
        found = self.destinations(f"SIP/2.0/UDP {STRANGER}:5070;branch=z9hG4bK1;maddr=198.51.100.7")
        self.assertEqual(found, {("198.51.100.7", 5070)})
        for maddr in ("[2001:db8::1]", "example.com", "x", "", "1.2.3", "999.1.1.1"):
            via = f"SIP/2.0/UDP {STRANGER};branch=z9hG4bK2;maddr={maddr}"
            self.assertLessEqual(self.destinations(via), {(STRANGER, 5060)}, maddr)
        self.assert_unharmed()

    def test_maddr_of_many(self) -> None:
        """No answer goes to a broadcast or multicast address, nor to what listens on the server's own host."""
        for maddr in ("255.255.255.255", "224.0.1.75", "239.1.2.3", "0.0.0.0", "127.0.0.1"):
            via = f"SIP/2.0/UDP {STRANGER};branch=z9hG4bK3;maddr={maddr}"
            self.assertLessEqual(self.destinations(via), {(STRANGER, 5060)}, maddr)
        self.assert_unharmed()

    def test_a_hundred_vias(self) -> None:
        """All Via values come back, in order, and only the first one is looked at."""
        vias = [f"SIP/2.0/UDP h{number}.example.com;branch=z9hG4bK{number}" for number in range(100)]
        for lines in (vias, [", ".join(vias)], [", ".join(vias[:50]), ", ".join(vias[50:])]):
            self.arena.mark()
            request = builders.options("sip:example.com", via=None, call_id=str(len(lines)))
            for line in reversed(lines):
                request.headers.prepend("Via", line)
            self.arena.send(request.to_bytes())
            (answer,) = self.arena.answers()
            self.assertEqual([via.host for via in answer.vias], [f"h{number}.example.com" for number in range(100)])
            self.assertEqual(answer.via.received, STRANGER)
        self.assert_unharmed()

    def test_malformed_ones(self) -> None:
        """Without a Via that can be read there is nowhere to answer to: nothing is sent."""
        for via in ("", ",", "SIP/2.0/UDP", "SIP/2.0/UDP h,", "h", "SIP/2.0/UDP h;branch=x, x", "SIP/2.0/UDP h:99999"):
            self.assertEqual(self.destinations(via), set(), via)
        self.assert_unharmed()
