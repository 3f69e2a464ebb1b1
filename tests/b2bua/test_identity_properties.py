"""What holds of identity whatever somebody sends, and whatever the policy is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.b2bua.headers import IDENTITY
from sipd.b2bua.identity import Identities
from sipd.b2bua.trust import HistoryForStrangers, IdentityForm, IdentityPolicy
from sipd.errors import RequestRefusedError
from sipd.interfaces import Attempt
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Headers
from sipd.sip.identity import ANONYMOUS, NIL_UUID, Privacy, SessionId
from sipd.sip.message import Request
from sipd.sip.uri import SipUri, parse_uri
from sipd.testing import builders
from tests.b2bua.trusting import GATEWAY, STRANGER, TRUST

VALUES = (
    "<sip:boss@carrier.example>", '"B" <sip:boss@carrier.example>;party=calling;screen=yes;privacy=full', "<tel:+1>",
    "<sip:alice@example.com>", "<sip:x@h>, <tel:+2>", "<sip:x@h?Reason=SIP%3Bcause%3D302&Privacy=history>;index=1",
    "<sip:x@h>;index=1.1;mp=1", "<sip:x@h>;reason=no-answer", "id", "user;critical", "none", "header;session", "x;id",
    "a" * 32, f"{'b' * 32};remote={'a' * 32}", "", "<", '"', ";", "sip:x", "<sip:x@h?Privacy=%22>;index=1", "\x00",
)  # fmt: skip
FIELDS = st.lists(st.tuples(st.sampled_from([*sorted(IDENTITY), "supported"]), st.sampled_from(VALUES)), max_size=6)
POLICIES = st.builds(
    IdentityPolicy,
    trust=st.just(TRUST),
    domains=st.sampled_from([(), ("example.com",)]),
    owned=st.just({"alice": (parse_uri("tel:+1"),)}),
    form=st.sampled_from(IdentityForm),
    anonymises=st.booleans(),
    tells_strangers=st.booleans(),
    history=st.sampled_from(HistoryForStrangers),
    relays_media=st.booleans(),
)
CLAIMS = ("P-Asserted-Identity", "Remote-Party-ID", "Diversion", "History-Info")


class PropertyTests(SynchronousTestCase):
    """A message of somebody, on its way to somebody else."""

    @given(
        policy=POLICIES,
        fields=FIELDS,
        source=st.sampled_from([GATEWAY, STRANGER]),
        target=st.sampled_from([GATEWAY, STRANGER]),
        user=st.sampled_from([None, "alice"]),
        is_answer=st.booleans(),
    )
    @settings(deadline=None, max_examples=400)
    def test_nobody_is_told_too_much(
        self, policy: IdentityPolicy, fields: list[tuple[str, str]], source: str, target: str, user: str | None, *,
        is_answer: bool,
    ) -> None:  # fmt: skip
        """Nobody who is not trusted is believed, or told what is to be hidden; and nothing breaks."""
        request = Request("INVITE", "sip:bob@example.com", builders.invite(via=None, headers=fields).headers)
        identities = Identities(policy, lambda count: bytes(range(count)), request, source)
        identities.caller.user = user
        attempt = Attempt(uri=SipUri(target, "bob"), label="bob")
        callee = identities.side_of(attempt)
        told = callee.take(request)
        try:
            from_: NameAddr | None = callee.from_(request)
        except RequestRefusedError as error:
            self.assertEqual(error.status, 500)
            from_ = None
        sender_is_trusted, receiver_is_trusted = source == GATEWAY, target == GATEWAY
        if is_answer:
            # The same from the other side: the callee says it of itself.
            response = request.response(200, headers=Headers(fields), to_tag="b")
            identities.hold(callee, "other")
            response.headers.set("Call-ID", "other")
            told = identities.caller.take(response)
            sender_is_trusted, receiver_is_trusted, user = receiver_is_trusted, sender_is_trusted, None
        said = request.headers
        for name in ("P-Preferred-Identity", "Supported"):
            self.assertNotIn(name, told)
        if not sender_is_trusted:
            self.assertEqual(told.count("Diversion"), 0)
            self.assertNotIn("carrier.example", "".join(value for _, value in told.items()))
            if user is None:
                self.assertEqual([name for name in CLAIMS[:2] if name in told], [])
        if not receiver_is_trusted:
            privacy = Privacy.of(said) or Privacy()
            if privacy.asks_for("id", "user") or not (policy.tells_strangers or privacy.is_refused):
                self.assertEqual([name for name in CLAIMS[:2] if name in told], [])
            if policy.history is HistoryForStrangers.REMOVE:
                self.assertEqual([name for name in CLAIMS[2:] if name in told], [])
            if privacy.asks_for("user") and policy.anonymises and from_ is not None and not is_answer:
                self.assertIs(from_, ANONYMOUS)
        for text in told.get_all("Session-ID"):
            self.assertNotEqual(SessionId.parse(text), SessionId(NIL_UUID, NIL_UUID))
        self.assertLessEqual(told.count("Session-ID"), 1)
        self.assertLessEqual(told.count("Privacy"), 1)
