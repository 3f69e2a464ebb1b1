"""What of a new configuration holds at once, and what needs a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sipd.daemon.differences import Difference, compare
from sipd.daemon.sections import Config
from sipd.errors import ConfigurationError

#: A section of which everything can change while sipd runs.
_ALL: frozenset[str] = frozenset()

#: What can change while sipd runs, by section. Everything else is bound to this machine (sockets, files, threads), or
#: would change what is promised to calls that go on. A section that is not here needs a restart.
IN_PLACE: Mapping[str, frozenset[str]] = {
    "users": _ALL,
    "registrar": frozenset(("minimum_expires", "default_expires", "maximum_expires", "max_contacts")),
    "identity": _ALL,
    "media": frozenset(("srtp", "record", "hold_music", "ringback")),
    "transfer": _ALL,
    "routing": frozenset(
        (
            "emergency",
            "country_code",
            "international_prefixes",
            "national_prefix",
            "area_code",
            "local_length",
            "opening_hours",
        )
    ),
    "routes": _ALL,
    "policies": _ALL,
    "trunks": _ALL,
    "subscriptions": _ALL,
    "limits": frozenset(
        (
            "head_size_octets",
            "body_size_octets",
            "connections",
            "connections_per_source",
            "write_queue_octets",
            "connect_timeout",
            "handshake_timeout",
            "message_timeout",
            "idle_timeout",
            "calls",
            "calls_per_second",
            "calls_per_user",
            "calls_per_second_per_user",
            "calls_per_source",
            "calls_per_second_per_source",
            "calls_per_callee",
            "call_duration",
            "retry_after",
            "messages",
            "subscriptions",
            "publications",
            "drain",
        )
    ),
    "guards": _ALL,
    "timers": frozenset(("ring", "session", "session_minimum", "ping")),
    "logging": frozenset(("level", "format")),
    "dns": frozenset(("target_timeout",)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """What became of a new configuration.

    Args:
        applied: what is different for new calls from now on.
        pending: what is different, and takes a restart.
    """

    applied: tuple[Difference, ...]
    pending: tuple[Difference, ...]

    def lines(self) -> Iterator[str]:
        """Give it to a person, a line each."""
        if not self.applied and not self.pending:
            yield "configuration read again: nothing is different"
            return
        yield "configuration read again"
        for difference in self.applied:
            yield f"changed: {difference}"
        for difference in self.pending:
            yield f"needs a restart: {difference}"


def is_in_place(difference: Difference) -> bool:
    """Say whether it can hold without a restart."""
    section, *rest = difference.path
    keys = IN_PLACE.get(section)
    return keys is not None and (not keys or (bool(rest) and rest[0] in keys))


def sort_out(running: Config, wanted: Config) -> Reloaded:
    """Say what is different, and what of it can hold at once."""
    differences = list(compare(running, wanted))
    return Reloaded(
        applied=tuple(one for one in differences if is_in_place(one)),
        pending=tuple(one for one in differences if not is_in_place(one)),
    )


def merge(running: Config, wanted: Config) -> Config:
    """Give what is wanted, as far as it needs no restart, and what runs for the rest.

    Raises:
        ConfigurationError: that makes no sense together: something that can change at once relies on something that
            cannot.
    """
    sections: dict[str, object] = {}
    for name, keys in IN_PLACE.items():
        section = getattr(wanted, name)
        if keys:
            section = getattr(running, name).model_copy(update={key: getattr(section, key) for key in keys})
        sections[name] = section
    merged = running.model_copy(update=sections)
    if merged.recording.directory is None and wanted.recording.directory is not None and _records(merged):
        raise ConfigurationError(["recording.directory: needs a restart before anything can be recorded"])
    algorithms = set(merged.authentication.algorithms)
    problems = [
        f"authentication.algorithms: needs a restart before users.{user.name}.ha1 can be of any use"
        for user in merged.users
        if user.password is None and user.ha1 is not None and not algorithms.intersection(user.ha1)
    ]
    if problems:
        raise ConfigurationError(problems)
    return merged


def _records(config: Config) -> bool:
    records = [config.media.record, *(user.record for user in config.users), *(rule.record for rule in config.routes)]
    records += [trunk.record for trunk in config.trunks]
    return any(record in ("wave", "pcap") for record in records)
