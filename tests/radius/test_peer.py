"""One RADIUS server: repetition, identifiers, which answers count, and the end."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError

from sipd.radius.peer import MAX_REQUESTS, RadiusPeer, RadiusServer, RadiusSettings, RadiusUnavailableError
from tests.radius.server import FakeRadiusServer
from tests.radius.support import ACCEPT, ADDRESSES, CHALLENGE, CODES, PORT, REJECT, RadiusCase, make_request


def raiser(error: Exception) -> Callable[..., Any]:
    """Give a function that fails."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


class PeerCase(RadiusCase):
    """A peer for the first server."""

    def setUp(self) -> None:
        super().setUp()
        self.peer = self.make()

    def tearDown(self) -> None:
        self.successResultOf(self.peer.close())
        self.assertEqual(len(self.peer), 0)
        super().tearDown()

    def make(self, first_identifier: int = 0, **values: Any) -> RadiusPeer:
        """Make one that sends twice, a second apart."""
        return RadiusPeer(
            self.servers[0], RadiusSettings(**values), reactor=self.host, first_identifier=first_identifier
        )

    def ask(self, seconds: float = 0.5, codes: Container[int] = CODES) -> Deferred[int]:
        """Ask, and let some time pass."""
        return self.start(self.peer.ask(make_request, codes), seconds)


class AskTests(PeerCase):
    """Requests."""

    def test_answered(self) -> None:
        """The code of the answer is the result, whatever it says, and nothing is left."""
        for code in CODES:
            self.first.code = code
            self.assertEqual(self.successResultOf(self.ask()), code)
        self.assertEqual((len(self.peer), self.clock.getDelayedCalls(), self.counts()), (0, [], [2, 0]))

    def test_repeated(self) -> None:
        """A request is repeated as it was; a server that answers the second one does not rest."""
        self.first.is_silent = True
        waiting = self.ask(0.9)
        self.first.is_silent = False
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(waiting), ACCEPT)
        self.assertEqual(*self.first.requests)
        self.assertFalse(self.peer.is_resting)

    def test_silence(self) -> None:
        """A server that answers no try rests for a while, or until it answers."""
        self.first.is_silent = True
        waiting = self.ask(1.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        error = self.failureResultOf(waiting, RadiusUnavailableError).value
        self.assertEqual((str(error), self.counts()), ("no answer from 192.0.2.1:1812", [2, 0]))
        self.assertTrue(self.peer.is_resting)
        self.clock.advance(29.8)
        self.assertTrue(self.peer.is_resting)
        self.clock.advance(0.2)
        self.assertFalse(self.peer.is_resting)
        self.failureResultOf(self.ask(2.1), RadiusUnavailableError)
        self.first.is_silent = False
        self.successResultOf(self.ask())
        self.assertFalse(self.peer.is_resting)

    def test_settings(self) -> None:
        """How often, and after how long, is said by whoever makes it."""
        self.first.is_silent = True
        self.peer = self.make(timeout=2.0, tries=3, rest=60.0)
        waiting = self.ask(5.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.failureResultOf(waiting, RadiusUnavailableError)
        self.assertEqual(self.counts(), [3, 0])
        self.clock.advance(59)
        self.assertTrue(self.peer.is_resting)

    def test_identifiers(self) -> None:
        """They go round from where they shall begin, so that one is used again as late as can be."""
        self.peer = self.make(first_identifier=254)
        for _ in range(3):
            self.successResultOf(self.ask())
        self.assertEqual([data[1] for data in self.first.requests], [255, 0, 1])

    def test_bound(self) -> None:
        """As many can be open as there are identifiers; one more fails, and there is room again later."""
        self.first.is_silent = True
        waiting = [self.ask(0) for _ in range(MAX_REQUESTS)]
        self.failureResultOf(self.ask(0), RadiusUnavailableError)
        self.assertFalse(self.peer.is_resting)
        self.clock.advance(0.5)
        self.assertEqual(len({data[1] for data in self.first.requests}), MAX_REQUESTS)
        waiting.pop().addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        self.assertEqual(len(self.peer), MAX_REQUESTS - 1)
        self.first.is_silent = False
        waiting.append(self.ask(1.5))
        for one in waiting:
            self.successResultOf(one)

    def test_what_cannot_be_made(self) -> None:
        """A request that cannot be made is nobody's silence: the error comes out, and no identifier is lost."""
        self.failureResultOf(self.start(self.peer.ask(raiser(ValueError("too long")), CODES)), ValueError)
        self.assertEqual((len(self.peer), self.peer.is_resting), (0, False))

    def test_not_sent(self) -> None:
        """A datagram that cannot be sent is sent again like one that was lost."""
        self.successResultOf(self.ask())
        broken = self.patch(self.peer.transport, "write", raiser(OSError(101, "Network is unreachable")))
        waiting = self.ask(0)
        broken.restore()
        self.clock.advance(1.5)
        self.successResultOf(waiting)
        self.assertEqual(self.counts(), [2, 0])

    def test_no_socket(self) -> None:
        """Without a socket there is no answer, and the server is not to blame; the next request tries again."""
        error = CannotListenError("", 0, OSError(24, "Too many open files"))
        full = self.patch(self.host, "listenUDP", raiser(error))
        reason = str(self.failureResultOf(self.ask(), RadiusUnavailableError).value)
        full.restore()
        self.assertTrue(reason.startswith("no socket for 192.0.2.1:1812: "), reason)
        self.assertFalse(self.peer.is_resting)
        self.successResultOf(self.ask())

    def test_refused(self) -> None:
        """That nobody is there is no end: the server may be back for the next try."""
        self.first.is_silent = True
        waiting = self.ask()
        self.peer.connectionRefused()
        self.first.is_silent = False
        self.clock.advance(1)
        self.successResultOf(waiting)

    def test_ipv6(self) -> None:
        """A server may have an IPv6 address."""
        server = RadiusServer(host="2001:db8::1", port=PORT, secret=b"testing")
        self.network.host(server.host).listenUDP(PORT, FakeRadiusServer(), interface="::")
        peer = RadiusPeer(server, RadiusSettings(), reactor=self.network.host("2001:db8::100"))
        self.assertEqual(self.successResultOf(self.start(peer.ask(make_request, CODES))), ACCEPT)
        self.successResultOf(peer.close())

    def test_close(self) -> None:
        """Open requests end with the socket, and nothing is asked after it."""
        self.first.is_silent = True
        waiting = self.ask()
        for _ in range(2):
            self.successResultOf(self.peer.close())
        self.failureResultOf(waiting, RadiusUnavailableError)
        self.failureResultOf(self.ask(), RadiusUnavailableError)
        self.assertEqual((self.counts(), self.peer.is_resting), ([1, 0], False))

    def test_names(self) -> None:
        """A server is named by its address, and never by its secret."""
        server = RadiusServer(host="2001:db8::1", port=1813, secret=b"hunter2")
        self.assertEqual(str(server), "[2001:db8::1]:1813")
        self.assertNotIn("hunter2", repr(server))


class ForgeryTests(PeerCase):
    """What is not believed."""

    def setUp(self) -> None:
        """The server keeps silent, and a request waits."""
        super().setUp()
        self.first.is_silent = True
        self.waiting = self.ask(0.1)
        (self.request,) = self.first.requests

    def tearDown(self) -> None:
        """What was not believed has changed nothing: the true answer counts."""
        if not self.waiting.called:
            self.first.signs = True
            self.first.secret = b"testing"
            self.send(self.first.answer(self.request, ACCEPT))
            self.assertEqual(self.successResultOf(self.waiting), ACCEPT)
        super().tearDown()

    def send(self, data: bytes) -> None:
        """Let the server say something."""
        self.first.send(data, self.place())
        self.clock.advance(0.1)

    def test_other_secret(self) -> None:
        """An answer with another secret does not count; one line in the log says so."""
        self.first.secret = b"other"
        for _ in range(2):
            self.send(self.first.answer(self.request, ACCEPT))
        self.assertNoResult(self.waiting)
        (line,) = self.errors.lines
        self.assertTrue(line.startswith("RADIUS server 192.0.2.1:1812 sends what is not signed"), line)

    def test_no_message_authenticator(self) -> None:
        """An answer without a Message-Authenticator could be forged, and does not count."""
        self.first.signs = False
        self.send(self.first.answer(self.request, ACCEPT))
        self.assertNoResult(self.waiting)
        self.assertEqual(len(self.errors.lines), 1)

    def test_no_message_authenticator_wanted(self) -> None:
        """Unless it is said that it does."""
        self.first.is_silent = self.first.signs = False
        lenient = self.make(needs_message_authenticator=False)
        self.assertEqual(self.successResultOf(self.start(lenient.ask(make_request, CODES))), ACCEPT)
        self.successResultOf(lenient.close())
        self.send(self.first.answer(self.request, ACCEPT))
        self.assertNoResult(self.waiting)

    def test_other_request(self) -> None:
        """A recorded answer is worth nothing for another request, even under the same identifier."""
        self.send(self.first.answer(self.request[:4] + bytes(16), ACCEPT))
        self.assertNoResult(self.waiting)

    def test_other_code(self) -> None:
        """A signed packet of a kind that was not asked for is no answer, and no reason to complain."""
        self.send(self.first.answer(self.request, CHALLENGE))
        self.assertNoResult(self.waiting)
        self.assertEqual(self.errors.lines, [])

    def test_identifier_not_in_use(self) -> None:
        """What comes late, or twice, is dropped."""
        for data in (b"", b"\2", bytes((ACCEPT, self.request[1] + 1)) + bytes(30)):
            self.send(data)
        self.send(self.first.answer(self.request, REJECT))
        self.assertEqual(self.successResultOf(self.waiting), REJECT)
        self.send(self.first.answer(self.request, ACCEPT))
        self.assertEqual(self.errors.lines, [])

    def test_someone_else(self) -> None:
        """A datagram from another place does not count, though the signature is right."""
        stranger = FakeRadiusServer()
        self.network.host("192.0.2.66").listenUDP(PORT, stranger)
        stranger.send(self.first.answer(self.request, ACCEPT), self.place())
        self.clock.advance(0.1)
        self.assertNoResult(self.waiting)

    @given(st.binary(max_size=80), st.booleans())
    @settings(deadline=None, max_examples=300)
    def test_rubbish(self, data: bytes, has_head: bool) -> None:
        """Whatever a server sends, it is no answer unless it is signed."""
        if has_head:
            length = (20 + len(data)).to_bytes(2, "big")
            data = bytes((ACCEPT, self.request[1])) + length + bytes(16) + data
        self.peer.datagramReceived(data, (ADDRESSES[0], PORT))
        self.assertNoResult(self.waiting)
