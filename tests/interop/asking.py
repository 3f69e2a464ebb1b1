"""A client that asks one thing over UDP, answers the digest challenge, and says what the final answer was."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol

from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.testing import builders
from sipd.testing.credentials import authorize
from tests.interop.case import InteropTestCase
from tests.ports import HOST

_LIMIT = 30.0


class Asking(DatagramProtocol):
    """A user with a password, who registers and calls, and does nothing else.

    Args:
        case: the test that it runs in.
        port: of sipd, on the loopback address.
        user: the user part of its address.
        password: for challenges.
        username: in the digest, if it is not the user.
    """

    noisy = False

    def __init__(self, case: InteropTestCase, port: int, user: str, password: str, *, username: str = "") -> None:
        self._case = case
        self._port = port
        self._user = user
        self._login = (username or user, password)
        self._numbers = itertools.count(1)
        self._waiting: Deferred[Response] = Deferred()
        reactor: Any = case.reactor
        self._own = reactor.listenUDP(0, self, interface=HOST)
        self._place = f"{HOST}:{self._own.getHost().port}"
        case.addCleanup(self._own.stopListening)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Take a final answer."""
        message = parse_datagram(datagram)
        if isinstance(message, Response) and not message.is_provisional and not self._waiting.called:
            self._waiting.callback(message)

    async def register(self, expires: int = 60) -> Response:
        """Register, and give the answer."""
        aor = f"sip:{self._user}@{HOST}"
        return await self._ask(
            lambda number: builders.register(
                aor,
                f"<sip:{self._user}@{self._place}>",
                registrar=f"sip:{HOST}",
                expires=expires,
                call_id=f"register-{self._place}",
                **self._fields(number),
            )
        )

    async def call(self, user: str) -> Response:
        """Call somebody, and give the refusal; an answer stays without one."""
        caller, callee = f"sip:{self._user}@{HOST}", f"sip:{user}@{HOST}"
        call_id = f"call-{self._place}-{next(self._numbers)}"
        return await self._ask(
            lambda number: builders.invite(
                callee, caller=caller, callee=callee, call_id=call_id, contact=f"<{caller}>", **self._fields(number)
            )
        )

    def _fields(self, number: int) -> dict[str, Any]:
        return {"via": self._place, "cseq": number, "branch": f"z9hG4bK-{self._place}-{number}"}

    async def _ask(self, make: Callable[[int], Request]) -> Response:
        """Ask; if that is challenged, ask again with the answer."""
        request = make(next(self._numbers))
        response = await self._send(request)
        if response.status in (401, 407):
            request = make(next(self._numbers))
            assert authorize(request, response, *self._login, "c")
            response = await self._send(request)
        return response

    async def _send(self, request: Request) -> Response:
        self._waiting = Deferred()
        self._waiting.addTimeout(_LIMIT, self._case.reactor)
        self.transport.write(request.to_bytes(), (HOST, self._port))  # type: ignore[union-attr]
        response = await self._waiting
        if request.method == "INVITE":
            self.transport.write(builders.ack(request, response).to_bytes(), (HOST, self._port))  # type: ignore[union-attr]
        return response
