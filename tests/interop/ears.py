"""Hears what sipd sends to each phone: stands in front of its media ports, as a firewall that forwards them would.

Baresip 1.0 records nothing any more once it was on hold: it leaves the recorder out of what it decodes with afterwards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IReactorUDP

from sipd.errors import ParseError
from sipd.rtp.g711 import decode_alaw, decode_ulaw
from sipd.rtp.packet import parse_packet
from tests.interop.baresip import Phone
from tests.interop.case import InteropTestCase
from tests.interop.programs import ProgramError
from tests.interop.tones import RATE_HZ, share_of_tone
from tests.interop.wire import Address, End
from tests.ports import HOST

#: Where phones send their audio to; sipd itself is at `HOST`.
ADVERTISED = "127.0.0.2"
_DECODERS = {0: decode_ulaw, 8: decode_alaw}
#: The share of one tone in what is taken for it, and how long it has to be there.
_PURE = 0.9
_LISTENS = 0.6


class Ears:
    """Forwards the media ports of a sipd, and remembers the audio that each phone gets.

    Args:
        case: the test that it runs in.
        ports: sipd's.

    Attributes:
        said: by the port of each phone, all that came from it.
        told: the same for all that went to it.
    """

    def __init__(self, case: InteropTestCase, ports: Iterable[int]) -> None:
        self._case = case
        self._reactor = IReactorUDP(case.reactor)
        self.said: defaultdict[int, list[bytes]] = defaultdict(list)
        self.told: defaultdict[int, list[bytes]] = defaultdict(list)
        self._heard: defaultdict[int, list[int]] = defaultdict(list)
        for port in ports:
            self._forward(port)

    def _forward(self, port: int) -> None:
        """Forward one port, both ways."""
        phone: list[Address] = []

        def to_sipd(datagram: bytes, source: Address) -> None:
            phone[:] = [source]
            self.said[source[1]].append(datagram)
            back.send(datagram, (HOST, port))

        def to_phone(datagram: bytes, _: Address) -> None:
            if phone:
                self.told[phone[0][1]].append(datagram)
                self._take(datagram, phone[0][1])
                front.send(datagram, phone[0])

        front, back = End(to_sipd), End(to_phone)
        for end, host, number in ((front, ADVERTISED, port), (back, HOST, 0)):
            listening = self._reactor.listenUDP(number, end, host, maxPacketSize=65536)
            self._case.addCleanup(listening.stopListening)

    def _take(self, datagram: bytes, port: int) -> None:
        try:
            packet = parse_packet(datagram)
        except ParseError:
            return
        if (decode := _DECODERS.get(packet.payload_type)) is not None:
            self._heard[port].extend(decode(packet.payload))

    async def hear(self, phone: Phone, tone_hz: float, limit: float = 30.0) -> None:
        """Wait until a phone gets that tone, for a while, and nothing else.

        Raises:
            ProgramError: not within `limit`.
        """
        least = _LISTENS * RATE_HZ / 2
        await self._wait(
            phone,
            lambda samples: len(samples) > least and share_of_tone(samples, tone_hz) > _PURE,
            f"hear {tone_hz} Hz",
            limit,
        )

    async def hear_nothing(self, phone: Phone, limit: float = 30.0) -> None:
        """Wait until a phone gets no sound, for a while.

        Raises:
            ProgramError: not within `limit`.
        """
        await self._wait(phone, lambda samples: not any(samples), "have silence", limit)

    async def _wait(self, phone: Phone, is_wanted: Callable[[list[int]], bool], what: str, limit: float) -> None:
        deadline = self._case.reactor.seconds() + limit
        while True:
            for port in phone.media_ports:
                self._heard[port].clear()
            await self._case.pause(_LISTENS)
            samples = [sample for port in phone.media_ports for sample in self._heard[port]]
            if is_wanted(samples):
                return
            if self._case.reactor.seconds() > deadline:
                raise ProgramError(
                    f"{phone.account.user} does not {what}, of {len(samples)} samples{self._case.explain()}"
                )
