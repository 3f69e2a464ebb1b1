"""Phones that watch and that are watched, by a simple reading of RFC 6665."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from sipd.sip.headers import Headers
from sipd.sip.identifiers import new_call_id, new_tag
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.exchanges import Reply
from sipd.testing.links import Address
from sipd.testing.peer import Peer
from tests.b2bua.support import BridgeCase

SIPD_ADDRESS = ("192.0.2.1", 5060)


class Dialog:
    """A dialog of a phone: what its requests look like."""

    def __init__(self, peer: Peer, call_id: str, local: str, remote: str, target: str, sequence: int) -> None:
        self.peer = peer
        self.call_id = call_id
        self.local = local
        self.remote = remote
        self.target = target
        self.sequence = sequence

    def request(self, method: str, headers: builders.Fields = (), body: bytes = b"") -> Deferred[Response | None]:
        """Send a request; a Deferred of its final response."""
        self.sequence += 1
        fields = Headers([("Max-Forwards", "70"), ("From", self.local), ("To", self.remote)])
        fields.extend([("Call-ID", self.call_id), ("CSeq", f"{self.sequence} {method}")])
        fields.extend([("Contact", self.peer.contact), *headers])
        return self.peer.ask(Request(method, self.target, fields, body), _address(self.target))


class Watcher:
    """A phone that subscribes once.

    Attributes:
        notifications: every NOTIFY that came, each once.
        response: the final response to the first SUBSCRIBE.
        answer: what a NOTIFY is answered with; `None` for silence.
    """

    def __init__(self, peer: Peer, uri: str, event: str, expires: int | None = 600, **options: object) -> None:
        self.peer = peer
        self.event = event
        self.tag = new_tag(peer.entropy)
        self.call_id = new_call_id(peer.entropy)
        self.notifications: list[Request] = []
        self.response: Response | None = None
        self.answer: int | None = 200
        self.dialog: Dialog | None = None
        self._next = peer.on_other
        peer.on_other = self._requested
        target = uri if ":" in uri else f"sip:{uri}@{peer.domain}"
        headers = [("Event", event), *([] if expires is None else [("Expires", str(expires))])]
        headers += options.get("headers", [])  # type: ignore[arg-type]
        subscribe = builders.request(
            "SUBSCRIBE", target, caller=peer.aor, callee=target, from_tag=self.tag, call_id=self.call_id, via=None,
            contact=peer.contact, headers=headers,
        )  # fmt: skip
        peer.ask(subscribe).addCallback(self._answered)

    @property
    def states(self) -> list[str]:
        """The Subscription-State of each NOTIFY, without parameters but a reason."""
        return [_state(one) for one in self.notifications]

    @property
    def bodies(self) -> list[bytes]:
        """The body of each NOTIFY."""
        return [one.body for one in self.notifications]

    @property
    def status(self) -> int:
        """The status of the answer to the first SUBSCRIBE; 0 before."""
        return 0 if self.response is None else self.response.status

    def refresh(self, expires: int = 600) -> Deferred[Response | None]:
        """Subscribe again inside the dialog."""
        assert self.dialog is not None
        return self.dialog.request("SUBSCRIBE", [("Event", self.event), ("Expires", str(expires))])

    def _answered(self, response: Response | None) -> None:
        self.response = response
        if response is not None and response.is_success:
            self._make_dialog(str(response.to), str(response.contacts[0].uri), response.cseq.number)

    def _make_dialog(self, remote: str, target: str, sequence: int) -> None:
        if self.dialog is None:
            local = f"<{self.peer.aor}>;tag={self.tag}"
            self.dialog = Dialog(self.peer, self.call_id, local, remote, target, sequence)

    def _requested(self, request: Request, reply: Reply) -> bool:
        if request.method != "NOTIFY" or (request.call_id, request.to.tag) != (self.call_id, self.tag):
            return self._next(request, reply)
        self.notifications.append(request)
        self._make_dialog(str(request.from_), str(request.contacts[0].uri), 10)
        if self.answer is not None:
            reply(builders.response(request, self.answer))
        return True


class Watched:
    """A phone that is subscribed to.

    Attributes:
        subscribes: every SUBSCRIBE that came, each once.
        answers: gives the answer to one, or `None` for silence; at first 200 for as long as was asked for.
        dialogs: one for each subscription.
        told: the final response to each NOTIFY.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.subscribes: list[Request] = []
        self.dialogs: list[Dialog] = []
        self.told: list[Response | None] = []
        self.answers: Callable[[Request, str], Response | None] = self.accept
        self._next = peer.on_other
        peer.on_other = self._requested

    def accept(self, request: Request, tag: str) -> Response:
        """Give a 200 with the seconds that were asked for."""
        headers = [("Expires", request.headers.get("Expires") or "0")]
        return builders.response(request, 200, to_tag=tag, contact=self.peer.contact, headers=headers)

    def notify(
        self,
        state: str = "active;expires=600",
        body: bytes = b"",
        number: int = -1,
        headers: builders.Fields = (("Content-Type", "application/x-state"),),
    ) -> Deferred[None]:
        """Send a NOTIFY in a dialog, by default the last."""
        event = self.subscribes[number].headers.get("Event") or ""
        fields = [("Event", event), ("Subscription-State", state), *(headers if body else ())]
        return self.dialogs[number].request("NOTIFY", fields, body).addCallback(self.told.append)

    def _requested(self, request: Request, reply: Reply) -> bool:
        if request.method != "SUBSCRIBE":
            return self._next(request, reply)
        self.subscribes.append(request)
        tag = request.to.tag
        if tag is None:
            tag = new_tag(self.peer.entropy)
            local, target = f"{request.headers.get('To')};tag={tag}", str(request.contacts[0].uri)
            remote = request.headers.get("From") or ""
            self.dialogs.append(Dialog(self.peer, request.call_id, local, remote, target, 0))
        answer = self.answers(request, tag)
        if answer is not None:
            reply(answer)
        return True


class WatchCase(BridgeCase):
    """Three users who watch each other, and a log that is read.

    Attributes:
        lines: one for each subscription that is over, or was refused.
    """

    def setUp(self) -> None:
        """Listen to the log."""
        super().setUp()
        self.lines: list[str] = []

        @implementer(ILogObserver)
        def listen(event: LogEvent) -> None:
            if event.get("log_namespace", "").startswith("sipd.watching.") and "description" in event:
                self.lines.append(formatEvent(event))

        globalLogPublisher.addObserver(listen)
        self.addCleanup(globalLogPublisher.removeObserver, listen)

    def watch(self, peer: Peer, uri: str, event: str, expires: int | None = 600, **options: object) -> Watcher:
        """Let a phone subscribe, and give it a second."""
        watcher = Watcher(peer, uri, event, expires, **options)
        self.clock.advance(1.0)
        return watcher

    def publish(
        self, peer: Peer, event: str, body: bytes = b"", *, uri: str = "", headers: builders.Fields = (), kind: str
    ) -> Response:
        """Let a phone publish; give the answer."""
        target = uri or peer.aor
        request = builders.request(
            "PUBLISH", target, caller=peer.aor, callee=target, from_tag=new_tag(peer.entropy),
            call_id=new_call_id(peer.entropy), via=None, contact=None, headers=[("Event", event), *headers],
            body=body, content_type=kind,
        )  # fmt: skip
        waiting = peer.ask(request)
        self.clock.advance(1.0)
        response = self.successResultOf(waiting)
        assert response is not None
        return response

    def answer(self, waiting: Deferred[Response | None], seconds: float = 1.0) -> Response:
        """Give the final response that came after so many seconds."""
        self.clock.advance(seconds)
        response = self.successResultOf(waiting)
        assert response is not None
        return response

    def over(self) -> None:
        """Let everything run out; nothing may be left."""
        self.clock.advance(10_000.0)
        self.assertEqual(self.server.leftovers(), [])
        self.assertEqual(self.server.agent._dialogs, {})


def _state(notify: Request) -> str:
    state, _, rest = (notify.headers.get("Subscription-State") or "").partition(";")
    reason = next((part[7:] for part in rest.split(";") if part.startswith("reason=")), "")
    return f"{state} {reason}".strip()


def _address(target: str) -> Address:
    host = target.partition("@")[2] or target.partition(":")[2]
    host, _, port = host.partition(";")[0].partition(":")
    return (host, int(port or 5060))
