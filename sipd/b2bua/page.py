"""A MESSAGE as it goes out, and its way to one place (RFC 3428 sections 4 and 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sipd.b2bua.errand import Errand
from sipd.errors import RemoteError, TransportError
from sipd.sip.locate import MAX_UDP_REQUEST_OCTETS, Target, Transport, targets_for_size
from sipd.sip.message import Request, Response
from sipd.ua.failover import Send, ask_in_turn

if TYPE_CHECKING:
    from sipd.b2bua.identity import Identities
    from sipd.interfaces import IFlow
    from sipd.ua.core import UserAgent

#: What stays on its leg in a call, but is said of the message here: how long it is worth reading (RFC 3428, 4).
_OF_THE_MESSAGE = frozenset(("expires",))


class Page(Errand):
    """A message for any number of contacts. It has no Contact (RFC 3428 section 4).

    Above 1300 octets it does not go over UDP, but over TCP to the same place (RFC 3428 section 8). Credentials that a
    challenge asks for are not counted.

    Args:
        agent: sends it.
        request: as it was received; the body goes on as it is.
        identities: what each contact is told of who sends it.
    """

    def __init__(self, agent: UserAgent, request: Request, identities: Identities) -> None:
        super().__init__(agent, request, identities, _OF_THE_MESSAGE)

    def may_use(self, flow: IFlow, size_octets: int) -> bool:
        """See `Errand`."""
        return size_octets <= MAX_UDP_REQUEST_OCTETS or flow.transport.is_reliable

    async def ask(self, targets: Sequence[Target], size_octets: int, send: Send) -> Response:
        """See `Errand`.

        Raises:
            RemoteError: there is no response; 513 for a large message where TCP is not spoken.
        """
        if size_octets <= MAX_UDP_REQUEST_OCTETS or all(target.transport.is_reliable for target in targets):
            return await ask_in_turn(self.agent, targets, send)
        larger = targets_for_size(targets, size_octets)
        try:
            return await ask_in_turn(self.agent, [one for one in larger if one.transport is not Transport.UDP], send)
        except TransportError as error:
            raise RemoteError("Message Too Large", status=513) from error
