"""Calls, registrations and RTP streams as packets tell, and their counts."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from sipd.observe.sniffing.calls import Call, Calls
from sipd.observe.sniffing.media import RtpStreams
from sipd.observe.sniffing.registrations import Registration, Registrations
from sipd.observe.sniffing.sightings import MediaSeen
from sipd.observe.sniffing.sniffer import Rest
from sipd.observe.sniffing.summary import Summary
from tests.observe.sniffing.wires import ALICE, BOB, register, registered, request, response, rtp, seen

_ANSWERED = (
    (0.0, request()),
    (0.01, response(407)),
    (0.02, request("ACK")),
    (0.03, request(cseq=2)),
    (0.04, response(100, cseq=2)),
    (0.5, response(180, cseq=2)),
    (0.6, response(180, cseq=2)),
    (2.0, response(200, cseq=2)),
    (2.1, request("ACK", cseq=2)),
    (9.0, request("BYE", cseq=3)),
    (9.25, response(200, "BYE", cseq=3)),
)


def followed(*messages: tuple[float, bytes]) -> Call:
    """Give what is known of the one call that these are of."""
    calls = Calls(max_messages=5)
    for at, data in messages:
        calls.take(seen(data, at=at))
    (call,) = calls
    return call


class CallTests(SynchronousTestCase):
    """How far calls got, and when."""

    def test_answered(self) -> None:
        """A call that is challenged, rings, is answered and ended has all of its times, from the first INVITE on."""
        call = followed(*_ANSWERED)
        self.assertEqual((call.caller, call.callee, call.status, call.invited_at), ("alice", "bob", 200, 0.0))
        times = [call.ringing_at, call.answered_at, call.acknowledged_at, call.ended_at]
        self.assertEqual([call.after(at) for at in times], [0.5, 2.0, 2.1, 9.25])
        self.assertEqual((len(call.messages), call.is_cut), (5, True))

    def test_refused(self) -> None:
        """A refusal ends a call; a challenge does not, and neither does what is tried again."""
        self.assertEqual(followed(*_ANSWERED[:2]).ended_at, None)
        call = followed((0.0, request()), (1.0, response(486)), (1.1, request("ACK")))
        self.assertEqual((call.ended_at, call.status, call.answered_at), (1.0, 486, None))
        call = followed((0.0, request()), (1.0, response(503)), (2.0, request(cseq=2)))
        self.assertEqual(call.ended_at, None)

    def test_changed(self) -> None:
        """An INVITE within the call, refused or not, changes neither its answer nor its state."""
        call = followed(*_ANSWERED[:9], (5.0, request(cseq=4)), (5.1, response(488, cseq=4)))
        self.assertEqual((call.status, call.answered_at, call.ended_at), (200, 2.0, None))

    def test_joined_in_the_middle(self) -> None:
        """Of a call whose INVITE was not seen no time of the set-up is known."""
        call = followed(*_ANSWERED[7:])
        self.assertEqual((call.after(call.answered_at), call.answered_at, call.ended_at), (None, 2.0, 9.25))

    def test_ended_ones(self) -> None:
        """Calls that are over and silent are given once, in the order in which they ended."""
        calls = Calls(max_messages=5)
        for call_id in "abc":
            calls.take(seen(request(call_id=call_id), at=1.0))
        for call_id, at in (("b", 3.0), ("a", 5.0)):
            calls.take(seen(response(486, call_id=call_id), at=at))
        self.assertEqual(calls.take_ended(2.0), [])
        self.assertEqual([call.call_id for call in calls.take_ended(3.0)], ["b"])
        self.assertEqual([call.call_id for call in calls.take_ended(9.0)], ["a"])
        self.assertEqual([call.call_id for call in calls], ["c"])

    def test_bounds(self) -> None:
        """Beyond the bound the call that was silent longest is forgotten; what has no Call-ID is no call's."""
        calls = Calls(max_calls=2)
        for call_id in ("a", "b", "a", "c"):
            calls.take(seen(request(call_id=call_id)))
        self.assertEqual(({call.call_id for call in calls}, calls.forgotten), ({"a", "c"}, 1))
        calls.take(seen(b"OPTIONS sip:x SIP/2.0\r\n\r\n"))
        self.assertEqual(len(calls), 2)


class RegistrationTests(SynchronousTestCase):
    """Who is registered."""

    def state(self, *messages: bytes, max_users: int = 10) -> list[Registration]:
        """Give the registrations after these messages, a second apart."""
        registrations = Registrations(max_users=max_users)
        for at, data in enumerate(messages):
            registrations.take(seen(data, at=float(at)))
        return list(registrations)

    def test_states(self) -> None:
        """Each response changes the state; the last one counts."""
        contact = "Contact: <sip:alice@192.0.2.1:5062>;expires=60, <sip:alice@192.0.2.7>;expires=30\r\n"
        gone = "Contact: <sip:alice@192.0.2.1:5062>;expires=0\r\n"
        challenge, refused = registered(status=401), registered(status=403)
        for messages, state, status, count, expires in (
            ((register(),), "asked", None, 0, None),
            ((register(), registered(status=100)), "asked", None, 0, None),
            ((register(), challenge), "challenged", 401, 0, None),
            ((register(), refused), "refused", 403, 0, None),
            ((register(), challenge, register(), registered(fields=contact)), "registered", 200, 2, 30),
            ((register(), registered(fields=contact), challenge), "registered", 200, 2, 30),
            ((register(), registered(fields=contact), refused), "refused", 403, 0, None),
            ((register(), registered(fields=contact), registered(fields=gone)), "unregistered", 200, 0, None),
            ((registered(fields="Contact: <sip:a@b>\r\nExpires: 600\r\n"),), "registered", 200, 1, 600),
            ((registered(),), "unregistered", 200, 0, None),
            ((registered(fields="Contact: <\r\n"),), "unregistered", 200, 0, None),
        ):
            (found,) = self.state(*messages)
            self.assertEqual(found.user, "alice@example.com")
            self.assertEqual(
                (found.state, found.status, len(found.contacts), found.expires), (state, status, count, expires)
            )

    def test_users(self) -> None:
        """Each user has a registration; beyond the bound the one that was silent longest is forgotten."""
        found = self.state(register("a"), register("b"), register("a"), register("c"), request(), max_users=2)
        self.assertEqual([one.user for one in found], ["a@example.com", "c@example.com"])


class MediaTests(SynchronousTestCase):
    """RTP streams."""

    def setUp(self) -> None:
        self.streams = RtpStreams(max_streams=2, silence=5.0)

    def take(self, data: bytes, at: float = 0.0) -> bool:
        """Say whether a packet begins a stream."""
        return self.streams.take(MediaSeen(at=at, source=ALICE, destination=BOB, data=data)) is not None

    def test_loss(self) -> None:
        """What is missing is counted over the end of the numbers; what comes late was not lost."""
        for place, sequence in enumerate((65533, 65534, 1, 0, 2)):
            self.assertEqual(self.take(rtp(sequence), place / 50), not place)
        (stream,) = self.streams.finish()
        self.assertEqual((stream.packets, stream.lost), (5, 1))
        self.assertEqual(stream.describe(), "payload type 8, source 00000007, 5 packets in 0.1 s, 1 lost")

    def test_begun_anew(self) -> None:
        """Numbers that begin anew are no loss."""
        for sequence in (10, 11, 40000, 40001):
            self.take(rtp(sequence))
        self.assertEqual([stream.lost for stream in self.streams.finish()], [0])

    def test_streams(self) -> None:
        """Sources are told apart, a bounded number of them; RTCP and what is cut off begin none."""
        self.assertFalse(self.take(b"\x80\xc8\0\0"))
        self.assertFalse(self.take(b"\x8f" + rtp(1)[1:20]))
        self.assertTrue(self.take(rtp(1, ssrc=1)))
        self.assertTrue(self.take(rtp(1, ssrc=2)))
        self.assertFalse(self.take(rtp(1, ssrc=3)))
        self.assertEqual(len(self.streams), 2)

    def test_ended(self) -> None:
        """A stream that is silent for long enough is over, once."""
        self.take(rtp(1, ssrc=1), 0.0)
        self.take(rtp(1, ssrc=2), 3.0)
        self.assertEqual([stream.ssrc for stream in self.streams.take_ended(5.0)], [1])
        self.assertEqual([stream.ssrc for stream in self.streams.take_ended(9.0)], [2])
        self.assertEqual(self.streams.take_ended(99.0), [])


class SummaryTests(SynchronousTestCase):
    """The counts at the end."""

    def setUp(self) -> None:
        self.summary = Summary()

    def take(self, *messages: tuple[float, bytes]) -> None:
        """Count these."""
        for at, data in messages:
            self.summary.take(seen(data, at=1000.0 + at))

    def test_nothing(self) -> None:
        """Without a message there is a line that says so."""
        self.assertEqual(self.summary.lines(Rest()), ["messages: none"])
        self.assertEqual(self.summary.values(Rest())["duration"], 0.0)

    def test_lines(self) -> None:
        """Methods, statuses, users, registrations and calls are there, in words."""
        self.take(*_ANSWERED, (10.0, register("carol")), (10.5, registered("carol", status=403)))
        self.take((11.0, request(call_id="a2")), (11.25, response(486, call_id="a2")))
        self.take((12.0, request(call_id="a3")), (12.0, b"BYE x SIP/2.0\r\n?\r\n\r\n"))
        self.assertEqual(
            self.summary.lines(Rest(keep_alives=2, others=1, broken=3)),
            [
                "messages: 17 in 12.000 s (UDP 17)",
                "requests: INVITE 4, ACK 2, BYE 1, REGISTER 1",
                "responses: 180 2, 200 2, 407 1, 100 1, 403 1, 486 1",
                "users: alice 14, bob 14, carol 2",
                "malformed: 1",
                "keep-alives: 2",
                "not SIP: 1",
                "broken packets: 3",
                "registrations:",
                "  carol@example.com refused 403, 1970-01-01T00:16:50.500Z",
                "calls:",
                "  1970-01-01T00:16:40.000Z alice -> bob a1: rang after 0.500 s, answered after 2.000 s, "
                "acknowledged after 2.100 s, ended after 9.250 s",
                "  1970-01-01T00:16:51.000Z alice -> bob a2: refused 486 after 0.250 s",
                "  1970-01-01T00:16:52.000Z alice -> bob a3: not answered (last status: -)",
            ],
        )

    def test_values(self) -> None:
        """By names there is the same, and JSON can say it."""
        self.take(*_ANSWERED, (10.0, registered(fields="Contact: <sip:a@b>;expires=60\r\n")))
        found = self.summary.values(Rest())
        self.assertEqual(json.loads(json.dumps(found)), found)
        self.assertEqual(found["requests"], {"INVITE": 2, "ACK": 2, "BYE": 1})
        (registration,) = found["registrations"]
        self.assertEqual((registration["user"], registration["expires"]), ("alice@example.com", 60))
        (call,) = found["calls"]
        self.assertEqual((call["ringing_after"], call["answered_after"], call["ended_after"]), (0.5, 2.0, 9.25))
