"""How long a proof takes to be refused says nothing of who exists, and no comparison of secrets ends early."""

from __future__ import annotations

import hmac
from typing import Any

from twisted.internet.task import Clock

from sipd.errors import RequestRefusedError
from sipd.registrar import authentication
from sipd.registrar.authentication import DigestAuthenticator
from sipd.sip.digest import compute_response
from sipd.sip.message import Request
from sipd.testing import builders
from sipd.testing.credentials import authorize
from tests.accounts.fakes import LogLines, seeded, stored
from tests.accounts.test_directory import REALM, DirectoryCase


class TimingTests(DirectoryCase):
    """What is done for each kind of user, counted: the clock of a test machine would prove nothing."""

    def setUp(self) -> None:
        """Count digests and comparisons."""
        super().setUp()
        self.log = LogLines(self)
        self.first.has["disabled"] = stored("disabled", enabled=False)
        self.first.has["hashed"] = stored("hashed", password=None, ha1={"MD5": "0" * 32})
        self.done: list[str] = []
        compute, compare = compute_response, hmac.compare_digest

        def counted_response(*values: Any, **named: Any) -> str:
            self.done.append("digest")
            return compute(*values, **named)

        def counted_comparison(first: Any, second: Any) -> bool:
            self.done.append(f"compare {len(first)} with {len(second)}")
            return compare(first, second)

        self.patch(authentication, "compute_response", counted_response)
        self.authenticator = DigestAuthenticator(
            self.directory, clock=Clock(), entropy=seeded(), algorithms=("SHA-256",)
        )
        self.patch(hmac, "compare_digest", counted_comparison)

    def refused(self, request: Request) -> RequestRefusedError:
        """Give the refusal."""
        deferred = self.authenticator.authenticate(request, REALM, proxy=False)
        error: RequestRefusedError = self.failureResultOf(deferred, RequestRefusedError).value
        return error

    def work(self, user: str) -> list[str]:
        """Give what is done to refuse a wrong password of that user, the account being known."""
        request = builders.register()
        challenge = request.response(401, headers=self.refused(request).headers)
        assert authorize(request, challenge, user, "wrong", "c")
        self.successResultOf(self.directory.account(user.partition("@")[0]))
        self.done.clear()
        self.assertEqual(self.refused(request).status, 401)
        return list(self.done)

    def test_everybody_is_refused_alike(self) -> None:
        """Who exists, who does not, who is disabled and who has no such hash cost one digest and one comparison."""
        expected = ["digest", "compare 64 with 64"]
        for user in ("alice", "root", "nobody", "disabled", "hashed", "alice@example.com", "root@example.com", "a b"):
            self.assertEqual(self.work(user), expected, user)

    def test_right_password(self) -> None:
        """Nothing of that keeps the right password from being right."""
        request = builders.register()
        challenge = request.response(401, headers=self.refused(request).headers)
        assert authorize(request, challenge, "alice", "wonderland", "c")
        self.assertEqual(self.successResultOf(self.authenticator.authenticate(request, REALM, proxy=False)), "alice")
