"""Publications of our own: what is sent when, and what becomes of entity-tags (RFC 3903 section 4)."""

from __future__ import annotations

from typing import Any

from sipd.errors import ParseError, PublicationError
from sipd.interfaces import Credentials
from sipd.sip.fields import NameAddr
from sipd.sip.message import Request
from sipd.sip.registrant import RegistrationTiming, State
from sipd.sip.uri import SipUri
from sipd.testing import builders
from sipd.ua.lease import Failed
from sipd.ua.publishing import Expired, Publication, PublicationEvent, PublicationSettings, Unpublished
from tests.ua.support import THEM, US, AgentCase

TIMING = RegistrationTiming(retry_base=20.0, retry_limit=100.0)


class PublishingCase(AgentCase):
    """A publication at `THEM`, whose answers are the test's."""

    def setUp(self) -> None:
        super().setUp()
        self.events: list[PublicationEvent] = []

    def settings(self, **options: Any) -> PublicationSettings:
        """Give the settings."""
        values = {
            "target": SipUri(THEM, "alice"), "event": "presence", "content_type": "application/pidf+xml",
            "from_": NameAddr(SipUri(US, "alice")), "expires": 600, "timing": TIMING, **options,
        }  # fmt: skip
        return PublicationSettings(**values)

    def publication(self, **options: Any) -> Publication:
        """Make one, and start it."""
        publication = Publication(self.agent, self.settings(**options), b"<one/>", self.events.append)
        publication.start()
        self.addCleanup(self.settle)
        self.addCleanup(publication.close)
        self.clock.advance(0.1)
        return publication

    def published(self, **options: Any) -> Publication:
        """Give one that is published, with the tag `e1`."""
        publication = self.publication(**options)
        self.grant("e1")
        self.assertTrue(publication.is_published)
        self.events.clear()
        return publication

    def publish(self) -> Request:
        """Give the last PUBLISH that came."""
        return self.them.request("PUBLISH")

    def grant(self, tag: str, expires: int = 600) -> None:
        """Take what came last."""
        self.respond(200, ("SIP-ETag", tag), ("Expires", str(expires)))

    def respond(self, status: int, *headers: tuple[str, str]) -> None:
        """Answer what came last."""
        self.them.send(builders.response(self.publish(), status, to_tag="b1", contact=None, headers=headers))
        self.clock.advance(0.1)

    def kinds(self) -> list[str]:
        """Give the names of the events since the last time."""
        names = [type(event).__name__ for event in self.events]
        self.events.clear()
        return names

    def next_at(self, limit: float = 4000.0) -> float:
        """Give the seconds until the next PUBLISH comes."""
        start = self.clock.seconds()
        self.them.take()
        self.assertTrue(self.clock.run_until(lambda: self.them.messages, limit=limit))
        return self.clock.seconds() - start


class StateTests(PublishingCase):
    """What is published."""

    def test_first_request(self) -> None:
        """It has the state, its type, its package and its time; no Contact, and no tag."""
        self.publication(headers=(("X-Note", "1"),), route=(f"<sip:{THEM};lr>",))
        request = self.publish()
        self.assertEqual((request.uri_text, str(request.to.uri)), (f"sip:alice@{THEM}", f"sip:alice@{THEM}"))
        self.assertEqual((request.body, request.content_type), (b"<one/>", "application/pidf+xml"))
        self.assertEqual((request.headers.get("Event"), request.expires), ("presence", 600))
        self.assertEqual(request.headers.get("X-Note"), "1")
        self.assertEqual(request.headers.get_all("Route"), [f"<sip:{THEM};lr>"])
        self.assertNotIn("SIP-If-Match", request.headers)
        self.assertNotIn("Contact", request.headers)

    def test_refreshed_at_half(self) -> None:
        """A refresh has the tag and no state; the next one the tag of its answer."""
        publication = self.publication()
        waiting = publication.when_published()
        self.grant("e1", 300)
        self.successResultOf(waiting)
        self.successResultOf(publication.when_published())
        self.assertApproximates(publication.expires, 300.0, 0.2)
        self.assertApproximates(self.next_at(), 150.0, 16.0)
        self.assertEqual((self.publish().headers.get("SIP-If-Match"), self.publish().body), ("e1", b""))
        self.assertNotIn("Content-Type", self.publish().headers)
        self.grant("e2")
        self.assertEqual(publication.entity_tag, "e2")
        self.next_at()
        self.assertEqual(self.publish().headers.get("SIP-If-Match"), "e2")
        self.assertEqual(self.kinds(), ["Published", "Published"])

    def test_modified(self) -> None:
        """Another state goes out at once, with the tag of the last one; the same one does not."""
        publication = self.published()
        self.them.take()
        publication.modify(b"<one/>")
        self.clock.advance(0.1)
        self.assertEqual(self.them.take(), [])
        publication.modify(b"<two/>")
        self.assertFalse(publication.is_published)
        waiting = publication.when_published()
        self.clock.advance(0.1)
        self.assertEqual((self.publish().headers.get("SIP-If-Match"), self.publish().body), ("e1", b"<two/>"))
        self.grant("e2")
        self.successResultOf(waiting)

    def test_modified_meanwhile(self) -> None:
        """What changes while a PUBLISH is under way goes out after it: only the last of it."""
        publication = self.publication()
        waiting = publication.when_published()
        for body in (b"<two/>", b"<three/>"):
            publication.modify(body)
        self.clock.advance(0.1)
        self.assertEqual(self.publish().body, b"<one/>")
        self.grant("e1")
        self.assertNoResult(waiting)
        self.assertEqual((self.publish().headers.get("SIP-If-Match"), self.publish().body), ("e1", b"<three/>"))
        self.grant("e2")
        self.successResultOf(waiting)

    def test_modified_while_it_waits(self) -> None:
        """After a refusal another state makes no difference to when it is tried again; it is what is sent then."""
        publication = self.publication()
        self.respond(503, ("Retry-After", "50"))
        publication.modify(b"<two/>")
        self.assertTrue(50.0 <= self.next_at() <= 60.0)
        self.assertEqual(self.publish().body, b"<two/>")

    def test_unknown_there(self) -> None:
        """After 412 the whole state is published anew, at once, without a tag (section 4.4)."""
        publication = self.published()
        self.next_at()
        self.respond(412)
        self.assertEqual(self.publish().body, b"<one/>")
        self.assertNotIn("SIP-If-Match", self.publish().headers)
        self.grant("e5")
        self.assertEqual((publication.entity_tag, self.kinds()), ("e5", ["Published"]))

    def test_unknown_without_a_tag(self) -> None:
        """412 for what had no tag is a refusal, not a circle."""
        self.publication()
        self.respond(412)
        self.assertEqual(self.kinds(), ["Failed"])

    def test_no_tag(self) -> None:
        """Without a tag that can be read it is published anew each time."""
        self.publication()
        self.respond(200, ("Expires", "600"), ("SIP-ETag", "a b"))
        self.next_at()
        self.assertEqual(self.publish().body, b"<one/>")
        self.assertNotIn("SIP-If-Match", self.publish().headers)


class TimeTests(PublishingCase):
    """When it is sent, as a registration."""

    def test_longer_expiry(self) -> None:
        """After 423 it is asked for as long as is wanted; without Expires in the 2xx that is what counts."""
        publication = self.publication()
        self.respond(423, ("Min-Expires", "1800"))
        self.assertEqual(self.publish().expires, 1800)
        self.respond(200, ("SIP-ETag", "e1"))
        self.assertApproximates(publication.expires, 1800.0, 0.2)

    def test_credentials(self) -> None:
        """A challenge is answered, and what was taken goes with each later PUBLISH."""
        self.publication(credentials=Credentials(username="alice", password="secret"))
        self.respond(401, ("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'))
        self.assertIn('username="alice"', self.publish().headers.get("Authorization") or "")
        self.grant("e1")
        self.next_at()
        self.assertIn("nc=00000002", self.publish().headers.get("Authorization") or "")
        self.assertEqual(self.publish().cseq.number, 3)

    def test_refused(self) -> None:
        """Who waits is told of what does not pass; it is tried again."""
        publication = self.publication()
        waiting = publication.when_published()
        self.respond(403)
        self.assertEqual(self.failureResultOf(waiting, PublicationError).value.status, 403)
        (failed,) = self.events
        assert isinstance(failed, Failed)
        self.assertEqual((failed.status, failed.text), (403, "403 Forbidden"))
        self.assertTrue(50 <= self.next_at() <= 100)

    def test_silence(self) -> None:
        """Without an answer it is tried again; 2xx that grant nothing are none."""
        self.publication()
        self.clock.advance(33.0)
        self.assertEqual(self.kinds(), ["Failed"])
        self.next_at()
        self.grant("e1", 0)
        self.assertEqual(self.kinds(), ["Failed"])

    def test_expired(self) -> None:
        """What cannot be refreshed expires, and is published anew, whole."""
        publication = self.publication(expires=60)
        self.grant("e1", 60)
        self.events.clear()
        self.next_at()
        self.respond(503, ("Retry-After", "700"))
        self.next_at()
        self.assertEqual(self.kinds(), ["Failed", "Expired"])
        self.assertEqual((publication.entity_tag, publication.expires), ("", 0.0))
        self.assertEqual(self.publish().body, b"<one/>")
        self.assertNotIn("SIP-If-Match", self.publish().headers)
        self.assertEqual(Expired(), Expired())

    def test_on_demand(self) -> None:
        """It may be refreshed at any time."""
        publication = self.published()
        self.them.take()
        publication.refresh()
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["PUBLISH"])


class StopTests(PublishingCase):
    """How it is stopped."""

    def test_stop(self) -> None:
        """It removes what is published."""
        publication = self.published()
        stopped = publication.stop()
        self.clock.advance(0.1)
        request = self.publish()
        self.assertEqual((request.expires, request.headers.get("SIP-If-Match"), request.body), (0, "e1", b""))
        self.respond(200, ("SIP-ETag", "e2"), ("Expires", "0"))
        self.successResultOf(stopped)
        self.successResultOf(publication.stop())
        self.assertEqual(self.events, [Unpublished(is_confirmed=True)])
        self.assertIs(publication.state, State.STOPPED)
        self.failureResultOf(publication.when_published(), PublicationError)

    def test_stop_with_silence(self) -> None:
        """Nobody waits longer for that than the limit."""
        publication = self.published()
        stopped = publication.stop()
        self.clock.advance(3.1)
        self.successResultOf(stopped)
        self.assertEqual(self.events, [Unpublished(is_confirmed=False)])

    def test_stop_while_asking(self) -> None:
        """What is under way has its answer before; what was refused need not be removed."""
        publication = self.publication()
        stopped = publication.stop()
        self.assertNoResult(stopped)
        self.respond(403)
        self.successResultOf(stopped)
        self.assertEqual(self.events, [Unpublished(is_confirmed=True)])

    def test_stop_before_start(self) -> None:
        """What has not begun is over at once."""
        publication = Publication(self.agent, self.settings(), b"<one/>")
        self.successResultOf(publication.stop())
        publication.start()
        self.clock.advance(1.0)
        self.assertEqual(self.them.take(), [])

    def test_close(self) -> None:
        """Closing says nothing to anybody; who waits is told, unless it did not want to wait any more."""
        publication = self.publication()
        waiting, unwanted = publication.when_published(), publication.when_published()
        unwanted.addErrback(lambda _: None)
        unwanted.cancel()
        publication.close()
        publication.close()
        self.failureResultOf(waiting, PublicationError)

    def test_closed_by_who_is_told(self) -> None:
        """Whoever is told of a refusal may close it right there: no timer is left."""
        publication = self.publication()
        publication._watch = lambda event: publication.close()
        self.respond(500)
        self.assertEqual((publication.state, len(publication._timers)), (State.STOPPED, 0))

    def test_no_event_package(self) -> None:
        """What is no event package is refused at once; settings that are printed show no password."""
        settings = self.settings(event="", credentials=Credentials(username="u", password="hidden"))
        self.assertRaises(ParseError, Publication, self.agent, settings, b"")
        self.assertNotIn("hidden", repr(settings))
