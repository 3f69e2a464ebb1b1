"""`sipd.ua.Phone` and real programs: through sipd to baresip, to baresip at once, and registered at Kamailio."""

from __future__ import annotations

from array import array
from typing import Any

from twisted.internet.defer import CancelledError
from zope.interface import implementer

from sipd.errors import LocalError, RegistrationError
from sipd.media.endpoint.interfaces import ISink
from sipd.media.endpoint.settings import EndpointSettings, Security
from sipd.phone.account import Account
from sipd.phone.call import Call
from sipd.phone.ended import EndedBy
from sipd.phone.errors import DialError
from sipd.phone.phone import Phone
from sipd.rtp.wave import parse_wave
from tests.interop.baresip import Account as BaresipAccount
from tests.interop.baresip import Phone as Baresip
from tests.interop.calls import assert_heard
from tests.interop.case import InteropTestCase
from tests.interop.kamailio import DOMAIN, PASSWORD, USER, Kamailio
from tests.interop.server import USERS, Server
from tests.interop.tones import best_share, samples_of_tone, write_wave
from tests.ports import HOST

#: What baresip plays, and what the phone does.
THEIRS_HZ, OURS_HZ = 1000.0, 440.0
_TALK = 1.5


@implementer(ISink)
class Ear:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.samples = array("h")

    def write(self, samples: array[int]) -> None:
        """See `ISink`."""
        self.samples.extend(samples)


class PhoneCase(InteropTestCase):
    """Phones of this process beside baresip."""

    programs = ("baresip",)

    def phone(self, account: Account | None = None, transport: str = "udp", **more: Any) -> Phone:
        """Start a phone; it is stopped with the test."""
        phone = Phone(self.reactor, listen=f"{transport}:{HOST}:{self.ports.take()}", account=account, **more)
        phone.startService()
        self.addCleanup(phone.stopService)
        return phone

    async def baresip(
        self,
        server: Server | None = None,
        *,
        media: tuple[str, ...] = (),
        settings: tuple[str, ...] = (),
        **more: Any,
    ) -> Baresip:
        """Start baresip as bob, registered if there is a server."""
        if server is not None:
            more |= {"server": f"{HOST}:{server.port}", "password": USERS["bob"]}
        bob = Baresip(self, BaresipAccount(user="bob", **more), THEIRS_HZ, media=media, settings=settings)
        await bob.start()
        if server is not None:
            await bob.registered()
        return bob

    async def talk(self, phone: Phone, bob: Baresip, target: str) -> Call:
        """Call, and let both be heard."""
        dialling = phone.dial(target)
        await bob.event("CALL_INCOMING")
        bob.send("accept")
        call = await dialling
        await self.talk_in(call, bob)
        return call

    async def talk_in(self, call: Call, bob: Baresip) -> None:
        """Let both be heard, and hang up."""
        ear = Ear()
        call.connect(None, ear)
        self.speak(call)
        await self.pause(_TALK)
        self.assert_hears(ear)
        await call.hang_up()
        await bob.event("CALL_CLOSED")
        await self.pause(0.2)
        assert_heard(self, bob, OURS_HZ)

    def speak(self, call: Call) -> None:
        """Play our tone until the call ends."""
        path = self.directory / "ours.wav"
        write_wave(path, samples_of_tone(OURS_HZ, 10))
        call.play(path).addErrback(lambda failure: failure.trap(CancelledError, LocalError))

    def assert_hears(self, ear: Ear) -> None:
        """Check that baresip's tone was heard, and nothing else."""
        samples = ear.samples[-8000:-400]
        self.assertGreater(best_share(samples, THEIRS_HZ), 0.9, self.explain())


class ThroughSipdTests(PhoneCase):
    """The phone and baresip are users of sipd."""

    async def test_dial(self) -> None:
        """The phone calls baresip; both hear each other, also after hold and resume; what was heard is on record."""
        server = Server(self)
        await server.start()
        bob = await self.baresip(server)
        alice = self.phone(Account(f"sip:alice@{HOST}", USERS["alice"], proxy=f"{HOST}:{server.port}"))
        dialling = alice.dial("bob")
        await bob.event("CALL_INCOMING")
        bob.send("accept")
        call = await dialling
        ear, path = Ear(), self.directory / "heard.wav"
        call.connect(None, ear)
        recording = call.record(path)
        self.speak(call)
        await self.pause(_TALK)
        self.assert_hears(ear)
        await call.hold()
        await self.pause(0.5)
        await call.resume()
        await self.pause(_TALK)
        self.assert_hears(ear)
        await recording.stop()
        await call.hang_up()
        await bob.event("CALL_CLOSED")
        await self.pause(0.2)
        self.assertGreater(best_share(bob.take_recording()[-8000:-800], OURS_HZ), 0.9, self.explain())
        samples = parse_wave(path.read_bytes()).samples()
        self.assertGreater(best_share(samples[4000:], THEIRS_HZ), 0.9)
        self.assertLess(call.statistics.lost, 5)
        await bob.stop()
        (record,) = await server.finish()
        self.assertEqual((record["status"], record["ended_by"]), (200, "caller"))

    async def test_answer(self) -> None:
        """Baresip calls the phone, which has registered; its digits are collected; it hangs up."""
        server = Server(self)
        await server.start()
        bob = await self.baresip(server)
        alice = self.phone(Account(f"sip:alice@{HOST}", USERS["alice"], proxy=f"{HOST}:{server.port}", register=True))
        await alice.when_ready()
        answering = alice.answer(ring_time=0.5)
        bob.send("dial", f"sip:alice@{HOST}")
        call = await answering
        await bob.event("CALL_ESTABLISHED")
        ear = Ear()
        call.connect(None, ear)
        self.speak(call)
        collecting = call.collect(3, timeout=10.0)
        for digit in "42#":
            bob.send("sndcode", digit)
            await self.pause(0.3)
        self.assertEqual(await collecting, "42")
        await self.pause(_TALK)
        self.assert_hears(ear)
        bob.send("hangup")
        self.assertEqual((await call.ended).by, EndedBy.THEM)
        await self.pause(0.2)
        assert_heard(self, bob, OURS_HZ)
        await bob.stop()
        await alice.stopService()
        await server.finish()

    async def test_refused(self) -> None:
        """Baresip declines: the phone's error has its response. Nobody there: another one."""
        server = Server(self)
        await server.start()
        bob = await self.baresip(server)
        alice = self.phone(Account(f"sip:alice@{HOST}", USERS["alice"], proxy=f"{HOST}:{server.port}"))
        dialling = alice.dial("bob")
        await bob.event("CALL_INCOMING")
        bob.send("hangup")
        for failing, status in ((dialling, 486), (alice.dial("carol"), 480)):
            with self.assertRaises(DialError) as caught:
                await failing
            self.assertEqual(caught.exception.status, status)
        await bob.stop()
        await server.finish()

    async def test_wrong_password(self) -> None:
        """A registration with a wrong password fails as such."""
        server = Server(self)
        await server.start()
        alice = self.phone(Account(f"sip:alice@{HOST}", "guess", proxy=f"{HOST}:{server.port}", register=True))
        await self.assertFailure(alice.when_ready(), RegistrationError)
        await alice.stopService()
        await server.finish()

    async def test_transfer(self) -> None:
        """The phone talks with baresip and sends it to another phone of this process."""
        server = Server(self)
        await server.start()
        bob = await self.baresip(server)
        proxy = f"{HOST}:{server.port}"
        alice = self.phone(Account(f"sip:alice@{HOST}", USERS["alice"], proxy=proxy))
        carol = self.phone(Account(f"sip:carol@{HOST}", USERS["carol"], proxy=proxy, register=True))
        await carol.when_ready()
        dialling = alice.dial("bob")
        await bob.event("CALL_INCOMING")
        bob.send("accept")
        call = await dialling
        answering = carol.answer()
        await call.transfer("carol")
        taken = await answering
        ear = Ear()
        taken.connect(None, ear)
        await self.pause(_TALK)
        self.assert_hears(ear)
        await taken.hang_up()
        await bob.stop()
        await carol.stopService()
        await server.finish()


class DirectTests(PhoneCase):
    """The phone and baresip without anybody between."""

    async def test_tcp(self) -> None:
        """Over TCP, since the address says so."""
        bob = await self.baresip()
        phone = self.phone(transport="tcp")
        await self.talk(phone, bob, f"sip:bob@{HOST}:{bob.port};transport=tcp")

    async def test_codecs(self) -> None:
        """The codec that both have is taken: G.722, of the extra `audio`."""
        bob = await self.baresip(media=("g722",), codecs="G722/16000/1")
        phone = self.phone(audio=EndpointSettings(codecs=("opus", "g722", "pcma")))
        dialling = phone.dial(f"sip:bob@{HOST}:{bob.port}")
        await bob.event("CALL_INCOMING")
        bob.send("accept")
        call = await dialling
        ear = Ear()
        call.connect(None, ear)
        await self.pause(_TALK)
        self.assertEqual(call.audio.codec, "g722/8000")
        self.assert_hears(ear)
        await call.hang_up()

    async def test_srtp(self) -> None:
        """What is said is encrypted where the phone offers that (RFC 4568)."""
        bob = await self.baresip(media=("srtp",), parameters=";mediaenc=srtp-mand")
        phone = self.phone(audio=EndpointSettings(security=Security.OFFERED))
        await self.talk(phone, bob, f"sip:bob@{HOST}:{bob.port}")


class KamailioTests(PhoneCase):
    """The phone has its account at somebody else's registrar."""

    async def test_registered(self) -> None:
        """It registers with digest, refreshes, takes a call that comes by the registrar, and unregisters."""
        kamailio = Kamailio(self, self.ports.take())
        await kamailio.start()
        proxy = f"{HOST}:{kamailio.port}"
        phone = self.phone(Account(f"sip:{USER}@{DOMAIN}", PASSWORD, proxy=proxy, register=True))
        await phone.when_ready()
        lines = await kamailio.saved(3)
        self.assertEqual(len({line.partition("call=")[2].split(" ")[0] for line in lines}), 1, lines)
        self.assertEqual([route.partition(";")[0] for route in phone.service_route], [f"<sip:{proxy}"])
        bob = await self.baresip()
        answering = phone.answer()
        bob.send("dial", f"sip:{USER}@{HOST}:{kamailio.port}")
        call = await answering
        ear = Ear()
        call.connect(None, ear)
        await self.pause(_TALK)
        self.assert_hears(ear)
        await call.hang_up()
        await bob.event("CALL_CLOSED")
        await phone.stopService()
        await self.pause(0.5)
        self.assertIn(" expires=0 ", kamailio.lines("register saved")[-1])
