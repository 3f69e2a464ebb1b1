"""`sipd phone dial` and `answer` on a simulated network; with processes: `tests.interop.test_phone_command`."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from sipd.daemon.telephone.answerer import AnswerWanted, answer
from sipd.daemon.telephone.settings import DigitWay, LineWanted, Talk
from sipd.errors import ConfigurationError, ParseError
from sipd.media.endpoint.settings import EndpointSettings
from sipd.phone.account import Account
from sipd.phone.incoming import IncomingCall
from sipd.phone.phone import Phone
from sipd.rtp.g711 import tone_level
from tests.daemon.telephones import ALICE, CAROL, LISTEN, TO_BOB, Station, TelephoneCase


class DialTests(TelephoneCase):
    """`dial` and `answer` with each other."""

    def test_call(self) -> None:
        """A tone goes there and comes back as an echo; digits are heard; both say how it went, with status 0."""
        answered = self.answering(talk=Talk(echoes=True))
        talk = Talk(
            play="tone:440",
            times=None,
            record=str(self.directory / "heard.wav"),
            digits="12",
            hangup_after=4.0,
        )
        dialled = self.dialling(talk=talk)
        self.assertEqual((self.successResultOf(dialled), self.successResultOf(answered)), (0, 0))
        self.assertEqual(
            self.alice.lines[:4],
            [f"calling {TO_BOB}", "180 Ringing", "answered with 200 OK", "said digits 12"],
        )
        self.assertRegex(self.alice.lines[4], r"^recorded 4\.0 s in .*heard\.wav$")
        self.assertRegex(
            self.alice.lines[5],
            r"^ended by this side after 4\.0 s: pcmu/8000, 2\d\d packets sent, \d+ received, 0 lost \(0\.0 %\), "
            r"jitter \d+\.\d ms, round trip unknown, MOS 4\.\d$",
        )
        self.assertEqual(
            self.bob.lines[1:5],
            [
                f"call from <sip:phone@{ALICE}:49152> to {TO_BOB}",
                "answered with 200, pcmu/8000",
                "heard digit 1",
                "heard digit 2",
            ],
        )
        self.assertRegex(self.bob.lines[5], r"^ended by the other side after 4\.0 s: ")
        self.assertEqual(self.alice.complaints + self.bob.complaints, [])
        self.assertEqual(
            self.alice.messages(),
            [
                "> INVITE 1 sdp",
                "< 180 Ringing INVITE 1",
                "< 200 OK INVITE 1 sdp",
                "> ACK 1",
                "> BYE 2",
                "< 200 OK BYE 2",
            ],
        )
        heard = self.samples("heard.wav")
        self.assertGreater(tone_level(heard[-8000:], 440), 0.8)

    def test_digits(self) -> None:
        """Digits go by INFO and as tones, too, with pauses."""
        for way in (DigitWay.INFO, DigitWay.TONES):
            is_inband = way is DigitWay.TONES
            audio = EndpointSettings(rtcp_interval=0.0, telephone_events=not is_inband, detect_inband=is_inband)
            wanted = AnswerWanted(line=LineWanted(listen=LISTEN, audio=audio), is_once=True)
            answered = self.bob.run(answer, wanted)
            self.clock.advance(0.1)
            talk = Talk(digits="1,*", digits_by=way, hangs_up_when_done=True)
            self.assertEqual(self.successResultOf(self.dialling(line=LineWanted(audio=audio), talk=talk)), 0)
            self.assertEqual(self.successResultOf(answered), 0)
            self.assertEqual([line for line in self.bob.lines if "digit" in line], ["heard digit 1", "heard digit *"])
            self.bob.lines.clear()

    def test_several(self) -> None:
        """Several calls are made one after the other, and taken by one that goes on until it is ended."""
        self.answering(is_once=False)
        self.assertEqual(self.successResultOf(self.dialling(talk=Talk(hangup_after=1.0), count=3)), 0)
        self.assertEqual(sum(line.startswith("ended by the other side") for line in self.bob.lines), 3)
        self.end(self.bob)

    def test_headers(self) -> None:
        """Header fields and the caller's identity are as wanted, on either side; JSON has them."""
        bob = self.bob = Station(self, CAROL, as_json=True)
        answered = self.answering(headers=(("X-Answer", "yes"),))
        self.dialling(
            recipient=f"sip:bob@{CAROL}",
            talk=Talk(hangup_after=1.0),
            headers=(("X-Campaign", "7"),),
            caller="sip:+4930@example.org",
            caller_name="Alice A.",
            identities=("sip:alice@example.org",),
            privacy=("id",),
        )
        self.assertEqual(self.successResultOf(answered), 0)
        incoming = next(event for event in bob.events() if event["event"] == "incoming")
        self.assertEqual((incoming["caller"], incoming["caller_name"]), ("sip:+4930@example.org", "Alice A."))
        self.assertEqual(incoming["headers"]["P-Asserted-Identity"], ["<sip:alice@example.org>"])
        self.assertEqual(incoming["headers"]["Privacy"], ["id"])
        log = b"".join(event.data for event in self.network.log)
        self.assertIn(b"X-Campaign: 7\r\n", log)
        self.assertIn(b"X-Answer: yes\r\n", log)

    def test_json(self) -> None:
        """Each event is an object in a line: progress, digits, and the end with all figures."""
        self.alice = Station(self, CAROL, as_json=True)
        self.answering(talk=Talk(digits="5", hangup_after=2.0))
        self.assertEqual(self.successResultOf(self.dialling()), 0)
        events = self.alice.events()
        self.assertEqual([event["event"] for event in events], ["progress", "progress", "progress", "digit", "end"])
        self.assertEqual([event["status"] for event in events[:3]], [None, 180, 200])
        self.assertEqual(events[3]["digit"], "5")
        end = events[4]
        self.assertEqual((end["by"], end["media"]["codec"], end["media"]["lost"]), ("them", "pcmu/8000", 0))
        self.assertLess(abs(end["duration"] - 2.0), 0.1)

    def test_hold(self) -> None:
        """The other side is put on hold when that is wanted, and is told."""
        answered = self.answering()
        self.dialling(talk=Talk(hold_after=1.0, hangup_after=2.0))
        self.assertEqual(self.successResultOf(answered), 0)
        self.assertIn("the other side is on hold", self.alice.lines)
        self.assertIn("now pcmu/8000, on hold by the other side", self.bob.lines)

    def test_transfer_refused(self) -> None:
        """A transfer that the other side does not want is one line, and the status is 1; the call goes on."""
        answered = self.answering()
        dialled = self.dialling(talk=Talk(transfer_to="sip:carol@example.org", hangup_after=3.0))
        self.assertEqual((self.successResultOf(dialled), self.successResultOf(answered)), (1, 0))
        self.assertEqual(self.alice.complaints, ["603 Decline"])

    def test_transfers(self) -> None:
        """One that follows is sent to somebody else, by a blind transfer, and goes on with the same there."""
        carol = Station(self, CAROL)
        taking = carol.run(answer, AnswerWanted(line=self.line(listen=LISTEN), is_once=True))
        answered = self.answering(talk=Talk(play="tone:440", times=None, follows=True, hangup_after=5.0))
        dialled = self.dialling(talk=Talk(transfer_to=f"sip:carol@{CAROL}", transfer_after=1.0))
        self.assertEqual((self.successResultOf(dialled), self.successResultOf(answered)), (0, 0))
        self.assertEqual(self.successResultOf(taking), 0)
        self.assertIn(f"transferred to sip:carol@{CAROL}", self.alice.lines)
        self.assertIn(f"the call goes on with <sip:carol@{CAROL}>", self.bob.lines)
        ends = [line for line in self.bob.lines if line.startswith("ended by ")]
        self.assertRegex(ends[0], "^ended by the other side after 1")
        self.assertRegex(ends[1], r"^ended by this side after 5\.0 s")

    def test_transfer_fails(self) -> None:
        """One that is sent to where nobody is says so, and the call goes on; the status is 1 at either side."""
        carol = Station(self, CAROL)
        refusing = carol.run(answer, AnswerWanted(line=self.line(listen=LISTEN), is_once=True, status=486))
        answered = self.answering(talk=Talk(follows=True))
        dialled = self.dialling(talk=Talk(transfer_to=f"sip:{CAROL}", transfer_after=1.0, hangup_after=5.0))
        self.assertEqual((self.successResultOf(dialled), self.successResultOf(answered)), (1, 1))
        self.assertEqual(self.successResultOf(refusing), 0)
        self.assertEqual(self.alice.complaints, ["486 Busy Here"])
        self.assertEqual(self.bob.complaints, [f"sent on to sip:{CAROL}: 486 Busy Here"])
        self.assertRegex(self.bob.lines[-1], r"^ended by the other side after 5\.0 s")

    def test_replaced(self) -> None:
        """One that somebody is transferred to, attended, goes on with that one; its first call is not the last."""
        answered = self.answering()
        phones = []
        for address in (CAROL, "192.0.2.4"):
            phone = Phone(
                self.network.host(address),
                listen=f"udp:{address}:5060",
                account=Account(f"sip:phone@{address}"),
                audio=EndpointSettings(rtcp_interval=0.0),
                entropy=self.network.entropy,
            )
            phone.startService()
            phones.append(phone)
        one, other = phones

        async def take(call: IncomingCall) -> None:
            call.on_refer = lambda _: True
            await call.answer()

        other.on_call = take
        calls = [one.dial(TO_BOB), one.dial("sip:192.0.2.4")]
        self.clock.advance(1.0)
        to_bob, to_other = [self.successResultOf(call) for call in calls]
        transferring = to_other.transfer(to_bob)
        self.clock.advance(5.0)
        self.successResultOf(transferring)
        self.assertNoResult(answered)
        self.assertIn("the call goes on with <sip:phone@192.0.2.4>", self.bob.lines)
        stopping = [phone.stopService() for phone in phones]
        self.clock.advance(5.0)
        for stopped in stopping:
            self.successResultOf(stopped)
        self.assertEqual(self.successResultOf(answered), 0)

    def test_not_played(self) -> None:
        """What cannot be played is one line, and the status is 1."""
        self.answering()
        dialled = self.dialling(talk=Talk(play=str(self.directory / "no.wav"), hangup_after=1.0))
        self.assertEqual(self.successResultOf(dialled), 1)
        self.assertRegex(self.alice.complaints[0], r"no\.wav is not played: ")


class UnansweredTests(TelephoneCase):
    """Calls that come to nothing."""

    def test_refused(self) -> None:
        """A refusal is one line with status and reason, and exit status 1."""
        answered = self.answering(status=486)
        self.assertEqual(self.successResultOf(self.dialling()), 1)
        self.assertEqual(self.alice.complaints, ["486 Busy Here"])
        self.assertEqual(self.successResultOf(answered), 0)
        self.assertIn("refused with 486", self.bob.lines)

    def test_rings(self) -> None:
        """One that rings for too long is given up by CANCEL, to its end, with exit status 3."""
        answered = self.answering(ring_time=60.0)
        dialled = self.dialling(ring_timeout=5.0)
        self.assertEqual(self.successResultOf(dialled), 3)
        self.assertEqual(self.alice.complaints, ["Nobody has answered in 5 s"])
        self.assertEqual(self.alice.messages()[-1], "> ACK 1")
        self.assertIn("< 487 Request Terminated INVITE 1", self.alice.messages())
        self.assertEqual(self.successResultOf(answered), 1)

    def test_nobody(self) -> None:
        """Where nobody says anything, or nobody can be, the exit status is 3."""
        self.network.tells_refusals = False
        self.assertEqual(self.successResultOf(self.dialling(line=self.line(timeout=2.0))), 3)
        self.assertEqual(self.alice.complaints, ["nobody has said anything in 2 s"])
        self.assertEqual(self.successResultOf(self.dialling(recipient="sip:bob@nowhere.invalid")), 3)

    def test_interrupted(self) -> None:
        """Ctrl-C while it rings sends CANCEL, and waits until that is over; while they talk it sends BYE."""
        self.answering(ring_time=60.0)
        self.dialling(seconds=2.0)
        self.end(self.alice)
        self.assertEqual(self.alice.messages()[-1], "> ACK 1")
        self.assertEqual(self.successResultOf(self.bob.running), 1)
        self.answering()
        self.dialling(seconds=2.0)
        self.end(self.alice)
        self.assertEqual(self.alice.messages()[-2:], ["> BYE 2", "< 200 OK BYE 2"])
        self.assertRegex(self.alice.lines[-1], "^ended by this side after 1.9 s: |^ended by this side after 2.0 s: ")
        self.assertEqual(self.successResultOf(self.bob.running), 0)

    def test_interrupted_answering(self) -> None:
        """Ctrl-C ends calls that are up or ring, at the answering side, too."""
        for ring_time, last in ((0.0, "< 200 OK BYE 1"), (60.0, "< ACK 1")):
            self.answering(ring_time=ring_time, is_once=False)
            dialled = self.dialling(seconds=2.0)
            self.end(self.bob)
            self.assertEqual(self.bob.messages()[-1], last)
            self.assertEqual(self.successResultOf(dialled), 1 if ring_time else 0)

    def test_no_address(self) -> None:
        """What is no address is said so, before anything is sent."""
        self.failureResultOf(self.dialling(recipient="sip:"), ParseError)
        self.failureResultOf(self.dialling(headers=(("X", "a\r\nb"),)), ParseError)
        self.assertEqual(self.alice.arrows, [])

    def test_port_is_taken(self) -> None:
        """A listening point that cannot be had is an error of this side."""
        answered = self.answering(is_once=False)
        twice = self.bob.desk.phone(self.line(listen=LISTEN), [])
        self.failureResultOf(Deferred.fromCoroutine(twice.__aenter__()), ConfigurationError)
        self.assertNoResult(answered)
        self.end(self.bob)


class KeyTests(TelephoneCase):
    """What is typed in a call."""

    def type_in(self, *lines: str) -> None:
        """Type lines at Alice's, and let some time pass after each."""
        for line in lines:
            self.alice.desk.keys.typed(line)
            self.clock.advance(1.0)

    def test_keys(self) -> None:
        """Each key does what it says, and `h` hangs up."""
        answered = self.answering()
        dialled = self.dialling(seconds=2.0)
        self.type_in("i", "12", "d3", "r", "r", "m", "m", "t hello", "s there", "", "x sip:carol@example.org", "x", "h")
        self.clock.advance(5.0)
        self.assertEqual(self.alice.lines[3].split(": ")[1].split(",")[0], "pcmu/8000")
        self.assertEqual(
            [line for line in self.alice.lines[4:] if not line.startswith("now ")][:9],
            [
                "said digits 12",
                "said digits 3",
                "the other side is on hold",
                "the other side is not on hold any more",
                "muted",
                "not muted",
                "message: 200 OK",
                "info: 200 OK",
                "transferring to sip:carol@example.org",
            ],
        )
        self.assertEqual(self.alice.complaints[0], "603 Decline")
        self.assertIn("h hang up", self.alice.complaints[1])
        self.assertIn("MESSAGE in the call: hello", self.bob.lines)
        self.assertIn("INFO in the call: there", self.bob.lines)
        self.assertEqual([line for line in self.bob.lines if "digit" in line], [f"heard digit {n}" for n in "123"])
        self.assertEqual((self.successResultOf(dialled), self.successResultOf(answered)), (1, 0))

    def test_before_the_answer(self) -> None:
        """`h` gives up a call that rings; all else has to wait for a call."""
        self.answering(ring_time=60.0)
        dialled = self.dialling(seconds=2.0)
        self.type_in("5", "h")
        self.clock.advance(3.0)
        self.assertEqual(self.successResultOf(dialled), 3)
        self.assertRegex(self.alice.complaints[0], "^no call is up")
        self.assertEqual(self.alice.complaints[1], "given up before the answer")

    def test_quit(self) -> None:
        """`q` ends everything, with status 0 where that is the usual end."""
        self.answering(is_once=False)
        dialled = self.dialling(seconds=2.0, count=5)
        self.type_in("q")
        self.clock.advance(5.0)
        self.assertEqual(self.successResultOf(dialled), 0)
        self.assertEqual(self.alice.messages().count("> INVITE 1 sdp"), 1)
        self.bob.desk.keys.typed("h")
        self.assertEqual(self.bob.complaints, ["no call is up"])
        self.bob.desk.keys.typed("q")
        self.clock.advance(5.0)
        self.assertEqual(self.successResultOf(self.bob.running), 0)
