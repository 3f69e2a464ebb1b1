"""What the daemon says when it has started: where it listens, for whom, and how a phone gets to it."""

from __future__ import annotations

from collections.abc import Sequence

from sipd.daemon.sections import Config
from sipd.interfaces import ListeningPoint
from sipd.transport.tcp import is_loopback

#: How many users are named; there may be thousands.
_MAX_USERS = 10


def greet(config: Config, points: Sequence[ListeningPoint]) -> list[str]:
    """Give the lines.

    Args:
        config: what runs.
        points: what it listens on, with the real ports.
    """
    lines = [f"listening on {name_point(point)}" for point in points]
    stores = config.accounts.stores
    if stores:
        lines.append(f"further users: in {', then in '.join(f'{one.name} ({one.type})' for one in stores)}")
    if not config.users and stores:
        return [*lines, f"domains: {', '.join(config.domains)}"]
    if not config.users:
        return [*lines, "no users are configured: nobody can register"]
    names = [user.name for user in config.users]
    more = f" and {len(names) - _MAX_USERS} more" if len(names) > _MAX_USERS else ""
    domain = config.domains[0]
    lines.append(f"users: {', '.join(names[:_MAX_USERS])}{more}; domains: {', '.join(config.domains)}")
    servers = ", or ".join(_server(point) for point in _reachable(points))
    lines.append(
        f"to connect a phone: user {names[0]}, domain {domain}, server {servers}; "
        "its password is the one in the configuration"
    )
    if len(names) > 1:
        lines.append(f"then call sip:{names[1]}@{_in_uri(domain)}")
    if points and all(is_loopback(point.host) for point in points):
        lines.append("only phones on this machine can reach it: every listening point is on a loopback address")
    return lines


def _reachable(points: Sequence[ListeningPoint]) -> list[ListeningPoint]:
    """Prefer IPv4: one line is for one phone, and IPv6 is in the list above."""
    return [point for point in points if ":" not in point.advertised_host] or list(points)


def name_point(point: ListeningPoint) -> str:
    """Give a listening point in a few words."""
    bound = f"{_in_uri(point.host)}:{point.port}"
    told = "" if bound == point.sent_by else f", which others are told is {point.sent_by}"
    return f"{point.transport.value} {bound}{told}"


def _server(point: ListeningPoint) -> str:
    return f"{point.sent_by} over {point.transport.value}"


def _in_uri(host: str) -> str:
    return f"[{host}]" if ":" in host else host
