"""Phones on a simulated network."""

from __future__ import annotations

from array import array
from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipd.errors import LocalError
from sipd.media.endpoint.interfaces import ISink
from sipd.media.endpoint.settings import EndpointSettings
from sipd.phone.account import Account
from sipd.phone.incoming import IncomingCall
from sipd.phone.phone import Phone
from sipd.rtp.g711 import tone_level
from sipd.testing.clock import SimulatedClock
from sipd.testing.network import Network

ALICE, BOB, CAROL, SERVER = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.100"
T = TypeVar("T")


@implementer(ISink)
class Ear:
    """Keeps what it hears: a sink."""

    def __init__(self) -> None:
        self.samples = array("h")

    def write(self, samples: array[int]) -> None:
        """See `ISink`."""
        self.samples.extend(samples)

    def hears(self, frequency: float, seconds: float = 0.4) -> bool:
        """Say whether that tone was most, or one of two, of what there was lately."""
        return tone_level(self.samples[-round(seconds * 8000) :], frequency) > 0.4


class PhoneCase(SynchronousTestCase):
    """Has a network, and phones on it, which leave nothing."""

    def setUp(self) -> None:
        """Make the network."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, seed=7)
        self.phones: list[Phone] = []
        self.addCleanup(self.check_nothing_is_left)

    def phone(self, address: str, user: str, **more: Any) -> Phone:
        """Put a phone on the network, and start it."""
        account = more.pop("account") if "account" in more else Account(f"sip:{user}@{address}")
        settings = more.pop("audio", EndpointSettings(rtcp_interval=0.0))
        phone = Phone(
            self.network.host(address),
            listen=more.pop("listen", f"udp:{address}:5060"),
            account=account,
            audio=settings,
            entropy=self.network.entropy,
            **more,
        )
        phone.startService()
        self.phones.append(phone)
        return phone

    def sleep(self, seconds: float) -> Deferred[None]:
        """Let simulated time pass."""
        return deferLater(self.clock, seconds)

    def run_coroutine(self, coroutine: Coroutine[Any, Any, T], seconds: float = 30.0) -> T:
        """Let a coroutine come to its end, which has to be so soon."""
        return self.successResultOf(self.begin(coroutine, seconds))

    def begin(self, coroutine: Coroutine[Any, Any, T], seconds: float = 30.0) -> Deferred[T]:
        """Let a coroutine run for so long."""
        result: Deferred[T] = Deferred.fromCoroutine(coroutine)
        self.clock.advance(seconds)
        return result

    def check_nothing_is_left(self) -> None:
        """Stop every phone; then there are no sessions, transactions, ports or timers."""
        layers = [phone.layers for phone in self.phones if phone.running]
        stopping = [phone.stopService() for phone in self.phones]
        self.clock.advance(60.0)
        for stopped in stopping:
            self.successResultOf(stopped)
        self.clock.advance(300.0)
        for one in layers:
            self.assertEqual((len(one.transactions), 0 if one.agent is None else len(one.agent)), (0, 0))
        for phone in self.phones:
            self.assertEqual((phone.calls, dict(getattr(phone.reactor, "ports", {}))), (set(), {}))
        self.assertEqual(self.clock.getDelayedCalls(), [])


def answering(phone: Phone, *, after: float = 0.0) -> list[IncomingCall]:
    """Let a phone answer every call; they are in the list that is returned."""
    taken: list[IncomingCall] = []

    async def take(call: IncomingCall) -> None:
        taken.append(call)
        call.ring()
        await deferLater(phone.clock, after)
        if not call.is_over:
            await call.answer()

    phone.on_call = take
    return taken


def forever(playing: Deferred[None]) -> None:
    """Let something be played until the call ends."""
    playing.addErrback(lambda failure: failure.trap(CancelledError, LocalError))
