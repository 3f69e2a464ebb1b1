"""Which header fields cross from one leg to the other: one table (RFC 7092; RFC 5853 section 3.1).

A leg is a user agent of its own: what belongs to its dialog, its transaction, its hops or its capabilities is made
anew. What says who somebody is crosses by trust (`sipd.b2bua.identity`). Everything else crosses octet for octet and in
order, header fields that nobody here knows among them.
"""

from __future__ import annotations

from sipd.policies.headers import IDENTITY as IDENTITY
from sipd.sip.headers import Headers

#: Canonical name to the reason why the field does not cross.
STAYS = {
    "via": "belongs to the hop",
    "route": "belongs to the leg's route set",
    "record-route": "belongs to the leg's route set",
    "path": "belongs to a registration",
    "service-route": "belongs to a registration",
    "from": "has the leg's own tag",
    "to": "has the leg's own tag",
    "call-id": "is the leg's own",
    "cseq": "is the leg's own",
    "contact": "is the leg's own: it would show the other side's address",
    "max-forwards": "is counted down when the call is made (RFC 7332)",
    "content-length": "is printed with the body",
    "content-type": "goes with the body",
    "content-disposition": "goes with the body",
    "content-encoding": "goes with the body",
    "content-language": "goes with the body",
    "mime-version": "goes with the body",
    "allow": "says what this user agent can do",
    "allow-events": "says what this user agent can do",
    "supported": "says what this user agent can do",
    "require": "was met or refused here",
    "proxy-require": "was met or refused here",
    "unsupported": "answers this user agent's Require",
    "accept": "says what this user agent can do",
    "accept-encoding": "says what this user agent can do",
    "authorization": "is for the other side's realm",
    "proxy-authorization": "is for the other side's realm",
    "www-authenticate": "is of the other side's realm",
    "proxy-authenticate": "is of the other side's realm",
    "authentication-info": "is of the other side's realm",
    "proxy-authentication-info": "is of the other side's realm",
    "user-agent": "names this user agent",
    "server": "names this user agent",
    "timestamp": "measures the hop",
    "expires": "bounds the other leg's INVITE; the timeout of the attempt bounds this one",
    "retry-after": "is about the other leg",
    "warning": "names hosts of the other side",
    "rseq": "belongs to the leg's own reliable responses (RFC 3262)",
    "rack": "belongs to the leg's own reliable responses (RFC 3262)",
    "session-expires": "belongs to the leg's own session timer (RFC 4028)",
    "min-se": "belongs to the leg's own session timer (RFC 4028)",
    "replaces": "names a dialog of the other side (RFC 3891)",
    "target-dialog": "names a dialog of the other side (RFC 4538)",
    "in-reply-to": "names calls of the other side",
    "join": "names a dialog of the other side (RFC 3911)",
    "max-breadth": "counts the forks of the other side's proxies (RFC 5393)",
    "security-client": "is agreed with the next hop (RFC 3329)",
    "security-server": "is agreed with the next hop (RFC 3329)",
    "security-verify": "is agreed with the next hop (RFC 3329)",
    "p-preferred-identity": "asks this server, and nobody else, for an identity (RFC 3325 section 9.2)",
    "p-asserted-identity": "crosses by trust (RFC 3325 section 5)",
    "remote-party-id": "crosses by trust, as P-Asserted-Identity",
    "privacy": "asks this server, and others where the other side is trusted (RFC 3323 section 5)",
    "diversion": "crosses by trust (RFC 5806)",
    "history-info": "crosses by trust (RFC 7044 section 10)",
    "session-id": "names both ends, and this server knows how (RFC 7989 section 7)",
    "p-served-user": "is for a trust domain",
    "p-asserted-service": "is for a trust domain",
    "p-access-network-info": "names the other side's network",
    "p-visited-network-id": "names the other side's network",
    "p-charging-vector": "is for a trust domain",
    "p-charging-function-addresses": "is for a trust domain",
}  # fmt: skip

_STAYS = frozenset(STAYS)
_BODY_FIELDS = frozenset(
    ("content-type", "content-disposition", "content-encoding", "content-language", "mime-version")
)


def crossing(headers: Headers) -> Headers:
    """Give the fields that cross to the other leg, without those that go with the body."""
    fields = Headers()
    fields.copy_others(headers, _STAYS)
    return fields


def body_fields(headers: Headers) -> Headers:
    """Give the fields that go with the body."""
    fields = Headers()
    fields.copy_only(headers, _BODY_FIELDS)
    return fields
