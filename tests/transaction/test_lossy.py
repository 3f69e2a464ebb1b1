"""Two layers and a bad network between them: loss, duplication, reordering, for many seeds."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipd.errors import RemoteError, TransportError
from sipd.interfaces import IFlow, IServerTransaction, ITransactionCore, ITransactionUser, ListeningPoint
from sipd.sip.locate import Transport
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.testing.clock import SimulatedClock
from sipd.transaction.layer import TransactionLayer
from tests.transaction.fakes import FakeTransport, make_request


@implementer(IFlow)
class LossyFlow:
    """What one layer sends on this reaches the other: perhaps, perhaps twice, in some order; or at once, over TCP."""

    def __init__(self, clock: SimulatedClock, random: Random, transport: Transport, loss: float) -> None:
        self._clock = clock
        self._random = random
        self._loss = loss
        self.transport = transport
        self.host = "192.0.2.1"
        self.port = 5060
        self.point = ListeningPoint(
            name="test", transport=transport, host=self.host, port=5060, advertised_host=self.host, advertised_port=5060
        )
        self.is_open = True
        self.peer_names: tuple[str, ...] = ()
        #: The other end: its layer, and its flow back.
        self.peer: tuple[TransactionLayer, LossyFlow] | None = None

    def send(self, data: bytes) -> None:
        """See `IFlow`."""
        if self.transport is not Transport.UDP:
            self._clock.callLater(0.02, self._arrive, data)
            return
        for _ in range(self._random.choice((1, 1, 1, 2))):
            if self._random.random() >= self._loss:
                self._clock.callLater(self._random.uniform(0.01, 0.8), self._arrive, data)

    def close(self) -> None:
        """See `IFlow`."""
        self.is_open = False

    def _arrive(self, data: bytes) -> None:
        assert self.peer is not None
        layer, flow = self.peer
        layer.message_received(parse_datagram(data), flow)


@implementer(ITransactionUser)
class Caller:
    """Sends one request, cancels it perhaps, acknowledges each 2xx."""

    def __init__(self, layer: TransactionLayer, flow: LossyFlow) -> None:
        self._layer = layer
        self._flow = flow
        self.finals: list[int] = []
        self.errors: list[RemoteError] = []

    def response_received(self, response: Response) -> None:
        """See `ITransactionUser`."""
        assert not self.errors
        if response.status < 200:
            assert not self.finals
            return
        self.finals.append(response.status)
        if response.is_success and response.cseq.method == "INVITE":
            self._layer.send_ack(make_request("ACK", to_tag="b1"), self._flow)

    def transaction_failed(self, error: RemoteError) -> None:
        """See `ITransactionUser`."""
        assert not self.finals and not self.errors
        self.errors.append(error)


@implementer(ITransactionCore)
class Callee:
    """Answers each request some time later; repeats a 2xx to INVITE until an ACK comes."""

    def __init__(self, clock: SimulatedClock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._acknowledged = False
        self.finals: list[int] = []

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`."""
        if self._random.random() < 0.5:
            self._respond(transaction, 180)
        status = self._random.choice((200, 200, 486))
        self._clock.callLater(self._random.uniform(0, 6), self._finish, transaction, status)

    def cancel_received(self, cancel: Request, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`."""
        self._finish(transaction, 487)

    def ack_received(self, ack: Request, flow: IFlow) -> None:
        """See `ITransactionCore`."""
        self._acknowledged = True

    def response_received(self, response: Response, flow: IFlow) -> None:
        """See `ITransactionCore`."""

    def _finish(self, transaction: IServerTransaction, status: int) -> None:
        if transaction.is_answered:
            return
        self.finals.append(status)
        self._respond(transaction, status)
        if transaction.request.method == "INVITE" and status == 200:
            self._clock.callLater(0.5, self._repeat, transaction, 0.5)

    def _repeat(self, transaction: IServerTransaction, interval: float) -> None:
        if not self._acknowledged and interval < 20:
            self._respond(transaction, 200)
            self._clock.callLater(interval, self._repeat, transaction, 2 * interval)

    def _respond(self, transaction: IServerTransaction, status: int) -> None:
        transaction.respond(transaction.request.response(status, to_tag="b1"))


class LossyTests(SynchronousTestCase):
    """Invariants that hold on any network."""

    def run_seed(self, seed: int, *, loss: float, transport: Transport = Transport.UDP) -> tuple[Caller, Callee]:
        """Send one request from one layer to the other; see that each comes to rest."""
        random = Random(seed)
        clock = SimulatedClock()
        layers = [TransactionLayer(clock=clock, transport=FakeTransport(), entropy=random.randbytes) for _ in range(2)]
        flows = [LossyFlow(clock, random, transport, loss) for _ in range(2)]
        flows[0].peer, flows[1].peer = (layers[1], flows[1]), (layers[0], flows[0])
        callee = Callee(clock, random)
        for layer in layers:
            layer.core = callee
        caller = Caller(layers[0], flows[0])
        method = random.choice(("INVITE", "INVITE", "OPTIONS"))
        transaction = layers[0].start(make_request(method), flows[0], caller)
        if random.random() < 0.4:
            clock.callLater(random.uniform(0, 4), transaction.cancel)
        # An INVITE in Proceeding waits for ever: whoever sent it bounds it.
        clock.callLater(180, transaction.cancel)
        clock.run()
        self.assertEqual([len(layer) for layer in layers], [0, 0], f"seed {seed}")
        self.assertEqual(clock.getDelayedCalls(), [], f"seed {seed}")
        self.assertEqual(bool(caller.finals), not caller.errors, f"seed {seed}: one outcome")
        self.assertLessEqual(set(caller.finals), set(callee.finals), f"seed {seed}: what was answered arrives")
        return caller, callee

    def test_a_bad_network(self) -> None:
        """With a third of all datagrams lost, each request still has one outcome and leaves nothing."""
        outcomes = [self.run_seed(seed, loss=0.33)[0] for seed in range(300)]
        self.assertEqual({status for caller in outcomes for status in caller.finals}, {200, 486, 487})

    def test_a_dead_network(self) -> None:
        """With nearly all datagrams lost, most requests fail, and nothing is left."""
        outcomes = [self.run_seed(seed, loss=0.95)[0] for seed in range(100)]
        self.assertGreater(sum(bool(caller.errors) for caller in outcomes), 30)

    def test_no_loss(self) -> None:
        """With reordering and duplication alone, no request fails."""
        for seed in range(200):
            self.assertEqual(self.run_seed(seed, loss=0)[0].errors, [], f"seed {seed}")

    def test_tcp(self) -> None:
        """Over a connection no request fails."""
        for seed in range(200):
            self.assertEqual(self.run_seed(seed, loss=0, transport=Transport.TCP)[0].errors, [], f"seed {seed}")

    def test_a_seed_replays(self) -> None:
        """The same seed gives the same outcome."""
        for seed in range(20):
            first, second = (self.run_seed(seed, loss=0.4)[0] for _ in range(2))
            self.assertEqual((first.finals, len(first.errors)), (second.finals, len(second.errors)))

    def test_close_at_any_time(self) -> None:
        """A layer that is closed in the middle tells its user at once, and leaves nothing."""
        for seed in range(60):
            random = Random(seed)
            clock = SimulatedClock()
            layer = TransactionLayer(clock=clock, transport=FakeTransport(), entropy=random.randbytes)
            flow = LossyFlow(clock, random, Transport.UDP, 1.0)
            caller = Caller(layer, flow)
            layer.start(make_request(random.choice(("INVITE", "OPTIONS"))), flow, caller)
            clock.advance(random.uniform(0, 31))
            layer.close()
            self.assertEqual([type(error) for error in caller.errors], [TransportError])
            self.assertEqual((len(layer), clock.getDelayedCalls()), (0, []))
