"""RADIUS accounting: what servers are told, what counts as an answer, and what happens without one."""

from __future__ import annotations

import io
from typing import Any

from pyrad.dictionary import Dictionary
from pyrad.packet import AcctPacket
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.cdr import radius_client
from sipd.cdr.interfaces import IRecordSink, SinkError
from sipd.cdr.radius import RadiusProgress, RadiusSink, cisco_time, stop
from sipd.cdr.radius_client import RadiusClient
from sipd.cdr.record import records_of
from sipd.interfaces import Decision, ICallObserver
from sipd.radius.peer import RadiusServer, RadiusSettings
from sipd.radius.peers import RadiusPeers
from tests.cdr.support import NOON, LogKeeper, call, record

SECRETS = {"192.0.2.1": b"one", "192.0.2.2": b"two"}
DICTIONARY = Dictionary(io.StringIO(radius_client._DICTIONARY))


class UdpReactor(Clock):
    """A clock that opens sockets.

    Attributes:
        sent: datagrams, with their destinations.
        ports: those that are open.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.ports: list[UdpPort] = []

    def listenUDP(self, port: int, protocol: Any, interface: str = "") -> UdpPort:
        """Open one."""
        opened = UdpPort(self, protocol, interface)
        protocol.transport = opened
        self.ports.append(opened)
        return opened


class UdpPort:
    """A socket.

    Args:
        reactor: where it is open.
        protocol: what gets the datagrams.
        interface: that it is bound to.
    """

    def __init__(self, reactor: UdpReactor, protocol: Any, interface: str) -> None:
        self.protocol = protocol
        self.interface = interface
        self._reactor = reactor

    def write(self, data: bytes, address: tuple[str, int]) -> None:
        """Send one."""
        self._reactor.sent.append((data, address))

    def stopListening(self) -> None:
        """Close it."""
        self._reactor.ports.remove(self)


class RadiusCase(SynchronousTestCase):
    """Two servers, which answer when they are told to."""

    def setUp(self) -> None:
        self.reactor = UdpReactor()
        servers = [RadiusServer(host=host, port=1813, secret=secret) for host, secret in SECRETS.items()]
        self.client = RadiusClient(RadiusPeers(servers, RadiusSettings(timeout=2.0, tries=3), reactor=self.reactor))
        self.addCleanup(self.client.close)

    def request(self, index: int = -1) -> AcctPacket:
        """Read a request as its server does; it has to be signed with the secret that is shared with it."""
        data, (host, port) = self.reactor.sent[index]
        self.assertEqual(port, 1813)
        packet = AcctPacket(packet=data, secret=SECRETS[host], dict=DICTIONARY)
        self.assertTrue(packet.VerifyAcctRequest())
        return packet

    def hosts(self) -> list[str]:
        """Give where the datagrams went."""
        return [host for _, (host, _) in self.reactor.sent]

    def answer(self, index: int = -1, secret: bytes | None = None, code: int = 5) -> None:
        """Answer a request."""
        packet = self.request(index)
        _, address = self.reactor.sent[index]
        if secret is not None:
            packet.secret = secret
        reply = packet.CreateReply()
        reply.code = code
        data = reply.ReplyPacket()
        for opened in list(self.reactor.ports):
            if opened.protocol.server.host == address[0]:
                opened.protocol.datagramReceived(data, address)

    def values(self, index: int = -1) -> dict[str, list[Any]]:
        """Give the attributes of a request by their names."""
        packet = self.request(index)
        return {name: packet[name] for name in packet.keys() if isinstance(name, str)}  # noqa: SIM118


class ClientTests(RadiusCase):
    """Requests and answers."""

    def account(self) -> Deferred[None]:
        """Send a request."""
        return self.client.account([("Acct-Status-Type", 1), ("User-Name", "alice")])

    def test_answered(self) -> None:
        """One request, one answer, and nothing is left."""
        done = self.account()
        self.assertNoResult(done)
        self.answer()
        self.successResultOf(done)
        self.assertEqual((self.hosts(), self.reactor.getDelayedCalls()), (["192.0.2.1"], []))

    def test_nobody_answers(self) -> None:
        """When no server answers, the failure names them all."""
        done = self.account()
        self.reactor.pump([2.0] * 6)
        error = self.failureResultOf(done, SinkError).value
        self.assertEqual(str(error), "no answer from 192.0.2.1:1813, no answer from 192.0.2.2:1813")
        self.assertEqual((len(self.reactor.sent), self.reactor.getDelayedCalls()), (6, []))

    def test_what_is_no_answer(self) -> None:
        """An answer with another secret, or of another kind, changes nothing."""
        done = self.account()
        self.answer(secret=b"wrong")
        self.answer(code=2)
        self.assertNoResult(done)
        self.answer()
        self.successResultOf(done)

    def test_window(self) -> None:
        """No more than 64 requests are unanswered together; the others wait, and no identifier is used twice."""
        done = [self.account() for _ in range(300)]
        self.assertEqual(len(self.reactor.sent), 64)
        index = 0
        while index < len(self.reactor.sent):
            self.answer(index)
            index += 1
        for one in done:
            self.successResultOf(one)
        self.assertEqual(len(self.reactor.sent), 300)

    def test_close(self) -> None:
        """A close fails what is unanswered, what waits, however much that is, and what comes afterwards."""
        done = [self.account() for _ in range(1000)]
        self.successResultOf(self.client.close())
        for one in (*done, self.account()):
            self.assertEqual(str(self.failureResultOf(one, SinkError).value), "it is closed")
        self.assertEqual((self.reactor.ports, self.reactor.getDelayedCalls()), ([], []))

    def test_long_texts(self) -> None:
        """Texts are cut to what an attribute can hold, between characters."""
        done = self.client.account([("User-Name", "\u00fc" * 200), ("Cisco-AVPair", "x" * 300)])
        values = self.values()
        self.assertEqual((values["User-Name"], values["Cisco-AVPair"]), (["\u00fc" * 126], ["x" * 247]))
        self.answer()
        self.successResultOf(done)


class StopTests(RadiusCase):
    """The record of a call."""

    def setUp(self) -> None:
        super().setUp()
        self.sink = RadiusSink(self.client, identifier="pbx.example", now=lambda: NOON + 70.0)

    def test_attributes(self) -> None:
        """Stop has the times, numbers and causes of the call, as Cisco's gateways and Sippy send them."""
        verifyObject(IRecordSink, self.sink)
        done = self.sink.deliver([record("c1")])
        values = self.values()
        conference = values.pop("h323-conf-id")[0]
        self.assertRegex(conference, r"^h323-conf-id=([0-9A-F]{8} ){3}[0-9A-F]{8}$")
        self.assertEqual(
            values,
            {
                "Acct-Status-Type": [2],
                "NAS-Identifier": ["pbx.example"],
                "User-Name": ["alice"],
                "Calling-Station-Id": ["alice"],
                "Called-Station-Id": ["5551234"],
                "Acct-Session-Id": ["c1@192.0.2.1"],
                "Acct-Multi-Session-Id": ["c1"],
                "Acct-Session-Time": [60],
                "Acct-Terminate-Cause": [1],
                "Acct-Delay-Time": [6],
                "Event-Timestamp": [int(NOON) + 63],
                "h323-call-origin": ["h323-call-origin=answer"],
                "h323-call-type": ["h323-call-type=VoIP"],
                "h323-remote-address": ["h323-remote-address=192.0.2.1"],
                "h323-setup-time": ["h323-setup-time=12:00:00.000 GMT Sun Nov 22 2026"],
                "h323-connect-time": ["h323-connect-time=12:00:03.000 GMT Sun Nov 22 2026"],
                "h323-disconnect-time": ["h323-disconnect-time=12:01:03.250 GMT Sun Nov 22 2026"],
                "h323-disconnect-cause": ["h323-disconnect-cause=10"],
                "h323-voice-quality": ["h323-voice-quality=0"],
                "Cisco-AVPair": ["h323-session-protocol=sipv2", "call-id=c1@192.0.2.1", "release-source=2"],
            },
        )
        self.answer()
        self.successResultOf(done)

    def test_attempts(self) -> None:
        """An attempt is a session of its own below the call, originated here."""
        done = self.sink.deliver(list(records_of(call("c1"))))
        whole, failed, _ = (self.values(index) for index in range(3))
        self.assertEqual(failed["h323-call-origin"], ["h323-call-origin=originate"])
        self.assertEqual(failed["h323-remote-address"], ["h323-remote-address=one.example"])
        self.assertEqual(failed["Acct-Session-Id"], ["c1-b1@192.0.2.9"])
        self.assertEqual(failed["h323-disconnect-cause"], ["h323-disconnect-cause=22"])
        self.assertEqual(failed["Acct-Session-Time"], [0])
        self.assertEqual(failed["h323-conf-id"], whole["h323-conf-id"])
        self.assertEqual(failed["Acct-Multi-Session-Id"], whole["Acct-Multi-Session-Id"])
        for index in range(3):
            self.answer(index)
        self.successResultOf(done)

    def test_all_or_nothing(self) -> None:
        """A batch is delivered when all of it was answered, and fails if one was not."""
        done = self.sink.deliver([record("1"), record("2")])
        self.answer(0)
        self.assertNoResult(done)
        self.reactor.pump([2.0] * 6)
        self.failureResultOf(done, SinkError)

    def test_causes(self) -> None:
        """Who ended a call, and why, is in the terminate cause and the release source."""
        for changes, cause, source in (
            ({"ended_by": "callee"}, 1, "4"),
            ({"ended_by": "sipd", "cause": "duration"}, 5, "8"),
            ({"ended_by": "sipd", "cause": "stopped"}, 6, "8"),
            ({"ended_by": "sipd", "cause": "caller-lost"}, 2, "8"),
            ({"ended_by": "caller", "cause": "cancel", "status": 487, "answered_at": None}, 1, "2"),
            ({"ended_by": "callee", "cause": "sip:486", "status": 486, "answered_at": None}, 9, "4"),
        ):
            attributes = stop(record(**changes), NOON, "x")
            values = dict(attributes)
            self.assertEqual(
                (values["Acct-Terminate-Cause"], values["Cisco-AVPair"]), (cause, f"release-source={source}")
            )

    def test_times(self) -> None:
        """Days have no zero in front, and a thousandth that is rounded up carries."""
        self.assertEqual(cisco_time(1_796_083_199.9996), "00:00:00.000 GMT Tue Dec 1 2026")

    def test_close(self) -> None:
        """A close fails what is on its way, so that it stays in the spool."""
        done = self.sink.deliver([record("1")])
        self.successResultOf(self.sink.close())
        self.failureResultOf(done, SinkError)


class ProgressTests(RadiusCase):
    """Calls that go on."""

    def setUp(self) -> None:
        super().setUp()
        self.log = LogKeeper(self)
        self.progress = self.make(30.0)

    def make(self, interim: float | None) -> RadiusProgress:
        """Watch calls."""
        return RadiusProgress(
            self.client,
            identifier="pbx",
            clock=self.reactor,
            now=lambda: NOON + 3.0 + self.reactor.seconds(),
            interim=interim,
        )

    def decide(self, watcher: RadiusProgress, name: str) -> None:
        """Let the call go on."""
        watcher.call_decided(name, Decision(at=NOON, kind="any", text=""))

    def test_start_and_interim(self) -> None:
        """An answered call gives Start once, then updates with the time that it has talked; the end gives nothing."""
        verifyObject(ICallObserver, self.progress)
        one = call("c1", answered_at=None, ended_at=None)
        self.progress.call_started("c1", one)
        self.decide(self.progress, "c1")
        self.assertEqual(self.reactor.sent, [])
        one.answered_at = NOON + 3.0
        for _ in range(3):
            self.decide(self.progress, "c1")
        self.assertEqual(len(self.reactor.sent), 1)
        values = self.values()
        self.assertEqual((values["Acct-Status-Type"], values["Acct-Session-Id"]), ([1], ["c1@192.0.2.1"]))
        self.assertNotIn("Acct-Session-Time", values)
        self.answer()
        for talked in (30, 60):
            self.reactor.advance(30.0)
            values = self.values()
            self.assertEqual((values["Acct-Status-Type"], values["Acct-Session-Time"]), ([3], [talked]))
            self.answer()
        self.progress.call_ended("c1", one)
        self.assertEqual((len(self.reactor.sent), self.reactor.getDelayedCalls()), (3, []))

    def test_unanswered(self) -> None:
        """A call that nobody answers gives neither, and is forgotten; without an interval there is only Start."""
        one = call("c1", answered_at=None)
        self.progress.call_started("c1", one)
        self.progress.call_ended("c1", one)
        self.decide(self.progress, "c1")
        self.assertEqual(self.reactor.sent, [])
        watcher = self.make(None)
        watcher.call_started("c2", call("c2"))
        self.decide(watcher, "c2")
        self.answer()
        self.assertEqual((len(self.reactor.sent), self.reactor.getDelayedCalls()), (1, []))

    def test_nobody_answers(self) -> None:
        """Servers that are away are one line in the log, and one more when they are back; calls go on."""
        for name in ("c1", "c2"):
            self.progress.call_started(name, call(name))
            self.decide(self.progress, name)
        self.reactor.pump([2.0] * 6)
        self.assertEqual(len(self.log.at("error")), 1)
        self.progress.call_ended("c2", call("c2"))
        self.reactor.advance(18.0)
        self.answer()
        self.assertEqual(self.log.at("info"), ["RADIUS accounting goes on"])
        self.progress.close()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
