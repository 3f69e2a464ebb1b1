"""`twistd -n sipd --config FILE` as an operator would start it, with a configuration made for one test."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.interop.case import InteropTestCase
from tests.interop.programs import Program, ProgramError
from tests.ports import HOST

_ROOT = Path(__file__).resolve().parents[2]
_MEDIA_PORTS = 480
_START_LIMIT = 40.0
#: twistd stops everything on SIGTERM, and then lets the signal end it.
_TERMINATED = -15

#: The phones' passwords.
USERS = {"alice": "wonderland", "bob": "builder", "carol": "singer"}

# MD5 alone, since baresip 1.0 and SIPp 3.6 refuse a response that offers another algorithm beside it.
_CONFIGURATION = """\
domains = ["{name}"]
state_directory = "{state}"

[[listen]]
name = "udp"
transport = "udp"
address = "{host}"
port = {port}

[[listen]]
name = "tcp"
transport = "tcp"
address = "{host}"
port = {port}

[[listen]]
name = "tls"
transport = "tls"
address = "{host}"
port = {tls_port}
self_signed = true

[authentication]
algorithms = ["MD5"]

[media]
first_port = {first_media_port}
last_port = {last_media_port}
addresses = [{{ address = "{host}", advertised_address = "{media_host}" }}]
{media}

[guards.overload]
{overload}

[cdr]
fsync = "never"

[capture]
file = "capture.pcap"
"""

_USER = """
[[users]]
name = "{name}"
password = "{password}"
"""

_ROUTE = """
[[routes]]
name = "{name}"
user = "{user}"
to = "sip:{{0}}@sipp.invalid"
next_hop = "sip:{host}:{port}"
authenticate = {authenticate}
timeout = {timeout}
"""


class Server:
    """A running sipd, with the users of `USERS`, on UDP, TCP and TLS.

    Args:
        case: the test that it runs in.
        host: the address that it listens on.
        media_host: where it tells phones to send media.
        media_ports: how many it has.
        media: more lines of the section `[media]`.
        overload: lines of the section `[guards.overload]`. If nothing else is said, no call is refused because this
            machine stands still for a while.
        users: more lines of a user, by name.
        state: its state directory.
    """

    def __init__(
        self,
        case: InteropTestCase,
        host: str = HOST,
        media_host: str = "",
        media_ports: int = _MEDIA_PORTS,
        *,
        media: str = "",
        overload: str = "lag = 0",
        users: Mapping[str, str] = MappingProxyType({}),
        state: Path | None = None,
    ) -> None:
        self.state = state or case.directory / "state"
        self.port = case.ports.take(host)
        self.tls_port = case.ports.take(host)
        self.host = host
        self._case = case
        self.media_ports = case.ports.take_range(media_ports, host)
        self._text = _CONFIGURATION.format(
            name=HOST,
            host=host,
            media_host=media_host or host,
            port=self.port,
            tls_port=self.tls_port,
            first_media_port=self.media_ports[0],
            last_media_port=self.media_ports[-1],
            media=media,
            overload=overload,
            state=self.state,
        )
        for name, password in USERS.items():
            self._text += _USER.format(name=name, password=password) + users.get(name, "") + "\n"
        self._program: Program | None = None
        #: What twistd is told to run.
        self.command: tuple[str, ...] = ("sipd", "--config", "sipd.toml")

    @property
    def address(self) -> str:
        """Where UDP and TCP are, as `host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def certificate(self) -> Path:
        """The certificate that it made for itself."""
        return self.state / "tls" / "certificate.pem"

    @property
    def capture(self) -> Path:
        """Its capture of all messages."""
        return self._case.directory / "capture.pcap"

    def add_route(self, name: str, user: str, port: int, *, authenticate: bool = False, timeout: float = 10.0) -> None:
        """Send calls for users that match `user` to a port of this machine; to be called before `start`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_needed = str(authenticate).lower()
        self._text += _ROUTE.format(name=name, user=user, host=host, port=port, authenticate=is_needed, timeout=timeout)

    def configure(self, text: str) -> None:
        """Add sections to its configuration; to be called before `start`."""
        self._text += text

    @property
    def program(self) -> Program:
        """Its process; to be asked for after `start`."""
        assert self._program is not None
        return self._program

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        (self._case.directory / "sipd.toml").write_text(self._text)
        twistd = str(Path(sys.executable).with_name("twistd"))
        self._program = self._case.start(
            twistd,
            "-n",
            "--pidfile=",
            *self.command,
            label="sipd",
            environment={"PYTHONPATH": str(_ROOT)},
        )
        for transport in ("UDP", "TCP", "TLS"):
            await self._program.says(f"listening on {transport} ", _START_LIMIT)

    async def finish(self, expected: str = "") -> list[dict[str, Any]]:
        """End it as systemd would, and give the records of its calls.

        Args:
            expected: what may be in a line of an error.

        Raises:
            ProgramError: it did not end well, or logged a failure.
        """
        program = self.program
        program.send_signal("TERM")
        status = await program.ends(10)
        lines = program.output.decode(errors="replace").splitlines()
        errors = [line for line in lines if " error " in line and not (expected and expected in line)]
        if status != _TERMINATED or b"Traceback" in program.output or errors:
            said = "\n".join([f"status {status}", *errors])
            raise ProgramError(f"sipd did not end well: {said}\n{program.explain()}")
        return self.records()

    def records(self) -> list[dict[str, Any]]:
        """Give the records of the calls that are over."""
        records = self.state / "calls.jsonl"
        return [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []
