"""What the legs of a call are told about each other's identity (RFC 3323, RFC 3325, RFC 7044, RFC 7989).

A `Side` stands for one leg, and gives what that leg gets of a message of another one: the fields that cross anyhow, and
of those about identity what the policy and the sender's wish for privacy let through. Sides that talk to each other
are kept in one `Identities`, where the sender of a message is found by its Call-ID.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.b2bua.headers import IDENTITY, crossing
from sipd.b2bua.histories import HISTORY, Place, copy_history, copy_history_for_strangers, extend_history
from sipd.b2bua.trust import IdentityForm, IdentityPolicy
from sipd.errors import ParseError, RequestRefusedError
from sipd.interfaces import Attempt, Entropy
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Headers
from sipd.sip.identity import ANONYMOUS, NIL_UUID, Privacy, RemoteParty, SessionId, identities_of, make_uuid
from sipd.sip.message import Request, Response
from sipd.sip.uri import SipUri

if TYPE_CHECKING:
    from sipd.ua.session import Session

_ASSERTED, _PREFERRED, _REMOTE_PARTY = "P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"
#: What says who somebody is without need (RFC 3323 section 5.3), or proves it (RFC 8224).
_TELLING = ("Subject", "Call-Info", "Organization", "Reply-To", "Referred-By", "Identity", "Identity-Info",
            "Geolocation")  # fmt: skip
_NO_PRIVACY = Privacy()
#: What a caller is told whose wish for privacy is critical and cannot be met; what cannot be done follows.
_NOT_POSSIBLE = "Privacy Not Possible"


class Identities:
    """The sides of one call, or of one message and those that it goes to.

    Args:
        policy: who is trusted, and what others are told.
        entropy: for UUIDs.
        request: the INVITE, or the message.
        host: the numeric address that it came from.

    Attributes:
        caller: the side of who calls.
        callees: those of who was tried, in order.
        is_marked: whether anybody has said anything about identity so far.
    """

    __slots__ = ("_sides", "callees", "caller", "entropy", "is_marked", "policy")

    def __init__(self, policy: IdentityPolicy, entropy: Entropy, request: Request, host: str) -> None:
        self.policy = policy
        self.entropy = entropy
        self.is_marked = request.headers.has_any(IDENTITY)
        self.caller = Side(self, "calling", is_trusted=policy.trusts(host))
        if self.is_marked:
            self.caller.hear(request)
        self._sides = {request.call_id: self.caller}
        self.callees: list[Side] = []

    def side_of(self, attempt: Attempt | None) -> Side:
        """Give the side of who is tried, or that of the caller."""
        if attempt is None:
            return self.caller
        uri = attempt.next_hop or attempt.uri
        host = attempt.source.host if attempt.source is not None else uri.host if isinstance(uri, SipUri) else ""
        side = Side(self, "called", is_trusted=attempt.trusted or self.policy.trusts(host))
        self.callees.append(side)
        side.attempt, side.number, side.user = attempt, len(self.callees), attempt.user
        return side

    def newcomer(self, request: Request, host: str, user: str | None) -> Side:
        """Give the side of who takes the place of another one by a call of its own."""
        side = Side(self, "calling", is_trusted=self.policy.trusts(host))
        side.user = user
        if request.headers.has_any(IDENTITY):
            self.is_marked = True
            side.hear(request)
        return side

    def adopt(self, side: Side) -> Side:
        """Give the side of who comes from another call: it is who it was there."""
        adopted = Side(self, side._party, is_trusted=side.is_trusted)
        adopted.user, adopted.uuid, adopted.attempt, adopted.number = side.user, side.uuid, side.attempt, side.number
        adopted._privacy, adopted._known = side._privacy, side._known
        self.is_marked = self.is_marked or side._call.is_marked
        return adopted

    def hold(self, side: Side, call_id: str, session: Session | None = None) -> None:
        """Know that messages with that Call-ID are of that side, and what session they belong to."""
        side.session = session
        self._sides[call_id] = side
        if side.uuid != NIL_UUID and session is not None:
            session.name(side.session_id())

    def session_id(self) -> str:
        """Give what the call is called, as the caller sees it; empty if nobody has given it a name (RFC 7989)."""
        caller, callee = self.caller.uuid, self.caller.other_uuid
        return f"{caller};remote={callee}" if (caller, callee) != (NIL_UUID, NIL_UUID) else ""

    def sender(self, message: Request | Response) -> Side:
        """Give whose message it is; of a stranger, if nobody knows."""
        return self._sides.get(message.call_id) or Side(self, "", is_trusted=False)


class Side:
    """One leg, as far as identity goes.

    Attributes:
        user: the name of the user of ours that has proved to be on this side, or has registered the contact.
        session: its session, once there is one.
        attempt: what is tried, on the side of a callee; `None` on that of a caller.
        number: of the attempt.
        status: why it failed, or 0.
        uuid: of its end point (RFC 7989).
    """

    __slots__ = (
        "_call",
        "_known",
        "_other",
        "_party",
        "_privacy",
        "attempt",
        "is_trusted",
        "number",
        "session",
        "status",
        "user",
        "uuid",
    )

    def __init__(self, call: Identities, party: str, *, is_trusted: bool) -> None:
        self.is_trusted = is_trusted
        self.user: str | None = None
        self.session: Session | None = None
        self.attempt: Attempt | None = None
        self.number = 0
        self.status = 0
        self.uuid = NIL_UUID
        self._call = call
        self._party = party
        self._privacy = _NO_PRIVACY
        #: Who it is, as was known when it last said so.
        self._known: tuple[NameAddr, ...] = ()
        #: Whose message it got last.
        self._other: Side | None = None

    def take(self, message: Request | Response) -> Headers:
        """Give the header fields that this side gets of a message of another one, without those of its body."""
        fields = crossing(message.headers)
        self.tell(message, fields)
        return fields

    def tell(self, message: Request | Response, fields: Headers) -> None:
        """Put into the fields of a message for this side what it is told of who sends it, and take out what it is not.

        Args:
            message: of another side.
            fields: what this side gets of it.
        """
        call = self._call
        if not (self.is_trusted or call.is_marked) and not message.headers.has_any(IDENTITY):
            return
        call.is_marked = True
        sender = self._other = call.sender(message)
        asserted = sender._asserted(message)
        privacy = sender.privacy(message)
        if asserted:
            sender._known = asserted
        if isinstance(message, Request) and message.method == "ACK":
            asserted = ()  # it cannot be refused, so nothing is claimed in it (RFC 5876 section 4)
        self._introduce(sender, asserted, fields, is_asked="Privacy" in message.headers)
        if sender.is_trusted and self.is_trusted:
            copy_history(fields, message.headers)
        elif sender.is_trusted:
            copy_history_for_strangers(fields, message.headers, privacy, call.policy.history)
        if self.is_trusted and isinstance(message, Request) and message.to.tag is None:
            self._add_history(fields, message)
        sender.hear(message)
        self._name(sender, fields)

    def meet(self, other: Side) -> Headers:
        """Give what this side is told of another one that it talks with from now on, where that asks for nothing."""
        self._other, other._other = other, self
        fields = Headers()
        if self.is_trusted or self._call.is_marked:
            if not other._known and other.user is not None:
                dialog = other.session.dialog if other.session is not None else None
                address = dialog.remote.uri if dialog is not None else ANONYMOUS.uri
                other._known = self._call.policy.assert_user(other.user, address, ())
            self._introduce(other, other._known, fields, is_asked=False)
            self._name(other, fields)
        return fields

    def hears_of(self, sender: Side) -> bool:
        """Say whether this side is told who another one is."""
        privacy = sender._privacy
        is_open = self._call.policy.tells_strangers and not privacy.asks_for("id", "user")
        return self.is_trusted or privacy.is_refused or is_open

    def is_news(self, message: Request | Response) -> bool:
        """Say whether a message of this side says that somebody else is there now (RFC 4916)."""
        if not self.is_trusted or not message.headers.has_any(IDENTITY):
            return False
        asserted = self._asserted(message)
        if not asserted or asserted == self._known:
            return False
        self._known = asserted
        self.privacy(message)
        return True

    def from_(self, request: Request) -> NameAddr:
        """Give From, without a tag, of the request that this side gets for one of another side.

        Raises:
            RequestRefusedError: 500, the sender's wish for privacy is critical and cannot be met (RFC 3323 section 5).
        """
        address = request.from_.without_parameters()
        call = self._call
        if self.is_trusted or not (call.is_marked or request.headers.has_any(IDENTITY)):
            return address
        sender = call.sender(request)
        sender._known = sender._asserted(request) or sender._known
        sender.privacy(request)
        return self.name_of(sender, address)

    def name_of(self, sender: Side, address: NameAddr) -> NameAddr:
        """Give what another side with that address is called towards this one.

        Raises:
            RequestRefusedError: as `from_`.
        """
        privacy, policy = sender._privacy, self._call.policy
        if self.is_trusted or not privacy.values:
            return address
        if privacy.is_critical and not privacy.is_refused:
            missing = privacy.without(self._kept_here()).without(frozenset(("critical",)))
            if missing.values:
                raise RequestRefusedError(f"{_NOT_POSSIBLE}: {missing}", status=500)
        if not policy.anonymises:
            return address
        if privacy.asks_for("user"):
            return ANONYMOUS
        # What is hidden in P-Asserted-Identity must not stand in From.
        is_told = any(address.uri == identity.uri for identity in sender._known)
        return ANONYMOUS if privacy.asks_for("id") and is_told else address

    def privacy(self, message: Request | Response) -> Privacy:
        """Give what this side asks for in a message of its own: what it said last, if that says nothing."""
        said = Privacy.of(message.headers)
        if said is not None:
            self._privacy = said
        return self._privacy

    def _kept_here(self) -> frozenset[str]:
        """Give the kinds of privacy that this server provides towards this side."""
        policy = self._call.policy
        kinds = {"id", "header", "history"}
        if policy.anonymises:
            kinds.add("user")
        if policy.relays_media:
            kinds.add("session")
        return frozenset(kinds)

    # --- who it is --------------------------------------------------------------------------------------------

    def _asserted(self, message: Request | Response) -> tuple[NameAddr, ...]:
        """Give who this side is, as its message and what is known of it prove (RFC 3325 section 5)."""
        headers = message.headers
        try:
            if self.is_trusted:
                found = identities_of(headers, _ASSERTED) or self._remote_party(headers)
                if found:
                    return found
            if self.user is None:
                return ()
            preferred = identities_of(headers, _PREFERRED)
        except ParseError:
            preferred = ()
        if self.user is None:
            return ()
        address = message.from_ if isinstance(message, Request) else message.to
        return self._call.policy.assert_user(self.user, address.uri, preferred)

    def _remote_party(self, headers: Headers) -> tuple[NameAddr, ...]:
        """Give what a trusted peer says in the older form of itself, or of its user."""
        for text in headers.values(_REMOTE_PARTY):
            value = RemoteParty.parse(text)
            if value.is_screened and value.party in ("", self._party):
                if value.is_private and "Privacy" not in headers:
                    self._privacy = Privacy(("id",))
                return (value.identity,)
        return ()

    def _introduce(self, sender: Side, asserted: tuple[NameAddr, ...], fields: Headers, *, is_asked: bool) -> None:
        """Put in who the sender is, as far as this side is told, and what is left of its wish for privacy."""
        privacy, policy = sender._privacy, self._call.policy
        if self.is_trusted:
            self._assert(sender, asserted, fields)
            if privacy.values and (asserted or is_asked):
                fields.add("Privacy", str(privacy))
            return
        if self.hears_of(sender):
            self._assert(sender, asserted, fields)
        if policy.anonymises and privacy.asks_for("user"):
            for name in _TELLING:
                fields.remove(name)
        left = privacy.without(self._kept_here())
        if left.values and is_asked:
            fields.add("Privacy", str(left))

    def _assert(self, sender: Side, asserted: tuple[NameAddr, ...], fields: Headers) -> None:
        form, privacy = self._call.policy.form, sender._privacy
        for identity in asserted:
            if form is not IdentityForm.RPID:
                fields.add(_ASSERTED, str(identity))
            if form is not IdentityForm.PAI:
                value = RemoteParty.of(identity, sender._party, is_private=privacy.asks_for("id", "user"))
                fields.add(_REMOTE_PARTY, str(value))

    def _add_history(self, fields: Headers, request: Request) -> None:
        """Say where the call goes, to who is trusted, if anybody wants to know of it."""
        if self.attempt is None or not (HISTORY in fields or "histinfo" in request.headers.tokens("Supported")):
            return
        policy = self._call.policy
        places = []
        for side in (*[one for one in self._call.callees if one.status], self):
            attempt = side.attempt
            if attempt is not None and isinstance(attempt.uri, SipUri):
                user = None if attempt.user is None else policy.address_of(attempt.user, request.uri)
                places.append(Place(uri=attempt.uri, number=side.number, user=user, status=side.status))
        if places and places[-1].status == 0:
            extend_history(fields, request, places)

    # --- what the call is called (RFC 7989 section 7) ---------------------------------------------------------

    @property
    def other_uuid(self) -> str:
        """The UUID of who talks with this side, as far as it is known."""
        return self._other.uuid if self._other is not None else NIL_UUID

    def hear(self, message: Request | Response) -> None:
        """Learn the UUID of this side from a message of its own; one that nobody can read is none."""
        text = message.headers.get("Session-ID")
        if text is not None:
            try:
                said = SessionId.parse(text).local
            except ParseError:
                return
            if said != NIL_UUID:
                self.uuid = said

    def session_id(self) -> tuple[tuple[str, str], ...]:
        """Give the Session-ID of a message that this server makes for this side; nothing if nobody has one."""
        other = self.other_uuid
        if self.uuid == other == NIL_UUID:
            return ()
        return (("Session-ID", f"{other};remote={self.uuid}"),)

    def _name(self, sender: Side, fields: Headers) -> None:
        """Put the UUIDs of both ends in, once one of them has one; who has none gets one from here."""
        if sender.uuid == self.uuid == NIL_UUID:
            return
        if sender.uuid == NIL_UUID:
            sender.uuid = make_uuid(self._call.entropy(16))
        sender._other = self
        fields.extend(self.session_id())
        for side in (self, sender):
            if side.session is not None:
                side.session.name(side.session_id())
