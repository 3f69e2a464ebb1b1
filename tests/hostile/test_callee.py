"""Callees that misbehave: the caller hears the truth, both legs end, and what it costs is bounded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from sipd.routing.rules import StaticRoute
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.testing import builders
from sipd.testing.calls import PeerCall
from sipd.testing.links import Address
from sipd.testing.network import Host
from tests.hostile.support import ALICE, BOB, SERVER, HostileCase

#: What a callee says to an INVITE.
Says = Callable[[Request], Sequence[Response]]


class RudePhone(DatagramProtocol):
    """A UDP socket that answers an INVITE as it was told, everything else but ACK with 200.

    Attributes:
        seen: the messages that came.
        answers_others: whether anything but INVITE is answered.
    """

    noisy = False

    def __init__(self, host: Host, says: Says) -> None:
        self.seen: list[Request | Response] = []
        self.answers_others = True
        self._says = says
        self._port = host.listenUDP(5060, self, maxPacketSize=65536)

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """See `DatagramProtocol`."""
        message = parse_datagram(datagram)
        self.seen.append(message)
        if not isinstance(message, Request) or message.method == "ACK":
            return
        if message.method == "INVITE":
            for response in self._says(message):
                self.send(response.to_bytes(), addr)
        elif self.answers_others:
            self.send(builders.response(message, 200).to_bytes(), addr)

    def send(self, data: bytes, address: Address = (SERVER, 5060)) -> None:
        """Send anything."""
        self._port.write(data, address)

    def methods(self) -> list[str]:
        """Give the methods of the requests that came."""
        return [message.method for message in self.seen if isinstance(message, Request)]


def answer(invite: Request, to_tag: str | None = "to-tag", contact: str | None = "<sip:bob@192.0.2.2>") -> Response:
    """Give a good 200, as far as the arguments let it be one."""
    return builders.response(invite, 200, to_tag=to_tag, contact=contact, body=builders.sdp_answer(invite.body))


class CalleeTests(HostileCase):
    """Alice calls somebody who misbehaves."""

    routes = (StaticRoute(name="rude", user=None, to=f"sip:callee@{BOB}:5060"),)

    def call(self, says: Says, *, answers_others: bool = True) -> PeerCall:
        """Let alice call; give her end a second later."""
        self.phone = RudePhone(self.arena.network.host(BOB), says)
        self.phone.answers_others = answers_others
        alice = self.arena.peer("alice", ALICE, registered=False)
        self.arena.mark()
        call = alice.call("bob")
        self.arena.clock.advance(1.0)
        return call

    def finish(self, call: PeerCall) -> None:
        """Hang up, if there is something to hang up."""
        call.hang_up()
        self.arena.clock.advance(60.0)
        self.assert_unharmed()

    def test_refusals_whose_details_are_nonsense(self) -> None:
        """A 486 stays a 486, whatever its Contact, its body or its Content-Type says."""
        details: Sequence[dict[str, Any]] = (
            {"headers": (("Contact", "<<"),)},
            {"body": b"nonsense"},
            {"body": b"nonsense", "content_type": "x"},
            {"body": b"--", "content_type": "multipart/mixed"},
            {"body": b"v=0\r\nm=audio x", "headers": (("Record-Route", ","),)},
        )
        for detail in details:
            self.setUp()
            call = self.call(partial(_refuse, 486, detail))
            self.assertEqual(call.status, 486, detail)
            (record,) = self.arena.server.records.records
            self.assertEqual((record.status, record.cause), (486, "sip:486"))
            self.finish(call)

    def test_ringing_whose_details_are_nonsense(self) -> None:
        """A provisional response with a body that nobody can read rings all the same, without the body."""
        details: Sequence[dict[str, Any]] = (
            {"contact": "<<"},
            {"body": b"nonsense"},
            {"body": b"nonsense", "content_type": "x"},
            {"body": b"--", "content_type": "multipart/mixed"},
            {"headers": (("Record-Route", "x"),)},
        )
        for detail in details:
            self.setUp()
            call = self.call(partial(_ring_and_answer, detail))
            self.assertTrue(call.is_answered, (detail, call))
            rung = [message for message in call.peer.seen if isinstance(message, Response) and message.status == 183]
            self.assertEqual([message.body for message in rung], [b""], detail)
            self.finish(call)

    def test_answers_that_make_no_dialog(self) -> None:
        """The caller of a callee whose 200 cannot be used hears 5xx or 488, not that the request was bad."""
        for says in (
            lambda invite: [answer(invite, contact="<<")],
            lambda invite: [builders.response(invite, 200, headers=(("Record-Route", "x"),), body=invite.body)],
            lambda invite: [builders.response(invite, 200, body=b"nonsense")],
            lambda invite: [builders.response(invite, 200, body=b"x", content_type="multipart/mixed")],
            lambda invite: [builders.response(invite, 200)],
            lambda invite: [builders.response(invite, 200, body=builders.sdp(media=()))],
        ):
            self.setUp()
            call = self.call(says)
            self.assertIn(call.status, (488, 502))
            self.finish(call)

    def test_many_forks(self) -> None:
        """Of a thousand 2xx with other tags some are acknowledged and ended, and then no more: no BYE storm."""
        forks = [f"fork-{number}" for number in range(1000)]
        call = self.call(lambda invite: [answer(invite, fork) for fork in forks], answers_others=False)
        self.assertTrue(call.is_answered)
        self.arena.clock.advance(64.0)
        limit = self.arena.server.agent.settings.max_early_dialogs
        methods = self.phone.methods()
        self.assertEqual(methods.count("ACK"), 1 + limit)
        # Timer E: at 0, 0.5, 1.5, 3.5, 7.5, and then each 4 s until 32 s.
        self.assertEqual(methods.count("BYE"), 11 * limit)
        self.finish(call)


def _refuse(status: int, detail: dict[str, Any], invite: Request) -> list[Response]:
    return [builders.response(invite, status, **detail)]


def _ring_and_answer(detail: dict[str, Any], invite: Request) -> list[Response]:
    return [builders.response(invite, 183, **detail), answer(invite)]
