"""Via branches that are computed, for what is forwarded without a transaction (RFC 3261 section 16.11)."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import blake2s
from itertools import pairwise

from sipd.errors import ParseError
from sipd.sip.fields import Via
from sipd.sip.identifiers import MAGIC_COOKIE
from sipd.sip.locate import Target
from sipd.sip.message import Message, Request, Response

_COOKIE = MAGIC_COOKIE.lower()


class ComputedBranches:
    """Makes the same branch for a request that comes again, for its CANCEL, and for the ACK of its refusal.

    A branch has two parts: a keyed hash of what identifies the transaction of the sender, and the key by which a loop
    is seen (section 16.6, step 8).

    Args:
        key: of the hash, 16 to 32 octets.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, request: Request, loop_key: str) -> str:
        """Make the branch for a request that is forwarded.

        Args:
            request: as it came, with the Via of its sender on top.
            loop_key: of the request.
        """
        return f"{MAGIC_COOKIE}{self._hash(request, request.via)}.{loop_key}"

    def choose(self, branch: str, servers: Sequence[Target]) -> Target:
        """Choose one of some servers: for the same branch always the same one, whatever order they come in.

        Args:
            branch: that was made for the request.
            servers: at least one.
        """

        def weight(server: Target) -> bytes:
            text = f"{branch}\n{server}".encode("utf-8", "surrogateescape")
            return blake2s(text, key=self._key, digest_size=8, person=b"server").digest()

        return max(servers, key=weight)

    def is_own(self, response: Response, own: Via, below: Via) -> bool:
        """Say whether a response is to a request that was forwarded from here, by its two topmost Via values.

        What is not could be sent by anybody, to have it sent on to anybody else.
        """
        branch, _, _ = own.branch.lower().partition(".")
        expected = _COOKIE + self._hash(response, below)
        return hmac.compare_digest(branch.encode("utf-8", "surrogateescape"), expected.encode())

    def has_looped(self, request: Request, loop_key: str) -> bool:
        """Say whether a request with that loop key was forwarded from here before: it comes as it came then.

        Raises:
            ParseError: a Via is malformed.
        """
        if request.headers.count("Via") == 1 and "," not in (request.headers.get("Via") or ""):
            return False
        vias = request.vias
        for own, below in pairwise(vias):
            transaction, _, loop = own.branch.lower().partition(".")
            if loop == loop_key and transaction == _COOKIE + self._hash(request, below):
                return True
        return False

    def _hash(self, message: Message, via: Via) -> str:
        """Hash the identity of a transaction by the Via of its sender, as it is in all messages of it.

        ``received`` and ``rport`` are this side's additions and may change between an INVITE and its CANCEL. Without
        the cookie the branch says nothing, and the other rules of RFC 2543 take its place.
        """
        branch = via.branch.lower()
        parts = [branch, via.sent_by]
        if not branch.startswith(_COOKIE) or branch == _COOKIE:
            parts += [message.from_.tag or "", message.call_id, str(message.cseq.number)]
        text = "\n".join(parts).encode("utf-8", "surrogateescape")
        return blake2s(text, key=self._key, digest_size=10, person=b"branch").hexdigest()


def second_via(response: Response) -> Via | None:
    """Give the Via below the topmost one; ``None`` if there is none that can be read."""
    try:
        vias = response.vias
    except ParseError:
        return None
    return vias[1] if len(vias) > 1 else None
