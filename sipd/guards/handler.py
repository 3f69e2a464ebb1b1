"""Requests outside of calls under overload: what refreshes a registration goes on for longer than what is new."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

from zope.interface import implementer

from sipd.guards.overload import OverloadControl, Weight
from sipd.interfaces import IRequestHandler
from sipd.sip.identifiers import new_tag

if TYPE_CHECKING:
    from sipd.interfaces import Entropy, IServerTransaction
    from sipd.sip.message import Request


@implementer(IRequestHandler)
class WeighedHandler:
    """Lets another handler answer what can be answered, and refuses the rest with 503 and Retry-After.

    Args:
        inner: who answers.
        overload: says what can be taken.
        is_refresh: says of a request that it refreshes what there is.
        retry_after: gives the seconds that who is refused is told to wait.
        entropy: for To tags, and for a lottery that nobody can foresee.

    Attributes:
        refused: how many requests were.
    """

    def __init__(
        self,
        inner: IRequestHandler,
        overload: OverloadControl,
        *,
        is_refresh: Callable[[Request], bool],
        retry_after: Callable[[], int],
        entropy: Entropy,
    ) -> None:
        self.extensions: frozenset[str] = inner.extensions
        self.refused = 0
        self._inner = inner
        self._overload = overload
        self._is_refresh = is_refresh
        self._retry_after = retry_after
        self._entropy = entropy
        self._salt = entropy(16)

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IRequestHandler`."""
        if self._overload.is_overloaded and not self._is_taken(transaction.request):
            self.refused += 1
            request, wait = transaction.request, str(self._retry_after())
            reason = f"Overloaded: {self._overload.explain()}"
            response = request.response(503, reason, to_tag=new_tag(self._entropy), headers=(("Retry-After", wait),))
            transaction.respond(response)
            return
        self._inner.request_received(transaction)

    def _is_taken(self, request: Request) -> bool:
        weight = Weight.REFRESH if self._is_refresh(request) else Weight.REQUEST
        digest = blake2b(request.call_id.encode("utf-8", "surrogateescape"), key=self._salt, digest_size=4).digest()
        return self._overload.admits(weight, int.from_bytes(digest, "big") / (1 << 32))
