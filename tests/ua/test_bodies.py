"""What a leg sends of the other leg's message."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.b2bua.identity import Identities
from sipd.b2bua.leg import Leg
from sipd.b2bua.trust import IdentityPolicy
from sipd.errors import ParseError, SdpError
from sipd.sdp.description import SessionDescription, parse_description
from sipd.sdp.negotiation import Carrier, Negotiation
from sipd.sdp.offer_answer import LocalOrigin
from sipd.testing import builders
from sipd.ua.bodies import find_description, replace_description

MULTIPART = b"--b\r\nContent-Type: application/isup\r\n\r\n\x01\xff\r\n--b\r\nContent-Type: application/sdp\r\n\r\n"
END = b"\r\n--b--\r\n"


def _described() -> SessionDescription:
    return parse_description(builders.sdp("198.51.100.1", 30000))


def _leg() -> Leg:
    leg = Leg("b1", Negotiation(LocalOrigin(session_id=42, host="198.51.100.1"), bytes))
    leg.side = Identities(IdentityPolicy(), bytes, builders.invite(), "192.0.2.1").caller
    return leg


class DescriptionTests(SynchronousTestCase):
    """Finding and replacing a session description."""

    def test_is_the_body(self) -> None:
        """A body of application/sdp is one."""
        self.assertIsNotNone(find_description(builders.invite()))
        self.assertIsNone(find_description(builders.invite(body=b"")))
        self.assertIsNone(find_description(builders.invite(body=b"hi", content_type="text/plain")))

    def test_is_a_part_of_the_body(self) -> None:
        """In a multipart body it is replaced in place; the ISUP part stays octet for octet (lesson: RFC 5621)."""
        invite = builders.invite(body=MULTIPART + builders.sdp() + END, content_type="multipart/mixed;boundary=b")
        self.assertIsNotNone(find_description(invite))
        described = _described()
        self.assertEqual(replace_description(invite, described), MULTIPART + described.to_bytes() + END)

    def test_unusable_ones_are_said_to_be(self) -> None:
        """An SDP body that is none gives 488, a multipart body without its boundary 400."""
        self.assertRaises(SdpError, find_description, builders.invite(body=b"m=oops"))
        error = self.assertRaises(
            ParseError, find_description, builders.invite(body=b"x", content_type="multipart/mixed;boundary=b")
        )
        self.assertEqual(error.status, 400)


class ContentTests(SynchronousTestCase):
    """Header fields and body for the other leg."""

    def test_carries_its_own_origin(self) -> None:
        """The description leaves under the leg's session identifier, whatever the other side's was (lesson 31)."""
        leg = _leg()
        content = leg.content(builders.invite(), leg.negotiation.send(Carrier.INVITE, _described()))
        self.assertIn(b"o=- 42 1 IN IP4 198.51.100.1\r\n", content.body)
        self.assertEqual(content.headers.get("Content-Type"), "application/sdp")

    def test_leaves_a_description_off_that_does_not_cross(self) -> None:
        """Without a description of its own the leg sends no body, and no Content-Type."""
        content = _leg().content(builders.invite(headers=[("Subject", "x")]), None)
        self.assertEqual((list(content.headers.items()), content.body), ([("Subject", "x")], b""))

    def test_passes_other_bodies(self) -> None:
        """A body that describes no session crosses with its type."""
        content = _leg().content(builders.invite(body=b"hi", content_type="text/plain"), None)
        self.assertEqual((list(content.headers.items()), content.body), ([("Content-Type", "text/plain")], b"hi"))

    def test_body_that_nobody_can_read_does_not_cross(self) -> None:
        """It may describe a session, and so show the other side's addresses."""
        for kind in ("multipart/mixed;boundary=b", "multipart/mixed"):
            content = _leg().content(builders.invite(body=b"--x", content_type=kind), None)
            self.assertEqual((list(content.headers.items()), content.body), ([], b""))

    def test_body_without_a_type(self) -> None:
        """A body that does not say what it is describes no session, and crosses as it is."""
        invite = builders.invite(body=b"hi")
        invite.headers.remove("Content-Type")
        self.assertIsNone(find_description(invite))
        content = _leg().content(invite, None)
        self.assertEqual((list(content.headers.items()), content.body), ([], b"hi"))

    def test_description_in_the_place_of_another_body(self) -> None:
        """A leg that has to describe the session does so, whatever else the message says."""
        content = _leg().content(builders.invite(body=b"hi", content_type="text/plain"), _described())
        self.assertEqual(list(content.headers.items()), [("Content-Type", "application/sdp")])
        self.assertIn(b"m=audio 30000 ", content.body)

    def test_description_in_its_place_among_others(self) -> None:
        """In a multipart body the fields that go with the body cross with it."""
        kind = "multipart/mixed;boundary=b"
        invite = builders.invite(body=MULTIPART + builders.sdp() + END, content_type=kind)
        content = _leg().content(invite, _described())
        self.assertEqual(list(content.headers.items()), [("Content-Type", kind)])
        self.assertIn(b"m=audio 30000 ", content.body)
        self.assertTrue(content.body.startswith(MULTIPART))

    def test_gives_an_answer_to_a_message_without_one(self) -> None:
        """An answer that came earlier, in a 183, is put into the 200 that came without."""
        ok = builders.response(builders.invite(), 200)
        content = _leg().content(ok, _described())
        self.assertEqual(list(content.headers.items()), [("Content-Type", "application/sdp")])
        self.assertIn(b"m=audio 30000 ", content.body)
