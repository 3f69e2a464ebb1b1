"""SIPp watches and publishes through sipd: lamps, mailboxes, and presence that is carried."""

from __future__ import annotations

from tests.interop.case import InteropTestCase
from tests.interop.script import Callee, Caller, audio, has, lacks, sdp
from tests.interop.server import USERS, Server
from tests.interop.sipp import Sipp
from tests.interop.watching import Publisher, Watched, Watcher

_SUMMARY = "application/simple-message-summary"
_PIDF = "application/pidf+xml"


class WatchingTests(InteropTestCase):
    """Each with a sipd of its own."""

    programs = ("sipp",)

    def phone(self, server: Server, script: Caller, user: str, service: str, *, hold: float = 0.3) -> Sipp:
        """Start a telephone of a user that asks something of, or for, another one."""
        return Sipp(
            self,
            script,
            port=self.ports.take(),
            target=server.address,
            caller=user,
            service=service,
            credentials=(user, USERS[user]),
            digest_uri=f"{service}@{server.address}",
            hold=hold,
        )

    async def test_lamp(self) -> None:
        """Bob's telephone shows alice's call from its beginning to its end, and then wants to see no more."""
        server = Server(self)
        port = self.ports.take()
        server.add_route("sipp", "callee", port, authenticate=True)
        await server.start()
        called = Callee("callee")
        called.expect("INVITE")
        called.answer(180)
        called.pause(1500)
        called.answer(200, sdp(audio()))
        called.expect("ACK")
        called.end()
        calling = Caller("calling")
        calling.invite(sdp(audio()))
        calling.prove(sdp(audio()))
        calling.get_if_any(180)
        calling.get(200)
        calling.acknowledge()
        calling.pause(1500)
        calling.hang_up()
        watching = Watcher("watching", "dialog")
        watching.watch(challenged=True)
        watching.see(has("<dialog-info"), lacks("<dialog "))
        watching.note("watching")
        for state in ("early", "confirmed", "terminated"):
            watching.see_until(f"initiator.*<state>{state}<")
        watching.leave(lacks("<dialog "))
        callee = Sipp(self, called, port=port)
        await callee.listens()
        watcher = self.phone(server, watching, "bob", "alice")
        await watcher.notes()
        caller = self.phone(server, calling, "alice", "callee")
        await caller.succeeds()
        await callee.succeeds()
        await watcher.succeeds()
        (record,) = await server.finish()
        self.assertEqual(record["status"], 200)

    async def test_mailbox(self) -> None:
        """Alice's telephone shows that there is a message when one is published, and none when that goes."""
        server = Server(self)
        await server.start()
        watching = Watcher("watching", "message-summary")
        watching.watch(challenged=True)
        watching.see(has("^Messages-Waiting: no"))
        watching.note("watching")
        watching.see(has("^Messages-Waiting: yes"), has("Voice-Message: 2/8"), has(_SUMMARY, "Content-Type"))
        watching.see(has("^Messages-Waiting: no"))
        watching.leave()
        publishing = Publisher("publishing", "message-summary", _SUMMARY)
        publishing.publish("Messages-Waiting: yes\nVoice-Message: 2/8\n", "Expires: 600")
        publishing.pause(1500)
        publishing.remove()
        watcher = self.phone(server, watching, "alice", "alice")
        await watcher.notes()
        publisher = self.phone(server, publishing, "alice", "alice")
        await publisher.succeeds()
        await watcher.succeeds()
        self.assertEqual(await server.finish(), [])

    async def test_presence_of_a_phone(self) -> None:
        """What a telephone behind a route notifies crosses with its body, and so does the end."""
        server = Server(self)
        port = self.ports.take()
        server.add_route("sipp", "watched", port)
        await server.start()
        watched = Watched("watched", "presence")
        watched.be_watched()
        watched.show("<presence>open</presence>", _PIDF)
        watched.show("<presence>busy</presence>", _PIDF)
        watched.be_watched(0)
        watched.show("<presence>gone</presence>", _PIDF, "terminated;reason=timeout")
        watching = Watcher("watching", "presence")
        watching.watch(challenged=False)
        watching.see(has("^<presence>open<"), has("application/pidf.xml", "Content-Type"))
        watching.see(has("^<presence>busy<"))
        watching.leave(has("^<presence>gone<"))
        target = Sipp(self, watched, port=port)
        await target.listens()
        watcher = self.phone(server, watching, "alice", "watched")
        await watcher.succeeds()
        await target.succeeds()
        self.assertEqual(await server.finish(), [])

    async def test_end_of_the_server(self) -> None:
        """A telephone that watches when sipd is stopped is told to come back in a while."""
        server = Server(self)
        await server.start()
        watching = Watcher("watching", "dialog")
        watching.watch(challenged=True)
        watching.see()
        watching.note("watching")
        watching.see(state="terminated;reason=probation;retry-after=30")
        watcher = self.phone(server, watching, "bob", "alice")
        await watcher.notes()
        self.assertEqual(await server.finish(), [])
        await watcher.succeeds()
