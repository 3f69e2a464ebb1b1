"""What the legs of a call are told about each other's identity (RFC 3323, RFC 3325, RFC 7044, RFC 7989).

A `Side` stands for one leg, and gives what that leg gets of a message of another one: the fields that cross anyhow, and
of those about identity what the policy and the sender's wish for privacy let through. Sides that talk to each other
are kept in one `Identities`, where the sender of a message is found by its Call-ID.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.b2bua.headers import IDENTITY, crossing
from sipd.b2bua.histories import HISTORY, Place, copy_history, copy_history_for_strangers, extend_history
from sipd.b2bua.policing import apply_headers, identity_policy, values_of
from sipd.b2bua.trust import IdentityForm, IdentityPolicy
from sipd.errors import ParseError, RequestRefusedError
from sipd.interfaces import Attempt, Entropy, LegPolicy
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Headers
from sipd.sip.identity import ANONYMOUS, NIL_UUID, Privacy, RemoteParty, SessionId, identities_of, make_uuid
from sipd.sip.message import Request, Response
from sipd.sip.uri import SipUri, TelUri, parse_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sipd.policies import AddressPolicy
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
        policies: of the legs of users of ours, by their names.

    Attributes:
        caller: the side of who calls.
        callees: those of who was tried, in order.
        is_marked: whether anybody has said anything about identity so far.
        has_policies: whether there is a side with a policy of its own.
    """

    __slots__ = ("_policies", "_sides", "callees", "caller", "entropy", "has_policies", "is_marked", "policy")

    def __init__(
        self,
        policy: IdentityPolicy,
        entropy: Entropy,
        request: Request,
        host: str,
        policies: Mapping[str, LegPolicy] | None = None,
    ) -> None:
        self.policy = policy
        self.entropy = entropy
        self.has_policies = False
        self._policies = policies
        self.is_marked = request.headers.has_any(IDENTITY)
        self.caller = Side(self, "calling", is_trusted=policy.trusts(host), host=host)
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
        wanted = attempt.policy or self.policy_of(attempt.user)
        if wanted is not None:
            side.use(wanted)
        return side

    def policy_of(self, user: str | None) -> LegPolicy | None:
        """Give what is wanted of the legs of a user of ours."""
        return self._policies.get(user) if self._policies is not None and user is not None else None

    def newcomer(self, request: Request, host: str, user: str | None) -> Side:
        """Give the side of who takes the place of another one by a call of its own."""
        side = Side(self, "calling", is_trusted=self.policy.trusts(host), host=host)
        side.user = user
        wanted = self.policy_of(user)
        if wanted is not None:
            side.use(wanted)
        if request.headers.has_any(IDENTITY):
            self.is_marked = True
            side.hear(request)
        return side

    def adopt(self, side: Side) -> Side:
        """Give the side of who comes from another call: it is who it was there."""
        adopted = Side(self, side._party, is_trusted=side.is_trusted, host=side.host)
        if side.policy is not None:
            adopted.use(side.policy)
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
        attempt: what is tried, on the side of a callee; ``None`` on that of a caller.
        number: of the attempt.
        status: why it failed, or 0.
        uuid: of its end point (RFC 7989).
        host: where a caller calls from; empty of a callee.
        policy: what is wanted of the leg, or ``None``.
    """

    __slots__ = (
        "_addresses",
        "_call",
        "_identity",
        "_known",
        "_other",
        "_party",
        "_privacy",
        "attempt",
        "host",
        "is_trusted",
        "number",
        "policy",
        "session",
        "status",
        "user",
        "uuid",
    )

    def __init__(self, call: Identities, party: str, *, is_trusted: bool, host: str = "") -> None:
        self.is_trusted = is_trusted
        self.host = host
        self.policy: LegPolicy | None = None
        self._identity = call.policy
        self._addresses: AddressPolicy | None = None
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
        if self._call.has_policies:
            self.cross(message, fields)
        else:
            self.tell(message, fields)
        return fields

    def use(self, policy: LegPolicy) -> None:
        """Let that be what is wanted of the leg."""
        self.policy = policy
        self._call.has_policies = True
        default = self._call.policy
        self._identity = identity_policy(policy, default)
        if policy.trusted is not None:
            self.is_trusted = policy.trusted
        addresses = policy.addresses
        self._addresses = addresses.at(default.domains[0]) if addresses is not None and default.domains else addresses

    def cross(self, message: Request | Response, fields: Headers) -> None:
        """Do to the fields of a message for this side what the policies of both have, and what is told of identity.

        Arguments as for `tell`.
        """
        if not self._call.has_policies:
            self.tell(message, fields)
            return
        sender, policy = self._call.sender(message), self.policy
        wanted = None if sender.policy is None else sender.policy.heard_headers
        if wanted is not None:
            apply_headers(wanted, fields, message, sender.values(message) if wanted.needs_values else {})
        self.tell(message, fields)
        if policy is None:
            return
        if policy.statuses is not None:
            policy.statuses.shape(fields)
        if policy.headers is not None:
            apply_headers(
                policy.headers, fields, message, sender.values(message) if policy.headers.needs_values else {}
            )

    def values(self, message: Request | Response) -> dict[str, str]:
        """Give what the placeholders of rules stand for in a message of this side."""
        flow = None if self.session is None else self.session.flow
        return values_of(message, self.user, self.host if flow is None else flow.host)

    def write(self, address: NameAddr) -> NameAddr:
        """Give an address of who calls as this side is to get it."""
        attempt = self.attempt
        if attempt is not None and (attempt.caller is not None or attempt.caller_name is not None):
            address = _as_caller(address, attempt)
        return address if self._addresses is None else self._addresses.write(address)

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
            copy_history_for_strangers(fields, message.headers, privacy, self._identity.history)
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
        is_open = self._identity.tells_strangers and not privacy.asks_for("id", "user")
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
        if (self.is_trusted and not self._hides_from) or not (call.is_marked or request.headers.has_any(IDENTITY)):
            return self.write(address)
        sender = call.sender(request)
        sender._known = sender._asserted(request) or sender._known
        sender.privacy(request)
        return self.name_of(sender, address)

    def name_of(self, sender: Side, address: NameAddr) -> NameAddr:
        """Give what another side with that address is called towards this one.

        Raises:
            RequestRefusedError: as `from_`.
        """
        privacy, policy = sender._privacy, self._identity
        if self.is_trusted and self._hides_from and privacy.asks_for("id", "user"):
            return ANONYMOUS
        if self.is_trusted or not privacy.values:
            return self.write(address)
        if privacy.is_critical and not privacy.is_refused:
            missing = privacy.without(self._kept_here()).without(frozenset(("critical",)))
            if missing.values:
                raise RequestRefusedError(f"{_NOT_POSSIBLE}: {missing}", status=500)
        if not policy.anonymises:
            return self.write(address)
        if privacy.asks_for("user"):
            return ANONYMOUS
        # What is hidden in P-Asserted-Identity must not stand in From.
        is_told = any(address.uri == identity.uri for identity in sender._known)
        return ANONYMOUS if privacy.asks_for("id") and is_told else self.write(address)

    @property
    def _hides_from(self) -> bool:
        return self._addresses is not None and self._addresses.hides_from

    def privacy(self, message: Request | Response) -> Privacy:
        """Give what this side asks for in a message of its own: what it said last, if that says nothing."""
        said = Privacy.of(message.headers)
        if said is not None:
            self._privacy = said
        return self._privacy

    def _kept_here(self) -> frozenset[str]:
        """Give the kinds of privacy that this server provides towards this side."""
        policy = self._identity
        kinds = {"id", "header", "history"}
        if policy.anonymises:
            kinds.add("user")
        if policy.relays_media:
            kinds.add("session")
        return frozenset(kinds)

    # --- who it is --------------------------------------------------------------------------------------------

    def proved(self, message: Request | Response) -> str:
        """Give the address that a message of this side proves it to have; empty if it proves none."""
        asserted = self._asserted(message)
        return str(asserted[0].uri) if asserted else ""

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
        privacy, policy = sender._privacy, self._identity
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
        form, privacy = self._identity.form, sender._privacy
        for known in asserted:
            identity = self.write(known)
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


def _as_caller(address: NameAddr, attempt: Attempt) -> NameAddr:
    """Give a caller's address with the number and the name that an attempt says; nobody's stays nobody's."""
    uri, name = address.uri, attempt.caller_name
    if uri == ANONYMOUS.uri:
        return address
    if attempt.caller is not None and isinstance(uri, SipUri):
        uri = uri.replace(user=attempt.caller, password=None)
    elif attempt.caller is not None and isinstance(uri, TelUri):
        uri = parse_uri(f"tel:{attempt.caller}")
    return NameAddr(uri, address.display_name if name is None else name, address.parameters)
