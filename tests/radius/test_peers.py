"""Several RADIUS servers: which one is asked, and when none answers."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from sipd.radius.peer import RadiusSettings, RadiusUnavailableError
from sipd.radius.peers import RadiusPeers
from tests.radius.support import ACCEPT, ADDRESSES, CODES, REJECT, RadiusCase, make_request


class PeersTests(RadiusCase):
    """Two of them."""

    def setUp(self) -> None:
        super().setUp()
        self.peers = RadiusPeers(self.servers, RadiusSettings(), reactor=self.host, first_identifier=7)

    def tearDown(self) -> None:
        self.successResultOf(self.peers.close())
        super().tearDown()

    def ask(self, seconds: float = 0.5) -> Deferred[int]:
        """Ask, and let some time pass."""
        return self.start(self.peers.ask(make_request, CODES), seconds)

    def test_first(self) -> None:
        """The first server's word counts, also a no; its requests begin at the identifier that was given."""
        self.first.code = REJECT
        self.assertEqual(self.successResultOf(self.ask()), REJECT)
        self.assertEqual((self.counts(), self.first.requests[0][1]), ([1, 0], 8))

    def test_next(self) -> None:
        """A server that has not answered is followed by the next, which is asked first for half a minute."""
        self.first.is_silent = True
        self.assertEqual(self.successResultOf(self.ask(2.5)), ACCEPT)
        self.assertEqual(self.counts(), [2, 1])
        self.successResultOf(self.ask())
        self.assertEqual(self.counts(), [2, 2])
        self.first.is_silent = False
        self.clock.advance(30)
        self.successResultOf(self.ask())
        self.assertEqual(self.counts(), [3, 2])

    def test_resting_is_not_gone(self) -> None:
        """Servers that rest are asked when no other is left, and the one that answers is first again."""
        self.network.partition(ADDRESSES)
        self.failureResultOf(self.ask(4.1), RadiusUnavailableError)
        self.network.heal()
        self.first.is_silent = True
        self.successResultOf(self.ask(2.5))
        self.first.is_silent = False
        asked = self.counts()[0]
        self.successResultOf(self.ask())
        self.assertEqual(self.counts()[0], asked)

    def test_nobody(self) -> None:
        """When none answers, the failure has the reason of each, and comes when all tries are over."""
        self.network.partition(ADDRESSES)
        waiting = self.ask(3.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        error = self.failureResultOf(waiting, RadiusUnavailableError).value
        self.assertEqual(str(error), "no answer from 192.0.2.1:1812, no answer from 192.0.2.2:1812")

    def test_error_of_the_user(self) -> None:
        """A request that cannot be made is not tried on another server."""
        calls = []

        def fail(*_: object) -> None:
            calls.append(1)
            raise ValueError("too long")

        self.failureResultOf(self.start(self.peers.ask(fail, CODES)), ValueError)
        self.assertEqual(len(calls), 1)

    def test_close(self) -> None:
        """After the end nobody is asked: not the next server for what was open, and none for what comes later."""
        self.first.is_silent = True
        waiting = self.ask()
        self.successResultOf(self.peers.close())
        for one in (waiting, self.ask()):
            self.assertEqual(str(self.failureResultOf(one, RadiusUnavailableError).value), "it is closed")
        self.assertEqual(self.counts(), [1, 0])
