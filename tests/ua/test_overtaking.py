"""What a callee says in its dialog overtakes its 2xx: the dialog is there since the 180 (RFC 3261 section 12.1.2)."""

from __future__ import annotations

from sipd.testing import builders
from tests.ua.support import THEM, US, AgentCase


class OvertakingTests(AgentCase):
    """A call that rings at the other end, and is answered there already."""

    def test_bye_that_was_overtaken(self) -> None:
        """A BYE whose number is too low when it comes is sent again with one that is not (section 12.2.2)."""
        call = self.calling()
        self.them.send(builders.response(self.them.request("INVITE"), 200, to_tag="t1", contact=f"<sip:bob@{THEM}>"))
        self.clock.advance(0.1)
        call.hang_up()
        self.clock.advance(0.1)
        first = self.them.request("BYE")
        assert call.dialog is not None
        call.dialog.local_sequence += 1
        self.them.send(builders.response(first, 500))
        self.clock.advance(0.1)
        again = self.them.request("BYE")
        self.assertEqual(again.cseq.number, first.cseq.number + 2)
        self.them.send(builders.response(again, 500))
        self.clock.advance(0.1)
        self.assertIs(self.them.request("BYE"), again)
        self.settle()

    def test_asked_to_wait(self) -> None:
        """INFO is told to come again, not that there is no such dialog, which would end it; OPTIONS is answered."""
        call = self.calling()
        invite = self.them.request("INVITE")
        self.them.send(builders.response(invite, 180, to_tag="t1", contact=f"<sip:bob@{THEM}>"))
        self.clock.advance(0.1)
        for number, (tag, method, status) in enumerate(
            (("t1", "INFO", 500), ("t1", "OPTIONS", 200), ("t2", "INFO", 481)), 1
        ):
            self.them.send(
                builders.request(
                    method, f"sip:alice@{US}", call_id=invite.call_id, from_tag=tag, to_tag=invite.from_.tag or "",
                    cseq=number, branch=f"z9hG4bK-{number}", via=f"{THEM}:5060",
                )
            )  # fmt: skip
            self.clock.advance(0.1)
            self.them.response(status)
        self.them.send(builders.response(invite, 200, to_tag="t1", contact=f"<sip:bob@{THEM}>"))
        self.clock.advance(0.1)
        self.assertTrue(call.is_established)
        call.hang_up()
        self.clock.advance(0.1)
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.settle()
