"""A phone: one UDP port, and the lines of its calls. Everything random about it comes from the network's seed."""

from __future__ import annotations

from collections.abc import Callable

from sipd.sip.identifiers import new_call_id, new_tag
from sipd.sip.locate import Transport
from sipd.sip.message import Request
from sipd.testing import builders
from sipd.testing.exchanges import Exchanges, Reply
from sipd.testing.links import Address
from sipd.testing.network import Host
from tests.phones.dialog import Dialog
from tests.phones.line import Line
from tests.phones.media import Understanding, Wish


class Phone:
    """A user agent that keeps to RFC 3261, 3262, 3264, 3311 and 6337, and takes note of who does not.

    Args:
        host: that it runs on.
        user: its name.
        proxy: where calls go.

    Attributes:
        lines: its calls, in and out, in order.
        complaints: what the other side did against the rules.
        on_call: told of each call that comes.
        thinks: seconds until it answers an offer in an established call.
        takes_changes: whether it takes such an offer, or refuses it with 488.
        has_update: whether it knows UPDATE.
        has_reliable: whether it knows 100rel.
        is_deaf: whether it never answers a request in a call, as one that was switched off.
    """

    def __init__(self, host: Host, user: str, proxy: Address) -> None:
        self.host = host
        self.user = user
        self.proxy = proxy
        self.lines: list[Line] = []
        self.complaints: list[str] = []
        self.on_call: Callable[[Line], object] = lambda line: None
        self.thinks = 0.0
        self.takes_changes = True
        self.has_update = True
        self.has_reliable = False
        self.is_deaf = False
        self.aor = f"sip:{user}@example.com"
        self.contact = f"<sip:{user}@{host.address}:5060>"
        self.exchanges = Exchanges(
            host,
            (host.address, 5060),
            Transport.UDP,
            proxy,
            host.network.entropy,
            self._requested,
            self._unacknowledged,
        )

    @property
    def line(self) -> Line:
        """The last call."""
        return self.lines[-1]

    def call(self, user: str, *, has_offer: bool = True, requires_reliable: bool = False) -> Line:
        """Call somebody.

        Args:
            user: whom.
            has_offer: whether the INVITE carries an offer; otherwise the callee makes one.
            requires_reliable: whether provisional responses must be reliable.
        """
        uri = f"sip:{user}@{self.proxy[0]}"
        line = self._new_line(new_call_id(self.host.network.entropy), is_caller=True)
        fields = self.fields()
        if requires_reliable:
            fields.append(("Require", "100rel"))
        line.start(
            builders.invite(
                uri,
                caller=self.aor,
                callee=uri,
                from_tag=line.local_tag,
                call_id=line.call_id,
                via=None,
                contact=self.contact,
                headers=fields,
                body=line.understanding.offer(line.wish) if has_offer else b"",
            )
        )
        return line

    def fields(self) -> list[tuple[str, str]]:
        """Say what it can do."""
        methods = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK" + (", UPDATE" if self.has_update else "")
        return [("Allow", methods), *([("Supported", "100rel")] if self.has_reliable else [])]

    def complain(self, line: Dialog, text: str) -> None:
        """Take note of what the other side did wrong."""
        self.complaints.append(f"{self.host.seconds():.3f} s, {self.user}, {line.call_id}: {text}")

    def random(self, low: float, high: float) -> float:
        """Draw a time."""
        return low + int.from_bytes(self.host.network.entropy(2), "big") / 65536 * (high - low)

    def close(self) -> None:
        """Leave the network without a word."""
        self.exchanges.close()

    def _new_line(self, call_id: str, *, is_caller: bool) -> Line:
        entropy = self.host.network.entropy
        understanding = Understanding(str(int.from_bytes(entropy(4), "big")))
        wish = Wish(host=self.host.address, port=40000 + 100 * len(self.lines))
        line = Line(self, call_id, new_tag(entropy), understanding, wish, is_caller=is_caller)
        self.lines.append(line)
        return line

    def _requested(self, request: Request, reply: Reply) -> None:
        method, tag = request.method, request.to.tag
        lines = [line for line in self.lines if line.call_id == request.call_id]
        if method == "CANCEL":
            found = next((line for line in lines if line.is_cancelled_by(request)), None)
            reply(builders.response(request, 200 if found is not None else 481))
            if found is not None:
                found.cancelled()
            return
        line = next((line for line in lines if line.local_tag == tag), None)
        if line is not None and not self.is_deaf:
            line.requested(request, reply)
        elif method == "ACK" or self.is_deaf:
            return
        elif tag is not None or method != "INVITE":
            reply(builders.response(request, 481))
        else:
            line = self._new_line(request.call_id, is_caller=False)
            line.invited(request, reply)
            self.on_call(line)

    def _unacknowledged(self, invite: Request) -> None:
        for line in self.lines:
            if line.call_id == invite.call_id:
                line.unacknowledged(invite)
