"""Tests of `sipd.media.poller` with real descriptors and time that stands still."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.media.express import DatagramBuffer
from sipd.media.poller import EpollPoller, Poller, ReaderPoller, make_poller
from tests.media.support import PumpedReactor


class Mailbox:
    """A receiver that keeps what it reads."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.got: list[bytes] = []
        self.receive: Callable[[], None] = lambda: self.got.append(self.socket.recv(100))

    def fileno(self) -> int:
        """Give the descriptor."""
        return self.socket.fileno()

    def put(self, *data: bytes) -> None:
        """Send datagrams to it."""
        for each in data:
            self.socket.sendto(each, self.socket.getsockname())


class PollerTestCase(SynchronousTestCase):
    """What both pollers do."""

    def setUp(self) -> None:
        """Make a reactor and a mailbox."""
        self.reactor = PumpedReactor()
        self.mailbox = self.make_mailbox()

    def make_mailbox(self) -> Mailbox:
        """Make a mailbox that is closed in the end."""
        mailbox = Mailbox()
        self.addCleanup(mailbox.socket.close)
        return mailbox

    def check_reads(self, poller: Poller) -> None:
        """Check that what is added is read, and what is removed is not."""
        other = self.make_mailbox()
        poller.add(self.mailbox)
        poller.add(other)
        self.mailbox.put(b"1", b"2")
        other.put(b"3")
        self.reactor.read_all()
        self.assertEqual((self.mailbox.got, other.got), ([b"1", b"2"], [b"3"]))
        poller.remove(other)
        other.put(b"4")
        self.mailbox.put(b"5")
        self.reactor.read_all()
        self.assertEqual((self.mailbox.got, other.got), ([b"1", b"2", b"5"], [b"3"]))
        poller.remove(self.mailbox)
        poller.remove(self.mailbox)
        self.assertEqual(self.reactor.readers, set())

    def check_survives_bugs(self, poller: Poller) -> None:
        """Check that a receiver that raises is logged and read again, and disturbs no other."""

        def fail() -> None:
            self.mailbox.socket.recv(100)
            raise ZeroDivisionError

        other = self.make_mailbox()
        self.mailbox.receive = fail
        for each in (self.mailbox, other):
            poller.add(each)
            each.put(b"1", b"2")
        self.reactor.read_all()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(other.got, [b"1", b"2"])
        poller.remove(self.mailbox)
        poller.remove(other)

    def check_reader(self) -> None:
        """Check that what stands in the reactor has what the reactor calls."""
        (reader,) = self.reactor.readers
        verifyObject(IReadDescriptor, reader)
        self.assertEqual(reader.logPrefix(), "media")
        reader.connectionLost(Failure(ConnectionError()))


class EpollPollerTests(PollerTestCase):
    """Many sockets behind one reader."""

    def setUp(self) -> None:
        """Skip where there is no epoll."""
        super().setUp()
        if not hasattr(select, "epoll"):
            raise SkipTest("no epoll on this system")

    def test_reads(self) -> None:
        """Each socket is read when it has something, until it is removed."""
        self.check_reads(EpollPoller(self.reactor, DatagramBuffer(), pause=0))

    def test_survives_bugs(self) -> None:
        """A receiver that raises is logged, and neither it nor others are lost."""
        self.check_survives_bugs(EpollPoller(self.reactor, DatagramBuffer(), pause=0))

    def test_is_one_reader(self) -> None:
        """However many sockets there are, the reactor has one reader, and without sockets none."""
        poller = EpollPoller(self.reactor, DatagramBuffer(), pause=0)
        self.assertEqual((poller.fileno(), self.reactor.readers), (-1, set()))
        mailboxes = [self.make_mailbox() for _ in range(10)]
        for mailbox in mailboxes:
            poller.add(mailbox)
        self.assertEqual((len(poller), len(self.reactor.readers)), (10, 1))
        self.check_reader()
        for mailbox in mailboxes:
            poller.remove(mailbox)
        self.assertEqual((len(poller), poller.fileno(), self.reactor.readers), (0, -1, set()))
        poller.doRead()

    def test_rests_after_a_batch(self) -> None:
        """What comes while it rests waits for the end of the rest, and is then read."""
        poller = EpollPoller(self.reactor, DatagramBuffer(), pause=0.002)
        poller.add(self.mailbox)
        self.mailbox.put(b"1")
        self.reactor.read_all()
        self.mailbox.put(b"2")
        self.reactor.read_all()
        self.assertEqual(self.mailbox.got, [b"1"])
        self.reactor.advance(0.002)
        self.reactor.read_all()
        self.assertEqual(self.mailbox.got, [b"1", b"2"])
        poller.remove(self.mailbox)
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), (set(), []))

    def test_stays_at_it_while_something_comes(self) -> None:
        """While every rest ends with something to read the timer goes on; then the reactor watches again."""
        poller = EpollPoller(self.reactor, DatagramBuffer(), pause=0.002)
        poller.add(self.mailbox)
        self.mailbox.put(b"1")
        self.reactor.read_all()
        for number in (b"2", b"3"):
            self.mailbox.put(number)
            self.assertEqual(self.reactor.readers, set())
            self.reactor.advance(0.002)
            self.assertEqual(self.mailbox.got[-1], number)
        self.reactor.advance(0.002)
        self.assertEqual((len(self.reactor.readers), self.reactor.getDelayedCalls()), (1, []))
        poller.remove(self.mailbox)

    def test_takes_all_of_a_burst_in_one_turn(self) -> None:
        """Several datagrams of one sender do not wait for a rest each."""
        poller = EpollPoller(self.reactor, DatagramBuffer(), pause=0.002)
        poller.add(self.mailbox)
        self.mailbox.put(b"1", b"2", b"3")
        self.reactor.read_all()
        self.assertEqual(self.mailbox.got, [b"1", b"2", b"3"])
        poller.remove(self.mailbox)

    def test_last_one_removes_itself_after_a_rest(self) -> None:
        """When a turn that the timer began leaves no socket, nothing goes on; and one that comes then is watched."""
        poller = EpollPoller(self.reactor, DatagramBuffer(), pause=0.002)
        other = self.make_mailbox()

        def replace() -> None:
            self.mailbox.got.append(self.mailbox.socket.recv(100))
            if len(self.mailbox.got) > 1:
                poller.remove(self.mailbox)
                poller.add(other)

        self.mailbox.receive = replace
        poller.add(self.mailbox)
        for _ in range(2):
            self.mailbox.put(b"1")
            self.reactor.read_all()
            self.reactor.advance(0.002)
        self.assertEqual((len(self.mailbox.got), len(self.reactor.readers)), (2, 1))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        poller.remove(other)

    def test_does_not_rest_with_more_to_do(self) -> None:
        """When more sockets have something than one batch takes, the next batch follows at once."""
        poller = EpollPoller(self.reactor, DatagramBuffer(), pause=0.002)
        mailboxes = [self.make_mailbox() for _ in range(300)]
        for mailbox in mailboxes:
            poller.add(mailbox)
            mailbox.put(b"1")
        poller.doRead()
        self.assertEqual(sum(len(mailbox.got) for mailbox in mailboxes), 256)
        self.assertEqual(len(self.reactor.readers), 1)
        poller.doRead()
        self.assertEqual(sum(len(mailbox.got) for mailbox in mailboxes), 300)
        self.assertEqual(len(self.reactor.readers), 0)
        for mailbox in mailboxes:
            poller.remove(mailbox)

    def test_added_while_it_rests(self) -> None:
        """A socket added while it rests is read afterwards."""
        poller = EpollPoller(self.reactor, DatagramBuffer(), pause=0.002)
        poller.add(self.mailbox)
        self.mailbox.put(b"1")
        self.reactor.read_all()
        other = self.make_mailbox()
        poller.add(other)
        other.put(b"2")
        self.reactor.advance(0.002)
        self.reactor.read_all()
        self.assertEqual(other.got, [b"2"])
        poller.remove(self.mailbox)
        poller.remove(other)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_removed_by_one_read_before(self) -> None:
        """A socket that another one's datagram removes is not read in the same batch; nor are others missed."""
        poller = EpollPoller(self.reactor, DatagramBuffer(), pause=0)
        other, third = self.make_mailbox(), self.make_mailbox()

        def remove_other() -> None:
            self.mailbox.socket.recv(100)
            poller.remove(other)

        self.mailbox.receive = remove_other
        for each in (self.mailbox, other, third):
            poller.add(each)
        for each in (self.mailbox, other, third):
            each.put(b"1")
        self.reactor.read_all()
        self.assertEqual((other.got, third.got), ([], [b"1"]))
        poller.remove(self.mailbox)
        poller.remove(third)

    def test_last_one_removes_itself(self) -> None:
        """When reading leaves no socket there is nothing to rest for."""
        poller = EpollPoller(self.reactor, DatagramBuffer(), pause=0.002)
        self.mailbox.receive = lambda: poller.remove(self.mailbox)
        poller.add(self.mailbox)
        self.mailbox.put(b"1")
        self.reactor.read_all()
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), (set(), []))


class ReaderPollerTests(PollerTestCase):
    """Each socket a reader."""

    def test_reads(self) -> None:
        """Each socket is read when it has something, until it is removed."""
        self.check_reads(ReaderPoller(self.reactor))

    def test_survives_bugs(self) -> None:
        """A receiver that raises is logged, and neither it nor others are lost."""
        self.check_survives_bugs(ReaderPoller(self.reactor))

    def test_is_as_many_readers(self) -> None:
        """Each socket is a reader of its own."""
        poller = ReaderPoller(self.reactor)
        poller.add(self.mailbox)
        self.assertEqual((len(poller), len(self.reactor.readers)), (1, 1))
        self.check_reader()
        poller.remove(self.mailbox)
        self.assertEqual(len(poller), 0)

    def test_choice(self) -> None:
        """Epoll is taken where there is one."""
        expected = EpollPoller if hasattr(select, "epoll") else ReaderPoller
        self.assertIsInstance(make_poller(self.reactor, DatagramBuffer(), pause=0.002), expected)
