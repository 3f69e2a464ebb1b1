"""The example of a web page that places calls: its resource, with phones on a simulated network."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.web.test.requesthelper import DummyRequest

from sipd.phone.ended import EndedBy
from tests.examples.support import ExampleCase, load_example
from tests.phone.support import ALICE, BOB, CAROL, answering


class PageTests(ExampleCase):
    """Carol's page lets alice call bob."""

    def setUp(self) -> None:
        """Let alice and bob answer, and alice do what she is asked for."""
        super().setUp()
        self.alice, self.bob = self.phone(ALICE, "alice"), self.phone(BOB, "bob")
        self.of_alice, self.of_bob = answering(self.alice), answering(self.bob)
        self.alice.on_refer = lambda referred: True
        self.page = load_example("page").CallPage(self.phone(CAROL, "carol"))

    def post(
        self, first: str = f"sip:alice@{ALICE}", second: str = f"sip:bob@{BOB}", *, origin: str = "", seconds: float = 5
    ) -> Any:
        """Ask for a call."""
        request: Any = DummyRequest([b"call"])
        request.method = b"POST"
        request.args = {b"from": [first.encode()], b"to": [second.encode()]}
        request.getHost = lambda: IPv4Address("TCP", "127.0.0.1", 8080)
        if origin:
            request.requestHeaders.setRawHeaders("Origin", [origin])
        body = request.render(self.page)
        if body is not None:
            request.write(body)
        self.clock.advance(seconds)
        return request

    def answered(self, request: Any) -> tuple[int, str]:
        """Give status and text of what was answered."""
        self.assertEqual(request.finished, 1)
        return request.responseCode or 200, b"".join(request.written).decode()

    def test_a_call(self) -> None:
        """The first one is called, and sent to the second one; then the two have a call without the page."""
        request = self.post()
        self.assertEqual(self.answered(request), (200, f"sip:alice@{ALICE} talks with sip:bob@{BOB}\n"))
        self.assertEqual(self.successResultOf(self.of_alice[0].ended).by, EndedBy.THEM)
        self.assertTrue(self.of_bob[0].is_established)
        self.assertEqual(str(self.of_bob[0].remote.uri), f"sip:alice@{ALICE}")
        self.assertEqual(self.page.phone.calls, set())

    def test_one_who_does_not_answer(self) -> None:
        """The answer says why there is no call, whoever of the two it was."""
        self.bob.on_call = lambda call: call.reject(486)
        self.assertEqual(self.answered(self.post()), (502, "486 Busy Here\n"))
        self.assertTrue(self.of_alice[0].is_over)
        self.alice.on_call = lambda call: call.reject(603)
        self.assertEqual(self.answered(self.post()), (502, "603 Decline\n"))

    def test_no_addresses(self) -> None:
        """What is no address is refused before anybody is called."""
        for first, second in (("", f"sip:bob@{BOB}"), (f"sip:alice@{ALICE}", ""), (f"sip:alice@{ALICE}", "sip:")):
            self.assertEqual(self.answered(self.post(first, second))[0], 400)
        self.assertEqual(self.of_alice, [])

    def test_the_browser_leaves(self) -> None:
        """Nobody waits for the call any more: it is taken back."""
        answering(self.alice, after=3.0)
        request = self.post(seconds=1.0)
        request.processingFailed(Failure(ConnectionDone()))
        self.clock.advance(5.0)
        self.assertEqual((request.written, self.of_bob, self.page.phone.calls), ([], [], set()))
        self.assertEqual(self.alice.calls, set())

    def test_form(self) -> None:
        """A browser is shown a form that asks for both addresses."""
        request: Any = DummyRequest([b""])
        form = request.render(self.page)
        for part in (b'method="post"', b'name="from"', b'name="to"'):
            self.assertIn(part, b"".join(request.written) if form is None else form)

    def test_other_sites(self) -> None:
        """A page of another site, shown in the same browser, cannot place calls; this one can."""
        self.assertEqual(self.post(origin="http://evil.example").responseCode, 403)
        self.assertEqual(self.of_alice, [])
        self.assertEqual(self.answered(self.post(origin="http://localhost:8080"))[0], 200)
