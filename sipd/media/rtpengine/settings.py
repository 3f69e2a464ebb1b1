"""Where rtpengine daemons are, how they are spoken to, and what they are told."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from sipd.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonAddress:
    """Where a daemon listens for "ng" messages (its ``listen-ng``), and how many calls it gets.

    Args:
        host: a numeric address, without brackets.
        port: the port.
        weight: its share of the new calls, beside those of the others; with 0 it gets none and keeps those it has.
    """

    host: str
    port: int = 2223
    weight: int = 1

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def place(self) -> tuple[str, int]:
        """Where it is, with the address as the system spells it.

        Raises:
            ValueError: it is no numeric address.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, self.host)), self.port
        except OSError as error:
            raise ValueError(f"{self.host} is no numeric address") from error

    def problems(self) -> list[str]:
        """Give one line for each mistake."""
        found = []
        try:
            self.place  # noqa: B018 - to see whether there is one
        except ValueError:
            found.append(f"rtpengine {self}: the host must be a numeric address")
        if not 0 < self.port < 65536:
            found.append(f"rtpengine {self}: the port must be 1 to 65535")
        if not 0 <= self.weight <= 1_000_000:
            found.append(f"rtpengine {self}: the weight must be 0 to 1000000")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """How daemons are spoken to. Times are seconds.

    Args:
        time_limit: in which a request has to be answered.
        first_interval: until a request is repeated for the first time; each further interval is twice as long.
        ping_interval: between two questions whether the daemon is there.
        ping_misses: unanswered in a row, after which it counts as dead until it answers again.
        pending_limit: requests that may wait for an answer; more are refused with `ResourcesExhaustedError`.
    """

    time_limit: float = 2.0
    first_interval: float = 0.25
    ping_interval: float = 5.0
    ping_misses: int = 3
    pending_limit: int = 4096

    def check(self, daemons: Sequence[DaemonAddress] = ()) -> None:
        """Make sure that these, and the addresses of daemons, can be used.

        Raises:
            ConfigurationError: they cannot.
        """
        problems = [problem for daemon in daemons for problem in daemon.problems()]
        for name in ("time_limit", "first_interval", "ping_interval", "ping_misses", "pending_limit"):
            if getattr(self, name) <= 0:
                problems.append(f"rtpengine: {name} must be positive")
        if problems:
            raise ConfigurationError(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpengineSettings:
    """How media are relayed by rtpengine.

    Args:
        daemons: at least one.
        client: how they are spoken to.
        flags: that each offer and answer carries besides, as rtpengine names them in `flags`: for transcoding
            (``codec-transcode-opus``), recording (``record-call``), ... By default a daemon that has learned where
            media come from believes nobody else.
        transport_protocol: what a leg is offered that has not spoken yet (``RTP/SAVP``); empty for what was offered.
        caller_interface: name of the daemons' logical interface for the caller; empty for their first one.
        callee_interface: the same for all other legs.
        stream_limit: streams that one description may have; an offer of more fails with `SdpError`.
    """

    daemons: tuple[DaemonAddress, ...]
    client: ClientSettings = field(default_factory=ClientSettings)
    flags: tuple[str, ...] = ("strict-source",)
    transport_protocol: str = ""
    caller_interface: str = ""
    callee_interface: str = ""
    stream_limit: int = 16
