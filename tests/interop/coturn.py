"""Coturn as a STUN and TURN server of one test, on the loopback address or between two networks."""

from __future__ import annotations

from tests.interop.case import InteropTestCase
from tests.interop.programs import Program
from tests.namespaces import Namespace
from tests.ports import HOST

REALM = "example.org"
USER = "alice"
PASSWORD = "secret"
_START_LIMIT = 20.0
_STOP_LIMIT = 20.0
_RELAY_PORTS = 20


class Coturn:
    """A turnserver that knows one user.

    Args:
        case: the test that it runs in.
        options: more options of the command line.
        host: where it listens.
        relay_host: where it relays from.
        namespace: that it runs in.

    Attributes:
        address: where it listens for UDP.
        relayed: the ports that it relays from.
    """

    def __init__(
        self,
        case: InteropTestCase,
        *options: str,
        host: str = HOST,
        relay_host: str = HOST,
        namespace: Namespace | None = None,
    ) -> None:
        self.address = (host, case.ports.take())
        self.relayed = case.ports.take_range(_RELAY_PORTS)
        self.program: Program | None = None
        self._case = case
        self._options = options
        self._relay_host = relay_host
        self._namespace = namespace

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        directory = self._case.directory
        self.program = self._case.start(
            "turnserver",
            *("-n", "--log-file=stdout", "--simple-log", "--verbose", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp"),
            *(f"--listening-ip={self.address[0]}", f"--listening-port={self.address[1]}"),
            *(f"--relay-ip={self._relay_host}", f"--min-port={self.relayed[0]}", f"--max-port={self.relayed[-1]}"),
            *("--lt-cred-mech", f"--realm={REALM}", f"--user={USER}:{PASSWORD}", "--allow-loopback-peers"),
            *(f"--pidfile={directory / 'coturn.pid'}", f"--userdb={directory / 'coturn.sqlite'}"),
            *self._options,
            namespace=self._namespace,
        )
        await self.program.says(r"IPv4\. UDP listener opened|UDP listener opened on", _START_LIMIT)

    async def stop(self) -> None:
        """Stop it at once: it tells nobody."""
        assert self.program is not None
        self.program.send_signal("KILL")
        await self.program.ends(_STOP_LIMIT)
