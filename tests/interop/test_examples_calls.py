"""The examples that connect people, as programs of their own, with baresip or peers of the test at the other end."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from sipd.testing.peer import Peer
from tests.interop.baresip import Account, Phone
from tests.interop.calls import LEAST_HEARD, TALK, assert_heard, assert_tone, talk
from tests.interop.case import InteropTestCase
from tests.interop.programs import Program
from tests.interop.server import USERS, Server
from tests.ports import HOST, are_free

ROOT = Path(__file__).resolve().parents[2]
TONES_HZ = {"alice": 440.0, "bob": 1000.0}


class _Fetch(Protocol):
    """Says something, and keeps what is said until the other side closes."""

    def __init__(self) -> None:
        self.data = b""
        self.closed: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        self.data += data

    def connectionLost(self, reason: object = None) -> None:
        """See `IProtocol`."""
        self.closed.callback(self.data)


class ExampleCase(InteropTestCase):
    """Starts examples."""

    def example(self, name: str, *arguments: str, **more: str) -> Program:
        """Start one, with more variables of its environment."""
        program = str(ROOT / "tapfiles" / f"{name}.py")
        environment = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}
        return self.start(sys.executable, program, *arguments, label=name, environment=environment)

    async def listening(self, port: int) -> None:
        """Wait until somebody has bound a port."""
        for _ in range(300):
            if not are_free(HOST, range(port, port + 1)):
                return
            await self.pause(0.05)
        self.fail(f"nobody listens on port {port}{self.explain()}")


class BaresipTests(ExampleCase):
    """Two baresip phones are called, without a server and through sipd."""

    programs: ClassVar = ("baresip",)

    async def phones(self) -> tuple[Phone, Phone]:
        """Start both."""
        alice, bob = (Phone(self, Account(user=user), tone) for user, tone in TONES_HZ.items())
        for phone in (alice, bob):
            await phone.start()
        return alice, bob

    async def serve(self, *phones: Phone) -> Server:
        """Start sipd, which lets everybody through to these phones."""
        server = Server(self)
        for phone in phones:
            server.add_route(phone.account.user, phone.account.user, phone.port)
        await server.start()
        return server

    async def click_to_dial(self, alice: Phone, bob: Phone, first: str, second: str) -> None:
        """Let them be connected by the example: they hear each other, and when one hangs up both calls are over."""
        program = self.example("click_to_dial", first, second, f"udp:{HOST}:0")
        for phone in (alice, bob):
            await phone.event("CALL_INCOMING")
            phone.send("accept")
            await phone.event("CALL_ESTABLISHED")
        await self.pause(TALK)
        alice.send("hangup")
        for phone in (alice, bob):
            await phone.event("CALL_CLOSED")
        self.assertEqual(await program.ends(10.0), 0, program.explain())
        self.assertIn(b"they talked for ", program.output)
        await self.pause(0.2)
        # Until alice was there, too, there was nothing to be heard.
        assert_tone(self, bob.take_recording(), alice.tone_hz, LEAST_HEARD * TALK, "bob")

    async def test_click_to_dial(self) -> None:
        """Both are called, one after the other."""
        alice, bob = await self.phones()
        await self.click_to_dial(alice, bob, *(f"sip:{one.account.user}@{HOST}:{one.port}" for one in (alice, bob)))

    async def test_click_to_dial_through_sipd(self) -> None:
        """Both are called through sipd, which has a record of each call."""
        alice, bob = await self.phones()
        server = await self.serve(alice, bob)
        await self.click_to_dial(alice, bob, *(f"sip:{user}@{HOST}:{server.port}" for user in TONES_HZ))
        for phone in (alice, bob):
            await phone.stop()
        records = await server.finish()
        self.assertEqual(
            sorted((record["status"], record["ended_by"]) for record in records), [(200, "callee"), (200, "caller")]
        )

    async def place(self, alice: Phone, bob: Phone, first: str, second: str) -> None:
        """Let the page call alice, who is sent on to bob; then those two hear each other."""
        program = self.example("page", "0", f"udp:{HOST}:0")
        port = int((await program.says(r"http://127\.0\.0\.1:(\d+)/call places calls"))[1])
        posting = await self.post(port, f"from={first}&to={second}")
        await alice.event("CALL_INCOMING")
        alice.send("accept")
        await bob.event("CALL_INCOMING")
        bob.send("accept")
        await bob.event("CALL_ESTABLISHED")
        answer = await posting.closed
        self.assertRegex(answer, rb"\AHTTP/1\.[01] 200 ")
        self.assertIn(f"{first} talks with {second}".encode(), answer)
        await self.pause(TALK)
        bob.send("hangup")
        await bob.event("CALL_CLOSED")
        await self.pause(0.2)
        assert_heard(self, bob, alice.tone_hz)

    async def test_page(self) -> None:
        """The page calls one phone, which calls the other as it is told."""
        alice, bob = await self.phones()
        await self.place(alice, bob, *(f"sip:{one.account.user}@{HOST}:{one.port}" for one in (alice, bob)))

    async def test_page_through_sipd(self) -> None:
        """The page calls one phone through sipd, which then connects it with the other itself."""
        alice, bob = await self.phones()
        server = await self.serve(alice, bob)
        await self.place(alice, bob, *(f"sip:{user}@{HOST}:{server.port}" for user in TONES_HZ))
        for phone in (alice, bob):
            await phone.stop()
        records = await server.finish()
        self.assertTrue(records)
        self.assertEqual({record["status"] for record in records}, {200}, self.explain())

    async def post(self, port: int, form: str) -> _Fetch:
        """Post a form to the page, as curl would."""
        posting: _Fetch = await connectProtocol(TCP4ClientEndpoint(self.reactor, HOST, port), _Fetch())
        head = f"POST /call HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\nContent-Length: {len(form)}\r\n"
        kind = "Content-Type: application/x-www-form-urlencoded\r\n"
        assert posting.transport is not None
        posting.transport.write(f"{head}{kind}\r\n{form}".encode())
        return posting


class SwitchboardTests(ExampleCase):
    """The B2BUA inside of a program."""

    programs: ClassVar = ("baresip",)

    async def open(self, hour: int) -> tuple[int, Program]:
        """Start it, at that time of the day; give its port."""
        port, first = self.ports.take(), self.ports.take_range(40)[0]
        users = "".join(f'[[users]]\nname = "{name}"\npassword = "{USERS[name]}"\n' for name in TONES_HZ)
        (self.directory / "sipd.toml").write_text(
            f'domains = ["{HOST}"]\nstate_directory = "state"\n'
            f'[[listen]]\nname = "udp"\ntransport = "udp"\naddress = "{HOST}"\nport = {port}\n'
            # baresip 1.0 refuses to choose.
            f'[authentication]\nalgorithms = ["MD5"]\n'
            f"[media]\nfirst_port = {first}\nlast_port = {first + 39}\n{users}"
        )
        # A zone in which it is that late.
        zone = f"XXX{datetime.now(UTC).hour - hour:+d}"
        program = self.example("switchboard", "sipd.toml", TZ=zone)
        await program.says("the switchboard is open")
        return port, program

    async def talk(self, hour: int) -> list[int | None]:
        """Let alice call the office, bob, and nobody, at that time of the day; give what becomes of that."""
        port, program = await self.open(hour)
        alice, bob = (self.peer(user, port) for user in TONES_HZ)
        for phone in (alice, bob):
            registered = await phone.register()
            assert registered is not None
            self.assertEqual(registered.status, 200)
        bob.on_call = lambda call: call.refuse(486)
        ended = [await alice.call(callee).when_ended() for callee in ("office", "bob", "nobody")]
        program.send_signal("INT")
        await program.ends(10.0)
        self.assertNotIn(b"Traceback", program.output)
        return [call.status for call in ended]

    async def test_by_day(self) -> None:
        """It decides about calls for the office, the dial plan about others; it ends in good order."""
        self.assertEqual(await self.talk(12), [486, 486, 404])

    async def test_by_night(self) -> None:
        """By night the office is closed."""
        self.assertEqual(await self.talk(2), [480, 486, 404])

    async def test_phones(self) -> None:
        """Two baresip phones: who calls the office by day talks with who is there."""
        port, _ = await self.open(12)
        phones = []
        for user, tone_hz in TONES_HZ.items():
            account = Account(user=user, server=f"{HOST}:{port}", password=USERS[user])
            phones.append(Phone(self, account, tone_hz))
            await phones[-1].start()
            await phones[-1].registered()
        alice, bob = phones
        await talk(self, alice, bob, f"sip:office@{HOST}", hangs_up=bob)
        for phone in phones:
            await phone.stop()

    def peer(self, user: str, server: int) -> Peer:
        """Put a phone on a port of its own."""
        peer = Peer(
            self.reactor,
            user,
            HOST,
            self.ports.take(),
            proxy=(HOST, server),
            entropy=Random(user).randbytes,
            domain=HOST,
            password=USERS[user],
            media=(HOST, self.ports.take()),
        )
        self.addCleanup(peer.close)
        return peer
