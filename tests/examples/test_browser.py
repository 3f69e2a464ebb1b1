"""The example of a page that calls from a browser: its resource, with an endpoint that talks as browsers do."""

from __future__ import annotations

import io
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import maybeDeferred
from twisted.web.test.requesthelper import DummyRequest

from sipd.media.endpoint.endpoint import AudioEndpoint
from sipd.media.endpoint.settings import EndpointSettings, Ice, Security
from sipd.media.pacer import Pacer
from sipd.media.sounds import SoundLibrary
from sipd.phone.ended import EndedBy
from sipd.sdp.description import parse_description
from tests.examples.support import ExampleCase, load_example, said
from tests.phone.support import BOB, CAROL, Ear, answering, forever

BROWSER = "192.0.2.9"


class BrowserTests(ExampleCase):
    """Carol's page calls bob for a browser."""

    def setUp(self) -> None:
        """Let bob answer."""
        super().setUp()
        self.bob = self.phone(BOB, "bob")
        self.of_bob = answering(self.bob)
        self.page = load_example("browser").CallPage(self.phone(CAROL, "carol"), f"sip:bob@{BOB}")
        reactor: Any = self.network.host(BROWSER)
        self.browser = AudioEndpoint(
            reactor,
            host=BROWSER,
            settings=EndpointSettings(security=Security.DTLS, ice=Ice.OFFERED),
            pacer=Pacer(self.clock),
            sounds=SoundLibrary(in_thread=lambda function: maybeDeferred(function)),
            entropy=self.network.entropy,
        )
        self.addCleanup(self.close_browser)

    def close_browser(self) -> None:
        """Leave the page."""
        closing = self.browser.close()
        self.clock.advance(5.0)
        self.successResultOf(closing)

    def post(self, body: bytes, *, origin: str = "") -> Any:
        """Send the page an offer; give the request."""
        request: Any = DummyRequest([b"call"])
        request.method = b"POST"
        request.content = io.BytesIO(body)
        request.getHost = lambda: IPv4Address("TCP", "127.0.0.1", 8080)
        if origin:
            request.requestHeaders.setRawHeaders("Origin", [origin])
        answer = request.render(self.page)
        if answer is not None:
            request.write(answer)
        return request

    def call(self) -> None:
        """Let the browser call."""
        request = self.post(self.browser.make_offer().to_bytes())
        self.assertEqual(request.finished, 1)
        self.browser.take_answer(parse_description(b"".join(request.written)))
        self.clock.advance(3.0)

    def test_a_call(self) -> None:
        """They hear each other, and when bob hangs up it is over."""
        with said() as lines:
            self.call()
            (call,) = self.of_bob
            ears = Ear(), Ear()
            self.browser.connect(None, ears[0])
            call.connect(None, ears[1])
            forever(self.browser.play("tone:700", times=None))
            forever(call.play("tone:1000", times=None))
            self.clock.advance(3.0)
            self.assertTrue(ears[0].hears(1000))
            self.assertTrue(ears[1].hears(700))
            self.assertTrue(self.browser.statistics.is_secure)
            call.hang_up()
            self.clock.advance(3.0)
        self.assertEqual(lines, ["they talked for 6 s"])

    def test_the_browser_leaves(self) -> None:
        """When the page is left bob is hung up on."""
        with said() as lines:
            self.call()
            self.close_browser()
            self.clock.advance(3.0)
        self.assertEqual(self.successResultOf(self.of_bob[0].ended).by, EndedBy.THEM)
        self.assertEqual(lines, ["they talked for 3 s"])

    def test_the_browser_leaves_early(self) -> None:
        """When the page is left while bob's phone rings, it stops ringing."""
        self.of_bob = answering(self.bob, after=20.0)
        with said() as lines:
            self.call()
            self.close_browser()
            self.clock.advance(3.0)
        self.assertTrue(self.of_bob[0].is_over)
        self.assertEqual(len(lines), 1)
        self.assertIn("no call: ", lines[0])

    def test_refused(self) -> None:
        """Who does not want to talk is told to nobody but the operator; the browser's media end."""
        self.bob.on_call = lambda call: call.reject(603)
        lost: list[str] = []
        self.browser.on_lost.append(lost.append)
        with said() as lines:
            self.call()
        self.assertEqual(lines, ["no call: 603 Decline"])
        self.clock.advance(60.0)
        self.assertEqual(len(lost), 1)

    def test_no_offer(self) -> None:
        """What is no offer, or none that can be answered, is refused."""
        for body in (b"", b"v=0\r\n", b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nt=0 0\r\n"):
            self.assertEqual(self.post(body).responseCode, 400)
        self.assertEqual(self.of_bob, [])

    def test_other_sites(self) -> None:
        """A page of another site, shown in the same browser, cannot place calls."""
        self.assertEqual(self.post(b"", origin="http://evil.example").responseCode, 403)

    def test_page(self) -> None:
        """The page has a button, and no address of anybody's."""
        request: Any = DummyRequest([b""])
        page = request.render(self.page) or b"".join(request.written)
        self.assertIn(b"<button>Call</button>", page)
        self.assertNotIn(b"sip:", page)
