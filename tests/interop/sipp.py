"""SIPp with scenarios of our own: `scenarios/*.xml`, and those of `tests.interop.script`."""

from pathlib import Path

from tests.interop.case import InteropTestCase
from tests.interop.programs import Program, ProgramError
from tests.interop.script import Script
from tests.ports import HOST, is_bound

_SCENARIOS = Path(__file__).with_name("scenarios")
_ALL_SUCCEEDED = 0
_MEDIA_PORTS = 4
_LOOK, _LOOKS = 0.1, 300


class Sipp:
    """One run of SIPp.

    Args:
        case: the test that it runs in.
        scenario: name of a file in `scenarios/`, without `.xml`; or a script.
        port: where it listens for SIP.
        target: `host:port` to send requests to; none for a scenario that waits.
        calls: it ends after so many.
        rate: calls begun per second.
        hold: seconds that a scenario's `<pause/>` takes.
        service: user part of the called URI.
        caller: user part of the calling URI.
        contact_port: what Contact says instead of `port`.
        credentials: user name and password for challenges.
        digest_uri: the `uri` that goes with them, without `sip:`; it must be the request URI.
        status: what `@status@` stands for in it: the refusal that is expected.
        linger: what `@linger@` stands for in it, in seconds: how long it answers a BYE that comes again.
        host: the address to use.
        transport: `u1` for UDP, `t1` for TCP.
        limit: seconds until it gives up.
    """

    def __init__(
        self,
        case: InteropTestCase,
        scenario: str | Script,
        *,
        port: int,
        target: str | None = None,
        calls: int = 1,
        rate: int = 10,
        hold: float = 0.3,
        service: str = "callee",
        caller: str = "caller",
        contact_port: int | None = None,
        credentials: tuple[str, str] | None = None,
        digest_uri: str = "",
        status: int = 0,
        linger: float = 0.1,
        host: str = HOST,
        transport: str = "u1",
        limit: float = 40.0,
    ) -> None:
        name = scenario if isinstance(scenario, str) else scenario.name
        text = (_SCENARIOS / f"{scenario}.xml").read_text() if isinstance(scenario, str) else scenario.xml()
        text = text.replace("@status@", str(status)).replace("@linger@", str(int(linger * 1000)))
        file = case.directory / f"{name}-{port}.xml"
        file.write_text(text)
        self._limit = limit
        self._case = case
        self._bound = ("tcp" if transport == "t1" else "udp", port)
        self._errors = case.directory / f"{name}-{port}.errors"
        self._log = case.directory / f"{name}-{port}.log"
        media = case.ports.take_range(_MEDIA_PORTS, host)
        arguments = ["-sf", str(file), "-i", host, "-mi", host, "-p", str(port), "-mp", str(media[0])]
        arguments += ["-m", str(calls), "-r", str(rate), "-d", str(int(hold * 1000)), "-s", service]
        arguments += ["-t", transport, "-nostdin", "-timeout", f"{limit:.0f}s", "-timeout_error"]
        arguments += ["-trace_err", "-error_file", str(self._errors), "-trace_logs", "-log_file", str(self._log)]
        arguments += ["-key", "caller", caller, "-key", "contact_port", str(contact_port or port)]
        if credentials is not None:
            arguments += ["-au", credentials[0], "-ap", credentials[1], "-auth_uri", digest_uri]
        if target is not None:
            arguments.append(target)
        self.program: Program = case.start("sipp", *arguments, label=f"sipp {name}")

    async def listens(self) -> None:
        """Wait until it can be called, however busy the machine is.

        Raises:
            ProgramError: it has no port even after seconds.
        """
        for _ in range(_LOOKS):
            if is_bound(*self._bound):
                return
            await self._case.pause(_LOOK)
        raise ProgramError(f"{self.program.name} does not listen\n{self.program.explain()}")

    async def succeeds(self) -> None:
        """Wait until every call went as the scenario says.

        Raises:
            ProgramError: one did not, or the time is over.
        """
        status = await self.program.ends(self._limit + 5)
        if status != _ALL_SUCCEEDED:
            errors = self._errors.read_text(errors="replace") if self._errors.exists() else ""
            raise ProgramError(f"{self.program.name} ended with {status}\n{errors[-3000:]}\n{self.program.explain()}")

    async def notes(self) -> str:
        """Wait for the first line that its script notes, and give it.

        Raises:
            ProgramError: it notes nothing.
        """
        for _ in range(_LOOKS):
            line, end, _ = (self._log.read_text() if self._log.exists() else "").partition("\n")
            if end:
                return line
            await self._case.pause(_LOOK)
        raise ProgramError(f"{self.program.name} notes nothing\n{self.program.explain()}")
