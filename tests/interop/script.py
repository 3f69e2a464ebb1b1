"""SIPp scenarios written as what one telephone does, step by step; `Script.xml` is the file that SIPp wants.

SIPp wants every message of a call spelled out, and in one order. Here a step says what is particular about a message;
what every message of a dialog needs (tags, CSeq, branches, versions of descriptions) comes by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

#: The URI that a caller calls.
CALLED = "sip:[service]@[remote_ip]:[remote_port]"
#: The field that answers a challenge.
CREDENTIALS = "[authentication]"
_BODY_TYPE = "application/sdp"
_CAPABILITIES = ("Allow: INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, REFER, NOTIFY", "Supported: timer, replaces")
_DIALOG_MAKERS = ("INVITE", "UPDATE", "REFER", "SUBSCRIBE")
_REASONS = {
    100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 202: "Accepted", 302: "Moved Temporarily",
    422: "Session Interval Too Small", 481: "Call Does Not Exist", 486: "Busy Here", 488: "Not Acceptable Here",
    491: "Request Pending",
}  # fmt: skip
_REQUEST = """\
{method} {uri} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch};rport
Max-Forwards: 70
From: {local}
To: {remote}
Call-ID: [call_id]
CSeq: {cseq} {method}
"""
_RESPONSE = """\
SIP/2.0 {status} {reason}
Via:[$via{number}]
From:[$from{number}]
To:[$to{number}]{tag}
Call-ID: [call_id]
CSeq:[$cseq{number}]
"""
_DESCRIPTION = """\
v=0
o=- 7 @version@ IN IP[media_ip_type] [media_ip]
s=-
c=IN IP[media_ip_type] {address}
t=0 0
"""


def sdp(*streams: str, address: str = "[media_ip]") -> str:
    """Give a session description with these media lines, as `audio` and `video` make them."""
    return _DESCRIPTION.format(address=address) + "\n".join(streams) + "\n"


def audio(direction: str = "", codec: str = "0 PCMU/8000") -> str:
    """Give an audio stream with one codec: payload type and `a=rtpmap` value."""
    return _stream("audio", "[media_port]", direction, codec)


def video(port: str = "[media_port+2]") -> str:
    """Give a video stream; port 0 refuses one, or ends it."""
    return _stream("video", port, "", "31 H261/90000")


def _stream(kind: str, port: str, direction: str, codec: str) -> str:
    lines = [f"m={kind} {port} RTP/AVP {codec.split()[0]}", f"a=rtpmap:{codec}"]
    return "\n".join([*lines, f"a={direction}"] if direction else lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a message must have, or must not.

    Args:
        pattern: a POSIX regular expression.
        place: `body`, `message`, or the name of a header field.
        is_wanted: whether it must match.
    """

    pattern: str
    place: str
    is_wanted: bool


def has(pattern: str, place: str = "body") -> Check:
    """Demand that a place of a message matches."""
    return Check(pattern=pattern, place=place, is_wanted=True)


def lacks(pattern: str, place: str = "body") -> Check:
    """Demand that a place of a message does not match."""
    return Check(pattern=pattern, place=place, is_wanted=False)


class Script:
    """One telephone in one call. See `Caller` and `Callee`.

    Args:
        name: of the scenario; a callee's is the user part that is called.
        contact: user part of its Contact, `""` for the name.
    """

    _local: str
    _remote = "[$remote]"

    def __init__(self, name: str, contact: str = "") -> None:
        self.name = name
        self.contact = contact or name
        self._steps: list[str] = []
        self._variables: set[str] = set()
        self._cseq = self._version = 0
        self._asked: list[str] = []
        self._methods: list[str] = []
        self._body = ""
        #: Request URI of the first INVITE.
        self._called = ""

    def xml(self) -> str:
        """Give the scenario as SIPp reads it."""
        head = '<?xml version="1.0" encoding="UTF-8"?>\n'
        # SIPp refuses a scenario with a variable that nothing refers to.
        uses = f'<Reference variables="{",".join(sorted(self._variables))}"/>\n' if self._variables else ""
        return f'{head}<scenario name="{self.name}">\n{"".join(self._steps)}{uses}</scenario>\n'

    # --- requests -------------------------------------------------------------------------------------------

    def ask(self, method: str, body: str = "", *fields: str, uri: str = "") -> None:
        """Send a request: it is repeated until something comes."""
        self._cseq += 1
        self._asked.append(method)
        self._called = uri or self._called
        remote = f"<{uri}>" if uri else self._remote
        self._send_request(method, self._cseq, f"{self._cseq}", body, fields, uri or "[next_url]", remote)

    def get(self, status: int, *checks: Check, cseq: int = 0) -> None:
        """Wait for a response to the last request, or to the one with that CSeq number; 100 may come before it."""
        attributes = f'response_txn="t{cseq or self._cseq}"'
        if status >= 180:
            self._take('response="100" optional="true"', attributes, ())
        actions = []
        if status > 100 and not self._is_called:
            actions = [self._assign("remote", "To"), self._assign("tag,remote_tag", "To", "tag=([^;]+)")]
        if 100 < status < 200:
            actions.append(self._assign("rseq", "RSeq"))
        makes_dialog = self._asked[(cseq or self._cseq) - 1] in _DIALOG_MAKERS
        route = ' rrs="true"' if makes_dialog and (status == 200 or (checks and status < 200)) else ""
        self._take(f'response="{status}"', attributes + route, checks, actions)

    def get_if_any(self, status: int, *checks: Check) -> None:
        """Take a response to the last request if it comes."""
        self._take(f'response="{status}" optional="true"', f'response_txn="t{self._cseq}"', checks)

    def be_challenged(self) -> None:
        """Take the 407 to the last request; `CREDENTIALS` answers it."""
        transaction = f'response_txn="t{self._cseq}"'
        self._take('response="100" optional="true"', transaction, ())
        self._take('response="407" auth="true"', transaction, (), [self._assign("remote", "To")])

    def acknowledge(self, body: str = "", *, cseq: int = 0) -> None:
        """Send the ACK of a 2xx: to the last request, or the one with that CSeq number."""
        number = cseq or self._cseq
        self._send_request("ACK", number, f"{number}-ack", body, (), "[next_url]", self._remote)

    def acknowledge_progress(self, body: str = "") -> None:
        """Send the PRACK of the reliable response that has just come to an INVITE, get its 200."""
        invite = self._cseq
        self.ask("PRACK", body, f"RAck:[$rseq] {invite} INVITE")
        self.get(200)

    def acknowledge_refusal(self, *, cseq: int = 0) -> None:
        """Send the ACK of a refusal, in the INVITE's own transaction."""
        number = cseq or self._cseq
        uri = self._called if number == 1 and self._called else "[next_url]"
        self._send_request("ACK", number, f"{number}", "", (), uri, self._remote)

    def reinvite(self, body: str = "", *checks: Check, answer: str = "", fields: tuple[str, ...] = ()) -> None:
        """Send a re-INVITE, get its 200, send the ACK."""
        self.ask("INVITE", body, *fields)
        self.get(200, *checks)
        self.acknowledge(answer)

    def hang_up(self) -> None:
        """Send BYE, get its 200."""
        self.ask("BYE")
        self.get(200)

    # --- requests of the other side -------------------------------------------------------------------------

    def expect(self, method: str, *checks: Check) -> int:
        """Wait for a request; give a number for `answer`."""
        self._methods.append(method)
        number = len(self._methods)
        actions = [
            self._assign(f"{name.lower()}{number}", name) for name in ("Via", "From", "To", "CSeq") if method != "ACK"
        ]
        if self._is_called and number == 1:
            actions += [self._assign("remote", "From"), self._assign("local", "To")]
        self._take(f'request="{method}"', 'rrs="true"' if method in _DIALOG_MAKERS else "", checks, actions)
        return number

    def answer(self, status: int = 200, body: str = "", *fields: str, to: int = 0, fork: str = "") -> None:
        """Send a response to the last request, or the one with that number; as another phone, which `fork` names."""
        number = to or len(self._methods)
        tag = f";tag=[pid]-[call_number]{fork}" if self._is_called and number == 1 and status > 100 else ""
        head = _RESPONSE.format(status=status, reason=_REASONS[status], number=number, tag=tag)
        method = self._methods[number - 1]
        if method in _DIALOG_MAKERS:
            head += self._capabilities(fields)
        self._send(head, body, fields, 'retrans="500"' if method == "INVITE" and status >= 200 else "")

    def take(
        self, body: str = "", *checks: Check, answer: tuple[Check, ...] = (), fields: tuple[str, ...] = ()
    ) -> None:
        """Take a re-INVITE: answer it with 200, wait for the ACK."""
        self.expect("INVITE", *checks)
        self.answer(200, body, *fields)
        self.expect("ACK", *answer)

    def take_update(self, body: str, *checks: Check) -> None:
        """Take an UPDATE with an offer, answer it with 200."""
        self.expect("UPDATE", *checks)
        self.answer(200, body)

    def end(self, *checks: Check) -> None:
        """Wait for BYE, answer it."""
        self.expect("BYE", *checks)
        self.answer()

    def refer(self, target: str) -> None:
        """Ask that the other side talk with somebody else, and get the 202."""
        self.ask("REFER", "", f"Refer-To: {target}")
        self.get(202)

    def hear(self, *outcomes: str) -> None:
        """Take a NOTIFY for each of these status lines of what was asked for; the last one ends the subscription."""
        for outcome in outcomes:
            state = "terminated" if outcome is outcomes[-1] else "active"
            self.expect("NOTIFY", has(f"^SIP/2.0 {outcome}"), has(state, "Subscription-State"), has("refer", "Event"))
            self.answer()

    def tell(self, outcome: str, state: str) -> None:
        """Send a NOTIFY with a status line of what was asked for, get its 200."""
        fields = ("Event: refer", f"Subscription-State: {state}", "Content-Type: message/sipfrag;version=2.0")
        self.ask("NOTIFY", f"SIP/2.0 {outcome}\n", *fields)
        self.get(200)

    def note(self, text: str) -> None:
        """Write a line for `Sipp.notes`."""
        self._steps.append(f"<nop><action><log message={quoteattr(text)}/></action></nop>\n")

    def pause(self, milliseconds: int) -> None:
        """Do nothing for a while."""
        self._steps.append(f'<pause milliseconds="{milliseconds}"/>\n')

    # --- for Caller and Callee ------------------------------------------------------------------------------

    _is_called = False

    def _send_request(
        self, method: str, cseq: int, branch: str, body: str, fields: tuple[str, ...], uri: str, remote: str
    ) -> None:
        head = _REQUEST.format(
            method=method,
            uri=uri,
            branch=f"z9hG4bK-[pid]-[call_number]-{branch}",
            local=self._local,
            remote=remote,
            cseq=cseq,
        )
        head += "[routes]\n" if uri == "[next_url]" else ""
        head += self._capabilities(fields) if method in _DIALOG_MAKERS else ""
        attributes = f'ack_txn="t{cseq}"' if method == "ACK" else f'start_txn="t{cseq}" retrans="500"'
        self._send(head, body, fields, attributes)

    def _capabilities(self, fields: tuple[str, ...]) -> str:
        given = {field.partition(":")[0] for field in fields}
        mine = (f"Contact: <sip:{self.contact}@[local_ip]:[local_port];transport=[transport]>", *_CAPABILITIES)
        return "".join(f"{line}\n" for line in mine if line.partition(":")[0] not in given)

    def _send(self, head: str, body: str, fields: tuple[str, ...], attributes: str) -> None:
        lines = "".join(f"{field}\n" for field in fields)
        if body and not any(field.startswith("Content-Type:") for field in fields):
            lines += f"Content-Type: {_BODY_TYPE}\n"
        if body and body != self._body:
            self._body = body
            self._version += 1
        text = body.replace("@version@", str(self._version))
        length = "[len]" if body else "0"
        self._steps.append(f"<send {attributes}><![CDATA[\n{head}{lines}Content-Length: {length}\n\n{text}]]></send>\n")

    def _assign(self, variables: str, header: str, pattern: str = ".*") -> str:
        self._variables.update(variables.split(","))
        return f'<ereg regexp="{pattern}" search_in="hdr" header="{header}:" assign_to="{variables}"/>'

    def _take(self, what: str, attributes: str, checks: tuple[Check, ...], actions: list[str] | None = None) -> None:
        actions = actions or []
        for check in checks:
            variable = f"check{len(self._variables)}"
            self._variables.add(variable)
            place = {"body": "body", "message": "msg"}.get(check.place)
            where = f'search_in="{place}"' if place else f'search_in="hdr" header="{check.place}:"'
            demand = "check_it" if check.is_wanted else "check_it_inverse"
            actions.append(f'<ereg regexp={quoteattr(check.pattern)} {where} {demand}="true" assign_to="{variable}"/>')
        content = f"<action>{''.join(actions)}</action>" if actions else ""
        self._steps.append(f"<recv {what} {attributes}>{content}</recv>\n")


class Caller(Script):
    """A telephone that calls."""

    _local = "<sip:[caller]@[remote_ip]>;tag=[pid]-[call_number]"

    def invite(self, body: str = "", *fields: str) -> None:
        """Send the first INVITE."""
        self.ask("INVITE", body, *fields, uri=CALLED)

    def prove(self, body: str, *fields: str) -> None:
        """Be challenged for the INVITE that was sent last, and send it again with credentials."""
        self.be_challenged()
        self.acknowledge_refusal()
        self.invite(body, CREDENTIALS, *fields)

    def call(self, body: str, *checks: Check, fields: tuple[str, ...] = ()) -> None:
        """Call and be answered."""
        self.invite(body, *fields)
        self.get_if_any(180)
        self.get(200, *checks)
        self.acknowledge()


class Callee(Script):
    """A telephone that is called."""

    _local = "[$local];tag=[pid]-[call_number]"
    _is_called = True

    def pick_up(self, body: str, *checks: Check, answer: tuple[Check, ...] = (), fields: tuple[str, ...] = ()) -> None:
        """Wait for a call, ring, answer it, wait for the ACK."""
        self.expect("INVITE", *checks)
        self.answer(180)
        self.answer(200, body, *fields)
        self.expect("ACK", *answer)
