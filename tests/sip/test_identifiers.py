"""Unguessable names, and the usual reason phrases."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.sip.fields import CSeq, NameAddr, Via
from sipd.sip.identifiers import MAGIC_COOKIE, new_branch, new_call_id, new_tag
from sipd.sip.status import reason_phrase


class IdentifierTests(SynchronousTestCase):
    """Branches, tags and Call-IDs (RFC 3261 sections 8.1.1.4, 8.1.1.7 and 19.3)."""

    def test_each_takes_the_randomness_it_promises(self) -> None:
        """96 bits for a branch, 64 for a tag, 128 for a Call-ID, all of which show in the name."""
        asked: list[int] = []

        def entropy(size: int) -> bytes:
            asked.append(size)
            return bytes(range(size))

        names = new_branch(entropy), new_tag(entropy), new_call_id(entropy)
        self.assertEqual(asked, [12, 8, 16])
        self.assertEqual(
            names, ("z9hG4bK000102030405060708090a0b", "0001020304050607", "000102030405060708090a0b0c0d0e0f")
        )

    def test_a_branch_has_the_cookie(self) -> None:
        """It begins with what says that it is unique for all time, and goes into a Via as it is."""
        branch = new_branch(bytes)
        self.assertTrue(branch.startswith(MAGIC_COOKIE))
        self.assertEqual(Via.parse(f"SIP/2.0/UDP h;branch={branch}").branch, branch)


class StatusTests(SynchronousTestCase):
    """`reason_phrase` (RFC 3261 sections 21 and 8.1.3.2)."""

    def test_known_and_unknown(self) -> None:
        """An unknown status has the phrase of its class, and one of no class has a phrase, too."""
        for status, phrase in ((100, "Trying"), (486, "Busy Here"), (199, "Early Dialog Terminated")):
            self.assertEqual(reason_phrase(status), phrase)
        for status, phrase in ((299, "OK"), (499, "Bad Request"), (699, "Busy Everywhere"), (799, "Unknown")):
            self.assertEqual(reason_phrase(status), phrase)


class RepresentationTests(SynchronousTestCase):
    """What a person sees of a value in a log or a failed test."""

    def test_values_show_themselves(self) -> None:
        """The representation holds the text."""
        self.assertEqual(repr(Via.parse("SIP/2.0/UDP h")), "<Via SIP/2.0/UDP h>")
        self.assertEqual(repr(NameAddr.parse("<sip:a@b>")), "<NameAddr <sip:a@b>>")
        self.assertEqual(repr(NameAddr.parse("<sip:a@b>").uri), "<SipUri sip:a@b>")
        self.assertEqual(repr(CSeq(1, "BYE")), "<CSeq 1 BYE>")
