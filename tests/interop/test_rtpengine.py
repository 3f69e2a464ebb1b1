"""Media through the real rtpengine of Debian 12, told what to do by a session of ours."""

from __future__ import annotations

import os
import socket
from typing import cast

from twisted.internet.interfaces import IReactorUDP
from twisted.trial.unittest import SkipTest

from sipd.errors import MediaEngineError, ResourcesExhaustedError
from sipd.media.rtpengine.client import ClientReactor
from sipd.media.rtpengine.engine import RtpengineRelay
from sipd.media.rtpengine.ng import query
from sipd.media.rtpengine.session import RtpengineSession
from sipd.media.rtpengine.settings import ClientSettings, DaemonAddress, RtpengineSettings
from sipd.sdp.description import AddressType, SessionDescription
from tests.interop.case import InteropTestCase
from tests.interop.wire import Address, End
from tests.media.support import describe, place_of
from tests.ports import HOST

_HOST6 = "::1"
#: Two ports for each of at most eight legs with two media lines, and some that somebody else may have taken.
_PORTS = 64
_ENOUGH = 20
_LIMIT = 2.0
_SUITE = "AES_CM_128_HMAC_SHA1_80"
_RTCP = b"\x80\xc8\x00\x06" + bytes(24)


class Phone:
    """A pair of sockets that remember what came.

    Args:
        case: the test.
        host: the address they are at.
        ssrc: of its RTP.
    """

    def __init__(self, case: RtpengineCase, host: str, ssrc: int) -> None:
        self._case = case
        self.host = host
        self.rtp_heard: list[bytes] = []
        self.rtcp_heard: list[bytes] = []
        self._ssrc = ssrc.to_bytes(4, "big")
        self._sequence = 0
        rtp, rtcp = case.ports.take_range(2, host)
        self.port = rtp
        self._rtp, self._rtcp = End(self._take_rtp), End(self._take_rtcp)
        for port, end in ((rtp, self._rtp), (rtcp, self._rtcp)):
            listening = IReactorUDP(case.reactor).listenUDP(port, end, host, 8192)
            case.addCleanup(listening.stopListening)

    def _take_rtp(self, datagram: bytes, _: Address) -> None:
        (self.rtcp_heard if datagram[1] >= 192 else self.rtp_heard).append(datagram)

    def _take_rtcp(self, datagram: bytes, _: Address) -> None:
        self.rtcp_heard.append(datagram)

    def describe(self, *extra: str, port: int | None = None) -> SessionDescription:
        """Say where its audio is to go."""
        return describe(("audio", port or self.port), address=self.host, extra=extra)

    def send(self, place: Address, payload: bytes = b"\xd5" * 160) -> bytes:
        """Send one RTP packet; give it."""
        self._sequence += 1
        header = b"\x80\x00" + self._sequence.to_bytes(2, "big") + (160 * self._sequence).to_bytes(4, "big")
        packet = header + self._ssrc + payload
        self._rtp.send(packet, place)
        return packet

    def send_rtcp(self, place: Address) -> None:
        """Send one report from its port for RTCP."""
        self._rtcp.send(_RTCP, place)

    def send_rtcp_muxed(self, place: Address) -> None:
        """Send one report from its port for RTP."""
        self._rtp.send(_RTCP, place)


class RtpengineCase(InteropTestCase):
    """Each test has a daemon of its own."""

    programs = ("rtpengine",)
    flags: tuple[str, ...] = ("strict-source",)
    transport_protocol = ""

    async def start_daemon(self, limit: float = 20.0) -> RtpengineSession:
        """Start the daemon and a relay that waits so long for answers; give a session."""
        self.has_ip6 = _has_ip6()
        ports = self.ports.take_range(_PORTS)
        control = self.ports.take()
        arguments = [
            "--foreground",
            "--log-stderr",
            "--log-level=6",
            "--config-file=none",
            "--table=-1",
            f"--listen-ng={HOST}:{control}",
            f"--interface={HOST}",
            f"--port-min={ports[0]}",
            f"--port-max={ports[-1]}",
        ]
        if self.has_ip6:
            arguments.append(f"--interface={_HOST6}")
        daemon = self.start("rtpengine", *arguments)
        await daemon.says("Startup complete")
        settings = RtpengineSettings(
            daemons=(DaemonAddress(host=HOST, port=control),),
            client=ClientSettings(time_limit=limit),
            flags=self.flags,
            transport_protocol=self.transport_protocol,
        )
        self.relay = RtpengineRelay(reactor=cast(ClientReactor, self.reactor), settings=settings, entropy=os.urandom)
        self.relay.start()
        self.addCleanup(self.relay.close)
        self.events: list[str] = []
        self.session = self.relay.open_session("call", lambda kind, text: self.events.append(text))
        return self.session

    async def talk(self, one: Phone, place: Address, other: Phone, other_place: Address) -> None:
        """Let two exchange packets; each must get what the other one sends, as it is."""
        sent: list[tuple[bytes, bytes]] = []
        for _ in range(_ENOUGH):
            sent.append((one.send(place), other.send(other_place)))
            await self.pause(0.01)
        await self.pause(0.1)
        for phone, packets in ((one, [pair[1] for pair in sent]), (other, [pair[0] for pair in sent])):
            self.assertEqual(phone.rtp_heard[-_ENOUGH:], packets, self.explain())

    async def counted(self) -> dict[str, tuple[int, int, str]]:
        """Close the session; give packets, octets and source by leg."""
        statistics = await self.session.close()
        return {entry.leg: (entry.packets, entry.size_octets, entry.source) for entry in statistics if entry.packets}


class RelayTests(RtpengineCase):
    """RTP from phone to phone."""

    async def test_call(self) -> None:
        """RTP and RTCP go both ways, are counted, and the daemon has forgotten the call after its end."""
        session = await self.start_daemon()
        alice, bob = Phone(self, HOST, 1), Phone(self, HOST, 2)
        offer = alice.describe("a=rtpmap:0 PCMU/8000", "a=sendrecv", "a=ptime:20", "a=x-unknown")
        offered = await session.offer("a", "b1", offer)
        answered = await session.answer("b1", "a", bob.describe())
        self.assertEqual(str(offered), str(offer).replace(str(alice.port), str(offered.media[0].port)))
        await self.talk(alice, place_of(answered), bob, place_of(offered))
        alice.send_rtcp((HOST, answered.media[0].port + 1))
        bob.send_rtcp((HOST, offered.media[0].port + 1))
        await self.pause(0.2)
        self.assertEqual((alice.rtcp_heard, bob.rtcp_heard), ([_RTCP], [_RTCP]))
        known = {entry.leg: entry for entry in await session.ask_statistics()}
        self.assertEqual(
            {leg: (entry.packets, entry.rtcp_packets) for leg, entry in known.items()}, {"a": (20, 1), "b1": (20, 1)}
        )
        self.assertEqual(known["b1"].ssrc, 2)
        expected = {
            "a": (_ENOUGH, 172 * _ENOUGH, f"{HOST}:{alice.port}"),
            "b1": (_ENOUGH, 172 * _ENOUGH, f"{HOST}:{bob.port}"),
        }
        self.assertEqual(await self.counted(), expected)
        (client,) = self.relay.pool.clients
        with self.assertRaises(MediaEngineError):
            await client.request(query("call"))
        self.assertEqual(len(self.events), 1)

    async def test_rtcp_mux_on_one_side(self) -> None:
        """The caller has RTCP on the port of RTP, the callee on one of its own, and both get the other's."""
        session = await self.start_daemon()
        alice, bob = Phone(self, HOST, 1), Phone(self, HOST, 2)
        offered = await session.offer("a", "b1", alice.describe("a=rtcp-mux"))
        answered = await session.answer("b1", "a", bob.describe())
        self.assertTrue(answered.media[0].has_rtcp_mux)
        await self.talk(alice, place_of(answered), bob, place_of(offered))
        alice.send_rtcp_muxed(place_of(answered))
        bob.send_rtcp((HOST, offered.media[0].port + 1))
        await self.pause(0.2)
        self.assertEqual((alice.rtcp_heard, bob.rtcp_heard), ([_RTCP], [_RTCP]))

    async def test_ip4_to_ip6(self) -> None:
        """A caller of IPv4 and a callee of IPv6 hear each other, and either may offer again."""
        session = await self.start_daemon()
        if not self.has_ip6:
            raise SkipTest("no IPv6 here")
        alice, bob = Phone(self, HOST, 1), Phone(self, _HOST6, 2)
        session.prefer_family("b1", AddressType.IP6)
        offered = await session.offer("a", "b1", alice.describe())
        answered = await session.answer("b1", "a", bob.describe())
        self.assertEqual((place_of(offered)[0], place_of(answered)[0]), (_HOST6, HOST))
        await self.talk(alice, place_of(answered), bob, place_of(offered))
        again = await session.offer("b1", "a", bob.describe())
        back = await session.answer("a", "b1", alice.describe())
        self.assertEqual((place_of(again), place_of(back)), (place_of(answered), place_of(offered)))
        await self.talk(alice, place_of(answered), bob, place_of(offered))
        self.assertEqual((await self.counted())["b1"][2], f"[{_HOST6}]:{bob.port}")

    async def test_forking(self) -> None:
        """Of three who are offered the same, one is heard early and another one wins; the caller's ports stay."""
        session = await self.start_daemon()
        alice, bob, carol = (Phone(self, HOST, ssrc) for ssrc in (1, 2, 3))
        offered = [await session.offer("a", leg, alice.describe()) for leg in ("b1", "b2", "b3")]
        self.assertEqual(len({place_of(description) for description in offered}), 3)
        early = await session.answer("b1", "a", bob.describe())
        await self.talk(alice, place_of(early), bob, place_of(offered[0]))
        answered = await session.answer("b2", "a", carol.describe())
        self.assertEqual(place_of(answered), place_of(early))
        for leg in ("b1", "b3"):
            session.leg_ended(leg)
        await self.talk(alice, place_of(answered), carol, place_of(offered[1]))
        self.assertEqual(
            {leg: packets for leg, (packets, *_) in (await self.counted()).items()}, {"a": 40, "b1": 20, "b2": 20}
        )

    async def test_one_after_the_other(self) -> None:
        """The caller's ports stay when the next one is called after the first one has ended."""
        session = await self.start_daemon()
        alice, bob, carol = (Phone(self, HOST, ssrc) for ssrc in (1, 2, 3))
        first = await session.offer("a", "b1", alice.describe())
        early = await session.answer("b1", "a", bob.describe())
        await self.talk(alice, place_of(early), bob, place_of(first))
        session.leg_ended("b1")
        second = await session.offer("a", "b2", alice.describe())
        answered = await session.answer("b2", "a", carol.describe())
        self.assertEqual(place_of(answered), place_of(early))
        await self.talk(alice, place_of(answered), carol, place_of(second))

    async def test_renegotiation_that_fails(self) -> None:
        """A refused offer of another place and another stream leaves the two talking as before, on the same ports."""
        session = await self.start_daemon()
        alice, bob, elsewhere = (Phone(self, HOST, ssrc) for ssrc in (1, 2, 3))
        offered = await session.offer("a", "b1", alice.describe())
        answered = await session.answer("b1", "a", bob.describe())
        offer = describe(("audio", elsewhere.port), ("video", bob.port + 50), address=HOST)
        again = await session.offer("b1", "a", offer)
        self.assertEqual(place_of(again), place_of(answered))
        session.offer_rejected("b1", "a")
        await session.ask_statistics()
        await self.talk(alice, place_of(answered), bob, place_of(offered))
        self.assertEqual(elsewhere.rtp_heard, [])

    async def test_transfer(self) -> None:
        """While somebody new is called the two who talk go on; then the new one is heard, on the same ports."""
        session = await self.start_daemon()
        alice, bob, carol = (Phone(self, HOST, ssrc) for ssrc in (1, 2, 3))
        offered = await session.offer("a", "b1", alice.describe())
        answered = await session.answer("b1", "a", bob.describe())
        await self.talk(alice, place_of(answered), bob, place_of(offered))
        called = await session.offer("b1", "b2", bob.describe())
        await self.talk(alice, place_of(answered), bob, place_of(offered))
        told = await session.answer("b2", "b1", carol.describe())
        self.assertEqual(place_of(told), place_of(offered))
        session.leg_ended("a")
        await session.ask_statistics()
        await self.talk(bob, place_of(told), carol, place_of(called))

    async def test_lines_in_another_order(self) -> None:
        """Audio reaches audio where the two have their media lines in another order."""
        session = await self.start_daemon()
        alice, bob, eye = (Phone(self, HOST, ssrc) for ssrc in (1, 2, 3))
        one = describe(("audio", alice.port), ("video", eye.port), address=HOST)
        await session.offer("a", "b1", one)
        await session.answer("b1", "a", describe(("audio", bob.port), ("video", bob.port + 50), address=HOST))
        crossed = describe(("video", eye.port), ("text", 0), ("audio", alice.port), address=HOST)
        offered = await session.offer("a", "b2", crossed, (1, None, 0))
        answer = describe(("video", bob.port + 50), ("text", 0), ("audio", bob.port), address=HOST)
        answered = await session.answer("b2", "a", answer)
        await self.talk(alice, place_of(answered, 2), bob, place_of(offered, 2))
        counted = [entry for entry in await session.close() if entry.packets]
        self.assertEqual(
            {(entry.leg, entry.stream, entry.media) for entry in counted}, {("a", 0, "audio"), ("b2", 2, "audio")}
        )

    async def test_daemon_that_dies(self) -> None:
        """Where the daemon has gone offers fail in time, it counts as dead, and the end gives what is known."""
        session = await self.start_daemon(_LIMIT)
        alice, bob = Phone(self, HOST, 1), Phone(self, HOST, 2)
        offered = await session.offer("a", "b1", alice.describe())
        answered = await session.answer("b1", "a", bob.describe())
        await self.talk(alice, place_of(answered), bob, place_of(offered))
        await session.ask_statistics()
        await self.started[0].stop()
        begin = self.reactor.seconds()
        with self.assertRaises(MediaEngineError):
            await session.offer("a", "b1", alice.describe())
        with self.assertRaises(ResourcesExhaustedError):
            await self.relay.open_session("next", lambda *_: None).offer("a", "b1", alice.describe())
        self.assertEqual((await self.counted())["a"][0], _ENOUGH)
        # The offer, the attempt to restore what was agreed on, the counters and the end.
        self.assertLess(self.reactor.seconds() - begin, 5 * _LIMIT)


class SecureTests(RtpengineCase):
    """What else the daemon can do for a leg."""

    transport_protocol = "RTP/SAVP"

    async def test_transport_protocol(self) -> None:
        """The callee is offered SRTP with keys of the daemon, and the caller is answered RTP."""
        session = await self.start_daemon()
        alice, bob = Phone(self, HOST, 1), Phone(self, HOST, 2)
        offered = await session.offer("a", "b1", alice.describe())
        self.assertEqual(offered.media[0].protocol, "RTP/SAVP")
        keys = [value for name, value in offered.media[0].attributes if name == "crypto" and value is not None]
        (tag,) = (value.split()[0] for value in keys if value.split()[1] == _SUITE)
        key = f"a=crypto:{tag} {_SUITE} inline:{'A' * 40}"
        answer = describe(f"m=audio {bob.port} RTP/SAVP 0", address=HOST, extra=(key,))
        answered = await session.answer("b1", "a", answer)
        self.assertEqual((answered.media[0].protocol, answered.media[0].attribute("crypto")), ("RTP/AVP", None))
        clear = alice.send(place_of(answered))
        await self.pause(0.2)
        (secret,) = bob.rtp_heard
        self.assertEqual((len(secret), secret[:12]), (len(clear) + 10, clear[:12]))
        self.assertNotEqual(secret[12:172], clear[12:])


def _has_ip6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as trial:
            trial.bind((_HOST6, 0))
    except OSError:
        return False
    return True
