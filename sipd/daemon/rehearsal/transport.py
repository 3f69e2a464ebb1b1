"""A transport layer that sends nothing, and names that nobody is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from sipd.interfaces import IFlow, IMessageReceiver, ITransportLayer, ListeningPoint
from sipd.sip.locate import Target, Transport
from sipd.sip.message import Response
from sipd.sip.services import NamingPointer, ServiceRecord
from sipd.transport.choice import choose_speaker
from sipd.transport.interfaces import IDomainNames

#: What every name that is not asked about is taken to have: addresses for documentation (RFC 5737, RFC 3849).
UNASKED = ("192.0.2.1", "2001:db8::1")


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that would have left.

    Args:
        data: as it would be on the wire.
        flow: that it would have taken.
    """

    data: bytes
    flow: RehearsedFlow


@implementer(IFlow)
class RehearsedFlow:
    """Keeps what is sent on it.

    Args:
        target: whom it would lead to.
        point: where it would begin.
        sent: takes the messages.
    """

    is_open = True
    peer_names: tuple[str, ...] = ()

    def __init__(self, target: Target, point: ListeningPoint, sent: list[Sent]) -> None:
        self.target = target
        self.transport = target.transport
        self.host = target.host
        self.port = target.port
        self.point = point
        self._sent = sent

    def send(self, data: bytes) -> None:
        """See `IFlow`."""
        self._sent.append(Sent(data, self))

    def close(self) -> None:
        """See `IFlow`."""

    def __str__(self) -> str:
        name = self.target.server_name
        host = name if self.host in UNASKED and name else self.host
        host = f"[{host}]" if ":" in host else host
        return f"{host}:{self.port} over {self.transport.value} from {self.point.name}"


@dataclass(frozen=True, slots=True)
class _Speaker:
    point: ListeningPoint


@implementer(ITransportLayer)
class RehearsedTransport:
    """Has listening points that nobody listens on.

    Args:
        points: in configured order.

    Attributes:
        sent: what would have left, in order.
    """

    def __init__(self, points: Sequence[ListeningPoint]) -> None:
        self.receiver: IMessageReceiver | None = None
        self.points = points
        self.sent: list[Sent] = []

    def flow_to(self, target: Target) -> IFlow:
        """See `ITransportLayer`."""
        speaker = choose_speaker([_Speaker(point) for point in self.points], target)
        return RehearsedFlow(target, speaker.point, self.sent)

    def find_flow(self, target: Target) -> IFlow | None:
        """See `ITransportLayer`. There are no connections."""
        return self.flow_to(target) if target.transport is Transport.UDP else None

    def send_response(self, response: Response, flow: IFlow) -> None:
        """See `ITransportLayer`."""
        flow.send(response.to_bytes())


@implementer(IDomainNames)
class UnaskedNames:
    """Says of every name that it has addresses, and no servers."""

    def is_local(self, name: str) -> bool:
        """See `IDomainNames`."""
        return False

    def find_pointers(self, name: str) -> Deferred[Sequence[NamingPointer]]:
        """See `IDomainNames`."""
        return succeed(())

    def find_services(self, name: str) -> Deferred[Sequence[ServiceRecord]]:
        """See `IDomainNames`."""
        return succeed(())

    def find_addresses(self, name: str) -> Deferred[Sequence[str]]:
        """See `IDomainNames`."""
        return succeed(UNASKED)

    def close(self) -> None:
        """See `IDomainNames`."""
