"""Where a callee that redirects a call wants it to go (RFC 3261 sections 8.1.3.4 and 21.3)."""

from __future__ import annotations

from dataclasses import replace

from sipd.errors import ParseError
from sipd.interfaces import Attempt
from sipd.sip.message import Response
from sipd.sip.uri import SipUri, TelUri, Uri


def follow(attempt: Attempt, response: Response, tried: set[Uri]) -> list[Attempt]:
    """Give the attempts that take the place of one that was redirected, the most wanted first.

    Each may be redirected again as often as is left of what the first one allowed. What was tried before is not tried
    again. Credentials, trust and what else belongs to the server that was asked stay behind, unless the contact is of
    the same host.

    Args:
        attempt: which was redirected.
        response: the 3xx.
        tried: what was tried already; what is given is added.
    """
    try:
        contacts = sorted(response.contacts, key=lambda contact: -contact.q)
    except ParseError:
        return []
    uris: list[Uri] = []
    for contact in contacts:
        uri = contact.uri.without_headers() if isinstance(contact.uri, SipUri) else contact.uri
        if len(uris) < attempt.redirects and isinstance(uri, SipUri | TelUri) and uri not in tried:
            uris.append(uri)
            tried.add(uri)
    left = attempt.redirects - len(uris)
    return [_at(replace(attempt, uri=uri, label=f"redirect to {uri}", redirects=left), attempt.uri) for uri in uris]


def _at(redirected: Attempt, before: Uri) -> Attempt:
    uri = redirected.uri
    if isinstance(uri, SipUri) and isinstance(before, SipUri) and uri.host == before.host and uri.port == before.port:
        return redirected
    policy = redirected.policy
    if policy is not None:
        headers = None if policy.headers is None else policy.headers.for_strangers()
        policy = replace(policy, headers=headers, trusted=None, tells_strangers=None)
    return replace(
        redirected,
        policy=policy,
        credentials=None,
        next_hop=None,
        route_set=(),
        source=None,
        point="",
        trunk=None,
        called="",
        trusted=False,
        user=None,
    )
