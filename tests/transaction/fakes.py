"""A transport that records what is sent, users that record what they are told, and messages to feed."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.errors import RemoteError
from sipd.interfaces import (
    IFlow,
    IMessageReceiver,
    IServerTransaction,
    IServerTransactionUser,
    ITransactionCore,
    ITransactionUser,
    ITransportLayer,
    ListeningPoint,
)
from sipd.sip.locate import Target, Transport
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.transaction.layer import TransactionLayer


class Entropy:
    """Octets that look random, the same in each run."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, size: int) -> bytes:
        """Give the next octets."""
        self._count += 1
        return sha256(str(self._count).encode()).digest()[:size]


@implementer(IFlow)
class FakeFlow:
    """A flow that records what is sent on it, with the time."""

    def __init__(self, clock: Clock, transport: Transport = Transport.UDP, host: str = "192.0.2.7") -> None:
        self._clock = clock
        self.transport = transport
        self.point = ListeningPoint(
            name="test",
            transport=transport,
            host="192.0.2.1",
            port=5060,
            advertised_host="192.0.2.1",
            advertised_port=5060,
        )
        self.host = host
        self.port = 5070
        self.is_open = True
        self.peer_names: tuple[str, ...] = ()
        self.sent: list[tuple[float, Request | Response]] = []
        self.octets: list[bytes] = []

    def send(self, data: bytes) -> None:
        """See `IFlow`."""
        self.sent.append((self._clock.seconds(), parse_datagram(data)))
        self.octets.append(data)

    def close(self) -> None:
        """See `IFlow`."""
        self.is_open = False


@implementer(ITransportLayer)
class FakeTransport:
    """Sends each response on the flow of its request."""

    def __init__(self) -> None:
        self.receiver: IMessageReceiver | None = None
        self.points: Sequence[ListeningPoint] = ()

    def flow_to(self, target: Target) -> IFlow:
        """See `ITransportLayer`."""
        raise AssertionError("the transaction layer chooses no flow")

    def find_flow(self, target: Target) -> IFlow | None:
        """See `ITransportLayer`."""
        raise AssertionError("the transaction layer chooses no flow")

    def send_response(self, response: Response, flow: IFlow) -> None:
        """See `ITransportLayer`."""
        flow.send(response.to_bytes())


@implementer(ITransactionUser, IServerTransactionUser)
class RecordingUser:
    """Records what it is told."""

    def __init__(self) -> None:
        self.responses: list[Response] = []
        self.errors: list[RemoteError] = []

    @property
    def statuses(self) -> list[int]:
        """The statuses of the responses, in order."""
        return [response.status for response in self.responses]

    def response_received(self, response: Response) -> None:
        """See `ITransactionUser`."""
        self.responses.append(response)

    def transaction_failed(self, error: RemoteError) -> None:
        """See both interfaces."""
        self.errors.append(error)


@implementer(ITransactionCore)
class RecordingCore:
    """Records what it is told; takes each request as its user."""

    def __init__(self) -> None:
        self.transactions: list[IServerTransaction] = []
        self.users: list[RecordingUser] = []
        self.cancels: list[tuple[Request, IServerTransaction]] = []
        self.acks: list[Request] = []
        self.responses: list[Response] = []

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`."""
        user = RecordingUser()
        transaction.user = user
        self.users.append(user)
        self.transactions.append(transaction)

    def cancel_received(self, cancel: Request, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`."""
        self.cancels.append((cancel, transaction))

    def ack_received(self, ack: Request, flow: IFlow) -> None:
        """See `ITransactionCore`."""
        self.acks.append(ack)

    def response_received(self, response: Response, flow: IFlow) -> None:
        """See `ITransactionCore`."""
        self.responses.append(response)


def make_request(method: str = "INVITE", *, branch: str | None = None, cseq: int = 1, to_tag: str = "") -> Request:
    """Make a request of Alice to Bob: with a Via if a branch is given, as it comes from the network."""
    via = f"Via: SIP/2.0/UDP 192.0.2.7:5070;branch={branch}\r\n" if branch is not None else ""
    tag = f";tag={to_tag}" if to_tag else ""
    message = parse_datagram(
        f"{method} sip:bob@192.0.2.7:5070 SIP/2.0\r\n"
        f"{via}Max-Forwards: 70\r\n"
        f"From: Alice <sip:alice@example.com>;tag=a1\r\n"
        f"To: Bob <sip:bob@example.com>{tag}\r\n"
        f"Call-ID: call-1\r\n"
        f"CSeq: {cseq} {method}\r\n\r\n".encode()
    )
    assert isinstance(message, Request)
    return message


class LayerTestCase(SynchronousTestCase):
    """A layer between a fake transport and a recording core. At the end of every test nothing is left in it."""

    def setUp(self) -> None:
        """Make the layer and a UDP flow."""
        self.clock = Clock()
        self.transport = FakeTransport()
        self.core = RecordingCore()
        self.layer = self.make_layer()
        self.flow = FakeFlow(self.clock)
        verifyObject(ITransportLayer, self.transport)
        verifyObject(ITransactionCore, self.core)
        verifyObject(IFlow, self.flow)
        self.addCleanup(self.check_nothing_is_left)

    def make_layer(self, *, max_transactions: int = 1000) -> TransactionLayer:
        """Make a layer on the test's clock and transport."""
        layer = TransactionLayer(
            clock=self.clock, transport=self.transport, entropy=Entropy(), max_transactions=max_transactions
        )
        layer.core = self.core
        self.transport.receiver = layer
        return layer

    def check_nothing_is_left(self) -> None:
        """See that the layer and its clock come to rest, and hold nothing then."""
        self.clock.pump([0.5] * 400)
        self.assertEqual(len(self.layer), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for index in (self.layer._table._merges, self.layer._table._sources, self.layer._table._flows):
            self.assertEqual(index, {})

    def sent(self, flow: FakeFlow | None = None) -> list[tuple[float, str]]:
        """Give what was sent: time, and method or status."""
        return [
            (time, message.method if isinstance(message, Request) else str(message.status))
            for time, message in (flow or self.flow).sent
        ]

    def last_request(self, flow: FakeFlow | None = None) -> Request:
        """Give the last request that was sent."""
        return [message for _, message in (flow or self.flow).sent if isinstance(message, Request)][-1]

    def last_response(self, flow: FakeFlow | None = None) -> Response:
        """Give the last response that was sent."""
        return [message for _, message in (flow or self.flow).sent if isinstance(message, Response)][-1]
