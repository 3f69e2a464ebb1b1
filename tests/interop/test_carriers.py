"""SIPp, and baresip for TLS, as carriers: one that fails or is busy, some that share calls, and those that call in."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.interfaces import IReactorUDP

from tests.interop.baresip import Account, Phone
from tests.interop.case import InteropTestCase
from tests.interop.server import Server
from tests.interop.sipp import Sipp
from tests.interop.wire import LossyWire
from tests.ports import HOST
from tests.transport.certificates import Authority

#: The address of a carrier that calls in.
_CARRIER = "127.0.0.2"
_FOREVER = 1_000_000
#: Calls that are shared out, and how far their numbers may be from what the weights say: five standard deviations.
_CALLS, _TOLERANCE = 500, 50
_RATE = 40
_LOSS = 0.05


class CarrierCase(InteropTestCase):
    """A server with trunks."""

    programs: ClassVar[tuple[str, ...]] = ("sipp",)
    timeout = 120

    def setUp(self) -> None:
        """Make a server that is not started yet."""
        super().setUp()
        self.server = Server(self)

    def add_trunk(self, name: str, port: int, more: str = "", parameters: str = "", health: str = "") -> None:
        """Let a carrier be at a port of this machine; nobody asks it whether it is there."""
        server = f"sip:{HOST}:{port}{parameters}"
        self.server.configure(
            f'\n[[trunks]]\nname = "{name}"\nservers = ["{server}"]\n{more}\n[trunks.health]\ninterval = 0\n{health}\n'
        )

    def add_rule(self, trunks: str, more: str = "") -> None:
        """Send calls for `callee` to these trunks, without asking who calls."""
        self.server.configure(
            f'\n[[routes]]\nname = "out"\nuser = "callee"\ntrunks = [{trunks}]\nauthenticate = false\n{more}\n'
        )

    def carrier(self, scenario: str, **more: Any) -> int:
        """Start a carrier; give its port."""
        port = self.ports.take()
        Sipp(self, scenario, port=port, calls=_FOREVER, limit=100, **more)
        return port

    def caller(self, scenario: str, **more: Any) -> Sipp:
        """Start who calls."""
        more.setdefault("target", self.server.address)
        return Sipp(self, scenario, port=self.ports.take(more.get("host", HOST)), **more)


class OutgoingTests(CarrierCase):
    """Calls to carriers."""

    async def test_failover(self) -> None:
        """After a carrier with 503, one where nobody listens and one that is silent, the fourth has the call."""
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(silent.close)
        silent.bind((HOST, self.ports.take()))
        self.add_trunk("overloaded", self.carrier("uas_overloaded"))
        self.add_trunk("gone", self.ports.take())
        self.add_trunk("silent", silent.getsockname()[1], "response_timeout = 1.5")
        self.add_trunk("good", self.carrier("uas_answers"))
        self.add_rule('"overloaded", "gone", "silent", "good"')
        await self.server.start()
        await self.caller("uac_answered").succeeds()
        (record,) = await self.server.finish()
        self.assertEqual((record["status"], record["ended_by"]), (200, "caller"), record)
        attempts = [(one["trunk"], one["status"]) for one in record["attempts"]]
        self.assertEqual(attempts[0], ("overloaded", 503))
        self.assertEqual([name for name, _ in attempts], ["overloaded", "gone", "silent", "good"])
        self.assertEqual(attempts[3], ("good", 200))
        self.assertEqual([one["cause"] for one in record["attempts"]][2], "timeout")

    async def test_failover_over_tcp(self) -> None:
        """The same over TCP, where a connection is refused at once."""
        tcp = ";transport=tcp"
        self.add_trunk("gone", self.ports.take(), parameters=tcp)
        self.add_trunk("overloaded", self.carrier("uas_overloaded", transport="t1"), parameters=tcp)
        self.add_trunk("good", self.carrier("uas_answers", transport="t1"), parameters=tcp)
        self.add_rule('"gone", "overloaded", "good"')
        await self.server.start()
        await self.caller("uac_answered", transport="t1").succeeds()
        (record,) = await self.server.finish()
        self.assertEqual((record["status"], record["ended_by"]), (200, "caller"), record)
        gone, overloaded, good = record["attempts"]
        self.assertEqual((gone["trunk"], gone["cause"]), ("gone", "ConnectionRefused"))
        self.assertLess(gone["ended_at"] - gone["started_at"], 1.0)
        self.assertEqual(
            [(one["trunk"], one["status"]) for one in (overloaded, good)], [("overloaded", 503), ("good", 200)]
        )

    async def test_loss(self) -> None:
        """Of fifty calls none fails when the way to a carrier that is overloaded and to the next one loses messages."""
        wires = []
        for seed, (name, scenario) in enumerate((("overloaded", "uas_overloaded"), ("good", "uas_answers"))):
            wire_port, port = self.ports.take(), self.ports.take()
            wire = LossyWire(IReactorUDP(self.reactor), wire_port, port, _LOSS, seed=seed)
            self.addCleanup(wire.close)
            wires.append(wire)
            Sipp(self, scenario, port=port, contact_port=wire_port, calls=_FOREVER, linger=8, limit=100)
            # What is refused so often is not asked again for a while, but here it is.
            self.add_trunk(name, wire_port, health="failures = 1000")
        self.add_rule('"overloaded", "good"')
        await self.server.start()
        await self.caller("uac_answered", calls=50, rate=10, limit=60.0).succeeds()
        records = await self.server.finish()
        self.assertEqual([record["status"] for record in records], [200] * 50)
        for record in records:
            self.assertEqual([one["trunk"] for one in record["attempts"]], ["overloaded", "good"], record)
        for wire in wires:
            self.assertGreater(wire.lost, 0)

    async def test_stop(self) -> None:
        """A number that is busy is not tried elsewhere."""
        self.add_trunk("first", self.carrier("uas_busy"), "stops = [486]")
        self.add_trunk("second", self.carrier("uas_answers"))
        self.add_rule('"first", "second"')
        await self.server.start()
        await self.caller("uac_refused", status=486).succeeds()
        (record,) = await self.server.finish()
        self.assertEqual((record["status"], [one["trunk"] for one in record["attempts"]]), (486, ["first"]), record)

    async def test_weights(self) -> None:
        """Of a thousand calls each carrier has as many as its weight says, within what chance makes of that."""
        for name in ("large", "small"):
            self.add_trunk(name, self.carrier("uas_answers"))
        choices = '{ name = "large", weight = 3 }, { name = "small", weight = 1 }'
        self.add_rule(choices, 'strategy = "weight"')
        await self.server.start()
        await self.caller("uac_answered", calls=_CALLS, rate=_RATE, hold=0.1, limit=60.0).succeeds()
        records = await self.server.finish()
        had = Counter(record["attempts"][0]["trunk"] for record in records)
        self.assertEqual({record["status"] for record in records}, {200})
        self.assertEqual(had.total(), _CALLS)
        self.assertLess(abs(had["large"] - _CALLS * 3 / 4), _TOLERANCE, had)


class IncomingCase(CarrierCase):
    """A number that a carrier calls."""

    def add_number(self) -> None:
        """Let what a carrier calls be answered by somebody, whom nobody else may call."""
        self.add_trunk("inside", self.carrier("uas_answers"))
        self.server.configure(
            '\n[[routes]]\nname = "in"\nuser = "callee"\nfrom_trunks = ["carrier"]\ntrunks = ["inside"]\n'
        )


class IncomingTests(IncomingCase):
    """Calls from carriers."""

    async def test_by_address(self) -> None:
        """A carrier is known by its address, and needs no password; anybody else is asked for one."""
        self.add_trunk("carrier", self.ports.take(), f'networks = ["{_CARRIER}/32"]')
        self.add_number()
        await self.server.start()
        await self.caller("uac_answered", host=_CARRIER).succeeds()
        await self.caller("uac_refused", status=407).succeeds()
        (record,) = await self.server.finish()
        self.assertEqual((record["status"], record["trunk"], record["route"]), (200, "carrier", "in"), record)

    async def test_by_password(self) -> None:
        """One that has no address of its own is known by the password of a user of its own."""
        password = "hidden"
        self.server.configure(f'\n[[users]]\nname = "carrier"\npassword = "{password}"\n')
        self.add_trunk("carrier", self.ports.take(), 'users = ["carrier"]')
        self.add_number()
        await self.server.start()
        called = f"callee@{self.server.address}"
        calling = self.caller(
            "uac_authenticated",
            service="callee",
            caller="carrier",
            credentials=("carrier", password),
            digest_uri=called,
        )
        await calling.succeeds()
        (record,) = await self.server.finish()
        self.assertEqual((record["status"], record["trunk"], record["user"]), (200, "carrier", "carrier"), record)

    async def test_no_way_through(self) -> None:
        """What a carrier may not call is refused, though a user could: one carrier is no way to another one."""
        self.add_trunk("carrier", self.ports.take(), f'networks = ["{_CARRIER}/32"]')
        self.add_trunk("expensive", self.carrier("uas_answers"))
        self.server.configure('\n[[routes]]\nname = "out"\nuser = "callee"\ntrunks = ["expensive"]\n')
        await self.server.start()
        await self.caller("uac_refused", host=_CARRIER, status=404).succeeds()
        (record,) = await self.server.finish()
        self.assertEqual((record["status"], record["trunk"], record["attempts"]), (404, "carrier", []), record)


class CertificateTests(IncomingCase):
    """A carrier that proves by TLS who it is; baresip plays it."""

    programs = ("sipp", "baresip")

    async def gateway(self, authority: Authority, port: int, name: str) -> Phone:
        """Start one with a certificate of that name."""
        certificate, key = map(Path, authority.sign([f"{name}.carrier.example"]))
        (self.directory / f"{name}.both").write_bytes(certificate.read_bytes() + key.read_bytes())
        account = Account(user=name, server=f"{HOST}:{port}", transport="tls", authority=Path(authority.path))
        phone = Phone(self, account, 440.0, settings=(f"sip_certificate {name}.both",))
        await phone.start()
        return phone

    async def test_by_certificate(self) -> None:
        """The name in a certificate that was verified makes it a trunk; another name of the same authority does not."""
        (self.directory / "keys").mkdir()
        authority = Authority(self.directory / "keys")
        certificate, key = authority.sign([HOST])
        port = self.ports.take()
        self.server.configure(
            f'\n[[listen]]\nname = "carriers"\ntransport = "tls"\naddress = "{HOST}"\nport = {port}\n'
            f'certificate = "{certificate}"\nkey = "{key}"\nca = "{authority.path}"\nclient_verification = "required"\n'
        )
        self.add_trunk("carrier", self.ports.take(), 'certificate_names = ["gw.carrier.example"]')
        self.add_number()
        await self.server.start()
        known, other = [await self.gateway(authority, port, name) for name in ("gw", "other")]
        other.send("dial", f"sip:callee@{HOST}")
        await other.event("CALL_CLOSED")
        known.send("dial", f"sip:callee@{HOST}")
        await known.event("CALL_ESTABLISHED")
        known.send("hangup")
        await known.event("CALL_CLOSED")
        (record,) = await self.server.finish()
        self.assertEqual((record["status"], record["trunk"], record["point"]), (200, "carrier", "carriers"), record)
