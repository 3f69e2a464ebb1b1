"""Publications: kept for users of ours, and shown to those who watch them; carried where a route leads (RFC 3903)."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from sipd.routing.rules import StaticRoute
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.exchanges import Reply
from sipd.watching.service import WatchingSettings
from sipd.watching.subscriptions import SubscriptionSettings
from tests.b2bua.support import BOB
from tests.watching.watchers import WatchCase, Watched

PIDF = "application/pidf+xml"
SUMMARY = "application/simple-message-summary"
OPEN, BUSY = b"<presence>open</presence>", b"<presence>busy</presence>"


class PublishCase(WatchCase):
    """Users who publish."""

    def tearDown(self) -> None:
        """Let everything run out; nothing may be left."""
        self.over()
        self.assertEqual(len(self.server.watching.states), 0)

    def present(self, body: bytes = b"", tag: str = "", expires: int | None = 600) -> Response:
        """Let Bob publish his presence; give the answer."""
        headers = [] if expires is None else [("Expires", str(expires))]
        if tag:
            headers.append(("SIP-If-Match", tag))
        return self.publish(self.bob, "presence", body, headers=headers, kind=PIDF)

    def tag_of(self, response: Response) -> str:
        """Give the entity-tag of a 200."""
        self.assertEqual(response.status, 200)
        return response.headers.get("SIP-ETag") or self.fail("there is none")


class PresenceTests(PublishCase):
    """Presence that is published here (RFC 3856)."""

    def test_is_shown_as_it_came(self) -> None:
        """A watcher is told what was published, octet for octet, at once and at each change."""
        body = b'<?xml version="1.0"?>\r\n<presence entity="sip:bob@example.com">\xc3\xa4</presence>'
        first = self.present(body)
        self.assertEqual(first.expires, 600)
        watcher = self.watch(self.alice, "bob", "presence")
        self.assertEqual((watcher.status, watcher.bodies), (200, [body]))
        self.assertEqual(watcher.notifications[0].content_type, PIDF)
        self.clock.advance(1.0)
        second = self.present(BUSY, self.tag_of(first))
        self.assertNotEqual(self.tag_of(second), self.tag_of(first))
        self.assertEqual(watcher.bodies, [body, BUSY])
        self.assertEqual(self.lines, [])

    def test_refresh(self) -> None:
        """A refresh, which has no body, gives a new tag, tells nobody, and lets it live on."""
        tag = self.tag_of(self.present(OPEN, expires=100))
        watcher = self.watch(self.alice, "bob", "presence")
        self.clock.advance(80.0)
        refreshed = self.tag_of(self.present(tag=tag, expires=100))
        self.assertNotEqual(refreshed, tag)
        self.clock.advance(80.0)
        self.assertEqual(watcher.bodies, [OPEN])
        self.assertEqual(self.present(tag=tag).status, 412)

    def test_expires(self) -> None:
        """What is not refreshed is gone, and the watcher is told that nothing is open."""
        self.present(OPEN, expires=100)
        watcher = self.watch(self.alice, "bob", "presence")
        self.clock.advance(100.0)
        self.assertEqual(len(watcher.bodies), 2)
        self.assertIn(b"<basic>closed</basic>", watcher.bodies[1])
        root = ElementTree.fromstring(watcher.bodies[1])
        self.assertEqual((root.tag, root.get("entity")), ("{urn:ietf:params:xml:ns:pidf}presence", self.bob.aor))

    def test_removed(self) -> None:
        """What is published for 0 seconds is gone at once."""
        tag = self.tag_of(self.present(OPEN))
        watcher = self.watch(self.alice, "bob", "presence")
        self.assertEqual(self.present(tag=tag, expires=0).expires, 0)
        self.clock.advance(1.0)
        self.assertIn(b"closed", watcher.bodies[-1])
        self.assertEqual(self.present(tag=tag, expires=0).status, 412)

    def test_several(self) -> None:
        """Of several states the newest is shown; a refresh makes none newer; when it goes the other one is back."""
        old = self.tag_of(self.present(OPEN))
        new = self.tag_of(self.present(BUSY))
        watcher = self.watch(self.alice, "bob", "presence")
        self.present(tag=old)
        self.clock.advance(2.0)
        self.assertEqual(watcher.bodies, [BUSY])
        self.present(tag=new, expires=0)
        self.clock.advance(2.0)
        self.assertEqual(watcher.bodies, [BUSY, OPEN])

    def test_seconds(self) -> None:
        """Too few are 423, too many are shortened, none are the default."""
        short = self.present(OPEN, expires=10)
        self.assertEqual((short.status, short.headers.get("Min-Expires")), (423, "60"))
        self.assertEqual(self.present(OPEN, expires=100_000).expires, 7200)
        self.assertEqual(self.present(OPEN, expires=None).expires, 3600)

    def test_published_and_removed_at_once(self) -> None:
        """A first publication for 0 seconds is taken, and shown to nobody."""
        self.tag_of(self.present(OPEN, expires=0))
        self.assertEqual(len(self.server.watching.states), 0)

    def test_not_taken(self) -> None:
        """Another type is 415 with what is taken, no body 400, a tag that nobody gave 412: each one line in the log."""
        wrong = self.publish(self.bob, "presence", b"x", kind="text/plain")
        self.assertEqual((wrong.status, wrong.headers.get("Accept")), (415, PIDF))
        self.assertEqual(self.present().status, 400)
        self.assertEqual(self.present(OPEN, "nonsense").status, 412)
        self.assertEqual(len(self.lines), 3)
        self.assertIn("publication of sip:bob@example.com for sip:bob@example.com: 412", self.lines[2])

    def test_unknown_package(self) -> None:
        """What is not kept here is 489 for a user of ours, with what is."""
        response = self.publish(self.bob, "dialog", b"<x/>", kind="application/dialog-info+xml")
        self.assertEqual(response.status, 489)
        self.assertEqual(response.headers.get("Allow-Events"), "message-summary, presence")

    def test_only_ones_own(self) -> None:
        """Nobody publishes the presence of another, or of nobody, or elsewhere, or without a proof."""
        for uri, status in ((self.alice.aor, 403), ("sip:nobody@example.com", 404), ("sip:bob@elsewhere.example", 403)):
            self.assertEqual(self.publish(self.bob, "presence", OPEN, uri=uri, kind=PIDF).status, status)
        self.bob._password = None
        self.lines.clear()
        for event in ("presence", "pre sence"):
            self.assertEqual(self.publish(self.bob, event, OPEN, kind=PIDF).status, 407)
        self.assertEqual(self.lines, [])
        self.assertEqual(len(self.server.watching.states), 0)

    def test_of_one_package_and_user(self) -> None:
        """A tag is good for the package and the user that it was given for."""
        tag = self.tag_of(self.present(OPEN))
        headers = [("SIP-If-Match", tag)]
        self.assertEqual(self.publish(self.alice, "presence", BUSY, headers=headers, kind=PIDF).status, 412)
        self.assertEqual(self.publish(self.bob, "message-summary", b"x", headers=headers, kind=SUMMARY).status, 412)


class MailboxTests(PublishCase):
    """Lamps of mailboxes (RFC 3842)."""

    watching: WatchingSettings | None = WatchingSettings(mailbox_servers=frozenset(("carol",)))

    def test_nothing_known(self) -> None:
        """A mailbox of which nothing is known has no messages."""
        watcher = self.watch(self.alice, "alice", "message-summary")
        self.assertEqual(watcher.bodies, [b"Messages-Waiting: no\r\nMessage-Account: sip:alice@example.com\r\n"])
        self.assertEqual(watcher.notifications[0].content_type, SUMMARY)

    def test_new_message(self) -> None:
        """What the voicemail system publishes the owner's phone is told; nobody else may publish or watch it."""
        watcher = self.watch(self.alice, "alice", "message-summary")
        self.clock.advance(1.0)
        waiting = b"Messages-Waiting: yes\r\nVoice-Message: 1/0\r\n"
        self.tag_of(self.publish(self.carol, "message-summary", waiting, uri=self.alice.aor, kind=SUMMARY))
        self.assertEqual(watcher.bodies[1:], [waiting])
        refused = self.publish(self.bob, "message-summary", b"x", uri=self.alice.aor, kind=SUMMARY)
        self.assertEqual(refused.status, 403)
        self.assertEqual(self.watch(self.bob, "alice", "message-summary").status, 403)

    def test_own(self) -> None:
        """A user may publish what is in the own mailbox."""
        self.tag_of(self.publish(self.alice, "message-summary", b"Messages-Waiting: yes\r\n", kind=SUMMARY))


class BoundTests(PublishCase):
    """Too many, and too much."""

    watching: WatchingSettings | None = WatchingSettings(
        subscriptions=SubscriptionSettings(),
        max_publications=3,
        max_publications_per_user=2,
        max_publication_size_octets=1024,
    )

    def test_too_many(self) -> None:
        """So many of one user, and so many in all; one more is 503; those that are there may be changed."""
        tag = self.tag_of(self.present(OPEN, expires=100))
        self.present(OPEN)
        self.assertEqual(self.present(OPEN).status, 503)
        self.publish(self.alice, "presence", OPEN, kind=PIDF)
        self.assertEqual(self.publish(self.carol, "presence", OPEN, kind=PIDF).status, 503)
        self.tag_of(self.present(BUSY, tag, expires=100))
        self.clock.advance(100.0)
        self.tag_of(self.publish(self.carol, "presence", OPEN, kind=PIDF))

    def test_too_large(self) -> None:
        """A body that is too large is 413."""
        self.assertEqual(self.present(b"x" * 1024).status, 200)
        self.assertEqual(self.present(b"x" * 1025).status, 413)


class CarriedTests(PublishCase):
    """Publications that a route leads elsewhere."""

    routes = (StaticRoute(name="presence-server", user=re.compile("pres"), to=f"sip:{{0}}@{BOB}"),)

    def setUp(self) -> None:
        """Let Bob's host be the presence server."""
        super().setUp()
        self.published: list[Request] = []
        self.bob.on_other = self.take
        self.refusal: Response | None = None

    def take(self, request: Request, reply: Reply) -> bool:
        """Take a PUBLISH as a presence server does."""
        if request.method != "PUBLISH":
            return False
        self.published.append(request)
        headers = [("SIP-ETag", f"tag{len(self.published)}"), ("Expires", "900")]
        if request.headers.get("SIP-If-Match") == "old":
            reply(builders.response(request, 412))
        else:
            reply(builders.response(request, 200, headers=headers))
        return True

    def test_crosses(self) -> None:
        """Event, tags, seconds and body cross, and what the server answers comes back."""
        uri = "sip:pres@example.com"
        answer = self.publish(
            self.alice, "x-mood;id=1", b"good", uri=uri, headers=[("Expires", "1200")], kind="text/plain"
        )
        self.assertEqual((self.tag_of(answer), answer.expires), ("tag1", 900))
        (request,) = self.published
        self.assertEqual((request.headers.get("Event"), request.body, request.expires), ("x-mood;id=1", b"good", 1200))
        self.assertNotIn("Proxy-Authorization", request.headers)
        again = self.publish(self.alice, "x-mood;id=1", uri=uri, headers=[("SIP-If-Match", "tag1")], kind="")
        self.assertEqual(self.tag_of(again), "tag2")
        self.assertEqual(self.published[1].headers.get("SIP-If-Match"), "tag1")

    def test_refusal_crosses(self) -> None:
        """A 412 of the server is a 412 for who publishes."""
        uri = "sip:pres@example.com"
        answer = self.publish(self.alice, "presence", uri=uri, headers=[("SIP-If-Match", "old")], kind="")
        self.assertEqual(answer.status, 412)

    def test_subscription_to_it(self) -> None:
        """A subscription that a route leads there is carried, too, whatever its package."""
        server = Watched(self.bob)
        watcher = self.watch(self.alice, "sip:pres@example.com", "presence")
        self.assertEqual(watcher.status, 200)
        server.notify(body=OPEN)
        self.clock.advance(1.0)
        self.assertEqual(watcher.bodies, [OPEN])
