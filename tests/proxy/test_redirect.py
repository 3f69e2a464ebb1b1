"""The redirect server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface.verify import verifyObject

from sipd.errors import RemoteError, RequestRefusedError
from sipd.interfaces import IFlow, ITransactionCore
from sipd.proxy.redirect import RedirectServer
from sipd.sip.fields import NameAddr
from sipd.sip.message import Request
from sipd.testing import builders
from sipd.testing.links import Link
from sipd.transaction.layer import TransactionLayer
from tests.proxy.support import ALICE, NetworkCase


class RedirectTests(NetworkCase):
    """Alice asks for somebody who is elsewhere."""

    def make(self, link: Link, seed: int = 1) -> None:
        """Put the server on its host."""
        super().make(link, seed)
        self.transactions = TransactionLayer(
            clock=self.host, transport=self.transport, entropy=self.network.entropy, max_transactions=100
        )
        self.transport.receiver = self.transactions
        self.contacts: tuple[str, ...] = ()
        self.answers: list[Deferred[Sequence[NameAddr]]] = []
        self.asked: list[Request] = []
        self.alice = self.wire(ALICE)
        self.make_server()

    def make_server(self, **options: Any) -> None:
        """Make it, or another one in its place."""
        self.server = RedirectServer(self.find, clock=self.host, entropy=self.network.entropy, **options)
        self.transactions.core = self.server
        verifyObject(ITransactionCore, self.server)

    def find(self, request: Request, flow: IFlow) -> Deferred[Sequence[NameAddr]]:
        """Give the contacts."""
        self.asked.append(request)
        if self.answers:
            return self.answers[0]
        return succeed([NameAddr.parse(text) for text in self.contacts])

    def send(self, method: str = "INVITE", **options: Any) -> Request:
        """Send a request of Alice's."""
        request = builders.request(method, via=f"{ALICE}:5060", **options)
        self.alice.send(request)
        self.pass_time()
        return request

    def settle(self) -> None:
        """Let all timers run out; nothing may be left."""
        self.clock.advance(100)
        self.assertEqual((len(self.server), len(self.transactions)), (0, 0))

    def test_one(self) -> None:
        """One address is 302."""
        self.contacts = ("<sip:bob@192.0.2.2>;expires=60",)
        invite = self.send()
        response = self.alice.response(302)
        self.assertEqual(response.headers.get_all("Contact"), ["<sip:bob@192.0.2.2>;expires=60"])
        self.assertTrue(response.to.tag)
        self.alice.send(builders.ack(invite, response))
        self.pass_time()
        self.assertEqual(self.alice.kinds(), ["302"])
        self.settle()

    def test_other_status(self) -> None:
        """Or another 3xx; others are no redirections, and bounds are positive."""
        self.make_server(status=301)
        self.contacts = ("<sip:bob@192.0.2.2>",)
        self.send("MESSAGE")
        self.assertEqual(self.alice.kinds(), ["301"])
        for options in ({"status": 200}, {"status": 400}, {"max_pending": 0}, {"max_contacts": 0}):
            self.assertRaises(ValueError, self.make_server, **options)
        self.settle()

    def test_several(self) -> None:
        """Several are 300, in their order, up to the bound."""
        self.make_server(max_contacts=2)
        self.contacts = ("<sip:a@x>;q=0.7", "<sip:b@x>", "<sip:c@x>")
        self.send("OPTIONS")
        self.assertEqual(self.alice.response(300).headers.get_all("Contact"), ["<sip:a@x>;q=0.7", "<sip:b@x>"])
        self.settle()

    def test_none(self) -> None:
        """None is 404, and so is the same address again."""
        self.send("MESSAGE")
        self.contacts = (f"<{builders.BOB}>",)
        self.send("MESSAGE", branch="z9hG4bK-2")
        self.assertEqual(self.alice.kinds(), ["404", "404"])
        self.settle()

    def test_odd_requests(self) -> None:
        """Extensions and methods that nobody knows make no difference; a scheme does."""
        self.contacts = ("<sip:b@x>",)
        self.send("FROBNICATE", headers=[("Require", "x"), ("Proxy-Require", "y")], max_forwards=0)
        self.send("MESSAGE", uri="x:y", branch="z9hG4bK-2")
        self.assertEqual(self.alice.kinds(), ["302", "416"])
        self.settle()

    def test_refusal(self) -> None:
        """A refusal of the application's is answered, with its header fields."""
        for error in (RequestRefusedError("No", status=403, headers=(("X-Why", "so"),)), RemoteError("No", status=403)):
            self.answers = [Deferred()]
            self.send("MESSAGE", branch=f"z9hG4bK-{len(self.asked)}")
            self.answers.pop().errback(error)
            self.pass_time()
            why = "so" if isinstance(error, RequestRefusedError) else None
            response = self.alice.response(403)
            self.assertEqual((response.reason, response.headers.get("X-Why")), ("No", why))
        self.settle()

    def test_mistake(self) -> None:
        """An application that fails otherwise, or says what no header field can say, is logged: 500."""
        self.answers = [Deferred()]
        self.send("MESSAGE")
        self.answers.pop().errback(ZeroDivisionError())
        self.pass_time()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.answers = [Deferred()]
        self.send("MESSAGE", branch="z9hG4bK-2")
        self.answers.pop().callback([NameAddr(NameAddr.parse("<sip:b@x>").uri, "line\nbreak")])
        self.pass_time()
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.assertEqual(self.alice.kinds(), ["500", "500"])
        self.settle()

    def test_cancel(self) -> None:
        """A caller that gives up gets its 487, and the application is told."""
        cancelled: list[object] = []
        self.answers = [Deferred(cancelled.append)]
        invite = self.send()
        self.assertEqual(len(self.server), 1)
        self.alice.send(builders.cancel(invite))
        self.pass_time()
        self.alice.send(builders.ack(invite, self.alice.response(487)))
        self.pass_time()
        self.assertEqual((self.alice.kinds(), len(cancelled)), (["200", "487"], 1))
        self.settle()

    def test_late(self) -> None:
        """When the client of a request that is no INVITE has given up the application is told."""
        self.make_server(timeout=60.0)
        cancelled: list[object] = []
        self.answers = [Deferred(cancelled.append)]
        self.send("MESSAGE")
        self.settle()
        self.assertEqual((set(self.alice.kinds()), len(cancelled)), ({"100"}, 1))

    def test_slow(self) -> None:
        """An INVITE does not wait for ever: the application is told, and the caller gets 504."""
        cancelled: list[object] = []
        self.answers = [Deferred(cancelled.append)]
        invite = self.send()
        self.pass_time(30)
        self.alice.send(builders.ack(invite, self.alice.response(504)))
        self.assertEqual((self.alice.kinds()[-1], len(cancelled)), ("504", 1))
        self.settle()

    def test_bound(self) -> None:
        """With too many that wait a request is refused with 503."""
        self.make_server(max_pending=1)
        self.answers = [Deferred()]
        self.send("MESSAGE")
        self.send("MESSAGE", branch="z9hG4bK-2")
        self.assertEqual(self.alice.response(503).headers.get("Retry-After"), "10")
        self.server.close()
        self.server.close()
        self.settle()

    def test_strays(self) -> None:
        """An ACK and a response that nobody waits for are dropped."""
        self.send("ACK", to_tag="x")
        self.alice.send(builders.response(builders.invite(via="192.0.2.100:5060"), 200))
        self.pass_time()
        self.assertEqual(self.alice.kinds(), [])
        self.settle()
