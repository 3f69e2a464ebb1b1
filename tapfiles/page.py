"""A web page for this machine's user that places calls: calls the one, and sends it on to the other.

python tapfiles/page.py, and then
curl -X POST 'http://127.0.0.1:8080/call?from=sip:alice@192.0.2.7&to=sip:bob@192.0.2.8'
"""

import sys
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import react
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from sipd.errors import LocalError, ParseError, RemoteError
from sipd.ua import Phone

FORM = b'<form method="post" action="/call">from <input name="from"> to <input name="to"> <button>Call</button></form>'


class CallPage(Resource):
    """POST makes a call; its answer says what has become of it. GET shows a form."""

    isLeaf = True

    def __init__(self, phone: Phone) -> None:
        Resource.__init__(self)
        self.phone = phone

    def render_GET(self, request: Any) -> bytes:
        """Show the form."""
        return FORM

    def render_POST(self, request: Any) -> int | bytes:
        """Make a call, until it has an outcome or the browser leaves."""
        own = [f"http://{host}:{request.getHost().port}" for host in ("127.0.0.1", "localhost")]
        if request.getHeader("Origin") not in (None, *own):
            request.setResponseCode(403)  # a page of somebody else's in the user's browser
            return b"this page alone places calls\n"
        finished = request.notifyFinish()
        placing = Deferred.fromCoroutine(self.place(request))
        finished.addErrback(lambda _: placing.cancel())
        placing.addErrback(self.failed, request)
        return NOT_DONE_YET

    async def place(self, request: Any) -> None:
        """Call the one; when it has answered let it call the other."""
        first, second = (request.args.get(name, [b""])[0].decode("utf-8", "replace") for name in (b"from", b"to"))
        status, text = 200, f"{first} talks with {second}"
        try:
            self.phone.address(second)
            async with await self.phone.dial(first) as call:
                await call.transfer(second)
        except ParseError as error:
            status, text = 400, error.reason
        except (RemoteError, LocalError) as error:
            status, text = 502, str(error)
        request.setResponseCode(status)
        request.setHeader("Content-Type", "text/plain; charset=utf-8")
        request.write(f"{text}\n".encode())
        request.finish()

    def failed(self, failure: Failure, request: Any) -> None:
        """The browser has left, or there is a mistake here."""
        if not failure.check(CancelledError):
            request.processingFailed(failure)


async def main(reactor: Any, port: str = "8080", listen: str = "udp:0.0.0.0:0") -> None:
    """Serve the page until somebody ends the program."""
    async with Phone(reactor, listen=listen) as phone:
        page: Any = CallPage(phone)
        listening = await TCP4ServerEndpoint(reactor, int(port), interface="127.0.0.1").listen(Site(page))
        print(f"http://127.0.0.1:{listening.getHost().port}/call places calls", flush=True)
        try:
            await Deferred()
        finally:
            await listening.stopListening()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
