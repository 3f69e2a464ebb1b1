"""``sipd phone message`` and ``sipd phone options``: one request, and its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred, TimeoutError

from sipd.daemon.telephone.desk import NO_ANSWER, Desk, exit_status
from sipd.daemon.telephone.settings import LineWanted, places_of, recipient_of
from sipd.errors import ParseError, RemoteError
from sipd.phone.phone import Phone
from sipd.sdp.codecs import encodings
from sipd.sip.message import Response
from sipd.ua.bodies import find_description
from sipd.ua.messaging import MessageError

#: What is shown of an answer to OPTIONS.
_SHOWN = ("Server", "User-Agent", "Allow", "Accept", "Supported", "Allow-Events")


@dataclass(frozen=True, slots=True, kw_only=True)
class AskWanted:
    """A request that is wanted.

    Args:
        line: from which.
        recipient: an address, or a part of one.
        headers: more header fields.
        text: of a message.
        content_type: of that.
    """

    line: LineWanted
    recipient: str
    headers: tuple[tuple[str, str], ...] = ()
    text: str = ""
    content_type: str = "text/plain;charset=UTF-8"


async def send_message(desk: Desk, wanted: AskWanted) -> int:
    """Send a message; give the exit status.

    Raises:
        ParseError: the address, or a header field, cannot be read.
        LocalError: the line cannot be opened.
    """

    def ask(phone: Phone, recipient: str) -> Deferred[Response]:
        return phone.message(recipient, wanted.text, wanted.content_type, wanted.headers)

    return await _ask(desk, wanted, ask)


async def ask_options(desk: Desk, wanted: AskWanted) -> int:
    """Ask what somebody can; give the exit status. As for `send_message`."""
    return await _ask(desk, wanted, lambda phone, recipient: phone.options(recipient, wanted.headers))


async def _ask(desk: Desk, wanted: AskWanted, ask: Callable[[Phone, str], Deferred[Response]]) -> int:
    line, screen = wanted.line, desk.screen
    async with desk.phone(line, places_of(line.account, wanted.recipient)) as phone:
        recipient = recipient_of(phone, wanted.recipient, line.transport)
        began = desk.reactor.seconds()
        try:
            response = await ask(phone, recipient).addTimeout(line.timeout, desk.reactor)
        except MessageError as error:
            response = error.response
        except RemoteError as error:
            if isinstance(error, ParseError):
                raise
            screen.fail(str(error), status=error.status)
            return exit_status(error)
        except TimeoutError:
            screen.fail(f"nobody has answered in {line.timeout:g} s", status=None)
            return NO_ANSWER
        duration = desk.reactor.seconds() - began
    text = f"{response.status} {response.reason}"
    if not response.is_success:
        screen.fail(text, status=response.status)
        return 1
    headers = {name: ", ".join(response.headers.values(name)) for name in _SHOWN if name in response.headers}
    codecs = _codecs(response)
    screen.show(
        "response",
        f"{text} in {1000 * duration:.0f} ms",
        status=response.status,
        reason=response.reason,
        duration=round(duration, 6),
        headers=headers,
        codecs=codecs,
    )
    if not screen.as_json:
        for name, value in headers.items():
            screen.show("header", f"{name}: {value}")
        if codecs:
            screen.show("codecs", f"codecs: {', '.join(codecs)}")
    return 0


def _codecs(response: Response) -> list[str]:
    """Give the codecs of the first stream that an answer describes."""
    try:
        description = find_description(response)
    except RemoteError:
        return []
    if description is None or not description.media:
        return []
    return list(encodings(description.media[0]).values())
