"""Where the users of ours are: their contacts, as attempts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from sipd.interfaces import Attempt, Binding, ILocationService, Route
from sipd.sip.uri import SipUri, Uri

#: What a route is called that no rule has made.
NAME = "registered"


class RegisteredUsers:
    """Leads to the contacts of users.

    Args:
        domains: the hosts whose users are ours, in lower case; the addresses of the listening points belong to them.
        location: who is registered where.
        is_user: says whether a user of that name exists: the difference between 480 and 404.
        timeout: seconds for which contacts ring.
    """

    def __init__(
        self, *, domains: frozenset[str], location: ILocationService, is_user: Callable[[str], bool], timeout: float
    ) -> None:
        self._domains = domains
        self._location = location
        self._is_user = is_user
        self._timeout = timeout

    def has(self, uri: Uri) -> bool:
        """Say whether a URI names a user of ours; a port that is written names a place, not a domain."""
        return isinstance(uri, SipUri) and uri.port is None and uri.host in self._domains

    def route(self, uri: Uri) -> Route:
        """Give the contacts of whom a URI names, those of the highest q first, or why there are none."""
        if not isinstance(uri, SipUri) or uri.host not in self._domains:
            return _refused(f"{uri} is not of a domain served here", 403, "No Relay To Other Domains")
        if uri.user is None:
            return _refused(f"no user in {uri}", 404, "No User Named")
        aor = uri.address_of_record()
        bindings = self._location.lookup(aor)
        if not bindings:
            if self._is_user(uri.user):
                return _refused(f"{uri.user} has no contact", 480, "Not Registered", aor)
            return _refused(f"{uri.user} is no user", 404, "No Such User")
        rounds = tuple(
            tuple(_attempt(binding, uri.user, self._timeout) for binding in group)
            for _, group in groupby(bindings, key=lambda binding: binding.q)
        )
        line = f"{NAME}: {len(bindings)} contact{'s' if len(bindings) > 1 else ''} of {uri.user}"
        return Route(name=NAME, rounds=rounds, considered=(line,), aor=aor)


def _refused(why: str, status: int, reason: str, aor: str | None = None) -> Route:
    return Route(name=NAME, rounds=(), considered=(f"{NAME}: {why}",), refusal=(status, reason), aor=aor)


def _attempt(binding: Binding, user: str, timeout: float) -> Attempt:
    """A contact is called where it registered from, if that is a connection or lies behind NAT (lessons 1 and 2)."""
    source = binding.source
    uri = binding.uri
    if source is not None and not source.transport.is_reliable and isinstance(uri, SipUri) and uri.host == source.host:
        source = None
    return Attempt(uri=uri, label=f"contact {uri}", route_set=binding.path, source=source, timeout=timeout, user=user)
