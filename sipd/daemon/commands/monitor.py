"""``sipd monitor``: shows SIP on the wire of this machine, or in a saved capture."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from twisted.python import usage

from sipd.daemon.commands.base import DONE, Command, Parameters
from sipd.daemon.monitoring import STANDARD_INPUT, Task, Watch
from sipd.observe.sniffing.display import Wanted
from sipd.observe.sniffing.filters import (
    AUTHENTICATION_STATUSES,
    SETUP_METHODS,
    Filter,
    Network,
    parse_methods,
    parse_network,
    parse_statuses,
)
from sipd.observe.sniffing.ports import PortRange, Ports, parse_range, parse_ranges

#: Where RTP is looked for if nothing else is said: what sipd and other exchanges use.
DEFAULT_RTP = "10000-32767"

_RANGE = re.compile(r"[0-9]+(?:-[0-9]+)?\Z")
_Value = TypeVar("_Value")


class Monitor(Command):
    """Watches, chooses and shows."""

    name = "monitor"
    synopsis = "[options]"
    longdesc = (
        "Shows SIP on the wire of this machine, one line for each message: time (UTC), addresses, transport, method "
        "and URI or status, users of From and To, Call-ID. A message is shown if all conditions that are given hold. "
        "Watching an interface needs root or CAP_NET_RAW. TLS cannot be read; [capture] in the configuration of sipd "
        "can. Credentials and SRTP keys are covered by x. It ends by Ctrl-C, --count or --duration."
    )
    optParameters: ClassVar[Parameters] = (
        ("interface", "i", "any", "The interface to watch."),
        ("port", "p", "5060", "Ports of SIP: 5060,5062,5080-5090."),
        ("host", None, None, "Only from or to these: names, addresses or networks, with commas between them."),
        ("method", "m", None, "Only requests of these methods, and their responses: INVITE,BYE."),
        ("user", "u", None, "Only with these users in From or To: alice,4930*."),
        ("status", "s", None, "Only responses with these: 4xx, 401,407 or 500-503."),
        ("call", None, None, "Only with this Call-ID, or a part of it."),
        ("contains", None, None, "Only with this text anywhere, in upper or lower case."),
        ("rtp", None, None, f"RTP, too; its ports may follow. Not given: {DEFAULT_RTP}."),
        ("pcap", "w", None, "Write what is shown to this file, for Wireshark and tshark."),
        ("read", "r", None, "Read this capture (pcap, pcapng; - is standard input), and watch no interface."),
        ("count", "n", None, "End after so many messages."),
        ("duration", "d", None, "End after so many seconds."),
    )
    optFlags = (
        ("registrations", None, "Short for --method REGISTER."),
        ("setup", None, f"Short for --method {','.join(sorted(SETUP_METHODS))}."),
        ("auth", None, "Short for --status 401,403,407."),
        ("verbose", "v", "Show whole messages."),
        ("ladder", "l", "Draw each call when it is over, and all else at the end, instead of lines."),
        ("summary", None, "At the end: counts, registrations, and calls with the times of their set-up."),
        ("quiet", "q", "No lines for messages and RTP."),
        ("json", "j", "One JSON object a line; with --verbose also the message."),
        ("show-secrets", None, "Cover nothing, neither here nor in the file."),
    )

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """See ``usage.Options``. Here ``--rtp`` may stand alone."""
        words = list(options or ())
        for place, word in enumerate(words):
            if word == "--":
                break
            if word == "--rtp" and not (place + 1 < len(words) and _RANGE.match(words[place + 1])):
                words[place] = f"--rtp={DEFAULT_RTP}"
        super().parseOptions(words)

    def postOptions(self) -> None:
        """See ``usage.Options``."""
        if self["json"] and self["ladder"]:
            raise usage.UsageError("either --json or --ladder")
        if self["read"] is not None and self["interface"] != "any":
            raise usage.UsageError("either --read or --interface")
        if self["quiet"] and self["verbose"]:
            raise usage.UsageError("either --quiet or --verbose")
        self._task = Task(
            ports=Ports(sip=self._parsed("port", parse_ranges) or (), rtp=self._parsed("rtp", _rtp_range)),
            chosen=self._filter(),
            wanted=Wanted(
                messages=not self["quiet"] and (not self["ladder"] or bool(self["verbose"])),
                streams=not self["quiet"],
                whole=bool(self["verbose"]),
                as_json=bool(self["json"]),
                ladders=bool(self["ladder"]),
                summary=bool(self["summary"]),
                count=self._parsed("count", _count),
            ),
            shows_secrets=bool(self["show-secrets"]),
            save=self._save(),
            duration=self._parsed("duration", _duration),
        )

    def run(self) -> int:
        """See `Command`."""
        watch = Watch(self._task)
        if self["read"] is not None:
            watch.read(self["read"])
        else:
            watch.live(self["interface"])
        return DONE

    def _filter(self) -> Filter:
        methods = self._parsed("method", parse_methods) or frozenset()
        if self["registrations"]:
            methods |= {"REGISTER"}
        if self["setup"]:
            methods |= SETUP_METHODS
        return Filter(
            networks=self._parsed("host", _networks) or (),
            methods=methods,
            statuses=(self._parsed("status", parse_statuses) or ()) + (AUTHENTICATION_STATUSES if self["auth"] else ()),
            users=tuple(self["user"].split(",")) if self["user"] else (),
            call_id=self["call"] or "",
            text=self["contains"] or "",
        )

    def _save(self) -> Path | None:
        if self["pcap"] is None:
            return None
        path = Path(self["pcap"])
        read = self["read"]
        if read not in (None, STANDARD_INPUT) and path.exists() and Path(read).exists() and path.samefile(read):
            raise usage.UsageError("--pcap would replace the file that --read reads")
        return path

    def _parsed(self, option: str, parse: Callable[[str], _Value]) -> _Value | None:
        text = self[option]
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise usage.UsageError(f"--{option}: {error}") from None


def _rtp_range(text: str) -> PortRange:
    return parse_range(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text)):
        raise ValueError("a number of messages expected")
    return int(text)


def _duration(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 10**9:
        raise ValueError("seconds expected")
    return seconds


def _networks(text: str) -> tuple[Network, ...]:
    networks: list[Network] = []
    for part in text.split(","):
        try:
            networks.append(parse_network(part.strip()))
        except ValueError:
            networks += _addresses(part.strip())
    return tuple(networks)


def _addresses(name: str) -> list[Network]:
    """Ask for the addresses of a name, once, before anything is watched."""
    try:
        found = socket.getaddrinfo(name or " ", None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        raise ValueError(f"{name!r} is no address, no network, and no name that has an address") from None
    return [parse_network(str(address[0]).partition("%")[0]) for *_, address in found]
