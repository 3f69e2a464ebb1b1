"""What the INVITE of a phone says, and what is known of the call by it."""

from __future__ import annotations

from twisted.logger import LogEvent, Logger, LogLevel

from sipd.interfaces import Credentials
from sipd.media.endpoint.settings import Security
from sipd.phone.call import Call
from sipd.phone.errors import DialError
from sipd.phone.incoming import IncomingCall
from sipd.phone.progress import DialProgress, DialStep
from sipd.rtp.packet import RtpPacket
from sipd.sdp.description import parse_description
from sipd.sip.locate import Transport
from tests.phone.support import ALICE, BOB, CAROL, PhoneCase, answering

VERBATIM = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=username:carol\r\n"
    b"m=audio 10000 RTP/AVP 0\r\na=x-own:1\r\n"
)


class PlacingTests(PhoneCase):
    """Calls of alice's to bob."""

    def setUp(self) -> None:
        """Make both phones."""
        super().setUp()
        self.alice = self.phone(ALICE, "alice", listen=[f"udp:{ALICE}:5060", f"tcp:{ALICE}:5060"])
        self.bob = self.phone(BOB, "bob", listen=[f"udp:{BOB}:5060", f"tcp:{BOB}:5060"])
        self.taken = answering(self.bob)

    def dial(self, **options: object) -> Call:
        """Call bob."""
        dialling = self.alice.dial(f"bob@{BOB}", **options)  # type: ignore[arg-type]
        self.clock.advance(5.0)
        return self.successResultOf(dialling)

    def test_call_id(self) -> None:
        """A Call-ID that was chosen before is the call's."""
        call = self.dial(call_id="record-77@example.org")
        self.assertEqual((call.call_id, self.taken[0].call_id), ("record-77@example.org",) * 2)

    def test_what_it_is_for(self) -> None:
        """What the application knows the call by stays here, and comes back with each step, and with the call."""
        steps: list[DialProgress] = []
        call = self.dial(correlation="c-1", scenario="campaign", script="greeting.lua", on_progress=steps.append)
        self.assertEqual((call.correlation, call.scenario, call.script), ("c-1", "campaign", "greeting.lua"))
        self.assertEqual([step.step for step in steps], [DialStep.INVITED, DialStep.PROVISIONAL, DialStep.ESTABLISHED])
        for step in steps:
            self.assertEqual((step.correlation, step.scenario, step.script), ("c-1", "campaign", "greeting.lua"))
            self.assertEqual(step.call_id, call.call_id)
        self.assertNotIn(b"greeting.lua", self.taken[0].invite.to_bytes())

    def test_verbatim_description(self) -> None:
        """A description of the application's own leaves as it was written, and the answer to it is there to be read."""
        call = self.dial(sdp=VERBATIM)
        self.assertEqual(self.taken[0].invite.body, VERBATIM)
        assert call.session.dialog is not None
        self.assertTrue(call.is_established)

    def test_transport(self) -> None:
        """The transport that is asked for is taken, but the one that the URI names counts more."""
        self.dial(transport=Transport.TCP)
        dialling = self.alice.dial(f"sip:bob@{BOB};transport=udp", transport=Transport.TCP)
        self.clock.advance(5.0)
        self.successResultOf(dialling)
        self.assertEqual([call.invite.via.transport for call in self.taken], ["TCP", "UDP"])

    def test_uri_and_place(self) -> None:
        """The request URI is one thing, and where the INVITE goes is another one."""
        dialling = self.alice.dial("sip:sales@example.net", proxy=BOB)
        self.clock.advance(5.0)
        self.assertTrue(self.successResultOf(dialling).is_established)
        self.assertEqual(str(self.taken[0].invite.uri), "sip:sales@example.net")

    def test_encrypted(self) -> None:
        """One call may offer keys, though the phone's others do not."""
        for security, profile in ((Security.OFFERED, "RTP/SAVP"), (None, "RTP/AVP")):
            self.dial(security=security).hang_up()
            self.clock.advance(1.0)
            (media,) = parse_description(self.taken[-1].invite.body).media
            self.assertEqual(media.protocol, profile)
            self.assertEqual(media.attribute("crypto") is not None, security is not None)

    def test_changes_of_media(self) -> None:
        """Each change of what is agreed on about the media is told; the endpoint of the call goes on with it."""
        told: list[bool] = []
        call = self.dial()
        self.taken[0].on_media = lambda changed: told.append(changed.audio.is_receiving)
        for change in (call.hold, call.resume):
            change()
            self.clock.advance(1.0)
        self.assertEqual(len(told), 2)

    def test_raw_packets(self) -> None:
        """The packets of a call can be read and written as they are."""
        call = self.dial()
        ear = self.taken[0].audio
        reading = ear.read_rtp()
        self.clock.advance(0.1)
        got = [self.successResultOf(reading)]
        packet = RtpPacket(payload_type=0, sequence=7, timestamp=160, ssrc=got[0].ssrc, payload=b"own")
        call.audio.write_rtp(packet)
        self.clock.advance(0.1)
        while (reading := ear.read_rtp()).called:
            got.append(self.successResultOf(reading))
        reading.cancel()
        self.failureResultOf(reading)
        self.assertEqual(got[-1], packet)

    def test_codecs_of_an_answer(self) -> None:
        """The callee chooses the codecs of one answer, or of all that it waits for."""
        codecs: list[str | None] = []

        async def take(call: IncomingCall) -> None:
            call.codecs = ["pcma"]
            await call.answer()

        self.bob.on_call = take
        codecs.append(self.dial(codecs=["pcmu", "pcma"]).audio.codec)
        waiting = self.bob.answer(codecs=["pcma", "pcmu"])
        codecs.append(self.dial(codecs=["pcmu"]).audio.codec)
        self.successResultOf(waiting)
        self.assertEqual(codecs, ["pcma/8000", "pcmu/8000"])

    def test_hang_up_all(self) -> None:
        """All calls of a phone are hung up at once: those that are up, and those that ring."""
        calls = [self.dial(), self.dial()]
        carol = self.phone(CAROL, "carol")
        carol.on_call = lambda call: call.ring()
        dialling = self.alice.dial(f"carol@{CAROL}")
        self.clock.advance(1.0)
        ending = self.alice.hang_up_all("Q.850;cause=16")
        self.clock.advance(2.0)
        self.successResultOf(ending)
        self.failureResultOf(dialling)
        self.assertEqual([call.is_over for call in (*calls, *self.taken)], [True] * 4)
        assert self.taken[0].end is not None
        self.assertEqual(self.taken[0].end.reasons, ("Q.850;cause=16",))
        self.assertEqual((len(self.alice.calls), len(carol.calls)), (0, 0))
        self.assertTrue(self.dial().is_established)


class CredentialsTests(PhoneCase):
    """A phone with credentials for more than one realm."""

    def test_by_realm(self) -> None:
        """Each realm that asks gets those that are for it, in calls and in other requests; no other one gets any."""
        places = {BOB: "gate", CAROL: "house"}
        for address, realm in places.items():
            answering(self.phone(address, realm, authorize={"alice": realm * 2}, realm=realm))
        known = [Credentials(username="alice", password=realm * 2, realm=realm) for realm in ("gate", "house")]
        strange = [Credentials(username="alice", password="gategate", realm="elsewhere")]
        alice = self.phone(ALICE, "alice", credentials=known)
        mallory = self.phone("192.0.2.9", "mallory", credentials=strange)
        for address in places:
            dialling, refused = (phone.dial(f"sip:x@{address}") for phone in (alice, mallory))
            self.clock.advance(5.0)
            call = self.successResultOf(dialling)
            call.hang_up()
            self.clock.advance(1.0)
            self.assertEqual(self.failureResultOf(refused, DialError).value.status, 401)
        dialling = mallory.dial(f"sip:x@{BOB}", credentials=known[0])
        self.clock.advance(5.0)
        self.assertTrue(self.successResultOf(dialling).is_established)
        self.assertEqual(repr(alice.agent.settings).count("gategate"), 0)


class LoggerTests(PhoneCase):
    """A phone with a logger of its own."""

    def test_logger(self) -> None:
        """What the phone and its calls have to say is said with it: how a call ended, and what a hook failed with."""
        events: list[LogEvent] = []
        alice = self.phone(ALICE, "alice", log=Logger(namespace="switchboard", observer=events.append))  # type: ignore[arg-type]
        answering(self.phone(BOB, "bob"))

        def fail(step: DialProgress) -> None:
            raise ZeroDivisionError

        dialling = alice.dial(f"bob@{BOB}", on_progress=fail)
        self.clock.advance(1.0)
        self.successResultOf(dialling).hang_up()
        self.clock.advance(1.0)
        self.assertEqual({event["log_namespace"] for event in events}, {"switchboard"})
        self.assertEqual([event["log_level"] for event in events], [LogLevel.critical] * 3 + [LogLevel.info])
        self.assertEqual(events[-1]["text"], "this side hung up")
        self.assertEqual(events[-1]["remote"], f"sip:bob@{BOB}")
        self.assertEqual(self.flushLoggedErrors(ZeroDivisionError), [])
