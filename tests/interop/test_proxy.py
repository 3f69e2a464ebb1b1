"""The proxies and the redirect server of `tapfiles/`, between real phones, and between them and sipd."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.interop.baresip import Account, Phone
from tests.interop.calls import talk, talk_as_each
from tests.interop.case import InteropTestCase
from tests.interop.pairs import TALK
from tests.interop.programs import Program
from tests.interop.script import Caller, Script, has
from tests.interop.server import USERS, Server
from tests.interop.sipp import Sipp
from tests.ports import HOST

_ROOT = Path(__file__).resolve().parents[2]
#: SIPp's names of transports.
_MODES = {"udp": "u1", "tcp": "t1"}


class ExampleCase(InteropTestCase):
    """Runs an example as its text says."""

    timeout = 90

    async def start_example(self, name: str, *arguments: str) -> int:
        """Start one of `tapfiles/`; give its port."""
        port = self.ports.take()
        listen = f"udp:{HOST}:{port},tcp:{HOST}:{port}"
        path = str(_ROOT / "tapfiles" / f"{name}.py")
        program = self.start(
            sys.executable, path, listen, *arguments, label=name, environment={"PYTHONPATH": str(_ROOT)}
        )
        await program.says(f"TCP {HOST}:{port}")
        self.addCleanup(self.check, program)
        return port

    def check(self, program: Program) -> None:
        """See that an example had nothing to complain about."""
        self.assertNotIn(b"Traceback", program.output, program.explain())


class Behind(Script):
    """A scenario of `scenarios/` for a callee that is behind a proxy.

    It gives the Record-Route back and follows it, and wants every request of a dialog to come from the proxy, without
    a Route.

    Args:
        name: of the scenario.
        port: of the proxy.
    """

    def __init__(self, name: str, port: int) -> None:
        super().__init__(name)
        self._port = port

    def xml(self) -> str:
        """See `Script`."""
        text = (_ROOT / "tests" / "interop" / "scenarios" / f"{self.name}.xml").read_text()
        text = text.replace("[last_CSeq:]\nContact:", "[last_CSeq:]\n[last_Record-Route:]\nContact:")
        text = re.sub(r"^(CSeq: 1 (BYE|INFO))$", r"\1\n[routes]", text, flags=re.MULTILINE)
        checks = (
            f'<action><ereg regexp=":{self._port};" search_in="hdr" header="Via:" check_it="true" assign_to="came"/>'
            '<ereg regexp="[^-]Route:" search_in="msg" check_it_inverse="true" assign_to="routed"/></action>'
        )
        text = re.sub(r'(<recv request="(?:BYE|INFO)")/>', rf"\1>{checks}</recv>", text)
        uses = '<Reference variables="came,routed"/>\n</scenario>' if checks in text else "</scenario>"
        return text.replace("</scenario>", uses)


class SippTests(ExampleCase):
    """SIPp calls SIPp through a proxy."""

    programs = ("sipp",)
    example = "proxy"

    async def call(
        self, caller: str, callee: str, *, forth: str = "udp", back: str = "udp", calls: int = 1, status: int = 0
    ) -> None:
        """Make calls from one transport to another; both ends must see what their scenarios say."""
        callee_port = self.ports.take()
        port = await self.start_example(self.example, f"sip:{HOST}:{callee_port};transport={back}")
        called = Sipp(self, Behind(callee, port), port=callee_port, transport=_MODES[back], calls=calls)
        await called.listens()
        calling = Sipp(
            self,
            caller,
            port=self.ports.take(),
            target=f"{HOST}:{port}",
            transport=_MODES[forth],
            calls=calls,
            rate=50,
            status=status,
        )
        await calling.succeeds()
        await called.succeeds()

    async def test_udp(self) -> None:
        """Over UDP: twenty calls, ended by the callers."""
        await self.call("uac_answered", "uas_answers", calls=20)

    async def test_tcp(self) -> None:
        """Over TCP."""
        await self.call("uac_answered", "uas_answers", forth="tcp", back="tcp", calls=20)

    async def test_udp_to_tcp(self) -> None:
        """From UDP to TCP: two Record-Routes."""
        await self.call("uac_answered", "uas_answers", back="tcp", calls=20)

    async def test_tcp_to_udp(self) -> None:
        """From TCP to UDP."""
        await self.call("uac_answered", "uas_answers", forth="tcp", calls=20)

    async def test_callee_hangs_up(self) -> None:
        """Requests of the callee find their way back."""
        await self.call("uac_is_hung_up_on", "uas_hangs_up")

    async def test_callee_hangs_up_over_tcp(self) -> None:
        """Over TCP the caller is reached on its own connection."""
        await self.call("uac_is_hung_up_on", "uas_hangs_up", forth="tcp", back="tcp")

    async def test_digits(self) -> None:
        """Requests of both sides in one call."""
        await self.call("uac_dials", "uas_is_dialled", back="tcp")

    async def test_busy(self) -> None:
        """A refusal reaches the caller."""
        await self.call("uac_refused", "uas_busy", status=486)

    async def test_cancelled(self) -> None:
        """A CANCEL reaches the callee, and its 487 the caller."""
        await self.call("uac_cancels", "uas_cancelled")


class StatelessSippTests(SippTests):
    """The same through a stateless proxy."""

    example = "stateless"


class PhoneTests(ExampleCase):
    """Baresip through a proxy."""

    programs = ("baresip",)

    async def phone(self, user: str, tone_hz: float, port: int, transport: str, password: str = "") -> Phone:
        """Start a phone whose requests all go to a port."""
        account = Account(user=user, server=f"{HOST}:{port}", transport=transport, password=password)
        phone = Phone(self, account, tone_hz)
        await phone.start()
        return phone

    async def call_directly(self, example: str, transport: str) -> None:
        """Let Alice call Bob, who hangs up: nothing but the proxy is between them."""
        bob = Phone(self, Account(user="bob"), 1000.0, self.ports.take())
        await bob.start()
        port = await self.start_example(example, f"sip:{HOST}:{bob.port};transport={transport}")
        alice = await self.phone("alice", 440.0, port, transport)
        await talk(self, alice, bob, f"sip:bob@{HOST}:{bob.port}", hangs_up=bob)

    async def test_udp(self) -> None:
        """Over UDP."""
        await self.call_directly("proxy", "udp")

    async def test_tcp(self) -> None:
        """Over TCP."""
        await self.call_directly("proxy", "tcp")

    async def test_stateless(self) -> None:
        """Through a stateless proxy."""
        await self.call_directly("stateless", "udp")

    async def register_and_call(self, transport: str, example: str = "proxy") -> None:
        """Let two phones register at sipd through a proxy, and call each other."""
        server = Server(self, media_ports=40)
        await server.start()
        port = await self.start_example(example, f"sip:{server.address};transport={transport}")
        alice = await self.phone("alice", 440.0, port, transport, USERS["alice"])
        bob = await self.phone("bob", 1000.0, port, transport, USERS["bob"])
        await talk_as_each(self, server, alice, bob)

    async def test_sipd_over_udp(self) -> None:
        """To sipd over UDP: the challenges pass as they are."""
        await self.register_and_call("udp")

    async def test_sipd_through_a_stateless_one(self) -> None:
        """To sipd through a stateless proxy."""
        await self.register_and_call("udp", "stateless")

    async def test_sipd_over_tcp(self) -> None:
        """To sipd over TCP."""
        await self.register_and_call("tcp")


class RedirectTests(ExampleCase):
    """Calls that are told to go elsewhere."""

    programs = ("sipp", "baresip")

    async def test_phones(self) -> None:
        """Baresip calls sipd, which is told where baresip is; both are heard."""
        bob = Phone(self, Account(user="bob"), 1000.0)
        await bob.start()
        port = await self.start_example("redirect", f"bob=sip:bob@{HOST}:{bob.port}")
        server = Server(self, media_ports=40)
        server.add_route("redirected", "bob", port, timeout=5)
        server.configure("redirects = 1\n")
        await server.start()
        alice = Phone(self, Account(user="alice", server=server.address, password=USERS["alice"]), 440.0)
        await alice.start()
        await alice.registered()
        await talk(self, alice, bob, f"sip:bob@{HOST}", hangs_up=bob)
        for phone in (alice, bob):
            await phone.stop()
        (record,) = await server.finish()
        self.assertEqual((record["status"], record["ended_by"]), (200, "callee"))

    async def test_sipp(self) -> None:
        """SIPp is told where the callee is, over UDP and TCP."""
        for transport in ("udp", "tcp"):
            table = ("callee=sip:callee@192.0.2.2", "other=sip:other@192.0.2.3")
            port = await self.start_example("redirect", *table)
            caller = Caller(f"caller-{transport}")
            caller.invite(TALK)
            caller.get(302, has("<sip:callee@192.0.2.2>", "Contact"))
            caller.acknowledge_refusal()
            calling = Sipp(self, caller, port=self.ports.take(), target=f"{HOST}:{port}", transport=_MODES[transport])
            await calling.succeeds()

    async def test_sipd(self) -> None:
        """sipd, told so for a call of its own, calls there."""
        callee_port = self.ports.take()
        port = await self.start_example("redirect", f"callee=sip:callee@{HOST}:{callee_port}")
        server = Server(self, media_ports=40)
        server.add_route("redirected", "callee", port, timeout=5)
        server.configure("redirects = 1\n")
        await server.start()
        called = Sipp(self, "uas_answers", port=callee_port)
        await called.listens()
        calling = Sipp(self, "uac_answered", port=self.ports.take(), target=server.address)
        await calling.succeeds()
        await called.succeeds()
        (record,) = await server.finish()
        self.assertEqual((record["status"], record["ended_by"]), (200, "caller"))
