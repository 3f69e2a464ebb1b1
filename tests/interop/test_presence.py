"""Baresip phones see each other's presence, and their mailboxes."""

from __future__ import annotations

from tests.interop.baresip import Account, Phone
from tests.interop.case import InteropTestCase
from tests.interop.server import USERS, Server
from tests.interop.sipp import Sipp
from tests.interop.watching import Publisher
from tests.ports import HOST

_LOOK, _LOOKS = 0.2, 150


class WatchingCase(InteropTestCase):
    """Phones that watch."""

    #: What makes baresip a telephone that watches; both at once it does not stand.
    modules: tuple[str, ...] = ("contact", "presence")

    async def phone(self, server: Server, user: str, *, watched: tuple[str, ...] = (), parameters: str = "") -> Phone:
        """Start a phone, and let it register."""
        account = Account(user=user, server=f"{HOST}:{server.port}", password=USERS[user], parameters=parameters)
        phone = Phone(self, account, 440.0, modules=self.modules, watched=watched)
        await phone.start()
        await phone.registered()
        return phone


class PresenceTests(WatchingCase):
    """Alice's phone watches Bob's."""

    programs = ("baresip",)

    async def sees(self, phone: Phone, pattern: str) -> None:
        """Wait until a phone's list of contacts has that text."""
        shown = ""
        for _ in range(_LOOKS):
            phone.send("contacts")
            shown = str((await phone.event("response")).get("data"))
            if pattern in shown:
                return
            await self.pause(_LOOK)
        self.fail(f"{pattern} is not in {shown}{self.explain()}")

    async def see_each_other(self, parameters: str, how: str) -> None:
        """Let alice's phone see that bob comes and goes."""
        server = Server(self)
        await server.start()
        bob = await self.phone(server, "bob", parameters=parameters)
        await self.pause(0.5)
        alice = await self.phone(server, "alice", watched=(f"sip:bob@{HOST}",))
        for status in ("Online", "Offline", "Online"):
            bob.send(f"presence_{status.lower()}")
            await self.sees(alice, status)
        for phone in (alice, bob):
            await phone.stop()
        self.assertEqual(await server.finish(), [])
        self.assertRegex(self.explain(), f"alice@{HOST} to presence of sip:bob@{HOST}, {how}, [1-9]")

    async def test_published(self) -> None:
        """A phone that publishes is seen by what it published."""
        await self.see_each_other(";pubint=60", "served")

    async def test_asked(self) -> None:
        """A phone that does not is asked itself."""
        await self.see_each_other("", "carried")


class MailboxTests(WatchingCase):
    """A phone with a lamp for messages."""

    programs = ("baresip", "sipp")
    modules = ("mwi",)

    async def test_lamp(self) -> None:
        """The phone shows that there is nothing, and then that there is a message."""
        server = Server(self)
        await server.start()
        alice = await self.phone(server, "alice")
        await alice.says("MWI for sip:alice@.*\n *Messages-Waiting: no")
        publishing = Publisher("publishing", "message-summary", "application/simple-message-summary")
        publishing.publish("Messages-Waiting: yes\nVoice-Message: 1/0\n", "Expires: 600")
        publisher = Sipp(
            self,
            publishing,
            port=self.ports.take(),
            target=server.address,
            caller="alice",
            service="alice",
            credentials=("alice", USERS["alice"]),
            digest_uri=f"alice@{server.address}",
        )
        await publisher.succeeds()
        await alice.says("MWI for sip:alice@.*\n *Messages-Waiting: yes")
        await alice.stop()
        self.assertEqual(await server.finish(), [])
