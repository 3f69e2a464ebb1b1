"""Host names on a simulated network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IDelayedCall, IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer

#: Gives a call later: ``IReactorTime.callLater``.
_CallLater = Callable[..., IDelayedCall]


@implementer(IHostResolution)
class _Resolution:
    def __init__(self, name: str) -> None:
        self.name = name
        self.answering: IDelayedCall | None = None

    def cancel(self) -> None:
        """See ``IHostResolution``."""
        if self.answering is not None and self.answering.active():
            self.answering.cancel()


@implementer(IHostnameResolver)
class SimulatedNames:
    """Looks names up in a table, which may change.

    Args:
        call_later: of the clock.
        table: name in lower case to addresses, in order. A name that is not in it has none.
        delay: seconds that an answer takes.
    """

    def __init__(self, call_later: _CallLater, table: Mapping[str, Sequence[str]], delay: float = 0.02) -> None:
        self._call_later = call_later
        self._table = table
        self._delay = delay

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803 (the interface's name)
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Sequence[type[IAddress]] | None = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> _Resolution:
        """See ``IHostnameResolver``."""
        resolution = _Resolution(hostName)

        def answer() -> None:
            for address in self._table.get(hostName.lower(), ()):
                kind: type[IPv4Address] | type[IPv6Address] = IPv6Address if ":" in address else IPv4Address
                if addressTypes is None or kind in addressTypes:
                    resolutionReceiver.addressResolved(kind(transportSemantics, address, portNumber))  # type: ignore[arg-type]
            resolutionReceiver.resolutionComplete()

        resolutionReceiver.resolutionBegan(resolution)
        resolution.answering = self._call_later(self._delay, answer)
        return resolution
