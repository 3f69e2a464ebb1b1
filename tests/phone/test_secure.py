"""Calls that are kept secure all the way (RFC 3261 section 26.2.2), over real sockets."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor  # noqa: TID251 - real sockets
from twisted.trial.unittest import TestCase

from sipd.phone.ended import EndedBy
from sipd.phone.incoming import IncomingCall
from sipd.phone.phone import Phone
from tests.transport.certificates import Authority


class SecureTests(TestCase):
    """Two phones that speak TLS alone."""

    timeout = 20

    def setUp(self) -> None:
        """Make their certificate."""
        folder = Path(self.mktemp())
        folder.mkdir()
        authority = Authority(folder)
        certificate, key = authority.sign(["127.0.0.1"])
        self.listen = f"tls:127.0.0.1:0:cert={certificate}:key={key}:ca={authority.path}"
        self.taken: list[IncomingCall] = []

    async def answer(self, call: IncomingCall) -> None:
        """Take a call."""
        self.taken.append(call)
        await call.answer()

    async def test_contacts(self) -> None:
        """In a call to a `sips` URI both sides say that they are reached by such; another one names its transport."""
        async with Phone(reactor, listen=self.listen) as ours, Phone(reactor, listen=self.listen) as theirs:
            theirs.on_call = self.answer
            here, there = ours.points[0].sent_by, theirs.points[0].sent_by
            for uri, contacts in (
                (f"sips:bob@{there}", [f"sips:phone@{here}", f"sips:bob@{there}"]),
                (
                    f"sip:bob@{there};transport=tls",
                    [f"sip:phone@{here};transport=tls", f"sip:bob@{there};transport=tls"],
                ),
            ):
                call = await ours.dial(uri)
                taken = self.taken.pop()
                assert call.answer is not None
                found = [str(message.contacts[0].uri) for message in (taken.invite, call.answer)]
                self.assertEqual(found, contacts)
                await taken.hang_up()
                self.assertIs((await call.ended).by, EndedBy.THEM)
