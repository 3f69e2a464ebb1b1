"""Requests outside of dialogs, in and out."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from sipd.errors import TransactionTimeoutError
from sipd.interfaces import Credentials, ITransactionCore
from sipd.testing import builders
from tests.ua.support import THEM, US, AgentCase


class RequestTests(AgentCase):
    """`UserAgent.request`."""

    def test_core_is_a_core(self) -> None:
        """The user agent keeps the contract of the layer below."""
        verifyObject(ITransactionCore, self.agent)

    def test_options(self) -> None:
        """A request goes to where its URI says; the final response comes back."""
        answer = self.agent.request(builders.options(f"sip:{THEM}", via=None, contact=None))
        self.clock.advance(0.1)
        options = self.them.request("OPTIONS")
        self.assertEqual(options.headers.get("Contact"), f"<sip:alice@{US}:5060>")
        self.them.send(builders.response(options, 200))
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(answer).status, 200)
        self.settle()

    def test_answers_a_challenge(self) -> None:
        """It goes again with credentials and the next number."""
        credentials = Credentials(username="us", password="secret")
        answer = self.agent.request(builders.options(f"sip:{THEM}", via=None), credentials)
        self.clock.advance(0.1)
        challenge = [("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')]
        self.them.send(builders.response(self.them.request("OPTIONS"), 401, headers=challenge))
        self.clock.advance(0.1)
        again = self.them.request("OPTIONS")
        self.assertEqual((again.cseq.number, "Authorization" in again.headers), (2, True))
        self.them.send(builders.response(again, 200))
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(answer).status, 200)
        self.settle()

    def test_silence(self) -> None:
        """Without an answer it fails after 64*T1."""
        answer = self.agent.request(builders.options(f"sip:{THEM}", via=None))
        self.clock.advance(33.0)
        self.failureResultOf(answer, TransactionTimeoutError)
        self.settle()

    def test_without_a_handler_calls_are_unavailable(self) -> None:
        """An agent that takes no calls answers 480."""
        self.agent.call_handler = None
        self.them.send(builders.invite(f"sip:bob@{US}", via=f"{THEM}:5060"))
        self.clock.advance(0.1)
        self.them.response(480)
        self.settle()

    def test_invite_without_contact(self) -> None:
        """It makes no dialog: 400, with a phrase that says why."""
        self.them.send(builders.invite(f"sip:bob@{US}", via=f"{THEM}:5060", contact=None))
        self.clock.advance(0.1)
        self.assertEqual(self.them.response(400).reason, "Contact is missing")
        self.settle()

    def test_closing_leaves_nothing(self) -> None:
        """Sessions in every state are forgotten, and no timer is left in the agent."""
        self.offered().ring()
        self.offered(call_id="2", branch="z9hG4bK-22").accept()
        self.calling()
        self.agent.close()
        self.transactions.close()
        self.assertEqual((len(self.agent), len(self.transactions)), (0, 0))
        self.clock.advance(0.1)
        self.them.take()
        self.clock.advance(300.0)
        self.assertEqual(self.them.kinds(), [])
