"""What tshark reads in a capture of sipd."""

from __future__ import annotations

from tests.interop.case import InteropTestCase
from tests.interop.server import Server

#: All that is in a capture of sipd is SIP, also on ports that tshark takes for those of something else.
_ALL_SIP = tuple(option for kind in ("udp", "tcp") for option in ("-d", f"{kind}.port==1-65535,sip"))

#: What is not SIP, or not as it should be.
_FAULTY = "_ws.malformed || _ws.expert.severity == error || !sip"


async def read_capture(case: InteropTestCase, server: Server, *arguments: str) -> list[list[str]]:
    """Run tshark on the capture; give its output as lines of fields."""
    program = case.start("tshark", "-r", str(server.capture), "-Q", *_ALL_SIP, *arguments)
    case.assertEqual(await program.ends(20), 0, program.explain())
    lines = program.output.decode().splitlines()
    return [line.split("\t") for line in lines if not line.startswith("Running as user")]


async def find_faults(case: InteropTestCase, server: Server) -> list[list[str]]:
    """Give the messages, SIP and SDP, that are malformed: number, first line, and what is wrong."""
    fields = ("frame.number", "sip.Request-Line", "sip.Status-Line", "_ws.expert.message")
    options = [option for field in fields for option in ("-e", field)]
    return await read_capture(case, server, "-Y", _FAULTY, "-T", "fields", *options)
