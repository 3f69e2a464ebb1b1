"""Baresip as a telephone: configured to play one tone, to record what it hears, and to obey over its control port."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.protocols.basic import NetstringReceiver
from twisted.python.failure import Failure

from tests.interop.case import InteropTestCase
from tests.interop.programs import Program, ProgramError
from tests.interop.tones import RATE_HZ, read_wave, samples_of_tone, write_wave
from tests.namespaces import Namespace
from tests.ports import HOST

_MODULES = Path("/usr/lib/baresip/modules")
_TONE_DURATION = 60

#: Loaded before all others. A millisecond after it is loaded, this one of baresip 1.0 subscribes anew for each account
#: that is subscribed for by then, and so on without end: nobody may be registered that early.
_FIRST = ("mwi",)

_CONFIGURATION = """\
sip_listen {host}:{port}
{tls}
audio_source aufile,{name}/tone.wav
audio_player aubridge,speaker
audio_alert aubridge,bell
ausrc_srate 8000
auplay_srate 8000
audio_channels 1-1
rtp_ports {first_rtp}-{last_rtp}
snd_path {name}
ctrl_tcp_listen {host}:{control}
module_path {modules}
module g711.so
{more}module aufile.so
module aubridge.so
module sndfile.so
module_app account.so
module_app menu.so
module_app ctrl_tcp.so
"""


class _Control(NetstringReceiver):
    """The control connection: JSON in netstrings, commands one way, answers and events the other."""

    def __init__(self, received: Callable[[dict[str, Any]], None]) -> None:
        self._received = received

    def stringReceived(self, string: bytes) -> None:  # noqa: N802
        """Take one answer or event."""
        self._received(json.loads(string))

    def close(self) -> None:
        """Close the connection."""
        assert self.transport is not None
        self.transport.loseConnection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a phone is told of its line.

    Args:
        user: user name and user part of the URI.
        host: of its URI.
        server: `host:port` that all requests go to; without it they go where their URI points.
        transport: `udp`, `tcp` or `tls`, to the server.
        password: for digest; without it the phone does not register.
        authority: file of certificates that the phone trusts; TLS only.
        parameters: more of them, each with its semicolon.
        codecs: of audio, as baresip calls them, separated by commas.
    """

    user: str
    host: str = HOST
    server: str = ""
    transport: str = "udp"
    password: str = ""
    authority: Path | None = None
    parameters: str = ""
    codecs: str = "PCMU"

    def __str__(self) -> str:
        """Print it as baresip's `accounts` file wants it."""
        registration = f";auth_pass={self.password};regint=60" if self.password else ";regint=0"
        outbound = f';outbound="sip:{self.server};transport={self.transport}"' if self.server else ""
        return f"<sip:{self.user}@{self.host}>{outbound}{registration}{self.parameters};audio_codecs={self.codecs}\n"


class Phone:
    """A running baresip.

    Args:
        case: the test that it runs in.
        account: its line.
        tone_hz: what it plays to the other side.
        port: where it listens for SIP.
        modules: more of them, without `.so`.
        watched: URIs whose presence it subscribes to; needs the modules `contact` and `presence`.
        media: modules that its account needs: of codecs, of encryption.
        settings: more lines of its configuration.
        host: its address.
        namespace: that it runs in.
    """

    def __init__(
        self,
        case: InteropTestCase,
        account: Account,
        tone_hz: float,
        port: int | None = None,
        *,
        modules: tuple[str, ...] = (),
        watched: tuple[str, ...] = (),
        media: tuple[str, ...] = (),
        settings: tuple[str, ...] = (),
        host: str = HOST,
        namespace: Namespace | None = None,
    ) -> None:
        self.account = account
        self.host = host
        self._namespace = namespace
        self._modules = modules
        self._watched = watched
        self._media = media
        self._settings = settings
        self.tone_hz = tone_hz
        self.port = port or case.ports.take()
        self.media_ports = case.ports.take_range(20)
        self._case = case
        self._control_port = case.ports.take()
        self._directory = case.directory / account.user
        self._events: list[dict[str, Any]] = []
        self._waiting: list[Deferred[None]] = []
        self._control: _Control | None = None
        self._program: Program | None = None

    async def start(self) -> None:
        """Start it and connect to its control port."""
        # Paths are relative to the test's directory, since baresip cuts snd_path after a hundred characters.
        self._directory.mkdir()
        first = [module for module in self._modules if module in _FIRST]
        authority = f"sip_cafile {self.account.authority}" if self.account.authority else ""
        (self._directory / "config").write_text(
            _CONFIGURATION.format(
                host=self.host,
                port=self.port,
                tls=authority,
                name=self._directory.name,
                control=self._control_port,
                modules=_MODULES,
                more="".join(f"module {module}.so\n" for module in (*first, *self._media)),
                first_rtp=self.media_ports[0],
                last_rtp=self.media_ports[-1],
            )
        )
        with (self._directory / "config").open("a") as config:
            config.writelines(f"module_app {module}.so\n" for module in self._modules if module not in first)
            config.writelines(f"{line}\n" for line in self._settings)
        (self._directory / "contacts").write_text("".join(f'"{uri}" <{uri}>;presence=p2p\n' for uri in self._watched))
        (self._directory / "accounts").write_text(str(self.account))
        write_wave(self._directory / "tone.wav", samples_of_tone(self.tone_hz, _TONE_DURATION))
        user = self.account.user
        program = self._case.start("baresip", "-4", "-f", user, label=f"baresip {user}", namespace=self._namespace)
        self._program = program
        await program.says("baresip is ready")
        endpoint = TCP4ClientEndpoint(self._case.reactor, self.host, self._control_port)
        # The socket is made at once, and stays in the network that it was made in.
        with nullcontext() if self._namespace is None else self._namespace.entered():
            connecting = connectProtocol(endpoint, _Control(self._received))
        control = await connecting
        self._case.addCleanup(control.close)
        self._control = control

    async def stop(self) -> None:
        """End it, while its server is still there: it waits for the answer to its last REGISTER."""
        assert self._program is not None
        await self._program.stop()

    async def registered(self, limit: float = 30.0) -> None:
        """Wait until the registrar has accepted it.

        Raises:
            ProgramError: not within `limit`.
        """
        await self.says(r"200 OK \(.*\) \[\d+ binding", limit)

    async def says(self, pattern: str, limit: float = 30.0) -> None:
        """Wait until its output matches a regular expression.

        Raises:
            ProgramError: not within `limit`.
        """
        assert self._program is not None
        await self._program.says(pattern, limit)

    def _received(self, event: dict[str, Any]) -> None:
        if event.get("response"):
            event["type"] = "response"
        self._events.append(event)
        woken, self._waiting = self._waiting, []
        for deferred in woken:
            deferred.callback(None)

    def send(self, command: str, parameters: str = "") -> None:
        """Give it a command: `dial`, `accept`, `hangup`, ..."""
        assert self._control is not None
        self._control.sendString(json.dumps({"command": command, "params": parameters, "token": "t"}).encode())

    async def event(self, kind: str, limit: float = 30.0) -> dict[str, Any]:
        """Wait for its next event of a kind; forget it and all before it.

        Raises:
            ProgramError: none within `limit`.
        """

        def timed_out(_: object, __: float) -> Failure:
            seen = [event.get("type") for event in self._events]
            return Failure(
                ProgramError(f"{self.account.user}: no {kind} within {limit} s, but {seen}{self._case.explain()}")
            )

        deadline = self._case.reactor.seconds() + limit
        while True:
            for index, event in enumerate(self._events):
                if event.get("type") == kind:
                    del self._events[: index + 1]
                    return event
            waiting: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(waiting)
            await waiting.addTimeout(deadline - self._case.reactor.seconds(), self._case.reactor, timed_out)

    def take_recording(self, rate_hz: int = RATE_HZ) -> list[int]:
        """Give what it heard in the call that just ended, and forget it; the codec says at which rate.

        Raises:
            ProgramError: it recorded nothing, or more than one call.
        """
        recordings = sorted(self._directory.glob("dump-*-dec.wav"))
        if len(recordings) != 1:
            raise ProgramError(f"{self.account.user} has {len(recordings)} recordings")
        samples = read_wave(recordings[0], rate_hz)
        for path in self._directory.glob("dump-*.wav"):
            path.unlink()
        return samples
